"""The discriminator of StyleGAN2: residual blocks, filtered downsampling, minibatch standard deviation.

Karras et al. 2020 ("Analyzing and Improving ..."), figure 7c and table 1 (configurations E and F); parameters at
unit variance and scaled at run time (Karras et al. 2018, section 4.1), as in the generator.
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan2.config import GeneratorConfig
from stylegan2.layers import LRELU_GAIN, LRELU_SLOPE, FullyConnected, fir_filter
from weights.training.gan.filters import Filters, down_convolve
from weights.training.gan.precision import Precision

GROUP = 4  # Pictures whose spread is measured together.


class Convolution(nn.Module):
    """Convolution with equalised learning rate, bias and leaky ReLU; `down` halves the side first."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, down: bool = False, bias: bool = True,
                 lrelu: bool = True, gain: float = 1.0, clamp: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", fir_filter())
        self.weight_gain = 1 / sqrt(in_channels * kernel ** 2)
        self.down, self.lrelu, self.gain = down, lrelu, gain
        self.clamp = None if clamp is None else clamp * gain

    def forward(self, x: Tensor, filters: Filters) -> Tensor:  # [N, C, H, W] -> [N, O, H, W] or [N, O, H / 2, W / 2]
        gain = self.gain * (LRELU_GAIN if self.lrelu else 1)  # May stand before the leaky ReLU, being positive.
        weight = self.weight * (self.weight_gain * gain)
        bias = None if self.bias is None else (self.bias * gain).to(x.dtype)
        if self.down:
            x = down_convolve(x, weight, self.resample_filter, filters)
            x = x if bias is None else x + bias[None, :, None, None]
        else:
            x = F.conv2d(x, weight.to(x.dtype), bias, padding=weight.shape[-1] // 2)
        x = F.leaky_relu(x, LRELU_SLOPE) if self.lrelu else x
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """Two convolutions that halve the side, beside a skip connection without an activation."""

    def __init__(self, in_channels: int, out_channels: int, clamp: float | None) -> None:
        super().__init__()
        half = sqrt(0.5)  # Keeps the variance of the sum.
        self.conv0 = Convolution(in_channels, in_channels, kernel=3, clamp=clamp)
        self.conv1 = Convolution(in_channels, out_channels, kernel=3, down=True, gain=half, clamp=clamp)
        self.skip = Convolution(in_channels, out_channels, kernel=1, down=True, bias=False, lrelu=False, gain=half)

    def forward(self, x: Tensor, filters: Filters) -> Tensor:
        return self.skip(x, filters) + self.conv1(self.conv0(x, filters), filters)


class Discriminator(nn.Module):
    """How real pictures look: [N, img_channels, R, R] in [-1, 1] to logits [N]; positive means real.

    Args:
        config: The sizes of the generator that it judges; its own are the same, from the last to the first.
        precision: Which resolutions are computed in half precision.
    """

    def __init__(self, config: GeneratorConfig, precision: Precision | None = None) -> None:
        super().__init__()
        self.config = config
        self.precision = precision or Precision()
        clamp = self.precision.clamp
        channels = dict(zip(config.resolutions, config.channels, strict=True))
        self.sides = config.resolutions[:0:-1]  # R, ... 8: one block each; 4 is the end.
        self.from_rgb = Convolution(config.img_channels, config.channels[-1], kernel=1, clamp=clamp)
        for side in self.sides:
            self.add_module(f"b{side}", Block(channels[side], channels[side // 2], clamp))
        last = channels[4]
        self.conv = Convolution(last + 1, last, kernel=3)
        self.hidden = FullyConnected(last * 16, last, lrelu=True)
        self.out = FullyConnected(last, 1)

    def forward(self, pictures: Tensor, filters: Filters = "separate") -> Tensor:
        side = self.config.img_resolution
        if pictures.shape[1:] != (self.config.img_channels, side, side):
            raise ValueError(f"pictures must be [N, {self.config.img_channels}, {side}, {side}], "
                             f"not {list(pictures.shape)}")
        x = pictures.to(self.precision.at(side, pictures.dtype)).contiguous(memory_format=torch.channels_last)
        x = self.from_rgb(x, filters)
        for side in self.sides:
            x = getattr(self, f"b{side}")(x.to(self.precision.at(side, pictures.dtype)), filters)
        x = self.conv(with_spread(x.to(pictures.dtype)), filters)
        logits: Tensor = self.out(self.hidden(x.flatten(1)))
        return logits.squeeze(1)


def with_spread(x: Tensor) -> Tensor:
    """Append one map that says how much groups of pictures differ: [N, C, H, W] to [N, C + 1, H, W].

    Minibatch standard deviation (Karras et al. 2018, section 3): the standard deviation of each value over a group of
    `GROUP` pictures (or the largest size below that divides N), averaged over channels and places.
    """
    count, _, height, width = x.shape
    size = next(size for size in range(min(GROUP, count), 0, -1) if count % size == 0)
    groups = x.reshape(size, count // size, -1)
    deviation = ((groups - groups.mean(0)).square().mean(0) + 1e-8).sqrt()  # [N / size, C H W]
    spread = deviation.mean(1).repeat(size)[:, None, None, None]
    return torch.cat([x, spread.expand(-1, 1, height, width)], dim=1)
