"""The page's endpoints for other programs and for agents (MCP): typed, stateless, and with files in and out.

What one call gives, a session file, the next one takes; the server keeps nothing of it beyond an hour. docs/api.md has
an example of each.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypedDict, get_type_hints

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from pydantic import FiniteFloat

from batch import BatchJob
from batch.zips import MOST_PHOTOS
from directions import Control, Controls, Direction
from directions import load as load_directions
from directions import save as save_directions
from editing import RECIPE_KEY, Edit, SampleSource, load_session, save_session
from editing.session import ENDING
from inversion import Photo, find_faces, limits_of_face, open_photo, save_picture
from inversion import preset as preset_of
from learning.from_labels import POOL, fit_from_labels
from page.api.arguments import OWNER, Upload, Whole, checked, own_copies, received
from page.jobs.batches import VisitorBatch
from page.jobs.editing import edited_picture, recipe_of, session_of
from page.jobs.inverting import invert
from page.jobs.measuring import effect_of
from page.jobs.opening import choose, draw_sample, resume, take_photo
from page.jobs.services import Services
from page.jobs.views import pasted_pictures
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from weights.errors import InputError, memory_told

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
        services: Shared with the page. The endpoints use the page's own generator and controls.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        quick: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "api"}
        # Inversions have no limit here, since they wait in the page's own queue, where there is room for a few only.
        # What a caller has had inverted is kept for nobody.
        for function, options in ((self.find_faces, quick), (self.invert, {"concurrency_limit": None}),
                                  (self.sample, quick), (self.edit, quick), (self.batch, {"concurrency_limit": 2}),
                                  (self.train_control, {"concurrency_limit": 1})):
            description = inspect.cleandoc(function.__doc__ or "")
            if "strengths" in inspect.signature(function).parameters:
                description += f"\n\nAttributes: {_in_words(services.models.controls.values())}."
            gr.api(_answering(function), api_name=function.__name__, api_description=description, **options)

    # Gradio takes what is said of each argument from its own line, and nothing from a second one.

    def find_faces(self, photo: Upload) -> list[FoundFace]:
        """Find the faces of a photo, largest first, and say what is off with each of them.

        Args:
            photo: JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP.
        Returns:
            A list of the faces: number, box, quad, pixels (width), yaw and roll (degrees), warnings.
        """
        with received(photo) as (path, name):
            opened = open_photo(path, name=name)
        faces = find_faces(opened)
        resolution = self.services.models.generator.img_resolution
        return [FoundFace(number=number, box=list(face.box), quad=face.quad.tolist(), pixels=float(face.size),
                          yaw=float(face.yaw), roll=float(face.roll),
                          warnings=list(limits_of_face(opened, face, faces, resolution=resolution)))
                for number, face in enumerate(faces)]

    def invert(self, photo: Upload, face: Whole = 0, preset: Preset = "faithful",
               with_photo: bool = True) -> tuple[FileData, FileData, Inverted]:
        """Find the latent of a face in a photo, to edit it. Waits its turn among all inversions of this server.

        Args:
            photo: JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP.
            face: Its number, as find_faces gives it; 0 is the largest.
            preset: fast (5 seconds on two cores, a likeness), balanced, or faithful (the same person; 90 seconds).
            with_photo: Put the photo into the session file, so that edits can be put back into it.
        Returns:
            A session file for edit, the inversion's picture, and how near it came: lpips, identity, seconds, warnings.
        """
        models, visitor = self.services.models, Visitor()
        with received(photo) as (path, name):
            take_photo(visitor, path, name)
        if not 0 <= face < len(visitor.faces):
            raise InputError(name, f"there is no face {face}",
                             "choose one with the argument face, by its number as find_faces gives it")
        choose(visitor, face)
        for _ in invert(visitor, models, preset, self.services.inversions):
            pass
        subject = visitor.subject
        if subject is None or subject.inversion is None:
            raise InputError(None, "the inversion was ended before it began", "call again")
        inversion = subject.inversion
        return (_session(visitor, models, with_photo), _picture(inversion.picture, subject.name, "-inversion.png"),
                Inverted(lpips=inversion.lpips, identity=inversion.identity, seconds=inversion.seconds,
                         warnings=list(inversion.warnings)))

    def sample(self, seed: Whole, truncation: FiniteFloat = 0.7) -> tuple[FileData, FileData]:
        """Draw a synthetic face of nobody, to edit it or to show it.

        Args:
            seed: 0 to 4294967295; the same seed, the same face.
            truncation: 0 to 1.5; low is ordinary, high is varied.
        Returns:
            A session file for edit, and the picture.
        """
        _check_sample(seed, truncation)
        visitor, models = Visitor(), self.services.models
        draw_sample(visitor, models.generator, seed, truncation)
        assert visitor.subject is not None
        return (_session(visitor, models, False),
                _picture(visitor.subject.picture, visitor.subject.name, ".png"))

    def edit(self, session: Upload, strengths: dict[str, FiniteFloat], keep: list[str] | None = None,
             layers: list[Whole] | None = None, step: FiniteFloat | None = None, method: str | None = None,
             put_back: bool = True, mark: bool = True,
             controls: Upload | None = None) -> tuple[FileData, Edited]:
        """Edit a face: {"smile": 1, "age": 0.5} makes it smile and a little older. Takes about a second.

        Args:
            session: From invert or sample, or saved on the page.
            strengths: Signed, by attribute or attribute:class; 1 flips the attribute of a typical sample.
            keep: Attributes to leave alone; none given: as each control's own list says.
            layers: Two numbers, the layer range [start, stop) in pixels along a side; none given: each control's own.
            step: Length of a step in W, 0.01 or more; none given: each control's own.
            method: gradctrl, interfacegan, ganspace or stylespace; none given: that of the controls.
            put_back: Give the photo with the edited face in it, where the session holds the photo.
            mark: Say in the picture's metadata that a generator edited it.
            controls: A control file, as train_control gives it, for more attributes than the server has.
        Returns:
            The edited picture, a PNG with the recipe in its metadata; and identity distance, attributes and recipe.
        """
        models = self._models_with(controls)
        wanted = _edit(strengths, keep, layers, step, method)
        visitor = Visitor()
        with received(session) as (path, name):
            loaded = load_session(path, name=name)
            if isinstance(loaded.source, SampleSource):
                checked(loaded.source.seed, int, name)
                _check_sample(loaded.source.seed, checked(loaded.source.truncation, FiniteFloat, name))
            resume(visitor, loaded, models.generator)
        subject = visitor.subject
        assert subject is not None
        picture = edited_picture(models, subject, wanted)
        effect = effect_of(models, subject, wanted, picture)
        made = recipe_of(models, subject, wanted).to_json()
        if put_back and subject.photo is not None:
            _, picture = pasted_pictures(subject, picture)
        attributes = [Changed(attribute=m.attribute, class_name=m.classes[m.leading], before=m.before[m.leading],
                              after=m.after[m.leading], asked=m.asked) for m in effect.measures]
        return (_picture(picture, subject.name, "-edited.png", {RECIPE_KEY: made}, mark=mark,
                         like=subject.photo if put_back else None),
                Edited(identity=float(effect.identity), attributes=attributes, recipe=made))

    def batch(self, photos: list[Upload], strengths: dict[str, FiniteFloat], preset: Preset = "balanced",
              keep: list[str] | None = None, put_back: bool = True,
              all_faces: bool = False) -> tuple[FileData, list[BatchRow]]:
        """Apply one edit to many photos. A bad file stops nothing: it has its reason in the table.

        Args:
            photos: JPEG, PNG and WebP files, and ZIPs of them; 500 photos at most.
            strengths: Signed, by attribute or attribute:class; 1 flips the attribute of a typical sample.
            preset: fast (20 seconds a photo on two cores), balanced, or faithful (75 seconds a photo).
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
        wanted_job = BatchJob(edit=wanted, settings=preset_of(preset), faces="all" if all_faces else "largest",
                              outputs=("photo" if put_back else "crop", "latent"), mark=True, thumbnails=False)
        try:
            with own_copies(photos) as paths:
                job = VisitorBatch(visitor, self.services.models, wanted_job, paths, threading.Event(),
                                   self.services.inversions)
                for _ in job.run():
                    pass
            if job.zip is None:
                raise InputError(None, job.error)
            file = _file(job.zip.rename(files.download_path(job.zip.stem, OWNER, job.zip.suffix)))
        finally:
            files.forget(visitor.folder)
        return file, [BatchRow(file=row.name, face=row.face, state=row.state, reason=row.reason, lpips=row.lpips,
                               identity=row.identity, warnings=list(row.warnings)) for row in job.rows]

    def train_control(self, name: str, classes: list[str], labels: dict[str, str],
                      truncation: FiniteFloat = 1.0) -> tuple[FileData, Trained]:
        """Train a new control from samples that were sorted into classes, without a classifier. Takes seconds.

        Args:
            name: Of the attribute: lower-case letters of any language, digits and _.
            classes: 2 to 6 names; of two the negative one first.
            labels: The class of each sample, by its seed as a text; 30 of each class work well, 10 are the least.
            truncation: Of the samples, as it was given to sample.
        Returns:
            The control file, for edit, the tab Models and the command line; and how good it is.
        """
        models = self.services.models
        if len(labels) > POOL:
            raise InputError("labels", f"{len(labels)} samples are more than the {POOL} that a control is trained on")
        by_seed = {}
        for seed, class_name in labels.items():
            if not seed.isdecimal():
                raise InputError("labels", f"{seed!r} is not the seed of a sample", "give a whole number from 0 on")
            _check_sample(int(seed), truncation)
            by_seed[int(seed)] = class_name
        control = fit_from_labels(models.generator, models.controls, name, classes, by_seed, truncation=truncation)
        path = files.download_path(name, OWNER, ".control.safetensors")
        save_directions(path, [control], spaces=models.generator.spaces)
        return _file(path), _trained(control)

    def _models_with(self, file: FileData | None) -> EditingModels:
        """The server's models; with a file, its controls in place of those of the same name, or of another method."""
        models = self.services.models
        if file is None:
            return models
        with received(file) as (path, name):
            loaded = load_directions(path)
        others = [control for control in models.controls.values() if control.name not in loaded]
        spaces = loaded.spaces or models.generator.spaces
        together = Controls([*others, *loaded.values()], source=name, spaces=spaces)
        if together.method is None:
            together = Controls([*loaded.values()], source=name, spaces=spaces)
        return models.with_controls(together)


