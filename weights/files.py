"""Reading JSON, listing a folder; and writing files so that nothing is lost: a temporary name first, then a rename."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place when the block ends well.

    The temporary file keeps the ending of `path`, for writers that go by it. If the block raises, the temporary
    file is removed and whatever was at `path` stays as it was.

    Raises:
        InputError: the folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(path, f"cannot write here ({error.strerror})", "choose another output folder") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise InputError(path, f"could not be written ({error.strerror or error})",
                         "free some space or choose another output folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
