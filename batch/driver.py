"""The driver of a batch: who is called what, what is done already, who works, and the tables that tell of it."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from batch.inputs import gather, with_own_names
from batch.job import (
    ENDED,
    LATENTS,
    PICTURES,
    SHEETS,
    BatchJob,
    BatchPhoto,
    BatchTask,
    JobError,
    Outcome,
    Row,
)
from batch.journal import Ended, Journal, settings_in
from batch.names import Names
from batch.pool import Executor
from batch.tables import write_sheets, write_tables
from batch.zips import pack
from weights.errors import InputError, is_no_room

NOT_BEGUN = "not begun, as nothing more can be written; free some space and begin again"
CANCELLED = "cancelled before it was begun"
TABLE_SHARE = 0.02  # Of the time, that writing the table again and again may take.


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchResult:
    """What a run came to."""

    folder: Path
    rows: list[Row]       # Of all photos, each done, failed or cancelled; in the order of the photos and their faces.
    skipped: int          # Photos that an earlier run has done.
    seconds: float

    def count(self, state: str) -> int:
        """How many photos ended so: "done" where one face is, else "failed" or "cancelled"."""
        states = (self._state(rows) for _, rows in groupby(self.rows, lambda row: row.index))
        return sum(each == state for each in states)

    @staticmethod
    def _state(rows: Iterable[Row]) -> str:
        states = {row.state for row in rows}
        return next(state for state in ("done", "failed", "cancelled") if state in states)


def run(job: BatchJob, photos: Sequence[BatchPhoto | str | Path], folder: str | Path, *,
        executor: Executor | None = None, on_row: Callable[[Row], None] | None = None,
        should_stop: Callable[[], bool] | None = None, retry_failed: bool = False) -> BatchResult:
    """Do a job for all photos; what an earlier run into the same folder has done is not done again.

    Into the folder go `pictures/` and `latents/` with the photos' sub-folders, `batch.csv` and `batch.jsonl` with a row
    for each face, `edit.json`, contact sheets, and the journal. Each picture's metadata holds the recipe; of a photo
    with several edited faces, that of each further face under "gradctrl-face2" and so on. A run that is killed loses
    the photos in hand at most, which the next one begins again.

    Args:
        job: What is done.
        photos: Files, or what `find_photos`, `find_inverted` and `gather` give.
        folder: Where the results go: a new or empty one, or one of an earlier run of the same job.
        executor: Where photos are worked on; None: `Serial()`.
        on_row: Called with each row whenever it changes, as far as the executor tells.
        should_stop: Asked before each group of photos; True ends the run once what is in hand is finished.
        retry_failed: Try again what has failed in an earlier run.
    Raises:
        InputError: there are no photos; the folder holds something else or results of other settings, another run works
            in it or it cannot be written; or the job cannot be done (`JobError`).
    """
    files = [photo if isinstance(photo, BatchPhoto) else BatchPhoto(name=Path(photo).name, path=Path(photo))
             for photo in photos]
    if not files:
        raise InputError(None, "there are no photos to edit", "choose some first")
    if executor is None:
        from batch.worker import Serial

        executor = Serial()
    with Journal(Path(folder), job) as journal:
        try:
            return _Run(job, list(with_own_names(files)), Path(folder), journal, executor, on_row,
                        should_stop or (lambda: False)).run(retry_failed)
        except JobError:
            journal.discard()
            raise


def run_to_zip(job: BatchJob, paths: Sequence[str | Path], work: Path, path: Path, *, executor: Executor,
               on_row: Callable[[Row], None] | None = None, should_stop: Callable[[], bool] | None = None,
               own: bool = False) -> BatchResult:
    """Do a job for photos, stored latents and those in ZIPs, and put all results into one ZIP.

    Args:
        job, executor, on_row, should_stop: As for `run`.
        paths: As for `gather`.
        work: A folder for what is made on the way; it is made, and removed in the end.
        path: Of the ZIP of the results.
        own: Whether the files are copies, which may be removed once they were read.
    Raises:
        InputError: as `gather` and `run`; or the folder is there already, or the ZIP cannot be written.
    """
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(work, f"cannot be made ({error.strerror or error})", "choose another folder") from error
    try:
        result = run(job, gather(paths, work / "photos", own=own), work / "results", executor=executor,
                     on_row=on_row, should_stop=should_stop)
        pack(work / "results", path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def folder_beside(folder: Path, job: BatchJob) -> Path:
    """The folder itself, or the first of FOLDER-2, FOLDER-3 and so on that is free or holds this job's results."""
    number, chosen = 1, folder
    while chosen.exists() and settings_in(chosen) != job.hash and any(chosen.iterdir()):
        number += 1
        chosen = folder.with_name(f"{folder.name}-{number}")
    return chosen


