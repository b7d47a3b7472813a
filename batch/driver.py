"""One edit applied to many photos: each is found, inverted, edited and written, and one bad file stops nothing."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from batch.files import (
    EDIT,
    LATENTS,
    PICTURES,
    TABLE,
    BatchPhoto,
    Names,
    gather,
    pack,
    reason_of,
    save_edit,
    write_table,
)
from directions import Controls, Edit
from editing.editor import Editor
from editing.pipeline import Cache, ChosenFace, Inverter, choose
from editing.recipe import RECIPE_KEY, Recipe
from inversion import (
    Face,
    Inversion,
    Photo,
    Progress,
    Projector,
    ProjectorSettings,
    find_upright,
    made_smaller,
    open_photo,
    paste_back,
    save_inversion,
    save_picture,
)
from weights.errors import InputError, is_no_room, is_out_of_memory, out_of_memory

State = Literal["waiting", "finding", "inverting", "editing", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
ENDINGS = ("png", "jpg", "webp")
EVERY = 5            # Steps of an inversion between two reports.
THUMBNAIL_SIDE = 512
FAULT = "could not be edited, by a fault of the program; its log says more"
CANCELLED = "cancelled before it was done"
NOT_BEGUN = "not begun, as nothing more can be written; free some space and begin again"
FIELDS = ("file", "face", "state", "reason", "lpips", "identity", "seconds", "picture", "latent", "warnings")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What a batch makes of each photo."""

    faces: Literal["largest", "all"] = "largest"
    paste: bool = True    # The photo with its faces put back into it; else a crop of each face.
    ending: str = "png"   # Of the pictures' names, and so their format: png, jpg or webp.
    mark: bool = False    # Say in each picture's file that a generator edited it (`save_picture`).

    def __post_init__(self) -> None:
        if self.ending not in ENDINGS:
            raise InputError(self.ending, f"pictures are saved as {', '.join(ENDINGS)}", "choose one of these")
        if self.faces not in ("largest", "all"):
            raise InputError(self.faces, "no such choice of faces", "use largest or all")


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """How far a batch is with one face of one file."""

    index: int                     # Of the file, from 0.
    name: str                      # The file's.
    state: State = "waiting"
    face: int = 0                  # Of the file, from 0, the largest.
    faces: int = 0                 # That the file has; 0 until they are found.
    reason: str = ""               # Why it failed, in one line.
    step: int = 0                  # Of the inversion, while it runs.
    steps: int = 0
    seconds_left: float = 0.0
    lpips: float | None = None     # These of the inversion, when it is done.
    identity: float | None = None
    seconds: float | None = None
    kept: bool = False             # Whether the inversion came from the cache.
    warnings: tuple[str, ...] = ()
    picture: Path | None = None    # Written results.
    latent: Path | None = None
    thumbnails: tuple[np.ndarray, np.ndarray] | None = None  # Before and after, uint8 [h, w, 3], once it is done.


