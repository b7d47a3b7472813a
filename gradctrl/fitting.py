"""Training a control's classifier: on a few examples a class, as the paper does, or on the scores of many samples.

Where an image classifier scores samples of the generator for nothing, there is no reason to keep 30 a class and throw
the rest away: the classifier on w learns to tell the image classifier's logits themselves. Its boundary is then where
the image classifier's is, and its gradient follows what changes the score, not what tells two extremes apart. Where it
is known how the logits of some samples change with w, through the generator and the image classifier, it learns that
too (Czarnecki et al. 2017, "Sobolev Training for Neural Networks", arXiv 1706.04859): a score is one number of a
sample, its gradient w_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gradctrl.classifier import SLOPE, Classifier
from gradctrl.gradients import Statistics
from gradctrl.scores import Scores
from weights.errors import InputError

SLOPES = 32   # Samples with gradients in a step, of each network.
SENSITIVE = 32  # Rows of a sensitivity.
FEWEST = 200  # Scored samples; with fewer the few most confident ones teach more.


@dataclass(frozen=True, kw_only=True)
class FitExamplesSettings:
    """How a classifier is fitted to a few examples."""

    hidden: int = 16             # Units of the hidden layer.
    epochs: int = 300            # Passes over the examples, each one full batch.
    learning_rate: float = 1e-2  # Adam's, for inputs in standard scores; falls to 0 along a cosine.
    weight_decay: float = 1e-2   # Decoupled; with 30 examples a class in 512 dimensions it is what generalises.
    shaping: float = 1.0         # Examples shrink along their principal axes by (deviation / largest)^shaping; 0: not.
    patience: int = 60           # With validation examples: epochs without a lower loss on them before it stops.
    seed: int = 0                # Of the initial weights.


def fit_examples(latents: Tensor, labels: Tensor, *, classes: int = 2, settings: FitExamplesSettings | None = None,
                     validation: tuple[Tensor, Tensor] | None = None) -> Classifier:
    """Fit a classifier on w to a few examples a class (the paper uses 30).

    For the training the examples' w are centred, shaped (see below) and scaled; all of it is then folded into the first
    layer, so that the classifier takes plain w. Classes weigh the same, however many examples they have.

    Shaping: the w of a mapping network vary a thousand times more along some axes than along others, and a few examples
    can be told apart by chance along the thin ones, where a step leaves the w that the generator knows. Shrinking the
    thin axes makes the classifier, and so its gradient, follow the wide ones.

    Args:
        latents: w [N, w_dim].
        labels: Class indexes, integers [N] from 0 to classes - 1.
        classes: How many classes; 2 makes a binary classifier with one output.
        settings: Training settings; None: the defaults.
        validation: Other latents [V, w_dim] and their labels [V]: the weights of the epoch with the lowest loss on them
            are taken, and training stops when it no longer falls. None: all epochs are trained.
    Returns:
        The classifier, on the latents' device and in their dtype; the same for the same seed.

    Raises:
        InputError: a class has no example, or the latents have no finite values.
    """
    settings = settings or FitExamplesSettings()
    _check(latents, labels, classes)
    latents, labels = latents.detach(), labels.to(latents.device)
    centre, shape = latents.mean(dim=0), _shape(latents, settings.shaping)
    outputs = 1 if classes == 2 else classes
    weights = [t.to(latents).requires_grad_() for t in _initial_weights(latents.shape[1], outputs, settings)]
    train = _examples((latents - centre) @ shape, labels, classes)
    held_out = None
    if validation is not None:
        _check(*validation, classes, fewest=1)
        held_out = _examples((validation[0].detach().to(latents) - centre) @ shape, validation[1].to(labels), classes)
    first, first_bias, second, second_bias = _descend(weights, train, held_out, settings)
    first = first @ shape.T
    return Classifier(hidden_weight=first, hidden_bias=first_bias - first @ centre,
                      out_weight=second, out_bias=second_bias)


_Examples = tuple[Tensor, Tensor, Tensor]  # Inputs [N, w_dim], labels [N] and how much each class weighs [C].


def _examples(x: Tensor, labels: Tensor, classes: int) -> _Examples:
    counts = labels.bincount(minlength=classes).clamp_min(1)
    return x, labels, (len(labels) / (classes * counts)).to(x.dtype)


def _descend(weights: list[Tensor], train: _Examples, held_out: _Examples | None,
             settings: FitExamplesSettings) -> list[Tensor]:
    """Train in place; the weights of the last epoch, or of the best one by the held-out loss."""
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    best, lowest, since = [t.detach().clone() for t in weights], float("inf"), 0
    for _ in range(settings.epochs):
        loss = _loss(weights, train)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if held_out is None:
            continue
        with torch.no_grad():
            now = float(_loss(weights, held_out))
        since = 0 if now < lowest else since + 1
        if now < lowest:
            best, lowest = [t.detach().clone() for t in weights], now
        elif since >= settings.patience:
            break
    return [t.detach() for t in weights] if held_out is None else best


def _loss(weights: list[Tensor], examples: _Examples) -> Tensor:
    x, labels, importance = examples
    logits = F.linear(F.leaky_relu(F.linear(x, weights[0], weights[1]), SLOPE), weights[2], weights[3])
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(x.dtype), weight=importance[labels])
    return F.cross_entropy(logits, labels, weight=importance)


def _shape(latents: Tensor, power: float) -> Tensor:
    """A matrix [w_dim, w_dim] that shrinks the thin axes of latents, and gives the shaped ones unit deviation."""
    centred = (latents - latents.mean(dim=0)).cpu().double()  # Apple's MPS has no float64.
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    deviation = variance.clamp_min(0).sqrt()
    gain = (deviation / deviation[-1].clamp_min(1e-12)) ** power
    scale = (gain * deviation).square().mean().sqrt().clamp_min(1e-12)
    return ((axes * (gain / scale)) @ axes.T).to(latents.device, latents.dtype)


def _initial_weights(w_dim: int, outputs: int, settings: FitExamplesSettings) -> list[Tensor]:
    """Initial weights drawn from a generator of their own: training leaves the global random state alone."""
    rng = torch.Generator().manual_seed(settings.seed)
    first = torch.randn(settings.hidden, w_dim, generator=rng) / w_dim ** 0.5
    second = torch.randn(outputs, settings.hidden, generator=rng) / settings.hidden ** 0.5
    return [first, torch.zeros(settings.hidden), second, torch.zeros(outputs)]


def _check(latents: Tensor, labels: Tensor, classes: int, *, fewest: int = 2) -> None:
    if latents.ndim != 2 or labels.shape != latents.shape[:1]:
        raise ValueError(f"latents must be [N, w_dim] and labels [N], not {list(latents.shape)}, {list(labels.shape)}")
    if classes < 2:
        raise ValueError(f"at least 2 classes are needed, not {classes}")
    if labels.is_floating_point() or (len(labels) and (labels.min() < 0 or labels.max() >= classes)):
        raise ValueError(f"labels must be integers from 0 to {classes - 1}")
    counts = labels.bincount(minlength=classes).tolist()
    if min(counts) < fewest:
        raise InputError(None, f"examples a class are {counts}",
                         f"each class needs at least {fewest}, and 30 to work well")
    if not latents.isfinite().all():
        raise InputError(None, "the latents hold values that are not finite", "sample them again")


@dataclass(frozen=True, kw_only=True)
class FitScoresSettings:
    """How a classifier is fitted to scores."""

    hidden: int = 32             # Units of the hidden layer of each network.
    networks: int = 4            # Networks whose mean is the classifier: one of `networks * hidden` units.
    epochs: int = 40             # Passes over the samples.
    batch: int = 64              # Samples in a step; the noise of small ones teaches better than large ones.
    learning_rate: float = 5e-3  # AdamW's highest, for inputs in standard scores; rises, then falls (one cycle).
    weight_decay: float = 1e-2   # Decoupled.
    clip: float = 3.0            # Scores count up to this many deviations: the boundary matters, not the extremes.
    slopes: float = 1.0          # How much gradients count beside scores, where there are some.
    seed: int = 0                # Of the initial weights and the order of samples.


def fit_scores(latents: Tensor, scores: Scores, statistics: Statistics, *, gradients: Tensor | None = None,
               settings: FitScoresSettings | None = None,
               on_epoch: Callable[[int], None] | None = None) -> Classifier:
    """Fit a classifier on w to the logits that samples were scored with.

    Several networks start from different weights and see the samples in different orders; their mean, which is again
    a network of two layers, errs less than each.

    Args:
        latents: w [N, w_dim].
        scores: Graded scores of these samples.
        statistics: Of W; the networks see standard scores.
        gradients: Of the scores by w, of the first M samples [M, C, w_dim]; None: they are not known.
        settings: How; None: the defaults.
        on_epoch: Called after each pass over the samples with how many there were.
    Returns:
        The classifier on plain w, in the latents' dtype and on their device; the same for the same seed.

    Raises:
        InputError: labels without degrees, too few scored samples, or a different number of latents and scores.
    """
    settings = settings or FitScoresSettings()
    x, y = _inputs(latents, scores, statistics)
    middle, spread = y.mean(dim=0), y.std().clamp_min(1e-6)
    reach = settings.clip * spread
    goal = (y - middle).clamp(-reach, reach) / spread  # [N, C]
    inside = (y - middle).abs() < reach
    slopes = None if gradients is None else _slopes(gradients, scores, statistics, x, inside, spread)
    weights = [t.to(x).requires_grad_() for t in _initial_networks(x.shape[1], goal.shape[1], settings)]
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batch = min(settings.batch, len(x))
    steps = len(x) // batch  # Of an epoch.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate,
                                                   total_steps=settings.epochs * steps)
    rng = torch.Generator().manual_seed(settings.seed + 2)
    for step, index in enumerate(_batches(len(x), batch, settings), 1):
        loss = F.smooth_l1_loss(_forward(x[index], weights), goal[index], beta=0.5)
        if slopes is not None:
            some = torch.randint(len(slopes.x), [settings.networks, SLOPES], generator=rng)
            loss = loss + settings.slopes * _slope_loss(slopes, some, weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if on_epoch is not None and step % steps == 0:
            on_epoch(step // steps)
    return _fold([t.detach() for t in weights], statistics, middle, spread)


def fit_sensitivity(gradients: Tensor, scores: Scores, statistics: Statistics) -> Tensor:
    """How much an attribute's scores change along each direction of W, by their gradients at some samples.

    Args:
        gradients: Of the scores by w, of the first M samples [M, C, w_dim].
        scores: Of all samples.
        statistics: Of W.
    Returns:
        S [R, w_dim], its rows the principal ones of all gradients in standard scores, widest first: |S v|^2 is the mean
        squared change of the scores along v, of all outputs together, in deviations of the scores.
    """
    spread = _to_learn(scores.values[scores.mask]).std().clamp_min(1e-6)
    known = _in_standard_scores(gradients, scores, statistics, spread)
    return principal_rows(known.flatten(0, 1) / len(known) ** 0.5, SENSITIVE, statistics)


def principal_rows(rows: Tensor, count: int, statistics: Statistics) -> Tensor:
    """The sensitivity [R, w_dim] of so many rows at most that stands for rows [M, K] in standard scores."""
    _, sizes, ways = torch.linalg.svd(rows, full_matrices=False)
    return (sizes[:count, None] * ways[:count]) @ statistics.reader.T.to(rows)


def _inputs(latents: Tensor, scores: Scores, statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Standard scores [N, K] of the latents and what is to be learned [N, outputs], without unknown ones."""
    if len(latents) != len(scores.values):
        raise InputError(scores.attribute, f"there are {len(latents)} latents and {len(scores.values)} scores",
                         "score the bank again")
    if not scores.graded:
        raise InputError(scores.attribute, f"{scores.scorer} gives labels, not degrees", "train on examples instead")
    known = scores.mask
    if int(known.sum()) < FEWEST:
        raise InputError(scores.attribute,
                         f"only {int(known.sum())} samples have scores, {FEWEST} are needed to fit them",
                         "score more, or train on examples")
    x = (latents[known.to(latents.device)] - statistics.mean) @ statistics.reader
    return x, _to_learn(scores.values[known].to(latents))


