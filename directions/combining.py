"""Several directions, moved together, as one with a name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.control import Direction
from directions.linear import LinearDirection
from directions.weights import WeightDirection, weight_direction
from weights.errors import InputError


def combined(parts: Sequence[tuple[Direction, float]], *, name: str,
             layers: tuple[int, int] | None = None) -> LinearDirection | WeightDirection:
    """One direction whose strength 1 moves as far as all of some do at their strengths.

    Args:
        parts: Directions of one output and their strengths, of which none is 0; all in W, or one of weights.
        name: What it is to be called.
        layers: Layer range, in sides of features; None: that of the parts.
    Raises:
        InputError: nothing is moved, the parts have layers of their own that differ, or they move different things.
    """
    if not parts:
        raise InputError(name, "nothing is moved", "move a slider first")
    names = ", ".join(f"{each.name} {strength:+g}" for each, strength in parts)
    first = parts[0][0]
    if isinstance(first, WeightDirection) and len(parts) == 1:
        length = parts[0][1] * first.units[0]
        return weight_direction(first.deformation.direction, layer=first.deformation.layer, weights=first.weights,
                                name=name, length=length, report={**first.report, "of": names})
    linear = [each for each, _ in parts if isinstance(each, LinearDirection)]
    if len(linear) < len(parts):
        raise InputError(name, "directions of weights cannot be put together", "set one of them alone")
    if layers is None and len({each.layers for each in linear}) > 1:
        raise InputError(name, f"{', '.join(each.name for each in linear)} move different layers",
                         "choose one range of layers for all of them, or set one alone")
    moves = [strength * each.units[0] * each.directions[0].double()
             for each, (_, strength) in zip(linear, parts, strict=True)]
    rows = torch.stack(moves).sum(dim=0)
    length = float(rows.norm())
    if not length > 1e-6 * sum(abs(strength) * each.units[0] for each, strength in parts):
        raise InputError(name, "its parts cancel each other", "move the sliders otherwise")
    unit = F.normalize(rows, dim=0).float()
    return LinearDirection(name=name, found_by=linear[0].found_by, directions=unit[None], units=(length,), step=length,
                           centre=_centre(linear, unit), layers=layers or linear[0].layers, report={"of": names})


def _centre(parts: Sequence[LinearDirection], unit: Tensor) -> float | None:
    """The coordinate of the mean along a sum of orthogonal directions; None where it cannot be told from theirs."""
    rows = [each.directions[0].float() for each in parts]
    if len(parts) == 1 and parts[0].centre is not None:
        return parts[0].centre * (1.0 if float(rows[0] @ unit) > 0 else -1.0)
    orthogonal = all(abs(float(rows[i] @ rows[j])) < 1e-3 for i in range(len(rows)) for j in range(i))
    if not orthogonal or any(each.centre is None for each in parts):
        return None
    return sum(float(unit @ row) * float(each.centre or 0.0) for row, each in zip(rows, parts, strict=True))

