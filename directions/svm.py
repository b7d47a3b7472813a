"""Linear boundaries between the two sides of an output, and the log-odds that belong to them.

The one room of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.examples import members, most_confident, others, title
from gradctrl import Scores
from weights.errors import InputError

SHARE = 0.02         # Of the samples, the most confident ones on each side (Shen et al. 2020, section 4.1).
FEWEST_IN_SHARE = 30
NEWTON_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A hyperplane, and the log-odds weight x + bias, of which it is where they are 0."""

    weight: Tensor             # [D]
    bias: Tensor               # []
    examples: tuple[int, int]  # With and without.
    accuracy: float            # Share of all samples, not only the examples, that lie on their side.

    @property
    def normal(self) -> Tensor:
        """Unit vector [D] from the boundary to the positive side."""
        return self.weight / self.weight.norm()


def fit_boundary(x: Tensor, scores: Scores, classes: Sequence[int], *, share: float = SHARE,
                 regularisation: float = 1.0, scale: Tensor | None = None) -> Boundary:
    """Fit a linear support vector machine on the most confident examples of some classes and of the others.

    The machine gives the normal; how far from the boundary which log-odds are, and where the boundary lies, is then
    fitted on all samples (Platt, "Probabilistic outputs for support vector machines", 1999).

    Args:
        x: Latents or styles [N, D].
        scores: One attribute's [N, C].
        classes: The classes on the positive side.
        share: Share of the samples that are examples, on each side; labels without degrees are all examples.
        regularisation: C of the machine, for latents of unit size.
        scale: What x is divided by, [D]; None: the one number that makes the latents' root mean square length 1, which
            leaves the shape of W as it is.
    Returns:
        The boundary, in x's own coordinates; the same for the same input.

    Raises:
        InputError: scikit-learn is not installed, a side has too few examples, or x does not tell the sides apart.
    """
    known = int(scores.mask.sum())
    count = max(FEWEST_IN_SHARE, round(share * known)) if scores.graded else None
    with_it = most_confident(scores, classes, count)
    without = most_confident(scores, others(scores, classes), count)
    examples = torch.cat([with_it, without])
    wide = x.double()
    centre = wide.mean(dim=0)
    if scale is None:
        scale = (wide - centre).square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    labels = torch.arange(len(examples)) < len(with_it)
    weight = _svm((wide[examples] - centre) / scale, labels, regularisation) / scale
    x_known, truth = wide[scores.mask], members(scores, classes)[scores.mask]
    slope, offset = _platt((x_known - centre) @ weight, truth)
    if not slope > 0:
        raise InputError(scores.attribute, f"the latents do not tell {title(scores, classes)} from the others",
                         "sample more, or leave the attribute out")
    weight = slope * weight
    bias = offset - weight @ centre
    accuracy = float(((x_known @ weight + bias > 0) == truth).float().mean())
    return Boundary(weight=weight.to(x.dtype), bias=bias.to(x.dtype), examples=(len(with_it), len(without)),
                    accuracy=accuracy)


def _svm(x: Tensor, labels: Tensor, regularisation: float) -> Tensor:
    """Normal [D] of the boundary between x [M, D] with and without label, in its own scale."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise InputError(None, "scikit-learn, which fits linear boundaries, is not installed",
                         "run `pip install 'gradctrl[evaluate]'`") from error
    machine = LinearSVC(C=regularisation, class_weight="balanced", dual="auto", max_iter=20_000, random_state=0)
    machine.fit(x.numpy(), labels.numpy())
    return torch.from_numpy(machine.coef_[0].copy())


def _platt(values: Tensor, truth: Tensor) -> tuple[float, float]:
    """Slope and offset of the log-odds as a function of the machine's values [N]: logistic regression by Newton.

    With Platt's targets, which are a little off 0 and 1, so that sides that are apart have finite log-odds.
    """
    size = values.abs().mean().clamp_min(1e-300)
    design = torch.stack([values / size, torch.ones_like(values)], dim=1)  # [N, 2]
    count = float(truth.sum())
    target = torch.where(truth, (count + 1) / (count + 2), 1 / (len(truth) - count + 2)).to(values.dtype)

    def loss(at: Tensor) -> float:
        return float(torch.nn.functional.binary_cross_entropy_with_logits(design @ at, target))

    found = torch.zeros(2, dtype=values.dtype)
    for _ in range(NEWTON_STEPS):
        p = (design @ found).sigmoid()
        hessian = (design * (p * (1 - p))[:, None]).T @ design / len(values)
        hessian = hessian + 1e-9 * torch.eye(2, dtype=values.dtype)
        step = torch.linalg.solve(hessian, design.T @ (p - target) / len(values))
        while step.abs().max() > 1e-9 and loss(found - step) > loss(found):
            step = step / 2  # Newton's step overshoots where the sides are almost apart.
        found = found - step
        if step.abs().max() < 1e-9:
            break
    return float(found[0] / size), float(found[1])
