"""Make `weights/bundled/navigan.safetensors`: named directions of the bundled generator's weights.

    python -m tools.bundle_deformations FOLDER OUT.safetensors

FOLDER holds what `gradctrl discover weights --layer LAYER --count 28 --samples 128 --batch 64 --device cuda --out
FOLDER/LAYER.safetensors` finds, LAYER being each one that `deformations.csv` beside this file names. That table says
which of them are taken, how far, and what was seen when they were looked at, on samples and on inverted photos.
Then: python -m weights.manifest
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import torch

import generators
from directions import WeightDirection, save
from directions.navigan.basis import load_basis

TABLE = Path(__file__).with_name("deformations.csv")


def made(row: dict[str, str], folder: Path) -> WeightDirection:
    """The direction of a row of the table."""
    basis = load_basis(folder / f"{row['layer']}.safetensors")
    length, number = float(row["length"]), int(row["direction"])
    one = replace(basis, lengths=torch.full([len(basis)], abs(length)))
    report = {"group": row["group"], "does": row["does"], "samples": basis.found.get("samples")}
    direction = one.direction(number, name=row["name"], lengths=1.0 if length > 0 else -1.0, report=report)
    return replace(direction, limits=(float(row["low"]), float(row["high"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with open(TABLE, encoding="utf-8", newline="") as file:
        directions = [made(row, given.folder) for row in csv.DictReader(file)]
    generator = generators.load("bundled")
    for each in directions:
        each.check(generator)
    save(given.out, directions, spaces={}, dtype=torch.float16)


if __name__ == "__main__":
    main()
