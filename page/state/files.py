"""The files of the page's visitors: uploads, pictures that are shown, and downloads, in a private directory."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from inversion import save_picture
from weights.errors import InputError

BATCH = "batch-"  # Begins the names of the folders of batches, which may run for hours.
_SALT = secrets.token_bytes(16)  # Nobody can tell a picture's address from the picture.


@functools.cache
def private_dir() -> Path:
    """The directory of this process's uploads and results: readable by its user alone, removed when it ends."""
    path = Path(tempfile.mkdtemp(prefix="gradctrl-page-", dir=os.environ.get("GRADIO_TEMP_DIR")))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def for_browser(picture: np.ndarray, owner: str = "shown") -> str:
    """Write a picture for the page to show into its owner's part of the private directory, and return its path.

    The same picture has the same path, so that a browser does not load it again. JPEG takes a tenth of PNG's time.
    """
    name = hashlib.blake2b(picture.tobytes(), key=_SALT, digest_size=16).hexdigest()
    path = private_dir() / owner / name / "picture.jpg"
    try:
        os.utime(path)  # It is there, and is kept from now on for as long as one that is written now.
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(path, picture)
    return str(path)


def forget(owner: str) -> None:
    """Remove all that was shown to or saved for an owner."""
    shutil.rmtree(private_dir() / owner, ignore_errors=True)


def discard_upload(path: str) -> None:
    """Remove an uploaded photo that has been read. What is not in the private directory was not uploaded here."""
    upload = Path(path).resolve()
    if private_dir().resolve() in upload.parents:
        with suppress(OSError):
            upload.unlink()


def download_path(name: str, owner: str, ending: str) -> Path:
    """A place for a file to download, by a name that says what it is."""
    folder = private_dir() / owner / secrets.token_hex(16)
    folder.mkdir(parents=True)
    stem = re.sub(r"[^\w-]+", "-", name).strip("-")[:60] or "face"
    return folder / f"{stem}{ending}"


def take_chosen(owner: str, paths: Sequence[str]) -> list[str]:
    """Move a visitor's chosen uploads out of Gradio's reach into the owner's part of the private directory.

    Raises:
        InputError: none arrived, or one of them is gone.
    """
    return moved(list(dict.fromkeys(paths)), private_dir() / owner / f"chosen-{secrets.token_hex(8)}")


def drop_chosen(paths: Sequence[str]) -> None:
    """Remove them."""
    for path in paths:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


def moved(paths: Sequence[str], folder: Path) -> list[str]:
    """Files moved below a folder, each into one of its own, since two may have one name.

    Raises:
        InputError: there are none, or one is gone.
    """
    targets = [folder / str(number) / Path(path).name for number, path in enumerate(paths)]
    try:
        for path, target in zip(paths, targets, strict=True):
            target.parent.mkdir(parents=True)
            shutil.move(path, target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(None, "the photos are gone (they are deleted after an hour)", "choose them again") from error
    if not targets:
        raise InputError(None, "no photos arrived", "choose them again")
    return list(map(str, targets))
