"""StyleGAN: StyleGAN2's mapping network, and a synthesis network of adaptive instance normalisation.

Karras, Laine and Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks" (2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import Generator, Layer, NoiseMode
from generators.shifts import WeightShift
from generators.stylegan2 import MappingNetwork, StyleConfig
from generators.stylegan2_layers import LRELU_SLOPE, FrozenCache, FullyConnected, blur

EPSILON = 1e-8  # Of the variance that features are divided by, as in NVIDIA's code.


@dataclass(frozen=True, kw_only=True)
class StyleGANConfig(StyleConfig):
    """Sizes of a StyleGAN generator; everything else about it is in its weights."""

    architecture: ClassVar[str] = "stylegan"

    def layers(self) -> Iterator[Layer]:
        """The layers in the order of use, two a block; a style is a scale and an offset for each of a layer's maps."""
        start = 0
        for block, (side, channels) in enumerate(zip(self.resolutions, self.channels, strict=True)):
            for part, name in enumerate(("const", "conv1") if side == 4 else ("conv0", "conv1")):
                yield Layer(f"b{side}.{name}", 2 * block + part, side, side * (1 + part / 2), start,
                            start + 2 * channels, False)
                start += 2 * channels


class StyledLayer(nn.Module):
    """What comes before a style (nothing, a convolution, or one that doubles the side), noise, and the style itself."""

    noise_const: Tensor

    def __init__(self, channels: int, w_dim: int, side: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, 2 * channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise_const", torch.randn(side, side))

    def before(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode,  # [N, I, H, W], [N, w_dim] -> [N, C, s, s]
                style_change: Tensor | None = None) -> Tensor:  # [N, 2C]
        style = self.affine(w) if style_change is None else self.affine(w) + style_change
        x = self._with_noise(self.before(x), noise_mode)
        x = F.leaky_relu_(x + self.bias.to(x.dtype)[None, :, None, None], LRELU_SLOPE)
        scale, offset = style.chunk(2, dim=1)
        deviation, mean = torch.var_mean(x, dim=[2, 3], correction=0, keepdim=True)
        gain = (1 + scale)[:, :, None, None].to(x.dtype) * (deviation + EPSILON).rsqrt()
        return torch.addcmul(offset[:, :, None, None].to(x.dtype), x - mean, gain)

    def _with_noise(self, x: Tensor, noise_mode: NoiseMode) -> Tensor:
        if noise_mode == "none":
            return x
        noise = self.noise_const[None, None] if noise_mode == "const" else torch.randn(
            len(x), 1, *x.shape[2:], device=x.device, dtype=self.noise_const.dtype)
        return torch.addcmul(x, noise.to(x.dtype), self.noise_strength.to(x.dtype)[None, :, None, None])


class StyledConv(StyledLayer):
    """A styled layer with a 3x3 convolution before; `up` doubles the side first, and smooths what comes of it."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, channels: int, w_dim: int, side: int, *, up: bool) -> None:
        super().__init__(channels, w_dim, side)
        self.up = up
        self.weight = nn.Parameter(torch.normal(0.0, sqrt(2 / (9 * in_channels)), [channels, in_channels, 3, 3]))
        self.shift: WeightShift | None = None
        self._cast = FrozenCache()
        if up:
            self.register_buffer("resample_filter", smoothing())

    def before(self, x: Tensor) -> Tensor:
        if self.shift is not None:
            x = self.shift.conv(lambda x, weight: self._conv(x, self._kernel(weight)), x, self.weight)
        else:
            x = self._conv(x, self._cast.get(self.weight, x.dtype, lambda weight: self._kernel(weight).to(x.dtype)))
        return blur(x, self.resample_filter.to(x.dtype), padding=1) if self.up else x

    def _kernel(self, weight: Tensor) -> Tensor:
        return doubling_kernel(weight) if self.up else weight

    def _conv(self, x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv_transpose2d(x, kernel, stride=2, padding=1) if self.up else F.conv2d(x, kernel, padding=1)


def doubling_kernel(weight: Tensor) -> Tensor:
    """The kernel [I, O, 4, 4] of a transposed convolution of stride 2, which repeats pixels and convolves in one.

    Each of the two taps of the repetition meets the kernel [O, I, 3, 3], which is turned by 180 degrees.
    """
    weight = F.pad(weight.transpose(0, 1), (1, 1, 1, 1))
    return weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]


def smoothing() -> Tensor:
    """The binomial filter [1, 2, 1] in two dimensions, summing to 1; float32 [3, 3]."""
    taps = torch.tensor([1.0, 2.0, 1.0])
    return taps.outer(taps) / 16


class Block(nn.Module):
    """The two layers of one side."""

    def __init__(self, in_channels: int, channels: int, side: int, w_dim: int) -> None:
        super().__init__()
        if in_channels:
            self.conv0 = StyledConv(in_channels, channels, w_dim, side, up=True)
        else:
            self.const = StyledLayer(channels, w_dim, side)
        self.conv1 = StyledConv(channels, channels, w_dim, side, up=False)


class StyleGANSynthesis(nn.Module):
    """w+ to a picture, by blocks of growing side; one layer makes colours of the last features."""

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.ones(config.channels[0], 4, 4))
        in_channels = 0
        for side, channels in zip(config.resolutions, config.channels, strict=True):
            self.add_module(f"b{side}", Block(in_channels, channels, side, config.w_dim))
            in_channels = channels
        self.torgb = nn.Conv2d(in_channels, 3, 1)


class StyleGAN(Generator):
    """A StyleGAN generator (Karras et al. 2019). `generators.load` fills one from a file.

    Pictures are of one side only. Truncation moves all rows of w alike; NVIDIA's code leaves those from 128 pixels on.
    """

    architecture = StyleGANConfig.architecture
    noise_name = "noise_const"
    mapping: MappingNetwork
    config: StyleGANConfig

    def __init__(self, config: StyleGANConfig) -> None:
        super().__init__(img_resolution=config.img_resolution, layers=tuple(config.layers()), z_dim=config.z_dim,
                         sides=[config.img_resolution], w_dim=config.w_dim, num_ws=config.num_ws)
        self.config = config
        self.mapping = MappingNetwork(z_dim=config.z_dim, w_dim=config.w_dim, layers=config.mapping_layers,
                                      lr_multiplier=config.mapping_lr_multiplier)
        self.synthesis = StyleGANSynthesis(config)

    def _layer(self, name: str) -> StyledLayer:
        return self.synthesis.get_submodule(name)  # type: ignore[return-value]

    def _walk(self, ws: Tensor, noise_mode: NoiseMode = "const",
              style_change: Tensor | None = None) -> Iterator[tuple[Layer, Tensor]]:
        widths = [layer.stop - layer.start for layer in self.layers]
        changes = repeat(None) if style_change is None else iter(style_change.split(widths, dim=1))
        start = self.synthesis.start
        x = start.to(self.compute_dtype or start.dtype).expand(len(ws), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer, change in zip(self.layers, changes, strict=False):
            x = self._layer(layer.name)(x, ws[:, layer.row], noise_mode, change)
            yield layer, x

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        return self._walk(ws)

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        *_, (_, x) = self._walk(ws, noise_mode, style_change)
        colours: Tensor = self.synthesis.torgb(x.to(self.synthesis.torgb.weight.dtype))
        return colours

    def styles(self, latent: Tensor) -> Tensor:
        """The styles [N, S] of w [N, D] or w+ [N, L, D]: of each layer the scales less 1, then the offsets."""
        ws = self.broadcast(latent)
        return torch.cat([self._layer(layer.name).affine(ws[:, layer.row]) for layer in self.layers], dim=1)

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        return self._convolutions_from(from_side, "synthesis.torgb.weight")

    def convolutions(self) -> dict[str, str]:
        return {layer.name: f"synthesis.{layer.name}.weight" for layer in self.layers if layer.name != "b4.const"}
