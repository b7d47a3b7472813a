"""Inversion: finding the latent whose picture is the crop, and if asked for fitting the generator to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generators import Generator, LatentStatistics, fastest_dtype, from_pixels, to_pixels
from inversion.encoder import Encoder, encode, find_encoder
from inversion.perceptual import PerceptualDistance
from inversion.record import Inversion
from inversion.search import Best, Start, Targets, compare, face_window, measure_w, search
from inversion.settings import LEAST_SIDE, ProjectorSettings
from inversion.tone import Monochrome
from inversion.tuning import Tuning, difference, tune
from weights.errors import InputError, memory_told

WARM_BATCH = 16   # Samples rendered at a time.
WARM_SIDE = 128   # Of the samples' pictures, in pixels.
FINE, TUNING = 2, 3  # What a step of the search, and of a tuning, takes in parts of a coarse one of the search.
RECORDED = (0.25, 0.5, 0.75)  # Parts of the work after which the best so far is told as a record.
WARM_PULL = 0.7   # The nearest sample's standard scores are multiplied by this: it is near in a few directions only.


@dataclass(frozen=True, eq=False, kw_only=True)
class Progress:
    """What a callback is given while crops are inverted."""

    step: int              # Steps done.
    steps: int             # Steps planned; a plateau may make them fewer.
    part: float            # Of the work that they are, done: 0 to 1. Later steps take longer.
    seconds: float         # Since the start.
    warm_seconds: float    # Of these, spent on finding the start.
    lpips: list[float]     # LPIPS of each crop's best latent so far.
    pictures: np.ndarray   # Their pictures, uint8 [N, s, s, 3], at the side of the search.

    @property
    def seconds_left(self) -> float:
        """Estimate from the steps done; infinite before the first."""
        return (self.seconds - self.warm_seconds) * (1 - self.part) / self.part if self.step else math.inf


class Projector:
    """Finds latents for crops, by Adam on LPIPS plus pixel distance (Karras et al. 2020, appendix D, made shorter).

    It searches in standard scores of W (see `LatentStatistics`) from what an encoder says, or from the perceptually
    nearest of some samples, with fixed noise, comparing small pictures where the generator draws such; then it may fit
    the generator to each crop (see `inversion.tuning`). What is costly is built once; each crop's result does not
    depend on the others in its batch.
    """

    def __init__(self, generator: Generator, settings: ProjectorSettings | None = None, *,
                 distance: PerceptualDistance | None = None, encoder: Encoder | None = None,
                 pivot: Inversion | None = None) -> None:
        """Take a built generator.

        Args:
            generator: Frozen.
            settings: Of inversions that are given none.
            distance: None: LPIPS with AlexNet.
            encoder: None: the one that `find_encoder` finds.
            pivot: An inversion of the same person, at which all searches begin and whose tuning all share, as the
                frames of a film in "Stitch it in Time" (Tzaban et al. 2022): no other tuning is made. None: none.
        Raises:
            InputError: the pivot does not fit the generator.
        """
        self.generator = generator
        self.settings = settings or ProjectorSettings()
        self.pivot = pivot
        self._distance = distance
        self._encoder = encoder
        self._painter = generator if pivot is None else pivot.generator_of(generator)  # Draws what is compared.

    @cached_property
    def distance(self) -> PerceptualDistance:
        return self._distance or PerceptualDistance(device=self.generator.device)

    @cached_property
    def statistics(self) -> LatentStatistics:
        return measure_w(self.generator)

    @cached_property
    def encoder(self) -> Encoder | None:
        """None where there is none, or where the perceptual distance is not the one that encoders read.

        Raises:
            InputError: its file is damaged.
        """
        if self.distance.backbone != "alex":
            return None
        return self._encoder or find_encoder(self.generator)

    def resolve(self, settings: ProjectorSettings) -> ProjectorSettings:
        """The settings with their start and precision decided, as records and recipes hold them.

        Raises:
            InputError: they ask for an encoder that is not there, or for another one.
        """
        if settings.precision == "auto":
            pays = fastest_dtype(self.generator.device) == torch.bfloat16
            settings = replace(settings, precision="bfloat16" if pays else "float32")
        if self.pivot is not None:
            return replace(settings, start=f"pivot {self.pivot.name}", tuning_steps=0)
        if settings.start.startswith("pivot"):
            raise InputError(None, f"this inversion began at another one ({settings.start})",
                             "edit its stored latent, or invert the photo by itself")
        if settings.start in ("samples", "mean"):
            return settings
        if self.encoder is None:
            if settings.start == "auto":
                return replace(settings, start="samples")
            raise InputError(None, f"generator {self.generator.hash[:12]} has no encoder for this distance",
                             "train one with `gradctrl encoder`, or start from samples")
        name = f"encoder {self.encoder.hash[:12]}"
        if settings.start not in ("auto", "encoder", name):
            raise InputError(None, f"these settings begin with {settings.start}, the generator has {name}",
                             "use the encoder that they were made with")
        return replace(settings, start=name)

    def invert(self, crop: np.ndarray, *, settings: ProjectorSettings | None = None, every: int = 10,
               on_step: Callable[[Progress], None] | None = None, should_stop: Callable[[], bool] | None = None,
               on_record: Callable[[Inversion], None] | None = None) -> Inversion:
        """Invert one crop uint8 [R, R, 3]; see `invert_batch`."""
        return self.invert_batch([crop], settings=settings, every=every, on_step=on_step, should_stop=should_stop,
                                 on_records=None if on_record is None else lambda records: on_record(records[0]))[0]

    @memory_told()
    def invert_batch(self, crops: Sequence[np.ndarray], *, settings: ProjectorSettings | None = None, every: int = 10,
                     on_step: Callable[[Progress], None] | None = None,
                     should_stop: Callable[[], bool] | None = None,
                     on_records: Callable[[list[Inversion]], None] | None = None) -> list[Inversion]:
        """Invert several crops at once.

        Args:
            crops: uint8 [R, R, 3] each, at the generator's resolution.
            settings: Instead of the projector's own.
            every: Steps between two calls of `on_step`.
            on_step: Called with the best so far after the first step, every so many steps and at the end.
            should_stop: Asked after each step and while the start is found; True ends the search, and the best so far
                is the result.
            on_records: Called on the way, at each part of the work that `RECORDED` names, with what ending there would
                give, marked as stopped.
        Returns:
            A record for each crop. The same settings and seed give the same result on the same machine.
        Raises:
            ValueError: no crops, or not uint8 [R, R, 3] at the generator's resolution.
            InputError: the settings ask for an encoder that is not there, the generator draws nothing finite, or memory
                does not suffice.
        """
        settings = self.resolve(settings or self.settings)
        run = _Run(settings, len(crops), every, on_step, should_stop)
        precision = torch.bfloat16 if settings.precision == "bfloat16" else None
        with torch.no_grad():
            whole = self._whole_pictures(crops)
            targets = self._targets(whole, settings.side, settings)
            start = self._start(targets, settings, run)
        results: list[_Result] = []

        def on_best(best: Best) -> None:
            if on_records is not None:
                on_records(self._so_far(crops, targets, best, results, settings, run))

        run.started(on_best)
        with self._painter.precision(precision):
            best = self._search(whole, targets, start, settings, run)
            if not best.loss.isfinite().all():
                raise InputError(None, f"generator {self.generator.hash[:12]} draws no finite picture here",
                                 "load it again, or invert with precision float32")
            run.search_ended()
            for n in range(len(crops)):
                results.append(self._tune(whole, targets, best, n, settings, run))  # noqa: PERF401 (it is looked at)
        pictures = self._settle(crops, targets, best, results)
        run.finish(best)
        return self._records(crops, pictures, best, results, settings, run.seconds)

    def _search(self, whole: Tensor, targets: Targets, start: Start, settings: ProjectorSettings, run: _Run) -> Best:
        """The search, whose first steps compare smaller pictures than `targets` where there are such."""
        side = self.generator.side_for(max(targets.side // 2, LEAST_SIDE))
        first = settings.coarse_steps if side < targets.side else 0
        if first:
            coarse = self._targets(whole, side, settings)
            best = search(self._painter, self.distance, self.statistics, coarse, start, settings, run.watch,
                          range(first), self._lacking(side))
            if run.stopped:
                return best
            start = Start.at(best.latent, self.statistics)
        return search(self._painter, self.distance, self.statistics, targets, start, settings, run.watch,
                      range(first, settings.steps), self._lacking(targets.side))

    @torch.no_grad()
    def _lacking(self, side: int) -> Tensor | None:
        """What a small picture of the pivot, drawn by itself, lacks of the whole one, to which the tuning belongs.

        Without it a search leaves the pivot for where pictures that are not tuned look like the crop.
        """
        if self.pivot is None or not self.pivot.tuning:
            return None
        resolution = self.generator.img_resolution
        small, whole = self._painter.render_with_window(self._pivot_latent, side, (0, 0, resolution, resolution))
        return F.adaptive_avg_pool2d(whole, side) - small

    @property
    def _pivot_latent(self) -> Tensor:
        assert self.pivot is not None
        return self.generator.broadcast(self.pivot.latent[None].to(self.statistics.mean))

    def _whole_pictures(self, crops: Sequence[np.ndarray]) -> Tensor:
        side = self.generator.img_resolution
        if not crops or any(crop.shape != (side, side, 3) for crop in crops):
            raise ValueError(f"crops must be [{side}, {side}, 3], not {[crop.shape for crop in crops]}")
        return from_pixels(np.stack(crops), device=self.generator.device, dtype=self.generator.dtype)

    def _targets(self, pictures: Tensor, side: int, settings: ProjectorSettings) -> Targets:
        """Crops [N, 3, s, s] averaged down to the next larger one of the generator's sides."""
        side = self.generator.side_for(side)
        pictures = F.adaptive_avg_pool2d(pictures, side)
        window = face_window(side, settings.focus, settings.inner).to(pictures)
        return Targets(pictures, self.distance.features(pictures), window)

    def _start(self, targets: Targets, settings: ProjectorSettings, run: _Run) -> Start:
        """Where the search begins."""
        num_ws = self.generator.num_ws
        if self.pivot is not None:
            return Start.at(self._pivot_latent.repeat(len(targets.pictures), 1, 1), self.statistics)
        if settings.start not in ("mean", "samples"):
            assert self.encoder is not None  # `resolve` has seen to it.
            return Start(*encode(self.encoder, targets.pictures, targets.features, self.statistics, num_ws))
        if settings.start == "mean":
            scores = torch.zeros_like(self.statistics.deviations).repeat(len(targets.pictures), 1)
        else:
            scores = self._nearest(targets, settings, run)
        return Start(scores, scores.new_zeros(len(scores), num_ws, scores.shape[1]))

    def _nearest(self, targets: Targets, settings: ProjectorSettings, run: _Run) -> Tensor:
        """Standard scores [N, K] of the nearest sample to each target, drawn towards the mean."""
        w = self.generator.sample(range(settings.seed * settings.samples, (settings.seed + 1) * settings.samples))
        if targets.side > WARM_SIDE:
            targets = self._targets(targets.pictures, WARM_SIDE, settings)
        distances = []
        for part in w.split(WARM_BATCH):
            sampled = self.distance.features(self.generator.render(part, targets.side))
            distances.append(torch.stack([self.distance.between(sampled, targets.select(n).features, targets.window)
                                          for n in range(len(targets.pictures))], dim=1))  # [samples, N]
            if run.should_end():
                break
        return self.statistics.standardise(w[torch.cat(distances).argmin(dim=0)]) * WARM_PULL

    def _tune(self, whole: Tensor, targets: Targets, best: Best, n: int, settings: ProjectorSettings,
              run: _Run) -> _Result:
        """Fit the generator to one crop; its picture takes the place of the search's."""
        if not settings.tuning_steps or run.stopped:
            return _Result({} if self.pivot is None else self.pivot.tuning, run.searched, run.stopped)
        before = run.step
        tuning = tune(self.generator, self.distance, targets.select(n), whole[n:n + 1], best, n, settings, run.watch)
        return _Result(tuning, run.searched + run.step - before, run.stopped)

    def _so_far(self, crops: Sequence[np.ndarray], targets: Targets, best: Best, results: Sequence[_Result],
                settings: ProjectorSettings, run: _Run) -> list[Inversion]:
        """The records, were the run to end now."""
        best = replace(best, lpips=best.lpips.clone(), mse=best.mse.clone())
        untuned = {} if self.pivot is None else self.pivot.tuning
        now = _Result(difference(self.generator, best.weights) or untuned, run.step, True)
        kept = [*results, now, *[_Result(untuned, run.step, True)] * len(crops)][:len(crops)]
        return self._records(crops, self._settle(crops, targets, best, kept), best, kept, settings, run.seconds)

    @torch.no_grad()
    def _settle(self, crops: Sequence[np.ndarray], targets: Targets, best: Best,
                results: Sequence[_Result]) -> np.ndarray:
        """The whole pictures uint8 [N, R, R, 3], in full precision, of what is kept; and their numbers."""
        pictures, shown = [], []
        for n, result in enumerate(results):
            picture = self.generator.with_weights(result.tuning).in_precision(None).render(best.latent[n:n + 1])
            monochrome = Monochrome.of(crops[n])
            pixels = to_pixels(picture)[0]
            pictures.append(pixels if monochrome is None else monochrome(pixels))
            shown.append(F.adaptive_avg_pool2d(picture, targets.side))
            _, lpips, mse = compare(self.distance, shown[n], targets.select(n), 0.0)
            best.lpips[n], best.mse[n] = lpips[0], mse[0]
        best.picture = torch.cat(shown)
        return np.stack(pictures)

    def _records(self, crops: Sequence[np.ndarray], pictures: np.ndarray, best: Best, results: Sequence[_Result],
                 settings: ProjectorSettings, seconds: float) -> list[Inversion]:
        from inversion.faces import describe_crop, identity_distance

        latents = best.latent if settings.space == "w+" else best.latent[:, 0]
        return [Inversion(
            latent=latents[n].float().cpu(), space=self.generator.space, tuning=result.tuning, crop=crop,
            generator_hash=self.generator.hash if result.tuning else "", picture=pictures[n],
            lpips=float(best.lpips[n]), mse=float(best.mse[n]), seconds=seconds,
            steps=result.steps, stopped=result.stopped,
            # A limit that was not reached must not cut a slower machine's repetition short.
            settings=settings if result.stopped else replace(settings, seconds=0.0),
            identity=identity_distance(describe_crop(crop), describe_crop(pictures[n])),
        ) for n, (crop, result) in enumerate(zip(crops, results, strict=True))]


