"""Trajectories: the w's visited by stepping along directions that are taken afresh at each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from directions.control import Control, KeepList, Steerable
from gradctrl.gradients import direction

FARTHEST = 50  # Steps after which a class counts as out of reach.
DirectionFunction = Callable[[Tensor], Tensor]  # w [N, w_dim] -> unit directions [N, w_dim]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One control's part in an edit: where to go at each w, and how far."""

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


@torch.no_grad()
def lengths_to(control: Steerable, x: Tensor, classes: Tensor, *, keep: KeepList = (), step: float | None = None,
               longest: float | None = None) -> Tensor:
    """How far each latent must go until a class is its answer: the path's length when the score reaches the margin.

    Full steps, then one that is shortened so that the score just gets there; walking the length that is returned ends
    at the same place. A latent that has arrived already goes nowhere.

    Args:
        control: The attribute, with its margins.
        x: Latents [N, D].
        classes: Index of the class to reach, of each latent [N].
        keep: Attributes to leave alone, with their channel counts.
        step: Length of a step; None: the control's own.
        longest: Length after which a latent is given up; None: 50 steps.
    Returns:
        Signed lengths [N] along the direction of `control.heading(class)`; infinite (with the sign) where the class was
        not reached.
    """
    step = control.step if step is None else step
    longest = FARTHEST * step if longest is None else longest
    result = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for class_index in classes.unique().tolist():
        chosen = (classes == class_index).nonzero()[:, 0]
        result[chosen] = _lengths_to_class(control, x[chosen], class_index, keep, step, longest)
    return result


def _lengths_to_class(control: Steerable, x: Tensor, class_index: int, keep: KeepList, step: float,
                      longest: float) -> Tensor:
    output, sign = control.heading(class_index)
    margin = control.margin(class_index)
    lengths = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    walking = (control.score_of(x, class_index) < margin).nonzero()[:, 0]
    here = x[walking]
    for taken in range(ceil(longest / step)):
        if not len(walking):
            break
        n = sign * control.direction(here, output, keep)
        after = control.score_of(here + step * n, class_index)
        arrived = after >= margin
        part = _part_of_step(control, here[arrived], step * n[arrived], class_index, margin)
        lengths[walking[arrived]] = step * (taken + part)
        walking, here = walking[~arrived], (here + step * n)[~arrived]
    lengths[walking] = torch.inf
    return sign * lengths


def _part_of_step(control: Steerable, x: Tensor, whole: Tensor, class_index: int, margin: float) -> Tensor:
    """The smallest part of a step, in (0, 1], with which the score is at the margin, by bisection."""
    low, high = torch.zeros_like(x[:, 0]), torch.ones_like(x[:, 0])
    for _ in range(10):
        middle = (low + high) / 2
        there = control.score_of(x + middle[:, None] * whole, class_index) >= margin
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    return high


def trajectory(control: Control, w: Tensor, *, steps: int, step: float = 0.6, sign: int = 1, target: int = 0,
               keep: KeepList = ()) -> Tensor:
    """Follow one control from w for a number of steps (equation 3, algorithm 1).

    Args:
        control: The attribute to change.
        w: Latents [N, w_dim].
        steps: How many steps; 0 gives w alone.
        step: Length of a step in W; the paper's is 0.6.
        sign: 1 towards the target, -1 away from it.
        target: Output whose score rises.
        keep: Attributes to leave alone, with their channel counts.
    Returns:
        [N, steps + 1, w_dim], beginning with w itself.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, not {sign}")
    if steps < 0 or step <= 0:
        raise ValueError(f"steps must be 0 or more and step above 0, not {steps} and {step}")
    path = [w]
    move = Move(direction=lambda here: direction(control, here, target=target, keep=keep),
                length=sign * steps * step, step=step)
    walk(w, [move], on_step=path.append)
    return torch.stack(path, dim=1)
