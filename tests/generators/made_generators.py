"""Small generators with random weights, for tests."""

from __future__ import annotations

import torch

from generators import MobileStyleGAN, MobileStyleGANConfig, StyleGAN2, StyleGAN2Config

CHANNELS = (24, 16, 12, 8, 8, 8)  # At 4, 8, ... 128 pixels.


def make_generator(resolution: int = 32, *, seed: int = 0, conv_clamp: float | None = None, mapping_layers: int = 2,
                   dtype: torch.dtype = torch.float32) -> StyleGAN2:
    """A generator with random weights, non-zero noise strengths and neutral w."""
    torch.manual_seed(seed)
    config = StyleGAN2Config(img_resolution=resolution, channels=CHANNELS[:resolution.bit_length() - 2], z_dim=32,
                             w_dim=20, mapping_layers=mapping_layers, conv_clamp=conv_clamp)
    generator = StyleGAN2(config)
    with torch.no_grad():
        generator.neutral().normal_()
        for name, parameter in generator.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return generator.to(dtype).requires_grad_(False).eval()


def make_student(resolution: int = 32, *, seed: int = 0, w_dim: int = 20,
                 dtype: torch.dtype = torch.float32) -> MobileStyleGAN:
    """A MobileStyleGAN with random weights, noise, neutral w and readouts for two smaller sides."""
    torch.manual_seed(seed)
    config = MobileStyleGANConfig(img_resolution=resolution, channels=CHANNELS[:resolution.bit_length() - 3], z_dim=32,
                                  w_dim=w_dim, mapping_layers=2, readouts={resolution // 4: 5, resolution // 2: 3})
    generator = MobileStyleGAN(config)
    with torch.no_grad():
        generator.neutral().normal_()
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return generator.to(dtype).requires_grad_(False).eval()
