"""Holding attributes still: a direction without what moves the scores of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.control import Control
from directions.linear import LinearDirection, span_of
from weights.errors import InputError

LEAST = 0.1  # Of a direction's length that must be left.


def held_still(direction: LinearDirection, kept: Sequence[Control], at: Tensor) -> LinearDirection:
    """A direction less its projection on the span of the gradients of what is to be held still.

    The scores of linear controls do not change along it at all, those of others to first order about the latents that
    are given.

    Args:
        direction: The direction, in W.
        kept: The controls whose scores are to stay.
        at: Latents w [N, D], over which gradients are averaged.
    Returns:
        The direction; strength 1 goes as far along what is left as it went along it before.

    Raises:
        InputError: next to nothing is left, or a control moves something else.
    """
    if not kept:
        return direction
    for control in kept:
        if control.moves != direction.moves:
            raise InputError(control.name, f"moves {control.moves}, and {direction.name} {direction.moves}",
                             "hold others still")
    gradients = torch.cat([_gradients(control, at.float()) for control in kept]).double()
    span = span_of(F.normalize(gradients, dim=1))
    row = direction.directions[0].double()
    left = row - span.T @ (span @ row)
    share = float(left.norm())
    names = ", ".join(control.name for control in kept)
    if share < LEAST:
        raise InputError(direction.name, f"moves little else than what is to be held still ({names}): {share:.0%} of "
                         "it is left", "hold fewer attributes still")
    unit = (left / share).float()
    centre = None if direction.centre is None else float(at.float().mean(dim=0) @ unit)
    return replace(direction, directions=unit[None].to(direction.directions), units=(direction.units[0] * share,),
                   step=direction.step * share, centre=centre,
                   report={**direction.report, "holds still": names, "left of it": round(share, 3)})


@torch.enable_grad()
def _gradients(control: Control, at: Tensor) -> Tensor:
    """The gradient [outputs, D] of each score of a control, averaged over latents [N, D]."""
    x = at.detach().clone().requires_grad_(True)
    scores = control.scores(x)
    return torch.stack([torch.autograd.grad(scores[:, output].sum(), x, retain_graph=True)[0].mean(dim=0)
                        for output in range(scores.shape[1])])
