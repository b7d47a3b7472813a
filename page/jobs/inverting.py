"""A visitor's inversion: it waits for its turn, lets edits go first, and becomes what is edited."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Yields
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from editing import ChosenFace, Inverter
from generators import Generator
from inversion import PRESETS, Inversion, InversionCache, Progress, Projector, ProjectorSettings
from page.jobs.executors import LOOK, InversionQueue, give_way_to_edits, reported
from page.jobs.zero_gpu import PREVIEW_STEPS, invert_on_lent_gpu, zero_gpu
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor

Report = TypeVar("Report")
Result = TypeVar("Result")
# How long an inversion waits for edits after a step at most, in units of that step's time.
WAY = 2.0        # One that makes a face better, which can be edited already.
FIRST_WAY = 0.5  # One before which there is nothing to edit: who comes while others move sliders would wait for long.

LONGEST_WAY = 30.0  # Seconds that an inversion waits for those that go first, at each of its steps.


@dataclass(frozen=True)
class Waiting:
    """An inversion waits until those before it are done."""

    ahead: int      # How many.
    seconds: float  # That they are expected to take at most.


class VisitorsCache:
    """The page's cache of inversions, which remembers whose they are, so that "forget" finds them."""

    def __init__(self, cache: InversionCache, visitor: Visitor) -> None:
        self.cache, self.visitor, self.keys = cache, visitor, visitor.cache_keys

    def get(self, key: str, generator: Generator) -> Inversion | None:
        inversion = self.cache.get(key, generator)
        if inversion is not None:
            self.keys.add(key)
        return inversion

    def put(self, key: str, inversion: Inversion) -> None:
        self.keys.add(key)
        self.cache.put(key, inversion)
        if self.visitor.cache_keys is not self.keys:  # All was forgotten just now.
            self.cache.remove(key)


@dataclass
class _Face:
    """A chosen face, and the subject of it whose place better inversions take; None: it is not edited yet."""

    visitor: Visitor
    models: EditingModels
    chosen: ChosenFace
    keys: set[str]                # The visitor's, as long as nothing is forgotten.
    subject: EditSubject | None
    newest: Inversion | None = None  # The best so far of one that is being made, until it is taken.

    @property
    def is_wanted(self) -> bool:
        """Whether the visitor has neither gone on to another photo nor had all forgotten."""
        return self.visitor.photo is self.chosen.photo and self.visitor.cache_keys is self.keys

    def edited(self, inversion: Inversion, preset: str, *, from_cache: bool = False) -> EditSubject:
        """A subject by an inversion."""
        return EditSubject(
            name=Path(self.chosen.photo.name).stem, generator=self.models.generator.identity, latent=inversion.latent,
            picture=inversion.picture, inversion=inversion, photo=self.chosen.photo, face=self.chosen.face,
            preset=preset, from_cache=from_cache, source=self.chosen.source(inversion))

    def improve(self, better: EditSubject, than: EditSubject) -> bool:
        """Put a better inversion in the subject's place, if it is nearer to the crop than one."""
        if (not self.is_wanted or self.subject is None or not _nearer(better, than)
                or all(known is not self.subject for known in self.visitor.subjects.values())):
            return False
        self.visitor.improve(self.subject, better)
        self.subject = better
        return True

    def take_newest(self) -> EditSubject | None:
        """Likewise, of one that is still being made; the preset and the ends of sliders are not its own yet."""
        record, self.newest = self.newest, None
        if record is None or self.subject is None:
            return None
        better = self.edited(record, self.subject.preset)
        better.limits = self.subject.limits
        return better if self.improve(better, self.subject) else None


def invert(visitor: Visitor, models: EditingModels, preset: str, inversions: InversionQueue,
           cache: InversionCache | None = None, *, rather: str = "", improving: EditSubject | None = None,
           after: InversionQueue | None = None) -> Iterator[Waiting | Progress | EditSubject]:
    """Invert the chosen face, yielding how far it is every few steps; in the end it is the visitor's subject.

    `Visitor.end_inversion` ends it after the step that is running; so does closing the iterator. While it waits, that
    leaves everything as it was. Another photo or inversion that was begun meanwhile is not overwritten. What the cache
    has already neither waits nor yields anything.

    Args:
        visitor: Who has chosen a face.
        models: The visitor's.
        preset: One of `PRESETS`.
        inversions: Where it waits for its turn.
        cache: Keeps inversions.
        rather: Another of `PRESETS`, by which an inversion is taken if it is kept already.
        improving: A subject of the chosen face, whose place the inversion takes if it is nearer to the crop; the edits
            of it go on, also after another face was chosen. It does so some times on the way already, and is yielded.
        after: Whose inversions go first, between two steps of this one.
    Raises:
        InputError: no face is chosen, or too many inversions wait.
    """
    face = _Face(visitor, models, visitor.chosen_face, visitor.cache_keys, improving)
    stop = visitor.stop or visitor.begin_inversion()
    inverter = Inverter(models.projector, None if cache is None else VisitorsCache(cache, visitor))
    cached = inverter.cached(face.chosen, PRESETS[rather]) if rather else None
    if cached is not None:
        preset = rather
    settings = PRESETS[preset]
    inversion = cached = cached or inverter.cached(face.chosen, settings)
    if inversion is None:
        turn = in_turn(inversions, _work(face, models.projector, settings), stop,
                       seconds=models.timing.seconds(settings) or 0.0, after=after)
        made = yield from _taken(turn, face)
        if made is None:
            return
        inversion = inverter.finish(face.chosen, made, settings)
        if not inversion.stopped:
            models.timing.learn(settings, inversion.seconds)
    subject = face.edited(inversion, preset, from_cache=cached is not None)
    if improving is not None:
        face.improve(subject, improving)
    elif face.is_wanted and visitor.stop is stop:
        visitor.begin_edits(subject)


