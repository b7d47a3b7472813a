"""The object for users of the library: a photo in, an edited photo out.

    editor = editing.load("bundled")
    face = editor.open("me.jpg")
    face.edit({"smile": 1.0, "age": 0.5}, keep=["gender"]).save("me-smiling.jpg")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import directions
import generators
from directions import Controls, Edit
from editing.editor import Editor
from editing.pipeline import Cache, ChosenFace, Inverter, choose
from editing.recipe import RECIPE_KEY, Recipe
from inversion import (
    DEFAULT_PRESET,
    Face,
    Inversion,
    Photo,
    Progress,
    Projector,
    ProjectorSettings,
    open_photo,
    preset,
    save_picture,
)


def load(source: str | os.PathLike[str] = "bundled", *, controls: str | os.PathLike[str] | Controls = "bundled",
         device: str = "cpu", cache: Cache | None = None) -> PhotoEditor:
    """Load everything that editing photos takes.

    Args:
        source: The generator, as for `generators.load`.
        controls: As for `directions.load`, or loaded ones.
        device: "cpu", "cuda", "mps" or "auto".
        cache: Where inversions are kept, such as `inversion.InversionCache()`; None: nowhere.
    Raises:
        InputError: one of the files cannot be used, or the controls are for another space.
    """
    generator = generators.load(source, device=device)
    loaded = controls if isinstance(controls, Controls) else directions.load(controls)
    return PhotoEditor(Editor(generator, loaded), Inverter(Projector(generator), cache))


class PhotoEditor:
    """Opens photos, to be edited face by face; `load` makes one.

    Args:
        editor: With generator and controls.
        inverter: Of the same generator.
    """

    def __init__(self, editor: Editor, inverter: Inverter) -> None:
        self.editor, self.inverter = editor, inverter

    @property
    def controls(self) -> Controls:
        return self.editor.controls

    def open(self, photo: str | os.PathLike[str] | Photo, *, face: int | None = None,
             settings: str | ProjectorSettings = DEFAULT_PRESET,
             on_step: Callable[[Progress], None] | None = None,
             should_stop: Callable[[], bool] | None = None) -> EditableFace:
        """Find a face in a photo, align and invert it; this takes seconds to a minute, edits afterwards do not.

        Args:
            photo: A file, or an opened photo.
            face: Which one, from 0, the largest; None: the photo's only one.
            settings: Of the inversion: "fast", "balanced", "faithful", or settings.
            on_step: Called with the best so far every few steps.
            should_stop: Asked after each step; True ends the inversion, and the best so far is the result.
        Raises:
            InputError: not a photo, no face, or several and none is chosen; the message says what to do.
        """
        opened = photo if isinstance(photo, Photo) else open_photo(photo)
        chosen = choose(opened, face)
        settings = preset(settings) if isinstance(settings, str) else settings
        [obtained] = self.inverter.obtain([chosen], settings, on_step=on_step, should_stop=should_stop)
        return EditableFace(self.editor, chosen, obtained.inversion)


@dataclass(frozen=True, eq=False)
class EditableFace:
    """An inverted face of a photo."""

    editor: Editor
    chosen: ChosenFace
    inversion: Inversion

    @property
    def faces(self) -> list[Face]:
        """All faces of the photo, the largest first."""
        return list(self.chosen.faces)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is off with the face or its inversion, in sentences."""
        return self.inversion.warnings

    @property
    def likeness(self) -> float:
        """How much the inversion looks like the person: 1 the same picture, below 0.4 somebody else (1 - distance)."""
        return 1 - (self.inversion.identity or 0.0)

    @cached_property
    def _paste_back(self) -> Callable[[np.ndarray], np.ndarray]:
        return self.chosen.paste_back(self.inversion.picture)

    def edit(self, edit: Edit | Mapping[str, float], **how: Any) -> EditedFace:
        """Edit the face.

        Args:
            edit: Strengths by name, or an edit.
            how: Other fields of `Edit`: keep, layers, step, method.
        Raises:
            InputError: an unknown attribute or class, or a layer range that the generator does not have.
        """
        edit = Edit.of(edit, **how)
        self.editor.set_latent(self.inversion)
        picture = self.editor.edit(edit)
        recipe = Recipe.of(self.chosen.source(self.inversion), self.editor.generator, self.editor.controls, edit)
        return EditedFace(picture, recipe if not self.inversion.stopped else None, self._paste_back, self.chosen.photo)


@dataclass(frozen=True, eq=False)
class EditedFace:
    """What came of an edit."""

    picture: np.ndarray     # The edited crop, uint8 [R, R, 3].
    recipe: Recipe | None   # What makes it again; None: the inversion was stopped, so that nothing does.
    _paste_back: Callable[[np.ndarray], np.ndarray]
    _of: Photo

    @cached_property
    def photo(self) -> np.ndarray:
        """The whole photo with the face put back into it, uint8 [H, W, 3]."""
        return self._paste_back(self.picture)

    def save(self, path: str | os.PathLike[str], *, crop: bool = False, mark: bool = True) -> None:
        """Write the photo, or the crop alone; the file holds the recipe.

        Args:
            path: .png, .jpg or .webp; an older file is replaced once the new one is whole.
            crop: Write the crop.
            mark: Say in the file that a generator took part in the picture.
        Raises:
            InputError: another ending, or the file cannot be written.
        """
        metadata = None if self.recipe is None else {RECIPE_KEY: self.recipe.to_json()}
        save_picture(path, self.picture if crop else self.photo, metadata=metadata, mark=mark,
                     like=None if crop else self._of)
