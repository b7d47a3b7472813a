"""The layers of StyleGAN2: fully connected, modulated convolution, FIR resampling.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020). Parameter and buffer names are those of
NVIDIA's PyTorch release, so that its weights fit. Symbols: N pictures, C input and O output feature maps, H, W sides.
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import NoiseMode
from generators.shifts import WeightShift

LRELU_SLOPE = 0.2
LRELU_GAIN = sqrt(2)  # Keeps the variance through the leaky ReLU (He et al. 2015).


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: weights are stored at unit variance and scaled at run time.

    Karras et al. 2018, section 4.1. `lr_multiplier` scales weight and bias once more (the mapping network: 0.01).
    """

    def __init__(self, in_features: int, out_features: int, *, lr_multiplier: float = 1.0, bias_init: float = 0.0,
                 lrelu: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.normal(0.0, 1 / lr_multiplier, [out_features, in_features]))
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.lrelu = lrelu

    def forward(self, x: Tensor) -> Tensor:  # [N, in_features] -> [N, out_features]
        gain = LRELU_GAIN if self.lrelu else 1.0  # Of the activation; a factor passes through it.
        x = F.linear(x, self.weight * (self.weight_gain * gain), self.bias * (self.bias_gain * gain))
        return F.leaky_relu(x, LRELU_SLOPE) if self.lrelu else x


class FrozenCache:
    """Keeps a tensor computed from a weight for as long as the weight does not change.

    A weight that is being trained is never cached: its result must stay in the graph.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._value: Tensor | None = None

    def get(self, weight: Tensor, kind: object, compute) -> Tensor:  # type: ignore[no-untyped-def]
        if weight.requires_grad or weight.is_inference():
            return compute(weight)
        key = (weight.data_ptr(), weight._version, weight.dtype, weight.device, kind)
        if self._value is None or key != self._key:
            with torch.inference_mode(False), torch.no_grad():
                self._key, self._value = key, compute(weight)
        return self._value


class ModulatedConv(nn.Module):
    """Convolution whose input maps are scaled by a style, with optional demodulation (section 2.2, equations 1-3).

    The activations are scaled instead of the weights: conv(x, w * s) = conv(x * s, w), so that one weight serves all
    N pictures. The demodulation factor is then 1 / sqrt(sum_C s^2 * q), with q = sum over the kernel of w^2, which
    depends on the weight alone.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, kernel: int) -> None:
        super().__init__()
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.shift: WeightShift | None = None
        self._squares = FrozenCache()
        self._cast = FrozenCache()

    def demodulation(self, styles: Tensor) -> Tensor:  # [N, C] -> [N, O]
        wide = torch.promote_types(styles.dtype, torch.float32)  # Sums of squares need at least float32.
        if self.shift is not None:
            sums = self.shift.squares(styles.to(wide).square(), self.weight.to(wide))
        else:
            squares = self._squares.get(self.weight, wide, lambda w: w.to(wide).square().sum(dim=[2, 3]))  # [O, C]
            sums = styles.to(wide).square() @ squares.T
        return (sums + 1e-8).rsqrt().to(styles.dtype)

    def styles(self, w: Tensor, change: Tensor | None) -> Tensor:
        """What scales the input maps [N, C] at w [N, w_dim]: the affine layer's output, with what is added to it."""
        styles: Tensor = self.affine(w)
        return styles if change is None else styles + change

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        return self.weight if self.weight.dtype == dtype else self._cast.get(self.weight, dtype, lambda w: w.to(dtype))


class SynthesisLayer(ModulatedConv):
    """Modulated 3x3 convolution, noise, bias and leaky ReLU; `up` doubles the side first."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, resolution: int, up: bool = False,
                 conv_clamp: float | None = None) -> None:
        super().__init__(in_channels, out_channels, w_dim, kernel=3)
        self.up = up
        self.conv_clamp = conv_clamp
        self.register_buffer("resample_filter", fir_filter())
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode,  # [N, C, H, W], [N, w_dim]
                style_change: Tensor | None = None) -> Tensor:  # [N, C]
        styles = self.styles(w, style_change)
        x = x * styles.to(x.dtype)[:, :, None, None]
        x = (self._conv(x, self.weight_as(x.dtype)) if self.shift is None else
             self.shift.conv(self._conv, x, self.weight))
        if self.up:
            x = blur(x, self.resample_filter.to(x.dtype) * 4, padding=1)
        # The leaky ReLU's gain is applied before it, which is the same for a positive factor and saves a pass.
        scale = (self.demodulation(styles) * LRELU_GAIN).to(x.dtype)[:, :, None, None]
        shift = (self.bias * LRELU_GAIN).to(x.dtype)[None, :, None, None]
        x = torch.addcmul(shift, x, scale)
        noise = self._noise(x, noise_mode)
        x = F.leaky_relu_(x if noise is None else x + noise, LRELU_SLOPE)
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)

    def _conv(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.up:
            return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [N, O, 2H + 1, 2W + 1]
        return F.conv2d(x, weight, padding=1)

    def _noise(self, x: Tensor, noise_mode: NoiseMode) -> Tensor | None:
        if noise_mode == "none":
            return None
        if noise_mode == "const":
            noise = self.noise_const
        else:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device, dtype=self.noise_const.dtype)
        return (noise * (self.noise_strength * LRELU_GAIN)).to(x.dtype)


class ToRGB(ModulatedConv):
    """Modulated 1x1 convolution to colours, without demodulation; the result is in float32 or better."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, *, conv_clamp: float | None = None) -> None:
        super().__init__(in_channels, img_channels, w_dim, kernel=1)
        self.conv_clamp = conv_clamp
        self.weight_gain = 1 / sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor,  # [N, C, H, W], [N, w_dim] -> [N, img_channels, H, W]
                style_change: Tensor | None = None) -> Tensor:  # [N, C]
        styles = (self.styles(w, style_change) * self.weight_gain).to(x.dtype)
        x = F.conv2d(x * styles[:, :, None, None], self.weight_as(x.dtype))
        x = x.to(self.bias.dtype) + self.bias[None, :, None, None]
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


def fir_filter() -> Tensor:
    """The binomial low-pass filter [1, 3, 3, 1] in two dimensions, summing to 1 (section 2.1); float32 [4, 4]."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return taps.outer(taps) / taps.sum() ** 2


def blur(x: Tensor, kernel: Tensor, *, padding: int) -> Tensor:
    """Convolve each feature map of x [N, C, H, W] with kernel [K, K] after zero padding by `padding`."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.flip([0, 1]).expand(channels, 1, -1, -1), padding=padding, groups=channels)


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the sides of x [N, C, H, W] with the FIR filter kernel [4, 4]."""
    channels = x.shape[1]
    return F.conv_transpose2d(x, (kernel * 4).to(x.dtype).expand(channels, 1, -1, -1), stride=2, padding=1,
                              groups=channels)
