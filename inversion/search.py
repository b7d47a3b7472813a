"""The search for the latents of several crops at once: Adam on LPIPS, pixels and how likely the latent is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from generators import Generator, LatentStatistics
from inversion.perceptual import PerceptualDistance
from inversion.settings import ProjectorSettings

FACE_CENTRE = 0.08        # Below the crop's middle, in halves of its side.
FACE_RADII = (0.68, 0.95)  # Of the ellipse around face and hair, across and down, likewise.
INNER_CENTRE, INNER_RADII = 0.22, (0.5, 0.62)  # Of the one around brows, eyes, nose and mouth.
WARM_UP = 0.05    # Part of the steps in which the learning rate rises.
THINNEST = 1e-3   # Axes are taken to be at least so long, in parts of the longest: thinner ones carry no picture.
LOOK = 20         # Steps over which a plateau is judged; the device is waited for once in so many.


@dataclass(frozen=True, eq=False)
class Targets:
    """The crops of a batch, and what is computed of them once."""

    pictures: Tensor        # [N, 3, s, s] in [-1, 1], at the side at which they are compared.
    features: list[Tensor]  # Of `PerceptualDistance.features`.
    window: Tensor          # [s, s], how much each pixel counts.

    @property
    def side(self) -> int:
        return self.pictures.shape[-1]

    def select(self, n: int) -> Targets:
        """Those of one crop."""
        return Targets(self.pictures[n:n + 1], [layer[n:n + 1] for layer in self.features], self.window)


@dataclass
class Best:
    """The best latents so far. All on the device: nothing waits for it."""

    loss: Tensor     # [N]; infinite where no picture was finite yet.
    lpips: Tensor    # [N]
    mse: Tensor      # [N]
    latent: Tensor   # [N, num_ws, w_dim]
    picture: Tensor  # [N, 3, s, s], at the side of the search.
    weights: Mapping[str, Tensor] = field(default_factory=dict)  # Tuned ones, of the crop that is being tuned.

    def update(self, where: Tensor, loss: Tensor, lpips: Tensor, mse: Tensor, latent: Tensor,
               picture: Tensor) -> None:
        """Take over what is better [N], among the faces `where` [N] is true; what is not finite never is."""
        better = where & (loss < self.loss)
        for name, new in (("loss", loss), ("lpips", lpips), ("mse", mse), ("latent", latent), ("picture", picture)):
            old = getattr(self, name)
            setattr(self, name, torch.where(better.view(-1, *[1] * (old.ndim - 1)), new.detach(), old))


@dataclass(frozen=True, eq=False)
class Start:
    """Where a search begins."""

    scores: Tensor  # Standard scores of w [N, K].
    rows: Tensor    # What each row of w+ adds to them [N, num_ws, K]; of a search in W it is left out.

    @classmethod
    def at(cls, latent: Tensor, statistics: LatentStatistics) -> Start:
        """At w+ [N, num_ws, w_dim], about the mean of its rows."""
        rows = statistics.standardise(latent)
        scores = rows.mean(dim=1)
        return cls(scores, rows - scores[:, None])


Watch = Callable[[Best], bool]  # Is told of the best so far after each step; True ends the work.


def measure_w(generator: Generator) -> LatentStatistics:
    """The statistics of W in whose standard scores latents are searched, on the generator's device.

    All axes, the thinnest first: in another order sums would be rounded otherwise, and all inversions change a little.
    """
    measured = LatentStatistics.of_generator(generator)
    longer = (float(measured.deviations[0]) * THINNEST / measured.deviations).clamp_min(1)
    thinnest_first = (measured.axes * longer[:, None]).flip(0)
    return replace(measured, axes=thinnest_first).to(generator.device, generator.dtype)


def search(generator: Generator, distance: PerceptualDistance, statistics: LatentStatistics, targets: Targets,
           start: Start, settings: ProjectorSettings, watch: Watch, steps: range | None = None,
           lacking: Tensor | None = None) -> Best:
    """Optimise the latents of several crops; each one's result does not depend on the others.

    Args:
        generator: Frozen.
        distance: The perceptual distance that made the targets' features.
        statistics: Of the generator's W.
        targets: The crops.
        start: Where the search begins.
        settings: Of the search.
        watch: Told after each step: fewer than the settings' if all faces are on a plateau or if it ends the search.
        steps: Which of the settings' steps, from 0; None: all.
        lacking: What pictures [1, 3, s, s] of the targets' side lack of the whole ones; None: nothing.
    Returns:
        The best latents.
    """
    scores = start.scores.clone().requires_grad_()
    rows = (start.rows if settings.space == "w+" else torch.zeros_like(start.rows)).clone().requires_grad_()
    parameters = [scores, rows] if settings.space == "w+" else [scores]
    optimiser = torch.optim.Adam(parameters, betas=(0.9, 0.99))
    best = _nothing_yet(targets.pictures, rows.new_zeros(*rows.shape[:2], generator.w_dim))
    running = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    before = best.loss
    for number, step in enumerate(steps or range(settings.steps), 1):
        progress = step / settings.steps
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, progress)
        free = settings.space == "w+" and progress >= settings.spread_from
        added = rows if free else rows.detach()
        latent = statistics.restore(scores[:, None, :] + added)
        picture = generator.render(latent, targets.side)
        picture = picture if lacking is None else picture + lacking
        fit, lpips, mse = compare(distance, picture, targets, settings.mse)
        loss = fit + settings.prior * scores.square().mean(dim=1) + settings.spread * added.square().mean(dim=[1, 2])
        best.update(running, loss, lpips, mse, latent, picture)
        optimiser.zero_grad()
        loss.sum().backward()
        keep_finite(parameters)
        optimiser.step()
        if watch(best):
            break
        if settings.plateau and number % LOOK == 0:
            running, before = running & (best.loss < (1 - settings.plateau) * before), best.loss
            if not running.any():
                break
    return best


def keep_finite(parameters: Iterable[Tensor]) -> None:
    """Take gradients that are no numbers for 0: what overflows waits where it is, and the rest goes on."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def compare(distance: PerceptualDistance, picture: Tensor, targets: Targets,
            mse: float) -> tuple[Tensor, Tensor, Tensor]:
    """How far pictures [N, 3, s, s] are from the targets.

    Args:
        distance: The perceptual distance that made the targets' features.
        picture: The pictures.
        targets: The crops.
        mse: Weight of the squared pixel difference.
    Returns:
        What is minimised, under the targets' window [N]; and, only to be told, LPIPS and mean squared difference [N].
    """
    features = distance.features(picture)
    error = (picture - targets.pictures).square().mean(dim=1)  # [N, s, s]
    fit = distance.between(features, targets.features, targets.window) + mse * (error * targets.window).mean(dim=[1, 2])
    with torch.no_grad():
        return fit, distance.between(features, targets.features), error.mean(dim=[1, 2])


