"""GANSpace: the principal components of W are the directions, and one is picked for each attribute.

Härkönen, Hertzmann, Lehtinen and Paris, "GANSpace: Discovering Interpretable GAN Controls" (NeurIPS 2020). The paper
picks components by looking at pictures; here scores take the place of the eye.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from directions.boundaries import SHARE, belonging, check, fit_boundaries, linear_control, outputs_of
from directions.linear import LinearControl
from generators import LatentStatistics
from gradctrl import Scores
from weights.errors import InputError


def fit_components(latents: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components of W.

    Args:
        latents: w [N, w_dim].
        count: How many components are wanted.
    Returns:
        The mean of w [w_dim], unit components [K, w_dim], widest first, and the deviations [K] of w along them; K is
        below `count` where w does not vary in more dimensions. Signs are such that the largest entry is positive.

    Raises:
        InputError: fewer than two latents, or values that are not finite.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    statistics = LatentStatistics.of(latents, share=1.0)
    return statistics.mean, statistics.components[:count], statistics.deviations[:count]


def ganspace_candidates(latents: Tensor, scores: Mapping[str, Scores], *, count: int = 40, best: int = 5,
                        share: float = SHARE, regularisation: float = 1.0) -> dict[str, list[LinearControl]]:
    """For each attribute the controls whose directions are single principal components, the likeliest first.

    Component k is ranked for an output by r_k^2 / sqrt(r_k^2 + sum_m q_mk^2): r_k is the correlation of the component's
    coordinate with the output's log-odds, q_mk the largest (in size) with those of any output of another attribute m.
    It is |r_k| for a component that follows this output alone, and falls as it follows others. The direction has the
    sign of r_k. The score of each control is that of a linear boundary on w, fitted as for InterFaceGAN.

    Args:
        latents: w [N, w_dim].
        scores: Scores [N, C] by attribute.
        count: Among how many components to choose.
        best: How many controls an attribute; the i-th takes the i-th component of each output.
        share, regularisation: Of the boundaries, as for `fit_interfacegan`.
    Returns:
        Controls by attribute; `recombine` makes one of them. Their reports name "component" and its "rank" by output.

    Raises:
        InputError: scikit-learn is missing, scores do not fit the latents, or an attribute has too few examples.
    """
    check(latents, scores)
    x = latents.detach().cpu().float()
    mean, components, _ = fit_components(x, count)
    if len(components) < best:
        raise InputError(None, f"{len(x)} latents vary along {len(components)} components, of which {best} are wanted",
                         "sample more, or ask for fewer")
    coordinates = (x - mean) @ components.T  # [N, K]
    follows = {name: torch.stack([correlation(coordinates, item, classes) for classes in outputs_of(item)])
               for name, item in scores.items()}  # [outputs, K]
    result: dict[str, list[LinearControl]] = {}
    for name, item in scores.items():
        others = [rows.abs().amax(dim=0) for other, rows in follows.items() if other != name]
        blurred = sum((other.square() for other in others), torch.zeros(len(components)))
        squares = follows[name].square()
        ranks = squares / (squares + blurred).sqrt().clamp_min(1e-12)
        order = ranks.argsort(dim=1, descending=True, stable=True)[:, :best]  # [outputs, best]
        boundaries = fit_boundaries(x, item, share=share, regularisation=regularisation)
        result[name] = []
        for chosen in order.unbind(dim=1):
            signs = torch.where(follows[name].gather(1, chosen[:, None]) < 0, -1.0, 1.0)
            details = [{"component": int(k), "rank": float(ranks[output, k])} for output, k in enumerate(chosen)]
            result[name].append(linear_control(item, x, signs * components[chosen], boundaries, method="ganspace",
                                               details=details))
    return result


def correlation(coordinates: Tensor, scores: Scores, classes: tuple[int, ...]) -> Tensor:
    """Correlation [K] of coordinates [N, K] with the log-odds of some classes, over the samples that have a score."""
    values = belonging(scores, classes)[scores.mask]
    x = coordinates[scores.mask]
    x, values = x - x.mean(dim=0), values - values.mean()
    return (values @ x) / (values.norm() * x.norm(dim=0)).clamp_min(1e-12)
