"""The StyleGAN2 generator: mapping network, synthesis network with skip connections, and the two together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import torch
from torch import Tensor, nn

from generators.stylegan2_config import GeneratorConfig
from generators.stylegan2_layers import (
    FullyConnected,
    ModulatedConv,
    NoiseMode,
    SynthesisLayer,
    ToRGB,
    fir_filter,
    upsample,
)
from weights.fingerprint import fingerprint


class MappingNetwork(nn.Module):
    """z to w: `mapping_layers` fully connected layers on the normalised z."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_layers = config.mapping_layers
        for index in range(config.mapping_layers):
            features = config.z_dim if index == 0 else config.w_dim
            self.add_module(f"fc{index}", FullyConnected(features, config.w_dim, lrelu=True,
                                                         lr_multiplier=config.mapping_lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, *, truncation: float = 1.0) -> Tensor:
        """Map z [N, z_dim] to w [N, w_dim].

        Args:
            z: Latents, drawn from N(0, I).
            truncation: psi; w is moved towards its mean: w_avg + psi * (w - w_avg). 1 leaves it alone.
        """
        if z.ndim != 2:
            raise ValueError(f"z must be [N, z_dim], not {list(z.shape)}")
        w = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for index in range(self.num_layers):
            w = getattr(self, f"fc{index}")(w)
        return w if truncation == 1 else self.w_avg.lerp(w, truncation)


class SynthesisBlock(nn.Module):
    """The layers of one resolution: convolution(s), and the colours that are added to the picture so far."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.first = in_channels == 0
        self.register_buffer("resample_filter", fir_filter())
        w_dim, clamp = config.w_dim, config.conv_clamp
        if self.first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution=resolution, up=True,
                                        conv_clamp=clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution=resolution, conv_clamp=clamp)
        self.torgb = ToRGB(out_channels, config.img_channels, w_dim, conv_clamp=clamp)


@dataclass(frozen=True)
class StyleSlice:
    """Where the channels of one layer stand among the styles [N, S]: columns [start, stop)."""

    name: str      # The layer's: "b8.conv0", "b8.torgb".
    row: int       # Row of w+ that the layer takes.
    start: int
    stop: int
    colours: bool  # Whether it is a colour layer (torgb).


class SynthesisNetwork(nn.Module):
    """w+ to a picture, by blocks of growing resolution with skip connections (figure 7b of the paper).

    Row use, as in NVIDIA's code: the block of resolution r = 4 takes rows 0 (convolution) and 1 (colours); each later
    block takes two convolution rows, beginning with the row that the colours before it took.

    Attributes:
        compute_dtype: Precision of the convolutions; None: that of the weights. The picture is added up in the
            weights' own precision.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.num_ws = config.num_ws
        self.compute_dtype: torch.dtype | None = None
        in_channels = 0
        for resolution, channels in zip(config.resolutions, config.channels, strict=True):
            self.add_module(f"b{resolution}", SynthesisBlock(in_channels, channels, resolution, config))
            in_channels = channels

    @cached_property
    def style_slices(self) -> tuple[StyleSlice, ...]:
        """The layers' places among the styles, in the order in which they are used."""
        slices: list[StyleSlice] = []
        start = row = 0
        for resolution in self.config.resolutions:
            layers = ("conv1", "torgb") if not slices else ("conv0", "conv1", "torgb")
            for layer in layers:
                name = f"b{resolution}.{layer}"
                stop = start + self._layer(name).weight.shape[1]
                slices.append(StyleSlice(name, row, start, stop, layer == "torgb"))
                start, row = stop, row + (layer != "torgb")  # The next convolution takes the row of the colours.
        return tuple(slices)

    def _layer(self, name: str) -> ModulatedConv:
        return self.get_submodule(name)  # type: ignore[return-value]

    def styles(self, ws: Tensor) -> Tensor:
        """The styles [N, S] of w+ [N, num_ws, w_dim]: outputs of all affine layers, as `style_slices` names them."""
        self._check(ws)
        return torch.cat([self._layer(part.name).affine(ws[:, part.row]) for part in self.style_slices], dim=1)

    def _changes(self, ws: Tensor, style_change: Tensor | None) -> Iterator[Tensor | None]:
        """What is added to the styles of each layer in turn."""
        if style_change is None:
            return repeat(None)
        widths = [part.stop - part.start for part in self.style_slices]
        if style_change.shape != (len(ws), sum(widths)):
            raise ValueError(f"style_change must be [{len(ws)}, {sum(widths)}], not {list(style_change.shape)}")
        return iter(style_change.split(widths, dim=1))

    def _check(self, ws: Tensor) -> None:
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.config.w_dim):
            raise ValueError(f"w+ must be [N, {self.num_ws}, {self.config.w_dim}], not {list(ws.shape)}")

    def forward(self, ws: Tensor, *, noise_mode: NoiseMode = "const", style_change: Tensor | None = None) -> Tensor:
        """Render w+ [N, num_ws, w_dim] as pictures [N, img_channels, R, R], about [-1, 1], not clipped.

        Args:
            ws: One w for each layer.
            noise_mode: "const": the noise maps stored with the generator; "random": new ones; "none".
            style_change: Added to the styles [N, S] before they are used; None: nothing.
        """
        self._check(ws)
        if noise_mode not in ("const", "random", "none"):
            raise ValueError(f"noise_mode must be const, random or none, not {noise_mode!r}")
        rows = ws.unbind(dim=1)
        changes = self._changes(ws, style_change)
        row = 0
        x = img = None
        for resolution in self.config.resolutions:
            block: SynthesisBlock = getattr(self, f"b{resolution}")
            if x is None or img is None:
                x = block.const.to(self.compute_dtype or block.const.dtype).expand(ws.shape[0], -1, -1, -1)
                x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = block.conv0(x, rows[row], noise_mode, next(changes))
                row += 1
                img = upsample(img, block.resample_filter)
            x = block.conv1(x, rows[row], noise_mode, next(changes))
            row += 1
            colours = block.torgb(x, rows[row], next(changes))
            img = colours if img is None else img + colours
        return img  # type: ignore[return-value]