def _to_learn(values: Tensor) -> Tensor:
    """What is learned [N, outputs, ...] of logits or their gradients [N, C, ...]: the classes against each other."""
    return values[:, 1:] - values[:, :1] if values.shape[1] == 2 else values - values.mean(dim=1, keepdim=True)


@dataclass(frozen=True)
class _Slopes:
    """Gradients of what is learned, in deviations by standard scores."""

    x: Tensor       # [M, K]
    goal: Tensor    # [M, C, K]
    counts: Tensor  # [M, C]: 0 where scores are clipped, else 1.


def _slopes(gradients: Tensor, scores: Scores, statistics: Statistics, x: Tensor, inside: Tensor,
            spread: Tensor) -> _Slopes | None:
    """The gradients of those of the first samples that are trained on; None if there are none.

    Args:
        gradients: [M, C, w_dim].
        x: Standard scores [N, K] of the samples that are trained on.
        inside: Of these samples and each output, whether the score is not clipped, [N, outputs].
        spread: Deviation of the scores.
    """
    goal = _in_standard_scores(gradients, scores, statistics, spread)
    return _Slopes(x[:len(goal)], goal, inside[:len(goal)].to(x)) if len(goal) else None


def _in_standard_scores(gradients: Tensor, scores: Scores, statistics: Statistics, spread: Tensor) -> Tensor:
    """Gradients of what is learned, of those of the first samples that have scores, [M, outputs, K]."""
    if gradients.ndim != 3 or gradients.shape[1] != len(scores.classes) or len(gradients) > len(scores.values):
        raise ValueError(f"{scores.attribute}: gradients must be [M, {len(scores.classes)}, w_dim], of M of the "
                         f"{len(scores.values)} samples, not {list(gradients.shape)}")
    known = gradients[scores.mask[:len(gradients)]].to(statistics.axes)
    return _to_learn(known) @ statistics.axes.T / spread


