"""What a run tells about itself: pictures of fixed seeds, a table of numbers, and how far from the pictures it is."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegan2 import to_bytes, to_pixels
from weights.errors import InputError
from weights.files import replacing

COLUMNS = ("kimg", "minutes", "pictures_per_second", "loss_g", "loss_d", "real_logits", "fake_logits", "r_t", "p", "r1",
           "path_length", "path_penalty", "frechet")
SHOWN = 32   # Pictures in a sheet ...
ACROSS = 8   # ... and in a row of it.


def write_sheet(path: str | os.PathLike[str], pictures: Iterable[Tensor], across: int = ACROSS) -> None:
    """Put pictures [N, 3, R, R] in [-1, 1] beside and below each other into one PNG.

    Raises:
        InputError: it cannot be written.
    """
    pixels = np.concatenate([to_pixels(batch) for batch in pictures])  # [N, R, R, 3]
    rows = -(-len(pixels) // across)
    side = pixels.shape[1]
    sheet = np.full((rows * across, side, side, 3), 255, np.uint8)
    sheet[:len(pixels)] = pixels
    sheet = sheet.reshape(rows, across, side, side, 3).swapaxes(1, 2).reshape(rows * side, across * side, 3)
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


class Log:
    """`log.csv`: one row for each report."""

    def __init__(self, path: Path, *, kimg: float) -> None:
        """Open the table; rows later than `kimg`, which a cut made invalid, are dropped.

        Raises:
            InputError: it is there, but is not such a table.
        """
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.exists():
            try:
                with open(path, newline="", encoding="utf-8") as file:
                    self.rows = [row for row in csv.DictReader(file) if float(row["kimg"]) <= kimg]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}: not the table of a run ({error}); move it away") from error
        self._write()

    def add(self, numbers: Mapping[str, float]) -> None:
        """Append a row; columns that have no number stay empty."""
        self.rows.append({name: f"{numbers[name]:.6g}" for name in COLUMNS if name in numbers})
        self._write()

    @property
    def minutes(self) -> float:
        """How long the run has trained until its last row."""
        return float(self.rows[-1]["minutes"] or 0) if self.rows else 0.0

    def _write(self) -> None:
        with replacing(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def line(numbers: Mapping[str, float]) -> str:
    """One line for people."""
    shown = [f"{numbers['kimg']:8.1f} kimg", f"{numbers['minutes']:6.1f} min",
             f"{numbers['pictures_per_second']:6.1f} pictures/s"]
    shown += [f"{label} {numbers[name]:.3g}" for name, label in
              (("loss_g", "G"), ("loss_d", "D"), ("r_t", "r_t"), ("p", "p"), ("r1", "R1"), ("path_length", "path"),
               ("frechet", "AlexNet Frechet distance")) if name in numbers]
    return "  ".join(shown)


class Distance:
    """AlexNet Frechet distance between pictures and a generator's, always of the same seeds."""

    def __init__(self, pixels: Tensor, device: torch.device, *, count: int, batch: int = 32) -> None:
        """Measure the pictures uint8 [M, 3, R, R] once; `count` is how many of the generator's to measure."""
        from weights.training.frechet import Features, Moments

        self.seeds = range(1_000_000, 1_000_000 + count)  # Others than those that are shown.
        self._features = Features(device)
        parts = (pixels[begin:begin + batch].to(device) for begin in range(0, len(pixels), batch))
        self._real = Moments.of(self._features(part) for part in parts)

    def __call__(self, pictures: Iterable[Tensor]) -> float:
        """Of the generator's pictures of `seeds`, batches [N, 3, R, R] in [-1, 1]."""
        from weights.training.frechet import Moments, frechet_distance

        return frechet_distance(self._real, Moments.of(self._features(to_bytes(batch)) for batch in pictures))
