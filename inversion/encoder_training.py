"""Training the encoder of a generator: on samples that it draws, whose latents are known, then through the generator.

First the encoder learns the samples' w. Half of them are seen changed in ways in which photos differ from samples:
another background, a little turned and moved, sharper or softer, other light and colours, noise. Then it learns w+ by
what the generator draws of it, compared with the picture itself: changed samples and, if there are any, aligned faces
whose latents nobody knows. There rows are held near w (Tov et al. 2021), so that what is encoded can be edited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator, fastest_dtype, from_bytes, to_bytes
from inversion.encoder import Encoder, encode, read_crops
from inversion.perceptual import PerceptualDistance
from inversion.search import annealed, face_window, measure_w
from weights.errors import InputError
from weights.files import replacing

LEAST = 1000       # Samples; with fewer an encoder is no better than the mean.
DRAWN = 32         # Samples drawn at a time.
SIDE = 256         # Of their pictures, in pixels, where the generator draws such.
UNLIKELY = 0.02    # Weight of the error in standard scores beside that in w.
SPREAD = 0.5       # Feature maps that vary less than this part of the median are taken to vary as much.
BACKGROUND, TURNED = 0.4, 0.5  # Shares of the changed samples with another background; and turned and moved.
FOCUS, INNER = 0.3, 1.0  # As of `face_window`, of what is learned through the generator;
MSE = 1.0          # and there the weights of the square error beside LPIPS,
PRIOR = 0.003      # of the mean squared standard score of w,
NEAR_W = 0.02      # and of a row's distance from it.
WARM_UP = 0.1      # Part of the steps, of either kind, in which the learning rate rises.
KEEP_EVERY = 50    # Steps between two checkpoints.

Draw = Callable[[range], tuple[Tensor, Tensor]]
"""Pictures uint8 [N, 3, R, R] and w [N, w_dim] of samples by their numbers, which may be negative."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How an encoder is trained."""

    count: int = 20_000           # Samples drawn, each seen several times.
    held_out: int = 256           # More samples, to measure on.
    pool: int = 3000              # Of the samples drawn so many last ones are trained on.
    batch: int = 32               # Samples a step.
    passes: int = 2               # How often each sample is seen, as it is or changed.
    learning_rate: float = 1e-3   # Adam's, at its highest (one cycle).
    drawn_steps: int = 1000       # Steps through the generator after that.
    drawn_batch: int = 4          # Pictures of such a step,
    drawn_side: int = 128         # and their side, in pixels, where the generator draws such.
    drawn_rate: float = 3e-4      # Adam's learning rate in them, at its highest (one cycle).
    seed: int = 1_000_000         # Of the first sample.

    def __post_init__(self) -> None:
        if self.count < LEAST:
            raise InputError(f"{self.count} samples", f"an encoder needs at least {LEAST}")

    @property
    def steps(self) -> int:
        """Those on known latents, which come before those through the generator."""
        return self.passes * self.count // self.batch


@dataclass(frozen=True, kw_only=True)
class Report:
    """How good an encoder is on held-out samples."""

    lpips: float          # Mean LPIPS between samples and the pictures of the w+ that the encoder says.
    lpips_changed: float  # The same of changed samples.
    lpips_mean: float     # The same of the mean w, for comparison.


def fit_encoder(generator: Generator, *, distance: PerceptualDistance | None = None,
                settings: EncoderSettings | None = None, draw: Draw | None = None, faces: Tensor | None = None,
                checkpoint: Path | None = None,
                on_step: Callable[[int, int, float], None] | None = None) -> tuple[Encoder, Report]:
    """Train an encoder.

    Args:
        generator: Frozen.
        distance: LPIPS with AlexNet; None: a new one.
        settings: Of the training.
        draw: Gives the samples by number, from 0, and those held out, from -1 down; None: the generator draws them.
        faces: More pictures to learn w+ by, aligned: uint8 [M, 3, R, R].
        checkpoint: Written every so many steps and at the end; one that is there already is gone on from, with the
            result of a run in one go. None: nothing is written.
        on_step: Called with the steps done, how many there will be, and the loss, after each step.
    Returns:
        The encoder, frozen, and how good it is.
    Raises:
        InputError: the checkpoint is damaged, or of another generator or other settings.
    """
    settings = settings or EncoderSettings()
    training = _Training(generator, distance or PerceptualDistance(device=generator.device), settings,
                         draw or _drawn_by(generator, settings), faces)
    if checkpoint is not None and checkpoint.exists():
        training.resume(checkpoint)
    total = settings.steps + settings.drawn_steps
    while training.done < total:
        loss = training.step()
        if checkpoint is not None and (training.done % KEEP_EVERY == 0 or training.done == total):
            with replacing(checkpoint) as temporary:
                training.save(temporary)
        if on_step is not None:
            on_step(training.done, total, loss)
    training.encoder.requires_grad_(False).eval()
    return training.encoder, training.measure()


