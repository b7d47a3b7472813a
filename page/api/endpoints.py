"""The page's endpoints for other programs and for agents (MCP): typed, stateless, and with files in and out.

What one call gives, a session file, the next one takes; the server keeps nothing of it beyond an hour. docs/api.md has
an example of each.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypedDict, get_type_hints

import gradio as gr
import numpy as np
from batch.batch import BatchOptions
from gradio.data_classes import FileData

from batch.files import MOST_PHOTOS
from directions import Control, Controls, Steerable, save_controls
from directions.files import load_any
from editing import RECIPE_KEY, Edit, SampleSource, load_session, save_session
from editing.session import ENDING
from inversion import find_faces, limits_of_face, open_photo, save_picture
from inversion import preset as preset_of
from learning.from_labels import POOL, train_from_labels
from page.api.arguments import OWNER, checked, own_copies, received
from page.jobs.batches import Running
from page.jobs.measuring import effect_of
from page.state import files as showing
from page.state.models import Bench, Models
from page.state.visitor import Visitor, recipe
from weights.errors import InputError

Preset = Literal["fast", "balanced", "faithful"]
MOST_SEED, MOST_TRUNCATION = 2 ** 32 - 1, 1.5


class FoundFace(TypedDict):
    """A face of a photo; the largest is number 0."""

    number: int
    box: list[int]           # Left, top, right, bottom in pixels of the upright photo.
    quad: list[list[float]]  # Corners of the crop: top left, bottom left, bottom right, top right.
    pixels: float            # Across.
    yaw: float               # Degrees.
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
    lpips: float | None
    identity: float | None
    warnings: list[str]


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
        self._uncached = copy.copy(models)  # The same lane and models; what a caller had inverted is kept for nobody.
        self._uncached.cache = None
        quick: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "api"}
        # Inversions have no limit here, since they wait in the page's lane, where there is room for a few only.
        for function, options in ((self.find_faces, quick), (self.invert, {"concurrency_limit": None}),
                                  (self.sample, quick), (self.edit, quick), (self.batch, {"concurrency_limit": 2}),
                                  (self.train_control, {"concurrency_limit": 1})):
            description = inspect.cleandoc(function.__doc__ or "")
            if "strengths" in inspect.signature(function).parameters:
                description += f"\n\nAttributes: {_in_words(models.bench.controls.values())}."
            gr.api(_answering(function), api_name=function.__name__, api_description=description, **options)

    # Gradio takes what is said of each argument from its own line, and nothing from a second one.

    def find_faces(self, photo: FileData) -> list[FoundFace]:
        """Find the faces of a photo, largest first, and say what is off with each of them.

        Args:
            photo: JPEG, PNG or WebP.
        Returns:
            A list of the faces: number, box, quad, pixels (width), yaw and roll (degrees), warnings.
        """
        with received(photo) as (path, name):
            opened = open_photo(path, name=name)
        faces = find_faces(opened)
        resolution = self.models.bench.generator.img_resolution
        return [FoundFace(number=number, box=list(face.box), quad=face.quad.tolist(), pixels=float(face.size),
                          yaw=float(face.yaw), roll=float(face.roll),
                          warnings=list(limits_of_face(opened, face, faces, resolution=resolution)))
                for number, face in enumerate(faces)]

    def invert(self, photo: FileData, face: int = 0, preset: Preset = "faithful",
               with_photo: bool = True) -> tuple[FileData, FileData, Inverted]:
        """Find the latent of a face in a photo, to edit it. Waits its turn among all inversions of this server.

        Args:
            photo: JPEG, PNG or WebP.
            face: Its number, as find_faces gives it; 0 is the largest.
            preset: fast (seconds, a likeness), balanced, or faithful (the same person; half a minute or more).
            with_photo: Put the photo into the session file, so that edits can be put back into it.
        Returns:
            A session file for edit, the inversion's picture, and how near it came: lpips, identity, seconds, warnings.
        """
        bench, settings, visitor = self.models.bench, preset_of(preset), Visitor()
        with received(photo) as (path, name):
            visitor.photo = open_photo(path, name=name)
        visitor.faces = find_faces(visitor.photo)
        try:
            visitor.choose(face)
        except InputError as error:  # Its words are the command line's.
            remedy = error.remedy.replace("--face N", "the argument face")
            raise InputError(error.subject, error.problem, remedy) from error
        for _ in visitor.invert(bench.projector, settings, None, self.models.lane,
                                bench.loaded.timing.seconds(settings) or 0.0):
            pass
        subject = visitor.subject
        if subject is None or subject.inversion is None:
            raise InputError(None, "the inversion was ended before it began", "call again")
        found = subject.inversion
        return (_session(visitor, bench, with_photo), _picture(found.picture, subject.name, "-inversion.png"),
                Inverted(lpips=found.lpips, identity=found.identity, seconds=found.seconds,
                         warnings=list(found.warnings)))

    def sample(self, seed: int, truncation: float = 0.7) -> tuple[FileData, FileData]:
        """Draw a synthetic face of nobody, to edit it or to show it.

        Args:
            seed: 0 to 4294967295; the same seed, the same face.
            truncation: 0 to 1.5; low is ordinary, high is varied.
        Returns:
            A session file for edit, and the picture.
        """
        _check_sample(seed, truncation)
        visitor, bench = Visitor(), self.models.bench
        visitor.sample(bench.generator, seed, truncation)
        assert visitor.subject is not None
        return (_session(visitor, bench, False),
                _picture(visitor.subject.picture, visitor.subject.name, ".png"))

    def edit(self, session: FileData, strengths: dict[str, float], keep: list[str] | None = None,
             layers: list[int] | None = None, step: float | None = None, method: str | None = None,
             put_back: bool = True, mark: bool = True,
             controls: FileData | None = None) -> tuple[FileData, Edited]:
        """Edit a face: {"smile": 2, "hair:blond": 1} makes it smile and gives it blond hair. Takes less than a second.

        Args:
            session: From invert or sample, or saved on the page.
            strengths: Signed, by attribute or attribute:class; 1 flips the attribute of a typical sample.
            keep: Attributes to leave alone; none given: as each control's own list says.
            layers: Two numbers, the layer range [start, stop); none given: each control's own.
            step: Length of a step in W, 0.05 or more; none given: each control's own.
            method: project or paper, or interfacegan, ganspace or stylespace; none given: each control's own.
            put_back: Give the photo with the edited face in it, where the session holds the photo.
            mark: Say in the picture's metadata that a generator edited it.
            controls: A control file, as train_control gives it, for more attributes than the server has.
        Returns:
            The edited picture, a PNG with the recipe in its metadata; and identity distance, attributes and recipe.
        """
        bench = self._bench(controls)
        wanted = _edit(strengths, keep, layers, step, method)
        visitor = Visitor()
        with received(session) as (path, name):
            loaded = load_session(path, name=name)
            if isinstance(loaded.source, SampleSource):
                checked(loaded.source.seed, int, name)
                _check_sample(loaded.source.seed, checked(loaded.source.truncation, float, name))
            visitor.resume(loaded, bench.generator)
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
                Edited(identity=float(effect.identity), attributes=attributes, recipe=made))

    def batch(self, photos: list[FileData], strengths: dict[str, float], preset: Preset = "balanced",
              keep: list[str] | None = None, put_back: bool = True,
              all_faces: bool = False) -> tuple[FileData, list[BatchRow]]:
        """Apply one edit to many photos. A bad file stops nothing: it has its reason in the table.

        Args:
            photos: JPEG, PNG and WebP files, and ZIPs of them; 500 photos at most.
            strengths: Signed, by attribute or attribute:class; 1 flips the attribute of a typical sample.
            preset: fast (seconds a photo), balanced, or faithful (half a minute a photo).
            keep: Attributes to leave alone; none given: as each control's own list says.
            put_back: Give the photos with the edited faces in them; else the faces alone.
            all_faces: Edit all faces of each photo; else the largest.
        Returns:
            A ZIP with pictures, latents and a table (CSV); and the table: file, face, state, reason, warnings.
        """
        if not 1 <= len(photos) <= MOST_PHOTOS:
            raise InputError("photos", f"{len(photos)} files were given",
                             f"give 1 to {MOST_PHOTOS} photos, or ZIPs of them")
        wanted, visitor = _edit(strengths, keep), Visitor()
        options = BatchOptions(faces="all" if all_faces else "largest", paste=put_back, mark=True)
        try:
            with own_copies(photos) as paths:
                running = Running(self._uncached, visitor, self.models.bench, wanted, preset_of(preset), options, paths,
                                  threading.Event())
                for _ in running.watch():
                    pass
            if running.zip is None:
                raise InputError(None, running.error)
            file = _file(running.zip.rename(showing.download_path(running.zip.stem, OWNER, running.zip.suffix)))
        finally:
            showing.forget(visitor.folder)
        return file, [BatchRow(file=row.name, face=row.face, state=row.state, reason=row.reason, lpips=row.lpips,
                               identity=row.identity, warnings=list(row.warnings)) for row in running.rows]

    def train_control(self, name: str, classes: list[str], labels: dict[str, str],
                      truncation: float = 1.0) -> tuple[FileData, Trained]:
        """Train a new control from samples that were sorted into classes, without a classifier. Takes seconds.

        Args:
            name: Of the attribute: lower-case letters, digits and _.
            classes: 2 to 6 names; of two the negative one first.
            labels: The class of each sample, by its seed as a text; 30 of each class work well, 10 are the least.
            truncation: Of the samples, as it was given to sample.
        Returns:
            The control file, for edit, the tab Models and the command line; and how good it is.
        """
        bench = self.models.bench
        if len(labels) > POOL:
            raise InputError("labels", f"{len(labels)} samples are more than the {POOL} that a control is trained on")
        by_seed = {}
        for seed, class_name in labels.items():
            if not seed.isdecimal():
                raise InputError("labels", f"{seed!r} is not the seed of a sample", "give a whole number from 0 on")
            _check_sample(int(seed), truncation)
            by_seed[int(seed)] = class_name
        control = train_from_labels(bench.generator, bench.controls, name, classes, by_seed, truncation=truncation)
        path = showing.download_path(name, OWNER, ".control.safetensors")
        save_controls(path, [control], generator_hash=bench.generator.hash)
        return _file(path), _trained(control)

    def _bench(self, file: FileData | None) -> Bench:
        """The server's bench; with a file, its controls in place of those of the same name, or of another family."""
        bench = self.models.bench
        if file is None:
            return bench
        with received(file) as (path, name):
            found = load_any(path)
        together: list[Steerable] = [control for control in bench.controls.values() if control.name not in found]
        if not all(isinstance(control, Control) for control in (*together, *found.values())):
            together = []
        return bench.with_controls(Controls([*together, *found.values()], source=name,
                                            generator_hash=found.generator_hash or bench.generator.hash))


