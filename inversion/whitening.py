"""Coordinates of W in which likely latents form a round ball: principal components in units of their deviation.

The w of a trained mapping network vary a thousand times more along some directions than along others. In these
coordinates one learning rate fits all, and the squared length says how unlikely a w is (Zhu et al., "Improved StyleGAN
Embedding: Where are the Good Latents?", 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from generators import Generator

SAMPLES = 10_000


class Whitening:
    """Between w and its standard scores p: w = mean + p @ basis.

    Attributes:
        mean: Mean of w [w_dim].
        basis: Principal components scaled by their deviations [w_dim, w_dim], one a row.
    """

    @torch.no_grad()
    def __init__(self, generator: Generator, *, samples: int = SAMPLES) -> None:
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(samples, generator.z_dim, generator=rng).to(generator.device, generator.dtype)
        w = generator.mapping(z).cpu().double()  # MPS has no float64.
        self.mean = w.mean(dim=0).to(generator.device, generator.dtype)
        centred = w - w.mean(dim=0)
        variance, components = torch.linalg.eigh(centred.T @ centred / (samples - 1))
        deviation = variance.clamp_min(0).sqrt()
        # Directions without variance carry no picture; a floor keeps the inverse finite.
        deviation = deviation.clamp_min(float(deviation[-1]) * 1e-3)
        self.basis = (components * deviation).T.to(generator.device, generator.dtype)
        self._inverse = (components / deviation).to(generator.device, generator.dtype)

    def to_w(self, scores: Tensor) -> Tensor:
        """Standard scores [..., w_dim] to w [..., w_dim]."""
        return self.mean + scores @ self.basis

    def to_scores(self, w: Tensor) -> Tensor:
        """w [..., w_dim] to standard scores [..., w_dim]."""
        return (w - self.mean) @ self._inverse
