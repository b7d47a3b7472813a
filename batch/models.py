"""The models of a batch: named by the hashes of their files, loaded once a process, their weights shared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from batch.job import BatchJob, JobError
from directions.methods import METHODS
from editing.editor import Editor
from editing.pipeline import Inverter
from weights.errors import InputError
from weights.hashing import sha256_of
from weights.store import is_known, path_of


@dataclass(frozen=True, eq=False)
class Models:
    """What a worker works with."""

    inverter: Inverter
    editor: Editor | None  # None: nothing is edited.


def hash_of(source: str, kind: str = "generator") -> str:
    """SHA-256 over the files that a generator or controls are read from; nothing is loaded.

    Args:
        source: As for `generators.load` or `directions.load`.
        kind: "generator" or "controls".
    Raises:
        InputError: there is no such file.
    """
    digest = hashlib.sha256()
    parts = source.split("+") if kind == "controls" and not Path(source).exists() else [source]
    for part in parts:
        name = "bundled-generator" if part == "bundled" else part
        if kind == "controls":
            name = METHODS["gradctrl"].file if part == "bundled" else METHODS[part].file if part in METHODS else part
        path = path_of(name) if is_known(name) else Path(name)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        try:
            digest.update("".join(sha256_of(file) for file in files).encode())
        except OSError as error:
            raise InputError(part, f"cannot be read ({error.strerror or error})", "check the path") from error
    return digest.hexdigest()


def check_models(job: BatchJob, models: Models) -> None:
    """Refuse an edit before the long work.

    Raises:
        JobError: the edit is out of all measure, or the controls have no such attribute, class, layer range or method;
            or the settings ask for an encoder that is not there.
    """
    try:
        models.inverter.projector.resolve(job.settings)
        if models.editor is not None and job.only != "invert":
            models.editor.check(job.edit)
    except InputError as error:
        raise JobError(error.subject, error.problem, error.remedy) from error


def check_files(job: BatchJob) -> None:
    """Refuse files that are others than the job names.

    Raises:
        InputError: naming the file.
    """
    for kind, source, wanted in (("generator", job.generator, job.generator_hash),
                                 ("controls", job.controls, job.controls_hash)):
        if wanted and hash_of(source, kind) != wanted:
            raise InputError(source, f"is another {kind} here than the batch was begun with",
                             "give every machine the same files")


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
    import generators
    from inversion import Projector

    try:
        if not mapped:
            check_files(job)
        generator = generators.load_mapped(mapped) if mapped else generators.load(job.generator, device=job.device)
        editor = None if job.only == "invert" else Editor(generator, directions.load(job.controls))
    except InputError as error:
        raise JobError(error.subject, error.problem, error.remedy) from error
    models = Models(Inverter(Projector(generator)), editor)
    check_models(job, models)
    return models

