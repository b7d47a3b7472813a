"""The running mean of the generator's weights, which is the generator that is kept."""

from __future__ import annotations

import torch

from stylegan2.network import Generator


def decay(batch: int, seen: float, *, kimg: float, rampup: float) -> float:
    """How much of the mean stays in a step of `batch` pictures (Karras et al. 2018, section 3).

    Args:
        batch: Pictures in the step.
        seen: Pictures before it.
        kimg: Thousands of pictures in which one half is forgotten.
        rampup: At first it is no more than this share of the pictures seen ("Limited Data", 2020); 0: no ramp.
    """
    half_life = kimg * 1000
    if rampup:
        half_life = min(half_life, seen * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def follow(average: Generator, generator: Generator, beta: float) -> None:
    """Move every parameter of `average` to beta * itself + (1 - beta) * that of `generator`; copy the buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - beta)
    for mean, now in zip(average.buffers(), generator.buffers(), strict=True):
        mean.copy_(now)
