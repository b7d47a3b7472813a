"""Which samples a classifier is least sure of, and so which labels teach it most (uncertainty sampling).

Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers" (1994); for several classes the margin of
Scheffer, Decomain and Wrobel, "Active Hidden Markov Models" (2001).
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from gradctrl import Classifier

SHARE = 1 / 3  # Of the samples, those that count as uncertain. Measured: with the very least certain ones alone the
#                classifier's boundary suffers, as these are strange samples and not typical ones.
CHOICE = 4     # Of so many samples the one is taken that is most unlike the others.


def leads(classifier: Classifier, latents: Tensor) -> Tensor:
    """How far the best answer is ahead of the second best, in logits [N] at w [N, w_dim]; 0: it could be either."""
    logits = classifier.logits(latents)
    if classifier.outputs == 1:
        return logits[:, 0].abs()
    best = logits.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def least_certain(classifier: Classifier, latents: Tensor, count: int = 1, *, apart_from: Tensor | None = None,
                  share: float = SHARE, choice: int = CHOICE) -> Tensor:
    """Choose samples that a classifier is unsure of and that are unlike each other.

    Args:
        classifier: On w.
        latents: w [N, w_dim] to choose from; those in front are preferred, so give them in random order.
        count: How many.
        apart_from: w [M, w_dim] that the first ones should be unlike, too.
        share: Only this share of the samples, the least certain ones, is chosen from, in (0, 1].
        choice: As for `spread_out`.
    Returns:
        Indexes into `latents`, int64 [count] (fewer if the share is less), in the order in which they were chosen.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share}")
    uncertain = leads(classifier, latents).sort(stable=True).indices[:ceil(share * len(latents))]
    return spread_out(latents, uncertain.sort().values, count, apart_from=apart_from, choice=choice)


def likely(classifier: Classifier, latents: Tensor, class_index: int, count: int = 1, *,
           apart_from: Tensor | None = None, choice: int = CHOICE) -> Tensor:
    """Choose samples that a classifier takes for one class, and that are unlike each other.

    Those in front are preferred, not the surest ones, which are all of one kind. Where it takes no sample for the
    class, the ones that come nearest to it. For arguments and result see `least_certain`.
    """
    logits = classifier.logits(latents)
    if classifier.outputs == 1:
        ahead = logits[:, 0] if class_index == 1 else -logits[:, 0]
    else:
        others = torch.cat([logits[:, :class_index], logits[:, class_index + 1:]], dim=1)
        ahead = logits[:, class_index] - others.amax(dim=1)
    members = (ahead > 0).nonzero()[:, 0]
    order = members if len(members) else ahead.sort(descending=True, stable=True).indices
    return spread_out(latents, order, count, apart_from=apart_from, choice=choice)


def spread_out(latents: Tensor, order: Tensor, count: int, *, apart_from: Tensor | None = None,
               choice: int = CHOICE) -> Tensor:
    """Go down an order and take, of each next `choice` indexes, the one farthest from all that were taken before.

    Args:
        latents: [N, D].
        order: Indexes into them, the best first.
        count: How many; fewer where there are no more.
        apart_from: [M, D] that count as taken before.
        choice: 1: the first ones, however alike.
    Returns:
        Indexes, int64 [min(count, len(order))].
    """
    if count < 0 or choice < 1:
        raise ValueError(f"count must be 0 or more and choice 1 or more, not {count} and {choice}")
    chosen: list[int] = []
    near = latents[:0] if apart_from is None else apart_from.to(latents)
    window, rest = order[:choice].tolist(), order[choice:].tolist()
    while window and len(chosen) < count:
        place = 0 if not len(near) else int(torch.cdist(latents[window], near).amin(dim=1).argmax())
        chosen.append(window.pop(place))
        near = torch.cat([near, latents[chosen[-1:]]])
        window, rest = window + rest[:1], rest[1:]
    return torch.tensor(chosen, dtype=torch.int64, device=latents.device)
