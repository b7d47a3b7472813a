"""The MobileStyleGAN generator: a student of StyleGAN2 of separable convolutions and Haar wavelets, in the teacher's W.

Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis" (2021,
arXiv 2104.04767), as exported: the demodulation does not depend on w and is part of the weights, noise is fixed.
Pictures smaller than the whole one come from the features of the middle (`Readout`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from generators.base import Generator, Layer, NoiseMode, Window
from generators.mobilestylegan_layers import ModulatedConv, Readout, ToImage, Up
from generators.stylegan2 import MappingNetwork

STRIPS = 8  # In which the last two blocks are drawn.
HALO = 2    # Rows of features beside a strip that its pixels depend on: four 3x3 convolutions, two after each doubling.


@dataclass(frozen=True, kw_only=True)
class MobileStyleGANConfig:
    """Sizes of a MobileStyleGAN generator; everything else about it is in its weights."""

    architecture: ClassVar[str] = "mobilestylegan"
    img_resolution: int            # Side of the picture in pixels, a power of two from 32 to 1024.
    channels: tuple[int, ...]      # Feature maps at 4, 8, ... img_resolution / 2 pixels; each a multiple of 4.
    readouts: Mapping[int, int]    # Sides of the smaller pictures, each with the feature maps of its detail.
    z_dim: int = 512               # Length of z.
    w_dim: int = 512               # Length of w.
    mapping_layers: int = 8        # Fully connected layers from z to w.

    def __post_init__(self) -> None:
        if self.img_resolution not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"img_resolution must be a power of two from 32 to 1024, not {self.img_resolution}")
        if len(self.channels) != len(self.resolutions) or any(count % 4 for count in self.channels):
            raise ValueError(f"{len(self.resolutions)} channel counts, multiples of 4, are needed for "
                             f"{self.img_resolution} pixels, not {self.channels}")
        wrong = set(self.readouts) - set(self.resolutions[1:])
        if wrong:
            raise ValueError(f"there are no features for pictures of {min(wrong)} pixels")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the features: 4, 8, ... img_resolution / 2."""
        return tuple(2 ** i for i in range(2, int(log2(self.img_resolution))))

    @property
    def num_ws(self) -> int:
        """Rows of w+: one for the first convolution, two a block, one for the colours; 16 at 1024 pixels."""
        return 2 * len(self.resolutions)

    def layers(self) -> Iterator[Layer]:
        """The layers in the order of use. In a block, doubling and the first convolution read one row.

        Rows are StyleGAN2's by the side of their features; the colours of all sides are made at the last one.
        """
        start = 0

        def layer(name: str, row: int, side: int, place: float, width: int, colours: bool = False) -> Layer:
            nonlocal start
            start += width
            return Layer(name, row, side, place * side, start - width, start, colours)

        yield layer("conv1", 0, 4, 1.0, self.channels[0])
        for index, (side, channels) in enumerate(zip(self.resolutions[1:], self.channels[1:], strict=True)):
            before = self.channels[index]
            yield layer(f"layers.{index}.up", 2 * index + 1, side, 1.0, before)
            yield layer(f"layers.{index}.conv1", 2 * index + 1, side, 1.0, before // 4)
            yield layer(f"layers.{index}.conv2", 2 * index + 2, side, 1.5, channels)
        yield layer("to_img", self.num_ws - 1, self.img_resolution, 1.0, self.channels[-1], colours=True)


class SynthesisBlock(nn.Module):
    """The layers of one side of features: doubling, and two separable convolutions."""

    def __init__(self, inputs: int, outputs: int, side: int, w_dim: int) -> None:
        super().__init__()
        self.up = Up(inputs, w_dim)
        self.conv1 = ModulatedConv(inputs // 4, outputs, side, w_dim)
        self.conv2 = ModulatedConv(outputs, outputs, side, w_dim)


class SynthesisNetwork(nn.Module):
    """w+ to a picture, by blocks of growing side (figure 2 of the paper); the colours come last."""

    def __init__(self, config: MobileStyleGANConfig) -> None:
        super().__init__()
        channels, sides, w_dim = config.channels, config.resolutions, config.w_dim
        self.plan = tuple(config.layers())
        self.const = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.conv1 = ModulatedConv(channels[0], channels[0], 4, w_dim, separable=False)
        self.layers = nn.ModuleList(SynthesisBlock(inputs, outputs, side, w_dim)
                                    for inputs, outputs, side in zip(channels, channels[1:], sides[1:], strict=False))
        self.to_img = ToImage(channels[-1], w_dim)
        self.readouts = nn.ModuleDict({str(side): Readout(channels[sides.index(side) - 1:], detail, len(channels) - 1)
                                       for side, detail in sorted(config.readouts.items())})

    def layer(self, name: str) -> ModulatedConv:
        return self.get_submodule(name)  # type: ignore[return-value]

    def start_readouts(self) -> None:
        """Give the readouts the weights with which they draw fair pictures before any training."""
        for readout in cast(Iterable[Readout], self.readouts.values()):
            readout.start([self.layer(name) for name in readout.layers], self.to_img)

    def styles(self, ws: Tensor, change: Tensor | None = None) -> dict[str, Tensor]:
        """What scales each layer's input maps, [N, C] by the layer's name, at w+ [N, num_ws, w_dim]."""
        made = {layer.name: self.layer(layer.name).modulation(ws[:, layer.row]) for layer in self.plan}
        if change is None:
            return made
        return {layer.name: made[layer.name] + change[:, layer.start:layer.stop] for layer in self.plan}

    def features(self, styles: Mapping[str, Tensor], noise: Mapping[str, Tensor],
                 dtype: torch.dtype | None = None) -> Iterator[tuple[Layer, Tensor]]:
        """Each layer in turn, with what comes out of it: features [N, C, s, s], at last the picture.

        Args:
            styles: As `styles` makes them.
            noise: As `noise_maps` makes them.
            dtype: Precision of the convolutions; None: that of the weights.
        """
        const = self.const.to(dtype or self.const.dtype)
        x = const.expand(len(styles["conv1"]), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        yield from self._run(x, self.plan, styles, noise)

    def _run(self, x: Tensor, layers: Sequence[Layer], styles: Mapping[str, Tensor],
             noise: Mapping[str, Tensor]) -> Iterator[tuple[Layer, Tensor]]:
        for layer in layers:
            x = self.layer(layer.name)(x, styles[layer.name], noise.get(layer.name))
            yield layer, x

    def forward(self, ws: Tensor, side: int, noise_mode: NoiseMode = "const", style_change: Tensor | None = None,
                dtype: torch.dtype | None = None) -> Tensor:
        """Render w+ [N, num_ws, w_dim] as pictures [N, 3, s, s], in the weights' precision."""
        styles, noise = self.styles(ws, style_change), self.noise_maps(noise_mode, len(ws))
        whole = str(side) not in self.readouts
        # In strips, memory of one size is used again, where that of whole features would be asked from the system anew.
        in_strips = whole and ws.device.type == "cpu" and not torch.is_grad_enabled()
        start = self.plan[-8].name if in_strips else "to_img" if whole else self.last_before(side)
        x = next(x for layer, x in self.features(styles, noise, dtype) if layer.name == start)
        if in_strips:
            return self._draw_strips(x, self.plan[-7:], styles, noise)
        return x if whole else self.readouts[str(side)](x, styles, noise)

    def last_before(self, side: int) -> str:
        """The layer whose features of half the side a readout begins with."""
        return [layer.name for layer in self.plan if layer.side == side // 2][-1]

    def _draw_strips(self, x: Tensor, layers: Sequence[Layer], styles: Mapping[str, Tensor],
                     noise: Mapping[str, Tensor]) -> Tensor:
        """The last layers, strip by strip from top to bottom; the same picture."""
        side = x.shape[2]
        height = max(side // STRIPS, 1)
        return torch.cat([self._draw_part(x, layers, styles, noise, (top, 0, min(height, side - top), side))
                          for top in range(0, side, height)], dim=2)

    def _draw_part(self, x: Tensor, layers: Sequence[Layer], styles: Mapping[str, Tensor], noise: Mapping[str, Tensor],
                   window: Window) -> Tensor:
        """What the last layers draw of a part of their features: top, left, height and width among these."""
        side = x.shape[2]
        top, left, height, width = window
        first, last = max(top - HALO, 0), min(top + height + HALO, side)
        start, stop = max(left - HALO, 0), min(left + width + HALO, side)

        def cut(each: Tensor) -> Tensor:
            size = each.shape[2]  # Noise is of the sides of all layers.
            return each[:, :, first * size // side:last * size // side, start * size // side:stop * size // side]

        *_, (_, picture) = self._run(cut(x), layers, styles, {name: cut(each) for name, each in noise.items()})
        scale = self.plan[-1].side // side
        top, left = (top - first) * scale, (left - start) * scale
        return picture[:, :, top:top + height * scale, left:left + width * scale]

    def draw_with_window(self, ws: Tensor, side: int, window: Window,
                         dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """A readout's picture, and a part of the whole one: top, left, height and width in its pixels."""
        styles, noise = self.styles(ws), self.noise_maps("const", len(ws))
        names = [layer.name for layer in self.plan]
        at = names.index(self.last_before(side))
        x = next(x for layer, x in self.features(styles, noise, dtype) if layer.name == names[at])
        scale = self.plan[-1].side // x.shape[2]
        top, left, height, width = window
        first, start = top // scale, left // scale
        part = self._draw_part(x, self.plan[at + 1:], styles, noise,
                               (first, start, -(-(top + height) // scale) - first, -(-(left + width) // scale) - start))
        top, left = top - first * scale, left - start * scale
        return self.readouts[str(side)](x, styles, noise), part[:, :, top:top + height, left:left + width]

    def noise_maps(self, mode: NoiseMode, count: int) -> dict[str, Tensor]:
        """The noise [1 or N, 1, s, s] of the layers that have any, by their names, for so many pictures.

        The strengths are part of the stored maps, so that random ones take their size.
        """
        stored = {layer.name: self.layer(layer.name).noise[None, None] for layer in self.plan
                  if isinstance(self.layer(layer.name), ModulatedConv)}
        if mode == "random":
            return {name: noise.square().mean().sqrt() * torch.randn_like(noise.expand(count, -1, -1, -1))
                    for name, noise in stored.items()}
        return stored if mode == "const" else {}


class MobileStyleGAN(Generator):
    """A MobileStyleGAN generator (Belousov 2021), with readouts for smaller pictures.

    Built with random weights; `generators.load` fills one from a file.
    """

    architecture = MobileStyleGANConfig.architecture
    noise_name = "noise"
    mapping: MappingNetwork
    config: MobileStyleGANConfig

    def __init__(self, config: MobileStyleGANConfig) -> None:
        super().__init__(img_resolution=config.img_resolution, layers=tuple(config.layers()), z_dim=config.z_dim,
                         sides=[*sorted(config.readouts), config.img_resolution], w_dim=config.w_dim,
                         num_ws=config.num_ws)
        self.config = config
        self.mapping = MappingNetwork(z_dim=config.z_dim, w_dim=config.w_dim, layers=config.mapping_layers)
        self.synthesis = SynthesisNetwork(config)

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        picture: Tensor = self.synthesis(ws, side, noise_mode, style_change, self.compute_dtype)
        return picture

    def render_with_window(self, latent: Tensor, side: int, window: Window) -> tuple[Tensor, Tensor]:
        if side not in self.config.readouts:
            return super().render_with_window(latent, side, window)
        return self.synthesis.draw_with_window(self.broadcast(latent), side, window, self.compute_dtype)

    def styles(self, latent: Tensor) -> Tensor:
        return torch.cat(list(self.synthesis.styles(self.broadcast(latent)).values()), dim=1)

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        noise = self.synthesis.noise_maps("const", len(ws))
        return self.synthesis.features(self.synthesis.styles(ws), noise, self.compute_dtype)

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        prefixes = tuple(f"synthesis.{layer.name}." for layer in self.layers if layer.side >= from_side)
        return {name: weight for name, weight in self.named_parameters()
                if name.startswith(prefixes) and name.endswith((".weight", ".depthwise")) and "modulation" not in name}

    def convolutions(self) -> dict[str, str]:
        return {layer.name: f"synthesis.{layer.name}.weight" for layer in self.layers if layer.name.endswith(
            ("conv1", "conv2"))}

    def side_showing(self, convolution: str, least: int = 0) -> int:
        of = next((layer.side for layer in self.layers if layer.name == convolution), self.img_resolution)
        # A readout begins with features of half its side; what comes later it has convolutions of its own for.
        return self.side_for(max(2 * of, least))
