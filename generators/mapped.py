"""A generator whose weights several processes share: in a file as they lie in memory, which each of them maps."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from generators.base import Generator
from generators.spaces import Space
from weights.errors import InputError
from weights.tensors import write_tensors

FORMAT = "gradctrl-mapped-1"


def write_mapped(path: str | os.PathLike[str], generator: Generator) -> None:
    """Write a generator for `load_mapped`, for as long as a program runs.

    Args:
        path: The file, ending in .safetensors; it takes the place of one that is there once it is complete.
        generator: On the CPU, as `load` gives it.
    Raises:
        InputError: the file cannot be written.
    """
    from generators.checkpoints import ARCHITECTURES

    architecture = ARCHITECTURES[generator.config.architecture]
    state = {name: value.permute(0, 2, 3, 1) if value.ndim == 4 else value
             for name, value in generator.state_dict().items()}  # Channels last, as convolutions want them.
    spaces = {f"space.{kind}": space.to_text() for kind, space in generator.spaces.items()}
    classes = {"class": str(generator.class_index)} if generator.c_dim else {}
    write_tensors(path, state, {"format": FORMAT, "hash": generator.hash, **classes,
                                "architecture": generator.config.architecture,
                                **architecture.metadata_of(generator.config), **spaces})


def load_mapped(path: str | os.PathLike[str]) -> Generator:
    """A generator that `write_mapped` wrote, on the CPU; its weights are pages of the file, the same for all processes.

    Raises:
        InputError: the file is not there or not such a one.
    """
    from generators.checkpoints import ARCHITECTURES

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise InputError(path, f"no mapped generator ({error})", "begin again") from error
    state = {name: value.permute(0, 3, 1, 2) if value.ndim == 4 else value for name, value in state.items()}
    architecture = ARCHITECTURES[metadata["architecture"]]
    with torch.device("meta"):
        generator = architecture.build(architecture.config_of(Path(path), metadata, state))
    generator.load_state_dict(state, assign=True)
    spaces = {key.removeprefix("space."): Space.from_text(text) for key, text in metadata.items()
              if key.startswith("space.")}
    if "class" in metadata:
        generator.mapping.class_index = int(metadata["class"])  # type: ignore[assignment]
    vars(generator).update(hash=metadata["hash"], spaces=spaces)
    return generator.requires_grad_(False).eval()
