"""Readers of other people's StyleGAN2 checkpoints, and of the program's own; see `read` and `write`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from stylegan2.readers.own import write as write
    from stylegan2.readers.reading import read as read

_HOMES = {"read": "reading", "write": "own"}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
