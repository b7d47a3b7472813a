"""Trajectories: the w's visited by stepping along directions that are taken afresh at each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from gradctrl.classifier import Classifier
from gradctrl.gradients import direction

DirectionFunction = Callable[[Tensor], Tensor]  # w [N, w_dim] -> unit directions [N, w_dim]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One direction's part in an edit: where to go at each w, and how far."""

    direction: DirectionFunction
    length: float | Tensor  # Signed length of the path, for all or each [N]; below 0 it runs against the direction.
    step: float             # Length of one step.

    @property
    def steps(self) -> int:
        longest = float(self.length.abs().max()) if isinstance(self.length, Tensor) else abs(self.length)
        # A remainder that is only rounding makes no step of its own.
        return ceil(longest / self.step - 1e-9)

    def stride(self, index: int) -> float | Tensor:
        """Signed length of step `index`, for all or each [N, 1]: full steps, then what is left, then 0."""
        if isinstance(self.length, Tensor):
            return ((self.length.abs() - index * self.step).clamp(0, self.step) * self.length.sign())[:, None]
        left = min(max(abs(self.length) - index * self.step, 0.0), self.step)
        return left if self.length > 0 else -left


def walk(w: Tensor, moves: Sequence[Move], *, on_step: Callable[[Tensor], None] | None = None) -> list[Tensor]:
    """Take several moves at once and return what each added to w.

    At each step every move's direction is taken at the same w, the one that all moves have reached together, so that
    their order does not matter. With one move this is the paper's w' = w + step * n.

    Args:
        w: Latents [N, w_dim].
        moves: The moves.
        on_step: Called after each step with the w [N, w_dim] reached.
    Returns:
        For each move its displacement [N, w_dim]; channels that it never touched are exactly 0.
    """
    here = w
    added = [torch.zeros_like(w) for _ in moves]
    for index in range(max((move.steps for move in moves), default=0)):
        # With one move w itself is stepped, as the paper does; the sum of displacements would round differently.
        strides = [move.stride(index) * move.direction(here) if index < move.steps else None for move in moves]
        for number, stride_taken in enumerate(strides):
            if stride_taken is not None:
                added[number] = added[number] + stride_taken
                here = here + stride_taken
        if on_step is not None:
            on_step(here)
    return added


def trajectory(classifier: Classifier, w: Tensor, *, steps: int, step: float = 0.6, sign: int = 1, target: int = 0,
               keep: Sequence[tuple[Classifier, int]] = ()) -> Tensor:
    """Follow the score of one attribute from w for a number of steps (equation 3, algorithm 1).

    Args:
        classifier: Of the attribute to change.
        w: Latents [N, w_dim].
        steps: How many steps; 0 gives w alone.
        step: Length of a step in W; the paper's is 0.6.
        sign: 1 towards the target, -1 away from it.
        target: Output whose score rises.
        keep: Classifiers of the attributes to leave alone, with their channel counts.
    Returns:
        [N, steps + 1, w_dim], beginning with w itself.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, not {sign}")
    if steps < 0 or step <= 0:
        raise ValueError(f"steps must be 0 or more and step above 0, not {steps} and {step}")
    path = [w]
    move = Move(direction=lambda here: direction(classifier, here, target=target, keep=keep),
                length=sign * steps * step, step=step)
    walk(w, [move], on_step=path.append)
    return torch.stack(path, dim=1)
