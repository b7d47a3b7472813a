"""The analyses that find directions nobody labelled, by name; without torch, as the command line lists them."""

from __future__ import annotations

from typing import Literal, get_args

Analysis = Literal["exact", "incremental", "randomised", "fastica", "sparse", "sefa", "random"]
Latent = Literal["w", "z"]
ANALYSES: tuple[Analysis, ...] = get_args(Analysis)
"""Of samples, the first five; SeFa's closed form; random directions, the baseline."""
