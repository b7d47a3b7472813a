"""Measures how often covered faces are warned of, and how often plain ones are.

    python -m tools.limits_rates FOLDER [PRESET] [COUNT]     (default: fast, and all photos of the folder)

Every photo of the folder should show one uncovered face. Each is inverted as it is, and once with something drawn over
it. Tuning is left out: warnings of what covers a face go by the untuned generator's picture.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import generators
import inversion
from inversion.limits import covered, excesses
from tools import limits_drawing as drawing

BATCH = 10
DRAWINGS: dict[str, Callable[[inversion.Photo, inversion.Face], inversion.Photo]] = {
    "glasses": drawing.with_glasses, "hat": drawing.with_hat, "hand": drawing.with_hand, "scarf": drawing.with_scarf}


def main() -> None:
    folder, preset = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "fast"
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png", ".webp"))
    paths = paths[:int(sys.argv[3])] if len(sys.argv) > 3 else paths
    projector = inversion.Projector(generators.load("bundled"))
    settings = replace(inversion.preset(preset), tuning_steps=0)
    seen: Counter[str] = Counter()
    warned: Counter[str] = Counter()
    crops = [crop for number, path in enumerate(paths) for crop in crops_of(path, number, projector)]
    for start in range(0, len(crops), BATCH):
        part = crops[start:start + BATCH]
        records = projector.invert_batch([crop for _, crop in part], settings=settings)
        for (what, _), record in zip(part, records, strict=True):
            far = excesses(record, distance=projector.distance)
            seen[what] += 1
            warned[what] += covered(far) is not None
            print(what, ", ".join(f"{region.name} {excess:.2f}" for region, excess in far), flush=True)
    print(f"\n| {preset} | warned of |\n|---|---|")
    for what in ("plain", *DRAWINGS):
        print(f"| {what} | {warned[what]} of {seen[what]} |")


def crops_of(path: Path, number: int, projector: inversion.Projector) -> list[tuple[str, np.ndarray]]:
    """The plain crop of a photo's largest face, and one with a drawing, each with its name."""
    photo = inversion.open_photo(path)
    face = inversion.find_faces(photo)[0]
    what = list(DRAWINGS)[number % len(DRAWINGS)]
    side = projector.generator.img_resolution
    return [("plain", inversion.align(photo, face, side)),
            (what, inversion.align(DRAWINGS[what](photo, face), face, side))]


if __name__ == "__main__":
    main()
