"""The program's own generator files: safetensors, with the constants of the network as metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from generators.checkpoints.architectures import ARCHITECTURES
from generators.checkpoints.check import check_state, refusal
from weights.tensors import write_tensors


def read_own(path: Path) -> tuple[Any, dict[str, Tensor]]:
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
    name = metadata.get("architecture", "skip")
    name = "stylegan2" if name == "skip" else name  # What NVIDIA calls it, and files of former versions.
    if name not in ARCHITECTURES:
        raise refusal(path, f"a generator of the architecture {name[:60]!r}",
                      f"those that can be rendered are {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    config = architecture.config_of(path, metadata, state)
    return config, check_state(path, architecture.build, config, state)


def write(path: str | os.PathLike[str], config: Any, state: Mapping[str, Tensor], *, half: bool = False,
          metadata: Mapping[str, str] | None = None) -> None:
    """Write a generator as safetensors, which nothing needs to unpickle.

    Args:
        path: The file, ending in .safetensors; it takes the place of one that is there once it is complete.
        config: Sizes and constants, as `Generator.config`.
        state: All parameters and buffers, by name.
        half: Store in half precision, half the size.
        metadata: More to store with it, such as name and licence.

    Raises:
        InputError: the weights do not fit the sizes or half precision, or the file cannot be written.
    """
    path, architecture = Path(path), ARCHITECTURES[config.architecture]
    checked = check_state(path, architecture.build, config, state)
    if half:
        checked = {name: value.half() for name, value in checked.items()}
        for name, value in checked.items():
            if not bool(torch.isfinite(value).all()):
                raise refusal(path, f"the weight {name} is too large for half precision", "store it in full precision")
    named = {"architecture": config.architecture, **architecture.metadata_of(config)}
    write_tensors(path, checked, {**(metadata or {}), **named})