class Generator(nn.Module):
    """A StyleGAN2 generator, with the state names of NVIDIA's PyTorch release.

    Built with random weights; `generators.load` fills one from a file.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)

    def tuned(self, change: Mapping[str, Tensor]) -> Generator:
        """A generator that shares all weights with this one but those that are named, to which something is added.

        Args:
            change: What is added, by parameter name; any dtype and device.
        Raises:
            ValueError: no such parameter, or another shape.
        """
        named = dict(self.named_parameters())
        for name, added in change.items():
            if name not in named or named[name].shape != added.shape:
                raise ValueError(f"{name} {list(added.shape)}: this generator has no such weight")
        shared = [*self.parameters(), *self.buffers()]
        copied = deepcopy(self, {id(tensor): tensor for tensor in shared})
        copied.__dict__.pop("hash", None)  # It is another one's now.
        for name, added in change.items():
            module, _, weight = name.rpartition(".")
            changed = nn.Parameter(named[name] + added.to(named[name]), requires_grad=False)
            setattr(copied.get_submodule(module), weight, changed)
        return copied

    @property
    def resolution(self) -> int:
        """Side of the picture in pixels."""
        return self.config.img_resolution

    @property
    def num_ws(self) -> int:
        """Rows of w+."""
        return self.config.num_ws

    @property
    def w_dim(self) -> int:
        """Length of w."""
        return self.config.w_dim

    @property
    def device(self) -> torch.device:
        return self.mapping.w_avg.device

    @property
    def dtype(self) -> torch.dtype:
        return self.mapping.w_avg.dtype

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the weights; every file that holds a latent names its generator by it.

        Computed on first use and kept: take it before training the weights or changing their precision.
        """
        return fingerprint(self.state_dict())

    def draw_z(self, seeds: Sequence[int]) -> Tensor:
        """Draw z ~ N(0, I) for each seed; [len(seeds), z_dim]. The same on every device, whatever the batch."""
        rows = [torch.randn(self.config.z_dim, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(rows).to(self.device, self.dtype)

    @torch.no_grad()
    def sample(self, seeds: Sequence[int], *, truncation: float = 1.0) -> Tensor:
        """Draw w for each seed; [len(seeds), w_dim]."""
        return self.mapping(self.draw_z(seeds), truncation=truncation)

    def broadcast(self, latent: Tensor) -> Tensor:
        """Repeat w [N, w_dim] to w+ [N, num_ws, w_dim]; w+ is returned as it is.

        Raises:
            ValueError: the latent is neither.
        """
        if latent.ndim == 2 and latent.shape[1] == self.w_dim:
            return latent[:, None, :].expand(-1, self.num_ws, -1)
        if latent.ndim == 3 and latent.shape[1:] == (self.num_ws, self.w_dim):
            return latent
        raise ValueError(f"a latent must be w [N, {self.w_dim}] or w+ [N, {self.num_ws}, {self.w_dim}], "
                         f"not {list(latent.shape)}")

    @property
    def style_slices(self) -> tuple[StyleSlice, ...]:
        """Which columns of the styles belong to which layer, in the order of use."""
        return self.synthesis.style_slices

    def styles(self, latent: Tensor) -> Tensor:
        """The styles [N, S] of w [N, w_dim] or w+ [N, num_ws, w_dim]: all affine layers' outputs, one after another.

        This is the style space of Wu, Lischinski and Shechtman, "StyleSpace Analysis" (2021). The colour layers' styles
        are those before their constant gain of 1 / sqrt(channels).
        """
        return self.synthesis.styles(self.broadcast(latent))

    def render(self, latent: Tensor, *, noise_mode: NoiseMode = "const", style_change: Tensor | None = None) -> Tensor:
        """Render w [N, w_dim] or w+ [N, num_ws, w_dim] as pictures [N, img_channels, R, R], about [-1, 1].

        Args:
            latent: The latents.
            noise_mode: "const": the noise maps stored with the generator; "random": new ones; "none".
            style_change: [N, S], added to the latents' styles before they are used; None: nothing.
        """
        return self.synthesis(self.broadcast(latent), noise_mode=noise_mode, style_change=style_change)

    def forward(self, z: Tensor, *, truncation: float = 1.0, noise_mode: NoiseMode = "const") -> Tensor:
        """Render z [N, z_dim] as pictures [N, img_channels, R, R], about [-1, 1], not clipped."""
        return self.render(self.mapping(z, truncation=truncation), noise_mode=noise_mode)
