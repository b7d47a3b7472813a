"""Opening the generator and the controls that the options name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from directions import Controls
    from generators import Generator


FAMILIES = ("interfacegan", "ganspace", "stylespace")  # As in `editing.families`, which is slow to import.


def open_generator(source: str, device: str, threads: int | None) -> Generator:
    """The generator of --generator, on the device of --device."""
    import generators

    set_threads(threads)
    return generators.load(source, device=device)


def set_threads(threads: int | None) -> None:
    """Follow --threads; None leaves PyTorch's choice."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def open_controls(source: str) -> Controls:
    """The controls of --controls."""
    from directions import Controls, import_authors
    from directions.files import load_any
    from weights.store import is_known, path_of

    if source in ("bundled", "paper", *FAMILIES):
        return load_any(source)
    path = path_of(source) if is_known(source) else Path(source)
    folder = path.parent if path.name == "model.pth" else path
    if folder.is_dir():
        return Controls(import_authors(folder), source=source)
    return load_any(path)
