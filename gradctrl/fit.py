"""Training a control's classifier on the scores of many samples, not only on the labels of a few.

Where an image classifier scores samples of the generator for nothing, there is no reason to keep 30 a class and throw
the rest away: the classifier on w learns to tell the image classifier's logits themselves. Its boundary is then where
the image classifier's is, and its gradient follows what changes the score, not what tells two extremes apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gradctrl.classifier import SLOPE, Classifier
from gradctrl.metric import Metric
from gradctrl.scores import Scores
from weights.errors import InputError

FEWEST = 200  # Scored samples; with fewer the few most confident ones teach more.


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a classifier is fitted to scores."""

    hidden: int = 32             # Units of the hidden layer of each network.
    networks: int = 4            # Networks whose mean is the classifier: one of `networks * hidden` units.
    epochs: int = 40             # Passes over the samples.
    batch: int = 64              # Samples in a step; the noise of small ones teaches better than large ones.
    learning_rate: float = 5e-3  # AdamW's highest, for inputs in standard scores; rises, then falls (one cycle).
    weight_decay: float = 1e-2   # Decoupled.
    clip: float = 3.0            # Scores count up to this many deviations: the boundary matters, not the extremes.
    seed: int = 0                # Of the initial weights and the order of samples.


def fit_scores(latents: Tensor, scores: Scores, metric: Metric, *, settings: FitSettings | None = None) -> Classifier:
    """Fit a classifier on w to the logits that samples were scored with.

    Several networks start from different weights and see the samples in different orders; their mean, which is again
    a network of two layers, errs less than each.

    Args:
        latents: w [N, w_dim].
        scores: Graded scores of these samples.
        metric: The shape of W; the networks see standard scores.
        settings: How; None: the defaults.
    Returns:
        The classifier on plain w, in the latents' dtype and on their device; the same for the same seed.

    Raises:
        InputError: labels without degrees, too few scored samples, or a different number of latents and scores.
    """
    settings = settings or FitSettings()
    x, y = _inputs(latents, scores, metric)
    middle, spread = y.mean(dim=0), y.std().clamp_min(1e-6)
    goal = (y - middle).clamp(-settings.clip * spread, settings.clip * spread) / spread  # [N, C]
    weights = [t.to(x).requires_grad_() for t in _initial(x.shape[1], goal.shape[1], settings)]
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batch = min(settings.batch, len(x))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate,
                                                   total_steps=settings.epochs * (len(x) // batch))
    for index in _batches(len(x), batch, settings):
        loss = F.smooth_l1_loss(_forward(x[index], weights), goal[index], beta=0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return _fold([t.detach() for t in weights], metric, middle, spread)


def _inputs(latents: Tensor, scores: Scores, metric: Metric) -> tuple[Tensor, Tensor]:
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
    values = scores.values[known].to(latents)
    binary = values.shape[1] == 2
    y = values[:, 1:] - values[:, :1] if binary else values - values.mean(dim=1, keepdim=True)
    return metric.standardise(latents[known.to(latents.device)]), y


def _initial(inputs: int, outputs: int, settings: FitSettings) -> list[Tensor]:
    """Initial weights of all networks, drawn from a generator of their own."""
    rng = torch.Generator().manual_seed(settings.seed)
    m, h = settings.networks, settings.hidden
    return [torch.randn(m, inputs, h, generator=rng) / inputs ** 0.5, torch.zeros(m, 1, h),
            torch.randn(m, h, outputs, generator=rng) / h ** 0.5, torch.zeros(m, 1, outputs)]


def _batches(count: int, batch: int, settings: FitSettings) -> Iterator[Tensor]:
    """Indexes [networks, batch], each network in an order of its own."""
    rng = torch.Generator().manual_seed(settings.seed + 1)
    for _ in range(settings.epochs):
        orders = torch.stack([torch.randperm(count, generator=rng) for _ in range(settings.networks)])
        for start in range(0, count - batch + 1, batch):
            yield orders[:, start:start + batch]


def _forward(x: Tensor, weights: list[Tensor]) -> Tensor:  # [M, B, K] -> [M, B, C]
    return torch.baddbmm(weights[3], F.leaky_relu(torch.baddbmm(weights[1], x, weights[0]), SLOPE), weights[2])


def _fold(weights: list[Tensor], metric: Metric, middle: Tensor, spread: Tensor) -> Classifier:
    """The networks' mean as one classifier on plain w, with scores in their own units again."""
    m, _, h = weights[0].shape
    first = weights[0].permute(0, 2, 1).reshape(m * h, -1) @ metric.reader.T
    second = weights[2].permute(2, 0, 1).reshape(-1, m * h) / m
    return Classifier(hidden_weight=first, hidden_bias=weights[1].reshape(-1) - first @ metric.mean,
                      out_weight=second * spread, out_bias=weights[3].mean(dim=[0, 1]) * spread + middle)
