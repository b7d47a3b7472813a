"""The StyleGAN2 generator: mapping network, synthesis network with skip connections, and the two together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from stylegan2.config import GeneratorConfig
from stylegan2.layers import FullyConnected, NoiseMode, SynthesisLayer, ToRGB, fir_filter, upsample
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

    def forward(self, ws: Tensor, *, noise_mode: NoiseMode = "const") -> Tensor:
        """Render w+ [N, num_ws, w_dim] as pictures [N, img_channels, R, R], about [-1, 1], not clipped.

        Args:
            ws: One w for each layer.
            noise_mode: "const": the noise maps stored with the generator; "random": new ones; "none".
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.config.w_dim):
            raise ValueError(f"w+ must be [N, {self.num_ws}, {self.config.w_dim}], not {list(ws.shape)}")
        if noise_mode not in ("const", "random", "none"):
            raise ValueError(f"noise_mode must be const, random or none, not {noise_mode!r}")
        rows = ws.unbind(dim=1)
        row = 0
        x = img = None
        for resolution in self.config.resolutions:
            block: SynthesisBlock = getattr(self, f"b{resolution}")
            if x is None or img is None:
                x = block.const.to(self.compute_dtype or block.const.dtype).expand(ws.shape[0], -1, -1, -1)
                x = x.contiguous(memory_format=torch.channels_last)
            else:
                x = block.conv0(x, rows[row], noise_mode)
                row += 1
                img = upsample(img, block.resample_filter)
            x = block.conv1(x, rows[row], noise_mode)
            row += 1
            colours = block.torgb(x, rows[row])
            img = colours if img is None else img + colours
        return img  # type: ignore[return-value]


class Generator(nn.Module):
    """A StyleGAN2 generator, with the state names of NVIDIA's PyTorch release.

    Built with random weights; `stylegan2.load` fills one from a file.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)

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

    def render(self, latent: Tensor, *, noise_mode: NoiseMode = "const") -> Tensor:
        """Render w [N, w_dim] or w+ [N, num_ws, w_dim] as pictures [N, img_channels, R, R], about [-1, 1]."""
        return self.synthesis(self.broadcast(latent), noise_mode=noise_mode)

    def forward(self, z: Tensor, *, truncation: float = 1.0, noise_mode: NoiseMode = "const") -> Tensor:
        """Render z [N, z_dim] as pictures [N, img_channels, R, R], about [-1, 1], not clipped."""
        return self.render(self.mapping(z, truncation=truncation), noise_mode=noise_mode)
