"""What a visitor sees: the faces outlined on the photo, and files for the browser."""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gradio.data_classes import FileData
from PIL import Image, ImageDraw, ImageFont

from inversion import Face, Photo, save_picture
from page.state.visitor import VIEW_SIDE, scaled

PREVIEW_QUALITY = 85  # Of 100: JPEG takes colour at half its resolution, and is followed by the picture in full.
BATCH = "batch-"  # Begins the names of the folders of batches, which may run for hours.
CHOSEN, OTHER = (99, 102, 241), (255, 255, 255)
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


def within(picture: np.ndarray) -> dict[str, Any]:
    """A picture as Gradio gives files to the browser, within the message: nothing is written, and nothing is fetched.

    For an event with `postprocess=False`.
    """
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=PREVIEW_QUALITY)
    return {"url": "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()}


def at(path: str) -> dict[str, Any]:
    """A file of `for_browser` as Gradio gives it to the browser, for an event with `postprocess=False`."""
    return FileData(path=path).model_dump()


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


def outlined(photo: Photo, faces: Sequence[Face], chosen: int | None) -> np.ndarray:
    """The photo with each face's quad outlined and numbered from 1, the chosen one in colour.

    Returns:
        uint8 [H, W, 3], at most VIEW_SIDE pixels a side.
    """
    view, faces = scaled(photo, faces, VIEW_SIDE)
    image = Image.fromarray(view.pixels)
    draw = ImageDraw.Draw(image)
    width = max(3, round(max(image.size) / 200))
    font = ImageFont.load_default(size=max(14, round(max(image.size) / 28)))
    # The chosen face last, so that no other outline lies over its own.
    for number, face in sorted(enumerate(faces, 1), key=lambda item: item[0] - 1 == chosen):
        colour = CHOSEN if number - 1 == chosen else OTHER
        corners = [(float(x), float(y)) for x, y in face.quad]
        for line, grown in (((0, 0, 0), 2), (colour, 0)):  # A dark rim, to be seen on any photo.
            draw.line([*corners, *corners[:2]], fill=line, width=width + grown, joint="curve")
        x, y = (float(value) for value in np.clip(face.quad.min(0), 0, None) + width)
        left, top, right, bottom = draw.textbbox((x + width * 2, y + width), str(number), font=font)
        draw.rounded_rectangle((left - width * 2, top - width * 2, right + width * 2, bottom + width * 2),
                               radius=width * 2, fill=colour)
        draw.text((x + width * 2, y + width), str(number), font=font,
                  fill=(255, 255, 255) if colour == CHOSEN else (17, 24, 39))
    return np.asarray(image)
