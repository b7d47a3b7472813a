"""The MobileStyleGAN generator: a student of StyleGAN2 of separable convolutions and Haar wavelets, in the teacher's W.

Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis" (2021,
arXiv 2104.04767), as exported: the demodulation does not depend on w and is part of the weights, noise is fixed.
Pictures smaller than the whole one come from the features of the middle (`Readout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import log2, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import Generator, Layer, NoiseMode
from generators.stylegan2 import MappingNetwork
from generators.stylegan2_layers import LRELU_SLOPE, FullyConnected


@dataclass(frozen=True, kw_only=True)
class MobileStyleGANConfig:
    """Sizes of a generator; everything else about it is in its weights."""

    img_resolution: int                 # Side of the picture in pixels, a power of two from 32 to 1024.
    channels: tuple[int, ...]           # Feature maps at 4, 8, ... img_resolution / 2 pixels; each a multiple of 4.
    readouts: tuple[int, ...] = ()      # Sides of the smaller pictures that it can give.
    z_dim: int = 512                    # Length of z.
    w_dim: int = 512                    # Length of w.
    mapping_layers: int = 8             # Fully connected layers from z to w.
    mapping_lr_multiplier: float = 1.0  # Of the mapping network's stored weights; folded in where it is 1.
    detail: int = 24                    # Feature maps of the readouts' detail.

    def __post_init__(self) -> None:
        if self.img_resolution not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"img_resolution must be a power of two from 32 to 1024, not {self.img_resolution}")
        if len(self.channels) != len(self.sides) or any(count % 4 for count in self.channels):
            raise ValueError(f"{len(self.sides)} channel counts, multiples of 4, are needed for {self.img_resolution} "
                             f"pixels, not {self.channels}")
        wrong = [side for side in self.readouts if side not in self.sides[1:]]
        if wrong:
            raise ValueError(f"there are no features for pictures of {wrong[0]} pixels")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the features: 4, 8, ... img_resolution / 2."""
        return tuple(2 ** i for i in range(2, int(log2(self.img_resolution))))

    @property
    def num_ws(self) -> int:
        """Rows of w+: one for the first convolution, two a block, one for the colours; 16 at 1024 pixels."""
        return 2 * len(self.sides)

    def layers(self) -> Iterator[Layer]:
        """The layers, in the order of use. In a block "up" and the first convolution read one row.

        Rows are StyleGAN2's by the side of their features; the colours are made at the last side of all.
        """
        start = 0

        def layer(name: str, row: int, side: int, place: float, width: int, colours: bool = False) -> Layer:
            nonlocal start
            start += width
            return Layer(name, row, side, place * side, start - width, start, colours)

        yield layer("conv1", 0, 4, 1.0, self.channels[0])
        for index, (side, channels) in enumerate(zip(self.sides[1:], self.channels[1:], strict=True)):
            before = self.channels[index]
            yield layer(f"layers.{index}.up", 2 * index + 1, side, 1.0, before)
            yield layer(f"layers.{index}.conv1", 2 * index + 1, side, 1.0, before // 4)
            yield layer(f"layers.{index}.conv2", 2 * index + 2, side, 1.5, channels)
        yield layer("to_img", self.num_ws - 1, self.img_resolution, 1.0, self.channels[-1], colours=True)


class Modulation(nn.Module):
    """The affine layer that makes styles [N, C] of w [N, w_dim]."""

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, w_dim) / sqrt(w_dim))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, w: Tensor, change: Tensor | None = None) -> Tensor:
        styles = F.linear(w, self.weight, self.bias)
        return styles if change is None else styles + change


class ModulatedConv(nn.Module):
    """A 3x3 convolution whose input maps are scaled by a style, with noise, bias and leaky ReLU (section 3.2).

    Depthwise then pointwise; the first one of the network is a whole one.
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, w_dim: int, *, separable: bool = True) -> None:
        super().__init__()
        self.modulation = Modulation(w_dim, inputs)
        if separable:
            self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3) / 3)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *((1, 1) if separable else (3, 3))))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.zeros(side, side))
        self.separable = separable
        self.scale = 1 / sqrt(9 * inputs)

    def forward(self, x: Tensor, styles: Tensor, noisy: bool) -> Tensor:
        """x [N, inputs, s, s], styles [N, inputs] -> [N, outputs, s, s]."""
        dtype = x.dtype
        scale = (styles * self.scale).to(dtype)
        if self.separable:
            if len(x) == 1:  # One style serves the whole batch: it goes into the weights, which saves a pass.
                x = F.conv2d(x, self.depthwise.to(dtype) * scale.reshape(-1, 1, 1, 1), padding=1, groups=x.shape[1])
            else:
                x = F.conv2d(x * scale[:, :, None, None], self.depthwise.to(dtype), padding=1, groups=x.shape[1])
            x = F.conv2d(x, self.weight.to(dtype), self.bias.to(dtype))
        else:
            x = F.conv2d(x * scale[:, :, None, None], self.weight.to(dtype), self.bias.to(dtype), padding=1)
        x = x + self.noise.to(dtype) if noisy else x
        return F.leaky_relu_(x, LRELU_SLOPE)
