"""One photo in a worker's hands: opened, its faces chosen, edited and written; what goes wrong ends in its rows."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from batch.job import ENDED, LATENTS, PICTURES, BatchJob, BatchTask, JobError, Outcome, Row
from batch.models import Models
from batch.tables import save_thumbnail
from batch.zips import reason_of
from directions.control import Control
from editing.pipeline import ChosenFace, Inverter, choose, face_index
from editing.recipe import Recipe, recipe_texts
from inversion import (
    SAME_PERSON,
    Face,
    Inversion,
    NoFaceError,
    Photo,
    Projector,
    describe,
    describe_crop,
    find_upright,
    identity_distance,
    load_inversion,
    made_smaller,
    open_photo,
    paste_back,
    save_inversion,
    save_picture,
)
from weights.errors import InputError, is_no_room, is_out_of_memory, out_of_memory

THUMBNAIL_SIDE = 512
FAULT = "could not be edited, by a fault of the program; its log says more"
CANCELLED = "cancelled before it was done"


@dataclass(frozen=True, eq=False)
class Hooks:
    """Whom a worker tells, and asks, while it works."""

    tell: Callable[[Row], None] = lambda row: None  # Each row whenever it changes.
    should_stop: Callable[[], bool] = lambda: False  # Within inversions; True gives up what is in hand.
    turn: Callable[[], AbstractContextManager[object]] = nullcontext  # Entered for each inversion that is made.


class PhotoWork:
    """One photo in hand."""

    def __init__(self, job: BatchJob, task: BatchTask, folder: Path, models: Models, hooks: Hooks) -> None:
        self.job, self.task, self.folder, self.models, self.hooks = job, task, folder, models, hooks
        self.rows = {0: Row(index=task.index, name=task.photo.name)}
        self.chosen: dict[int, ChosenFace] = {}      # By the number of the row; not where there is a latent alone.
        self.inversions: dict[int, Inversion] = {}
        self.written: list[Path] = []
        self.photo: Photo | None = None
        self.unfinished = ""
        self.inverter = models.inverter if not task.pivot else sharing(models.inverter, str(folder / task.pivot))

    # ---- how it goes

    @contextmanager
    def attempt(self, number: int | None = None) -> Iterator[None]:
        """Whatever the block raises ends in the photo's rows, or in one of them."""
        try:
            yield
        except JobError:
            raise
        except InputError as error:
            if is_no_room(error):
                self.unfinished = "no room"
            self.fail(self._reason(error), number)
        except Exception as error:  # noqa: BLE001 (a fault that one photo meets must not cost the others)
            if is_out_of_memory(error):
                self.fail(str(out_of_memory(error)), number)
            else:
                traceback.print_exc(file=sys.stderr)
                self.fail(FAULT, number)

    @property
    def is_over(self) -> bool:
        return bool(self.unfinished) or all(row.state in ENDED for row in self.rows.values())

    def tell(self, number: int, **changes: object) -> None:
        self.rows[number] = row = replace(self.rows[number], **changes)  # type: ignore[arg-type]
        self.hooks.tell(row)
        if row.state in ENDED:  # Whoever wants to show the thumbnails has them now.
            self.rows[number] = replace(row, thumbnails=None)

    def fail(self, reason: str, number: int | None = None) -> None:
        for each in self.rows if number is None or self.unfinished else (number,):
            if self.rows[each].state not in ENDED:
                self.tell(each, state="failed", reason=reason)

    def cancel(self) -> None:
        self.unfinished = "cancelled"
        for number, row in self.rows.items():
            if row.state not in ENDED:
                self.tell(number, state="cancelled", reason=CANCELLED)

    def outcome(self) -> Outcome:
        if not self.unfinished:
            _flush(self.written)
        return Outcome(task=self.task, rows=tuple(self.rows.values()), unfinished=self.unfinished,  # type: ignore[arg-type]
                       sha256=self.photo.sha256 if self.photo is not None and not self.task.photo.latents else "")

    def _reason(self, error: InputError) -> str:
        """An error in one line; folders of this machine mean nothing to whoever reads it."""
        photo = self.task.photo
        name = str(photo.file) if error.subject == str(photo.file) else photo.name
        return reason_of(error, name).replace(f"{self.folder}{os.sep}", "")

    # ---- the steps

    def open(self) -> None:
        """Open the photo and find its faces, or read its latents."""
        self.tell(0, state="finding")
        source = self.task.photo
        if source.latents:
            self._read_latents(source.latents)
            return
        assert source.path is not None
        self.photo, faces, _ = find_upright(open_photo(source.path, name=source.name))
        for number, index in enumerate(self._wanted(self.photo, faces)):
            self.rows[number] = replace(self.rows[0], face=index, faces=len(faces), state="finding")
            self.tell(number, state="waiting")
            with self.attempt(number):
                self.chosen[number] = choose(self.photo, index, faces=faces)
                kept = self.inverter.cached(self.chosen[number], self.job.settings)
                if kept is not None:
                    self.inversions[number] = kept
                    self.tell(number, kept=True)

    def _wanted(self, photo: Photo, faces: Sequence[Face]) -> list[int]:
        """Which faces of a photo are to be edited."""
        if self.job.faces != "like":
            return list(range(len(faces) if self.job.faces == "all" else 1))
        reference = np.array(self.job.reference, np.float32)
        distances = [identity_distance(reference, describe(photo, face)) for face in faces]
        nearest = int(np.argmin(distances))
        if distances[nearest] >= SAME_PERSON:
            raise NoFaceError(photo.name, f"nobody in it looks like the reference (the nearest is "
                              f"{distances[nearest]:.2f} away)", "give another reference, or edit the largest face")
        return [nearest]

    def _read_latents(self, paths: Sequence[Path]) -> None:
        generator = self.inverter.generator
        for number, path in enumerate(paths):
            self.rows[number] = replace(self.rows[0], face=number, faces=len(paths), state="waiting", kept=True)
            with self.attempt(number):
                self.inversions[number] = load_inversion(path, generator=generator)
        source = self.task.photo
        if source.path is None or "photo" not in self.job.outputs:
            return
        photo = open_photo(source.path, name=source.name)
        if any(inversion.photo_hash != photo.sha256 for inversion in self.inversions.values()):
            raise InputError(source.name, "is not the photo that was inverted", "give the folder with that photo")
        self.photo, faces, _ = find_upright(photo)
        for number, inversion in self.inversions.items():
            with self.attempt(number):
                index = face_index(faces, inversion, source.name)
                self.chosen[number] = ChosenFace(self.photo, faces, index)
                self.tell(number, face=index, faces=len(faces))

    def to_invert(self) -> list[int]:
        """The numbers of the faces that are not inverted yet."""
        return [] if self.is_over else [number for number in self.chosen if number not in self.inversions]

    def take(self, number: int, inversion: Inversion) -> None:
        """A face was inverted. What has not come to its end would be another picture than the settings give."""
        if inversion.stopped:
            self.cancel()
        else:
            self.inversions[number] = inversion

    def finish(self) -> None:
        """Edit the faces that are inverted, and write all that is wanted."""
        if self.is_over:
            return
        pasting = _Pasting(self.photo) if self.photo is not None and "photo" in self.job.outputs else None
        for number, inversion in self.inversions.items():
            if self.rows[number].state not in ENDED:
                with self.attempt(number):
                    self._finish_face(number, inversion, pasting)
        if self.unfinished or pasting is None or not pasting.recipes:
            return
        path = self._save(f"{self.task.stem}-edited", pasting.pixels, pasting.recipes, like=self.photo)
        for number in pasting.recipes:
            before, _ = self.rows[number].thumbnails or (None, None)
            assert before is not None
            after = thumbnail(_part(pasting.pixels, self.chosen[number].face))
            self._done(number, before, after, picture=path)

    def _finish_face(self, number: int, inversion: Inversion, pasting: _Pasting | None) -> None:
        self.tell(number, state="editing", lpips=inversion.lpips, identity=inversion.identity,
                  seconds=inversion.seconds, warnings=inversion.warnings)
        name = self.task.stem if number == 0 else f"{self.task.stem}-face{number + 1}"
        if "latent" in self.job.outputs and not self.task.photo.latents:
            path = f"{LATENTS}/{name}.latent.safetensors"
            self._write(path, lambda target: save_inversion(target, inversion))
            self.tell(number, latent=path, pivot=(self.task.pivot or path) if self.job.share_pivot else "")
        if self.job.only == "invert":
            self._done(number, thumbnail(inversion.crop), thumbnail(inversion.picture))
            return
        editor, chosen = self.models.editor, self.chosen.get(number)
        assert editor is not None
        editor.set_latent(inversion)
        picture = editor.edit(self.job.edit)
        if self.job.measure:
            self.tell(number, **self._measured(inversion, picture))
        recipe = None if chosen is None else Recipe.of(chosen.source(inversion), editor.generator, editor.controls,
                                                       self.job.edit)
        if pasting is not None and chosen is not None and recipe is not None:
            pasting.put(number, chosen, picture, inversion, recipe)
            before = thumbnail(_part(chosen.photo.pixels, chosen.face))
            self.tell(number, thumbnails=(before, before))
        if "crop" in self.job.outputs or pasting is None:
            both = "-crop" if pasting is not None else ""
            path = self._save(f"{name}-edited{both}", picture, {} if recipe is None else {number: recipe})
            if pasting is None:
                self._done(number, thumbnail(inversion.crop), thumbnail(picture), picture=path)

    def _measured(self, inversion: Inversion, picture: np.ndarray) -> dict[str, object]:
        """How far the edited face is from the photo's, and what the controls say of it."""
        editor, edit = self.models.editor, self.job.edit
        assert editor is not None
        edited = editor.displace(edit)
        before, after = {}, {}
        for name in edit.strengths:
            attribute, _, class_name = name.partition(":")
            control = editor.controls.find(attribute)
            if isinstance(control, Control):
                output = control.target(class_name or None)
                before[name], after[name] = (float(control.scores(editor.states(control, latents, layers=edit.layers))
                                                   [0, output]) for latents in (None, edited))
        return {"before": before, "after": after,
                "edited_identity": identity_distance(describe_crop(inversion.crop), describe_crop(picture))}

    # ---- what is written

    def _done(self, number: int, before: np.ndarray, after: np.ndarray, *, picture: str = "") -> None:
        if self.job.thumbnails:
            with suppress(InputError, OSError):  # A contact sheet with an empty place is no reason to fail.
                save_thumbnail(self.folder, self.task.stem, self.rows[number].face, before, after)
        self.tell(number, state="done", picture=picture, thumbnails=(before, after))

    def _save(self, name: str, picture: np.ndarray, recipes: dict[int, Recipe], *, like: Photo | None = None) -> str:
        metadata = recipe_texts(recipes.values())
        path = f"{PICTURES}/{name}.{self.job.ending}"
        self._write(path, lambda target: save_picture(target, picture, metadata=metadata, mark=self.job.mark,
                                                      like=like))
        return path

    def _write(self, path: str, write: Callable[[Path], object]) -> None:
        """Write a result; one of this photo that a killed run has left there is replaced by the same."""
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(path, f"could not be written ({error.strerror or error})",
                             "free some space or choose another folder") from error
        write(target)
        self.written.append(target)


