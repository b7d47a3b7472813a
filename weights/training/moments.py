"""Mean and covariance of sets of features, kept in files if asked, and the Frechet distance between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-moments-1"
REMEDY = "delete it, and run the command again"
Piece = tuple[str, Callable[[], "Moments"]]  # All that the moments of a part depend on, and how they are taken.


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and covariance of a set of features; all that the distance needs of it."""

    count: int          # Pictures.
    mean: Tensor        # float64 [F], CPU.
    covariance: Tensor  # float64 [F, F], CPU; divided by count - 1, zeros of a single picture.

    @classmethod
    def of(cls, features: Iterable[Tensor]) -> Moments:
        """The moments of features that come in batches [N, F], summed in float64.

        Raises:
            InputError: there are none.
        """
        batches = (cls._of_batch(batch) for batch in features if len(batch))
        first = next(batches, None)
        if first is None:
            raise InputError("there are no pictures to take the distance of; name a folder that has some")
        return reduce(cls.joined, batches, first)

    @classmethod
    def _of_batch(cls, batch: Tensor) -> Moments:
        x = batch.detach().cpu().double()
        mean = x.mean(dim=0)
        return cls(len(x), mean, (x - mean).T @ (x - mean) / max(len(x) - 1, 1))

    def joined(self, other: Moments) -> Moments:
        """The moments of both sets together (Chan, Golub and LeVeque 1979, the pairwise update)."""
        count = self.count + other.count
        way = other.mean - self.mean
        scatter = (self.covariance * (self.count - 1) + other.covariance * (other.count - 1)
                   + torch.outer(way, way) * (self.count * other.count / count))
        return Moments(count, self.mean + way * (other.count / count), scatter / (count - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)): 0 for equal moments, never below.

    That of two Gaussians with these moments (Dowson and Landau 1982; Heusel et al. 2017, equation 6). The trace of the
    root is taken as the sum of the singular values of C_a^(1/2) C_b^(1/2), where the roots are symmetric, from
    eigenvalues: so it is exact also where there are fewer pictures than features.

    Raises:
        ValueError: not of the same features.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of the same length are needed, not {len(a.mean)} and {len(b.mean)}")
    roots = _root(a.covariance) @ _root(b.covariance)
    trace = a.covariance.trace() + b.covariance.trace() - 2 * torch.linalg.svdvals(roots).sum()
    return max(float((a.mean - b.mean).square().sum() + trace), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root; eigenvalues that rounding took below 0 are 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def joined(pieces: Sequence[Piece], keep: Path | None = None) -> Moments:
    """The moments of all pieces together; those that the folder `keep` has are read, and the others are put there.

    The order and the borders of the pieces do not depend on where a run was cut, so neither does the result, bit for
    bit on the same machine.

    Args:
        pieces: At least one.
        keep: None: nothing is kept.
    Raises:
        InputError: the folder cannot be written, or has a damaged file.
    """
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{keep}: cannot be made ({error.strerror or error}); choose another folder") from error
    return reduce(Moments.joined, (make() if keep is None else _kept(keep, key, make) for key, make in pieces))


def _kept(folder: Path, key: str, make: Callable[[], Moments]) -> Moments:
    path = folder / f"{sha256(key.encode()).hexdigest()[:24]}.safetensors"
    if not path.exists():
        made = make()
        write_tensors(path, {"count": torch.tensor(made.count), "mean": made.mean, "covariance": made.covariance},
                      {"format": FORMAT, "of": key})
        return made
    tensors, metadata = read_tensors(path, format=FORMAT, what="moments of features", remedy=REMEDY)
    if metadata.get("of") != key or {"count", "mean", "covariance"} - set(tensors):
        raise InputError(f"{path}: holds the moments of something else; {REMEDY}")
    return Moments(int(tensors["count"]), tensors["mean"], tensors["covariance"])
