"""The sizes that define a StyleGAN2 generator."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Sizes and constants of a generator; everything else about it is in its weights."""

    img_resolution: int                  # Side of the picture in pixels, a power of two from 32 to 1024.
    channels: tuple[int, ...]            # Feature maps at 4, 8, ... img_resolution pixels.
    z_dim: int = 512                     # Length of z.
    w_dim: int = 512                     # Length of w.
    img_channels: int = 3                # Colours of the picture.
    mapping_layers: int = 8              # Fully connected layers from z to w.
    mapping_lr_multiplier: float = 0.01  # Scale of the mapping network's stored weights (Karras et al. 2019, B).
    conv_clamp: float | None = None      # Activations are clamped to +-this; None: not clamped.

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
        """Rows of w+: one for each convolution and one for the last ToRGB; 18 at 1024 pixels."""
        return 2 * len(self.resolutions)
