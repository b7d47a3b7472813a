"""Makes the picture of the presets in docs/performance.md: what each finds, and what growing strength does to it.

    python -m tools.presets [PHOTO]     (default: NASA's portrait of Eileen Collins, from scikit-image)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import directions
import editing
import generators
import inversion
from tools.example import open_example

EDITS: list[dict[str, float]] = [{}, {"smile": -1.0}, {"smile": -2.0}, {"smile": -3.0}, {"age": 2.0}]


def main() -> None:
    photo = open_example()
    generator = generators.load("bundled")
    crop = inversion.align(photo, inversion.find_faces(photo)[0], generator.img_resolution)
    projector = inversion.Projector(generator)
    editor = editing.Editor(generator, directions.load("bundled"))
    rows = []
    for name, settings in inversion.PRESETS.items():
        inverted = projector.invert(crop, settings=settings)
        editor.set_latent(inverted)
        rows.append(np.stack([crop, *(editor.edit(edit) for edit in EDITS)]))
        print(name, f"LPIPS {inverted.lpips:.3f}, identity distance {inverted.identity:.2f}, {inverted.seconds:.1f} s")
    out = Path(__file__).with_name("presets.jpg")
    inversion.save_picture(out, editing.join(np.stack(rows)), quality=90)
    print(out)


if __name__ == "__main__":
    main()
