"""The picture of the bundled directions of weights in docs/discovery.md: on two samples, and on a photo's inversion.

    python -m tools.deformations FACE.latent.safetensors docs/discovery-weights.jpg

FACE is an inversion (`gradctrl invert`) of the portrait of the tests, with its tuning: shifts add to that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import directions
import generators
from editing import Editor
from editing.sheets import labelled
from inversion import load_inversion, made_smaller

SIDE, SEEDS, TRUNCATION, QUALITY = 112, (21, 5), 0.7, 80
STRENGTHS = (-1.0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    named = directions.load("navigan-edits")
    generator = generators.load("bundled")
    editor = Editor(generator, named)
    columns = []
    for subject in (*generator.sample(SEEDS, truncation=TRUNCATION), load_inversion(given.face, generator=generator)):
        editor.set_latent(subject)
        still = made_smaller(editor.edit({}, side=256), SIDE)
        rows = [[made_smaller(editor.edit({key: strength}, side=256), SIDE) for strength in STRENGTHS]
                for key in named["navigan"].keys]
        columns.append(np.stack([np.stack([low, still, high]) for low, high in rows]))
    pictures = np.concatenate(columns, axis=1)  # [directions, 3 subjects x 3, side, side, 3]
    names = [key.partition(":")[2].replace("_", " ") for key in named["navigan"].keys]
    sheet = labelled(pictures, names, width=90)
    Image.fromarray(sheet).save(given.out, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