def _edit(strengths: Mapping[str, float], keep: Sequence[str] | None, layers: Sequence[int] | None = None,
          step: float | None = None, method: str | None = None) -> Edit:
    if layers is not None and len(layers) != 2:
        raise InputError("layers", f"{list(layers)} is no layer range",
                         "give two numbers, start and stop, as in [2, 8]")
    edit = Edit(strengths=dict(strengths), step=step, method=method, keep=None if keep is None else tuple(keep),
                layers=None if layers is None else (layers[0], layers[1]))
    edit.check()
    return edit


def _check_sample(seed: int, truncation: float) -> None:
    if not 0 <= seed <= MOST_SEED or not 0 <= truncation <= MOST_TRUNCATION:
        raise InputError(f"seed {seed}, truncation {truncation:g}",
                         f"give a seed from 0 to {MOST_SEED} and a truncation from 0 to {MOST_TRUNCATION:g}")


def _in_words(controls: Iterable[Steerable]) -> str:
    """Which attributes there are, and how far they go safely, for whoever cannot see the sliders."""
    found = []
    for control in controls:
        low, high = control.limits
        names = control.name if control.binary else " or ".join(f"{control.name}:{item}" for item in control.classes)
        ends = f", {control.classes[0]} to {control.classes[1]}" if control.binary else ""
        found.append(f"{names} ({low:g} to {high:g}{ends})")
    return "; ".join(found)


def _trained(control: Control) -> Trained:
    held_out = control.report.get("held out")
    accuracy = held_out.get("balanced accuracy") if isinstance(held_out, Mapping) else None
    return Trained(name=control.name, classes=list(control.classes), trained_on=str(control.report.get("trained on")),
                   balanced_accuracy=accuracy, safe=list(control.limits))


def _answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as Gradio calls it: what it is given is checked, and an InputError is an answer to read."""
    hints, signature = get_type_hints(function), inspect.signature(function)

    @wraps(function)
    def wrapped(*args: Any) -> Any:
        try:
            # Programs that send a plain list have nothing but null for what they leave out.
            given = {name: value for name, value in zip(signature.parameters, args, strict=True)
                     if value is not None or signature.parameters[name].default is inspect.Parameter.empty}
            return function(**{name: checked(value, hints[name], name) for name, value in given.items()})
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    wrapped.__signature__ = signature.replace(  # type: ignore[attr-defined]  # Gradio does not look names up.
        parameters=[item.replace(annotation=hints[item.name]) for item in signature.parameters.values()],
        return_annotation=hints["return"])
    return wrapped


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
