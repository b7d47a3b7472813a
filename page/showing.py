"""What a visitor sees: the faces outlined on the photo, files for the browser, numbers in words."""

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
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from editing import RECIPE_KEY, Recipe, save_recipe
from gradctrl import Steerable
from inversion import SAME_PERSON, Face, Inversion, Photo, Progress, save_picture
from page.visitor import VIEW_SIDE, Subject, scaled

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
    folder = private_dir() / owner / name
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(folder / "picture.jpg", picture)
    return str(folder / "picture.jpg")


def forget(owner: str) -> None:
    """Remove all that was shown to or saved for an owner."""
    shutil.rmtree(private_dir() / owner, ignore_errors=True)


def discard_upload(path: str) -> None:
    """Remove an uploaded photo that has been read. What is not in the private directory was not uploaded here."""
    upload = Path(path).resolve()
    if private_dir().resolve() in upload.parents:
        with suppress(OSError):
            upload.unlink()


def save_for_download(subject: Subject, picture: np.ndarray, recipe: Recipe, *, pasted: bool,
                      owner: str = "saved") -> Path:
    """Write the edited picture as PNG, the whole photo if the face is put back, with the recipe in its metadata."""
    if pasted:
        _, picture = subject.pasted(picture, whole=True)
    path = _download_path(subject, owner, ".png")
    save_picture(path, picture, metadata={"Software": "gradctrl: edited by a generator, not a photograph",
                                          RECIPE_KEY: recipe.to_json()})
    return path


def save_recipe_for_download(subject: Subject, recipe: Recipe, *, owner: str = "saved") -> Path:
    """Write the recipe as JSON."""
    path = _download_path(subject, owner, ".json")
    save_recipe(path, recipe)
    return path


def _download_path(subject: Subject, owner: str, ending: str) -> Path:
    folder = private_dir() / owner / secrets.token_hex(16)
    folder.mkdir(parents=True)
    stem = re.sub(r"[^\w-]+", "-", subject.name).strip("-")[:60] or "face"
    return folder / f"{stem}-edited{ending}"


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


def faces_in_words(faces: Sequence[Face], chosen: int | None) -> str:
    """How many faces were found, and which is chosen."""
    if len(faces) == 1:
        return "1 face found." if chosen is not None else "1 face found, too small to edit."
    many = f"{len(faces)} faces found, numbered from the largest."
    if chosen is None:
        return f"{many} Choose one: click it, or its number below."
    return f"{many} Face {chosen + 1} is chosen: to edit another, click it, or its number below."


def identity_in_words(distance: float) -> str:
    """What the distance between the face descriptors of crop and inversion means."""
    digits = 2 if abs(distance - SAME_PERSON) > 0.005 else 4  # Never "0.60 (below 0.6)".
    if distance < SAME_PERSON:
        return f"same person by dlib: distance {distance:.{digits}f} (below {SAME_PERSON})"
    return f"a likeness, not the same person by dlib: distance {distance:.{digits}f} ({SAME_PERSON} or more)"


def progress_bar(progress: Progress | None) -> str:
    """The state of a running inversion as HTML; None: it has not made a step yet."""
    if progress is None:
        return ("<div class='running' role='status'><progress></progress><span>Looking for a starting point…</span>"
                "</div>")
    if progress.step == progress.steps:
        left = "measuring"
    elif progress.step == 1:
        left = "estimating the time left"
    else:
        left = f"about {max(progress.seconds_left, 1):.0f} s left"
    return (f"<div class='running' role='status'><progress max='{progress.steps}' value='{progress.step}'></progress>"
            f"<span>step {progress.step} of {progress.steps} · LPIPS {progress.lpips[0]:.3f} · {left}</span></div>")


def numbers(subject: Subject) -> str:
    """How near the inversion came, and what is off with it, as HTML; nothing for a sample."""
    inversion = subject.inversion
    if inversion is None:
        return "<p class='numbers'>A face of nobody, drawn by the generator.</p>"
    warnings = "".join(f"<li>{escape(text)}.</li>" for text in inversion.warnings)
    return (f"<p class='numbers'>{escape(_numbers_of(inversion, subject.kept))}</p>"
            + (f"<ul class='warnings'>{warnings}</ul>" if warnings else ""))


def _numbers_of(inversion: Inversion, kept: bool) -> str:
    seconds = "kept from before" if kept else f"{inversion.seconds:.0f}\N{NO-BREAK SPACE}s"
    parts = [f"LPIPS {inversion.lpips:.3f}", seconds]
    if inversion.identity is not None:
        parts.insert(0, f"Inversion: {identity_in_words(inversion.identity)}")
    if inversion.stopped:
        parts.append(f"stopped at step {inversion.steps} of {inversion.settings.all_steps}, "
                     "so the recipe's picture will differ a little from this one")
    return " · ".join(parts)


def problem(message: str) -> str:
    """A message about something that cannot be used, as HTML. It may hold a file's name, so all of it is escaped."""
    return f"<div class='problem' role='alert'>{escape(message)}</div>"


def title_of(name: str) -> str:
    """A control's name as a label: "hair_colour" is "Hair colour"."""
    return name.replace("_", " ").capitalize()


def scale_of(control: Steerable) -> str:
    """What the two ends of a binary control's slider are."""
    return f"{control.classes[0]} ← → {control.classes[1]}".replace("_", " ")
