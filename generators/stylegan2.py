"""StyleGAN2: mapping network, synthesis network with skip connections, and the two together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from math import log2
from typing import ClassVar

import torch
from torch import Tensor, nn

from generators.base import ALL_LAYERS, Generator, Layer, NoiseMode
from generators.stylegan2_layers import FullyConnected, ModulatedConv, SynthesisLayer, ToRGB, fir_filter, upsample

SMALLEST_PICTURE = 16  # Pixels; at 4 and 8 there is nothing to be seen.


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """Sizes of what StyleGAN and StyleGAN2 share: a mapping network, and two rows of w+ for each side of features."""

    img_resolution: int                  # Side of the picture in pixels, a power of two from 32 to 1024.
    channels: tuple[int, ...]            # Feature maps at 4, 8, ... img_resolution pixels.
    z_dim: int = 512                     # Length of z.
    w_dim: int = 512                     # Length of w.
    mapping_layers: int = 8              # Fully connected layers from z to w.
    mapping_lr_multiplier: float = 0.01  # Scale of the mapping network's stored weights (Karras et al. 2019, B).

    def __post_init__(self) -> None:
        resolution = self.img_resolution
        if resolution not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"img_resolution must be a power of two from 32 to 1024, not {resolution}")
        if len(self.channels) != len(self.resolutions):
            raise ValueError(f"{len(self.resolutions)} channel counts are needed for {resolution} pixels, "
                             f"not {len(self.channels)}")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the synthesis blocks: 4, 8, ... img_resolution."""
        return tuple(2 ** i for i in range(2, int(log2(self.img_resolution)) + 1))

    @property
    def num_ws(self) -> int:
        """Rows of w+, 18 at 1024 pixels: of StyleGAN one for each layer, of StyleGAN2 for each convolution and the
        last ToRGB."""
        return 2 * len(self.resolutions)


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(StyleConfig):
    """Sizes and constants of a StyleGAN2 generator; everything else about it is in its weights."""

    architecture: ClassVar[str] = "stylegan2"
    img_channels: int = 3                # Colours of the picture.
    conv_clamp: float | None = None      # Activations are clamped to +-this; None: not clamped.
    c_dim: int = 0                       # Classes; 0: none.

    def layers(self) -> Iterator[Layer]:
        """The layers in the order of use.

        Rows as in NVIDIA's code: the block of 4 pixels takes rows 0 (convolution) and 1 (colours); each later block
        takes two convolution rows, beginning with the row that the colours before it took.
        """
        start = row = inputs = 0
        for side, channels in zip(self.resolutions, self.channels, strict=True):
            parts = [("conv0", inputs, 1.0), ("conv1", channels, 1.5), ("torgb", channels, 1.75)]
            for part, width, place in parts if inputs else [("conv1", channels, 1.0), parts[2]]:
                yield Layer(f"b{side}.{part}", row, side, place * side, start, start + width, part == "torgb")
                start, row = start + width, row + (part != "torgb")
            inputs = channels


def layers_of_rows(start: int, stop: int, img_resolution: int = 1024) -> tuple[float, float]:
    """The layer range of the rows [start, stop) that a publication states for StyleGAN2: (12, 192) for (2, 10).

    Args:
        start, stop: Rows of w+.
        img_resolution: Side of the pictures of the generator that they are stated for.
    """
    config = StyleGAN2Config(img_resolution=img_resolution, channels=(1,) * (int(log2(img_resolution)) - 1))
    positions = [max(layer.position for layer in config.layers() if layer.row == row) for row in range(config.num_ws)]
    if not 0 <= start < min(stop, len(positions)):
        raise ValueError(f"there are no rows {start} to {stop} at {img_resolution} pixels")
    return positions[start], positions[stop] if stop < len(positions) else ALL_LAYERS[1]


