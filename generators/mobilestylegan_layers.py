"""The layers of MobileStyleGAN: modulated separable convolutions, inverse Haar transform, colours and readouts.

Belousov (2021), section 3. Symbols: N pictures, C input and O output feature maps, s a side. Four bands of a Haar
transform lie one after another among the feature maps: low, horizontal, vertical and diagonal detail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from generators.shifts import WeightShift
from generators.stylegan2_layers import LRELU_SLOPE, FrozenCache

BANDS = 4


class Modulation(nn.Linear):
    """The affine layer that makes styles [N, C] of w [N, w_dim]."""

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__(w_dim, channels)
        self.weight = nn.Parameter(torch.normal(0.0, 1 / sqrt(w_dim), [channels, w_dim]))
        self.bias = nn.Parameter(torch.ones(channels))


class Up(nn.Module):
    """Double the side: features times a style, then the inverse Haar transform; [N, C, s, s] to [N, C / 4, 2s, 2s]."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.modulation = Modulation(w_dim, channels)

    def forward(self, x: Tensor, styles: Tensor, noise: Tensor | None = None) -> Tensor:
        return inverse_haar(x * _as_scale(styles / 2, x))


class ModulatedConv(nn.Module):
    """A 3x3 convolution whose input maps are scaled by a style, then noise, bias and leaky ReLU (section 3.2).

    Depthwise, then pointwise; or a whole one, with which the network begins.
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, w_dim: int, *, separable: bool = True) -> None:
        super().__init__()
        self.modulation = Modulation(w_dim, inputs)
        self.separable = separable
        if separable:
            self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3))
        kernel = 1 if separable else 3
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.normal(0.0, 0.1, [side, side]))
        self.scale = 1 / sqrt(9 * inputs)
        self.shift: WeightShift | None = None  # Of the pointwise, or the whole, convolution.
        self._cast = FrozenCache()

    def forward(self, x: Tensor, styles: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, C, s, s], styles [N, C], noise [1 or N, 1, s, s] -> [N, O, s, s]."""
        weight = self._cast.get(self.weight, x.dtype, lambda w: w.to(x.dtype))
        bias, styles = self.bias.to(x.dtype), styles * self.scale
        if not self.separable:
            x = self._conv(x * _as_scale(styles, x), weight, bias)
        else:
            if len(styles) == 1:  # It goes into the weights, which saves a pass over the features.
                depthwise: Tensor = self.depthwise * styles.reshape(-1, 1, 1, 1)
            else:
                x, depthwise = x * _as_scale(styles, x), self.depthwise
            x = F.conv2d(x, depthwise.to(x.dtype), padding=1, groups=x.shape[1])
            x = self._conv(x, weight, bias)
        return add_noise_and_bend(x, noise)

    def _conv(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padding = weight.shape[2] // 2
        if self.shift is None:
            return F.conv2d(x, weight, bias, padding=padding)
        x = self.shift.conv(lambda x, weight: F.conv2d(x, weight, padding=padding), x, self.weight)
        return x + bias[:, None, None]


class ToImage(nn.Module):
    """Modulated 1x1 convolution to the bands of the colours, and their inverse Haar transform; in float32 or better."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.modulation = Modulation(w_dim, channels)
        self.weight = nn.Parameter(torch.randn(3 * BANDS, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3 * BANDS))
        self.scale = 1 / sqrt(channels)

    def forward(self, x: Tensor, styles: Tensor, noise: Tensor | None = None) -> Tensor:
        """x [N, C, s, s], styles [N, C] -> pictures [N, 3, 2s, 2s]."""
        bands = scaled_conv(x, self.weight, styles * (self.scale / 2)).to(self.bias.dtype)
        return inverse_haar(bands + self.bias[:, None, None] / 2)


class Conv(nn.Module):
    """A plain convolution, in the dtype of its input maps [N, C, s, s], which are first scaled by [N, C]."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.normal(0.0, 1 / sqrt(inputs * kernel ** 2), [outputs, inputs, kernel, kernel]))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return scaled_conv(x, self.weight, scale, self.bias)


class Readout(nn.Module):
    """A picture of side s from the features of s / 2 pixels: the later blocks at these features' own side.

    Of each inverse Haar transform the low band alone is kept, so that all convolutions are 1x1; a small convolutional
    head adds the detail of twice the side.
    """

    def __init__(self, channels: Sequence[int], detail: int, blocks: int) -> None:
        """Take the feature maps from those it begins with to the last ones, and the blocks of the whole network."""
        super().__init__()
        first, last = channels[0], channels[-1]
        self.layers = [f"layers.{block}.{conv}" for block in range(blocks - len(channels) + 1, blocks)
                       for conv in ("conv1", "conv2")]
        self.convs = nn.ModuleList()
        for index, (inputs, outputs) in enumerate(pairwise(channels), 2):
            self.convs.append(Conv(inputs // BANDS, outputs))
            self.convs.append(Conv(outputs, outputs if index == len(channels) else outputs // BANDS))
        self.low = Conv(last, 3)
        self.detail_first = Conv(first, detail)
        self.detail_last = Conv(last, detail)
        self.detail_conv = Conv(detail, detail, kernel=3)
        self.detail = Conv(detail, 3 * BANDS)

    @torch.no_grad()
    def start(self, layers: Sequence[ModulatedConv], colours: ToImage) -> None:
        """Take the weights of the network's layers: depthwise kernels become their sums; there is no detail."""
        for conv, layer in zip(cast(Iterable[Conv], self.convs), layers, strict=True):
            weight = layer.weight * layer.depthwise.sum(dim=[2, 3])[None, :, :, None] * layer.scale
            conv.weight.copy_(weight[:len(conv.weight)])
            conv.bias.copy_(layer.bias[:len(conv.bias)])
        self.low.weight.copy_(colours.weight[:3] * colours.scale)
        self.low.bias.copy_(colours.bias[:3])
        nn.init.zeros_(self.detail.weight)
        nn.init.zeros_(self.detail.bias)

    def forward(self, first: Tensor, styles: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> Tensor:
        """first [N, C, s / 2, s / 2], styles and noise of the network's layers by their names -> [N, 3, s, s]."""
        x = first
        for conv, name in zip(self.convs, self.layers, strict=True):
            style = styles[name]
            if name.endswith("conv1"):
                x, up = x[:, :style.shape[1]], styles[name.replace("conv1", "up")]
                style = style * up[:, :style.shape[1]] / 2
            averaged = F.adaptive_avg_pool2d(noise[name], x.shape[2]) if name in noise else None
            x = add_noise_and_bend(conv(x, style), averaged)
        low = self.low(x, styles["to_img"])
        x = F.leaky_relu_(self.detail_first(first) + self.detail_last(x), LRELU_SLOPE)
        x = F.leaky_relu_(self.detail_conv(x), LRELU_SLOPE)
        bands = self.detail(x).to(self.low.weight.dtype)
        bands = torch.cat([bands[:, :3] + low, bands[:, 3:]], dim=1)
        return inverse_haar(bands.contiguous(memory_format=torch.channels_last) / 2)


def scaled_conv(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None = None) -> Tensor:
    """Convolution, in the dtype of x [N, C, s, s], of input maps that are scaled by [N, C]."""
    if scale is not None and len(scale) == 1:  # One style goes into the weights, which saves a pass over the features.
        weight, scale = weight * scale[:, :, None, None], None
    x = x if scale is None else x * _as_scale(scale, x)
    bias = None if bias is None else bias.to(x.dtype)
    return F.conv2d(x, weight.to(x.dtype), bias, padding=weight.shape[2] // 2)


def add_noise_and_bend(x: Tensor, noise: Tensor | None) -> Tensor:
    """The end of a convolution: noise and leaky ReLU, in place."""
    return F.leaky_relu_(x if noise is None else x.add_(noise.to(x.dtype)), LRELU_SLOPE)


def inverse_haar(x: Tensor) -> Tensor:
    """Put four bands [N, 4 C, s, s] together as [N, C, 2s, 2s]: sums and differences, twice the orthonormal transform.

    Bands, one after another: low, horizontal, vertical and diagonal detail. The result is channels_last.
    """
    return _InverseHaar.apply(x)


class _InverseHaar(torch.autograd.Function):
    """With a gradient of its own, written by the same few passes over the memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # [N, H, W, 4 C]: maps lie side by side in memory.
        n, height, width, maps = x.shape
        upright, across = x.split(maps // 2, dim=3)
        rows = x.new_empty(n, height, 2, width, maps // 2)
        torch.add(upright, across, out=rows[:, :, 0])
        torch.sub(upright, across, out=rows[:, :, 1])
        low, detail = rows.flatten(1, 2).split(maps // 4, dim=3)
        pixels = x.new_empty(n, 2 * height, width, 2, maps // 4)
        torch.add(low, detail, out=pixels[:, :, :, 0])
        torch.sub(low, detail, out=pixels[:, :, :, 1])
        return pixels.flatten(2, 3).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        pixels = gradients[0].permute(0, 2, 3, 1)  # [N, 2 H, 2 W, C]
        n, height, width, maps = pixels.shape
        left, right = pixels.unflatten(2, (width // 2, 2)).unbind(dim=3)
        rows = pixels.new_empty(n, height, width // 2, 2 * maps)
        torch.add(left, right, out=rows[..., :maps])
        torch.sub(left, right, out=rows[..., maps:])
        top, bottom = rows.unflatten(1, (height // 2, 2)).unbind(dim=2)
        x = pixels.new_empty(n, height // 2, width // 2, 4 * maps)
        torch.add(top, bottom, out=x[..., :2 * maps])
        torch.sub(top, bottom, out=x[..., 2 * maps:])
        return x.permute(0, 3, 1, 2)


def _as_scale(styles: Tensor, x: Tensor) -> Tensor:
    return styles.to(x.dtype)[:, :, None, None]
