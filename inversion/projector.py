"""Inversion: optimising a latent until its picture is the crop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from inversion.perceptual import PerceptualDistance
from inversion.record import Inversion
from inversion.settings import ProjectorSettings
from inversion.whitening import Whitening
from stylegan2 import Generator, from_pixels, to_pixels

WARM_BATCH = 16   # Samples rendered at a time.
WARM_PULL = 0.7   # The nearest sample's standard scores are multiplied by this: it is near in a few directions only.
FACE_CENTRE = 0.08        # Below the crop's middle, in halves of its side.
FACE_RADII = (0.68, 0.95)  # Of the ellipse around face and hair, across and down, likewise.
WARM_UP = 0.05    # Part of the steps in which the learning rate rises.


@dataclass(frozen=True, eq=False, kw_only=True)
class Progress:
    """What a callback is given while crops are inverted."""

    step: int              # Steps done.
    steps: int             # Steps planned.
    seconds: float         # Since the start.
    warm_seconds: float    # Of these, spent on finding the start.
    lpips: list[float]     # LPIPS of each crop's best latent so far.
    pictures: np.ndarray   # Their pictures, uint8 [N, R, R, 3].

    @property
    def seconds_left(self) -> float:
        """Estimate from the steps done; infinite before the first."""
        return (self.seconds - self.warm_seconds) / self.step * (self.steps - self.step) if self.step else math.inf


@dataclass
class _Best:
    """The best latents so far. All on the device: nothing waits for it."""

    loss: Tensor     # [N]
    lpips: Tensor    # [N]
    mse: Tensor      # [N]
    latent: Tensor   # [N, num_ws, w_dim]
    picture: Tensor  # [N, 3, R, R]

    def update(self, loss: Tensor, lpips: Tensor, mse: Tensor, latent: Tensor, picture: Tensor) -> None:
        better = loss < self.loss
        for name, new in (("loss", loss), ("lpips", lpips), ("mse", mse), ("latent", latent), ("picture", picture)):
            old = getattr(self, name)
            setattr(self, name, torch.where(better.view(-1, *[1] * (old.ndim - 1)), new.detach(), old))


class Projector:
    """Finds latents for crops, by Adam on LPIPS plus pixel distance (Karras et al. 2020, appendix D, made shorter).

    It searches in whitened coordinates of W (see `Whitening`) from the perceptually nearest of some samples, with fixed
    noise. What is costly is built once; each crop's result does not depend on the others in its batch.
    """

    def __init__(self, generator: Generator, settings: ProjectorSettings | None = None, *,
                 distance: PerceptualDistance | None = None) -> None:
        self.generator = generator
        self.settings = settings or ProjectorSettings()
        self._distance = distance

    @cached_property
    def distance(self) -> PerceptualDistance:
        return self._distance or PerceptualDistance(device=self.generator.device)

    @cached_property
    def whitening(self) -> Whitening:
        return Whitening(self.generator)

    def invert(self, crop: np.ndarray, *, settings: ProjectorSettings | None = None, every: int = 10,
               on_step: Callable[[Progress], None] | None = None,
               should_stop: Callable[[], bool] | None = None) -> Inversion:
        """Invert one crop uint8 [R, R, 3]; see `invert_batch`."""
        return self.invert_batch([crop], settings=settings, every=every, on_step=on_step, should_stop=should_stop)[0]

    def invert_batch(self, crops: Sequence[np.ndarray], *, settings: ProjectorSettings | None = None, every: int = 10,
                     on_step: Callable[[Progress], None] | None = None,
                     should_stop: Callable[[], bool] | None = None) -> list[Inversion]:
        """Invert several crops at once.

        Args:
            crops: uint8 [R, R, 3] each, at the generator's resolution.
            settings: Instead of the projector's own.
            every: Steps between two calls of `on_step`.
            on_step: Called with the best so far after the first step, every so many steps and at the end.
            should_stop: Asked after each step and while the start is found; True ends the search, and the best so far
                is the result.
        Returns:
            A record for each crop. The same settings and seed give the same result on the same machine.
        Raises:
            ValueError: no crops, or not uint8 [R, R, 3] at the generator's resolution.
        """
        settings = settings or self.settings
        start = time.perf_counter()
        target = self._targets(crops)
        best, steps = self._search(target, settings, start, every, on_step, should_stop)
        seconds = time.perf_counter() - start
        return self._records(crops, best, settings, steps, seconds)

    def _targets(self, crops: Sequence[np.ndarray]) -> Tensor:
        side = self.generator.resolution
        if not crops or any(crop.shape != (side, side, 3) for crop in crops):
            raise ValueError(f"crops must be [{side}, {side}, 3], not {[crop.shape for crop in crops]}")
        return from_pixels(np.stack(crops), device=self.generator.device, dtype=self.generator.dtype)

    def _search(self, target: Tensor, settings: ProjectorSettings, start: float, every: int,
                on_step: Callable[[Progress], None] | None,
                should_stop: Callable[[], bool] | None) -> tuple[_Best, int]:
        generator, features = self.generator, self.distance.features(target)
        window = face_window(generator.resolution, settings.focus).to(target)
        should_stop = should_stop or _never
        scores = self._start(features, window, settings, should_stop).requires_grad_()  # Scores p of w [N, w_dim].
        warm = time.perf_counter() - start
        rows = torch.zeros(len(target), generator.num_ws, generator.w_dim, device=target.device, dtype=target.dtype,
                           requires_grad=settings.space == "w+")  # What a row adds to p.
        optimiser = torch.optim.Adam([scores, rows] if settings.space == "w+" else [scores], betas=(0.9, 0.99))
        best = _nothing_yet(target, rows)
        step = 0
        for step in range(1, settings.steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, (step - 1) / settings.steps)
            free = settings.space == "w+" and step > settings.spread_from * settings.steps
            latent = self.whitening.to_w(scores[:, None, :] + rows if free else scores[:, None, :].expand_as(rows))
            picture = generator.synthesis(latent)
            found = self.distance.features(picture)
            error = (picture - target).square().mean(dim=1)  # [N, R, R]
            loss = (self.distance.between(found, features, window) + settings.mse * (error * window).mean(dim=[1, 2])
                    + settings.prior * scores.square().mean(dim=1)
                    + settings.spread * rows.square().mean(dim=[1, 2]))
            with torch.no_grad():  # Only told, not followed.
                lpips = self.distance.between(found, features)
            best.update(loss, lpips, error.mean(dim=[1, 2]), latent, picture)
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            if on_step is not None and (step % every == 0 or step in (1, settings.steps)):
                on_step(Progress(step=step, steps=settings.steps, seconds=time.perf_counter() - start,
                                 warm_seconds=warm, lpips=best.lpips.tolist(), pictures=to_pixels(best.picture)))
            if should_stop():
                break
        return best, step

    @torch.no_grad()
    def _start(self, features: list[Tensor], window: Tensor, settings: ProjectorSettings,
               should_stop: Callable[[], bool]) -> Tensor:
        """Standard scores [N, w_dim] of the nearest sample to each target, drawn towards the mean; or of the mean."""
        count = len(features[0])
        if settings.warm_start == 0:
            return torch.zeros(count, self.generator.w_dim, device=self.generator.device, dtype=self.generator.dtype)
        w = self.generator.sample(range(settings.seed * settings.warm_start, (settings.seed + 1) * settings.warm_start))
        distances = []
        for part in w.split(WARM_BATCH):
            sampled = self.distance.features(self.generator.render(part))
            distances.append(torch.stack([self.distance.between(sampled, [f[n:n + 1] for f in features], window)
                                          for n in range(count)], dim=1))  # [samples, N]
            if should_stop():
                break
        return self.whitening.to_scores(w[torch.cat(distances).argmin(dim=0)]) * WARM_PULL

    def _records(self, crops: Sequence[np.ndarray], best: _Best, settings: ProjectorSettings, steps: int,
                 seconds: float) -> list[Inversion]:
        from inversion.faces import describe_crop, identity_distance

        latents = best.latent if settings.space == "w+" else best.latent[:, 0]
        pictures = to_pixels(best.picture)
        return [Inversion(
            latent=latents[n].float().cpu(), generator_hash=self.generator.hash, crop=crop, picture=pictures[n],
            lpips=float(best.lpips[n]), mse=float(best.mse[n]), seconds=seconds, steps=steps, settings=settings,
            identity=identity_distance(describe_crop(crop), describe_crop(pictures[n])),
        ) for n, crop in enumerate(crops)]


def learning_rate(settings: ProjectorSettings, progress: float) -> float:
    """Adam's learning rate when a part `progress` (0 to 1) of the steps is done."""
    return settings.learning_rate * min(1.0, progress / WARM_UP + WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * progress))


def _never() -> bool:
    return False


def face_window(side: int, focus: float) -> Tensor:
    """How much each pixel of an aligned crop counts in an inversion: float32 [side, side], mean 1.

    Highest in an ellipse around face and hair, whose place in a crop is always the same, falling to `focus` of that
    outside. A generator of faces cannot draw what stands behind people, and would bend the face to come near it.
    """
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    radius = ((x / FACE_RADII[0]).square() + ((y - FACE_CENTRE) / FACE_RADII[1]).square()).sqrt()
    window = focus + (1 - focus) * torch.sigmoid((1 - radius) * 12)
    return window / window.mean()


def _nothing_yet(target: Tensor, latent: Tensor) -> _Best:
    worst = torch.full([len(target)], math.inf, device=target.device, dtype=target.dtype)
    return _Best(loss=worst, lpips=worst, mse=worst, latent=latent.detach(), picture=target)