class Batch:
    """Applies an edit to photos, one after the other, and keeps at most one of them in memory.

    Into the folder go `pictures/`, `latents/`, the table `batch.csv` with a row for each face, and `edit.json`. Each
    picture's metadata holds the recipe; of a photo with several edited faces, that of each further face under
    "gradctrl-face2" and so on.

    Args:
        projector: Of the generator.
        controls: Those of the edit's method.
        edit: What is done to each face.
        settings: Of the inversions.
        options: Which faces, and what is written.
        cache: Inversions that are there already, and where new ones are kept. None: each is made anew.
        turn: Entered for each inversion that is made: it may wait until the machine is free.
        on_row: Called with each row whenever it changes, while the batch runs.
        should_stop: Asked between and within the inversions; True ends the batch and keeps what is done.
    Raises:
        InputError: the edit changes nothing or cannot be made with these controls, the controls are another
            generator's, or the settings ask for an encoder that is not there.
    """

    def __init__(self, projector: Projector, controls: Controls, edit: Edit, settings: ProjectorSettings, *,
                 options: BatchOptions | None = None, cache: Cache | None = None,
                 turn: Callable[[], AbstractContextManager[object]] = nullcontext,
                 on_row: Callable[[Row], None] | None = None,
                 should_stop: Callable[[], bool] | None = None) -> None:
        self.inverter, self.edit, self.options = Inverter(projector, cache), edit, options or BatchOptions()
        self.settings = projector.resolve(settings)
        self.turn, self.on_row = turn, on_row
        self.should_stop = should_stop or (lambda: False)
        self._editor = Editor(projector.generator, controls)
        check_edit(self._editor, edit)

    def run(self, sources: Sequence[BatchPhoto | str | os.PathLike[str]], folder: str | os.PathLike[str]) -> list[Row]:
        """Edit all photos, in their order.

        Args:
            sources: Files; or as `unpack_photos` gives them.
            folder: Where the results go: a new one, or an empty one.
        Returns:
            The rows as they ended: each done, failed or cancelled.
        Raises:
            InputError: there are no photos, or the folder is not empty or cannot be written.
        """
        files = [source if isinstance(source, BatchPhoto) else BatchPhoto(name=Path(source).name, path=Path(source))
                 for source in sources]
        if not files:
            raise InputError(None, "there are no photos to edit", "choose some first")
        self._folder = _empty(Path(folder))
        self._names = Names()
        self._rows = {(index, 0): Row(index=index, name=source.name) for index, source in enumerate(files)}
        stems = [self._names.claim(source.name) for source in files]
        save_edit(self._folder / EDIT, self.edit, self.settings, generator=self._editor.generator,
                  controls=self._editor.controls)
        self._no_room = self._stopped = False
        if self.on_row is not None:
            for row in self.rows:
                self.on_row(row)
        for index, (source, stem) in enumerate(zip(files, stems, strict=True)):
            self._one(index, source, stem)
            with suppress(InputError):  # It is written again in the end.
                self._write_table()
        self._write_table()
        return self.rows

    @property
    def rows(self) -> list[Row]:
        """All rows as they are now, in the order of the files and of the faces in them."""
        return [self._rows[key] for key in sorted(self._rows)]

    def _one(self, index: int, source: BatchPhoto, stem: str) -> None:
        """Do all that there is to do with one file. Whatever it raises ends in its rows."""
        reason, state = "", "failed"
        try:
            if source.path is None or self._no_room:
                reason = source.reason if source.path is None else NOT_BEGUN
            elif self._stopped or self.should_stop():
                raise _StoppedError
            else:
                self._photo(index, source, stem)
        except _StoppedError:
            self._stopped, reason, state = True, CANCELLED, "cancelled"
        except InputError as error:
            reason = self._reason(error, source)
            self._no_room = is_no_room(error)
        except Exception as error:  # noqa: BLE001 (a fault that one photo meets must not cost the others)
            if is_out_of_memory(error):
                reason = str(out_of_memory(error))
            else:
                traceback.print_exc(file=sys.stderr)
                reason = FAULT
        for key in sorted(self._rows):
            if key[0] == index and self._rows[key].state not in ENDED:
                self._tell(key, state=state, reason=reason)

    def _photo(self, index: int, source: BatchPhoto, stem: str) -> None:
        assert source.path is not None
        self._tell((index, 0), state="finding")
        try:
            photo = open_photo(source.path, name=source.name)
        finally:
            if source.own:
                source.path.unlink(missing_ok=True)
        photo, faces, _ = find_upright(photo)
        chosen = faces if self.options.faces == "all" else faces[:1]
        for number in range(len(chosen)):
            self._rows[index, number] = Row(index=index, name=source.name, face=number, faces=len(faces))
            self._tell((index, number), state="waiting")
        work = _Work(photo, faces, stem, photo.pixels)
        for number in range(len(chosen)):
            self._face((index, number), work, source)
        if self.options.paste and work.recipes:
            path = self._save(f"{stem}-edited", work.pixels, work.recipes, like=work.photo)
            for key in work.recipes:
                after = _part(work.pixels, faces[key[1]])
                before, _ = self._rows[key].thumbnails or (after, after)
                self._tell(key, state="done", picture=path, thumbnails=(before, thumbnail(after)))

    def _face(self, key: tuple[int, int], work: _Work, source: BatchPhoto) -> None:
        """Invert and edit one face. What is off with it ends in its row; the photo's other faces go on."""
        number = key[1]
        try:
            chosen = choose(work.photo, number, faces=work.faces)
            inversion, cached = self._inversion(key, chosen)
            self._tell(key, state="editing", lpips=inversion.lpips, identity=inversion.identity, kept=cached,
                       seconds=inversion.seconds, warnings=inversion.warnings)
            name = work.stem if number == 0 else self._names.claim(f"{work.stem}-face{number + 1}")
            latent = self._folder / LATENTS / f"{name}.latent.safetensors"
            save_inversion(latent, inversion)
            self._editor.set_latent(inversion)
            picture = self._editor.edit(self.edit)
            recipe = Recipe.of(chosen.source(inversion), self._editor.generator, self._editor.controls, self.edit)
            if self.options.paste:
                work.pixels = paste_back(replace(work.photo, pixels=work.pixels), chosen.face, picture,
                                         original=inversion.picture)
                work.recipes[key] = recipe
                before = thumbnail(_part(work.photo.pixels, chosen.face))
                self._tell(key, latent=latent, thumbnails=(before, before))
            else:
                path = self._save(f"{name}-edited", picture, {key: recipe})
                self._tell(key, state="done", latent=latent, picture=path,
                           thumbnails=(thumbnail(inversion.crop), thumbnail(picture)))
        except InputError as error:
            if is_no_room(error):
                raise
            self._tell(key, state="failed", reason=self._reason(error, source))

    def _inversion(self, key: tuple[int, int], chosen: ChosenFace) -> tuple[Inversion, bool]:
        """A face's inversion, and whether it was kept from an earlier time."""
        cached = self.inverter.cached(chosen, self.settings)
        if cached is not None:
            return cached, True
        self._tell(key, state="inverting")
        with self.turn():
            if self.should_stop():
                raise _StoppedError
            [inversion] = self.inverter.invert([chosen], self.settings, every=EVERY, should_stop=self.should_stop,
                                               on_step=lambda progress: self._progress(key, progress))
        if inversion.stopped:  # What has not come to its end would be another picture than the settings give.
            raise _StoppedError
        return inversion, False

    def _progress(self, key: tuple[int, int], progress: Progress) -> None:
        self._tell(key, step=progress.step, steps=progress.steps, seconds_left=progress.seconds_left)

    def _save(self, name: str, picture: np.ndarray, recipes: Mapping[tuple[int, int], Recipe], *,
              like: Photo | None = None) -> Path:
        texts = [recipe.to_json() for recipe in recipes.values()]
        metadata = {RECIPE_KEY: texts[0]}
        metadata |= {f"{RECIPE_KEY}-face{number}": text for number, text in enumerate(texts[1:], 2)}
        path = self._folder / PICTURES / f"{name}.{self.options.ending}"
        save_picture(path, picture, metadata=metadata, mark=self.options.mark, like=like)
        return path

    def _tell(self, key: tuple[int, int], **changes: object) -> None:
        self._rows[key] = replace(self._rows[key], **changes)  # type: ignore[arg-type]
        if self.on_row is not None:
            self.on_row(self._rows[key])
        if self._rows[key].state in ENDED:  # Whoever wants to show the thumbnails has them now.
            self._rows[key] = replace(self._rows[key], thumbnails=None)

    def _reason(self, error: InputError, source: BatchPhoto) -> str:
        """An error in one line; folders of this machine mean nothing to whoever reads it."""
        name = str(source.path) if error.subject == str(source.path) else source.name
        return reason_of(error, name).replace(f"{self._folder}{os.sep}", "")

    def _write_table(self) -> None:
        write_table(self._folder / TABLE, (self._told(row) for row in self.rows), FIELDS)

    def _told(self, row: Row) -> dict[str, object]:
        """A row as it stands in the table; paths are those within the folder."""
        paths = {name: path.relative_to(self._folder).as_posix() if path else ""
                 for name, path in (("picture", row.picture), ("latent", row.latent))}
        numbers = {name: "" if value is None else f"{value:.4f}"
                   for name, value in (("lpips", row.lpips), ("identity", row.identity), ("seconds", row.seconds))}
        return {"file": row.name, "face": row.face + 1 if row.faces else "", "state": row.state, "reason": row.reason,
                **numbers, **paths, "warnings": " | ".join(row.warnings)}


