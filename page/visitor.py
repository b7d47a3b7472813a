"""One visitor of the page: the photo, its faces, and the subject that is being edited."""

from __future__ import annotations

import atexit
import queue
import secrets
import threading
from collections.abc import Generator as Yielding
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from editing import Edit, PhotoSource, Recipe, SampleSource
from gradctrl import Controls
from inversion import (
    DEFAULT_PRESET,
    Face,
    Inversion,
    InversionCache,
    Photo,
    Progress,
    Projector,
    ProjectorSettings,
    align,
    choose_face,
    find_faces,
    open_photo,
    paste_back,
    with_warnings,
)
from stylegan2 import Generator, to_pixels
from weights.errors import InputError

if TYPE_CHECKING:
    from editing.lesson import Lesson
    from page.models import Bench

VIEW_SIDE = 1024  # Photos are shown with at most so many pixels a side; they are saved with all of theirs.
VIEW_REACH = 1.5   # Of an edited photo the part around the face is shown, so many times as wide as the crop.
PREVIEW_STEPS = 5  # Between two pictures of a running inversion.
PATIENCE = 30      # Seconds that the program's end waits for a step to finish.


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """What is being edited: an inverted face of a photo, or a synthetic sample."""

    name: str                           # For the names of saved files.
    source: PhotoSource | SampleSource
    latent: Tensor                      # w [w_dim] or w+ [num_ws, w_dim], float32 on the CPU.
    picture: np.ndarray                 # The latent's picture, uint8 [R, R, 3].
    inversion: Inversion | None = None  # These three for a photo only.
    photo: Photo | None = None
    face: Face | None = None
    kept: bool = False                  # Whether the inversion was kept from an earlier time.

    @property
    def stopped(self) -> bool:
        """Whether the inversion ended before it was done, so that no recipe can repeat it."""
        return self.inversion is not None and self.inversion.stopped

    def pasted(self, picture: np.ndarray, *, whole: bool) -> tuple[np.ndarray, np.ndarray]:
        """The photo, and the photo with the edited face put back into it.

        Args:
            picture: The edited picture, uint8 [R, R, 3].
            whole: All of the photo, for saving; else the part around the face, at most VIEW_SIDE pixels a side, for
                the page, where an edit of a small face could not be seen otherwise.
        Raises:
            ValueError: the subject is no photo's.
        """
        if self.photo is None or self.face is None:
            raise ValueError("a sample has no photo to put the face back into")
        photo, face = (self.photo, self.face) if whole else self._view
        return photo.pixels, paste_back(photo, face, picture, original=self.picture)

    @cached_property
    def _view(self) -> tuple[Photo, Face]:
        assert self.photo is not None
        assert self.face is not None
        photo, faces = scaled(*around(self.photo, self.face), VIEW_SIDE)
        return photo, faces[0]


class Visitor:
    """All that the page knows of one visitor: plain arrays and tensors on the CPU.

    Not a dataclass: Gradio would take those that it keeps apart, picture by picture.
    """

    def __init__(self) -> None:
        self.photo: Photo | None = None
        self.faces: list[Face] = []
        self.chosen: int | None = None      # From 0, the largest; None: none of them can be edited yet.
        self.subject: Subject | None = None
        self.stop: threading.Event | None = None  # Of the inversion that waits or runs; its identity tells which.
        self.keys: set[str] = set()         # Of the inversions that may be kept for this visitor.
        self.bench: Bench | None = None     # None: the page's own generator and controls.
        self.lesson: Lesson | None = None   # Of the tab Teach.
        self.edit = Edit()                  # What the tab Edit shows now; the tab Batch repeats it.
        self.preset = DEFAULT_PRESET        # Of the inversion that was asked for last.
        self._folder = ""

    @property
    def folder(self) -> str:
        """The name of the directory of this visitor's pictures, which nobody can guess."""
        if not self._folder:  # Not when it is made: Gradio copies one visitor for all of them.
            self._folder = secrets.token_hex(16)
        return self._folder

    def open(self, path: str) -> None:
        """Take a new photo and choose its largest face. A photo that cannot be used changes nothing.

        Raises:
            InputError: not a photo, or no face in it.
        """
        photo = open_photo(path)
        faces = find_faces(photo)
        self.end()
        self.photo, self.faces, self.chosen = photo, faces, None

    def choose(self, index: int) -> Face:
        """Choose a face, from 0.

        Raises:
            InputError: there is no photo any more, or the face is too small.
        """
        if self.photo is None:
            raise InputError("the photo is gone (photos are deleted after an hour); choose it again")
        self.chosen = None
        face = choose_face(self.faces, index, name=self.photo.name)
        self.chosen = index
        return face

    def face_at(self, x: float, y: float) -> int | None:
        """The face whose quad's middle is nearest to a point of the photo, if the point is within its quad's reach."""
        distances = [float(np.hypot(*(face.quad.mean(0) - (x, y)))) / face.size for face in self.faces]
        if not distances or min(distances) > 0.75:  # A little beyond the corners, at 0.71.
            return None
        return int(np.argmin(distances))

    def begin(self) -> threading.Event:
        """Announce an inversion; one that still waits or runs is ended."""
        self.end()
        self.stop = threading.Event()
        return self.stop

    def end(self) -> None:
        """End the inversion that waits or runs, if there is one; it keeps the best so far."""
        if self.stop is not None:
            self.stop.set()

    def forget(self, cache: InversionCache | None) -> None:
        """Forget the photo, the faces and the subject, and the inversions that were kept."""
        self.end()
        self.photo, self.faces, self.chosen, self.subject, self._folder = None, [], None, None, ""
        self.lesson = None
        keys, self.keys = self.keys, set()
        if cache is not None:
            for key in keys:
                cache.remove(key)

    def sample(self, generator: Generator, seed: int, truncation: float) -> None:
        """Take a synthetic sample as the subject."""
        self.end()
        latent = generator.sample([seed], truncation=truncation)
        self.subject = Subject(name=f"sample-{seed}", source=SampleSource(seed=seed, truncation=truncation),
                               latent=latent[0].float().cpu(), picture=to_pixels(generator.render(latent))[0])

    def crop(self, resolution: int) -> np.ndarray:
        """The chosen face's crop, uint8 [R, R, 3].

        Raises:
            InputError: no face is chosen.
        """
        if self.photo is None or self.chosen is None:
            raise InputError("there is no face to invert; choose a photo and a face in it first")
        return align(self.photo, self.faces[self.chosen], resolution)

    def invert(self, projector: Projector, settings: ProjectorSettings,
               cache: InversionCache | None = None) -> Iterator[Progress]:
        """Invert the chosen face, yielding the best so far every few steps; in the end it is the subject.

        `end` ends it after the step that is running; so does closing the iterator. Another photo or inversion that was
        begun meanwhile is not overwritten. Of what the cache has already nothing is yielded.

        Raises:
            InputError: no face is chosen, or the settings ask for an encoder that is not there.
        """
        crop = self.crop(projector.generator.resolution)
        stop = self.stop or self.begin()
        photo, faces, index = self.photo, self.faces, self.chosen
        assert photo is not None
        assert index is not None
        face, settings = faces[index], projector.resolve(settings)
        keys, key = self.keys, InversionCache.key(photo.sha256, face.quad, projector.generator.hash, settings)
        found = cache.get(key, projector.generator) if cache is not None else None
        if found is None:
            made = yield from _in_thread(projector, crop, settings, stop)
            inversion = with_warnings(made.of_photo(photo.sha256, face.quad), photo, face, faces,
                                      generator=projector.generator, distance=projector.distance)
        else:
            inversion = found
        if self.stop is not stop or self.photo is not photo:
            return
        self.subject = Subject(name=Path(photo.name).stem, latent=inversion.latent, picture=inversion.picture,
                               inversion=inversion, photo=photo, face=face, kept=found is not None,
                               source=PhotoSource(photo=photo.sha256, face=index, inversion=inversion.settings))
        if cache is not None:
            keys.add(key)
            if found is None:
                cache.put(key, inversion)
        if self.keys is not keys:  # All was forgotten just now.
            self.subject = None
            if cache is not None:
                cache.remove(key)