def _work(face: _Face, projector: Projector, settings: ProjectorSettings,
          ) -> Callable[[Callable[[], bool], Callable[[Progress], None]], Inversion]:
    """What makes an inversion in its turn."""
    crop = face.chosen.crop(projector.generator.img_resolution)
    improves = face.subject is not None

    def on_record(record: Inversion) -> None:
        face.newest = Inverter(projector).finish(face.chosen, record, settings)

    def work(should_stop: Callable[[], bool], on_step: Callable[[Progress], None]) -> Inversion:
        return make(projector, crop, projector.resolve(settings), should_stop, on_step, WAY if improves else FIRST_WAY,
                    on_record if improves else None)

    return work


def _taken(turn: Yields[Waiting | Progress, None, Inversion | None], face: _Face,
           ) -> Yields[Waiting | Progress | EditSubject, None, Inversion | None]:
    """What is reported in a turn, and the subjects that come of the inversion on the way."""
    with closing(turn):
        while True:
            try:
                report = next(turn)
            except StopIteration as end:
                made: Inversion | None = end.value
                return made
            better = face.take_newest()
            if better is not None:
                yield better
            yield report


def _nearer(better: EditSubject, subject: EditSubject) -> bool:
    return better.inversion is None or subject.inversion is None or better.inversion.lpips < subject.inversion.lpips


def in_turn(inversions: InversionQueue, work: Callable[[Callable[[], bool], Callable[[Report], None]], Result],
            stop: threading.Event, *, seconds: float = 0.0, after: InversionQueue | None = None,
            ) -> Yields[Waiting | Report, None, Result | None]:
    """Have something long done when its turn comes, yielding what it reports, and return it; None: it had no turn.

    Args:
        inversions: Where it waits.
        work: Given what tells whether to end, asked after each step, and where to report.
        stop: Set to end it.
        seconds: That it is expected to take.
        after: Whose inversions go first, between two steps of this one.
    Raises:
        InputError: too many wait.
    """
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    left = threading.Event()

    def is_ended() -> bool:
        return stop.is_set() or left.is_set() or inversions.closing.is_set()

    def should_stop() -> bool:
        if after is not None:
            after.give_way(LONGEST_WAY, is_ended)
        return is_ended()

    job = inversions.submit(lambda: work(should_stop, reports.put), seconds)
    try:
        for report in reported(job, reports, LOOK):
            ahead, seconds_ahead = inversions.ahead(job)
            if report is not None:
                yield report
            elif stop.is_set() and job.cancel():
                return None
            elif ahead:
                yield Waiting(ahead, seconds_ahead)
        return None if job.cancelled() else job.result()
    finally:
        left.set()  # Whoever waited may be gone.
        job.cancel()


def make(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, should_stop: Callable[[], bool],
         on_step: Callable[[Progress], None], way: float = WAY,
         on_record: Callable[[Inversion], None] | None = None) -> Inversion:
    """Make an inversion here, or on a GPU that ZeroGPU lends. Here edits go first between two of its steps.

    The arguments are those of `Projector.invert`; a lent GPU, which takes seconds, tells no records on the way.
    """
    if zero_gpu():
        return invert_on_lent_gpu(projector, crop, settings, should_stop=should_stop, on_step=on_step)
    return projector.invert(crop, settings=settings, every=PREVIEW_STEPS, on_step=on_step, on_record=on_record,
                            should_stop=giving_way(should_stop, way))


def giving_way(should_stop: Callable[[], bool], way: float) -> Callable[[], bool]:
    """As given, but it lets edits go first, for at most so many times as long as a step of the inversion took."""
    last = time.monotonic()

    def asked() -> bool:
        nonlocal last
        if not should_stop():
            give_way_to_edits(way * (time.monotonic() - last))
            last = time.monotonic()
        return should_stop()

    return asked
