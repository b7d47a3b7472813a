"""Training the encoder of a generator, on nothing but samples that the generator draws.

Each sample is seen as it is, and once more changed in ways in which photos differ from samples: another background, a
little turned and moved, sharper or softer, other light and colours, noise. The encoder learns the sample's w from both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator, LatentStatistics
from inversion.encoder import CHANNELS, COLOURS, GRID, Encoder, encode, read_crops
from inversion.perceptual import PerceptualDistance
from inversion.search import face_window, measure_w
from weights.errors import InputError

LEAST = 1000       # Samples; with fewer an encoder is no better than the mean.
DRAWN = 32         # Samples drawn at a time.
SIDE = 256         # Of their pictures, in pixels, where the generator draws such.
UNLIKELY = 0.02    # Weight of the error in standard scores beside that in w.
SPREAD = 0.5       # Feature maps that vary less than this part of the median are taken to vary as much.
BACKGROUND, TURNED = 0.4, 0.5  # Shares of the changed samples with another background; and turned and moved.


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How an encoder is trained."""

    count: int = 20_000           # Samples drawn, each seen several times.
    held_out: int = 256           # More samples, to measure on.
    pool: int = 4000              # Of the samples drawn so many last ones are trained on.
    batch: int = 128              # Samples a step.
    passes: int = 4               # How often each sample is seen, both ways together.
    learning_rate: float = 1e-3   # Adam's, at its highest (one cycle).
    seed: int = 1_000_000         # Of the first sample.

    def __post_init__(self) -> None:
        if self.count < LEAST:
            raise InputError(f"{self.count} samples", f"an encoder needs at least {LEAST}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """How good an encoder is on held-out samples."""

    lpips: float          # Mean LPIPS between samples and the pictures of what the encoder says.
    lpips_changed: float  # The same of changed samples.
    lpips_mean: float     # The same of the mean w, for comparison.


def fit_encoder(generator: Generator, *, distance: PerceptualDistance | None = None,
                  settings: EncoderSettings | None = None,
                  on_step: Callable[[int, int, float], None] | None = None) -> tuple[Encoder, Report]:
    """Train an encoder.

    Args:
        generator: Frozen.
        distance: LPIPS with AlexNet; None: a new one.
        settings: Of the training.
        on_step: Called with the samples drawn, how many there will be, and the loss, after each step.
    Returns:
        The encoder, frozen, and how good it is.
    """
    settings = settings or EncoderSettings()
    distance = distance or PerceptualDistance(device=generator.device)
    statistics = measure_w(generator)
    rng = torch.Generator().manual_seed(settings.seed)
    pool = _Pool(generator, distance, settings, rng)
    pool.draw(2 * settings.batch)
    encoder = _untrained(generator, statistics, pool, settings)
    steps = settings.passes * settings.count // settings.batch
    optimiser = torch.optim.AdamW(encoder.parameters(), settings.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps)
    for step in range(steps):
        pool.draw(min(settings.count, (step + 1) * settings.count // steps + 2 * settings.batch))
        maps, colours, w = pool.batch()
        predicted = encoder(maps, colours)
        loss = _error(statistics, predicted, w)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(pool.drawn, settings.count, float(loss.detach()))
    encoder.requires_grad_(False).eval()
    return encoder, _measure(generator, encoder, distance, statistics, settings, rng)


def _untrained(generator: Generator, statistics: LatentStatistics, pool: _Pool, settings: EncoderSettings) -> Encoder:
    """An encoder with random weights that knows how features and w are spread."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = Encoder(generator.w_dim, len(statistics.axes))
    maps = pool.maps[0, :pool.drawn].float()
    deviation = maps.std(dim=[0, 2, 3], keepdim=True)
    encoder.mean.copy_(maps.mean(dim=[0, 2, 3], keepdim=True))
    encoder.deviation.copy_(deviation.clamp_min(SPREAD * float(deviation.median())))
    encoder.w_mean.copy_(statistics.mean)
    encoder.basis.copy_(statistics.axes)
    return encoder.to(generator.device)


def _error(statistics: LatentStatistics, predicted: Tensor, w: Tensor) -> Tensor:
    """Part of the variance of w that is missed, and a little of the same in standard scores, where all count alike."""
    missed = (predicted - w).square().sum(dim=1).mean() / statistics.axes.square().sum()
    return missed + UNLIKELY * (statistics.standardise(predicted) - statistics.standardise(w)).square().mean()


class _Pool:
    """The last samples that were drawn, both as they are and changed."""

    def __init__(self, generator: Generator, distance: PerceptualDistance, settings: EncoderSettings,
                 rng: torch.Generator) -> None:
        self.generator, self.distance, self.settings, self.rng = generator, distance, settings, rng
        self.drawn = 0
        size = min(settings.pool, settings.count)
        self.w = torch.empty(size, generator.w_dim)
        self.maps = torch.empty(2, size, CHANNELS, GRID, GRID, dtype=torch.float16)
        self.colours = torch.empty(2, size, 3, COLOURS, COLOURS)

    @torch.no_grad()
    def draw(self, count: int) -> None:
        """Draw until so many samples were drawn in all; the oldest make place."""
        while self.drawn < count:
            seed = self.settings.seed + self.drawn
            w = self.generator.sample(range(seed, seed + DRAWN))
            pictures = self.generator.render(w, self.generator.side_for(SIDE)).clamp(-1, 1)
            places = torch.arange(self.drawn, self.drawn + DRAWN) % len(self.w)
            self.w[places] = w.cpu()
            for way, seen in enumerate((pictures, change(pictures, self.rng))):
                maps, colours = read_crops(seen, self.distance.features(seen))
                self.maps[way, places], self.colours[way, places] = maps.cpu().half(), colours.cpu()
            self.drawn += DRAWN

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features, colours and w of some of the samples, half of them changed."""
        chosen = torch.randint(min(self.drawn, len(self.w)), [self.settings.batch], generator=self.rng)
        way = torch.arange(self.settings.batch) % 2
        device = self.generator.device
        return (self.maps[way, chosen].float().to(device), self.colours[way, chosen].to(device),
                self.w[chosen].to(device))


def change(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Change samples [N, 3, R, R] in [-1, 1] in the ways in which photos differ from them."""
    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng).to(pictures)

    n, _, side, _ = pictures.shape
    plain = (uniform(n, 3, 1, 1) * 2 - 1).expand_as(pictures)
    behind = torch.where(uniform(n, 1, 1, 1) < 0.4, plain, pictures.roll(1, dims=0).flip(3))
    window = face_window(side, 0.0).to(pictures)
    outside = (1 - window / window.max()) * (uniform(n, 1, 1, 1) < BACKGROUND)
    x = _moved(pictures.lerp(behind, outside), uniform)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    x = x + (2.5 * uniform(n, 1, 1, 1) - 0.7) * (x - soft)
    x = x * (0.75 + 0.5 * uniform(n, 1, 1, 1)) + 0.3 * (uniform(n, 1, 1, 1) - 0.5) + 0.15 * (uniform(n, 3, 1, 1) - 0.5)
    x = x + 0.08 * uniform(n, 1, 1, 1) * torch.randn(x.shape, generator=rng).to(x)
    return x.clamp(-1, 1)


