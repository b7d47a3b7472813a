"""Rendering a generator while it is trained.

`Generator.render` is made for finished weights: one precision, and no thought for second derivatives. This renders the
same picture from the same modules with half precision at the largest resolutions only, and with nothing done in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2.config import GeneratorConfig
from stylegan2.layers import LRELU_GAIN, LRELU_SLOPE, SynthesisLayer, ToRGB, upsample
from stylegan2.network import SynthesisNetwork
from weights.training.gan.filters import Filters, up_convolve
from weights.training.gan.precision import Precision


def draw_noise(config: GeneratorConfig, count: int, generator: torch.Generator) -> list[Tensor]:
    """One noise map [count, 1, r, r] for each convolution of the generator, in the order of use."""
    sides = [side for side in config.resolutions for _ in range(2)][1:]  # The first block has one convolution.
    return [torch.randn(count, 1, side, side, generator=generator, device=generator.device) for side in sides]


def render(network: SynthesisNetwork, ws: Tensor, *, precision: Precision, filters: Filters = "separate",
           noise: Sequence[Tensor] | None = None) -> Tensor:
    """Render w+ [N, num_ws, w_dim] as pictures [N, img_channels, R, R], about [-1, 1], in the dtype of ws.

    Args:
        network: The generator's synthesis network.
        ws: One w for each layer.
        precision: Which resolutions are computed in half precision.
        filters: How the low-pass filters are applied.
        noise: Maps of `draw_noise`; None: no noise.
    """
    rows = iter(ws.unbind(dim=1))
    maps = iter(noise) if noise is not None else None
    w = next(rows)
    x = img = None
    for side in network.config.resolutions:
        block = getattr(network, f"b{side}")
        dtype = precision.at(side, ws.dtype)
        if x is None or img is None:
            x = block.const.to(dtype).expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        else:
            x = _convolve(block.conv0, x.to(dtype), w, filters, None if maps is None else next(maps))
            w = next(rows)
            img = upsample(img, block.resample_filter)
        x = _convolve(block.conv1, x, w, filters, None if maps is None else next(maps))
        w = next(rows)  # The next convolution takes the row of the colours.
        colours = _colours(block.torgb, x, w)
        img = colours if img is None else img + colours
    return img  # type: ignore[return-value]


def _convolve(layer: SynthesisLayer, x: Tensor, w: Tensor, filters: Filters, noise: Tensor | None) -> Tensor:
    styles = layer.affine(w)
    weight = layer.weight
    if x.dtype == torch.float16:  # Keeps sums from overflowing; the demodulation takes the factors out again.
        weight = weight * (weight[0].numel() ** -0.5 / weight.detach().abs().amax(dim=[1, 2, 3], keepdim=True))
        styles = styles / styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-8)
    factors = (styles.square() @ weight.square().sum(dim=[2, 3]).T + 1e-8).rsqrt() * LRELU_GAIN  # [N, O]
    x = x * styles.to(x.dtype)[:, :, None, None]
    if layer.up:
        x = up_convolve(x, weight, layer.resample_filter, filters)
    else:
        x = F.conv2d(x, weight.to(x.dtype), padding=1)
    x = x * factors.to(x.dtype)[:, :, None, None] + (layer.bias * LRELU_GAIN).to(x.dtype)[None, :, None, None]
    if noise is not None:
        x = x + (noise * (layer.noise_strength * LRELU_GAIN)).to(x.dtype)
    x = F.leaky_relu(x, LRELU_SLOPE)
    return x if layer.conv_clamp is None else x.clamp(-layer.conv_clamp, layer.conv_clamp)


def _colours(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    styles = (layer.affine(w) * layer.weight_gain).to(x.dtype)
    x = F.conv2d(x * styles[:, :, None, None], layer.weight.to(x.dtype))
    x = x.to(w.dtype) + layer.bias[None, :, None, None]
    return x if layer.conv_clamp is None else x.clamp(-layer.conv_clamp, layer.conv_clamp)
