"""The same seeds drawn by both generators, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from inversion import save_picture
from stylegan2 import Generator, to_pixels
from weights.training.compare.record import OnProgress, Pair, Result
from weights.training.compare.sheets import SHOWN, Group, brought, sheet

A_SHEET, COLUMNS = 16, 4   # Seeds on a sheet, and in a row of it.
BATCH = 8


def compare_seeds(pair: Pair, folder: Path, *, count: int, first: int, truncation: float,
                  on_progress: OnProgress) -> Result:
    """Write `seeds-1.png` ... into the folder.

    Args:
        pair: The generators. The same seed gives each its own person: what is to be compared is how real faces look
            and how much they vary, all in all.
        folder: Where.
        count, first: Seeds [first, first + count).
        truncation: psi of the mapping network.
        on_progress: Told after each seed.
    Returns:
        The names of the files.
    """
    names = []
    seeds = range(first, first + count)
    for number, start in enumerate(range(0, count, A_SHEET), 1):
        part = seeds[start:start + A_SHEET]
        drawn = [_draw(generator, part, max(pair.side, SHOWN), truncation) for _, generator in pair]
        groups = [Group((old, new), (f"seed {seed}, old", "new"))
                  for seed, old, new in zip(part, *drawn, strict=True)]
        names.append(f"seeds-{number}.png")
        save_picture(folder / names[-1], sheet(groups, COLUMNS))
        on_progress("seeds", start + len(part), count)
    return {"sheets": names}


@torch.no_grad()
def _draw(generator: Generator, seeds: range, side: int, truncation: float) -> list[np.ndarray]:
    pictures: list[np.ndarray] = []
    for start in range(0, len(seeds), BATCH):
        w = generator.sample(seeds[start:start + BATCH], truncation=truncation)
        pictures += [brought(picture, side) for picture in to_pixels(generator.render(w))]
    return pictures
