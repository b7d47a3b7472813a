"""Finding the components of rows that come in chunks: exact, incremental and randomised PCA, FastICA, sparse PCA.

Symbols: A numbers a row, B rows of a chunk, N rows in all, K components. PCA sees a chunk and forgets it; the others
need all rows at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from weights.errors import InputError

SLAB = 65_536     # Columns that are worked on at once, where there are many.
ROWS = 1000       # Rows by which incremental PCA corrects its components at once.
OVERSAMPLING = 10  # Directions that randomised PCA follows beside those that are wanted (Halko et al. 2011),
ITERATIONS = 2     # and how often it multiplies them by the covariance again.


@dataclass(frozen=True, eq=False)
class Fitted:
    """What an estimator found."""

    mean: Tensor        # [A]
    components: Tensor  # [K, A], unit rows, widest first.
    deviations: Tensor  # [K], of the rows along them.
    shares: Tensor      # [K], of the rows' variance.


class Estimator(ABC):
    """Learns components from chunks of rows; what it has learned so far is a few tensors, which can be kept."""

    passes: ClassVar[int] = 1  # How often it must see all rows.

    def __init__(self, width: int, count: int, seed: int) -> None:
        self.width, self.count, self.seed = width, count, seed
        self.state: dict[str, Tensor] = {}

    @abstractmethod
    def update(self, rows: Tensor) -> None:
        """See the next rows [B, A], float32, which it may change."""

    def end_pass(self) -> None:  # noqa: B027 (most have nothing to do then)
        """All rows have been seen once more."""

    @abstractmethod
    def result(self) -> Fitted:
        """What was found; up to K components, fewer where the rows do not vary along so many."""

    @staticmethod
    @abstractmethod
    def memory(width: int, count: int, chunk: int, samples: int) -> int:
        """Bytes that it takes at most, the chunk itself counted."""


class ExactPCA(Estimator):
    """The eigenvectors of the covariance, which is added up over the chunks."""

    @staticmethod
    def memory(width: int, count: int, chunk: int, samples: int) -> int:
        return 8 * width ** 2 * 4 + 4 * width * chunk * 2

    def update(self, rows: Tensor) -> None:
        if not self.state:
            shape = (self.width, self.width)
            # About the first chunk's mean, so that nothing is lost where the mean is large.
            self.state = {"shift": rows.mean(dim=0), "sum": torch.zeros(self.width, dtype=torch.float64),
                          "squares": torch.zeros(shape, dtype=torch.float64), "n": torch.zeros(1, dtype=torch.float64)}
        rows -= self.state["shift"]
        self.state["sum"] += rows.sum(dim=0).double()
        self.state["squares"] += (rows.T @ rows).double()
        self.state["n"] += len(rows)

    def result(self) -> Fitted:
        n, offset = float(self.state["n"]), self.state["sum"] / self.state["n"]
        covariance = (self.state["squares"] - n * torch.outer(offset, offset)) / (n - 1)
        variance, vectors = torch.linalg.eigh(covariance)
        kept = slice(0, min(self.count, int(n) - 1))
        return _fitted(self.state["shift"] + offset.float(), vectors.flip(1).T[kept].float(), variance.flip(0)[kept],
                       covariance.trace())


class IncrementalPCA(Estimator):
    """Components that each chunk corrects (Ross et al., "Incremental Learning for Robust Visual Tracking", 2008).

    Beside the components there is only the chunk: products of all pairs of their rows are taken, and the components are
    replaced slab by slab. A chunk with fewer rows than there are components makes them a little less exact.
    """

    @staticmethod
    def memory(width: int, count: int, chunk: int, samples: int) -> int:
        return 4 * width * (count + chunk + 3) + 4 * min(width, SLAB) * (count + min(chunk, ROWS) + 1) * 2

    def update(self, rows: Tensor) -> None:
        if not self.state:
            # Rows for all components at once: growing them would take as much again. As many are in use as have sizes.
            self.state = {"mean": torch.zeros(self.width), "components": torch.zeros(self.count, self.width),
                          "sizes": torch.zeros(0, dtype=torch.float64), "n": torch.zeros(1, dtype=torch.float64),
                          "total": torch.zeros(1, dtype=torch.float64)}
        for part in rows.split(ROWS):
            self._correct(part)

    def _correct(self, rows: Tensor) -> None:
        n, new = float(self.state["n"]), len(rows)
        chunk_mean = rows.mean(dim=0)
        apart = (chunk_mean - self.state["mean"]) * (n * new / (n + new)) ** 0.5
        rows -= chunk_mean  # The chunk is ours.
        known, sizes = self.state["components"], self.state["sizes"].float()

        def stacked(columns: slice) -> Tensor:
            return torch.cat([sizes[:, None] * known[:len(sizes), columns], rows[:, columns], apart[None, columns]])

        products = torch.zeros([len(sizes) + new + 1] * 2, dtype=torch.float64)
        for columns in slabs(self.width):
            part = stacked(columns)
            products += (part @ part.T).double()
        squares, vectors = torch.linalg.eigh(products)
        kept = min(self.count, int((squares > 1e-10 * squares[-1]).sum()))
        squares, vectors = squares.flip(0)[:kept], vectors.flip(1)[:, :kept]
        turn = (vectors / squares.sqrt()).T.float()
        for columns in slabs(self.width):
            known[:kept, columns] = turn @ stacked(columns)
        self.state["total"] += products.diagonal()[len(sizes):].sum()
        self.state["mean"] += (chunk_mean - self.state["mean"]) * (new / (n + new))
        self.state["n"] += new
        self.state["sizes"] = squares.sqrt()

    def result(self) -> Fitted:
        more = float(self.state["n"]) - 1
        found = self.state["components"][:len(self.state["sizes"])]
        return _fitted(self.state["mean"], found, self.state["sizes"].square() / more, self.state["total"][0] / more)


class RandomisedPCA(Estimator):
    """A random subspace that is multiplied by the covariance again and again.

    Halko, Martinsson and Tropp, "Finding Structure with Randomness" (2011), algorithm 4.4 for rows that are seen once
    a pass: each pass multiplies by the covariance, and the last one measures it within the subspace.
    """

    passes = ITERATIONS + 1

    @staticmethod
    def memory(width: int, count: int, chunk: int, samples: int) -> int:
        return 4 * width * ((count + OVERSAMPLING) * 2 + chunk + 3)

    def update(self, rows: Tensor) -> None:
        if not self.state:
            rng = torch.Generator().manual_seed(self.seed)
            basis = torch.randn(min(self.count + OVERSAMPLING, self.width), self.width, generator=rng)
            self.state = {"shift": rows.mean(dim=0), "basis": orthonormal(basis)}
            self._begin()
        rows -= self.state["shift"]
        along = rows @ self.state["basis"].T  # [B, L]
        self.state["n"] += len(rows)
        self.state["sum"] += rows.sum(dim=0)
        self.state["total"] += torch.linalg.vector_norm(rows, dim=1).double().square().sum()  # No copy of the chunk.
        self.state["along"] += along.sum(dim=0, dtype=torch.float64)
        self.state["measured"] += (along.T @ along).double()
        for columns in slabs(self.width):
            self.state["turned"][:, columns] += along.T @ rows[:, columns]

    def _begin(self) -> None:
        count = len(self.state["basis"])
        self.state |= {"sum": torch.zeros(self.width), "turned": torch.zeros(count, self.width),
                       "along": torch.zeros(count, dtype=torch.float64), "n": torch.zeros(1, dtype=torch.float64),
                       "measured": torch.zeros(count, count, dtype=torch.float64),
                       "total": torch.zeros(1, dtype=torch.float64),
                       "done": self.state.get("done", torch.zeros(1, dtype=torch.float64))}

    def end_pass(self) -> None:
        self.state["done"] += 1
        if self.state["done"] < self.passes:
            turned, n = self.state["turned"], self.state["n"]
            for columns in slabs(self.width):
                turned[:, columns] -= torch.outer((self.state["along"] / n).float(), self.state["sum"][columns])
            self.state["basis"] = orthonormal(turned)
            self._begin()

    def result(self) -> Fitted:
        n = float(self.state["n"])
        offset, along = self.state["sum"] / n, self.state["along"]
        variance, turn = torch.linalg.eigh((self.state["measured"] - torch.outer(along, along) / n) / (n - 1))
        kept = min(self.count, int(n) - 1)
        components = self.state["basis"]
        for columns in slabs(self.width):
            components[:, columns] = turn.flip(1).T.float() @ components[:, columns]
        total = (self.state["total"][0] - n * offset.double().square().sum()) / (n - 1)
        return _fitted(self.state["shift"] + offset, components[:kept], variance.flip(0)[:kept], total)


class _Collecting(Estimator):
    """What needs all rows at once: scikit-learn's estimators, with the settings of GANSpace's authors."""

    @staticmethod
    def memory(width: int, count: int, chunk: int, samples: int) -> int:
        return 4 * width * samples * 4

    def update(self, rows: Tensor) -> None:
        self.state[f"rows.{len(self.state):06}"] = rows.clone()

    def result(self) -> Fitted:
        rows = torch.cat([self.state[name] for name in sorted(self.state)])
        try:
            found = torch.from_numpy(self._fit(rows.numpy())).float()
        except ImportError as error:
            raise InputError(None, "scikit-learn, which this estimator is part of, is not installed",
                             "run `pip install 'gradctrl[evaluate]'`, or take the estimator exact, incremental or "
                             "randomised") from error
        lengths = found.norm(dim=1)
        components = found[lengths > 0] / lengths[lengths > 0, None]  # Sparse ones may be nothing but zeros.
        mean = rows.mean(dim=0)
        variance = ((rows - mean) @ components.T).var(dim=0)
        order = variance.argsort(descending=True, stable=True)
        return _fitted(mean, components[order], variance[order].double(), rows.var(dim=0).sum())

    @abstractmethod
    def _fit(self, rows: Any) -> Any:
        """Components [K, A] of rows [N, A], arrays of float32."""


class FastICA(_Collecting):
    """Independent components (Hyvärinen and Oja 2000), by scikit-learn."""

    def _fit(self, rows: Any) -> Any:
        from sklearn.decomposition import FastICA as Machine

        return Machine(min(self.count, *rows.shape), whiten="unit-variance", max_iter=5000,
                       random_state=self.seed).fit(rows).components_


class SparsePCA(_Collecting):
    """Sparse components (Mairal et al. 2009), by scikit-learn."""

    def _fit(self, rows: Any) -> Any:
        from sklearn.decomposition import MiniBatchSparsePCA

        return MiniBatchSparsePCA(min(self.count, *rows.shape), alpha=10, ridge_alpha=0.01, max_iter=100,
                                  random_state=self.seed).fit(rows - rows.mean(axis=0)).components_


MAKERS: Mapping[str, type[Estimator]] = {"exact": ExactPCA, "incremental": IncrementalPCA,
                                         "randomised": RandomisedPCA, "fastica": FastICA, "sparse": SparsePCA}


def run(estimator: Estimator, chunk_of: Callable[[int, int], Tensor], *, samples: int, chunk: int, start: int = 0,
        on_chunk: Callable[[int], None] = lambda done: None) -> Fitted:
    """Show an estimator all rows, as often as it wants to see them.

    Args:
        estimator: New, or one with a former state.
        chunk_of: The rows [start, stop); the same rows each time. The estimator may change them.
        samples: How many rows there are.
        chunk: How many at once.
        start: How many it has seen already, over all passes.
        on_chunk: Called with how many it has seen, after each chunk.
    """
    for number in range(start // samples, estimator.passes):
        for first in range(max(start - number * samples, 0), samples, chunk):
            stop = min(first + chunk, samples)
            estimator.update(chunk_of(first, stop))
            if stop == samples:
                estimator.end_pass()
            on_chunk(number * samples + stop)
    return estimator.result()


def slabs(width: int) -> Iterator[slice]:
    """The columns of wide rows, some at a time."""
    for start in range(0, width, SLAB):
        yield slice(start, min(start + SLAB, width))


def orthonormal(rows: Tensor) -> Tensor:
    """Make the rows [L, A] orthonormal, in their own place."""
    for _ in range(2):  # Twice is enough, where once leaves what rounding did.
        products = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for columns in slabs(rows.shape[1]):
            products += (rows[:, columns] @ rows[:, columns].T).double()
        squares, vectors = torch.linalg.eigh(products)
        turn = (vectors / squares.clamp_min(1e-14 * float(squares[-1])).sqrt()).T.float()
        for columns in slabs(rows.shape[1]):
            rows[:, columns] = turn @ rows[:, columns]
    return rows


def _fitted(mean: Tensor, components: Tensor, variance: Tensor, total: Tensor) -> Fitted:
    """The parts, with the signs that GANSpace's published files have: the largest entry is positive."""
    variance = variance.clamp_min(0)
    if not len(variance) or not float(total) > 0:
        raise InputError(None, "components need samples that differ, and all are the same", "sample more")
    for row in components:
        if row[row.abs().argmax()] < 0:
            row.neg_()
    return Fitted(mean, components, variance.sqrt().float(), (variance / total).float())
