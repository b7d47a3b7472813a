"""The journal of a batch: what was begun and what has ended, on the disk before the work goes on."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from batch.job import JOURNAL, BatchJob, BatchPhoto, BatchTask, Outcome, Row
from weights.errors import InputError
from weights.hashing import sha256_of

FORMAT = "gradctrl-batch-1"
_HEAD = f'{{"format":"{FORMAT}"'.encode()  # How it begins.


@dataclass(frozen=True, eq=False)
class Ended:
    """A photo that has ended."""

    stem: str
    size: int          # Of its file, in bytes; with the time, what tells that it is still the same.
    mtime_ns: int
    sha256: str
    rows: tuple[Row, ...]

    @property
    def failed(self) -> bool:
        return all(row.state == "failed" for row in self.rows)

    @property
    def results(self) -> list[str]:
        """Its files, relative to the batch's folder."""
        return [path for row in self.rows for path in (row.picture, row.latent) if path]

    def is_of(self, photo: BatchPhoto) -> bool:
        """Whether it is this photo's: by size and time, or where only the time is another, by the file's bytes."""
        try:
            assert photo.file is not None
            about = photo.file.stat()
            if about.st_size != self.size:
                return False
            return about.st_mtime_ns == self.mtime_ns or (bool(self.sha256) and sha256_of(photo.file) == self.sha256)
        except OSError:
            return False


class Journal:
    """The file `journal.jsonl` of a batch's folder: a line about the job, then one for what is begun or has ended.

    A line is on the disk when its method returns. A run that was killed leaves at most a torn last line, which the next
    one removes. While one is open, no other run can open it: the operating system's lock ends with the process.

    Args:
        folder: Of the batch; it is made if it is not there.
        job: What is done to the photos.
    Attributes:
        begun: Stems by the names of photos that were handed to a worker, now or in earlier runs.
        ended: What has ended, by the photos' names.
    Raises:
        InputError: the folder holds something else, or the results of other settings, or another run works in it, or it
            cannot be written.
    """

    def __init__(self, folder: Path, job: BatchJob) -> None:
        self.path = folder / JOURNAL
        self.begun: dict[str, str] = {}
        self.ended: dict[str, Ended] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and any(folder.iterdir()):
                raise InputError(folder, "is not empty and no batch's, and a batch never writes over anything",
                                 "choose a new folder")
            self._file = open(self.path, "a+b")  # noqa: SIM115 (as long as the run)
        except OSError as error:
            raise InputError(folder, f"cannot write here ({error.strerror or error})",
                             "choose another folder") from error
        try:
            self._lock()
            if not self._read(job):
                self._write({"format": FORMAT, "settings": job.hash, "job": job.to_json()})
        except BaseException:
            self._file.close()
            raise

    @property
    def is_new(self) -> bool:
        """Whether nothing was begun yet."""
        return not self.begun

    def begin(self, tasks: Sequence[BatchTask]) -> None:
        """Photos are handed to a worker: results of their stems are theirs from now on."""
        self.begun |= {task.photo.name: task.stem for task in tasks}
        self._write({"begun": {task.photo.name: task.stem for task in tasks}})

    def end(self, outcome: Outcome) -> None:
        """A photo has ended; its results are on the disk."""
        photo = outcome.task.photo
        size = mtime_ns = 0
        with suppress(OSError):
            assert photo.file is not None
            about = photo.file.stat()
            size, mtime_ns = about.st_size, about.st_mtime_ns
        ended = Ended(outcome.task.stem, size, mtime_ns, outcome.sha256, outcome.rows)
        self.ended[photo.name] = ended
        self._write({"ended": photo.name, "stem": ended.stem, "size": size, "mtime_ns": mtime_ns,
                     "sha256": ended.sha256, "rows": [row.to_json() for row in ended.rows]})

    def discard(self) -> None:
        """The job could not be done: leave the folder for another one, if nothing has ended in it."""
        if not self.ended:
            with suppress(OSError):  # Other files may have been put there.
                self.path.unlink()
                self.path.parent.rmdir()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise InputError(self.path, f"could not be written ({error.strerror or error})",
                             "free some space; the same command goes on") from error

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows.
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise InputError(self.path.parent, "another run works in this folder",
                                 "wait for its end, or choose another folder") from error

    def _read(self, job: BatchJob) -> bool:
        """Read what earlier runs have written, and cut off a torn last line; whether there was anything."""
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
        try:
            if not lines and not _HEAD.startswith(data[:len(_HEAD)]):  # What is not ours must not be cut off.
                raise ValueError("no journal")
            entries = [json.loads(line) for line in lines]
            if entries and entries[0]["format"] != FORMAT:
                raise ValueError(f"format {entries[0]['format']!r}")
            if entries and entries[0]["settings"] != job.hash:
                raise InputError(self.path.parent, f"holds results of other settings ({_differing(entries[0], job)})",
                                 "choose another folder, or let them go beside it (--beside)")
            for entry in entries[1:]:
                self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(self.path, f"damaged, or of another version of this program ({error})",
                             "choose another folder") from error
        self._file.truncate(whole)
        return bool(entries)

    def _take(self, entry: dict[str, Any]) -> None:
        if "begun" in entry:
            self.begun |= entry["begun"]
            return
        rows = tuple(Row.from_json(row, 0) for row in entry["rows"])
        self.ended[entry["ended"]] = Ended(entry["stem"], entry["size"], entry["mtime_ns"], entry["sha256"], rows)


def settings_in(folder: Path) -> str | None:
    """The hash of the job whose results a folder holds; None: of none that can be told."""
    try:
        with open(folder / JOURNAL, "rb") as file:
            return str(json.loads(file.readline())["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _differing(entry: dict[str, Any], job: BatchJob) -> str:
    """In which fields a former job differs from this one."""
    former, mine = entry.get("job", {}), json.loads(json.dumps(job.to_json()))
    return ", ".join(name for name in {**mine, **former} if former.get(name) != mine.get(name)) or "of another version"