def _edit(strengths: Mapping[str, float], keep: Sequence[str] | None, layers: Sequence[int] | None = None,
          step: float | None = None, method: str | None = None) -> Edit:
    if layers is not None and len(layers) != 2:
        raise InputError("layers", f"{list(layers)} is no layer range",
                         "give two numbers, start and stop, as in [8, 64]")
    edit = Edit(strengths=dict(strengths), step=step, method=method, keep=None if keep is None else tuple(keep),
                layers=None if layers is None else (layers[0], layers[1]))
    edit.check()
    return edit


def _check_sample(seed: int, truncation: float) -> None:
    if not 0 <= seed <= MOST_SEED or not 0 <= truncation <= MOST_TRUNCATION:
        raise InputError(f"seed {seed}, truncation {truncation:g}",
                         f"give a seed from 0 to {MOST_SEED} and a truncation from 0 to {MOST_TRUNCATION:g}")


def _in_words(controls: Iterable[Direction]) -> str:
    """Which attributes there are, and how far they go safely, for whoever cannot see the sliders."""
    words = []
    for control in controls:
        low, high = control.limits
        ends = ""
        if isinstance(control, Control) and control.binary:
            ends = f", {control.classes[0]} to {control.classes[1]}"
        words.append(f"{' or '.join(control.keys)} ({low:g} to {high:g}{ends})")
    return "; ".join(words)


