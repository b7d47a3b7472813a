"""Directions: the gradient of a score at w, with what matters to kept attributes taken out of it.

Masks: Chen et al., "Exploring Gradient-based Multi-directional Controls in GANs" (2022), equations 2 and 3 and
algorithm 1. Projection: the same gradient, in the metric of W, with the kept attributes' gradients projected out.
The classifiers have two layers, so their gradients are written out; every latent has its own, without a Python loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from gradctrl.classifier import SLOPE, Classifier

RIDGE = 1e-6  # Of the projection, relative to gradients of length 1: kept gradients may be almost the same.
NEIGHBOURS = 8  # Around w, over which gradients are averaged.
SOFTNESS = 30.0  # How much the squared change of what is kept softly counts beside the squared length of a direction.


class Statistics(Protocol):
    """How far likely latents vary along each direction of W (`generators.LatentStatistics` is one)."""

    @property
    def mean(self) -> Tensor:
        """Mean of w [w_dim]."""

    @property
    def axes(self) -> Tensor:
        """Principal components of w times their deviations, widest first [K, w_dim]."""

    @property
    def reader(self) -> Tensor:
        """Matrix [w_dim, K] with which standard scores are p = (w - mean) @ reader."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Statistics:
        """The same on another device, in another precision."""


def gradient(classifier: Classifier, w: Tensor, target: int | Tensor = 0) -> Tensor:
    """Gradient of a classifier's score at w.

    For a class j the score is its log-odds, whose gradient is that of log p_j (equation 2) divided by 1 - p_j: the same
    direction, without the loss of precision where p_j is almost 1.

    Args:
        classifier: Of the attribute.
        w: Latents [N, w_dim].
        target: Output j whose score is followed, one for all or [N].
    Returns:
        d score_j / dw [N, w_dim].
    """
    hidden = torch.nn.functional.linear(w, classifier.hidden_weight, classifier.hidden_bias)  # [N, H]
    slope = torch.where(hidden > 0, 1.0, SLOPE).to(w.dtype)
    if classifier.binary:
        outer = classifier.out_weight  # [1, H]
    else:
        logits = torch.nn.functional.linear(hidden * slope, classifier.out_weight, classifier.out_bias)  # [N, C]
        chosen = torch.as_tensor(target, device=w.device).expand(w.shape[0])[:, None]  # [N, 1]
        others = logits.scatter(1, chosen, float("-inf")).softmax(dim=1)  # q_k = p_k / (1 - p_j), 0 at j.
        outer = (-others).scatter(1, chosen, 1.0) @ classifier.out_weight  # [N, H]
    return (outer * slope) @ classifier.hidden_weight


def mask(w: Tensor, keep: Sequence[tuple[Classifier, int]]) -> Tensor:
    """Channels that a direction must not touch at w (algorithm 1).

    For each attribute on the keep list, the channels with the largest |d score / dw| at this w; for a multi-class
    attribute the score of the class that w has now.

    Args:
        w: Latents [N, w_dim].
        keep: Classifiers of attributes, with channel counts; counts above w_dim mask every channel.
    Returns:
        bool [N, w_dim], True where the channel is masked.
    """
    masked = torch.zeros(w.shape, dtype=torch.bool, device=w.device)
    for classifier, count in keep:
        if count < 0:
            raise ValueError(f"the number of masked channels must not be negative, not {count}")
        if count == 0:
            continue
        now = 0 if classifier.binary else classifier.predict(w)
        top = gradient(classifier, w, now).abs().topk(min(count, w.shape[1]), dim=1).indices
        masked.scatter_(1, top, True)
    return masked


def direction(classifier: Classifier, w: Tensor, *, target: int = 0,
              keep: Sequence[tuple[Classifier, int]] = ()) -> Tensor:
    """The unit-length, masked gradient of one score at each w (equation 3).

    Args:
        classifier: Of the attribute to change.
        w: Latents [N, w_dim].
        target: Output whose score rises along the direction.
        keep: Classifiers of the attributes to leave alone, with their channel counts.
    Returns:
        [N, w_dim], each row of length 1; 0 where the mask leaves nothing.
    """
    return _unit(gradient(classifier, w, target).masked_fill(mask(w, keep), 0))