def _in_thread(projector: Projector, crop: np.ndarray, settings: ProjectorSettings,
               stop: threading.Event) -> Yielding[Progress, None, Inversion]:
    """Yield what an inversion reports, and return its record. It runs in a thread, which the program's end stops."""
    reports: queue.Queue[Progress | Inversion | Exception] = queue.Queue()

    def work() -> None:
        try:
            reports.put(projector.invert(crop, settings=settings, every=PREVIEW_STEPS, on_step=reports.put,
                                         should_stop=stop.is_set))
        except Exception as error:  # noqa: BLE001 (raised below, in the thread that waits)
            reports.put(error)

    def end() -> None:
        stop.set()
        thread.join(PATIENCE)  # A thread that is cut off within torch would abort the program.

    thread = threading.Thread(target=work, name="inversion", daemon=True)
    thread.start()
    atexit.register(end)
    try:
        while True:
            report = reports.get()
            if isinstance(report, Inversion):
                return report
            if isinstance(report, Exception):
                raise report
            if reports.empty():  # Otherwise it is out of date already.
                yield report
    finally:
        stop.set()  # Whoever waited may be gone.
        atexit.unregister(end)


def recipe(subject: Subject, generator: Generator, controls: Controls, edit: Edit) -> Recipe:
    """The recipe of an edit."""
    return Recipe(source=subject.source, generator=generator.hash, controls=controls.hash,
                  strengths=dict(edit.strengths), **edit.how)


def around(photo: Photo, face: Face) -> tuple[Photo, list[Face]]:
    """The part of a photo around a face, and the face in it."""
    reach = VIEW_REACH * face.size / 2
    start = np.maximum((face.quad.mean(0) - reach).round().astype(int), 0)
    stop = (face.quad.mean(0) + reach).round().astype(int)  # Slices end with the photo by themselves.
    left, top, right, bottom = (np.array(face.box).reshape(2, 2) - start).ravel().tolist()
    part = replace(photo, pixels=photo.pixels[start[1]:stop[1], start[0]:stop[0]])
    return part, [replace(face, box=(left, top, right, bottom), landmarks=face.landmarks - start,
                          quad=face.quad - start)]


def scaled(photo: Photo, faces: Sequence[Face], side: int) -> tuple[Photo, Sequence[Face]]:
    """A photo and faces in it, made smaller so that the photo has at most `side` pixels a side."""
    from PIL import Image

    factor = side / max(photo.width, photo.height)
    if factor >= 1:
        return photo, faces
    size = max(round(photo.width * factor), 1), max(round(photo.height * factor), 1)
    pixels = np.asarray(Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
    stretch = np.array(size) / (photo.width, photo.height)
    return replace(photo, pixels=pixels), [_stretched(face, stretch) for face in faces]


def _stretched(face: Face, stretch: np.ndarray) -> Face:
    landmarks, quad = ((points + 0.5) * stretch - 0.5 for points in (face.landmarks, face.quad))
    left, top, right, bottom = (np.array(face.box).reshape(2, 2) * stretch).round().astype(int).ravel().tolist()
    return replace(face, box=(left, top, right, bottom), landmarks=landmarks, quad=quad)
