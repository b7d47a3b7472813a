"""The usual projector, as NVIDIA publishes its settings, to measure ours against.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), appendix D, and the settings of its
PyTorch release: Adam for 1,000 steps from the mean w, learning rate 0.1 with a warm-up over 5% and a cosine down over
the last 25% of the steps; noise on w that falls to nothing over the first 75%; the noise maps optimised along with w
and kept white by a regulariser of weight 1e5; LPIPS with VGG16 at 256 pixels at most. Here the generator draws so many
itself where it can, and the backbone is whichever is at hand.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator
from inversion import PerceptualDistance

STEPS, RATE = 1000, 0.1
RAMP_UP, RAMP_DOWN = 0.05, 0.25
NOISE, NOISE_RAMP = 0.05, 0.75   # Of w, in standard deviations; and the part of the steps over which it falls.
WHITE = 1e5                      # Weight of the noise maps' regulariser.
SAMPLES = 10_000                 # For mean and deviation of w.


def project(generator: Generator, distance: PerceptualDistance, target: Tensor, *, seed: int = 0, steps: int = STEPS,
            on_step: Callable[[int, float, Tensor], None]) -> None:
    """Project one picture into W.

    Args:
        generator: Its noise maps, if it has any, are optimised in place, and are what they were afterwards.
        distance: LPIPS.
        target: [1, 3, s, s] in [-1, 1], s being one of the generator's sides.
        seed: Of the noise.
        steps: In all.
        on_step: Called with the number of steps done, the seconds they took and the picture after each.
    """
    rng = torch.Generator().manual_seed(seed)
    mean, deviation = _statistics(generator, rng)
    features = distance.features(target)
    w = mean.clone().requires_grad_()
    before = generator.noise
    maps = [torch.randn(noise.shape, generator=rng).to(noise).requires_grad_() for noise in before]
    try:
        generator.noise = maps
        _optimise(generator, distance, features, target.shape[-1], w, maps, deviation, steps, rng, on_step)
    finally:
        generator.noise = before


def _optimise(generator: Generator, distance: PerceptualDistance, features: list[Tensor], side: int, w: Tensor,
              maps: list[Tensor], deviation: float, steps: int, rng: torch.Generator,
              on_step: Callable[[int, float, Tensor], None]) -> None:
    optimiser = torch.optim.Adam([w, *maps], betas=(0.9, 0.999))
    seconds = 0.0
    for step in range(steps):
        start = time.perf_counter()
        progress = step / steps
        for group in optimiser.param_groups:
            group["lr"] = _rate(progress)
        strength = deviation * NOISE * max(0.0, 1 - progress / NOISE_RAMP) ** 2
        noisy = w + strength * torch.randn(w.shape, generator=rng).to(w)
        picture = generator.render(noisy, side)
        loss = distance.between(distance.features(picture), features).sum() + WHITE * _correlation(maps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for noise in maps:
                noise -= noise.mean()
                noise *= noise.square().mean().rsqrt()
        seconds += time.perf_counter() - start  # What is measured of the picture does not count.
        on_step(step + 1, seconds, picture.detach())


@torch.no_grad()
def _statistics(generator: Generator, rng: torch.Generator) -> tuple[Tensor, float]:
    """Mean [1, w_dim] of w, and its standard deviation as NVIDIA takes it: the root of the summed variances."""
    z = torch.randn(SAMPLES, generator.z_dim, generator=rng).to(generator.device, generator.dtype)
    w = generator.mapping(z)
    mean = w.mean(dim=0, keepdim=True)
    return mean, float(((w - mean).square().sum() / SAMPLES).sqrt())


def _rate(progress: float) -> float:
    ramp = min(1.0, (1 - progress) / RAMP_DOWN)
    return RATE * (0.5 - 0.5 * math.cos(ramp * math.pi)) * min(1.0, progress / RAMP_UP)


def _correlation(maps: list[Tensor]) -> Tensor:
    """How far the noise maps are from white, over a pyramid of sizes."""
    total = torch.zeros([])
    for noise in maps:
        level = noise[None, None]
        while True:
            total = total.to(level) + (level * level.roll(1, dims=3)).mean().square()
            total = total + (level * level.roll(1, dims=2)).mean().square()
            if level.shape[2] <= 8:
                break
            level = F.avg_pool2d(level, 2)
    return total
