"""Pivotal tuning: the generator itself fitted to one crop, around the latent that the search has found.

Roich, Mokady, Bermano and Cohen-Or, "Pivotal Tuning for Latent-based Editing of Real Images" (2021). What is kept is
the difference from the generator, so that one generator in memory serves all faces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator, Window
from inversion.perceptual import PerceptualDistance
from inversion.search import Best, Targets, Watch, compare, face_window, keep_finite
from inversion.settings import ProjectorSettings

COARSEST = 64       # Pixels a side of the coarsest features whose layers are tuned; left alone, the coarser ones keep
                    # edits of shape and expression as strong as they were.
COARSEST_PART = 4   # Of a small generator, those of a quarter of its pictures' side.
FOCUS, INNER = 0.5, 1.0  # As of `face_window`: surroundings count half as much as the face, its middle twice.
WINDOW = 256        # Side of the window of the whole picture that a step looks at, in pixels.
PERIOD, REPEATS = 8, 8  # Of what `grid` measures: pixels, and how often it must repeat each way if the picture allows.
WHOLE = 10          # Steps between two looks at the whole picture.
REACH = 0.4         # How far from the pivot the locality looks, in parts of the way to a sample.
EVERY = 8           # Steps between two looks at it.
WARM_UP = 5         # Steps in which the learning rate rises.

Tuning = dict[str, Tensor]  # What is added to the generator's weights, float16, by parameter name.
"""Empty: the generator as it is."""


def tune(generator: Generator, distance: PerceptualDistance, target: Targets, crop: Tensor, best: Best, n: int,
         settings: ProjectorSettings, watch: Watch) -> Tuning:
    """Fit the generator's convolutions to one crop, with its latent as it is.

    Minimised are LPIPS and the squared pixel difference at the pivot, of a small picture and of a window of the whole
    one that is another at each step; and every few steps, at a latent on the way from the pivot to a sample, how far
    the picture has gone from the generator's own (equations 2 to 4 of the paper).

    Args:
        generator: Frozen; it is left as it is.
        distance: The perceptual distance that made the target's features.
        target: The crop, alone, at the side of the small pictures.
        crop: The crop as it is [1, 3, R, R].
        best: What the search has found; the picture and numbers of crop n are replaced as they become better.
        n: Which of its crops.
        settings: Of the tuning.
        watch: Told after each step.
    Returns:
        What was added to the weights; nothing where that came no nearer to the crop.
    """
    target = replace(target, window=face_window(target.side, FOCUS, INNER).to(target.window))
    coarsest = min(COARSEST, generator.img_resolution // COARSEST_PART)
    tuned = generator.with_weights({name: torch.zeros_like(weight) for name, weight
                                    in generator.tunable_weights(coarsest).items()})
    best.weights = weights = tuned.tunable_weights(coarsest)
    optimiser = torch.optim.Adam([weight.requires_grad_() for weight in weights.values()], betas=(0.9, 0.99))
    latent = best.latent[n:n + 1]
    windows = _Windows(generator, distance, crop, target.side, settings)
    locality = _Locality(generator, windows, latent, settings)
    before = best.lpips[n].clone(), best.mse[n].clone(), best.picture[n].clone()
    fits: list[Tensor] = []  # How far the picture of each step was from the crop.
    for step in range(settings.tuning_steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(settings, step / settings.tuning_steps)
        if step % WHOLE == 0:
            windows.look(tuned, latent)
        picture, loss = windows.compare(tuned, latent)
        fit, lpips, mse = compare(distance, picture, target, settings.tuning_mse)
        fits.append(fit.detach())
        loss = loss + fit
        if settings.locality and step % EVERY == 0:
            loss = loss + settings.locality * EVERY * locality.loss(tuned)
        optimiser.zero_grad()
        loss.sum().backward()
        keep_finite(weights.values())
        optimiser.step()
        best.lpips[n], best.mse[n], best.picture[n] = lpips[0], mse[0], picture.detach()[0]
        if watch(best):
            break
    best.weights, tuning = {}, difference(generator, weights)
    if tuning and bool(fits[-1] < fits[0]):
        return tuning
    best.lpips[n], best.mse[n], best.picture[n] = before
    return {}


class _Windows:
    """Pictures as a tuning sees them: a small one of all, and a window of the whole one."""

    def __init__(self, generator: Generator, distance: PerceptualDistance, crop: Tensor, side: int,
                 settings: ProjectorSettings) -> None:
        self.distance, self.crop, self.side, self.settings = distance, crop, side, settings
        self.window = min(WINDOW, generator.img_resolution)
        self.rng = torch.Generator().manual_seed(settings.seed)
        self.lacking = torch.zeros([])

    @torch.no_grad()
    def look(self, generator: Generator, latent: Tensor) -> None:
        """Take note of what a small picture that is drawn by itself lacks of the whole one."""
        small, whole = generator.render_with_window(latent, self.side, (0, 0, *self.crop.shape[2:]))
        self.lacking = F.adaptive_avg_pool2d(whole, self.side) - small

    def choose(self) -> Window:
        """A window at random."""
        top, left = torch.randint(0, self.crop.shape[2] - self.window + 1, [2], generator=self.rng).tolist()
        return top, left, self.window, self.window

    def compare(self, generator: Generator, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The small picture [1, 3, s, s], as the whole one is there, and how far a window is from the crop's [1]."""
        top, left, height, width = window = self.choose()
        small, part = generator.render_with_window(latent, self.side, window)
        wanted = self.crop[:, :, top:top + height, left:left + width]
        far = self.distance(part, wanted) + self.settings.tuning_mse * (part - wanted).square().mean(dim=[1, 2, 3])
        return small + self.lacking, self.settings.detail * far + self.settings.grid * grid(part - wanted)


