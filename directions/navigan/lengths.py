"""How far to go along directions of weights: as far as changes pictures by a given perceptual distance."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import torch
from torch import Tensor

from directions.navigan.basis import WeightBasis
from directions.navigan.network import Network, weight_of
from generators import WeightShift
from inversion.perceptual import PerceptualDistance

CHANGE = 0.06            # LPIPS (AlexNet, at 64 pixels) of pictures at the recommended length: plain to see.
ROUNDS, NEAR = 6, 0.15   # In which a length is sought at most; how near the distance must be, in parts of it.
SHORTEST, FARTHEST = 1e-4, 0.5  # Of the lengths that are tried, in lengths of the weight itself.
POWER, LEAP = 1.5, 6.0   # Of the length with which distances grow, as long as nothing is known; the longest leap then.


@torch.no_grad()
def measure_lengths(network: Network, basis: WeightBasis, inputs: Tensor, distance: PerceptualDistance, *,
                    change: float = CHANGE, on_direction: Callable[[int, int], None] = lambda done, total: None
                    ) -> Tensor:
    """The lengths [K] at which pictures, moved both ways, are a given distance from the unmoved ones on average.

    Args:
        network: Of the weights that the basis is of.
        basis: The directions.
        inputs: A few of what the network draws [N, ...].
        distance: LPIPS.
        change: The distance.
        on_direction: Called with how many directions are done, and of how many.
    """
    weight = weight_of(network, basis.layer)
    side, own = network.side_showing(basis.layer, distance.max_side), float(weight.norm())
    unmoved = distance.features(network.render(inputs, side))

    def far(direction: Tensor, length: float) -> float:
        total = 0.0
        for amount in (length, -length):
            shift = WeightShift(direction[None], torch.full([1, 1], amount).to(weight))
            moved = distance.features(network.shifted({basis.layer: shift}).render(inputs, side))
            total += float(distance.between(moved, unmoved).mean()) / 2
        return total

    lengths, length = [], 0.01 * own
    for number, direction in enumerate(basis.directions.to(weight)):
        def of(length: float, direction: Tensor = direction) -> float:
            return far(direction, length)

        length = _solve(of, change, length, SHORTEST * own, FARTHEST * own)  # The last one's is the first guess.
        lengths.append(length)
        on_direction(number + 1, len(basis))
    return torch.tensor(lengths)


def at_farthest(network: Network, basis: WeightBasis) -> int:
    """How many directions of a basis have the longest length that is tried, where pictures change less than wanted."""
    return int((basis.lengths > 0.99 * FARTHEST * float(weight_of(network, basis.layer).norm())).sum())


def _solve(far: Callable[[float], float], change: float, guess: float, shortest: float, farthest: float) -> float:
    """The length at which something that grows with it is as large as wanted, by straight lines among logarithms."""
    below: tuple[float, float] | None = None
    above: tuple[float, float] | None = None
    best, nearest, at = guess, float("inf"), log(guess)
    for _ in range(ROUNDS):
        off = log(max(far(exp(at)), 1e-12) / change)
        if abs(off) < nearest:
            best, nearest = exp(at), abs(off)
        if nearest < NEAR:
            break
        below, above = (below, (at, off)) if off > 0 else ((at, off), above)
        if below is not None and above is not None:
            part = -below[1] / (above[1] - below[1])
            at = below[0] + min(max(part, 0.1), 0.9) * (above[0] - below[0])
        else:
            at = at - max(min(off / POWER, log(LEAP)), -log(LEAP))
        at = min(max(at, log(shortest)), log(farthest))
    return best
