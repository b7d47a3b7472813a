"""What other programs give to the endpoints, looked at before it is used: values by their types, and uploaded files."""

from __future__ import annotations

import re
import reprlib
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from gradio.data_classes import FileData
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from page.state import files
from weights.errors import InputError

OWNER = "api"  # Of the files that are made for other programs; they go after an hour.
GRACE = 30.0   # Seconds for which an upload stays once it was read: the same file of two callers is one file here.

_UPLOAD, _RESULT = re.compile(r"[0-9a-f]{64}/[^/]+"), re.compile(OWNER + r"/[0-9a-f]{32}/[^/]+")


def _whole(value: Any) -> Any:
    """JSON has one kind of number: its 2.0 is the whole number 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _here(file: Any) -> FileData:
    """An uploaded file, or one that an endpoint gave.

    Gradio looks only at what says of itself that it is a file, so that other paths of this machine are refused here.
    """
    given = file.get("path") if isinstance(file, dict) else getattr(file, "path", None)
    if not isinstance(given, str):
        raise InputError(None, f"{reprlib.repr(file)} is not a file",
                         "upload one, as handle_file of gradio_client does, or give one that an endpoint gave")
    path = Path(given).resolve()
    if not is_held(path):
        raise InputError(None,
                         f"{path.name} is not on this server (uploads are deleted once they were read, and results "
                         "after an hour)", "upload it again")
    return FileData(path=str(path))


Whole = Annotated[int, BeforeValidator(_whole)]
Upload = Annotated[FileData, BeforeValidator(_here)]


def checked(value: Any, hint: Any, name: str) -> Any:
    """A value as its type says that it is, by pydantic's strict rules: no text is a number, and no number a truth.

    Args:
        value: From JSON, or a default.
        hint: A type; `Whole`, `Upload` and pydantic's FiniteFloat in place of int, FileData and float.
        name: Of the argument, for messages.
    Raises:
        InputError: it is something else, or a file that this server does not have.
    """
    try:
        return _adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = name + "".join(f"[{reprlib.repr(part)}]" for part in first["loc"])
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, InputError):
            raise inner.about(where) from error
        raise InputError(where, f"{reprlib.repr(first['input'])} cannot be used", first["msg"].lower()) from error


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def is_held(path: Path) -> bool:
    """Whether a resolved path is that of an upload, or of what an endpoint gave, and there is still a file."""
    return bool(_UPLOAD.fullmatch(_inside(path)) or _RESULT.fullmatch(_inside(path))) and path.is_file()


def _inside(path: Path) -> str:
    """A resolved path within the private directory; nothing for one elsewhere."""
    root = files.private_dir().resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""


@contextmanager
def received(file: FileData) -> Iterator[tuple[Path, str]]:
    """A file and its own name; an upload is deleted soon after. In messages its path becomes its name."""
    path = Path(file.path)
    try:
        yield path, path.name
    except InputError as error:
        raise (error.about(path.name) if error.subject == str(path) else error) from error
    finally:
        discard(path)


@contextmanager
def own_copies(uploads: Sequence[FileData]) -> Iterator[list[str]]:
    """Copies of uploads, each in a folder of its own, for work that lasts longer than an upload that others give too.

    Raises:
        InputError: one is gone.
    """
    folder = files.private_dir() / OWNER / secrets.token_hex(16)
    copies = [folder / str(number) / Path(file.path).name for number, file in enumerate(uploads)]
    try:
        for file, target in zip(uploads, copies, strict=True):
            target.parent.mkdir(parents=True)
            try:
                shutil.copyfile(file.path, target)
            except OSError as error:
                raise InputError(target.name, "cannot be read any more", "upload it again") from error
            discard(Path(file.path))
        yield list(map(str, copies))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def discard(path: Path) -> None:
    """Delete an upload after GRACE, unless it is uploaded again meanwhile; what an endpoint gave stays."""
    if not _UPLOAD.fullmatch(_inside(path)):
        return
    with suppress(OSError):
        timer = threading.Timer(GRACE, _remove, [path, path.stat().st_ino])
        timer.daemon = True
        timer.start()


def _remove(path: Path, inode: int) -> None:
    with suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()
