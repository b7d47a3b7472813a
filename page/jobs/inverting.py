"""A visitor's inversion: it waits for its turn, lets edits go first, and becomes what is edited."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editing import PhotoSource
from inversion import Inversion, InversionCache, Progress, Projector, ProjectorSettings, align, with_warnings
from page.jobs.executors import LOOK, InversionQueue, edits, reported
from page.jobs.zero_gpu import PREVIEW_STEPS, invert_on_lent_gpu, zero_gpu
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor

WAY = 2.0  # How long an inversion waits for edits after a step at most, in units of that step's time.


@dataclass(frozen=True)
class Waiting:
    """An inversion waits until those before it are done."""

    ahead: int      # How many.
    seconds: float  # That they are expected to take at most.


def crop_of(visitor: Visitor, side: int) -> np.ndarray:
    """The chosen face's crop, uint8 [side, side, 3].

    Raises:
        InputError: no face is chosen.
    """
    return align(*visitor.chosen_face, side)


def invert(visitor: Visitor, models: EditingModels, settings: ProjectorSettings, inversions: InversionQueue,
           cache: InversionCache | None = None) -> Iterator[Waiting | Progress]:
    """Invert the chosen face, yielding the best so far every few steps; in the end it is the visitor's subject.

    `Visitor.end_inversion` ends it after the step that is running; so does closing the iterator. While it waits, that
    leaves everything as it was. Another photo or inversion that was begun meanwhile is not overwritten. What the cache
    has already neither waits nor yields anything.

    Args:
        visitor: Who has chosen a face.
        models: The visitor's.
        settings: Of the inversion.
        inversions: Where it waits for its turn.
        cache: Keeps inversions.
    Raises:
        InputError: no face is chosen, or too many inversions wait.
    """
    projector, faces, index = models.projector, visitor.faces, visitor.chosen
    crop = crop_of(visitor, models.generator.resolution)
    photo, face = visitor.chosen_face
    assert index is not None
    stop = visitor.stop or visitor.begin_inversion()
    seconds, settings = models.timing.seconds(settings) or 0.0, projector.resolve(settings)
    keys, key = visitor.cache_keys, InversionCache.key(photo.sha256, face.quad, projector.generator.hash, settings)
    cached = cache.get(key, projector.generator) if cache is not None else None
    inversion = cached
    if inversion is None:
        made = yield from _in_turn(projector, crop, settings, stop, inversions, seconds)
        if made is None:
            return
        inversion = with_warnings(made.of_photo(photo.sha256, face.quad), photo, face, faces,
                                  generator=projector.generator, distance=projector.distance)
    if visitor.stop is not stop or visitor.photo is not photo:
        return
    visitor.begin_edits(EditSubject(
        name=Path(photo.name).stem, generator=projector.generator.hash, latent=inversion.latent,
        picture=inversion.picture, inversion=inversion, photo=photo, face=face, from_cache=cached is not None,
        source=PhotoSource(photo=photo.sha256, face=index, inversion=inversion.settings)))
    if cache is not None:
        keys.add(key)
        if cached is None:
            cache.put(key, inversion)
    if visitor.cache_keys is not keys:  # All was forgotten just now.
        visitor.subject = None
        if cache is not None:
            cache.remove(key)


def _in_turn(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, stop: threading.Event,
             inversions: InversionQueue, seconds: float) -> Generator[Waiting | Progress, None, Inversion | None]:
    """Make an inversion when its turn comes, and return it; None: it was ended while it waited."""
    reports: queue.SimpleQueue[Progress] = queue.SimpleQueue()
    left = threading.Event()

    def should_stop() -> bool:
        return stop.is_set() or left.is_set() or inversions.closing.is_set()

    job = inversions.submit(lambda: make(projector, crop, settings, should_stop, reports.put), seconds)
    try:
        for progress in reported(job, reports, LOOK):
            ahead, seconds_ahead = inversions.ahead(job)
            if progress is not None:
                yield progress
            elif stop.is_set() and job.cancel():
                return None
            elif ahead:
                yield Waiting(ahead, seconds_ahead)
        return None if job.cancelled() else job.result()
    finally:
        left.set()  # Whoever waited may be gone.
        job.cancel()


def make(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, should_stop: Callable[[], bool],
         on_step: Callable[[Progress], None]) -> Inversion:
    """Make an inversion here, or on a GPU that ZeroGPU lends. Here edits go first between two of its steps."""
    if zero_gpu():
        return invert_on_lent_gpu(projector, crop, settings, should_stop=should_stop, on_step=on_step)
    return projector.invert(crop, settings=settings, every=PREVIEW_STEPS, on_step=on_step,
                            should_stop=giving_way(should_stop))


def giving_way(should_stop: Callable[[], bool]) -> Callable[[], bool]:
    """As given, but it lets edits go first, never for so long that an inversion could not go on."""
    last = time.monotonic()

    def asked() -> bool:
        nonlocal last
        if not should_stop():
            edits().give_way(WAY * (time.monotonic() - last))
            last = time.monotonic()
        return should_stop()

    return asked
