"""Semantic scores of samples: what an image classifier, or a person, says of each sample's attribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weights.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of N samples for one attribute; the class of a sample is the one with the largest score.

    Whatever the source, the shape is the same: one column a class. For a binary attribute with one logit the negative
    class scores 0 and the positive one the logit. A label given by a person is 1 in its class and 0 elsewhere.
    """

    attribute: str
    classes: tuple[str, ...]  # At least two; for a binary attribute (negative, positive).
    values: Tensor            # float32 [N, C]
    scorer: str               # Where the scores come from, for reports: "bundled image classifier", "labels.csv".
    graded: bool = True       # False: labels without degrees, of which no sample is more confident than another.
    ordered: bool = False     # Whether the classes are steps of one scale (left, front, right).
    known: Tensor | None = None  # bool [N]: which samples have a score; None: all.

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.classes) or len(self.classes) < 2:
            raise ValueError(f"{self.attribute}: scores must be [N, {len(self.classes)}], one column a class, not "
                             f"{list(self.values.shape)}")
        if self.known is not None and self.known.shape != self.values.shape[:1]:
            raise ValueError(f"{self.attribute}: known must be [{len(self.values)}], not {list(self.known.shape)}")
        bad = ~self.values.isfinite().all(dim=1) & self.mask
        if bad.any():
            raise InputError(self.attribute,
                             f"{int(bad.sum())} of {len(self.values)} scores by {self.scorer} are NaN or "
                             f"infinite, the first that of sample {int(bad.nonzero()[0, 0])}", "score them again")

    @property
    def mask(self) -> Tensor:
        """Which samples have a score, bool [N]."""
        return torch.ones(len(self.values), dtype=torch.bool) if self.known is None else self.known

    @property
    def labels(self) -> Tensor:
        """Index of each sample's class [N]; meaningless where the score is not known."""
        return self.values.argmax(dim=1)

    @property
    def log_odds(self) -> Tensor:
        """Log-odds [N, C] of each class against all others: above 0 where the class is the likelier answer."""
        return log_odds(self.values)


def log_odds(values: Tensor) -> Tensor:
    """Log-odds log p_j / (1 - p_j) [N, C] of logits [N, C]: logit_j less logsumexp of the others."""
    others = [torch.cat([values[:, :j], values[:, j + 1:]], dim=1).logsumexp(dim=1) for j in range(values.shape[1])]
    return values - torch.stack(others, dim=1)
