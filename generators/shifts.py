"""Shifts of the weight of a convolution, each sample of a batch its own, without a weight for each sample.

Symbols: N samples, K directions, O output and C input feature maps, k the side of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Conv = Callable[[Tensor, Tensor], Tensor]  # Features [N, C, H, W] and a weight [O, C, k, k] to features.


@dataclass(frozen=True, eq=False)
class WeightShift:
    """How far each sample goes along directions in the weight W of one convolution: W + sum_k a_k D_k.

    A convolution is linear in its weight, conv(x, W + a D) = conv(x, W) + a conv(x, D), so that one convolution with
    (1 + K) O outputs serves all samples. Where the amounts are the same for all, or there are as many directions as
    samples, the weights are added up first.
    """

    directions: Tensor  # [K, O, C, k, k]
    amounts: Tensor     # [N, K]; [1, K]: the same for all samples.

    def __post_init__(self) -> None:
        if self.directions.ndim != 5 or self.amounts.ndim != 2 or self.amounts.shape[1] != len(self.directions):
            raise ValueError(f"directions must be [K, O, C, k, k] and amounts [N, K], not "
                             f"{list(self.directions.shape)} and {list(self.amounts.shape)}")

    def conv(self, conv: Conv, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of x [N, C, H, W], in its dtype, by each sample's own weight."""
        if len(self.amounts) == 1:
            return conv(x, self._added(weight)[0].to(x.dtype))
        if len(x) != len(self.amounts):
            raise ValueError(f"{len(self.amounts)} samples have amounts, and {len(x)} are drawn")
        if len(self.directions) >= len(x):
            return torch.cat([conv(each, own.to(x.dtype)) for each, own in zip(x.split(1), self._added(weight),
                                                                               strict=True)])
        outputs = conv(x, torch.cat([weight[None], self.directions]).flatten(0, 1).to(x.dtype))
        plain, *along = outputs.chunk(1 + len(self.directions), dim=1)
        for index, each in enumerate(along):
            plain = torch.addcmul(plain, each, self.amounts[:, index, None, None, None].to(x.dtype))
        return plain

    def squares(self, scale: Tensor, weight: Tensor) -> Tensor:
        """Sums [1 or N, O] of the squares of each sample's weight, whose input maps are scaled by the roots of [N, C].

        They are quadratic in the amounts: what demodulation (Karras et al. 2020, equation 3) is made of.
        """
        count = 1 + len(self.directions)
        if len(self.amounts) == 1 or count > len(scale):
            own = self._added(weight).square().sum(dim=[3, 4])  # [1 or N, O, C]
            return (own @ scale[:, :, None])[:, :, 0]
        terms = torch.cat([weight[None], self.directions]).flatten(3)  # [1 + K, O, C, k k]
        products = torch.stack([(a * b).sum(dim=2) for a in terms for b in terms])  # [(1 + K)^2, O, C]
        amounts = torch.cat([torch.ones_like(self.amounts[:, :1]), self.amounts], dim=1)
        pairs = (amounts[:, :, None] * amounts[:, None]).flatten(1)  # [N, (1 + K)^2]
        sums = (scale @ products.flatten(0, 1).T).unflatten(1, (count ** 2, -1))
        return (pairs[:, :, None] * sums).sum(dim=1)

    def _added(self, weight: Tensor) -> Tensor:
        """Each sample's weight [1 or N, O, C, k, k]."""
        return weight + torch.einsum("nk,kocij->nocij", self.amounts.to(weight), self.directions.to(weight))



@dataclass(frozen=True, eq=False)
class Deformation:
    """A direction in the weight of one convolution. Two are the same only if they are one object."""

    layer: str         # The convolution's name.
    direction: Tensor  # [O, C, k, k]
    _moved: dict[tuple[str, torch.dtype], Deformation] = field(default_factory=dict, repr=False)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Deformation:
        """The same on another device, in another precision; always the same object."""
        key = str(device), dtype
        if key not in self._moved:
            moved = self.direction.to(device, dtype)
            self._moved[key] = self if moved is self.direction else Deformation(self.layer, moved)
        return self._moved[key]


Deformations = Mapping[Deformation, Tensor]  # With how far each sample goes along it, [N].


def shifts_of(deformations: Deformations) -> dict[str, WeightShift]:
    """The shifts of each convolution; what all samples share, or none has, costs nothing more than an unshifted one."""
    by_layer: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for deformation, amounts in deformations.items():
        if bool(amounts.any()):
            by_layer.setdefault(deformation.layer, []).append((deformation.direction, amounts))
    shifts = {}
    for layer, parts in by_layer.items():
        together = torch.stack([amounts for _, amounts in parts], dim=1)  # [N, K]
        alike = bool((together == together[:1]).all())
        shifts[layer] = WeightShift(torch.stack([direction for direction, _ in parts]),
                                    together[:1] if alike else together)
    return shifts