def _moved(x: Tensor, uniform: Callable[..., Tensor]) -> Tensor:
    """Turned by up to 4 degrees, scaled by up to 6% and shifted by up to 4%, some of them."""
    n = len(x)
    angle, scale = 0.14 * (uniform(n) - 0.5), 1 + 0.12 * (uniform(n) - 0.5)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 0.08 * (uniform(n, 2) - 0.5)
    turned = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    straight = torch.eye(2, 3).to(x).expand(n, 2, 3)
    theta = torch.where(uniform(n, 1, 1) < TURNED, turned, straight)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def _measure(generator: Generator, encoder: Encoder, distance: PerceptualDistance, statistics: LatentStatistics,
             settings: EncoderSettings, rng: torch.Generator) -> Report:
    measured: dict[str, list[Tensor]] = {"lpips": [], "lpips_changed": [], "lpips_mean": []}
    first, side = settings.seed - settings.held_out, generator.side_for(SIDE)
    for start in range(first, settings.seed, DRAWN):
        w = generator.sample(range(start, min(start + DRAWN, settings.seed)))
        pictures = generator.render(w, side).clamp(-1, 1)
        features = distance.features(pictures)
        for name, seen in (("lpips", pictures), ("lpips_changed", change(pictures, rng))):
            scores = encode(encoder, seen, distance.features(seen), statistics)
            drawn = generator.render(statistics.restore(scores), side)
            measured[name].append(distance.between(distance.features(drawn), features))
        mean = generator.render(statistics.mean[None], side)
        measured["lpips_mean"].append(distance.between(distance.features(mean), features))
    return Report(**{name: float(torch.cat(values).mean()) for name, values in measured.items()})
