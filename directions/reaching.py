"""How far an edit must go until a class is reached, by the control's own score."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from directions.control import Control, KeepList
from directions.controls import Controls
from directions.displacement import EditedLatents, chosen_direction, keep_list, states, step_of
from directions.edit import Edit
from generators import Generator
from weights.errors import InputError

FARTHEST = 50  # Steps after which a class counts as out of reach.


@torch.no_grad()
def strengths_to(generator: Generator, controls: Controls, edited: EditedLatents, name: str, edit: Edit) -> Tensor:
    """Strengths [N] at which the control's own score of a class reaches its margin.

    Args:
        generator: Whose latents they are.
        controls: Where the name is looked up.
        edited: The latents [N].
        name: "smile", "smile:serious" or "hair:blond".
        edit: How to edit; its strengths mean nothing.
    Returns:
        Signed strengths of `key_of(controls, name)`; 0 where the class is there already, infinite where it is out of
        reach.
    Raises:
        InputError: no such attribute or class, or a direction without classes.
    """
    control, class_index = class_of(controls, name, edit)
    x = states(generator, control, edited, layers=edit.layers)
    output, _ = control.heading(class_index)
    classes = torch.full([len(x)], class_index, device=x.device)
    lengths = lengths_to(control, x, classes, keep=keep_list(controls, control, edit), step=step_of(control, edit))
    return lengths / control.units[output]


def class_of(controls: Controls, name: str, edit: Edit) -> tuple[Control, int]:
    """The control and the class that "smile", "smile:serious" or "hair:blond" names.

    Raises:
        InputError: there is none, or what is there knows no classes.
    """
    attribute, _, class_name = name.partition(":")
    control = chosen_direction(controls, attribute, edit)
    if not isinstance(control, Control):
        raise InputError(name, "is a direction without classes, which nothing tells when it has arrived",
                         "give it a strength")
    if control.binary and class_name == control.classes[0]:
        return control, 0
    output = control.target(class_name or None)
    return control, 1 if control.binary else output


def key_of(controls: Controls, name: str, edit: Edit) -> str:
    """The name whose strength leads to a class: "smile" for "smile:serious" (below 0), "hair:blond" as it is."""
    control, class_index = class_of(controls, name, edit)
    return control.keys[0 if control.binary else class_index]


@torch.no_grad()
def lengths_to(control: Control, x: Tensor, classes: Tensor, *, keep: KeepList = (), step: float | None = None,
               longest: float | None = None) -> Tensor:
    """How far each latent must go until a class is its answer: the path's length when the score reaches the margin.

    Full steps, then one that is shortened so that the score just gets there; walking the length that is returned ends
    at the same place. A latent that has arrived already goes nowhere.

    Args:
        control: The attribute, with its margins.
        x: Latents [N, D].
        classes: Index of the class to reach, of each latent [N].
        keep: Attributes to leave alone, with their channel counts.
        step: Length of a step; None: the control's own.
        longest: Length after which a latent is given up; None: 50 steps.
    Returns:
        Signed lengths [N] along the direction of `control.heading(class)`; infinite (with the sign) where the class was
        not reached.
    """
    step = control.step if step is None else step
    longest = FARTHEST * step if longest is None else longest
    result = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for class_index in classes.unique().tolist():
        chosen = (classes == class_index).nonzero()[:, 0]
        result[chosen] = _lengths_to_class(control, x[chosen], class_index, keep, step, longest)
    return result


def _lengths_to_class(control: Control, x: Tensor, class_index: int, keep: KeepList, step: float,
                      longest: float) -> Tensor:
    output, sign = control.heading(class_index)
    margin = control.margin(class_index)
    lengths = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    walking = (control.score_of(x, class_index) < margin).nonzero()[:, 0]
    here = x[walking]
    for taken in range(ceil(longest / step)):
        if not len(walking):
            break
        n = sign * control.direction(here, output, keep)
        after = control.score_of(here + step * n, class_index)
        arrived = after >= margin
        part = _part_of_step(control, here[arrived], step * n[arrived], class_index, margin)
        lengths[walking[arrived]] = step * (taken + part)
        walking, here = walking[~arrived], (here + step * n)[~arrived]
    lengths[walking] = torch.inf
    return sign * lengths


def _part_of_step(control: Control, x: Tensor, whole: Tensor, class_index: int, margin: float) -> Tensor:
    """The smallest part of a step, in (0, 1], with which the score is at the margin, by bisection."""
    low, high = torch.zeros_like(x[:, 0]), torch.ones_like(x[:, 0])
    for _ in range(10):
        middle = (low + high) / 2
        arrived = control.score_of(x + middle[:, None] * whole, class_index) >= margin
        low, high = torch.where(arrived, low, middle), torch.where(arrived, middle, high)
    return high
