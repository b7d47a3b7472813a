"""The program's own generator files: safetensors, with the constants of the network as metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from generators.checkpoints.check import check_state, read_config, refusal
from generators.stylegan2 import StyleGAN2Config
from weights.tensors import write_tensors

SIZES = ("img_resolution", "z_dim", "w_dim", "img_channels", "mapping_layers")
REMEDY = "convert the original checkpoint again, or use another file"


def read_own(path: Path) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    """Read a file of `write`; float32, whatever the precision it is stored in. Metadata of others is left alone.

    Raises:
        InputError: the file is damaged, is no generator, or its metadata and weights do not fit each other.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise refusal(path, f"truncated or damaged ({error})", "download it again") from error
    if "mapping_lr_multiplier" not in metadata:
        raise refusal(path, "a safetensors file without the metadata of a generator (mapping_lr_multiplier ...)",
                      REMEDY)
    if metadata.get("architecture", "skip") != "skip":
        raise refusal(path, f"a generator of the architecture {metadata['architecture']!r}",
                      "only 'skip' can be rendered")
    if _number(path, metadata, "c_dim", 0) != 0:
        raise refusal(path, "a generator that needs class labels", "only one without labels (c_dim 0) can be rendered")
    clamp = _number(path, metadata, "conv_clamp") if "conv_clamp" in metadata else None
    config = read_config(path, state, mapping_lr_multiplier=_number(path, metadata, "mapping_lr_multiplier"),
                         conv_clamp=clamp)
    for name in SIZES:
        if _number(path, metadata, name, getattr(config, name)) != getattr(config, name):
            raise refusal(path, f"its metadata say {name} {metadata[name]}, its weights {getattr(config, name)}",
                          REMEDY)
    return config, check_state(path, config, state)


def _number(path: Path, metadata: Mapping[str, str], name: str, default: float | None = None) -> float:
    text = metadata.get(name, default)
    try:
        number = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise refusal(path, f"{name} is {text!r} in its metadata, which is no number", REMEDY) from error
    if not 0 <= number < 1e9:
        raise refusal(path, f"{name} is {text!r} in its metadata", REMEDY)
    return number


def write(path: str | os.PathLike[str], config: StyleGAN2Config, state: Mapping[str, Tensor], *, half: bool = False,
          metadata: Mapping[str, str] | None = None) -> None:
    """Write a generator as safetensors, which nothing needs to unpickle.

    Args:
        path: The file, ending in .safetensors; it takes the place of one that is there once it is complete.
        config: Sizes and constants.
        state: All parameters and buffers, by NVIDIA's names.
        half: Store in half precision, half the size.
        metadata: More to store with it, such as name and licence.

    Raises:
        InputError: the weights do not fit the sizes or half precision, or the file cannot be written.
    """
    path = Path(path)
    checked = check_state(path, config, state)
    if half:
        checked = {name: value.half() for name, value in checked.items()}
        for name, value in checked.items():
            if not bool(torch.isfinite(value).all()):
                raise refusal(path, f"the weight {name} is too large for half precision", "store it in full precision")
    write_tensors(path, checked, {**(metadata or {}), **_metadata(config)})


def _metadata(config: StyleGAN2Config) -> dict[str, str]:
    result = {name: str(getattr(config, name)) for name in (*SIZES, "mapping_lr_multiplier")}
    result |= {"c_dim": "0", "architecture": "skip"}
    if config.conv_clamp is not None:
        result["conv_clamp"] = str(config.conv_clamp)
    base, most = config.channels[-1] * config.img_resolution, max(config.channels)
    if config.channels == tuple(min(base // side, most) for side in config.resolutions):
        result |= {"channel_base": str(base), "channel_max": str(most)}  # How NVIDIA's code names these counts.
    return result