def _slope_loss(slopes: _Slopes, index: Tensor, weights: list[Tensor]) -> Tensor:
    """Mean squared length of what the networks' gradients at samples [networks, B] lack."""
    hidden = torch.baddbmm(weights[1], slopes.x[index], weights[0])  # [M, B, H]
    slope = torch.where(hidden > 0, 1.0, SLOPE)
    lacking = torch.stack([torch.bmm(slope * outer[:, None], weights[0].transpose(1, 2))  # [M, B, K]
                           for outer in weights[2].unbind(dim=2)], dim=2) - slopes.goal[index]
    return (lacking.square().sum(dim=3) * slopes.counts[index]).mean()


def _initial_networks(inputs: int, outputs: int, settings: FitScoresSettings) -> list[Tensor]:
    """Initial weights of all networks, drawn from a generator of their own."""
    rng = torch.Generator().manual_seed(settings.seed)
    m, h = settings.networks, settings.hidden
    return [torch.randn(m, inputs, h, generator=rng) / inputs ** 0.5, torch.zeros(m, 1, h),
            torch.randn(m, h, outputs, generator=rng) / h ** 0.5, torch.zeros(m, 1, outputs)]


def _batches(count: int, batch: int, settings: FitScoresSettings) -> Iterator[Tensor]:
    """Indexes [networks, batch], each network in an order of its own."""
    rng = torch.Generator().manual_seed(settings.seed + 1)
    for _ in range(settings.epochs):
        orders = torch.stack([torch.randperm(count, generator=rng) for _ in range(settings.networks)])
        for start in range(0, count - batch + 1, batch):
            yield orders[:, start:start + batch]


def _forward(x: Tensor, weights: list[Tensor]) -> Tensor:  # [M, B, K] -> [M, B, C]
    return torch.baddbmm(weights[3], F.leaky_relu(torch.baddbmm(weights[1], x, weights[0]), SLOPE), weights[2])


def _fold(weights: list[Tensor], statistics: Statistics, middle: Tensor, spread: Tensor) -> Classifier:
    """The networks' mean as one classifier on plain w, with scores in their own units again."""
    m, _, h = weights[0].shape
    first = weights[0].permute(0, 2, 1).reshape(m * h, -1) @ statistics.reader.T
    second = weights[2].permute(2, 0, 1).reshape(-1, m * h) / m
    return Classifier(hidden_weight=first, hidden_bias=weights[1].reshape(-1) - first @ statistics.mean,
                      out_weight=second * spread, out_bias=weights[3].mean(dim=[0, 1]) * spread + middle)
