"""A visitor's batch while it runs: in a thread of its own, in turn with the inversions of others."""

from __future__ import annotations

import atexit
import functools
import secrets
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batch.batch import Batch, BatchOptions, Row, run_to_zip

from editing import Edit
from generators import Generator
from inversion import Inversion, InversionCache, ProjectorSettings, save_picture
from page import KEPT_SECONDS, SWEEP_SECONDS
from page.jobs.executors import Ticket
from page.jobs.gpu import PATIENCE
from page.state import files as showing
from page.state.models import Bench, Models
from page.state.visitor import Visitor
from weights.errors import InputError

LOOK = 0.4          # Seconds between two reports to the page.
RETRY = 1.0         # Seconds until a full lane is asked again.
ZIP_NAME = "edited-faces.zip"
FAULT = "the batch was ended by a fault of the program; its log says more. What was done is lost: begin again"


class Inbox:
    """A visitor's chosen files, moved out of Gradio's reach into the visitor's part of the private directory."""

    @staticmethod
    def take(visitor: Visitor, paths: Sequence[str]) -> list[str]:
        """Move uploads, each into a folder of its own, since two may have one name; they are kept for an hour.

        Raises:
            InputError: none arrived, or one of them is gone.
        """
        folder = showing.private_dir() / visitor.folder / f"chosen-{secrets.token_hex(8)}"
        taken = _moved(list(dict.fromkeys(paths)), folder)
        remove_later(folder)
        return taken

    @staticmethod
    def drop(paths: Sequence[str]) -> None:
        """Remove them."""
        for path in paths:
            shutil.rmtree(Path(path).parent, ignore_errors=True)


class VisitorsCache:
    """The page's cache of inversions, which remembers whose they are, so that "forget" finds them."""

    def __init__(self, cache: InversionCache, visitor: Visitor) -> None:
        self.cache, self.visitor, self.keys = cache, visitor, visitor.keys

    def get(self, key: str, generator: Generator) -> Inversion | None:
        found = self.cache.get(key, generator)
        if found is not None:
            self.keys.add(key)
        return found

    def put(self, key: str, inversion: Inversion) -> None:
        self.keys.add(key)
        self.cache.put(key, inversion)
        if self.visitor.keys is not self.keys:  # All was forgotten just now.
            self.cache.remove(key)


class Running:
    """A batch that runs.

    Args:
        models: All that visitors share.
        visitor: Whose it is.
        bench: The generator and the controls.
        edit, settings, options: As for `Batch`.
        paths: Of the visitor's photos and ZIPs; they are removed when they were read.
        stop: Ends it after the step that is running.
    Attributes:
        rows: As they are now, in order.
        pictures: Thumbnails before and after, by file and face.
        ahead: Inversions of others that come first.
        error: Why there is no result at all.
        zip: The results, once all has ended.
    Raises:
        InputError: as for `Batch`.
    """

    def __init__(self, models: Models, visitor: Visitor, bench: Bench, edit: Edit, settings: ProjectorSettings,
                 options: BatchOptions, paths: Sequence[str], stop: threading.Event) -> None:
        self.models, self.visitor, self.stop = models, visitor, stop
        self.pictures: dict[tuple[int, int], tuple[Path, Path]] = {}
        self.ahead = 0
        self.error = ""
        self.zip: Path | None = None
        self._rows: dict[tuple[int, int], Row] = {}
        self._keys = visitor.keys
        self._owner = visitor.folder
        self._pace = 0.0      # Seconds of the last inversion.
        self._begun = time.monotonic()
        self._changed = threading.Event()
        self._batch = Batch(bench.projector, bench.controls_of(edit.method), edit, settings, options=options,
                            cache=VisitorsCache(models.cache, visitor) if models.cache is not None else None,
                            turn=self._turn, on_row=self._on_row, should_stop=stop.is_set)
        self._folder = showing.private_dir() / self._owner / f"{showing.BATCH}{secrets.token_hex(8)}"
        self._paths = _moved(paths, self._folder / "chosen")
        self._thread = threading.Thread(target=self._work, name="batch", daemon=True)

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
        return self.visitor.keys is not self._keys

    def watch(self) -> Iterator[bool]:
        """Run it, and yield again and again whether a row has changed since, until it has ended.

        Closing the iterator ends the batch after the step that is running.
        """
        atexit.register(self._end)
        self._thread.start()
        try:
            while self._thread.is_alive():
                self._thread.join(LOOK)
                changed = self._changed.is_set()
                self._changed.clear()
                yield changed
        finally:
            self.stop.set()  # Whoever waited may be gone.
            atexit.unregister(self._end)

    def _end(self) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)  # A thread that is cut off within torch would abort the program.

    def _work(self) -> None:
        try:
            run_to_zip(self._batch, self._paths, self._folder / "work", self._folder / ZIP_NAME, own=True)
            self.zip = self._folder / ZIP_NAME
        except InputError as error:
            self.error = str(error).replace(f"{self._folder}/", "")
        except Exception:  # noqa: BLE001 (told to the visitor, and in the log)
            traceback.print_exc(file=sys.stderr)
            self.error = FAULT
        finally:
            shutil.rmtree(self._folder / "chosen", ignore_errors=True)
            if self.forgotten:
                showing.forget(self._owner)
            else:
                remove_later(self._folder)

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
        """Wait for the lane, a little at a time, until it is this batch's turn or it is to end."""
        ticket = self._place()
        while ticket is None and not self.stop.wait(RETRY):
            ticket = self._place()
        if ticket is None:
            yield
            return
        with ticket:
            while not self.stop.is_set() and not ticket.wait(LOOK / 2):
                self.ahead = max(ticket.place, 0)
            self.ahead = 0
            yield

    def _place(self) -> Ticket | None:
        """A place in the lane; None: too many wait, and a batch has the time to ask again."""
        try:
            return self.models.lane.join(self._pace)
        except InputError:
            self.ahead = self.models.lane.most
            return None


def _moved(paths: Sequence[str], folder: Path) -> list[str]:
    """Files moved below a folder, each into one of its own.

    Raises:
        InputError: there are none, or one is gone.
    """
    moved = []
    try:
        for number, path in enumerate(paths):
            target = folder / str(number) / Path(path).name
            target.parent.mkdir(parents=True)
            shutil.move(path, target)
            moved.append(str(target))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(None, "the photos are gone (they are deleted after an hour)", "choose them again") from error
    if not moved:
        raise InputError(None, "no photos arrived", "choose them again")
    return moved


_due: dict[Path, float] = {}  # When folders are to be removed.


def remove_later(folder: Path) -> None:
    """Remove a folder after the time for which the page keeps things."""
    _due[folder] = time.monotonic() + KEPT_SECONDS
    _sweeper()


def sweep(now: float) -> None:
    """Remove the folders whose time has come."""
    for folder, due in list(_due.items()):
        if due <= now:
            shutil.rmtree(folder, ignore_errors=True)
            _due.pop(folder, None)


@functools.cache
def _sweeper() -> threading.Thread:
    thread = threading.Thread(target=_sweep_for_ever, name="sweep batches", daemon=True)
    thread.start()
    return thread


def _sweep_for_ever() -> None:
    while True:
        time.sleep(SWEEP_SECONDS)
        sweep(time.monotonic())
