"""How far to go along directions of weights: as far as changes pictures by a given perceptual distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from directions.navigan.basis import WeightBasis
from directions.navigan.network import Network, weight_of
from generators import WeightShift
from inversion.perceptual import PerceptualDistance

CHANGE = 0.1          # LPIPS (AlexNet, at 64 pixels) of pictures at the recommended length: plain to see, and a face.
ROUNDS = 4            # In which a length is sought.
FARTHEST = 2.0        # Lengths are at most so many times the weight's own.


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
    side, most = network.side_showing(basis.layer, distance.max_side), FARTHEST * float(weight.norm())
    unmoved = distance.features(network.render(inputs, side))
    unmoved = [torch.cat([each, each]) for each in unmoved]
    both = torch.cat([inputs, inputs])
    signs = torch.tensor([1.0, -1.0]).to(weight).repeat_interleave(len(inputs))
    lengths = []
    length = most / 40
    for number, direction in enumerate(basis.directions.to(weight)):
        tried: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            moved = network.shifted({basis.layer: WeightShift(direction[None], length * signs[:, None])})
            far = float(distance.between(distance.features(moved.render(both, side)), unmoved).mean())
            tried.append((length, max(far, 1e-9)))
            if abs(far / change - 1) < 0.1:
                break
            length = min(max(_next(tried, change), most / 1e4), most)
        lengths.append(length)
        on_direction(number + 1, len(basis))
    return torch.tensor(lengths)


def _next(tried: list[tuple[float, float]], change: float) -> float:
    """The length to try next: distances grow as a power of it, of 1 to 2 as long as nothing else is known."""
    length, far = tried[-1]
    power = 1.5
    if len(tried) > 1 and tried[-2][0] != length:
        logs = torch.tensor(tried[-2:]).double().log()
        power = float((logs[1, 1] - logs[0, 1]) / (logs[1, 0] - logs[0, 0]))
    return length * float((change / far) ** (1 / min(max(power, 0.7), 2.5)))
