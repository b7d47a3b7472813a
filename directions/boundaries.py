"""What the linear methods have in common: examples of an output, boundaries between its sides, and controls of them.

With `estimators.py` the room of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.linear import LinearControl
from directions.methods import MethodName
from gradctrl import Scores
from weights.errors import InputError

FEWEST = 2  # Examples on either side of a boundary.


def check(latents: Tensor, scores: Mapping[str, Scores]) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        InputError: the latents are not finite, there are no scores, or as many as there are latents are not.
        ValueError: the latents are not [N, D].
    """
    if latents.ndim != 2:
        raise ValueError(f"latents must be [N, D], not {list(latents.shape)}")
    if not scores:
        raise InputError(None, "no attribute has scores", "score the samples first")
    if not latents.isfinite().all():
        raise InputError(None, "the latents hold values that are not finite", "sample them again")
    for name, item in scores.items():
        if len(item.values) != len(latents):
            raise InputError(name,
                             f"scores by {item.scorer} are of {len(item.values)} samples, but there are "
                             f"{len(latents)} latents", "score these samples again")


def outputs_of(scores: Scores) -> list[tuple[int, ...]]:
    """For each output of an attribute's linear control the classes that it stands for, against all others.

    Binary: the positive one. Without order: each class. In order: the first class, then each later class with all
    that follow it (see `LinearControl`).
    """
    count = len(scores.classes)
    if count == 2:
        return [(1,)]
    return [tuple(range(j, count)) if scores.ordered and j else (j,) for j in range(count)]


def title(scores: Scores, classes: Sequence[int]) -> str:
    """The name of an output: "blond", "front or right"."""
    return " or ".join(scores.classes[index] for index in classes)


def others(scores: Scores, classes: Sequence[int]) -> list[int]:
    return [index for index in range(len(scores.classes)) if index not in classes]


def belonging(scores: Scores, classes: Sequence[int]) -> Tensor:
    """Log-odds [N] that a sample is of one of the classes, against all others; 0 where its score is not known."""
    values = scores.values.where(scores.mask[:, None], 0.0)
    return values[:, list(classes)].logsumexp(dim=1) - values[:, others(scores, classes)].logsumexp(dim=1)


def members(scores: Scores, classes: Sequence[int]) -> Tensor:
    """Whether each sample is of one of the classes, bool [N]; False where its score is not known."""
    return torch.isin(scores.labels, torch.tensor(list(classes))) & scores.mask


def most_confident(scores: Scores, classes: Sequence[int], count: int | None) -> Tensor:
    """Samples that are examples of some classes, the most confident of each class, as many of each as there are.

    Args:
        scores: One attribute's.
        classes: The classes.
        count: How many samples in all, shared out among the classes; None, or scores without degrees: all there are.
    Returns:
        Indexes [M], fewer than `count` where a class has not enough samples.

    Raises:
        InputError: a class has next to no samples.
    """
    parts = []
    for index in classes:
        samples = members(scores, [index]).nonzero()[:, 0]
        if len(samples) < FEWEST:
            raise InputError(scores.attribute,
                             f"{len(samples)} samples are {scores.classes[index]} by {scores.scorer}, at least "
                             f"{FEWEST} are needed", "sample more, or leave the attribute out")
        order = scores.log_odds[samples, index].argsort(descending=True, stable=True)
        parts.append(samples[order if count is None else order[:max(FEWEST, -(-count // len(classes)))]])
    return torch.cat(parts)


SHARE = 0.02         # Of the samples, the most confident ones on each side (Shen et al. 2020, section 4.1).
FEWEST_IN_SHARE = 30
CERTAIN = 1e4         # Inverse strength with which log-odds are held back: sides that are apart keep finite ones.


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
    """Slope and offset of the log-odds as a function of the machine's values [N]: logistic regression."""
    from sklearn.linear_model import LogisticRegression

    size = float(values.abs().mean().clamp_min(1e-300))
    fitted = LogisticRegression(C=CERTAIN, tol=1e-8).fit((values / size)[:, None].numpy(), truth.numpy())
    return float(fitted.coef_[0, 0]) / size, float(fitted.intercept_[0])


STEPS = 10  # That a path of strength 1 takes.


def fit_boundaries(x: Tensor, scores: Scores, *, share: float, regularisation: float,
                   scale: Tensor | None = None) -> list[Boundary]:
    """The boundary of each output; arguments as for `fit_boundary`."""
    return [fit_boundary(x, scores, classes, share=share, regularisation=regularisation, scale=scale)
            for classes in outputs_of(scores)]


def linear_control(scores: Scores, x: Tensor, directions: Tensor, boundaries: Sequence[Boundary], *, method: MethodName,
                   keep: Sequence[str] = (), details: Sequence[Mapping[str, object]]) -> LinearControl:
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
        details: What the report tells of each output.
    """
    weights, bias = torch.stack([b.weight for b in boundaries]), torch.stack([b.bias for b in boundaries])
    units = crossing_units(x[scores.mask], directions, weights, bias)
    report = {"scorer": scores.scorer, "samples": int(scores.mask.sum()), "outputs": [
        {"class": title(scores, classes), "examples": list(b.examples), "accuracy": b.accuracy, **more}
        for classes, b, more in zip(outputs_of(scores), boundaries, details, strict=True)]}
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
