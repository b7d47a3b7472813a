"""Inversions kept on disk, so that the same face need not be inverted twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from weights.errors import InputError
from weights.store import cache_dir

if TYPE_CHECKING:
    import numpy as np

    from generators import Generator
    from inversion.record import Inversion
    from inversion.settings import ProjectorSettings

VERSION = 2        # Raise it when aligning or inverting comes to give other results for the same settings.
LIMIT = 10**9      # Bytes.
ABANDONED = 3600   # Seconds after which something unfinished is that of a process which was killed.
_KEY = re.compile(r"[0-9a-f]{64}")
_ENDING = ".safetensors"
_UNFINISHED = ".new-inversion-"
# What reading a file can raise that somebody has tampered with, beside the InputError of one that is damaged.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError, OSError)


class _CachedFile(NamedTuple):
    """One file of the cache. They sort by when they were last used."""

    used: int   # Nanoseconds since the epoch.
    path: Path
    size: int   # Bytes.


def default_folder() -> Path:
    """The folder of the command line's cache; it need not exist yet."""
    return cache_dir() / "inversions"


def complete(inversion: Inversion) -> bool:
    """Whether an inversion came to its end. One that was stopped is worth less than what its settings would give."""
    return not inversion.stopped


class InversionCache:
    """A folder of inversions, found again by photo, face, generator and settings; the oldest used ones go first.

    A file's name tells nothing of the photo, and its owner alone can read it. Several threads and processes may use one
    folder at once. Trouble with the folder is told and is no error: what cannot be kept is made again another time.

    Args:
        folder: Where they are; made when the first one is kept. None: `default_folder()`.
        limit: Bytes that all of them may take.
        max_age: Seconds after its last use in which one may be used again; None: for ever.
        on_note: Told of trouble in one line, each kind once.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, limit: int = LIMIT,
                 max_age: float | None = None, on_note: Callable[[str], None] | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self.limit = limit
        self.max_age = max_age
        self.on_note = on_note
        self._told: set[str] = set()
        self._lock = threading.Lock()

    @staticmethod
    def key(photo_hash: str, quad: np.ndarray | Sequence[Sequence[float]], generator: str,
            settings: ProjectorSettings) -> str:
        """What an inversion is found by: 64 hexadecimal digits, from which nothing can be learned of the photo.

        Args:
            photo_hash: SHA-256 of the photo's file.
            quad: The face's FFHQ quad [4, 2] in photo pixels, of which the hundredths count.
            generator: `Generator.identity`.
            settings: Of the inversion, as `Projector.resolve` gives them: they name the encoder.
        """
        corners = [[round(float(value), 2) + 0.0 for value in corner] for corner in quad]  # Never -0.0.
        parts = {"version": VERSION, "photo": photo_hash, "quad": corners, "generator": generator,
                 "settings": asdict(settings)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def get(self, key: str, generator: Generator) -> Inversion | None:
        """The inversion of a key, or None; from now on it is the newest used.

        One that is damaged, of another version or of another space or generator is told, removed and not used.
        """
        from inversion.record import load_inversion

        path = self._path(key)
        try:
            if self._expired(path.stat().st_mtime_ns):
                _remove(path)
                return None
            inversion = load_inversion(path, generator=generator)
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            if not (os.path.lexists(path) or isinstance(error, PermissionError)):  # Another process removed it.
                return None
            reason = error.problem if isinstance(error, InputError) else str(error)
            self._tell("unusable", f"{path}: this kept inversion cannot be used ({reason}); the face is inverted again")
            _remove(path)
            return None
        with suppress(OSError):  # The folder may be read-only.
            _touch(path)
        return inversion

    def put(self, key: str, inversion: Inversion) -> bool:
        """Keep an inversion, whole or not at all, and remove the oldest used ones that are beyond the limit.

        Returns:
            Whether it is kept: not if it was stopped, is larger than the limit, or cannot be written.
        """
        if not complete(inversion):
            return False
        try:
            size = self._write(self._path(key), inversion)
        except (InputError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, FileNotFoundError):  # Another process has cleared the folder just now.
                return False
            reason = getattr(cause, "strerror", None) or str(error)
            self._tell("unwritable", f"{self.folder}: inversions cannot be kept here ({reason}); free some space, make "
                                     "the folder writable or switch the cache off")
            return False
        if size > self.limit:
            self._tell("large", f"an inversion of {in_words(size)} is not kept, as the cache is limited to "
                                f"{in_words(self.limit)}; raise the limit or switch the cache off")
            return False
        self.tidy()
        return True

    def remove(self, key: str) -> None:
        """Remove the inversion of a key, if it is there."""
        _remove(self._path(key))

    def clear(self) -> tuple[int, int]:
        """Remove all inversions, and nothing else that is in the folder; how many these were, and their bytes."""
        for folder in self._unfinished():
            shutil.rmtree(folder, ignore_errors=True)  # A directory that `_write` made.
        removed = [file.size for file in self._files() if _remove(file.path)]
        return len(removed), sum(removed)

    def size(self) -> tuple[int, int]:
        """How many inversions there are, and their bytes."""
        files = self._files()
        return len(files), sum(file.size for file in files)

    def tidy(self) -> None:
        """Remove what is older than `max_age`, what killed processes left, and the oldest used beyond the limit."""
        for folder in self._unfinished():
            with suppress(OSError):
                if abs(time.time() - folder.stat().st_mtime) > ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)
        files = self._files()
        excess = sum(file.size for file in files) - self.limit
        for file in files:
            if (excess > 0 or self._expired(file.used)) and _remove(file.path):
                excess -= file.size

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key of this cache")
        return self.folder / f"{key}{_ENDING}"

    def _expired(self, used: int) -> bool:
        # A time to come is of a clock that was set back since, and tells nothing: that is too old as well.
        return self.max_age is not None and abs(time.time_ns() - used) > self.max_age * 1e9

    def _write(self, path: Path, inversion: Inversion) -> int:
        """Write a record, unless it is larger than the limit; its size in bytes."""
        from inversion.record import save_inversion

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In a directory that only its owner can enter, so that nobody else can read the file before its mode is set.
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self.folder, ignore_cleanup_errors=True) as folder:
            new = Path(folder) / path.name
            save_inversion(new, inversion)
            size = new.stat().st_size
            if size <= self.limit:
                new.chmod(stat.S_IRUSR | stat.S_IWUSR)
                _touch(new)
                new.replace(path)
        return size

    def _files(self) -> list[_CachedFile]:
        """All inversions, the oldest used first."""
        files = []
        for entry in self._entries():
            if entry.name.endswith(_ENDING) and _KEY.fullmatch(entry.name.removesuffix(_ENDING)):
                with suppress(OSError):  # Another process may have removed it just now.
                    about = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode):
                        files.append(_CachedFile(about.st_mtime_ns, Path(entry.path), about.st_size))
        return sorted(files)

    def _unfinished(self) -> list[Path]:
        return [Path(entry.path) for entry in self._entries()
                if entry.name.startswith(_UNFINISHED) and entry.is_dir(follow_symlinks=False)]

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with suppress(OSError), os.scandir(self.folder) as entries:  # There may be no folder.
            yield from entries

    def _tell(self, kind: str, text: str) -> None:
        with self._lock:
            new = kind not in self._told
            self._told.add(kind)
        if new and self.on_note is not None:
            self.on_note(text)


def in_words(size: int) -> str:
    """A number of bytes as people write it: 1.5 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"


def _remove(path: Path) -> bool:
    """Whether a file was there and is gone now."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _touch(path: Path) -> None:
    now = time.time_ns()  # The system's own is too coarse to tell which of two was used later.
    os.utime(path, ns=(now, now))
