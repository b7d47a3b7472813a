"""Edits that go on until a class is reached: how strong they must be, and steps from class to class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from directions import Edit, EditedLatents
from editing.editor import NOTHING, Editor
from weights.errors import InputError

REMEDY = "keep fewer attributes (--keep), change more layers (--layers), or take longer steps (--step)"
FINEST = 1000  # Strengths are rounded to a part of 1 by this, away from 0: what is reached stays reached.


def round_up(strengths: Tensor) -> Tensor:
    """Strengths [N] that are rounded to thousandths away from 0, and by at least half of one; 0 and infinity stay.

    `Editor.strengths_to` finds where a score arrives; walking there again may end a rounding error before it.
    """
    size = (strengths.double().abs() * FINEST + 0.5).ceil() / FINEST
    return torch.where(strengths == 0, 0.0, size * strengths.sign())


def through(editor: Editor, name: str, edit: Edit = NOTHING) -> list[EditedLatents]:
    """Bring the editor's latents to each class of an attribute, in increments through the classes between.

    From the class that a latent has now, by the control's own score, it goes to the neighbours in the order of the
    classes, from these to theirs, and so on to both ends: as the paper turns cars by 45 degrees a time (Chen et al.
    2022, figure 6).

    Args:
        editor: With the latents [N] set.
        name: The attribute.
        edit: How to edit; its strengths mean nothing.
    Returns:
        For each class, in their order, the edited latents [N]. Those of the class that a latent has now are untouched.

    Raises:
        InputError: no such attribute, or a class is out of reach of a latent; the message names the class.
    """
    control = editor.controls.control(name)
    present = control.predict(editor.states(control, layers=edit.layers))
    reached = [editor.edited] * len(control.classes)
    walker = Editor(editor.generator, editor.controls)  # The editor's own latents stay as they are.
    for class_index, neighbour, coming in _hops(present, len(control.classes)):
        if len(coming):
            walker.set_latents(reached[neighbour].select(coming))
            moved = _reach(walker, f"{name}:{control.classes[class_index]}", edit)
            reached[class_index] = reached[class_index].put(coming, moved)
    return reached


def _hops(present: Tensor, classes: int) -> Iterator[tuple[int, int, Tensor]]:
    """Class, neighbour it is reached from, and the latents [M] for which that is so; upwards, then downwards."""
    for class_index in range(1, classes):
        yield class_index, class_index - 1, (present < class_index).nonzero()[:, 0]
    for class_index in reversed(range(classes - 1)):
        yield class_index, class_index + 1, (present > class_index).nonzero()[:, 0]


def _reach(editor: Editor, name: str, edit: Edit) -> EditedLatents:
    """The editor's latents when they have reached a class."""
    strengths = round_up(editor.strengths_to(name, edit))
    lost = int((~strengths.isfinite()).sum())
    if lost:
        raise InputError(name, f"out of reach for {lost} of {len(strengths)} latents", REMEDY)
    return editor.displace(edit, strengths={editor.key_of(name): strengths.to(editor.latent)})
