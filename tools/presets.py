"""Makes the picture of the presets in docs/performance.md: what each finds, and what growing strength does to it.

    python -m tools.presets [PHOTO]     (default: NASA's portrait of Eileen Collins, from scikit-image)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import editing
import inversion
from tools.example import open_example

EDITS: list[dict[str, float]] = [{}, {"smile": -1.0}, {"smile": -2.0}, {"smile": -3.0}, {"age": 2.0}]


def main() -> None:
    editor, photo, rows = editing.load(), open_example(), []
    for name in inversion.PRESETS:
        face = editor.open(photo, face=0, settings=name)
        record = face.inversion
        rows.append(np.stack([record.crop, *(face.edit(edit).picture for edit in EDITS)]))
        print(name, f"LPIPS {record.lpips:.3f}, identity distance {record.identity:.2f}, {record.seconds:.1f} s")
    out = Path(__file__).parents[1] / "docs" / "presets.jpg"
    inversion.save_picture(out, editing.join(np.stack(rows)), quality=90)
    print(out)


if __name__ == "__main__":
    main()
