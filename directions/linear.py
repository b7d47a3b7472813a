"""A control whose directions are the same everywhere, and whose score is linear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from directions.control import Control, Direction, KeepList
from directions.methods import MethodName

UNIT_TOLERANCE = 0.02  # Of a direction's length, wide enough for bfloat16.
RANK_TOLERANCE = 1e-4  # Kept normals whose part outside of the others' span is shorter than this add nothing to it.


def span_of(rows: Tensor) -> Tensor:
    """An orthonormal basis [R, D] of what unit rows [N, D] span."""
    _, sizes, span = torch.linalg.svd(rows, full_matrices=False)
    return span[sizes > RANK_TOLERANCE * sizes[0]]


@dataclass(frozen=True, kw_only=True)
class _FixedDirections(Direction):
    """What every direction has in common that is the same wherever one stands."""

    found_by: MethodName
    directions: Tensor  # [outputs, D], unit rows.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not ((self.directions.float().norm(dim=1) - 1).abs() < UNIT_TOLERANCE).all():
            raise ValueError(f"{self.name}: every direction must have length 1")

    @property
    def method(self) -> MethodName:
        return self.found_by

    @property
    def outputs(self) -> int:
        return self.directions.shape[0]

    @property
    def width(self) -> int:
        return self.directions.shape[1]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        moved: dict[str, Any] = {name: tensor.to(device, dtype) for name, tensor in self.tensors().items()}
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True)
class LinearControl(_FixedDirections, Control):
    """One attribute steered along fixed directions, one for each output.

    The score of an output is its log-odds, weights x + bias, for a binary attribute or where classes have no order.
    Where they have (`ordered`), no line through W leads to a class in the middle from both sides. Row 0 is then about
    "the first class", and row j > 0 about "class j or a later one"; the score of a middle class j is the smaller of row
    j's and the negative of row j + 1's, and its direction that of whichever row is the smaller (Frank & Hall, "A simple
    approach to ordinal classification", 2001).
    """

    directions: Tensor  # [outputs, D], unit rows: along each, its row's score should rise.
    weights: Tensor     # [outputs, D] of the score.
    bias: Tensor        # [outputs]

    def __post_init__(self) -> None:
        if (self.directions.ndim != 2 or self.weights.shape != self.directions.shape
                or self.bias.shape != self.directions.shape[:1]):
            raise ValueError(f"{self.name}: directions, weights and bias must be [C, D], [C, D] and [C], not "
                             f"{[list(t.shape) for t in self.tensors().values()]}")
        super().__post_init__()

    def scores(self, x: Tensor) -> Tensor:
        rows = F.linear(x, self.weights, self.bias)  # [N, outputs]
        if not self.ordered or self.outputs < 3:
            return rows
        return torch.cat([rows[:, :1], torch.minimum(rows[:, 1:-1], -rows[:, 2:]), rows[:, -1:]], dim=1)

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        """Unit directions [N, D] along which the score of an output should rise.

        For InterFaceGAN the normal of the boundary, less its projection on the span of the kept attributes'
        normals: conditional manipulation (Shen et al. 2020, section 3.3). The other methods' directions leave alone
        what they leave alone, whatever is kept.

        Args:
            x: Latents [N, D], w or styles.
            target: The output.
            keep: Attributes to leave alone, of this method; how many channels are given with each does not matter.
        Returns:
            [N, D], rows of length 1; 0 where the kept normals leave nothing.
        """
        rows, signs = self._lead(x, target)
        directions = self._conditional(keep) if keep and self.method == "interfacegan" else self.directions
        return directions[rows] * signs[:, None]

    def _lead(self, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """The row [N] whose direction leads to an output from each latent, and the sign [N] with which it does."""
        rows = torch.full(x.shape[:1], target, device=x.device)
        signs = torch.ones(x.shape[:1], dtype=x.dtype, device=x.device)
        if self.ordered and 0 < target < self.outputs - 1:
            here, above = F.linear(x, self.weights[target:target + 2], self.bias[target:target + 2]).unbind(dim=1)
            beyond = -above < here
            rows, signs = rows + beyond, torch.where(beyond, -signs, signs)
        return rows, signs

    def _conditional(self, keep: KeepList) -> Tensor:
        """The directions, without what they have in common with the span of the kept attributes' directions."""
        wide = torch.promote_types(self.directions.dtype, torch.float32)
        span = span_of(torch.cat([other.directions for other, _ in keep]).to(wide))
        directions = self.directions.to(wide)
        left = directions - (directions @ span.T) @ span
        left = left - (left @ span.T) @ span  # Again, for what rounding left of a direction almost in the span.
        # What is left of a direction that lies in the span is rounding, not a direction.
        left = torch.where(left.norm(dim=1, keepdim=True) > 1e-3, left, 0.0)
        return F.normalize(left, dim=1).to(self.directions.dtype)

    def tensors(self) -> dict[str, Tensor]:
        return {"directions": self.directions, "weights": self.weights, "bias": self.bias}

    def settings(self) -> dict[str, Any]:
        return {"ordered": self.ordered}


@dataclass(frozen=True, kw_only=True)
class LinearDirection(_FixedDirections):
    """One fixed direction that nobody labelled, such as a principal component."""

    directions: Tensor             # [1, D], of length 1.
    centre: float | None = None    # Coordinate along it of the mean of what it moves; None: not known.

    def __post_init__(self) -> None:
        if self.directions.ndim != 2 or len(self.directions) != 1:
            raise ValueError(f"{self.name}: a direction must be [1, D], not {list(self.directions.shape)}")
        super().__post_init__()

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        return self.directions.expand(len(x), -1)

    def centre_of(self, target: int = 0) -> float | None:
        return self.centre

    def tensors(self) -> dict[str, Tensor]:
        return {"directions": self.directions}

    def settings(self) -> dict[str, Any]:
        return {} if self.centre is None else {"centre": self.centre}


def recombine(candidates: Sequence[LinearControl], choice: Sequence[int]) -> LinearControl:
    """One control that takes each output from the candidate chosen for it.

    Args:
        candidates: Controls of one attribute and method that differ in their directions.
        choice: For each output, the index of the candidate that its direction, score and unit come from.
    Returns:
        The control; everything that is not an output's own is the first candidate's. Its report tells the choice, and
        under "outputs" what the chosen candidates tell of each output.

    Raises:
        ValueError: the candidates are not of one attribute and method, or the choice does not fit them.
    """
    if not candidates or any((c.name, c.classes, c.method, c.directions.shape) != (
            candidates[0].name, candidates[0].classes, candidates[0].method, candidates[0].directions.shape)
            for c in candidates):
        raise ValueError("candidates must be at least one, and all of one attribute and method")
    first = candidates[0]
    if len(choice) != first.outputs or not all(0 <= index < len(candidates) for index in choice):
        raise ValueError(f"{first.name}: {first.outputs} choices among {len(candidates)} candidates are needed, not "
                         f"{list(choice)}")
    chosen = [(candidates[index], output) for output, index in enumerate(choice)]
    report = {**first.report, "choice": list(choice)}
    if "outputs" in first.report:
        report["outputs"] = [c.report["outputs"][output] for c, output in chosen]  # type: ignore[index]
    directions, weights, bias = (torch.stack([c.tensors()[name][output] for c, output in chosen])
                                 for name in ("directions", "weights", "bias"))
    return replace(first, units=tuple(c.units[output] for c, output in chosen), step=min(c.step for c, _ in chosen),
                   report=report, directions=directions, weights=weights, bias=bias)
