"""Every random number of a training run, drawn from what the run has counted so far.

Nothing about chance needs to be saved: the generators of step 1,000 are made anew from the run's seed and the number
1,000, so that a run that was cut draws the same numbers as one that was not, whatever was measured or timed between.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(device: torch.device | str, *names: object) -> torch.Generator:
    """A random generator on `device` that depends on the names alone: a seed, a purpose, a counter."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)  # 63 bits.


class Order:
    """Endless indices of `count` pictures, each once in every pass, each pass shuffled anew.

    Attributes:
        drawn: Indices given out so far; all there is to save.
    """

    def __init__(self, count: int, seed: int, *, drawn: int = 0) -> None:
        if count < 1:
            raise ValueError("there must be at least one picture")
        self.count, self.seed, self.drawn = count, seed, drawn
        self._round = -1
        self._shuffled = torch.empty(0, dtype=torch.long)

    def next(self, size: int) -> Tensor:
        """The next `size` indices, int64 [size] on the CPU."""
        parts = []
        while size:
            turn, place = divmod(self.drawn, self.count)
            part = self._pass(turn)[place:place + size]
            parts.append(part)
            self.drawn += len(part)
            size -= len(part)
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long)

    def _pass(self, turn: int) -> Tensor:
        if turn != self._round:
            self._round = turn
            self._shuffled = torch.randperm(self.count, generator=generator("cpu", "order", self.seed, turn))
        return self._shuffled