def difference(generator: Generator, weights: Mapping[str, Tensor]) -> Tuning:
    """What must be added to the generator's weights to have these, in half precision; nothing if it is not finite."""
    tuning = {name: (weight.detach() - generator.get_parameter(name)).half().cpu() for name, weight in weights.items()}
    return tuning if all(bool(change.isfinite().all()) for change in tuning.values()) else {}


def grid(picture: Tensor) -> Tensor:
    """The energy [N] of what repeats every `PERIOD` pixels in a picture [N, 3, H, W], around its local mean.

    A generator's blocks of doubled side leave such patterns on flat skin. LPIPS hardly sees them, since its first layer
    takes every fourth place alone; pores and hair have none.
    """
    repeats = min(REPEATS, min(picture.shape[2:]) // PERIOD)
    side = PERIOD * repeats
    height, width = (length // side * side for length in picture.shape[2:])
    tiles = picture[:, :, :height, :width].unflatten(3, (-1, repeats, PERIOD)).unflatten(2, (-1, repeats, PERIOD))
    pattern = tiles.mean(dim=[3, 6])  # [N, 3, H / side, PERIOD, W / side, PERIOD]
    return (pattern - pattern.mean(dim=[3, 5], keepdim=True)).square().mean(dim=[1, 2, 3, 4, 5])


class _Locality:
    """How far the pictures of latents at some distance from the pivot go from the generator's own (equation 4)."""

    def __init__(self, generator: Generator, windows: _Windows, pivot: Tensor, settings: ProjectorSettings) -> None:
        self.generator, self.windows, self.pivot = generator, windows, pivot
        self.rng = torch.Generator().manual_seed(settings.seed)

    def loss(self, tuned: Generator) -> Tensor:
        """LPIPS plus mean squared difference [1] at a latent on the way from the pivot to a new sample."""
        window, side, distance = self.windows.choose(), self.windows.side, self.windows.distance
        with torch.no_grad():
            z = torch.randn(1, self.generator.z_dim, generator=self.rng).to(self.pivot)
            latent = self.pivot.lerp(self.generator.mapping(z)[:, None], REACH)
            originals = self.generator.render_with_window(latent, side, window)
        pairs = zip(tuned.render_with_window(latent, side, window), originals, strict=True)
        return torch.stack([distance(drawn, original) + (drawn - original).square().mean(dim=[1, 2, 3])
                            for drawn, original in pairs]).mean(dim=0)


def _rate(settings: ProjectorSettings, progress: float) -> float:
    """Adam's learning rate when a part `progress` (0 to 1) of the tuning is done."""
    return settings.tuning_rate * min(1.0, (progress * settings.tuning_steps + 1) / WARM_UP) * (
        0.5 + 0.5 * math.cos(math.pi * progress))