@dataclass(eq=False)
class _Work:
    """One photo while its faces are edited, one after the other."""

    photo: Photo
    faces: Sequence[Face]
    stem: str
    pixels: np.ndarray  # With the faces put back that are edited.
    recipes: dict[tuple[int, int], Recipe] = field(default_factory=dict)  # Of these faces, by their rows.


def run_to_zip(batch: Batch, paths: Sequence[str | os.PathLike[str]], work: str | os.PathLike[str],
               path: str | os.PathLike[str], *, own: bool = False) -> list[Row]:
    """Edit photos and those in ZIPs, and put all results into one ZIP.

    Args:
        batch: What is done to them.
        paths: Photos and ZIPs.
        work: A folder for what is made on the way; it is made, and removed in the end.
        path: Of the ZIP of the results.
        own: Whether the files are copies, which may be removed once they were read.
    Returns:
        The rows as they ended.
    Raises:
        InputError: as `gather` and `Batch.run`; or the folder is there already, or the ZIP cannot be written.
    """
    work = Path(work)
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(work, f"cannot be made ({error.strerror or error})", "choose another folder") from error
    try:
        rows = batch.run(gather(paths, work / "photos", own=own), work / "results")
        pack(work / "results", path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return rows


class _StoppedError(Exception):
    """The batch is to end."""


def check_edit(editor: Editor, edit: Edit) -> None:
    """Refuse an edit before the long work.

    Raises:
        InputError: it changes nothing, is out of all measure, or the controls have no such attribute, class, layer
            range or method.
    """
    if not edit.changes:
        raise InputError(None, "the edit changes nothing, as all strengths are 0", "set one and begin again")
    editor.check(edit)


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3], small enough for a table."""
    return made_smaller(picture, THUMBNAIL_SIDE)


def _part(pixels: np.ndarray, face: Face) -> np.ndarray:
    """The part of a photo that a face's quad is in."""
    left, top = np.maximum(np.floor(face.quad.min(0)).astype(int), 0)
    right, bottom = np.maximum(np.ceil(face.quad.max(0)).astype(int), (left + 1, top + 1))
    return pixels[top:bottom, left:right]


def _empty(folder: Path) -> Path:
    """Make the folder of a batch, in which there is nothing yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(folder, "is not empty, and a batch never writes over anything", "choose a new folder")
        for name in (PICTURES, LATENTS):
            (folder / name).mkdir()
    except OSError as error:
        raise InputError(folder, f"cannot write here ({error.strerror or error})", "choose another folder") from error
    return folder
