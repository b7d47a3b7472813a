"""ProGAN: one z, and convolutions of features that are normalised pixel by pixel.

Karras, Aila, Laine and Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import Generator, Layer, NoiseMode
from generators.shifts import WeightShift
from generators.spaces import SEEDS, Space
from generators.stylegan import doubling_kernel
from generators.stylegan2_layers import LRELU_SLOPE, FrozenCache

EPSILON = 1e-8  # Of the mean square that a pixel's features are divided by.


@dataclass(frozen=True, kw_only=True)
class ProGANConfig:
    """Sizes of a ProGAN generator that is fully grown."""

    architecture: ClassVar[str] = "progan"
    channels: tuple[int, ...]  # Feature maps at 4, 8, ... pixels.
    z_dim: int = 512           # Length of z.

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= 9:
            raise ValueError(f"the picture's side must be 8 to 1024 pixels, which takes 2 to 9 counts of feature maps, "
                             f"not {len(self.channels)}")

    @property
    def img_resolution(self) -> int:
        """Side of the picture in pixels."""
        return int(2 * 2 ** len(self.channels))

    def layers(self) -> Iterator[Layer]:
        """The layers in the order of use, two a side, named layer1, layer2, ...; all read the one row."""
        for index in range(2 * len(self.channels)):
            side = 4 * 2 ** (index // 2)
            yield Layer(f"layer{index + 1}", 0, side, side * (1 + index % 2 / 2), 0, 0, False)


class OneLatent(nn.Module):
    """Stands for a mapping network: w is z itself."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    def forward(self, z: Tensor, c: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """z [N, z_dim] as it is. Its length changes no picture, and so a truncation changes none."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must be [N, {self.z_dim}], not {list(z.shape)}")
        if c is not None:
            raise ValueError("this generator takes no class labels")
        return z


class FirstLayer(nn.Module):
    """z to features at 4x4 pixels."""

    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.normal(0.0, sqrt(2 / (16 * z_dim)), [channels, z_dim, 4, 4]))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, z: Tensor) -> Tensor:  # [N, z_dim] -> [N, C, 4, 4]
        made = torch.einsum("nz,czij->ncij", pixel_norm(z), self.weight) + self.bias[:, None, None]
        return F.leaky_relu(made, LRELU_SLOPE)


class ConvLayer(nn.Module):
    """Normalisation of each pixel, a 3x3 convolution, which may double the side first, and an activation."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.normal(0.0, sqrt(2 / (9 * inputs)), [outputs, inputs, 3, 3]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.shift: WeightShift | None = None
        self._cast = FrozenCache()

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, s, s]
        x = pixel_norm(x)
        if self.shift is not None:
            x = self.shift.conv(lambda x, weight: self._conv(x, self._kernel(weight)), x, self.weight)
        else:
            x = self._conv(x, self._cast.get(self.weight, x.dtype, lambda weight: self._kernel(weight).to(x.dtype)))
        return F.leaky_relu(x + self.bias.to(x.dtype)[:, None, None], LRELU_SLOPE)

    def _kernel(self, weight: Tensor) -> Tensor:
        return doubling_kernel(weight) if self.up else weight

    def _conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv_transpose2d(x, kernel, stride=2, padding=1) if self.up else F.conv2d(x, kernel, padding=1)


def pixel_norm(x: Tensor) -> Tensor:
    """Features [N, C, ...] at unit mean square over C (section 4.2)."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


class ProGANSynthesis(nn.Module):
    """z to a picture: layer1, layer2 ..., two of each side, and the colours of the last features."""

    def __init__(self, config: ProGANConfig) -> None:
        super().__init__()
        self.layer1 = FirstLayer(config.z_dim, config.channels[0])
        for index in range(1, 2 * len(config.channels)):
            inputs, outputs = config.channels[(index - 1) // 2], config.channels[index // 2]
            self.add_module(f"layer{index + 1}", ConvLayer(inputs, outputs, up=index % 2 == 0))
        self.torgb = nn.Conv2d(config.channels[-1], 3, 1)


class ProGAN(Generator):
    """A ProGAN generator of 8 to 1024 pixels, frozen once it is loaded (`generators.load`).

    It has no mapping network and no styles. z stands for w, and w+ has one row, which feeds all layers: inversions and
    components are of z. The length of z changes no picture.
    """

    architecture = ProGANConfig.architecture

    def __init__(self, config: ProGANConfig) -> None:
        super().__init__(img_resolution=config.img_resolution, layers=tuple(config.layers()), z_dim=config.z_dim,
                         w_dim=config.z_dim, num_ws=1, sides=(config.img_resolution,))
        self.config = config
        self.mapping = OneLatent(config.z_dim)
        self.synthesis = ProGANSynthesis(config)

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        x = ws[:, 0]
        for layer in self.layers:
            x = self.synthesis.get_submodule(layer.name)(x)
            if layer.name == "layer1":
                x = x.to(self.compute_dtype or x.dtype).contiguous(memory_format=torch.channels_last)
            yield layer, x

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        *_, (_, x) = self._features(ws)
        colours: Tensor = self.synthesis.torgb(pixel_norm(x.to(self.synthesis.torgb.weight.dtype)))
        return colours

    def neutral(self) -> Tensor:
        """The mean z [D]: 0."""
        return torch.zeros(self.w_dim, device=self.device, dtype=self.dtype)

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        return self._convolutions_from(from_side, "synthesis.torgb.weight")

    def convolutions(self) -> dict[str, str]:
        return {layer.name: f"synthesis.{layer.name}.weight" for layer in self.layers[1:]}

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The space of z, told by what the first layer makes of it: each generator has its own."""
        exact = self._exact()
        with torch.no_grad():
            made = exact.synthesis.layer1(exact.draw_z(SEEDS)).flatten(1)
        return {"w": replace(Space.of("w", made), width=self.w_dim)}
