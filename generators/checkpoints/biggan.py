"""Checkpoints of BigGAN-deep: the state dicts that the package pytorch-pretrained-biggan names, and our own files.

Spectral normalisation is divided out here once: a weight is stored with the vectors u and v that give its largest
singular value, u^T W v. Of the last convolution, which has as many outputs as inputs, three are the picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from generators.biggan import BigGAN, BigGANConfig
from generators.checkpoints.check import check_state, refusal, size_of
from weights.errors import InputError

WORKS = "what works is BigGAN-deep as pytorch-pretrained-biggan has it"
ATTENTION = "attention"


def is_biggan(weights: Mapping[object, object]) -> bool:
    """Whether a state dict looks like one of BigGAN-deep."""
    return "embeddings.weight" in weights and any(str(name).startswith("generator.gen_z.") for name in weights)


def read_biggan(path: Path, weights: Mapping[object, object]) -> tuple[BigGANConfig, dict[str, Tensor]]:
    """Convert a state dict to sizes and weights.

    Raises:
        InputError: a weight is none of such a generator, or they do not fit each other.
    """
    found = {}
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            raise refusal(path, f"{name!r:.60} is no weight", WORKS)
        found[name.removeprefix("generator.")] = value.detach().float()
    state: dict[str, Tensor] = {}
    attention = next((int(name.split(".")[1]) for name in found if re.fullmatch(r"layers\.\d{1,3}\.gamma", name)), 0)
    try:
        for source, value in _without_spectral_norm(found).items():
            name = _ours(path, source, attention)
            state[name] = value[:3] if name.startswith("synthesis.torgb") else value
        for name in [name for name in state if name.endswith(".affine.scale")]:
            scale = state.pop(name)
            offset = state.pop(name.replace(".scale", ".offset"))
            state[name.removesuffix(".scale")] = torch.cat([scale, offset])
        state["mapping.embedding"] = state["mapping.embedding"].T
    except KeyError as error:
        raise refusal(path, f"the weight {error} is missing", "download the file again or use another one") from error
    except (RuntimeError, IndexError) as error:
        raise refusal(path, f"its weights do not fit each other ({error!s:.100})", "use another file") from error
    config = read_config(path, state, attention)
    return config, check_state(path, BigGAN, config, state)


def _without_spectral_norm(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = {}
    for name, value in found.items():
        if name.endswith(".weight_orig"):
            base = name.removesuffix("_orig")
            largest = found[f"{base}_u"] @ (value.flatten(1) @ found[f"{base}_v"])
            plain[base] = value / largest
        elif not name.endswith((".weight_u", ".weight_v")):
            plain[name] = value
    return plain


_PARTS = {"scale.weight": "affine.scale", "offset.weight": "affine.offset", "running_means": "norm.mean",
          "running_vars": "norm.variance"}
_OTHERS = {"embeddings.weight": "mapping.embedding", "gen_z.weight": "synthesis.gen_z.weight",
           "gen_z.bias": "synthesis.gen_z.bias", "bn.weight": "synthesis.scale", "bn.bias": "synthesis.offset",
           "bn.running_means": "synthesis.norm.mean", "bn.running_vars": "synthesis.norm.variance",
           "conv_to_rgb.weight": "synthesis.torgb.weight", "conv_to_rgb.bias": "synthesis.torgb.bias"}


def _ours(path: Path, source: str, attention: int) -> str:
    """Our name of a weight; the attention stands among the blocks, which are counted without it here."""
    match = re.fullmatch(r"layers\.(\d{1,3})\.(.+)", source)
    if match is None and source in _OTHERS:
        return _OTHERS[source]
    if match:
        place, rest = int(match[1]), match[2]
        block = place - (place > attention)
        if part := re.fullmatch(r"bn_([0-3])\.(.+)", rest):
            if part[2] in _PARTS:
                return f"synthesis.b{block}.conv{part[1]}.{_PARTS[part[2]]}"
        elif part := re.fullmatch(r"conv_([0-3])\.(weight|bias)", rest):
            return f"synthesis.b{block}.conv{part[1]}.{part[2]}"
        elif rest == "gamma":
            return "synthesis.attention.gamma"
        elif part := re.fullmatch(r"snconv1x1_(theta|phi|g|o_conv)\.weight", rest):
            return f"synthesis.attention.{'out' if part[1] == 'o_conv' else part[1]}"
    raise refusal(path, f"the weight {source!r:.100} is none of a generator that can be rendered", WORKS)


def read_config(path: Path, state: Mapping[str, Tensor], attention: int) -> BigGANConfig:
    """Derive all sizes from the shapes of the weights, by our names, and the place of the attention.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    size = partial(size_of, path, state)
    blocks = sum(re.fullmatch(r"synthesis\.b\d{1,3}\.conv3\.weight", name) is not None for name in state)
    try:
        channels = (size("synthesis.b0.conv0.weight", 1),
                    *(size(f"synthesis.b{block}.conv3.weight", 0) for block in range(blocks)))
        return BigGANConfig(channels=channels, attention=attention, c_dim=size("mapping.embedding", 0),
                            embedding=size("mapping.embedding", 1), statistics=size("synthesis.norm.mean", 0),
                            z_dim=size("synthesis.gen_z.weight", 1) - size("mapping.embedding", 1))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> BigGANConfig:
    """The sizes of one of our own files.

    Raises:
        InputError: its metadata lack the attention's place, or the weights do not fit.
    """
    place = metadata.get(ATTENTION, "")
    if not re.fullmatch(r"\d{1,2}", place):
        raise refusal(path, f"{ATTENTION} is {place!r:.60} in its metadata",
                      "convert the original checkpoint again, or use another file")
    return read_config(path, state, int(place))


def metadata_of(config: BigGANConfig) -> dict[str, str]:
    """What `config_of` needs beside the weights."""
    return {ATTENTION: str(config.attention), "img_resolution": str(config.img_resolution)}
