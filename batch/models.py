"""The models of a batch: named by the hashes of their files, loaded once a process, their weights shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import generators
from batch.job import BatchJob, JobError, check_files
from editing.editor import Editor
from editing.pipeline import Inverter
from weights.errors import InputError


@dataclass(frozen=True, eq=False)
class Models:
    """What a worker works with."""

    inverter: Inverter
    editor: Editor | None  # None: nothing is edited.


@contextmanager
def _of_the_job() -> Iterator[None]:
    """What cannot be used within concerns the job, whichever the photo."""
    try:
        yield
    except InputError as error:
        raise JobError(error.subject, error.problem, error.remedy) from error


def check_models(job: BatchJob, models: Models) -> None:
    """Refuse an edit before the long work.

    Raises:
        JobError: the edit is out of all measure, or the controls have no such attribute, class, layer range or method;
            or the settings ask for an encoder that is not there.
    """
    with _of_the_job():
        models.inverter.projector.resolve(job.settings)
        if models.editor is not None and job.only != "invert":
            models.editor.check(job.edit)


def check_photos(models: Models) -> None:
    """Refuse a generator by which photos cannot be inverted, before each of them would fail.

    Raises:
        JobError: with the reason.
    """
    with _of_the_job():
        models.inverter.check()


def load_generator(job: BatchJob) -> generators.Generator:
    """The generator of a job, drawing the class that it names.

    Raises:
        InputError: the file cannot be used, or there is no such class.
    """
    generator = generators.load(job.generator, device=job.device)
    named = job.class_name
    return generator.of_class(generators.class_index(generator, named)) if named else generator


@lru_cache(maxsize=1)
def load_models(job: BatchJob, mapped: str = "") -> Models:
    """The models of a job; those of the last one are kept.

    Args:
        job: The job.
        mapped: A file of `generators.write_mapped` with its generator, whose weights processes share; the files were
            checked then. "": none.
    Raises:
        JobError: a file is another one than the job names, cannot be used, or does not go with the others.
    """
    import directions
    from inversion import Projector

    with _of_the_job():
        if not mapped:
            check_files(job)
        generator = generators.load_mapped(mapped) if mapped else load_generator(job)
        editor = None if job.only == "invert" else Editor(generator, directions.load(job.controls))
        models = Models(Inverter(Projector(generator)), editor)
    check_models(job, models)
    return models
