"""The StyleGAN2 generator, and readers of other people's checkpoint files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from stylegan2.config import GeneratorConfig as GeneratorConfig
    from stylegan2.loading import choose_device as choose_device
    from stylegan2.loading import convert as convert
    from stylegan2.loading import load as load
    from stylegan2.network import Generator as Generator
    from stylegan2.network import StyleSlice as StyleSlice
    from stylegan2.pixels import from_bytes as from_bytes
    from stylegan2.pixels import from_pixels as from_pixels
    from stylegan2.pixels import to_bytes as to_bytes
    from stylegan2.pixels import to_pixels as to_pixels
    from stylegan2.precision import fastest_dtype as fastest_dtype

_HOMES = {
    "GeneratorConfig": "config", "choose_device": "loading", "convert": "loading", "load": "loading",
    "Generator": "network", "StyleSlice": "network", "from_bytes": "pixels", "from_pixels": "pixels",
    "to_bytes": "pixels", "to_pixels": "pixels", "fastest_dtype": "precision",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
