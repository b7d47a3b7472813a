"""BigGAN-deep: pictures of the 1,000 classes of ImageNet, from one z and one class a block.

Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019), appendix B.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, repeat
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import Generator, Layer, NoiseMode
from generators.shifts import WeightShift
from generators.spaces import SEEDS, Space
from generators.stylegan2_layers import FrozenCache

LIMIT = 2.0           # z is drawn from a normal distribution cut off here.
EPSILON = 1e-4        # Of the variances that features are divided by.
REDUCTION = 4         # How many times fewer maps the inner convolutions of a block have.
LEAST_TRUNCATION = 0.02  # The smallest for which the published statistics hold.


@dataclass(frozen=True, kw_only=True)
class BigGANConfig:
    """Sizes of a BigGAN-deep generator. Its blocks keep the side and double it in turns, so they are even in number."""

    architecture: ClassVar[str] = "biggan-deep"
    channels: tuple[int, ...]  # Feature maps before the first block, and after each; a block keeps or halves them.
    attention: int             # The block before which the self-attention stands.
    c_dim: int = 1000          # Classes.
    z_dim: int = 128           # Length of z.
    embedding: int = 128       # Length of a class embedded.
    statistics: int = 51       # Truncations from 0 to 1 of which there are means and variances, evenly spaced.

    def __post_init__(self) -> None:
        if self.blocks % 2 or not 4 <= self.blocks <= 16:
            raise ValueError(f"there must be an even number of blocks from 4 to 16, not {self.blocks}")
        if not 0 <= self.attention < self.blocks:
            raise ValueError(f"the self-attention stands before a block, and block {self.attention} is none")
        if any(count % 8 for count in self.channels[:-1]):
            raise ValueError(f"feature maps must be multiples of 8, not {self.channels}")

    @property
    def blocks(self) -> int:
        return len(self.channels) - 1

    @property
    def img_resolution(self) -> int:
        """Side of the picture in pixels."""
        return self.side(self.blocks - 1)

    @property
    def w_dim(self) -> int:
        """Length of what a block reads: z, the class embedded, and the truncation."""
        return self.z_dim + self.embedding + 1

    def side(self, block: int) -> int:
        """Side of the features that come out of a block."""
        return int(4 * 2 ** ((block + 1) // 2))

    def layers(self) -> Iterator[Layer]:
        """The layers in the order of use; a style is a scale and an offset for each map that goes into a layer."""
        yield Layer("gen_z", 0, 4, 4, 0, 0, False)
        start = 0
        for block, channels in enumerate(self.channels[:-1]):
            side = self.side(block)
            for index in range(4):
                inputs = channels if index == 0 else channels // REDUCTION
                yield Layer(f"b{block}.conv{index}", block + 1, self.side(block - 1) if index == 0 else side,
                            side if block % 2 else side * 1.5, start, start + 2 * inputs, False)
                start += 2 * inputs


class ClassMapping(nn.Module):
    """What the blocks read, called w here: z cut off at 2, beside its class embedded and the truncation."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.z_dim, self.c_dim = config.z_dim, config.c_dim
        self.class_index = 0  # That is drawn where none is given.
        self.embedding = nn.Parameter(torch.zeros(config.c_dim, config.embedding))

    def forward(self, z: Tensor, c: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Map z [N, z_dim] to w [N, z_dim + embedding + 1].

        Args:
            z: Latents, drawn from N(0, I); they become a normal distribution cut off at 2, their order kept.
            c: The class of each [N, c_dim], one-hot or a mixture; None: `class_index` for all.
            truncation: Factor of what becomes of z; the features are normalised by the statistics that belong to it.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must be [N, {self.z_dim}], not {list(z.shape)}")
        if c is not None and c.shape != (len(z), self.c_dim):
            raise ValueError(f"class labels must be [{len(z)}, {self.c_dim}], not {list(c.shape)}")
        exact = z.to(torch.promote_types(z.dtype, torch.float32))
        edge = torch.erf(exact.new_tensor(LIMIT / sqrt(2)))
        cut = torch.erfinv(torch.erf(exact / sqrt(2)) * edge) * (sqrt(2) * truncation)
        embedded = self.embedding[self.class_index].expand(len(z), -1) if c is None else c @ self.embedding
        return torch.cat([cut.to(embedded), embedded, embedded.new_full([len(z), 1], truncation)], dim=1)

    @property
    def w_avg(self) -> Tensor:
        """The mean w of the class: z is 0."""
        embedded = self.embedding[self.class_index]
        return torch.cat([embedded.new_zeros(self.z_dim), embedded, embedded.new_ones(1)])


class Statistics(nn.Module):
    """Means and variances of features, by truncation; between two that are stored, of both.

    The published code weighs the two the wrong way round; at the truncations that are stored, 0.02 apart, it does not
    matter, but for a few, as 0.58, where rounding makes it take the one below.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count, channels))
        self.register_buffer("variance", torch.ones(count, channels))

    def forward(self, scale: Tensor, offset: Tensor, truncation: Tensor) -> tuple[Tensor, Tensor]:
        """Factor and addend [N, C, 1, 1] that normalise features and then scale [N, C] and offset them."""
        place = truncation.detach().abs().clamp(LEAST_TRUNCATION, 1) * (len(self.mean) - 1)
        below = place.floor().long().clamp_max(len(self.mean) - 2)
        part = (place - below)[:, None]
        mean = self.mean[below].lerp(self.mean[below + 1], part)
        gain = scale * (self.variance[below].lerp(self.variance[below + 1], part) + EPSILON).rsqrt()
        return gain[:, :, None, None], (offset - mean * gain)[:, :, None, None]


class NormedConv(nn.Module):
    """Batch normalisation by truncation, scaled and offset by z and class; ReLU; doubling; a convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, condition: int, count: int, *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.norm = Statistics(inputs, count)
        self.affine = nn.Parameter(torch.normal(0.0, 1 / sqrt(condition), [2 * inputs, condition]))
        self.weight = nn.Parameter(torch.normal(0.0, 1 / (kernel * sqrt(inputs)), [outputs, inputs, kernel, kernel]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.shift: WeightShift | None = None
        self._cast = FrozenCache()

    def style(self, w: Tensor) -> Tensor:  # [N, w_dim] -> [N, 2I]
        return F.linear(w[:, :-1], self.affine)

    def forward(self, x: Tensor, w: Tensor, style_change: Tensor | None) -> Tensor:  # [N, I, H, W] -> [N, O, s, s]
        style = self.style(w) if style_change is None else self.style(w) + style_change
        scale, offset = style.chunk(2, dim=1)
        gain, added = self.norm(1 + scale, offset, w[:, -1])
        x = F.relu(torch.addcmul(added.to(x.dtype), x, gain.to(x.dtype)))
        x = F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x
        x = (self._conv(x, self._cast.get(self.weight, x.dtype, lambda weight: weight.to(x.dtype)))
             if self.shift is None else self.shift.conv(self._conv, x, self.weight))
        return x + self.bias.to(x.dtype)[:, None, None]

    def _conv(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


class Attention(nn.Module):
    """Self-attention over places, a quarter of them being looked at (Zhang et al., "Self-Attention GAN", 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def weight(outputs: int, inputs: int) -> nn.Parameter:
            return nn.Parameter(torch.normal(0.0, 1 / sqrt(inputs), [outputs, inputs, 1, 1]))

        self.theta, self.phi = weight(channels // 8, channels), weight(channels // 8, channels)
        self.g, self.out = weight(channels // 2, channels), weight(channels, channels // 2)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W]
        def places(weight: Tensor, pool: int) -> Tensor:  # [N, places, maps]
            made = F.conv2d(x, weight.to(x.dtype))
            return (F.max_pool2d(made, pool) if pool > 1 else made).flatten(2).transpose(1, 2)

        seen = F.scaled_dot_product_attention(places(self.theta, 1), places(self.phi, 2), places(self.g, 2), scale=1.0)
        seen = seen.transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma.to(x.dtype) * F.conv2d(seen, self.out.to(x.dtype))


class BigGANSynthesis(nn.Module):
    """The parts from w+ to a picture: `gen_z`, the blocks b0, b1 ..., the attention before one, and the colours."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        condition, count = config.w_dim - 1, config.statistics
        self.gen_z = nn.Linear(condition, 16 * config.channels[0])
        for block, (inputs, outputs) in enumerate(pairwise(config.channels)):
            inner, up = inputs // REDUCTION, bool(block % 2)
            self.add_module(f"b{block}", nn.ModuleDict({
                "conv0": NormedConv(inputs, inner, 1, condition, count),
                "conv1": NormedConv(inner, inner, 3, condition, count, up=up),
                "conv2": NormedConv(inner, inner, 3, condition, count),
                "conv3": NormedConv(inner, outputs, 1, condition, count)}))
        self.attention = Attention(config.channels[config.attention])
        self.norm = Statistics(config.channels[-1], count)
        self.scale = nn.Parameter(torch.ones(config.channels[-1]))
        self.offset = nn.Parameter(torch.zeros(config.channels[-1]))
        self.torgb = nn.Conv2d(config.channels[-1], 3, 3, padding=1)


class BigGAN(Generator):
    """A BigGAN-deep generator of 128, 256 or 512 pixels, frozen once it is loaded (`generators.load`).

    It has no mapping network that is learned. What a block reads stands for w: z (a normal distribution cut off at 2),
    the class embedded, and the truncation by whose statistics the features are normalised; w+ has a row for `gen_z` and
    one for each block, so that z and class can be others from a block on (figures 5 to 7 of Härkönen et al.,
    "GANSpace", 2020). A class is chosen by `of_class`. All classes share a space: a direction of z moves pictures of
    each of them.
    """

    architecture = BigGANConfig.architecture
    no_photos = "it draws ImageNet's classes, of which none is faces"

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__(img_resolution=config.img_resolution, layers=tuple(config.layers()), z_dim=config.z_dim,
                         c_dim=config.c_dim, w_dim=config.w_dim, num_ws=config.blocks + 1,
                         sides=(config.img_resolution,))
        self.config = config
        self.mapping = ClassMapping(config)
        self.synthesis = BigGANSynthesis(config)

    def _layer(self, name: str) -> NormedConv:
        return self.synthesis.get_submodule(name)  # type: ignore[return-value]

    def _gen_z(self, w: Tensor) -> Tensor:  # [N, w_dim] -> [N, C, 4, 4]
        made: Tensor = self.synthesis.gen_z(w[:, :-1])
        return made.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)

    def _walk(self, ws: Tensor, style_change: Tensor | None = None) -> Iterator[tuple[Layer, Tensor]]:
        """Each layer with its features; those of a block's last one are the block's: what went in is added."""
        first, *layers = self.layers
        widths = [layer.stop - layer.start for layer in layers]
        changes = repeat(None) if style_change is None else iter(style_change.split(widths, dim=1))
        x = self._gen_z(ws[:, 0])
        x = x.to(self.compute_dtype or x.dtype).contiguous(memory_format=torch.channels_last)
        yield first, x
        before = x
        for index, (layer, change) in enumerate(zip(layers, changes, strict=False)):
            block, part = divmod(index, 4)
            if part == 0:
                x = self.synthesis.attention(x) if block == self.config.attention else x
                before = x
            x = self._layer(layer.name)(x, ws[:, layer.row], change)
            if part == 3:
                before = before[:, :x.shape[1]]
                x = x + (F.interpolate(before, scale_factor=2.0, mode="nearest") if block % 2 else before)
            yield layer, x

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        return self._walk(ws)

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        *_, (_, x) = self._walk(ws, style_change)
        synthesis = self.synthesis
        gain, added = synthesis.norm(synthesis.scale[None], synthesis.offset[None], ws[:, -1, -1])
        x = F.relu(torch.addcmul(added.to(x.dtype), x, gain.to(x.dtype)))
        colours: Tensor = torch.tanh(synthesis.torgb(x.to(synthesis.torgb.weight.dtype)))
        return colours

    def styles(self, latent: Tensor) -> Tensor:
        """The styles [N, S] of w [N, D] or w+ [N, L, D]: of each layer the scales less 1, then the offsets."""
        ws = self.broadcast(latent)
        return torch.cat([self._layer(layer.name).style(ws[:, layer.row]) for layer in self.layers[1:]], dim=1)

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        return self._convolutions_from(from_side, "synthesis.torgb.weight")

    def convolutions(self) -> dict[str, str]:
        return {layer.name: f"synthesis.{layer.name}.weight" for layer in self.layers[1:]}

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The space of w, which all classes share: told by what `gen_z` makes of z alone."""
        exact = self._exact()
        with torch.no_grad():
            w = exact.sample(SEEDS)
            w[:, self.z_dim:-1] = 0
            made, styles = exact._gen_z(w).flatten(1), exact.styles(w)
        return {"w": replace(Space.of("w", made), width=self.w_dim), "styles": Space.of("styles", styles)}