class MappingNetwork(nn.Module):
    """z to w: fully connected layers on the normalised z, of a class-conditional network beside its class embedded."""

    w_avg: Tensor

    def __init__(self, *, z_dim: int, w_dim: int, layers: int, lr_multiplier: float = 1.0, c_dim: int = 0) -> None:
        super().__init__()
        self.num_layers, self.c_dim = layers, c_dim
        self.class_index = 0  # That is drawn where none is given.
        if c_dim:
            self.embed = FullyConnected(c_dim, w_dim)
        inputs = z_dim + (w_dim if c_dim else 0)
        for index in range(layers):
            self.add_module(f"fc{index}", FullyConnected(inputs if index == 0 else w_dim, w_dim, lrelu=True,
                                                         lr_multiplier=lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Map z [N, z_dim] to w [N, w_dim].

        Args:
            z: Latents, drawn from N(0, I).
            c: Of a class-conditional network the class of each [N, c_dim], one-hot; None: `class_index` for all.
            truncation: psi; w is moved towards its mean: w_avg + psi * (w - w_avg). 1 leaves it alone.
        """
        if z.ndim != 2:
            raise ValueError(f"z must be [N, z_dim], not {list(z.shape)}")
        if c is not None and c.shape != (len(z), self.c_dim):
            raise ValueError(f"class labels must be [{len(z)}, {self.c_dim}], not {list(c.shape)}" if self.c_dim else
                             "this generator takes no class labels")
        w = _normalised(z)
        if self.c_dim:
            if c is None:
                c = z.new_zeros(len(z), self.c_dim)
                c[:, self.class_index] = 1
            w = torch.cat([w, _normalised(self.embed(c))], dim=1)
        for index in range(self.num_layers):
            w = getattr(self, f"fc{index}")(w)
        return w if truncation == 1 else self.w_avg.lerp(w, truncation)


def _normalised(x: Tensor) -> Tensor:
    """Rows [N, D] at unit mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class SynthesisBlock(nn.Module):
    """The layers of one resolution: convolution(s), and the colours that are added to the picture so far."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_filter())
        w_dim, clamp = config.w_dim, config.conv_clamp
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution=resolution, up=True,
                                        conv_clamp=clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution=resolution, conv_clamp=clamp)
        self.torgb = ToRGB(out_channels, config.img_channels, w_dim, conv_clamp=clamp)


class SynthesisNetwork(nn.Module):
    """w+ to a picture, by blocks of growing resolution with skip connections (figure 7b of the paper)."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.layers = tuple(config.layers())
        in_channels = 0
        for resolution, channels in zip(config.resolutions, config.channels, strict=True):
            self.add_module(f"b{resolution}", SynthesisBlock(in_channels, channels, resolution, config))
            in_channels = channels

    def layer(self, name: str) -> ModulatedConv:
        return self.get_submodule(name)  # type: ignore[return-value]

    def features(self, ws: Tensor, noise_mode: NoiseMode = "const", style_change: Tensor | None = None,
                 dtype: torch.dtype | None = None) -> Iterator[tuple[Layer, Tensor]]:
        """Each layer in turn, with what comes out of it: features [N, C, s, s], or colours [N, img_channels, s, s].

        Args:
            ws: w+ [N, num_ws, w_dim].
            noise_mode, style_change: As of `Generator.render`.
            dtype: Precision of the convolutions; None: that of the weights.
        """
        rows = ws.unbind(dim=1)
        widths = [layer.stop - layer.start for layer in self.layers]
        changes = repeat(None) if style_change is None else iter(style_change.split(widths, dim=1))
        const = self.get_parameter("b4.const")
        x = const.to(dtype or const.dtype).expand(ws.shape[0], -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer, change in zip(self.layers, changes, strict=False):
            module = self.layer(layer.name)
            if layer.colours:
                yield layer, module(x, rows[layer.row], change)
            else:
                x = module(x, rows[layer.row], noise_mode, change)
                yield layer, x

    def forward(self, ws: Tensor, side: int, noise_mode: NoiseMode = "const", style_change: Tensor | None = None,
                dtype: torch.dtype | None = None) -> Tensor:
        """Render w+ [N, num_ws, w_dim] as pictures [N, img_channels, s, s], added up in the weights' precision."""
        picture = None
        for layer, x in self.features(ws, noise_mode, style_change, dtype):
            if layer.colours:
                block: SynthesisBlock = getattr(self, f"b{layer.side}")
                picture = x if picture is None else upsample(picture, block.resample_filter) + x
            if layer.colours and layer.side == side:
                break
        assert picture is not None
        return picture


class StyleGAN2(Generator):
    """A StyleGAN2 generator (Karras et al. 2020), with the state names of NVIDIA's PyTorch release.

    Built with random weights; `generators.load` fills one from a file.
    """

    architecture = StyleGAN2Config.architecture
    noise_name = "noise_const"
    mapping: MappingNetwork
    config: StyleGAN2Config

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(img_resolution=config.img_resolution, layers=tuple(config.layers()), z_dim=config.z_dim,
                         sides=[side for side in config.resolutions if side >= SMALLEST_PICTURE],
                         w_dim=config.w_dim, num_ws=config.num_ws, c_dim=config.c_dim)
        self.config = config
        self.mapping = MappingNetwork(z_dim=config.z_dim, w_dim=config.w_dim, layers=config.mapping_layers,
                                      lr_multiplier=config.mapping_lr_multiplier, c_dim=config.c_dim)
        self.synthesis = SynthesisNetwork(config)

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        picture: Tensor = self.synthesis(ws, side, noise_mode, style_change, self.compute_dtype)
        return picture

    def styles(self, latent: Tensor) -> Tensor:
        """The styles [N, S] of w [N, D] or w+ [N, L, D]: all affine layers' outputs, one after another.

        This is the style space of Wu, Lischinski and Shechtman, "StyleSpace Analysis" (2021). The colour layers' styles
        are those before their constant gain of 1 / sqrt(channels).
        """
        ws = self.broadcast(latent)
        return torch.cat([self.synthesis.layer(layer.name).affine(ws[:, layer.row]) for layer in self.layers], dim=1)

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        return self.synthesis.features(ws, dtype=self.compute_dtype)

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        names = [f"synthesis.{layer.name}.weight" for layer in self.layers if layer.side >= from_side]
        return {name: self.get_parameter(name) for name in names}

    def convolutions(self) -> dict[str, str]:
        return {layer.name: f"synthesis.{layer.name}.weight" for layer in self.layers if not layer.colours}
