"""A worker's part of a batch: photos inverted a few at a time, edited and written, by models loaded once a process."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from batch.edits import save_edit
from batch.job import EDIT, BatchJob, BatchTask, Outcome, Row
from batch.models import Models, check_models, check_photos, load_models
from batch.photo_work import Hooks, PhotoWork
from inversion import Progress
from weights.errors import InputError, is_out_of_memory
from weights.files import write_new

EVERY = 5  # Steps of an inversion between two reports.
PRECISION = ".precision"
NO_HOOKS = Hooks()


class Serial:
    """Works through a batch in this process.

    Args:
        models: Loaded ones; None: those that the job names, when the first photo comes.
        hooks: Asked while it works.
    """

    def __init__(self, models: Models | None = None, hooks: Hooks = NO_HOOKS) -> None:
        self.models, self.hooks = models, hooks

    def run(self, job: BatchJob, folder: Path, groups: Iterable[Sequence[BatchTask]],
            tell: Callable[[Row], None]) -> Iterator[Outcome]:
        """Work through groups of tasks; see `batch.pool.Executor`."""
        hooks = replace(self.hooks, tell=tell)
        models = self.models
        if models is not None:
            check_models(job, models)
        for group in groups:
            models = models or load_models(job)
            yield from work(job, group, folder, models, hooks)


def work(job: BatchJob, tasks: Sequence[BatchTask], folder: str | os.PathLike[str], models: Models | None = None,
         hooks: Hooks = NO_HOOKS) -> Iterator[Outcome]:
    """Work through some photos of a batch; `job.at_once` of their faces are inverted together.

    As many photos as tasks are in memory. Results are on the disk before an outcome is given.

    Args:
        job: What is done to them.
        tasks: The photos.
        folder: Of the batch.
        models: None: those that the job names; loaded once a process.
        hooks: Told and asked while it works.
    Raises:
        JobError: the job cannot be done by these models.
    """
    models = models or load_models(job)
    if not all(task.photo.latents for task in tasks):
        check_photos(models)
    folder = Path(folder)
    job = _settled(job, folder, models)
    if job.only != "invert" and models.editor is not None and not (folder / EDIT).exists():
        with suppress(InputError):  # A full disk ends the batch with the first picture, too.
            save_edit(folder / EDIT, job.edit, models.inverter.projector.resolve(job.settings),
                      generator=models.editor.generator, controls=models.editor.controls)
    photos = [PhotoWork(job, task, folder, models, hooks) for task in tasks]
    for photo in photos:
        with photo.attempt():
            photo.open()
    waiting = [(photo, number) for photo in photos for number in photo.to_invert()]
    for start in range(0, len(waiting), job.at_once):
        _invert(waiting[start:start + job.at_once], hooks)
    while photos:
        photo = photos.pop(0)
        with photo.attempt():
            photo.finish()
        yield photo.outcome()


def _settled(job: BatchJob, folder: Path, models: Models) -> BatchJob:
    """The job with the precision that the folder's first worker has found to pay: all of its photos have the same."""
    if job.settings.precision != "auto":
        return job
    path = folder / PRECISION
    if not path.exists():
        found = models.inverter.projector.resolve(job.settings).precision
        with suppress(InputError):  # Another worker may be there first, and a full disk ends the batch anyway.
            written = write_new(path, lambda temporary: temporary.write_text(found))
            if written != path:
                written.unlink()
    try:
        precision = path.read_text()
    except OSError:
        return job
    return replace(job, settings=replace(job.settings, precision=precision))  # type: ignore[arg-type]


def _invert(faces: Sequence[tuple[PhotoWork, int]], hooks: Hooks) -> None:
    """Invert faces together; where memory does not suffice, half of them at a time."""
    faces = [(photo, number) for photo, number in faces if not photo.is_over]
    if not faces:
        return
    first = faces[0][0]

    def told(progress: Progress) -> None:
        for photo, number in faces:
            photo.tell(number, step=progress.step, steps=progress.steps, seconds_left=progress.seconds_left)

    too_many = False
    with first.attempt() if len(faces) == 1 else nullcontext(), hooks.turn():
        if hooks.should_stop():
            for photo, _ in faces:
                photo.cancel()
            return
        for photo, number in faces:
            photo.tell(number, state="inverting")
        try:
            inversions = first.inverter.invert([photo.chosen[number] for photo, number in faces], first.job.settings,
                                               every=EVERY, on_step=told, should_stop=hooks.should_stop)
        except Exception as error:
            if len(faces) == 1:
                raise
            too_many = True
            if not is_out_of_memory(error):
                traceback.print_exc(file=sys.stderr)  # Each is tried alone, and the one that it is of will say so.
        else:
            for (photo, number), inversion in zip(faces, inversions, strict=True):
                photo.take(number, inversion)
    if too_many:  # Behind the except: until it is left, the error keeps all that was computed.
        half = len(faces) // 2
        for part in (faces[:half], faces[half:]):
            _invert(part, hooks)
