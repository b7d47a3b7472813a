"""What the families learn from: which samples are examples of an output, and how far each sample is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

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
    for name, found in scores.items():
        if len(found.values) != len(latents):
            raise InputError(name,
                             f"scores by {found.scorer} are of {len(found.values)} samples, but there are "
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
    found = []
    for index in classes:
        samples = members(scores, [index]).nonzero()[:, 0]
        if len(samples) < FEWEST:
            raise InputError(scores.attribute,
                             f"{len(samples)} samples are {scores.classes[index]} by {scores.scorer}, at least "
                             f"{FEWEST} are needed", "sample more, or leave the attribute out")
        order = scores.log_odds[samples, index].argsort(descending=True, stable=True)
        found.append(samples[order if count is None else order[:max(FEWEST, -(-count // len(classes)))]])
    return torch.cat(found)