def _trained(control: Control) -> Trained:
    held_out = control.report.get("held out")
    accuracy = held_out.get("balanced accuracy") if isinstance(held_out, Mapping) else None
    return Trained(name=control.name, classes=list(control.classes), trained_on=str(control.report.get("trained on")),
                   balanced_accuracy=accuracy, safe=list(control.limits))


def _answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as Gradio calls it: what it is given is checked, and an InputError is an answer to read."""
    hints, signature = get_type_hints(function), inspect.signature(function)
    rules = get_type_hints(function, include_extras=True)

    @wraps(function)
    def wrapped(*args: Any) -> Any:
        try:
            # Programs that send a plain list have nothing but null for what they leave out.
            given = {name: value for name, value in zip(signature.parameters, args, strict=True)
                     if value is not None or signature.parameters[name].default is inspect.Parameter.empty}
            arguments = {name: checked(value, rules[name], name) for name, value in given.items()}
            with memory_told():
                return function(**arguments)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error

    wrapped.__signature__ = signature.replace(  # type: ignore[attr-defined]  # Gradio does not look names up.
        parameters=[item.replace(annotation=hints[item.name]) for item in signature.parameters.values()],
        return_annotation=hints["return"])
    return wrapped


def _session(visitor: Visitor, models: EditingModels, with_photo: bool) -> FileData:
    subject = visitor.subject
    assert subject is not None
    path = files.download_path(subject.name, OWNER, ENDING)
    save_session(path, session_of(visitor, models.generator, with_photo=with_photo))
    return _file(path)


def _picture(picture: np.ndarray, name: str, ending: str, texts: Mapping[str, str] | None = None, *,
             mark: bool = False, like: Photo | None = None) -> FileData:
    path = files.download_path(name, OWNER, ending)
    save_picture(path, picture, metadata=texts, mark=mark, like=like)
    return _file(path)


def _file(path: Path) -> FileData:
    return FileData(path=str(path), orig_name=path.name)
