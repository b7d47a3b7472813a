"""Checkpoints of ProGAN: NVIDIA's TensorFlow pickles, and their conversion to PyTorch that GANSpace uses.

What both multiply by at run time is multiplied in here once. Both hold the first layer as what makes 4x4 features of z,
the latter turned by 180 degrees, as it convolves. The kernels that double the side belong to a transposed convolution
here and in NVIDIA's fused layers (`Conv0_up`); in its others (`Conv0`) and in the conversion they are turned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.checkpoints.allow_list import Record
from generators.checkpoints.check import check_arguments, check_state, refusal, size_of
from generators.progan import ProGAN, ProGANConfig
from weights.errors import InputError

WORKS = "what works is an unconditional ProGAN generator as NVIDIA published them"
VERSION = 2  # Of NVIDIA's format, which ProGAN's pickles have.
# Arguments of the network that must have these values, None standing for NVIDIA's default.
ONLY: Mapping[str, tuple[object, ...]] = {
    "label_size": (None, 0), "normalize_latents": (None, True), "use_wscale": (None, True),
    "use_pixelnorm": (None, True), "pixelnorm_epsilon": (None, 1e-8), "use_leakyrelu": (None, True),
    "num_channels": (3,), "fused_scale": (None, True, False)}


def is_progan(content: Mapping[object, object]) -> bool:
    """Whether a state dict, or what holds one, looks like GANSpace's of ProGAN."""
    weights = content.get("state_dict", content)
    return isinstance(weights, dict) and not {"layer1.conv.weight", "features.0.conv.weight"}.isdisjoint(weights)


def read_progan_torch(path: Path, content: Mapping[object, object]) -> tuple[ProGANConfig, dict[str, Tensor]]:
    """Convert GANSpace's state dict (`layer1.conv.weight`, of old files `features.0.conv.weight`).

    Raises:
        InputError: a weight is none of such a generator, or they do not fit each other.
    """
    weights = content.get("state_dict", content)
    state: dict[str, Tensor] = {}
    for source, value in weights.items() if isinstance(weights, dict) else ():
        if not isinstance(source, str) or not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            raise refusal(path, f"{source!r:.60} is no weight", WORKS)
        if source.endswith(".wscale.scale"):  # Of old files: what the number of inputs says as well.
            continue
        match = re.fullmatch(r"(?:(layer|features\.)(\d{1,2})|output(?:_\d{1,4}x\d{1,4})?)\.(conv\.weight|wscale\.b)",
                             source)
        if match is None:
            raise refusal(path, f"the weight {source!r:.100} is none of a generator that can be rendered", WORKS)
        number = int(match[2]) + (match[1] != "layer") if match[2] else 0
        turned = number % 2 == 1 and match[3] == "conv.weight" and value.ndim == 4
        name = f"layer{number}" if number else "torgb"
        state[f"synthesis.{name}.{'weight' if match[3] == 'conv.weight' else 'bias'}"] = (
            value.float().flip([2, 3]) if turned else value.float())
    return _finished(path, state)


def read_progan_tensorflow(path: Path, network: Record) -> tuple[ProGANConfig, dict[str, Tensor]]:
    """Convert the record of NVIDIA's TensorFlow network to sizes and weights.

    Raises:
        InputError: it is another kind of network, it is still growing, or its parts do not fit each other.
    """
    kwargs, variables = network.state.get("static_kwargs"), network.state.get("variables")
    if not isinstance(kwargs, dict) or not isinstance(variables, list):
        raise refusal(path, "a TensorFlow network without its arguments and variables", "download the file again")
    check_arguments(path, kwargs, ONLY, WORKS)
    state: dict[str, Tensor] = {}
    for item in variables:
        match item:
            case ("lod", np.ndarray() | float() | int() | np.number() as value):
                if np.asarray(value).size != 1 or float(np.asarray(value).reshape(())) != 0:
                    raise refusal(path, f"the network is still growing (lod is {value!r:.20})",
                                  "use one whose training has ended")
            case (str(source), np.ndarray() as value):
                if not re.fullmatch(r"ToRGB_lod[1-9]\d?/(weight|bias)", source):  # Of the growing.
                    state |= _placed(path, source, torch.from_numpy(np.array(value, np.float32, order="C")))
            case _:
                raise refusal(path, "a variable without name and numbers", "download the file again")
    return _finished(path, state)


def _placed(path: Path, source: str, value: Tensor) -> dict[str, Tensor]:
    """A variable by our name; kernels are [height, width, in, out] in the file, of fused layers [.., out, in]."""
    match = re.fullmatch(r"(?:ToRGB_lod0|(\d{1,4})x\1/(Dense|Conv0_up|Conv0|Conv1|Conv))/(weight|bias)", source)
    if match is None:
        raise refusal(path, f"the weight {source!r:.100} is none of a generator that can be rendered", WORKS)
    side, part, end = match.groups()
    number = 2 * (int(side).bit_length() - 3) + (1 if part in ("Dense", "Conv0", "Conv0_up") else 2) if side else 0
    name = f"synthesis.layer{number}.{end}" if side else f"synthesis.torgb.{end}"
    try:
        if end == "weight":
            if part == "Dense":
                value = value.unflatten(1, (-1, 4, 4)).transpose(0, 1)
            elif part == "Conv0_up":
                value = value.permute(2, 3, 0, 1)
            else:
                value = value.permute(3, 2, 0, 1)
                value = value.flip([2, 3]) if part == "Conv0" else value
    except (IndexError, RuntimeError) as error:
        raise refusal(path, f"the weight {source:.100} has the shape {list(value.shape)}",
                      "use another file") from error
    return {name: value}


def _finished(path: Path, state: dict[str, Tensor]) -> tuple[ProGANConfig, dict[str, Tensor]]:
    """Sizes and weights, of weights by our names, with their scales multiplied in."""
    config = read_config(path, state)
    for name, value in state.items():
        if name.endswith(".weight"):
            gain = 1.0 if name == "synthesis.torgb.weight" else sqrt(2)
            inputs = value.shape[1] * 16 if name == "synthesis.layer1.weight" else max(value[0].numel(), 1)
            state[name] = value * (gain / sqrt(inputs))
    return config, check_state(path, ProGAN, config, state)


def read_config(path: Path, state: Mapping[str, Tensor]) -> ProGANConfig:
    """Derive all sizes from the shapes of the weights, by our names.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    size = partial(size_of, path, state)
    count = sum(re.fullmatch(r"synthesis\.layer\d{1,2}\.weight", name) is not None for name in state)
    try:
        return ProGANConfig(channels=tuple(size(f"synthesis.layer{number}.weight", 0) for number in
                                           range(1, count + 1, 2)), z_dim=size("synthesis.layer1.weight", 1))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> ProGANConfig:
    """The sizes of one of our own files.

    Raises:
        InputError: as for `read_config`.
    """
    return read_config(path, state)


def metadata_of(config: ProGANConfig) -> dict[str, str]:
    """What a file says beside its weights, for those who look."""
    return {"img_resolution": str(config.img_resolution)}
