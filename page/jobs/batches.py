"""A visitor's batch while it runs: beside the page, and in turn with the inversions of others."""

from __future__ import annotations

import secrets
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from batch import BatchJob, Models, Row, Serial
from batch.driver import run_to_zip
from batch.models import check_models
from batch.photo_work import Hooks
from editing import Editor, Inverter
from inversion import InversionCache, save_picture
from page.jobs.executors import InversionQueue, background
from page.jobs.inverting import VisitorsCache
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from weights.errors import InputError

LOOK = 0.4          # Seconds between two reports to the page.
RETRY = 1.0         # Seconds until a full queue is asked again.
ZIP_NAME = "edited-faces.zip"
FAULT = "the batch was ended by a fault of the program; its log says more. What was done is lost: begin again"


class VisitorBatch:
    """A batch that runs.

    Args:
        visitor: Whose it is.
        models: The generator and the controls.
        job: What is done to each photo.
        paths: Of the visitor's photos and ZIPs; they are removed when they were read.
        stop: Ends it after the step that is running.
        inversions: Where each of its inversions waits for its turn.
        cache: Keeps inversions.
    Attributes:
        rows: As they are now, in order.
        pictures: Thumbnails before and after, by file and face.
        ahead: Inversions of others that come first.
        error: Why there is no result at all.
        zip: The results, once all has ended.
    Raises:
        InputError: the edit cannot be made with the visitor's controls, or the photos are gone.
    """

    def __init__(self, visitor: Visitor, models: EditingModels, job: BatchJob, paths: Sequence[str],
                 stop: threading.Event, inversions: InversionQueue, cache: InversionCache | None = None) -> None:
        self.visitor, self.stop, self.inversions = visitor, stop, inversions
        self.pictures: dict[tuple[int, int], tuple[Path, Path]] = {}
        self.ahead = 0
        self.error = ""
        self.zip: Path | None = None
        self._rows: dict[tuple[int, int], Row] = {}
        self._cache_keys = visitor.cache_keys
        self._owner = visitor.folder
        self._pace = 0.0      # Seconds of the last inversion.
        self._begun = time.monotonic()
        self._changed = threading.Event()
        self._job = job
        loaded = Models(Inverter(models.projector, VisitorsCache(cache, visitor) if cache is not None else None),
                        Editor(models.generator, models.controls_of(job.edit.method)))
        check_models(job, loaded)
        self._executor = Serial(loaded, Hooks(should_stop=self._should_stop, turn=self._turn))
        self._folder = files.private_dir() / self._owner / f"{files.BATCH}{secrets.token_hex(8)}"
        self._paths = files.moved(paths, self._folder / "chosen")

    @property
    def rows(self) -> list[Row]:
        rows = dict(self._rows)
        return [rows[key] for key in sorted(rows)]

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begun

    @property
    def forgotten(self) -> bool:
        """Whether the visitor has had all deleted meanwhile."""
        return self.visitor.cache_keys is not self._cache_keys

    def run(self) -> Iterator[bool]:
        """Run it, and yield again and again whether a row has changed since, until it has ended.

        Closing the iterator ends the batch after the step that is running.
        """
        job = background().submit(self._work)
        try:
            while not job.done():
                wait([job], LOOK)
                changed = self._changed.is_set()
                self._changed.clear()
                yield changed
        finally:
            self.stop.set()  # Whoever waited may be gone.

    def _should_stop(self) -> bool:
        return self.stop.is_set() or self.inversions.closing.is_set()

    def _work(self) -> None:
        try:
            zip_path = self._folder / ZIP_NAME
            run_to_zip(self._job, self._paths, self._folder / "work", zip_path, executor=self._executor,
                       on_row=self._on_row, should_stop=self._should_stop, own=True)
            self.zip = zip_path
        except InputError as error:
            self.error = str(self._as_told(error))
        except Exception:  # noqa: BLE001 (told to the visitor, and in the log)
            traceback.print_exc(file=sys.stderr)
            self.error = FAULT
        finally:
            shutil.rmtree(self._folder / "chosen", ignore_errors=True)
            if self.forgotten:
                files.forget(self._owner)

    def _as_told(self, error: InputError) -> InputError:
        """An error about a file of the batch's own folder, which means nothing to its visitor, by the file's name."""
        path = Path(error.subject)
        return error.about(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else error

    def _on_row(self, row: Row) -> None:
        key = (row.index, row.face)
        before = self._rows.get(key)
        if row.state == "done" and row.thumbnails is not None:
            self._keep_thumbnails(key, *row.thumbnails)
            self._pace = row.seconds or self._pace
        self._rows[key] = replace(row, thumbnails=None)
        if before is None or before.state != row.state or before.faces != row.faces:
            self._changed.set()

    def _keep_thumbnails(self, key: tuple[int, int], *pictures: object) -> None:
        paths = tuple(self._folder / f"{key[0]}-{key[1]}-{name}.jpg" for name in ("before", "after"))
        try:
            for path, picture in zip(paths, pictures, strict=True):
                save_picture(path, picture, quality=88)  # type: ignore[arg-type]
        except InputError:  # Forgotten just now, or there is no room: then the table goes without.
            return
        self.pictures[key] = (paths[0], paths[1])

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this batch's turn, or until it is to end; a full queue is asked again and again."""
        with ExitStack() as turn:
            while not self._should_stop():
                try:
                    turn.enter_context(self.inversions.turn(self._pace, should_stop=self._should_stop,
                                                            on_wait=self._on_wait))
                    break
                except InputError:
                    self._on_wait(self.inversions.most_waiting)
                    self.stop.wait(RETRY)
            yield

    def _on_wait(self, ahead: int) -> None:
        self.ahead = ahead
