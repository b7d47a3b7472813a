"""How long inversions take on this machine, measured: first on a few steps, then on whole ones."""

from __future__ import annotations

import statistics
import threading
from dataclasses import dataclass

from generators import to_pixels
from inversion import Progress, Projector, ProjectorSettings, preset

STEPS, TUNING_STEPS = 6, 9  # About a second. Every eighth step of the tuning is longer than the others.


@dataclass(frozen=True)
class Pace:
    """Seconds that things take."""

    start: float   # Until the first step is done.
    step: float    # Of the search.
    tuning: float  # Of one step of the tuning.

    def seconds(self, settings: ProjectorSettings) -> float:
        """Of an inversion with all its steps; a plateau may make them fewer."""
        return self.start + settings.steps * self.step + settings.tuning_steps * self.tuning


class Timing:
    """What inversions by one generator take here."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._whole: dict[ProjectorSettings, float] = {}
        self._lock = threading.Lock()

    def seconds(self, settings: ProjectorSettings) -> float | None:
        """Of an inversion by these settings: that of the last one, or what its steps add up to; None: not known."""
        with self._lock:
            if settings in self._whole:
                return self._whole[settings]
            return None if self._pace is None else self._pace.seconds(settings)

    def learn(self, settings: ProjectorSettings, seconds: float) -> None:
        """Take note of what a whole inversion took."""
        with self._lock:
            self._whole[settings] = seconds

    def measure(self, projector: Projector) -> None:
        """Time a few steps of either kind, on a sample; the first of each kind is left out, since it sets things up."""
        generator = projector.generator
        crop = to_pixels(generator.render(generator.sample([0])))[0]
        seen: list[Progress] = []
        settings = preset("faithful", steps=STEPS, tuning_steps=TUNING_STEPS, plateau=0.0)
        projector.invert(crop, settings=settings, every=1, on_step=seen.append)
        moments = {progress.step: progress.seconds for progress in seen}
        took = {step: moments[step] - moments[step - 1] for step in moments if step - 1 in moments}
        search = statistics.median(took[step] for step in range(2, STEPS + 1))
        tuning = statistics.fmean(took[step] for step in range(STEPS + 2, STEPS + TUNING_STEPS + 1))
        with self._lock:
            self._pace = Pace(moments[1], search, tuning)


def in_words(seconds: float | None) -> str:
    """A time as people say it; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min"
