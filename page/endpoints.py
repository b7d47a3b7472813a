"""The page's endpoints for other programs and for agents (MCP): typed, stateless, and with files in and out.

What one call gives, a session file, the next one takes; the server keeps nothing of it beyond an hour.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
import numpy as np
from gradio.data_classes import FileData

from editing import RECIPE_KEY, Edit, load_session, save_session
from editing.batch import Batch, BatchOptions, run_to_zip
from editing.control_files import load_any
from editing.learning import train_from_labels
from editing.session import ENDING
from gradctrl import Control, save_controls
from inversion import Photo, find_faces, limits_of_face, open_photo, save_picture
from inversion import preset as preset_of
from page import showing
from page.measures import effect_of
from page.models import Bench, Models
from page.visitor import Visitor, recipe
from weights.errors import InputError

OWNER = "api"  # Of the files that are made for other programs; they go after an hour.


class FoundFace(TypedDict):
    """A face of a photo; the largest is number 0."""

    number: int
    box: list[int]       # Left, top, right, bottom in pixels of the upright photo.
    quad: list[list[float]]
    pixels: float        # Across.
    yaw: float           # Degrees.
    roll: float
    warnings: list[str]


class Inverted(TypedDict):
    """How near an inversion came."""

    lpips: float
    identity: float | None
    seconds: float
    warnings: list[str]


class Changed(TypedDict):
    """An attribute's probability before and after an edit."""

    attribute: str
    class_name: str
    before: float
    after: float
    asked: bool


class Edited(TypedDict):
    """What an edit did."""

    identity: float
    attributes: list[Changed]
    recipe: str


class BatchRow(TypedDict):
    """What became of one face of a batch."""

    file: str
    face: int
    state: str
    reason: str


class Trained(TypedDict):
    """How good a control is."""

    name: str
    classes: list[str]
    trained_on: str
    balanced_accuracy: float | None
    safe: list[float]


