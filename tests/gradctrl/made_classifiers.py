"""Classifiers with random weights, for tests of what does not depend on what a classifier knows."""

from __future__ import annotations

import torch
from torch import Tensor

from generators import LatentStatistics
from gradctrl import Classifier

W_DIM = 64


def make_classifier(*, outputs: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64) -> Classifier:
    rng = torch.Generator().manual_seed(seed)
    return Classifier(
        hidden_weight=torch.randn(16, W_DIM, generator=rng, dtype=torch.float64) / 8,
        hidden_bias=torch.randn(16, generator=rng, dtype=torch.float64) / 8,
        out_weight=torch.randn(outputs, 16, generator=rng, dtype=torch.float64),
        out_bias=torch.randn(outputs, generator=rng, dtype=torch.float64) / 8).to("cpu", dtype)


def make_statistics(axes: int = W_DIM, *, dtype: torch.dtype = torch.float64) -> LatentStatistics:
    """Axes in random directions, a hundred times wider at one end than at the other, as those of a mapping network."""
    rng = torch.Generator().manual_seed(11)
    turned, _ = torch.linalg.qr(torch.randn(W_DIM, W_DIM, generator=rng, dtype=torch.float64))
    deviations = torch.logspace(0.5, -1.5, W_DIM, dtype=torch.float64)
    return LatentStatistics(mean=torch.randn(W_DIM, generator=rng, dtype=torch.float64).to(dtype),
                            axes=(turned * deviations[:, None])[:axes].to(dtype))


def latents(count: int = 9, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, W_DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)
