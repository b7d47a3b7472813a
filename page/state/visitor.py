"""One visitor of the page: the photo, its faces, and the subject that is being edited."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from directions import Controls
from editing import Edit, PhotoSource, Recipe, SampleSource, Session
from generators import Generator, to_pixels
from inversion import (
    DEFAULT_PRESET,
    Face,
    Inversion,
    InversionCache,
    PasteBack,
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
from page.jobs import gpu
from page.jobs.describing import describer
from page.jobs.executors import Lane
from page.state.history import History
from page.state.recent import Recent
from weights.errors import InputError

if TYPE_CHECKING:
    from learning.lesson import Lesson
    from page.state.models import Bench

VIEW_SIDE = 1024    # Photos are shown with at most so many pixels a side; they are saved with all of theirs.
PREVIEW_SIDE = 512  # The same while a slider is dragged, when being quick counts.
MOST_READY = 16     # Photos kept ready for previews: 5 to 8 MB each with the bundled generator, 20 with one of 1024.
VIEW_REACH = 1.5    # Of an edited photo the part around the face is shown, so many times as wide as the crop.
NOTHING = ("there is nothing to edit any more (all is deleted after an hour)", "choose the photo again")
LOOK = 0.5          # Seconds between two looks at whether an inversion's turn has come.


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """What is being edited: an inverted face of a photo, or a synthetic sample."""

    name: str                           # For the names of saved files.
    source: PhotoSource | SampleSource
    generator: str                      # `Generator.hash` of the latent's.
    latent: Tensor                      # w [w_dim] or w+ [num_ws, w_dim], float32 on the CPU.
    picture: np.ndarray                 # The latent's picture, uint8 [R, R, 3].
    inversion: Inversion | None = None  # These three for a photo only.
    photo: Photo | None = None
    face: Face | None = None
    kept: bool = False                  # Whether the inversion was kept from an earlier time.
    _views: dict[int, tuple[Photo, Face]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether the inversion ended before it was done, so that no recipe can repeat it."""
        return self.inversion is not None and self.inversion.stopped

    @cached_property
    def descriptor(self) -> np.ndarray:
        """dlib's descriptor of the unedited picture's face, float32 [128]."""
        return describer()(self.picture)

    def pasted(self, picture: np.ndarray, *, side: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The photo, and the photo with the edited face put back into it.

        Args:
            picture: The edited picture, uint8 [R, R, 3].
            side: For the page: the part around the face, at most so many pixels a side, since an edit of a small face
                could not be seen otherwise. None: all of the photo, for saving.
        Raises:
            ValueError: there is no photo.
        """
        if self.photo is None or self.face is None:
            raise ValueError("there is no photo to put the face back into")
        photo, face = (self.photo, self.face) if side is None else self._view(side)
        if side != PREVIEW_SIDE:
            return photo.pixels, paste_back(photo, face, picture, original=self.picture)
        # Asked for at each move of a slider; the photo's part of it takes longer than the edit's.
        return photo.pixels, _READY.get(self, lambda: PasteBack.of(photo, face, self.picture))(picture)

    def _view(self, side: int) -> tuple[Photo, Face]:
        assert self.photo is not None
        assert self.face is not None
        if side not in self._views:
            photo, faces = scaled(*around(self.photo, self.face), side)
            self._views[side] = photo, faces[0]
        return self._views[side]


_READY: Recent[Subject, PasteBack] = Recent(MOST_READY)


@dataclass(frozen=True)
class Waiting:
    """An inversion waits until those before it are done."""

    before: int     # How many.
    seconds: float  # That they are expected to take at most.


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
        self.batch_stop: threading.Event | None = None  # Of the batch that waits or runs.
        self.lesson: Lesson | None = None   # Of the tab Teach.
        self.edit = Edit()                  # What the tab Edit shows now; the tab Batch repeats it.
        self.history = History()            # Of the subject's edits.
        self.pinned: Edit | None = None     # To compare others with.
        # What the page was asked to show last, and what it shows in full: the edit, and how it is looked at.
        self.wanted: tuple[Edit, str, bool, bool] | None = None
        self.settled: tuple[Edit, str, bool, bool] | None = None
        self.values: list[Any] = []         # Of the sliders and settings of the tab Edit, as the visitor sees them.
        self.before: Subject | None = None  # The subject when the inversion began that was asked for last.
        self.preset = DEFAULT_PRESET        # Of the inversion that was asked for last.
        self.seen = 0.0                     # When the visitor last did something, by time.monotonic.
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
            raise InputError(None, "the photo is gone (photos are deleted after an hour)", "choose it again")
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
        if self.batch_stop is not None:
            self.batch_stop.set()
        self.photo, self.faces, self.chosen, self.subject, self._folder = None, [], None, None, ""
        self.edit, self.history, self.pinned = Edit(), History(), None
        self.before = self.lesson = None
        self.values = []
        keys, self.keys = self.keys, set()
        if cache is not None:
            for key in keys:
                cache.remove(key)

    def sample(self, generator: Generator, seed: int, truncation: float) -> None:
        """Take a synthetic sample as the subject."""
        self.end()
        latent = generator.sample([seed], truncation=truncation)
        self.take(Subject(name=f"sample-{seed}", generator=generator.hash,
                          source=SampleSource(seed=seed, truncation=truncation),
                          latent=latent[0].float().cpu(), picture=to_pixels(generator.render(latent))[0]))

    def take(self, subject: Subject) -> None:
        """Begin to edit a subject."""
        self.subject, self.edit, self.history, self.pinned = subject, Edit(), History(), None
        self.wanted = self.settled = None

    def crop(self, resolution: int) -> np.ndarray:
        """The chosen face's crop, uint8 [R, R, 3].

        Raises:
            InputError: no face is chosen.
        """
        if self.photo is None or self.chosen is None:
            raise InputError(None, "there is no face to invert", "choose a photo and a face in it first")
        return align(self.photo, self.faces[self.chosen], resolution)

    def invert(self, projector: Projector, settings: ProjectorSettings, cache: InversionCache | None = None,
               lane: Lane | None = None, seconds: float = 0.0) -> Iterator[Waiting | Progress]:
        """Invert the chosen face, yielding the best so far every few steps; in the end it is the subject.

        `end` ends it after the step that is running; so does closing the iterator. Another photo or inversion that was
        begun meanwhile is not overwritten. What the cache has already neither waits nor yields anything.

        Args:
            projector: Of the visitor's generator.
            settings: Of the inversion.
            cache: Keeps inversions.
            lane: Where it waits for its turn; ended there, it leaves everything as it was.
            seconds: That it is expected to take.
        Raises:
            InputError: no face is chosen, the lane is full, or the settings ask for an encoder that is not there.
        """
        crop = self.crop(projector.generator.img_resolution)
        stop = self.stop or self.begin()
        photo, faces, index = self.photo, self.faces, self.chosen
        assert photo is not None
        assert index is not None
        face, settings = faces[index], projector.resolve(settings)
        keys, key = self.keys, InversionCache.key(photo.sha256, face.quad, projector.generator.hash, settings)
        found = cache.get(key, projector.generator) if cache is not None else None
        inversion = found
        if inversion is None:
            made: Inversion | None = None
            with (lane or Lane()).join(seconds) as ticket:
                while not ticket.wait(LOOK):
                    if stop.is_set():
                        return
                    yield Waiting(ticket.place, ticket.seconds_ahead)
                for report in gpu.reports(projector, crop, settings, stop):
                    if isinstance(report, Inversion):
                        made = report
                    else:
                        yield report
            assert made is not None
            inversion = with_warnings(made.of_photo(photo.sha256, face.quad), photo, face, faces,
                                      generator=projector.generator, distance=projector.distance)
        if self.stop is not stop or self.photo is not photo:
            return
        self.take(Subject(name=Path(photo.name).stem, generator=projector.generator.hash, latent=inversion.latent,
                          picture=inversion.picture, inversion=inversion, photo=photo, face=face,
                          kept=found is not None,
                          source=PhotoSource(photo=photo.sha256, face=index, inversion=inversion.settings)))
        if cache is not None:
            keys.add(key)
            if found is None:
                cache.put(key, inversion)
        if self.keys is not keys:  # All was forgotten just now.
            self.subject = None
            if cache is not None:
                cache.remove(key)

    def resume(self, session: Session, generator: Generator) -> None:
        """Go on with a saved session. One that cannot be used changes nothing.

        Raises:
            InputError: it belongs to another generator.
        """
        if session.generator != generator.hash:
            raise InputError(None,
                             f"this session was saved with generator {session.generator[:12]}, and "
                             f"{generator.hash[:12]} is loaded", "choose the session's generator in the tab Models")
        session.edit.check()
        self.end()
        if isinstance(session.source, SampleSource):
            self.sample(generator, session.source.seed, session.source.truncation)
        else:
            inversion = session.inversion
            assert inversion is not None
            inversion.generator_of(generator)  # Refuses one that is damaged.
            self.take(Subject(name=session.name, generator=generator.hash, latent=inversion.latent,
                              picture=inversion.picture, photo=session.photo, face=session.face, inversion=inversion,
                              source=session.source, kept=True))
        self.history.push(session.edit)
        self.edit = session.edit

    def session(self, generator: Generator, *, with_photo: bool) -> Session:
        """What is being worked on, to be saved.

        Raises:
            InputError: there is nothing yet.
        """
        if self.subject is None:
            raise InputError(None, *NOTHING)
        subject = self.subject
        photo, face = (subject.photo, subject.face) if with_photo else (None, None)
        return Session(name=subject.name, source=subject.source, generator=generator.hash, edit=self.edit,
                       inversion=subject.inversion, photo=photo, face=face)


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
