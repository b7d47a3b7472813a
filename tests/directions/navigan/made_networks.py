"""A network of convolutions that has no latent, and a distance that knows its exact Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from generators import WeightShift
from weights.fingerprint import fingerprint


class Translator(nn.Module):
    """Pictures [N, 3, 32, 32] of maps [N, 2, 32, 32]: what pix2pixHD is, as small as can be."""

    def __init__(self, *, width: int = 4, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        self.first = nn.Parameter(torch.randn(width, 2, 3, 3, generator=rng, dtype=dtype))
        self.second = nn.Parameter(torch.randn(3, width, 3, 3, generator=rng, dtype=dtype) / 4)
        self.shifts: Mapping[str, WeightShift] = {}
        self.requires_grad_(False)

    @property
    def hash(self) -> str:
        return fingerprint(self.state_dict())

    def convolutions(self) -> dict[str, str]:
        return {"first": "first", "second": "second"}

    def side_showing(self, convolution: str, least: int = 0) -> int:
        return 32

    def shifted(self, shifts: Mapping[str, WeightShift]) -> Self:
        copied = copy(self)
        copied.shifts = shifts
        return copied

    def render(self, inputs: Tensor, side: int | None = None) -> Tensor:
        return torch.tanh(self._conv("second", F.softplus(self._conv("first", inputs))))

    def _conv(self, name: str, x: Tensor) -> Tensor:
        def conv(x: Tensor, weight: Tensor) -> Tensor:
            return F.conv2d(x, weight, padding=1)

        weight = self.get_parameter(name)
        return self.shifts[name].conv(conv, x, weight) if name in self.shifts else conv(x, weight)


class Smooth:
    """A distance of pictures that is as smooth as can be, in place of LPIPS: features are a few fixed sums."""

    max_side = 32

    def features(self, pictures: Tensor) -> list[Tensor]:
        rng = torch.Generator().manual_seed(4)
        kernel = torch.randn(5, 3, 4, 4, generator=rng, dtype=pictures.dtype)
        return [F.conv2d(pictures, kernel, stride=4)]

    @staticmethod
    def between(a: list[Tensor], b: list[Tensor]) -> Tensor:
        return sum((x - y).square().sum(dim=1).mean(dim=[1, 2]) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def maps(count: int, rng: torch.Generator | None = None) -> Tensor:
    """What the translator draws."""
    return torch.randn(count, 2, 32, 32, generator=rng or torch.Generator().manual_seed(5), dtype=torch.float64)


def smooth() -> Any:
    return cast(Any, Smooth())


def exact_hessian(network: Translator, layer: str, inputs: Tensor) -> Tensor:
    """The Hessian [A, A] by automatic differentiation, twice."""
    weight, distance = network.get_parameter(layer), Smooth()
    unmoved = distance.features(network.render(inputs))

    def loss(shift: Tensor) -> Tensor:
        moved = network.shifted({layer: WeightShift(shift.reshape(1, *weight.shape), torch.ones(1, 1).double())})
        return distance.between(distance.features(moved.render(inputs)), unmoved).mean()

    hessian = torch.autograd.functional.hessian(loss, torch.zeros(weight.numel(), dtype=torch.float64))
    return cast(Tensor, hessian)