def _drawn_by(generator: Generator, settings: EncoderSettings) -> Draw:
    side = generator.side_for(SIDE)

    @torch.no_grad()
    def draw(numbers: range) -> tuple[Tensor, Tensor]:
        w = generator.sample([settings.seed + number for number in numbers])
        return to_bytes(generator.render(w, side)), w

    return draw


class _Training:
    """An encoder on its way."""

    def __init__(self, generator: Generator, distance: PerceptualDistance, settings: EncoderSettings, draw: Draw,
                 faces: Tensor | None) -> None:
        self.generator, self.distance, self.settings, self.draw, self.faces = generator, distance, settings, draw, faces
        self.statistics = measure_w(generator)
        self.rng = torch.Generator(generator.device).manual_seed(settings.seed)
        self.precision = torch.bfloat16 if fastest_dtype(generator.device) == torch.bfloat16 else None
        self.done = 0
        self.pictures, self.w = torch.empty(0), torch.empty(0)  # Of the last samples.
        self.drawn = 0
        self._fill(2 * settings.batch)
        self.encoder = self._untrained()
        self.optimiser = torch.optim.AdamW(self.encoder.parameters(), settings.learning_rate, weight_decay=0.02)

    @property
    def of(self) -> str:
        """What a checkpoint must be of: the generator and the settings."""
        return f"generator {self.generator.hash[:12]}, {self.settings}"

    def save(self, path: Path) -> None:
        torch.save({"of": self.of, "encoder": self.encoder.state_dict(), "optimiser": self.optimiser.state_dict(),
                    "rng": self.rng.get_state(), "done": self.done, "drawn": self.drawn}, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; what the pool held is drawn again.

        Raises:
            InputError: it is damaged, or of another generator or other settings.
        """
        remedy = "go on with the generator and options that it was begun with, or remove it to begin anew"
        try:
            state = torch.load(path, weights_only=True)
            of = state["of"]
        except Exception as error:  # What a damaged file raises has no common class.
            raise InputError(path, "not a checkpoint of an encoder's training", remedy) from error
        if of != self.of:
            raise InputError(path, f"a checkpoint of another training ({of})", remedy)
        self.encoder.load_state_dict(state["encoder"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rng.set_state(state["rng"])
        self.done = state["done"]
        self.drawn = max(self.drawn, (state["drawn"] - len(self.w)) // DRAWN * DRAWN)
        self._fill(state["drawn"])

    def step(self) -> float:
        """One step; its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        loss = self._known() if self.done < self.settings.steps else self._through_generator()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimiser.step()
        self.done += 1
        return float(loss.detach())

    def _rate(self) -> float:
        """Of the step to come; each of the two parts of the training begins anew."""
        settings = self.settings
        first = self.done < settings.steps
        steps, done = (settings.steps, self.done) if first else (settings.drawn_steps, self.done - settings.steps)
        return annealed(settings.learning_rate if first else settings.drawn_rate, done / steps, WARM_UP)

    def _known(self) -> Tensor:
        """How far what is said of samples, half of them changed, is from their w."""
        settings, statistics = self.settings, self.statistics
        self._fill(min(settings.count, (self.done + 1) * settings.count // settings.steps + 2 * settings.batch))
        pictures, w = self._chosen(settings.batch)
        half = len(pictures) // 2
        scores, _ = self._encode(torch.cat([pictures[:half], change(pictures[half:], self.rng)[1]]))
        predicted = self.encoder.w(scores)
        missed = (predicted - w).square().sum(dim=1).mean() / statistics.axes.square().sum()
        return missed + UNLIKELY * (statistics.standardise(predicted) - statistics.standardise(w)).square().mean()

    def _through_generator(self) -> Tensor:
        """How far what the generator draws of what is said is from the pictures themselves."""
        count = self.settings.drawn_batch
        pictures, _ = self._chosen(count)
        if self.faces is not None:
            pictures = torch.cat([self._some_faces((count + 1) // 2, pictures), pictures[:count // 2]])
        wanted, seen = change(pictures, self.rng)
        half = torch.arange(count, device=pictures.device).view(-1, 1, 1, 1) % 2 == 0
        wanted, seen = torch.where(half, pictures, wanted), torch.where(half, pictures, seen)
        scores, rows = self._encode(seen)
        side = self.generator.side_for(self.settings.drawn_side)
        with self.generator.precision(self.precision):
            drawn = self.generator.render(self.encoder.latents(scores, rows), side)
        wanted = F.adaptive_avg_pool2d(wanted, side)
        window = face_window(side, FOCUS, INNER).to(wanted)
        with torch.no_grad():
            features = self.distance.features(wanted)
        far = self.distance.between(self.distance.features(drawn), features, window)
        far = far + MSE * ((drawn - wanted).square().mean(dim=1) * window).mean(dim=[1, 2])
        return far.mean() + PRIOR * scores.square().mean() + NEAR_W * rows.square().mean()

    def _some_faces(self, count: int, like: Tensor) -> Tensor:
        """Some of the other faces, of the side of pictures."""
        assert self.faces is not None
        device = self.rng.device
        chosen = torch.randint(len(self.faces), [count], generator=self.rng, device=device)
        flipped = torch.rand(count, 1, 1, 1, generator=self.rng, device=device) < 0.5
        faces = from_bytes(self.faces[chosen.to(self.faces.device)].to(device)).to(like)
        return F.interpolate(torch.where(flipped, faces.flip(3), faces), size=like.shape[2:], mode="area")

    def _encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            seen = read_crops(pictures, self.distance.features(pictures))
        scores, rows = self.encoder(*seen)
        return scores, rows

    def _chosen(self, count: int) -> tuple[Tensor, Tensor]:
        """Some samples of the pool: pictures in [-1, 1] and w."""
        chosen = torch.randint(min(self.drawn, len(self.w)), [count], generator=self.rng, device=self.rng.device)
        return from_bytes(self.pictures[chosen]), self.w[chosen]

    @torch.no_grad()
    def _fill(self, count: int) -> None:
        """Draw until so many samples were drawn in all; the oldest make place."""
        size = min(self.settings.pool, self.settings.count)
        while self.drawn < count:
            pictures, w = self.draw(range(self.drawn, self.drawn + DRAWN))
            if not len(self.w):
                device = self.generator.device
                self.pictures = torch.empty(size, *pictures.shape[1:], dtype=torch.uint8, device=device)
                self.w = torch.empty(size, w.shape[1], device=device)
            places = torch.arange(self.drawn, self.drawn + DRAWN, device=self.w.device) % size
            self.pictures[places], self.w[places] = pictures.to(self.w.device), w.to(self.w)
            self.drawn += DRAWN

    def _untrained(self) -> Encoder:
        """An encoder with random weights that knows how features and w are spread."""
        axes = self.statistics.axes.flip(0)  # Widest first.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            encoder = Encoder(self.generator.w_dim, len(axes), self.generator.num_ws)
        pictures = from_bytes(self.pictures[:self.drawn])
        with torch.no_grad():
            maps, _ = read_crops(pictures, self.distance.features(pictures))
        deviation = maps.std(dim=[0, 2, 3], keepdim=True)
        encoder.mean.copy_(maps.mean(dim=[0, 2, 3], keepdim=True))
        encoder.deviation.copy_(deviation.clamp_min(SPREAD * float(deviation.median())))
        encoder.w_mean.copy_(self.statistics.mean)
        encoder.basis.copy_(axes)
        return encoder.to(self.generator.device)

    @torch.no_grad()
    def measure(self) -> Report:
        generator, distance = self.generator, self.distance
        measured: dict[str, list[Tensor]] = {"lpips": [], "lpips_changed": [], "lpips_mean": []}
        for start in range(-self.settings.held_out, 0, DRAWN):
            pictures = from_bytes(self.draw(range(start, min(start + DRAWN, 0)))[0]).to(generator.device)
            side, features = pictures.shape[2], distance.features(pictures)
            wanted, seen = change(pictures, self.rng)
            for name, crops, read, aim in (("lpips", pictures, features, features), (
                    "lpips_changed", seen, distance.features(seen), distance.features(wanted))):
                scores, rows = encode(self.encoder, crops, read, self.statistics, generator.num_ws)
                drawn = generator.render(self.statistics.restore(scores[:, None] + rows), side)
                measured[name].append(distance.between(distance.features(drawn), aim))
            mean = generator.render(self.statistics.mean[None], side)
            measured["lpips_mean"].append(distance.between(distance.features(mean), features))
        return Report(**{name: float(torch.cat(values).mean()) for name, values in measured.items()})


def change(pictures: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Change samples [N, 3, R, R] in [-1, 1] in the ways in which photos differ from them.

    Returns:
        What is to be drawn of them: another background, turned and moved, other light and colours, some of each. And
        the same as a camera may see it: sharper or softer, and with noise.
    """
    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng, device=rng.device).to(pictures)

    n, _, side, _ = pictures.shape
    plain = (uniform(n, 3, 1, 1) * 2 - 1).expand_as(pictures)
    behind = torch.where(uniform(n, 1, 1, 1) < 0.4, plain, pictures.roll(1, dims=0).flip(3))
    window = face_window(side, 0.0).to(pictures)
    outside = (1 - window / window.max()) * (uniform(n, 1, 1, 1) < BACKGROUND)
    x = _moved(pictures.lerp(behind, outside), uniform)
    x = x.mean(dim=1, keepdim=True).lerp(x, 0.5 + uniform(n, 1, 1, 1))
    x = x * (0.75 + 0.5 * uniform(n, 1, 1, 1)) + 0.3 * (uniform(n, 1, 1, 1) - 0.5) + 0.15 * (uniform(n, 3, 1, 1) - 0.5)
    x = x.clamp(-1, 1)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    seen = x + (2.5 * uniform(n, 1, 1, 1) - 0.7) * (x - soft)
    seen = seen + 0.08 * uniform(n, 1, 1, 1) * torch.randn(x.shape, generator=rng, device=rng.device).to(x)
    return x, seen.clamp(-1, 1)


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
