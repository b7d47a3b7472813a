"""Linear controls out of directions and boundaries; the same for all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from directions.examples import outputs_of, title
from directions.linear import LinearControl
from directions.methods import MethodName
from directions.svm import Boundary, fit_boundary
from gradctrl import Scores

STEPS = 10  # That a path of strength 1 takes.


def fit_boundaries(x: Tensor, scores: Scores, *, share: float, regularisation: float,
                   scale: Tensor | None = None) -> list[Boundary]:
    """The boundary of each output; arguments as for `fit_boundary`."""
    return [fit_boundary(x, scores, classes, share=share, regularisation=regularisation, scale=scale)
            for classes in outputs_of(scores)]


def linear_control(scores: Scores, x: Tensor, directions: Tensor, boundaries: Sequence[Boundary], *, method: MethodName,
                   keep: Sequence[str] = (), found: Sequence[Mapping[str, object]]) -> LinearControl:
    """A control of one attribute that edits all layers.

    Strength 1 is the path after which the score of a typical sample has changed sign (`crossing_units`). That is a
    beginning; what pictures need is found by tuning.

    Args:
        scores: The attribute's.
        x: The samples' latents or styles [N, D].
        directions: Unit rows [outputs, D].
        boundaries: One for each output.
        method: How the directions were found.
        keep: The default keep list.
        found: What the report tells of each output.
    """
    weights, bias = torch.stack([b.weight for b in boundaries]), torch.stack([b.bias for b in boundaries])
    units = crossing_units(x[scores.mask], directions, weights, bias)
    report = {"scorer": scores.scorer, "samples": int(scores.mask.sum()), "outputs": [
        {"class": title(scores, classes), "examples": list(b.examples), "accuracy": b.accuracy, **more}
        for classes, b, more in zip(outputs_of(scores), boundaries, found, strict=True)]}
    return LinearControl(name=scores.attribute, classes=scores.classes, found_by=method, directions=directions,
                         weights=weights, bias=bias, units=units, step=min(units) / STEPS,
                         ordered=scores.ordered and len(scores.classes) > 2, report=report,
                         keep=dict.fromkeys(keep, 1))


def crossing_units(x: Tensor, directions: Tensor, weights: Tensor, bias: Tensor) -> tuple[float, ...]:
    """For each output the median of |score| / slope over x [N, D]: the path after which a score has changed sign.

    The slope is what the score gains along the direction; one that is next to 0 counts as a thousandth of the score's
    steepest.
    """
    size = (x @ weights.T + bias).abs().median(dim=0).values  # [outputs]
    slope = (weights * directions).sum(dim=1).clamp_min(1e-3 * weights.norm(dim=1))
    return tuple((size / slope).clamp_min(1e-6).tolist())