def learning_rate(settings: ProjectorSettings, progress: float) -> float:
    """Adam's learning rate when a part `progress` (0 to 1) of the steps is done."""
    return annealed(settings.learning_rate, progress, WARM_UP)


def annealed(highest: float, progress: float, warm_up: float) -> float:
    """A rate that rises in the first part `warm_up` of the steps, and falls along a cosine."""
    return highest * min(1.0, progress / warm_up + warm_up) * (0.5 + 0.5 * math.cos(math.pi * progress))


def face_window(side: int, focus: float, inner: float = 0.0) -> Tensor:
    """How much each pixel of an aligned crop counts in an inversion: float32 [side, side], mean 1.

    Highest in an ellipse around face and hair, whose place in a crop is always the same, falling to `focus` of that
    outside. A generator of faces cannot draw what stands behind people, and would bend the face to come near it.
    With `inner`, what makes a person (brows, eyes, nose and mouth) counts so much more than the rest of the face.
    """
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def ellipse(centre: float, radii: tuple[float, float], steepness: float) -> Tensor:
        radius = ((x / radii[0]).square() + ((y - centre) / radii[1]).square()).sqrt()
        return torch.sigmoid((1 - radius) * steepness)

    window = focus + (1 - focus) * ellipse(FACE_CENTRE, FACE_RADII, 12)
    window = window * (1 + inner * ellipse(INNER_CENTRE, INNER_RADII, 10))
    return window / window.mean()


def _nothing_yet(target: Tensor, latent: Tensor) -> Best:
    worst = torch.full([len(target)], math.inf, device=target.device, dtype=target.dtype)
    return Best(loss=worst, lpips=worst, mse=worst, latent=latent.detach(), picture=target)
