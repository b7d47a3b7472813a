"""Reading JSON, listing a folder; and writing files so that nothing is lost: a temporary name first, then a rename."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from weights.errors import InputError


def read_json(path: str | os.PathLike[str], *, remedy: str) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: no such file, or not readable as JSON, which ends with the remedy.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the name") from error
    except (OSError, ValueError) as error:
        raise InputError(path, f"not readable as JSON ({error})", remedy) from error


def is_file(path: Path) -> bool:
    """Whether there is such a file, as far as can be seen: not in a folder that is closed to this user."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place when the block ends well.

    The temporary file keeps the ending of `path`, for writers that go by it. If the block raises, the temporary
    file is removed and whatever was at `path` stays as it was. A symbolic link at `path` is replaced, not followed.

    Raises:
        InputError: the folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(path)
    with _beside(path) as temporary:
        yield temporary
        _open_to_others(temporary)
        temporary.replace(path)


def write_new(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Write a file under a name that nothing has, and never in place of anything, whoever comes in between.

    Args:
        path: The name that is wanted; where it is taken, NAME-2, NAME-3 and so on are tried.
        write: Writes the file at the path that it is given.
    Returns:
        The path that it has.
    Raises:
        InputError: as `replacing` and `write` do.
    """
    path = Path(path)
    with _beside(path) as temporary:
        try:
            write(temporary)
        except InputError as error:
            raise (error.about(path) if error.subject == str(temporary) else error) from error.__cause__
        _open_to_others(temporary)
        for number in count(1):
            target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            if _named(temporary, target):
                return target
    raise AssertionError


def _named(temporary: Path, target: Path) -> bool:
    """Give a file its name, unless that is taken; on file systems without hard links, by an empty file first."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        temporary.replace(target)
    return True


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty temporary file in the folder of a path, gone afterwards."""
    try:  # Its name is short, so that it is no longer than that of the file itself can be.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:8]}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(path, f"cannot write here ({error.strerror})", "choose another output folder") from error
    temporary = Path(name)
    try:
        yield temporary
    except OSError as error:
        raise InputError(path, f"could not be written ({error.strerror or error})",
                         "free some space or choose another output folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def _open_to_others(path: Path) -> None:
    """Give a temporary file, which its owner alone can read, the mode of any new one."""
    mask = os.umask(0)
    os.umask(mask)
    with suppress(OSError):  # A courtesy: some file systems have no modes.
        path.chmod(0o666 & ~mask)