class _Run:
    """One call of `run`."""

    def __init__(self, job: BatchJob, photos: list[BatchPhoto], folder: Path, journal: Journal, executor: Executor,
                 on_row: Callable[[Row], None] | None, should_stop: Callable[[], bool]) -> None:
        self.job, self.photos, self.folder, self.journal, self.executor = job, photos, folder, journal, executor
        self.on_row, self.should_stop = on_row, should_stop
        self.rows: dict[int, dict[int, Row]] = {}  # By index and face.
        self.stems: dict[int, str] = {}
        self.over: set[int] = set()  # Tasks that came back, ended or not.
        self.skipped = 0
        self.no_room = self.stopped = False
        self._start = time.monotonic()
        self._table_due = 0.0

    def run(self, retry_failed: bool) -> BatchResult:
        tasks = self._tasks(retry_failed)
        pivots = self._share_pivots(tasks) if self.job.share_pivot else {}
        self._work([replace(task, pivot=pivots.get(_folder_of(task.stem), "")) for task in tasks
                    if task.index not in self.over])
        for task in tasks:
            self._not_begun(task)
        error: InputError | None = None
        try:
            self._write_tables()
            if self.job.thumbnails:
                write_sheets(self.folder, self.folder / SHEETS, ((row, self.stems[row.index]) for row in self.all_rows))
        except InputError as failed:
            error = failed
        if error is not None and not self.no_room:
            raise error
        return BatchResult(folder=self.folder, rows=self.all_rows, skipped=self.skipped,
                           seconds=time.monotonic() - self._start)

    @property
    def all_rows(self) -> list[Row]:
        """In the order of the photos and their faces."""
        return [self.rows[index][face] for index in sorted(self.rows) for face in sorted(self.rows[index])]

    # ---- who is called what, and what is done

    def _tasks(self, retry_failed: bool) -> list[BatchTask]:
        """What is to be done; the others have their rows already."""
        names = Names()
        for stem in [*self.journal.begun.values(), *(ended.stem for ended in self.journal.ended.values())]:
            names.take(stem)
        tasks = []
        for index, photo in enumerate(self.photos):
            ended = self._ended(photo, retry_failed)
            if ended is not None:
                self.stems[index] = ended.stem
                self.rows[index] = {row.face: replace(row, index=index) for row in ended.rows}
                self.skipped += 1
            elif photo.file is None:
                self.stems[index] = ""
                self.rows[index] = {0: Row(index=index, name=photo.name, state="failed", reason=photo.reason)}
            else:
                self.stems[index] = self._stem(photo, names)
                self.rows[index] = {0: Row(index=index, name=photo.name)}
                tasks.append(BatchTask(index=index, photo=photo, stem=self.stems[index]))
            for row in [*self.rows[index].values()]:
                self._told(row)
        return tasks

    def _ended(self, photo: BatchPhoto, retry_failed: bool) -> Ended | None:
        """What an earlier run has done for a photo, if it is still the same and its results are there."""
        ended = self.journal.ended.get(photo.name)
        if ended is None or (retry_failed and ended.failed) or not ended.is_of(photo):
            return None
        elsewhere = any(row.node for row in ended.rows)  # On a machine of a cluster, perhaps in a folder of its own.
        return ended if elsewhere or all((self.folder / path).exists() for path in ended.results) else None

    def _stem(self, photo: BatchPhoto, names: Names) -> str:
        """What a photo's results are called: as when it was begun and not ended, else a name that nothing has."""
        name, ended = photo.name, self.journal.ended.get(photo.name)
        if name in self.journal.begun and (ended is None or ended.is_of(photo)):
            return self.journal.begun[name]
        while True:
            stem = names.claim(name)
            if self.journal.is_new or not any((self.folder / path).exists() for path in (
                    f"{PICTURES}/{stem}-edited.{self.job.ending}", f"{LATENTS}/{stem}.latent.safetensors")):
                return stem

    # ---- the work

    def _share_pivots(self, tasks: Sequence[BatchTask]) -> dict[str, str]:
        """Invert the first photo of each folder in which there is a face; the latents that are shared, by folder."""
        pivots = {_folder_of(ended.stem): row.pivot for ended in self.journal.ended.values() for row in ended.rows
                  if row.pivot}
        waiting: dict[str, deque[BatchTask]] = {}
        for task in tasks:
            if _folder_of(task.stem) not in pivots:
                waiting.setdefault(_folder_of(task.stem), deque()).append(task)
        while waiting and not (self.stopped or self.no_room):
            firsts = {folder: queue.popleft() for folder, queue in waiting.items()}
            self._work(list(firsts.values()))
            for folder, task in firsts.items():
                for row in self.rows[task.index].values():
                    if row.pivot:
                        pivots[folder] = row.pivot
                if folder in pivots or not waiting[folder]:
                    del waiting[folder]
        return pivots

    def _work(self, tasks: Sequence[BatchTask]) -> None:
        for outcome in self.executor.run(self.job, self.folder, self._groups(tasks), self._told):
            self._take(outcome)

    def _groups(self, tasks: Sequence[BatchTask]) -> Iterator[Sequence[BatchTask]]:
        """Groups of tasks, each noted as begun when it is taken, until there is reason to end."""
        for start in range(0, len(tasks), self.job.at_once):
            self.stopped = self.stopped or self.should_stop()
            if self.stopped or self.no_room:
                return
            group = tasks[start:start + self.job.at_once]
            try:
                self.journal.begin(group)
            except InputError as error:
                if not is_no_room(error):
                    raise
                self.no_room = True
                return
            yield group

    def _take(self, outcome: Outcome) -> None:
        """A photo has ended, or is to be done another time."""
        task = outcome.task
        if outcome.unfinished == "no room":
            self.no_room = True
        elif outcome.unfinished:
            self.stopped = True
        else:
            try:
                self.journal.end(outcome)
            except InputError as error:  # The photo is begun again then; its results are there, and are replaced.
                if not is_no_room(error):
                    raise
                self.no_room = True
        before = self.rows[task.index]
        self.rows[task.index] = {row.face: row for row in outcome.rows}
        for row in outcome.rows:
            if row.face not in before or before[row.face].state != row.state:
                self._told(row)
        self.over.add(task.index)
        if task.photo.own and not outcome.unfinished:
            for path in (task.photo.path, *task.photo.latents):
                if path is not None:
                    path.unlink(missing_ok=True)
        self._write_tables_now_and_then()

    def _not_begun(self, task: BatchTask) -> None:
        for row in [*self.rows[task.index].values()]:
            if row.state not in ENDED:
                self._told(replace(row, state="failed" if self.no_room else "cancelled",
                                   reason=NOT_BEGUN if self.no_room else CANCELLED))

    def _told(self, row: Row) -> None:
        rows = self.rows[row.index]
        if row.face and 0 in rows and not rows[0].faces:  # Now it is known which faces there are.
            del rows[0]
        rows[row.face] = replace(row, thumbnails=None)
        if self.on_row is not None:
            self.on_row(row)

    # ---- the tables

    def _write_tables_now_and_then(self) -> None:
        """As it goes, but the less often the longer they are."""
        begun = time.monotonic()
        if begun >= self._table_due:
            with suppress(InputError):  # They are written again in the end.
                self._write_tables()
            now = time.monotonic()
            self._table_due = now + (now - begun) / TABLE_SHARE

    def _write_tables(self) -> None:
        ours = {photo.name for photo in self.photos}
        others = [row for name, ended in self.journal.ended.items() if name not in ours for row in ended.rows]
        write_tables(self.folder, self.job, [*others, *self.all_rows])


def _folder_of(stem: str) -> str:
    return PurePosixPath(stem).parent.as_posix()
