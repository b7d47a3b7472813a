"""The picture of all named edits in docs/discovery.md: each at strength 1, on two of the generator's samples.

    python -m tools.named_edits docs/discovery.jpg [--seeds 3 21] [--strength 1]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

import directions
import generators
from editing import Editor
from inversion import made_smaller

SIDE, LINE, ACROSS = 92, 13, 7  # Of a picture in pixels; of a line of text; edits in a row.
TRUNCATION, QUALITY = 0.7, 72
SUBJECTS = (3, 21)  # Seeds.


def draw(seeds: Sequence[int], strength: float) -> Image.Image:
    """The samples, and then all edits of them by groups."""
    named = directions.load("ganspace-edits")
    editor = Editor(generators.load("bundled"), named)
    editor.set_latents(editor.generator.sample(list(seeds), truncation=TRUNCATION))
    cells = [("as they are", _small(editor.edit({}, side=256)))]
    cells += [(key.partition(":")[2], _small(editor.edit({key: strength}, side=256)))
              for key in tqdm(named["ganspace"].keys, disable=None)]
    width, height = len(seeds) * SIDE + 4, SIDE + LINE
    sheet = Image.new("RGB", (ACROSS * width, math.ceil(len(cells) / ACROSS) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, pictures) in enumerate(cells):
        left, top = number % ACROSS * width, number // ACROSS * height
        pen.text((left + 2, top), name, fill="black")
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (left + column * SIDE, top + LINE))
    return sheet


def _small(pictures: np.ndarray) -> list[np.ndarray]:
    return [made_smaller(picture, SIDE) for picture in pictures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=SUBJECTS)
    parser.add_argument("--strength", type=float, default=1.0)
    given = parser.parse_args()
    draw(given.seeds, given.strength).save(given.out, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
