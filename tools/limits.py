"""Makes the gallery of failures: `limits-covered.jpg`, `limits-photo.jpg` and the table in `limits.md`.

    python -m tools.limits [FOLDER]     (default: inversions are kept where the command line keeps its own)

An inversion that is in the folder already is not made again. The photo is NASA's portrait of Eileen Collins, from
scikit-image, and what covers her is drawn (see `tools.limits_drawing`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import directions
import editing
import generators
import inversion
from editing.pipeline import Inverter, choose
from inversion.limits import with_warnings
from tools import limits_drawing as drawing
from weights.files import replacing

SIDE = 144
PRESETS = ("fast", "faithful")
EDIT = {"smile": -1.5}
NEIGHBOUR = 3  # Seed of the second face.
FOLDER = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True, eq=False)
class Case:
    """One photo of the gallery, and its inversions by preset."""

    name: str
    photo: inversion.Photo
    face: inversion.Face
    inversions: dict[str, inversion.Inversion]


def main() -> None:
    generator = generators.load("bundled")
    cache = inversion.InversionCache(sys.argv[1] if len(sys.argv) > 1 else None, on_note=print)
    inverter = Inverter(inversion.Projector(generator), cache)
    editor = editing.Editor(generator, directions.load("bundled"))
    rows = {name: [invert(inverter, case, photo) for case, photo in photos.items()]
            for name, photos in gallery(generator).items()}
    for name, cases in rows.items():
        path = FOLDER / f"limits-{name}.jpg"
        inversion.save_picture(path, editing.join(np.stack([row(editor, case) for case in cases])), quality=86)
        print(path)
    write_table([case for cases in rows.values() for case in cases])


def gallery(generator: generators.Generator) -> dict[str, dict[str, inversion.Photo]]:
    """The photos of the two pictures, by what is off with them."""
    from skimage import data

    photo = inversion.photo_from_array(data.astronaut(), name="astronaut")
    face = inversion.find_faces(photo)[0]
    neighbour = generators.to_pixels(generator.render(generator.sample([NEIGHBOUR], truncation=0.7)))[0]
    return {
        "covered": {"plain": photo, "glasses": drawing.with_glasses(photo, face),
                    "hat": drawing.with_hat(photo, face), "hand": drawing.with_hand(photo, face)},
        "photo": {"turned": drawing.turned(photo, face, 40), "tilted": drawing.tilted(photo, face, 28),
                  "tiny": drawing.shrunk(photo, face, 70), "blurred": drawing.softened(photo, face, 0.02),
                  "dark": drawing.darkened(photo, 0.25), "black and white": drawing.without_colours(photo),
                  "two faces": drawing.with_neighbour(photo, face, neighbour)},
    }


def invert(inverter: Inverter, name: str, photo: inversion.Photo) -> Case:
    """A photo's largest face by each preset, from the cache if it is there."""
    chosen = choose(photo, 0)
    inversions = {}
    for preset in PRESETS:
        [(record, _)] = inverter.obtain([chosen], inversion.preset(preset))
        # Those of a record from the cache may be an older version's.
        inversions[preset] = with_warnings(record, photo, chosen.face, chosen.faces,
                                           generator=inverter.projector.generator)
        print(f"{name}, {preset}: LPIPS {record.lpips:.3f}, identity distance {record.identity:.2f}", flush=True)
    return Case(name, photo, chosen.face, inversions)


def row(editor: editing.Editor, case: Case) -> np.ndarray:
    """Crop, inversions, edit, and the edit put back into the photo: uint8 [5, SIDE, SIDE, 3]."""
    faithful = case.inversions["faithful"]
    editor.set_latent(faithful)
    edited = editor.edit(EDIT)
    small = [inversion.made_smaller(picture, SIDE) for picture in (*(record.picture for record in
                                                                     case.inversions.values()), edited)]
    pasted = inversion.paste_back(case.photo, case.face, edited, original=faithful.picture)
    photos = [case.photo, inversion.photo_from_array(pasted)]
    before, after = (inversion.align(photo, case.face, SIDE) for photo in photos)
    return np.stack([before, *small, after])


def write_table(cases: list[Case]) -> None:
    """Put each case's numbers and warnings between the marks in the text."""
    lines = ["| photo | preset | LPIPS | identity distance | the program says |", "|---|---|---|---|---|"]
    for case in cases:
        for preset, record in case.inversions.items():
            said = "<br>".join(text.split(":")[0] for text in record.warnings) or "nothing"  # Without what to do.
            lines.append(f"| {case.name} | {preset} | {record.lpips:.3f} | {record.identity:.2f} | {said} |")
    path = FOLDER / "limits.md"
    marks = "<!-- table -->\n", "<!-- end of table -->"
    text, count = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _: "\n".join((marks[0], *lines, "", marks[1])),
                          path.read_text(encoding="utf-8"), flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path}: the marks of the table are missing")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
