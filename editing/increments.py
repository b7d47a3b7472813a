"""Edits that go on until a class is reached: how strong they must be, and steps from class to class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from directions import Steerable
from editing.editor import Edited, Editor, Keep
from weights.errors import InputError

REMEDY = "keep fewer attributes (--keep), change more layers (--layers), or take longer steps (--step)"
FINEST = 1000  # Strengths are rounded to a part of 1 by this, away from 0: what is reached stays reached.


def round_up(strengths: Tensor) -> Tensor:
    """Strengths [N] that are rounded to thousandths away from 0, and by at least half of one; 0 and infinity stay.

    `Editor.strengths_to` finds where a score arrives; walking there again may end a rounding error before it.
    """
    size = (strengths.double().abs() * FINEST + 0.5).ceil() / FINEST
    return torch.where(strengths == 0, 0.0, size * strengths.sign())


def through(editor: Editor, name: str, *, keep: Keep | None = None, layers: tuple[int, int] | None = None,
            step: float | None = None, method: str | None = None) -> list[Edited]:
    """Bring the editor's latents to each class of an attribute, in increments through the classes between.

    From the class that a latent has now, by the control's own score, it goes to the neighbours in the order of the
    classes, from these to theirs, and so on to both ends: as the paper turns cars by 45 degrees a time (Chen et al.
    2022, figure 6).

    Args:
        editor: With the latents [N] set.
        name: The attribute.
        keep, layers, step, method: As for `Editor.edit`.
    Returns:
        For each class, in their order, the edited latents [N]. Those of the class that a latent has now are untouched.

    Raises:
        InputError: no such attribute, or a class is out of reach of a latent; the message names the class.
    """
    control = editor.controls.find(name)
    own = control.predict(editor.states(control, layers=layers))
    reached = [editor.edited] * len(control.classes)
    walker = Editor(editor.generator, editor.controls)  # The editor's own latents stay as they are.
    for class_index, source_index, coming in _hops(own, len(control.classes)):
        if len(coming):
            walker.set_latents(reached[source_index].select(coming))
            moved = _reach(walker, control, class_index, keep=keep, layers=layers, step=step, method=method)
            reached[class_index] = _replaced(reached[class_index], coming, moved)
    return reached


def _hops(own: Tensor, classes: int) -> Iterator[tuple[int, int, Tensor]]:
    """Class, neighbour it is reached from, and the latents [M] for which that is so; upwards, then downwards."""
    for class_index in range(1, classes):
        yield class_index, class_index - 1, (own < class_index).nonzero()[:, 0]
    for class_index in reversed(range(classes - 1)):
        yield class_index, class_index + 1, (own > class_index).nonzero()[:, 0]


def _reach(editor: Editor, control: Steerable, class_index: int, *, keep: Keep | None,
           layers: tuple[int, int] | None, step: float | None, method: str | None) -> Edited:
    """The editor's latents when they have reached a class."""
    name = f"{control.name}:{control.classes[class_index]}"
    strengths = round_up(editor.strengths_to(name, keep=keep, layers=layers, step=step, method=method))
    lost = int((~strengths.isfinite()).sum())
    if lost:
        raise InputError(name, f"out of reach for {lost} of {len(strengths)} latents", REMEDY)
    strengths = strengths.to(editor.latent)
    return editor.displace({editor.key_of(name): strengths}, keep=keep, layers=layers, step=step, method=method)


def _replaced(edited: Edited, index: Tensor, by: Edited) -> Edited:
    """Edited latents with those at some places replaced by others."""
    latent = edited.latent.clone()
    latent[index] = by.latent
    if by.styles is None:
        return Edited(latent, edited.styles)
    styles = by.styles.new_zeros(len(latent), by.styles.shape[1]) if edited.styles is None else edited.styles.clone()
    styles[index] = by.styles
    return Edited(latent, styles)