class Endpoints:
    """The functions behind the endpoints, and their registration. Build it within `gr.Blocks`.

    Args:
        models: Shared with the page. The endpoints use the page's own generator and controls.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        quick: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "api"}
        for function, options in ((self.find_faces, quick), (self.sample, quick), (self.edit, quick),
                                  (self.train_control, {"concurrency_limit": 1}),
                                  (self.invert, {"concurrency_limit": None}), (self.batch, {"concurrency_limit": 1})):
            name = function.__name__
            gr.api(_answering(function), api_name=name, api_description=_described(function), **options)

    def find_faces(self, photo: FileData) -> list[FoundFace]:
        """Find the faces of a photo, largest first, and say what is off with each of them.

        Args:
            photo: JPEG, PNG or WebP.
        """
        with _opened(photo) as opened:
            faces = find_faces(opened)
            resolution = self.models.bench.generator.resolution
            return [FoundFace(number=number, box=list(face.box), quad=face.quad.tolist(), pixels=face.size,
                              yaw=face.yaw, roll=face.roll,
                              warnings=list(limits_of_face(opened, face, faces, resolution=resolution)))
                    for number, face in enumerate(faces)]

    def invert(self, photo: FileData, face: int = 0, preset: str = "faithful",
               with_photo: bool = True) -> tuple[FileData, FileData, Inverted]:
        """Find the latent of a face in a photo. Waits its turn among all inversions of this server.

        Args:
            photo: JPEG, PNG or WebP.
            face: Its number, as find_faces gives it.
            preset: fast, balanced or faithful.
            with_photo: Put the photo into the session file, so that edits can be put back into it.
        Returns:
            A session file for the endpoint edit, the inversion's picture, and how near it came.
        """
        bench, settings, visitor = self.models.bench, preset_of(preset), Visitor()
        with _opened(photo) as opened:
            visitor.photo, visitor.faces = opened, find_faces(opened)
        visitor.choose(face)
        for _ in visitor.invert(bench.projector, settings, None, self.models.lane,
                                bench.loaded.timing.seconds(settings) or 0.0):
            pass
        subject = visitor.subject
        if subject is None or subject.inversion is None:
            raise InputError("the inversion was ended before it began; call again")
        found = subject.inversion
        return (_session(visitor, bench, with_photo), _picture(found.picture, subject.name, "-inversion.png"),
                Inverted(lpips=found.lpips, identity=found.identity, seconds=found.seconds,
                         warnings=list(found.warnings)))

    def sample(self, seed: int, truncation: float = 0.7) -> tuple[FileData, FileData]:
        """Draw a synthetic face of nobody.

        Args:
            seed: The same seed, the same face.
            truncation: 0 to 1.5; low is ordinary, high is varied.
        Returns:
            A session file for the endpoint edit, and the picture.
        """
        if not 0 <= truncation <= 1.5 or not 0 <= seed < 2 ** 32:
            raise InputError(f"seed {seed}, truncation {truncation:g}: use a seed from 0 to 4294967295 and a "
                             "truncation from 0 to 1.5")
        visitor, bench = Visitor(), self.models.bench
        visitor.sample(bench.generator, seed, truncation)
        assert visitor.subject is not None
        return (_session(visitor, bench, False),
                _picture(visitor.subject.picture, visitor.subject.name, ".png"))

    def edit(self, session: FileData, strengths: dict[str, float], keep: list[str] | None = None,
             layers: list[int] | None = None, step: float | None = None, method: str | None = None,
             put_back: bool = True, mark: bool = True,
             controls: FileData | None = None) -> tuple[FileData, Edited]:
        """Edit a face: {"smile": 2, "hair:blond": 1} makes it smile and gives it blond hair.

        Args:
            session: From the endpoint invert or sample, or saved on the page.
            strengths: Signed, by attribute or attribute:class; 1 flips the attribute of a typical sample.
            keep: Attributes to leave alone; none given: as each control's own list says.
            layers: Two numbers, the layer range [start, stop); none given: each control's own.
            step: Length of a step in W; none given: each control's own.
            method: project or paper; none given: each control's own.
            put_back: Give the photo with the edited face in it, where the session holds the photo.
            mark: Say in the picture's metadata that a generator edited it.
            controls: A control file, as train_control gives it, in place of the page's controls.
        Returns:
            The edited picture as PNG with the recipe in its metadata, and what the edit did.
        """
        bench = self._bench(controls)
        if layers is not None and len(layers) != 2:
            raise InputError(f"layers {layers}: give two numbers, as in [2, 8]")
        wanted = Edit(strengths={name: float(value) for name, value in strengths.items()}, step=step, method=method,
                      keep=None if keep is None else tuple(keep),
                      layers=None if layers is None else (int(layers[0]), int(layers[1])))
        visitor = Visitor()
        with _received(session) as (path, name):
            visitor.resume(load_session(path, name=name), bench.generator)
        subject = visitor.subject
        assert subject is not None
        picture = bench.edit(subject, wanted)
        effect = effect_of(bench, subject, wanted, picture)
        made = recipe(subject, bench.generator, bench.controls_of(method), wanted).to_json()
        if put_back and subject.photo is not None:
            _, picture = subject.pasted(picture)
        attributes = [Changed(attribute=m.attribute, class_name=m.classes[m.leading], before=m.before[m.leading],
                              after=m.after[m.leading], asked=m.asked) for m in effect.measures]
        return (_picture(picture, subject.name, "-edited.png", {RECIPE_KEY: made}, mark=mark),
                Edited(identity=effect.identity, attributes=attributes, recipe=made))

    def batch(self, photos: list[FileData], strengths: dict[str, float], preset: str = "balanced",
              keep: list[str] | None = None, put_back: bool = True,
              all_faces: bool = False) -> tuple[FileData, list[BatchRow]]:
        """Apply one edit to many photos. A bad file stops nothing: it has its reason in the table.

        Args:
            photos: JPEG, PNG and WebP files, and ZIPs of them.
            strengths: As for the endpoint edit.
            preset: fast, balanced or faithful.
            keep: As for the endpoint edit.
            put_back: Give the photos with the edited faces in them; else the faces alone.
            all_faces: Edit all faces of each photo; else the largest.
        Returns:
            A ZIP with pictures, latents and a table (CSV), and the table.
        """
        wanted = Edit(strengths={name: float(value) for name, value in strengths.items()},
                      keep=None if keep is None else tuple(keep))
        bench, settings = self.models.bench, preset_of(preset)

        @contextmanager
        def turn() -> Iterator[None]:
            with self.models.lane.join(bench.loaded.timing.seconds(settings) or 0.0) as ticket:
                ticket.wait()
                yield

        options = BatchOptions(faces="all" if all_faces else "largest", paste=put_back, mark=True)
        engine = Batch(bench.projector, bench.controls_of(None), wanted, settings, options=options, turn=turn)
        paths = [str(_path(photo)) for photo in photos]
        if not paths:
            raise InputError("no photos were given; give JPEG, PNG or WebP files, or a ZIP of them")
        out = showing.download_path("batch", OWNER, ".zip")
        work = Path(tempfile.mkdtemp(dir=out.parent)) / "work"
        try:
            rows = run_to_zip(engine, paths, work, out, own=True)
        finally:
            for path in paths:
                showing.discard_upload(path)
        return _file(out), [BatchRow(file=row.name, face=row.face, state=row.state, reason=row.reason) for row in rows]

    def train_control(self, name: str, classes: list[str], labels: dict[str, str],
                      truncation: float = 1.0) -> tuple[FileData, Trained]:
        """Train a new control from samples that were sorted into classes, without a classifier.

        Args:
            name: Of the attribute: lower-case letters, digits and _.
            classes: 2 to 6 names; of two the negative one first.
            labels: The class of each sample, by its seed; 30 of each class work well, 10 are the least.
            truncation: Of the samples, as it was given to the endpoint sample.
        Returns:
            The control file, for the tab Models, the endpoint edit and the command line; and how good it is.
        """
        bench = self.models.bench
        try:
            by_seed = {int(seed): class_name for seed, class_name in labels.items()}
        except ValueError as error:
            raise InputError(f"labels: a seed is a whole number ({error})") from error
        control = train_from_labels(bench.generator, bench.controls, name, classes, by_seed, truncation=truncation)
        path = showing.download_path(name, OWNER, ".control.safetensors")
        save_controls(path, [control], generator_hash=bench.generator.hash)
        return _file(path), _trained(control)

    def _bench(self, controls: FileData | None) -> Bench:
        if controls is None:
            return self.models.bench
        with _received(controls) as (path, name):
            try:
                found = load_any(path)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from error
        return self.models.bench.with_controls(found)


def _trained(control: Control) -> Trained:
    held_out = control.report.get("held out")
    accuracy = held_out.get("balanced accuracy") if isinstance(held_out, Mapping) else None
    return Trained(name=control.name, classes=list(control.classes), trained_on=str(control.report.get("trained on")),
                   balanced_accuracy=accuracy, safe=list(control.limits))


def _answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """An InputError is an answer, which the caller reads."""
    @wraps(function)
    def wrapped(*args: Any) -> Any:
        try:
            return function(*args)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
    return wrapped


def _described(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").split("\n\n")[0].strip()


def _path(file: Any) -> Path:
    """Where Gradio has put an uploaded file, which comes as a dict or as FileData."""
    return Path(file["path"] if isinstance(file, dict) else file.path)


@contextmanager
def _received(file: Any) -> Iterator[tuple[Path, str]]:
    """An uploaded file and its own name; it is deleted once it was read."""
    path = _path(file)
    try:
        yield path, path.name
    finally:
        showing.discard_upload(str(path))


@contextmanager
def _opened(file: Any) -> Iterator[Photo]:
    with _received(file) as (path, name):
        yield open_photo(path, name=name)


def _session(visitor: Visitor, bench: Bench, with_photo: bool) -> FileData:
    subject = visitor.subject
    assert subject is not None
    path = showing.download_path(subject.name, OWNER, ENDING)
    save_session(path, visitor.session(bench.generator, with_photo=with_photo))
    return _file(path)


def _picture(picture: np.ndarray, name: str, ending: str, texts: Mapping[str, str] | None = None, *,
             mark: bool = False) -> FileData:
    path = showing.download_path(name, OWNER, ending)
    save_picture(path, picture, metadata=texts, mark=mark)
    return _file(path)


def _file(path: Path) -> FileData:
    return FileData(path=str(path), orig_name=path.name)

