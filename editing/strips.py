"""Strips: the source with growing strength both ways, as one picture; and the frames of an edit's path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from directions import Edit, EditedLatents
from editing.editor import NOTHING, RENDER_BATCH, Editor

STRENGTHS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


def strip(editor: Editor, attribute: str, strengths: Sequence[float] = STRENGTHS, edit: Edit = NOTHING, *,
          side: int | None = None) -> np.ndarray:
    """Render one attribute at several strengths, side by side.

    Args:
        editor: With the latent(s) set.
        attribute: "smile", or "hair:blond" for a multi-class one.
        strengths: From left to right; 0 is the source.
        edit: How to edit; its strengths mean nothing.
        side: Of each picture, as for `Editor.render`.
    Returns:
        uint8 [N * R, len(strengths) * R, 3]: a row for each latent.
    """
    edits = [edit.with_strengths({attribute: strength}) for strength in strengths]
    return join(edit_each(editor, edits, side=side))


def frames(editor: Editor, edit: Edit, count: int, *, side: int | None = None,
           on_frame: Callable[[int], None] | None = None) -> np.ndarray:
    """Render the way from the source to an edit.

    Args:
        editor: With one latent set.
        edit: The whole edit.
        count: How many frames; the first is the source, the last the whole edit.
        side: Of each, as for `Editor.render`.
        on_frame: Called with how many are drawn.
    Returns:
        uint8 [count, R, R, 3].
    """
    if count < 2:
        raise ValueError(f"a path needs at least 2 frames, not {count}")
    parts = [_on_the_way(editor, edit, index / (count - 1)) for index in range(count)]
    drawn: list[np.ndarray] = []
    for start in range(0, count, RENDER_BATCH):
        drawn.extend(editor.render(EditedLatents.join(parts[start:start + RENDER_BATCH]), side,
                                   with_tone=editor.keeps_tone(edit)))
        if on_frame is not None:
            on_frame(len(drawn))
    return np.stack(drawn)


def _on_the_way(editor: Editor, edit: Edit, part: float) -> EditedLatents:
    """Latents after a part of an edit. Strength 0 of a centred one is not the source: it is gone to straight."""
    if edit.centred:
        return editor.edited.towards(editor.displace(edit), part)
    return editor.displace(edit.with_strengths({name: part * strength for name, strength in edit.strengths.items()}))


def edit_each(editor: Editor, edits: Sequence[Edit], *, side: int | None = None) -> np.ndarray:
    """Render several edits of the editor's latents: uint8 [N, len(edits), R, R, 3]."""
    pictures = editor.render(EditedLatents.join([editor.displace(edit) for edit in edits]), side,
                             with_tone=all(editor.keeps_tone(edit) for edit in edits))
    return pictures.reshape(len(edits), -1, *pictures.shape[1:]).swapaxes(0, 1)


def join(pictures: np.ndarray) -> np.ndarray:
    """Lay pictures uint8 [rows, columns, H, W, 3] out as one: uint8 [rows * H, columns * W, 3]."""
    rows, columns, height, width, _ = pictures.shape
    return pictures.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
