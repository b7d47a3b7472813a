"""Makes the pictures at the head of the README: edits of samples, and of a photo.

    python -m tools.example [PHOTO]     (default: NASA's portrait of Eileen Collins, from scikit-image)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import editing
import inversion

DOCS = Path(__file__).parents[1] / "docs"
SIDE = 192
TRUNCATION = 0.75
SAMPLES = {2: (-1.0, -1.0, "none", 1.0), 90: (-1.0, 1.0, "eyeglasses", -1.0), 6: (1.0, -1.0, "eyeglasses", 1.0),
           76: (1.0, 1.0, "sunglasses", -1.0), 28: (-1.0, -1.0, "eyeglasses", 1.0)}
"""By seed: smile, gender, eyeglasses and pose; all grow older."""
OF_PHOTO = ({"smile": -1.0}, {"age": 0.6}, {"gender": 0.6}, {"eyeglasses:eyeglasses": 1.0}, {"pose": -0.5})


def main() -> None:
    editor = editing.load()
    write("example.jpg", samples(editor.editor))
    write("example-photo.jpg", photo(editor))


def samples(editor: editing.Editor) -> np.ndarray:
    """A row for each sample: as it is, and with each control."""
    rows = []
    for seed, (smile, gender, eyeglasses, pose) in SAMPLES.items():
        editor.set_latent(editor.generator.sample([seed], truncation=TRUNCATION)[0])
        edits: list[dict[str, float]] = [{}, {"smile": smile}, {"age": 1.0}, {"gender": gender},
                                         {f"eyeglasses:{eyeglasses}": 1.0}, {"pose": pose}]
        rows.append([inversion.made_smaller(editor.edit(edit), SIDE) for edit in edits])
    return np.array(rows)


def photo(editor: editing.PhotoEditor) -> np.ndarray:
    """Upper row: the crop, its inversion and edits; lower row: the photo, and the edits put back into it."""
    face = editor.open(open_example(), face=0, settings="faithful")
    print(f"LPIPS {face.inversion.lpips:.3f}, identity distance {face.inversion.identity:.2f}, "
          f"{face.inversion.seconds:.1f} s")
    edited = [face.edit(edit) for edit in ({}, *OF_PHOTO)]
    crop = _crop(face.chosen.photo.pixels, face.chosen.face)
    drawn = [inversion.made_smaller(one.picture, SIDE) for one in edited]
    return np.array([[crop, *drawn], [crop, *(_crop(one.photo, face.chosen.face) for one in edited)]])


def open_example() -> inversion.Photo:
    """The photo that the command line names, or the astronaut."""
    if len(sys.argv) > 1:
        return inversion.open_photo(sys.argv[1])
    from skimage import data

    return inversion.photo_from_array(data.astronaut(), name="astronaut")


def write(name: str, pictures: np.ndarray) -> None:
    """Write pictures uint8 [rows, columns, H, W, 3] as one into docs/."""
    inversion.save_picture(DOCS / name, editing.join(pictures), quality=84)
    print(DOCS / name)


def _crop(pixels: np.ndarray, face: inversion.Face) -> np.ndarray:
    return inversion.align(inversion.photo_from_array(pixels), face, SIDE)


if __name__ == "__main__":
    main()