@dataclass(eq=False)
class _Pasting:
    """A photo while its faces are put back into it, one after the other."""

    photo: Photo
    pixels: np.ndarray = field(init=False)
    recipes: dict[int, Recipe] = field(default_factory=dict)  # Of the faces that are in it, by number.

    def __post_init__(self) -> None:
        self.pixels = self.photo.pixels

    def put(self, number: int, chosen: ChosenFace, picture: np.ndarray, inversion: Inversion, recipe: Recipe) -> None:
        self.pixels = paste_back(replace(chosen.photo, pixels=self.pixels), chosen.face, picture,
                                 original=inversion.picture)
        self.recipes[number] = recipe


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3], small enough for a table."""
    return made_smaller(picture, THUMBNAIL_SIDE)


def _part(pixels: np.ndarray, face: Face) -> np.ndarray:
    """The part of a photo that a face's quad is in."""
    left, top = np.maximum(np.floor(face.quad.min(0)).astype(int), 0)
    right, bottom = np.maximum(np.ceil(face.quad.max(0)).astype(int), (left + 1, top + 1))
    return pixels[top:bottom, left:right]


@lru_cache(maxsize=4)
def sharing(inverter: Inverter, pivot: str) -> Inverter:
    """An inverter whose searches begin at a stored inversion, and that shares its tuning."""
    projector, inversion = inverter.projector, load_inversion(pivot, generator=inverter.generator)
    return Inverter(Projector(projector.generator, projector.settings, distance=projector.distance, pivot=inversion),
                    inverter.cache)


def _flush(paths: Iterable[Path]) -> None:
    """Have files on the disk, with their names, before the journal says that they are there."""
    folders = set()
    for path in paths:
        folders.add(path.parent)
        _sync(path)
    for folder in folders:
        _sync(folder)


def _sync(path: Path) -> None:
    with suppress(OSError):  # Windows cannot open folders, and a file may be removed by its owner just now.
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
