"""A run from its folder: begin it or go on, report and save while it trains, and end well."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from stylegan2.readers import write
from weights.training.gan.report import SHOWN, Distance, Log, line, write_sheet
from weights.training.gan.state import write_state
from weights.training.gan.trainer import Trainer

CHECKPOINT = "checkpoint.safetensors"
GENERATOR = "generator.safetensors"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far to go this time, and how often to do what; none of it changes what is learned."""

    kimg: float = float("inf")     # Thousands of pictures, counted from the beginning of the run.
    seconds: float = float("inf")  # Counted from `begun`.
    begun: float = 0.0             # time.monotonic() when the command began.
    report_seconds: float = 30.0   # Between two rows of the table.
    save_seconds: float = 180.0    # Between two checkpoints.
    measure_seconds: float = 300.0  # Between two measurements of the distance.


class Stop:
    """Whether somebody wants the run to end: Ctrl-C or SIGTERM. A second one ends it at once, unsaved."""

    def __init__(self) -> None:
        self.wanted = ""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = signal.Signals(number).name

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take the signals in this block."""
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Run:
    """A trainer with its folder."""

    def __init__(self, trainer: Trainer, folder: Path, *, distance: Distance | None = None,
                 say: Callable[[str], None] = print) -> None:
        self.trainer, self.folder, self.distance, self.say = trainer, folder, distance, say
        self.log = Log(folder / "log.csv", kimg=trainer.seen / 1000)
        self._trained = self.log.minutes * 60  # Seconds of training, over all commands.

    def train(self, limits: Limits, stop: Stop) -> str:
        """Train until a limit is reached or a stop is wanted, save, and return why it ended."""
        now = time.monotonic()
        reported, saved, measured = now, now, now
        seen = self.trainer.seen
        if not self.log.rows:
            self.save()  # How it looks before the first step; and whether it can be written at all.
        while not (reason := self._reason(limits, stop)):
            self.trainer.step()
            now = time.monotonic()
            measure = self.distance is not None and now - measured >= limits.measure_seconds
            if now - reported >= limits.report_seconds or measure:
                self._report(seen, reported, measure=measure)
                reported, seen = time.monotonic(), self.trainer.seen
                measured = reported if measure else measured
            if now - saved >= limits.save_seconds:
                self.save()
                saved = time.monotonic()
                reported += saved - now  # Saving is no training.
        if self.trainer.seen > seen:
            self._report(seen, reported, measure=self.distance is not None and not stop.wanted)
        self.save()
        return reason

    def _reason(self, limits: Limits, stop: Stop) -> str:
        if stop.wanted:
            return stop.wanted
        if self.trainer.seen >= limits.kimg * 1000:
            return f"{limits.kimg:g} kimg"
        return "time" if time.monotonic() - limits.begun >= limits.seconds else ""

    def _report(self, seen: int, since: float, *, measure: bool) -> None:
        numbers = self.trainer.numbers()  # Waits for the device: the seconds are those of steps that are done.
        seconds = time.monotonic() - since
        self._trained += seconds
        numbers |= {"minutes": self._trained / 60, "pictures_per_second": (self.trainer.seen - seen) / seconds}
        if measure and self.distance is not None:
            numbers["frechet"] = self.distance(self.trainer.pictures(self.distance.seeds))
        self.log.add(numbers)
        self.say(line(numbers))

    def save(self) -> None:
        """Write the checkpoint, the mean generator in half precision, and a sheet of its pictures."""
        write_state(self.folder / CHECKPOINT, self.trainer.saved())
        write(self.folder / GENERATOR, self.trainer.settings.config, self.trainer.average.state_dict(), half=True)
        (self.folder / "samples").mkdir(exist_ok=True)
        name = f"{self.trainer.seen / 1000:09.1f}.png"
        write_sheet(self.folder / "samples" / name, self.trainer.pictures(range(SHOWN)))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; 0 on one that shares the machine's memory."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0
