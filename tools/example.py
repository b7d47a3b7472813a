"""Makes the picture at the head of the README.

    python -m tools.example [PHOTO]     (default: NASA's portrait of Eileen Collins, from scikit-image)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import editing
import inversion

SIDE = 224
EDITS: list[dict[str, float]] = [{}, {"smile": -2.0}, {"age": 2.0}, {"hair:blond": 1.0}, {"gender": 1.0}]


def main() -> None:
    face = editing.load().open(open_example(), face=0, settings="faithful")
    edited = [face.edit(edit) for edit in EDITS]
    photos = [_crop(one.photo, face.chosen.face) for one in edited]
    crop = _crop(face.chosen.photo.pixels, face.chosen.face)
    out = Path(__file__).parents[1] / "docs" / "example.jpg"
    sheet = editing.join(np.stack([np.stack([crop, *(_enlarged(one.picture) for one in edited)]),
                                   np.stack([crop, *photos])]))
    inversion.save_picture(out, sheet, quality=88)
    print(out, f"LPIPS {face.inversion.lpips:.3f}, identity distance {face.inversion.identity:.2f}, "
               f"{face.inversion.seconds:.1f} s")


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
