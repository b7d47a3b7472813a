"""Which samples a classifier is least sure of, and so which labels teach it most (uncertainty sampling).

Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers" (1994); for several classes the margin of
Scheffer, Decomain and Wrobel, "Active Hidden Markov Models" (2001).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradctrl.classifier import Classifier

CHOICE = 16  # Among so many of the least certain samples the one is taken that is most unlike the others.


def leads(classifier: Classifier, latents: Tensor) -> Tensor:
    """How far the best answer is ahead of the second best, in logits [N] at w [N, w_dim]; 0: it could be either."""
    logits = classifier.logits(latents)
    if classifier.outputs == 1:
        return logits[:, 0].abs()
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def least_certain(classifier: Classifier, latents: Tensor, count: int = 1, *, apart_from: Tensor | None = None,
                  choice: int = CHOICE) -> Tensor:
    """Choose samples that a classifier is unsure of and that are unlike each other.

    One after the other: of the `choice` least certain that are left, the one farthest from those chosen before. The
    most uncertain alone would often be several of one kind.

    Args:
        classifier: On w.
        latents: w [N, w_dim] to choose from.
        count: How many; fewer where N is less.
        apart_from: w [M, w_dim] that the first ones should be unlike, too.
        choice: 1: the least certain ones, however alike.
    Returns:
        Indexes into `latents`, int64 [min(count, N)], in the order in which they were chosen.
    """
    if count < 0 or choice < 1:
        raise ValueError(f"count must be 0 or more and choice 1 or more, not {count} and {choice}")
    order = leads(classifier, latents).sort(stable=True).indices
    return spread_out(latents, order, count, apart_from=apart_from, choice=choice)


def likeliest(classifier: Classifier, latents: Tensor, class_index: int, count: int = 1, *,
              apart_from: Tensor | None = None, choice: int = CHOICE) -> Tensor:
    """Choose samples that are most likely of one class and unlike each other; for arguments see `least_certain`."""
    logits = classifier.logits(latents)
    if classifier.outputs == 1:
        ahead = logits[:, 0] if class_index == 1 else -logits[:, 0]
    else:
        others = torch.cat([logits[:, :class_index], logits[:, class_index + 1:]], dim=1)
        ahead = logits[:, class_index] - others.amax(dim=1)
    return spread_out(latents, ahead.sort(descending=True, stable=True).indices, count, apart_from=apart_from,
                      choice=choice)


def spread_out(latents: Tensor, order: Tensor, count: int, *, apart_from: Tensor | None = None,
               choice: int = CHOICE) -> Tensor:
    """Go down an order and take, of each next `choice` indexes, the one farthest from all that were taken before.

    Args:
        latents: [N, D].
        order: Indexes into them, the best first.
        count, apart_from, choice: As for `least_certain`.
    """
    chosen: list[int] = []
    near = latents[:0] if apart_from is None else apart_from.to(latents)
    window, rest = order[:choice].tolist(), order[choice:].tolist()
    while window and len(chosen) < count:
        place = 0 if not len(near) else int(torch.cdist(latents[window], near).amin(dim=1).argmax())
        chosen.append(window.pop(place))
        near = torch.cat([near, latents[chosen[-1:]]])
        window += rest[:1]
        rest = rest[1:]
    return torch.tensor(chosen, dtype=torch.int64, device=latents.device)