def projected_direction(classifier: Classifier, w: Tensor, *, target: int = 0, keep: Sequence[Classifier] = (),
                        statistics: Statistics | None = None, radius: float = 0.0, shell: bool = False,
                        soft: Sequence[Tensor] = ()) -> Tensor:
    """The steepest way up one score along which no kept score changes, by the covariance of W.

    With C = axes^T axes, the covariance of w, g the gradient of the score and G [M, w_dim] those of what is kept (a
    binary attribute's logit; for a multi-class one every class's logit against their mean), the direction is
    C (g - G^T l), with l such that G C (g - G^T l) = 0. It is the natural gradient of the score under the prior of W,
    constrained; where C is the identity it is plain projection.

    With `radius` all gradients are means over a neighbourhood of w, so that one follows the slope of the hill
    and not that of a stone on it; with `shell` the distance from the mean w is kept like a score: likely latents
    lie on a shell, and what is far outside is no face.

    What is kept softly is not projected out: its mean squared change counts as length. With S the sensitivities, C
    becomes (C^-1 + 30 S^T S)^-1. A classifier on w tells the gradient of a picture's score only in part, so that most
    of the real one is left when what it tells is projected out; a sensitivity, measured, tells which directions change
    the score at all (active subspaces, Constantine et al. 2014, arXiv 1304.2070).

    Args:
        classifier: Of the attribute to change.
        w: Latents [N, w_dim].
        target: Output whose score rises along the direction.
        keep: Classifiers of the attributes to leave alone.
        statistics: Of W; None: all directions of w count the same, and radius and shell mean nothing.
        radius: Gradients are averaged this far around w, in standard scores; 0: at w alone.
        shell: Leave the distance from the mean w, in standard scores, as it is.
        soft: Sensitivities of more attributes to leave alone, each [R, w_dim] (`fit_sensitivity`); with statistics.
    Returns:
        [N, w_dim], each row of length 1; 0 where nothing is left.
    """
    wide = torch.promote_types(w.dtype, torch.float32)  # Equations cannot be solved in half precision.
    axes = torch.eye(w.shape[1], device=w.device) if statistics is None else statistics.axes  # [K, w_dim]
    around = w[:, None] if statistics is None else _neighbours(w, axes, radius)  # [N, P, w_dim]
    axes = axes.to(wide)
    standing = None if statistics is None or not shell else ((w - statistics.mean) @ statistics.reader).to(wide)
    if soft:
        axes, lower = _narrowed(axes, tuple(soft))
        standing = None if standing is None else torch.linalg.solve_triangular(lower, standing.T, upper=False).T
    n = _unit(_mean_over(lambda x: gradient(classifier, x, target).to(wide), around) @ axes.T)  # [N, K]
    kept = [_mean_over(lambda x, other=other: _logit_gradients(other, x, wide), around)  # type: ignore[misc]
            @ axes.T for other in keep]
    if standing is not None:
        kept.append(standing[:, None])
    if kept:
        rows = torch.cat(kept, dim=1)  # [N, M, K]
        rows = rows / rows.norm(dim=2, keepdim=True).clamp_min(torch.finfo(wide).tiny)
        gram = rows @ rows.transpose(1, 2) + RIDGE * torch.eye(rows.shape[1], device=w.device, dtype=wide)
        left = n - (rows.transpose(1, 2) @ torch.linalg.solve(gram, rows @ n[:, :, None]))[:, :, 0]
        # What is left of a gradient that lies among the kept ones is rounding, not a direction.
        n = torch.where(left.norm(dim=1, keepdim=True) > 1e-3, left, 0.0)
    return _unit(n @ axes).to(w.dtype)


@lru_cache(maxsize=24)  # Each step of a walk asks for the same again, and each control for its own: 1.3 MB each.
def _narrowed(axes: Tensor, soft: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Axes [K, w_dim] by which C is (C^-1 + 30 S^T S)^-1, and the Cholesky factor [K, K] that makes them of these."""
    rows = torch.cat([part.to(axes) for part in soft]) @ axes.T  # [R, K]
    lower = torch.linalg.cholesky(torch.eye(len(axes)).to(axes) + SOFTNESS * rows.T @ rows)
    return torch.linalg.solve_triangular(lower, axes, upper=False), lower


def _neighbours(w: Tensor, axes: Tensor, radius: float) -> Tensor:
    """w [N, w_dim] and its neighbours [N, P, w_dim]; w alone where the radius is 0.

    Random offsets, the same for every w, and their opposites, so that their mean is w.
    """
    if radius == 0:
        return w[:, None]
    half = torch.randn(NEIGHBOURS // 2, len(axes), generator=torch.Generator().manual_seed(0))
    return w[:, None] + (radius * torch.cat([half, -half]).to(axes) @ axes).to(w.dtype)


def _mean_over(gradients: Callable[[Tensor], Tensor], around: Tensor) -> Tensor:
    """Mean over P neighbours of what is computed at each of them: [N, P, w_dim] to [N, ...]."""
    return gradients(around.flatten(0, 1)).unflatten(0, around.shape[:2]).mean(dim=1)


def _logit_gradients(classifier: Classifier, w: Tensor, wide: torch.dtype) -> Tensor:
    """Gradients [N, C, w_dim] of a binary classifier's logit (C = 1), or of each class's logit less their mean.

    The latter are linearly dependent, which rounding to half precision would hide: a direction of noise would be kept.
    """
    hidden = torch.nn.functional.linear(w, classifier.hidden_weight, classifier.hidden_bias)  # [N, H]
    slope = torch.where(hidden > 0, 1.0, SLOPE).to(wide)
    outer = classifier.out_weight.to(wide)
    outer = outer if classifier.binary else outer - outer.mean(dim=0)
    return (slope[:, None, :] * outer) @ classifier.hidden_weight.to(wide)


def _unit(n: Tensor) -> Tensor:
    """Rows scaled to length 1; zeros stay."""
    # Scaled by its largest entry first: the length of a very small gradient would underflow.
    n = n / n.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(n.dtype).tiny)
    return n / n.norm(dim=1, keepdim=True).clamp_min(torch.finfo(n.dtype).tiny)
