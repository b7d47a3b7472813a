"""The sizes of a StyleGAN2 generator: from its weights, and to and from the metadata of our own files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators.checkpoints.check import check_state, expected_shapes, refusal, set_mean_w, size_of
from generators.stylegan import StyleGAN
from generators.stylegan2 import StyleConfig, StyleGAN2, StyleGAN2Config
from generators.stylegan2_layers import fir_filter
from weights.errors import InputError

LARGEST_SIDE = 1024
SIZES = ("img_resolution", "z_dim", "w_dim", "img_channels", "mapping_layers", "c_dim")
REMEDY = "convert the original checkpoint again, or use another file"


def read_config(path: Path, state: Mapping[str, Tensor], *, mapping_lr_multiplier: float,
                conv_clamp: float | None = None) -> StyleGAN2Config:
    """Derive all sizes from the shapes of the weights, named as NVIDIA names them.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    size, conditional = partial(size_of, path, state), "mapping.embed.weight" in state
    shared = shared_sizes(path, state, "StyleGAN2")
    try:
        return StyleGAN2Config(
            **shared,
            z_dim=size("mapping.fc0.weight", 1) - (size("mapping.embed.weight", 0) if conditional else 0),
            c_dim=size("mapping.embed.weight", 1) if conditional else 0,
            img_channels=size("synthesis.b4.torgb.weight", 0),
            mapping_lr_multiplier=mapping_lr_multiplier,
            conv_clamp=conv_clamp,
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def shared_sizes(path: Path, state: Mapping[str, Tensor], title: str) -> dict[str, Any]:
    """What StyleGAN's and StyleGAN2's weights tell alike, as arguments of a `StyleConfig`.

    Raises:
        InputError: as `read_config`; `title` is what the file should be.
    """
    sides = sorted(int(name[11:-13]) for name in state if re.fullmatch(r"synthesis\.b\d{1,5}\.conv1\.weight", name))
    layers = sum(re.fullmatch(r"mapping\.fc\d{1,3}\.weight", name) is not None for name in state)
    if not sides or sides[-1] > LARGEST_SIDE:
        raise refusal(path, f"synthesis of {sides[-1] if sides else 0} pixels",
                      f"use a {title} generator of 32 to 1024 pixels")
    if not 1 <= layers <= 64:
        raise refusal(path, f"{layers} layers in the mapping network", f"use a whole {title} generator")
    resolutions = [4 * 2 ** i for i in range((sides[-1] // 4).bit_length())]
    return {"img_resolution": sides[-1], "mapping_layers": layers,
            "channels": tuple(size_of(path, state, f"synthesis.b{side}.conv1.weight", 0) for side in resolutions),
            "w_dim": size_of(path, state, "mapping.fc0.weight", 0)}


def complete(path: Path, config: StyleConfig, state: dict[str, Tensor],
             build: Callable[[Any], StyleGAN | StyleGAN2] = StyleGAN2,
             make_filter: Callable[[], Tensor] = fir_filter) -> dict[str, Tensor]:
    """Check the weights of another program's file (`check_state`), with the buffers that such files may lack.

    These are the filters, of which there is one kind, the noise maps (seeded ones), and the mean w (of 20,000 seeded).

    Args:
        path: Of the file, for messages.
        config: The sizes.
        state: The weights that the file has.
        build: Makes a generator of such sizes.
        make_filter: Makes its filter.
    Raises:
        InputError: as for `check_state`.
    """
    random, without_mean = torch.Generator().manual_seed(0), "mapping.w_avg" not in state
    for name, shape in expected_shapes(build, config).items():
        if name.endswith("resample_filter"):
            state.setdefault(name, make_filter())
        elif name.endswith("noise_const") and name not in state:
            state[name] = torch.randn(shape, generator=random)
    state.setdefault("mapping.w_avg", torch.zeros(config.w_dim))
    state = check_state(path, build, config, state)
    if without_mean:
        set_mean_w(build(config).mapping, state)
    return state


def in_colour(path: Path, config: StyleGAN2Config, state: dict[str, Tensor]) -> tuple[StyleGAN2Config,
                                                                                     dict[str, Tensor]]:
    """The generator that draws the same pictures in red, green and blue.

    A grey one draws its one channel in all three. Of four channels the last, the transparency, is left out.

    Raises:
        InputError: it draws two channels, or more than four.
    """
    if config.img_channels not in (1, 3, 4):
        raise refusal(path, f"pictures of {config.img_channels} channels", "use a generator of 1, 3 or 4")
    kept = [0, 0, 0] if config.img_channels == 1 else [0, 1, 2]
    if config.img_channels != 3:
        state = {name: value[kept] if re.search(r"\.torgb\.(weight|bias)$", name) else value
                 for name, value in state.items()}
    return replace(config, img_channels=3), state


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> StyleGAN2Config:
    """The sizes that the metadata and the weights of one of our own files tell.

    Raises:
        InputError: something is missing, or they do not fit each other.
    """
    if "mapping_lr_multiplier" not in metadata:
        raise refusal(path, "a safetensors file without the metadata of a generator (mapping_lr_multiplier ...)",
                      REMEDY)
    clamp = _number(path, metadata, "conv_clamp") if "conv_clamp" in metadata else None
    config = read_config(path, state, mapping_lr_multiplier=_number(path, metadata, "mapping_lr_multiplier"),
                         conv_clamp=clamp)
    for name in SIZES:
        if _number(path, metadata, name, getattr(config, name)) != getattr(config, name):
            raise refusal(path, f"its metadata say {name} {metadata[name]}, its weights {getattr(config, name)}",
                          REMEDY)
    return config


def _number(path: Path, metadata: Mapping[str, str], name: str, default: float | None = None) -> float:
    text = metadata.get(name, default)
    try:
        number = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise refusal(path, f"{name} is {text!r} in its metadata, which is no number", REMEDY) from error
    if not 0 <= number < 1e9:
        raise refusal(path, f"{name} is {text!r} in its metadata", REMEDY)
    return number


def metadata_of(config: StyleGAN2Config) -> dict[str, str]:
    """What `config_of` needs beside the weights, and the names of sizes in NVIDIA's code."""
    result = {name: str(getattr(config, name)) for name in (*SIZES, "mapping_lr_multiplier")}
    if config.conv_clamp is not None:
        result["conv_clamp"] = str(config.conv_clamp)
    base, most = config.channels[-1] * config.img_resolution, max(config.channels)
    if config.channels == tuple(min(base // side, most) for side in config.resolutions):
        result |= {"channel_base": str(base), "channel_max": str(most)}  # How NVIDIA's code names these counts.
    return result
