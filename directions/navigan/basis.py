"""A basis of directions in the weight of one convolution, how it was found, and its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.navigan.network import Network
from directions.weights import WeightDirection, weight_direction
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-weight-directions-1"
REMEDY = "find them again with `gradctrl discover weights`"
BasisName = Literal["hessian", "svd"]
BASES: tuple[BasisName, ...] = ("hessian", "svd")


@dataclass(frozen=True, kw_only=True)
class BasisSettings:
    """How a basis is found; the same settings find the same."""

    layer: str                     # A convolution by its name: "layers.2.conv2", "b16.conv1".
    basis: BasisName = "hessian"
    count: int = 64                # Directions.
    solver: Literal["lanczos", "power"] = "lanczos"
    samples: int = 64              # Pictures over which the distance is averaged; the paper's 512.
    truncation: float = 1.0        # Of the samples.
    seed: int = 0                  # Of the first of them, and of the vector that the search begins with.
    side: int = 64                 # At which pictures are compared, in pixels.
    backbone: Literal["alex", "vgg"] = "alex"  # Of LPIPS; the authors' is vgg.
    step: float = 1.0              # Of the differences, in root mean squares of the weight; the authors' 0.1.
    rounds: int = 20               # Of power iteration for each vector; Lanczos makes as many products at most.
    tolerance: float = 0.02        # Of Lanczos: the residual at which an eigenvector is done, in eigenvalues.

    def __post_init__(self) -> None:
        if self.basis not in BASES or self.solver not in ("lanczos", "power"):
            raise ValueError(f"there is no basis {self.basis!r} by {self.solver!r}")
        if min(self.count, self.samples, self.rounds, self.seed + 1) < 1 or min(self.step, self.tolerance) <= 0:
            raise ValueError("count, samples, rounds, step and tolerance must be above 0")
        if self.side < 32:
            raise InputError(None, f"LPIPS does not see pictures of {self.side} pixels", "compare them at 32 or more")


@dataclass(frozen=True, eq=False, kw_only=True)
class WeightBasis:
    """Directions in the weight of one convolution, those that change pictures most first; `float32` on the CPU."""

    directions: Tensor       # [K, O, C, k, k], of unit length.
    values: Tensor           # [K]: eigenvalues, singular values, or for trained ones how often they are recognised.
    layer: str
    weights: str             # `Generator.hash` of the weights that they belong to.
    found: Mapping[str, Any]  # How: the settings, as JSON can hold them.
    lengths: Tensor = field(default_factory=lambda: torch.zeros(0))  # [K], recommended; empty: not measured.

    def __len__(self) -> int:
        return len(self.directions)

    def check(self, network: Network) -> None:
        """Refuse other weights.

        Raises:
            InputError: the message names both.
        """
        if self.weights != network.hash:
            raise InputError(None, f"these directions are of the weights {self.weights[:12]}, and the loaded generator "
                             f"has {network.hash[:12]}", "load that generator, or find them again")

    def direction(self, number: int, *, name: str, lengths: float = 1.0,
                  report: Mapping[str, object] | None = None) -> WeightDirection:
        """One of them as a direction of edits.

        Args:
            number: Which, from 0.
            name: What it is to be called.
            lengths: Recommended lengths that strength 1 moves by; below 0: the other way.
            report: What else is known of it.
        Raises:
            InputError: there is none of this number, lengths is 0, or no lengths are recommended.
        """
        if not 0 <= number < len(self):
            raise InputError(None, f"there is no direction {number}", f"name one of 0 to {len(self) - 1}")
        if not len(self.lengths) or not lengths:
            raise InputError(name, "strength 1 has no length", "find the directions again, or give other --lengths")
        made = {"direction": number, "lengths": lengths, "found in": self.in_words}
        return weight_direction(self.directions[number], layer=self.layer, weights=self.weights, name=name,
                                length=lengths * float(self.lengths[number]), report=made | dict(report or {}))

    @property
    def in_words(self) -> str:
        """"hessian, 64 of layers.2.conv2"."""
        return f"{self.found.get('basis', 'rectified')}, {len(self)} of {self.layer}"


class NotFiniteError(InputError):
    """Something on the way to a basis was not finite.

    Attributes:
        basis: What had been found until then; None: nothing.
    """

    basis: WeightBasis | None = None


def save_basis(path: str | os.PathLike[str], basis: WeightBasis, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a basis; an older file at `path` is replaced once the new one is whole.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {"directions": basis.directions.to(dtype), "values": basis.values, "lengths": basis.lengths}
    if dtype == torch.float16:  # Whose smallest numbers begin at 6e-5, where those of large weights' directions lie.
        largest = basis.directions.flatten(1).abs().amax(dim=1).clamp_min(1e-30)
        tensors["directions"] = (basis.directions / largest.reshape(-1, 1, 1, 1, 1)).half()
    write_tensors(path, tensors, {"format": FORMAT, "layer": basis.layer, "weights": basis.weights,
                                  "found": json.dumps(dict(basis.found), sort_keys=True)})


def load_basis(path: str | os.PathLike[str]) -> WeightBasis:
    """Read what `save_basis` wrote.

    Raises:
        InputError: no such file, not one of directions of weights, or damaged; the message names it.
    """
    tensors, metadata = read_tensors(path, format=FORMAT, what="a file of directions of weights", remedy=REMEDY)
    try:
        directions, values, lengths = (tensors[name].float() for name in ("directions", "values", "lengths"))
        if directions.ndim != 5 or values.shape != (len(directions),) or lengths.shape not in ((0,), values.shape):
            raise ValueError("its tensors do not fit")
        if not all(bool(each.isfinite().all()) for each in (directions, values, lengths)):
            raise ValueError("its numbers are not finite")
        if tensors["directions"].dtype != torch.float32:
            directions = F.normalize(directions.flatten(1), dim=1).reshape(directions.shape)
        found = json.loads(metadata["found"])
        if not isinstance(found, dict):
            raise ValueError("what found it is no object")
        return WeightBasis(directions=directions, values=values, lengths=lengths, layer=metadata["layer"],
                           weights=metadata["weights"], found=found)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged file of directions of weights ({error})", REMEDY) from error


def as_found(settings: BasisSettings) -> dict[str, Any]:
    """What a basis tells of its settings."""
    return asdict(settings)
