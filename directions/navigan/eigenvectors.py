"""Leading eigenvectors of a symmetric operator that is known by its products alone: Lanczos, and power iteration.

Both ask for one product at a time, and all that they know lies in `state`, so that they can stop and go on anywhere.
Symbols: A numbers a vector, K eigenvectors wanted, M rows kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_EXTRA = 16  # Rows that Lanczos keeps beside those that are wanted, at least; else half as many as these.


class Solver(ABC):
    """Finds eigenvectors: `vector` is to be multiplied, `tell` takes the product, until `done`."""

    def __init__(self, width: int, count: int, *, seed: int = 0) -> None:
        if not 0 < count <= width:
            raise ValueError(f"1 to {width} eigenvectors can be found, not {count}")
        self.width, self.count, self.seed = width, count, seed
        self.state: dict[str, Tensor] = {}

    @property
    def products(self) -> int:
        """How many products it was told."""
        return int(self.state["products"])

    @property
    @abstractmethod
    def most(self) -> int:
        """After how many products it is done at the latest."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether it needs no more products."""

    @property
    @abstractmethod
    def vector(self) -> Tensor:
        """The unit vector [A] whose product it wants next."""

    @abstractmethod
    def tell(self, product: Tensor) -> None:
        """Take the product [A] of `vector`."""

    @abstractmethod
    def result(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [k] and unit eigenvectors [k, A] as they are known, largest first; k is at most K."""

    def _random(self, of: int) -> Tensor:
        rng = torch.Generator().manual_seed(self.seed * 2 ** 20 + of)
        return F.normalize(torch.randn(self.width, generator=rng), dim=0)


class Power(Solver):
    """Power iteration of one vector after another, each kept orthogonal to those before: as NaviGAN's authors do."""

    def __init__(self, width: int, count: int, *, rounds: int = 20, seed: int = 0) -> None:
        super().__init__(width, count, seed=seed)
        self.rounds = rounds
        self.state = {"rows": torch.zeros(count, width), "values": torch.zeros(count),
                      "products": torch.zeros(1, dtype=torch.int64)}
        self.state["rows"][0] = self._random(0)

    @property
    def most(self) -> int:
        return self.count * self.rounds

    @property
    def done(self) -> bool:
        return self.products >= self.most

    @property
    def vector(self) -> Tensor:
        return self.state["rows"][self.products // self.rounds]

    def tell(self, product: Tensor) -> None:
        rows, at = self.state["rows"], self.products // self.rounds
        self.state["values"][at] = rows[at] @ product
        rows[at] = F.normalize(_without(product, rows[:at]), dim=0)
        self.state["products"] += 1
        if self.products % self.rounds == 0 and not self.done:
            rows[at + 1] = F.normalize(_without(self._random(at + 1), rows[:at + 1]), dim=0)

    def result(self) -> tuple[Tensor, Tensor]:
        known = -(-self.products // self.rounds)
        return self.state["values"][:known].clone(), self.state["rows"][:known].clone()


class Lanczos(Solver):
    """Lanczos with full orthogonalisation and thick restarts (Wu and Simon 2000): its memory is M + 1 rows.

    Done when the residual of each wanted eigenvector is at most `tolerance` times its eigenvalue.
    """

    def __init__(self, width: int, count: int, *, tolerance: float = 0.02, most: int = 0, seed: int = 0) -> None:
        """Take the sizes; `most` products are made at most, 0: 20 for each eigenvector, as in power iteration."""
        super().__init__(width, count, seed=seed)
        self.tolerance, self._most = tolerance, most or 20 * count
        self.kept = min(count + max(LEAST_EXTRA, count // 2), width)
        self.state = {"rows": torch.zeros(self.kept + 1, width),
                      "projected": torch.zeros(self.kept, self.kept).double(), "residual": torch.zeros(1).double(),
                      "known": torch.zeros(1, dtype=torch.int64), "products": torch.zeros(1, dtype=torch.int64)}
        self.state["rows"][0] = self._random(0)

    @property
    def most(self) -> int:
        return self._most

    @property
    def done(self) -> bool:
        known = int(self.state["known"])
        return known >= self.width or self.products >= self._most or self.converged >= self.count

    @property
    def converged(self) -> int:
        """How many of the leading eigenvectors are exact enough."""
        known = int(self.state["known"])
        residual = float(self.state["residual"])
        if known < min(self.count + 1, self.width) or residual < 0:
            return 0
        values, turn = self._eigen()
        off = residual * turn[-1].abs()
        wrong = (off > self.tolerance * values.abs()).nonzero()[:, 0]
        return int(wrong[0]) if len(wrong) else known

    @property
    def vector(self) -> Tensor:
        return self.state["rows"][int(self.state["known"])]

    def tell(self, product: Tensor) -> None:
        if int(self.state["known"]) == self.kept:
            raise RuntimeError("no product is wanted")
        rows, known = self.state["rows"], int(self.state["known"])
        along = (rows[:known + 1] @ product).double()
        self.state["projected"][:known + 1, known] = self.state["projected"][known, :known + 1] = along
        rest = _without(product, rows[:known + 1])
        length = float(rest.norm())
        if length <= 1e-6 * float(product.norm()):  # Nothing new lies this way: the operator has no more of it.
            length, rest = 0.0, _without(self._random(self.products + 1), rows[:known + 1])
        self.state["residual"].fill_(length)
        known += 1
        if known < self.width:
            rows[known] = F.normalize(rest, dim=0)
        self.state["known"].fill_(known)
        self.state["products"] += 1
        if known == self.kept and not self.done:
            self._restart()

    def _restart(self) -> None:
        """Keep the best eigenvectors so far, and the row that is next."""
        keep = self.count + (self.kept - self.count) // 3
        values, turn = self._eigen()
        before, projected = self.state["rows"], torch.zeros_like(self.state["projected"])
        rows = torch.zeros_like(before)
        torch.matmul(turn.T[:keep].float(), before[:self.kept], out=rows[:keep])
        rows[keep] = before[self.kept]
        projected[range(keep), range(keep)] = values[:keep]
        # All of it at once: whatever interrupts this leaves the one or the other. The residual is not known yet.
        self.state |= {"rows": rows, "projected": projected, "known": torch.full_like(self.state["known"], keep),
                       "residual": torch.full_like(self.state["residual"], -1)}

    def _eigen(self) -> tuple[Tensor, Tensor]:
        known = int(self.state["known"])
        values, turn = torch.linalg.eigh(self.state["projected"][:known, :known])
        return values.flip(0), turn.flip(1)

    def result(self) -> tuple[Tensor, Tensor]:
        known = int(self.state["known"])
        if not known:
            return torch.zeros(0), torch.zeros(0, self.width)
        values, turn = self._eigen()
        rows = turn.T[:self.count].float() @ self.state["rows"][:known]
        return values[:self.count].float(), F.normalize(rows, dim=1)


def _without(vector: Tensor, rows: Tensor) -> Tensor:
    """What of a vector [A] is orthogonal to orthonormal rows [m, A]; twice, for what rounding left the first time."""
    for _ in range(2):
        vector = vector - rows.T @ (rows @ vector)
    return vector