@dataclass(frozen=True)
class _Result:
    """What came of one crop, beside the best of the search."""

    tuning: Tuning
    steps: int
    stopped: bool


class _Run:
    """One call of `invert_batch`: its clock, whom it tells, and what may end it."""

    def __init__(self, settings: ProjectorSettings, crops: int, every: int,
                 on_step: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None) -> None:
        self.start = time.perf_counter()
        self.limit = settings.seconds or math.inf
        self.settings, self.crops = settings, crops
        self.steps = settings.steps + crops * settings.tuning_steps
        self.every, self.on_step, self.should_stop = every, on_step, should_stop
        self.step = 0          # Done.
        self.searched = 0      # Of these, in the search.
        self.told = 0          # The last step that was told.
        self.warm_seconds = 0.0
        self.stopped = False   # By `should_stop`, or because the time was over.
        self.records = [*RECORDED]  # Those that are to come.

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def started(self, on_best: Callable[[Best], None]) -> None:
        """The search begins; `on_best` is told of the best so far at each part of the work that `RECORDED` names."""
        self.warm_seconds, self.on_best = self.seconds, on_best

    def should_end(self) -> bool:
        """Whether the caller or the clock ends the run."""
        asked = self.should_stop is not None and self.should_stop()
        self.stopped = self.stopped or asked or self.seconds > self.limit
        return self.stopped

    def watch(self, best: Best) -> bool:
        """Count a step, tell of it if it is its turn, and say whether to end."""
        self.step += 1
        if self.step == 1 or self.step % self.every == 0:
            self._tell(best)
        if self.records and self.part >= self.records[0]:
            del self.records[0]
            self.on_best(best)
        return self.should_end()

    def search_ended(self) -> None:
        """The rest are steps of tuning; those of the search that a plateau made needless are not to come."""
        self.searched = self.step
        if not self.stopped:
            self.steps -= self.settings.steps - self.step

    @property
    def part(self) -> float:
        """Of the work, done: 0 to 1."""
        searched = self.searched or min(self.step, self.settings.steps)
        done = self._cost(searched, self.step - searched)
        return done / self._cost(self.searched or self.settings.steps, self.crops * self.settings.tuning_steps)

    def _cost(self, searched: int, tuned: int) -> int:
        """Of so many steps, in coarse ones of one crop."""
        fine = max(searched - self.settings.coarse_steps, 0)
        return self.crops * (searched + (FINE - 1) * fine) + TUNING * tuned

    def finish(self, best: Best) -> None:
        """Tell of the end, unless it was told."""
        if self.told < self.step:
            self._tell(best)

    def _tell(self, best: Best) -> None:
        self.told = self.step
        if self.on_step is not None:
            self.on_step(Progress(step=self.step, steps=self.steps, part=self.part, seconds=self.seconds,
                                  warm_seconds=self.warm_seconds, lpips=best.lpips.tolist(),
                                  pictures=to_pixels(best.picture)))
