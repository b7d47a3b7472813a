"""Makes the picture of docs/gallery.md: each bundled control on six faces of nobody, before and after.

    python -m tools.gallery
"""

from __future__ import annotations

import numpy as np

import editing
import inversion
from directions import Control
from tools.example import write

SIDE = 96
SEEDS = (51, 39, 202, 62, 90, 76)
TRUNCATION = 0.75


def main() -> None:
    editor = editing.load().editor
    rows = []
    for name in editor.controls:
        control = editor.controls.control(name)
        assert isinstance(control, Control)
        for key in control.keys if not control.binary else [name]:
            rows.append([picture for seed in SEEDS for picture in pair(editor, control, key, seed)])
            print(key)
    write("gallery.jpg", np.array(rows))


def pair(editor: editing.Editor, control: Control, key: str, seed: int) -> list[np.ndarray]:
    """A sample, and edited at strength 1: away from what its control takes it for, as far as the safe range goes.

    Where it has the class of several already, it is not edited.
    """
    editor.set_latent(editor.generator.sample([seed], truncation=TRUNCATION)[0])
    own = int(control.predict(editor.states(control))[0])
    away = control.heading(1 - own)[1] if control.binary else float(key != control.keys[own])
    strength = min(max(away, control.limits[0]), control.limits[1])
    return [inversion.made_smaller(editor.edit(edit), SIDE) for edit in ({}, {key: strength})]


if __name__ == "__main__":
    main()
