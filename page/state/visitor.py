"""What is known of one visitor: the photo, its faces, what is being edited, and the edits so far. It does no work."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from editing import ChosenFace, Edit, PhotoSource, SampleSource
from inversion import DEFAULT_PRESET, Face, Inversion, Photo
from learning.lesson import Lesson
from page.state.discovery import Discovery
from page.state.models import EditingModels
from weights.errors import InputError

MOST_EDITS = 200  # That can be undone.

# An edit and how it is looked at: what it is compared with, whether in the photo, and by which of the ways to look.
WantedPicture = tuple[Edit, str, bool, str]


@dataclass(frozen=True, eq=False)
class SmallPicture:
    """The subject as small as previews are."""

    picture: np.ndarray  # uint8 [s, s, 3]
    lacking: np.ndarray  # What the generator's small picture lacks of it, int16 [s, s, 3].


@dataclass(frozen=True, eq=False)
class SubjectView:
    """The part of a photo around a face, for the page."""

    photo: Photo   # As it was brought.
    under: Photo   # With the edits of its other faces.
    face: Face     # Where the face is in it.


class History:
    """The edits of one subject, one of which is shown."""

    def __init__(self) -> None:
        self._edits = [Edit()]
        self._at = 0

    @property
    def now(self) -> Edit:
        """The edit that is shown."""
        return self._edits[self._at]

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return self._at < len(self._edits) - 1

    def push(self, edit: Edit) -> None:
        """Go on to an edit; what was undone before can not be redone any more. The same edit again changes nothing."""
        if edit == self.now:
            return
        self._edits = [*self._edits[:self._at + 1], edit][-MOST_EDITS - 1:]
        self._at = len(self._edits) - 1

    def undo(self) -> Edit:
        """Go back to the edit before; the first one stays."""
        self._at = max(self._at - 1, 0)
        return self.now

    def redo(self) -> Edit:
        """Go forth to the edit that was undone last; the newest one stays."""
        self._at = min(self._at + 1, len(self._edits) - 1)
        return self.now


@dataclass(eq=False, kw_only=True)
class EditSubject:
    """What is being edited: an inverted face of a photo, or a synthetic sample."""

    name: str                           # For the names of saved files.
    source: PhotoSource | SampleSource
    generator: str                      # `Generator.identity` of the latent's.
    latent: Tensor                      # w [w_dim] or w+ [num_ws, w_dim], float32 on the CPU.
    picture: np.ndarray                 # The latent's picture, uint8 [R, R, 3].
    inversion: Inversion | None = None  # These three for a photo only.
    photo: Photo | None = None
    face: Face | None = None
    from_cache: bool = False            # Whether the inversion was kept from an earlier time.
    preset: str = ""                    # By which it was inverted, if by one.
    # What the visitor does with it.
    edit: Edit = field(default_factory=Edit)            # That is shown now.
    history: History = field(default_factory=lambda: History())
    pins: list[Edit] = field(default_factory=list)      # To compare others with.
    under: Photo | None = None                          # The photo with the edits of its other faces, if there are any.
    # What was made of it for the page, once it was needed.
    views: dict[int, SubjectView] = field(default_factory=dict)         # The part around the face, by its side.
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)  # Of sliders, for this face.
    descriptor: np.ndarray | None = None                                # dlib's, of the picture: float32 [128].
    told: dict[str, Tensor] | None = None                               # What the image classifier tells of it.
    small: SmallPicture | None = None                                   # For previews.


class Visitor:
    """All that the page knows of one visitor: plain arrays and tensors on the CPU.

    Not a dataclass: Gradio would take those that it keeps apart, picture by picture.
    """

    def __init__(self) -> None:
        self.photo: Photo | None = None
        self.faceless: Photo | None = None     # The last one, if no face was found in it.
        self.faces: list[Face] = []
        self.chosen: int | None = None         # From 0, the largest; None: none of them can be edited yet.
        self.subject: EditSubject | None = None
        self.stop: threading.Event | None = None  # Of the inversion that waits or runs; its identity tells which.
        self.cache_keys: set[str] = set()      # Of the inversions that may be kept for this visitor.
        self.subjects: dict[int, EditSubject] = {}  # The faces of the photo that were inverted, by their places.
        self.preparing = False                 # Whether the chosen face is to be inverted at once.
        self.own_models: EditingModels | None = None  # None: the page's own generator and controls.
        self.batch_stop: threading.Event | None = None  # Of the batch that waits or runs.
        self.lesson: Lesson | None = None      # Of the tab Teach.
        self.discovery = Discovery()           # Of the tab Discover,
        self.discovered: EditSubject | None = None  # and the sample or the mean that it shows.
        self.wanted: WantedPicture | None = None   # What the page was asked to show last,
        self.settled: WantedPicture | None = None  # and what it shows in full.
        self.values: list[Any] = []            # Of the sliders and settings of the tab Edit, as the visitor sees them.
        self.ranges: dict[int, tuple[float, float]] = {}  # Of the sliders, by their places among the values.
        self.preset = DEFAULT_PRESET           # How near inversions shall come.
        self.token = ""                        # By which a browser that comes back is known.
        self.former: Visitor | None = None     # Who this was before the tab was loaded again.
        self.seen = 0.0                        # When the visitor last did something, by time.monotonic.
        self._folder = ""

    @property
    def folder(self) -> str:
        """The name of the directory of this visitor's pictures, which nobody can guess."""
        if not self._folder:  # Not when it is made: Gradio copies one visitor for all of them.
            self._folder = secrets.token_hex(16)
        return self._folder

    @property
    def chosen_face(self) -> ChosenFace:
        """The face that is to be edited.

        Raises:
            InputError: no face is chosen.
        """
        if self.photo is None or self.chosen is None:
            raise InputError(None, "there is no face to invert", "choose a photo and a face in it first")
        return ChosenFace(self.photo, self.faces, self.chosen)

    @property
    def present_subject(self) -> EditSubject:
        """What is being edited.

        Raises:
            InputError: nothing any more.
        """
        if self.subject is None:
            raise InputError(None, "there is nothing to edit any more (all is deleted after an hour)",
                             "choose the photo again")
        return self.subject

    @property
    def edits_photo(self) -> bool:
        """Whether what is edited is a face of the photo that is here."""
        return self.subject is not None and self.photo is not None and self.subject.photo is self.photo

    def begin_inversion(self) -> threading.Event:
        """Announce an inversion; one that still waits or runs is ended."""
        self.end_inversion()
        self.stop = threading.Event()
        return self.stop

    def end_inversion(self) -> None:
        """End the inversion that waits or runs, if there is one; it keeps the best so far."""
        if self.stop is not None:
            self.stop.set()

    def end_batch(self) -> None:
        """End the batch that waits or runs, if there is one; what is done is kept."""
        if self.batch_stop is not None:
            self.batch_stop.set()

    @property
    def edit(self) -> Edit:
        """What the tab Edit shows now; the tab Batch repeats it."""
        return self.subject.edit if self.subject is not None else Edit()

    def begin_edits(self, subject: EditSubject) -> None:
        """Begin to edit a subject, or go on with it."""
        self.subject = subject
        if subject.face is not None and self.chosen is not None and subject.photo is self.photo:
            self.subjects[self.chosen] = subject
        self.wanted = self.settled = None

    def improve(self, subject: EditSubject, better: EditSubject) -> None:
        """Put a better inversion of the same face in a subject's place; its edits go on."""
        better.edit, better.history, better.pins, better.under = (subject.edit, subject.history, subject.pins,
                                                                  subject.under)
        self.subjects = {index: better if known is subject else known for index, known in self.subjects.items()}
        if self.subject is subject:
            self.subject = better
            self.settled = None

    def forget(self) -> set[str]:
        """Forget the photo, the faces, the subject and the lesson.

        Returns:
            The keys of the inversions that were kept.
        """
        self.end_inversion()
        self.end_batch()
        self.discovery.end_search()
        self.photo, self.faces, self.chosen, self.subject, self._folder = None, [], None, None, ""
        self.subjects, self.faceless, self.former, self.token, self.preparing = {}, None, None, "", False
        self.lesson, self.discovery, self.discovered = None, Discovery(), None
        self.values = []
        keys, self.cache_keys = self.cache_keys, set()
        return keys
