"""Pivotal tuning: the generator itself fitted to one crop, around the latent that the search has found.

Roich, Mokady, Bermano and Cohen-Or, "Pivotal Tuning for Latent-based Editing of Real Images" (2021). What is kept is
the difference from the generator, so that one generator in memory serves all faces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator
from inversion.perceptual import PerceptualDistance
from inversion.search import Best, Targets, Watch, compare, keep_finite
from inversion.settings import ProjectorSettings

COARSEST = 64       # Pixels a side of the coarsest features whose layers are tuned; left alone, the coarser ones keep
                    # edits of shape and expression as strong as they were.
COARSEST_PART = 4   # Of a small generator, those of a quarter of its pictures' side.
REACH = 0.4         # How far from the pivot the locality looks, in parts of the way to a sample.
EVERY = 8           # Steps between two looks at it.
WARM_UP = 5         # Steps in which the learning rate rises.

Tuning = dict[str, Tensor]  # What is added to the generator's weights, float16, by parameter name.
"""Empty: the generator as it is."""


def tune(generator: Generator, distance: PerceptualDistance, target: Targets, best: Best, n: int,
         settings: ProjectorSettings, watch: Watch) -> Tuning:
    """Fit the generator's convolutions to one crop, with its latent as it is.

    Minimised are LPIPS and the squared pixel difference at the pivot, and every few steps, at a latent on the way from
    the pivot to a sample, how far the picture has gone from the generator's own (equations 2 to 4 of the paper).

    Args:
        generator: Frozen; it is left as it is.
        distance: The perceptual distance that made the target's features.
        target: The crop, alone and whole.
        best: What the search has found; the picture and numbers of crop n are replaced as they become better.
        n: Which of its crops.
        settings: Of the tuning.
        watch: Told after each step.
    Returns:
        What was added to the weights; nothing where that came no nearer to the crop.
    """
    coarsest = min(COARSEST, generator.img_resolution // COARSEST_PART)
    tuned = generator.with_weights({name: torch.zeros_like(weight) for name, weight
                                    in generator.tunable_weights(coarsest).items()})
    weights = tuned.tunable_weights(coarsest)
    sizes = [float(weight.square().mean().sqrt()) for weight in weights.values()]
    optimiser = torch.optim.Adam([{"params": [weight.requires_grad_()]} for weight in weights.values()],
                                 betas=(0.9, 0.99))
    latent = best.latent[n:n + 1]
    locality = _Locality(generator, distance, latent, settings)
    before = best.lpips[n].clone(), best.mse[n].clone(), best.picture[n].clone()
    fits: list[Tensor] = []  # How far the picture of each step was from the crop.
    for step in range(settings.tuning_steps):
        for group, size in zip(optimiser.param_groups, sizes, strict=True):
            group["lr"] = size * _rate(settings, step / settings.tuning_steps)
        picture = tuned.render(latent)
        loss, lpips, mse = compare(distance, picture, target, settings.tuning_mse)
        fits.append(loss.detach())
        if settings.locality and step % EVERY == 0:
            loss = loss + settings.locality * EVERY * locality.loss(tuned)
        optimiser.zero_grad()
        loss.sum().backward()
        keep_finite(weights.values())
        optimiser.step()
        shown = F.adaptive_avg_pool2d(picture.detach()[0], best.picture.shape[-1])
        best.lpips[n], best.mse[n], best.picture[n] = lpips[0], mse[0], shown
        if watch(best):
            break
    tuning = difference(generator, weights)
    if tuning and bool(fits[-1] < fits[0]):
        return tuning
    best.lpips[n], best.mse[n], best.picture[n] = before
    return {}


def difference(generator: Generator, weights: Mapping[str, Tensor]) -> Tuning:
    """What must be added to the generator's weights to have these, in half precision; nothing if it is not finite."""
    tuning = {name: (weight.detach() - generator.get_parameter(name)).half().cpu() for name, weight in weights.items()}
    return tuning if all(bool(change.isfinite().all()) for change in tuning.values()) else {}


class _Locality:
    """How far the pictures of latents at some distance from the pivot go from the generator's own (equation 4)."""

    def __init__(self, generator: Generator, distance: PerceptualDistance, pivot: Tensor,
                 settings: ProjectorSettings) -> None:
        self.generator, self.distance, self.pivot = generator, distance, pivot
        self.rng = torch.Generator().manual_seed(settings.seed)

    def loss(self, tuned: Generator) -> Tensor:
        """LPIPS plus mean squared difference [1] at a latent on the way from the pivot to a new sample."""
        with torch.no_grad():
            z = torch.randn(1, self.generator.z_dim, generator=self.rng).to(self.pivot)
            latent = self.pivot.lerp(self.generator.mapping(z)[:, None], REACH)
            original = self.generator.render(latent)
            features = self.distance.features(original)
        drawn = tuned.render(latent)
        return (self.distance.between(self.distance.features(drawn), features)
                + (drawn - original).square().mean(dim=[1, 2, 3]))


def _rate(settings: ProjectorSettings, progress: float) -> float:
    """Adam's learning rate when a part `progress` (0 to 1) of the tuning is done."""
    return settings.tuning_rate * min(1.0, (progress * settings.tuning_steps + 1) / WARM_UP) * (
        0.5 + 0.5 * math.cos(math.pi * progress))
