"""Makes the picture at the head of the README.

    python -m tools.example [PHOTO]     (default: NASA's portrait of Eileen Collins, from scikit-image)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import directions
import editing
import generators
import inversion

SIDE = 224
EDITS: list[dict[str, float]] = [{}, {"smile": -2.0}, {"age": 2.0}, {"hair:blond": 1.0}, {"gender": 1.0}]


def main() -> None:
    photo = open_example()
    generator = generators.load("bundled")
    face = inversion.choose_face(inversion.find_faces(photo), 0)
    inverted = inversion.Projector(generator).invert(inversion.align(photo, face, generator.img_resolution),
                                                     settings=inversion.preset("faithful"))
    editor = editing.Editor(generator, directions.load("bundled"))
    editor.set_latent(inverted)
    drawn, pasted = [], []
    for edit in EDITS:
        picture = editor.edit(edit)
        whole = inversion.paste_back(photo, face, picture, original=editor.edit({}))
        drawn.append(_enlarged(picture))
        pasted.append(_crop(whole, face))
    crop = _crop(photo.pixels, face)
    out = Path(__file__).with_name("example.jpg")
    sheet = editing.join(np.stack([np.stack([crop, *drawn]), np.stack([crop, *pasted])]))
    inversion.save_picture(out, sheet, quality=88)
    print(out, f"LPIPS {inverted.lpips:.3f}, identity distance {inverted.identity:.2f}, {inverted.seconds:.1f} s")


def open_example() -> inversion.Photo:
    """The photo that the command line names, or the astronaut."""
    if len(sys.argv) > 1:
        return inversion.open_photo(sys.argv[1])
    from skimage import data

    return inversion.photo_from_array(data.astronaut(), name="astronaut")


def _crop(pixels: np.ndarray, face: inversion.Face) -> np.ndarray:
    return inversion.align(inversion.photo_from_array(pixels), face, SIDE)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
