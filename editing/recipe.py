"""Recipes: the JSON that reproduces an edit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from directions import Controls, Edit
from editing.editor import Editor
from generators import Generator
from generators.spaces import in_words
from inversion import Photo, ProjectorSettings, read_picture_metadata
from weights.errors import InputError
from weights.files import replacing

FORMAT = "gradctrl-recipe-2"
FORMER = "gradctrl-recipe-1"
RECIPE_KEY = "gradctrl"  # Of the recipe in a picture's metadata.
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class PhotoSource:
    """The edited latent is the inversion of a face in a photo."""

    photo: str                    # SHA-256 of the photo's file.
    face: int                     # Which of `find_faces`' faces, from 0.
    inversion: ProjectorSettings

    def check(self, photo: Photo) -> None:
        """Refuse another photo.

        Raises:
            InputError: it is not the recipe's.
        """
        if photo.sha256 != self.photo:
            raise InputError(photo.name,
                             f"this is not the recipe's photo (SHA-256 {self.photo[:12]}, this one has "
                             f"{photo.sha256[:12]})", "give the file that was edited; --like edits any photo as the "
                             "recipe does")


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """The edited latent is a synthetic sample."""

    seed: int
    truncation: float = 1.0


def pack_source(source: PhotoSource | SampleSource) -> dict[str, Any]:
    """A source as JSON can hold it."""
    return {"kind": "sample" if isinstance(source, SampleSource) else "photo", **asdict(source)}


def unpack_source(packed: Mapping[str, Any]) -> PhotoSource | SampleSource:
    """The source that `pack_source` took apart.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or is not what it should be.
    """
    fields = {key: value for key, value in packed.items() if key != "kind"}
    if packed["kind"] == "photo":
        return PhotoSource(**{**fields, "inversion": ProjectorSettings(**fields["inversion"])})
    return SampleSource(**fields)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that an edit depends on. It holds no picture and no name of the photo, only the photo's hash."""

    source: PhotoSource | SampleSource
    generator: str  # `Generator.identity`.
    space: str      # `Space.to_text` of its W.
    controls: str   # `Controls.hash`.
    edit: Edit
    sets: Mapping[str, str] = field(default_factory=dict, hash=False)  # `Controls.hash` of sets it names, by prefix.

    @staticmethod
    def of(source: PhotoSource | SampleSource, generator: Generator, controls: Controls, edit: Edit) -> Recipe:
        """The recipe of an edit by a generator and controls."""
        return Recipe(source=source, generator=generator.identity, space=generator.space.to_text(),
                      controls=controls.hash, edit=edit,
                      sets={name: each.hash for name, each in controls.sets_of(edit.strengths).items()})

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "source": pack_source(self.source), "generator": self.generator,
                           "space": self.space, "controls": self.controls, "edit": self.edit.to_json(),
                           **({"sets": dict(self.sets)} if self.sets else {})}, indent=2)

    def check(self, editor: Editor) -> None:
        """Refuse another generator, other controls or other named edits than the recipe was made with.

        Raises:
            InputError: saying which of them it is.
        """
        self.check_generator(editor.generator)
        self._check_same("controls", self.controls, editor.controls.hash)
        for name, found in editor.controls.sets_of(self.edit.strengths).items():
            mine = self.sets.get(name, found.hash)  # Former versions' recipes do not tell.
            if mine != found.hash:
                raise InputError(found.source,
                                 f"holds other {name} edits ({found.hash[:12]}) than this recipe was made with "
                                 f"({mine[:12]})", "install the version of the program that wrote the recipe, or make "
                                 "the edit anew")

    def check_generator(self, generator: Generator) -> None:
        """Refuse another generator than the recipe was made with, or another of its classes.

        Raises:
            InputError: saying which of them it is.
        """
        weights, _, of_class = self.generator.partition(" class ")
        if weights == generator.hash and of_class and of_class != str(generator.class_index):
            raise InputError(None, f"this recipe was made with class {of_class} of this generator, and class "
                             f"{generator.class_index} is drawn", f"choose class {of_class} (--class {of_class})")
        self._check_same("generator", self.generator, generator.identity)

    @staticmethod
    def _check_same(what: str, mine: str, theirs: str) -> None:
        if mine != theirs:
            raise InputError(None, f"this recipe was made with {what} {in_words(mine)}, not with what is loaded "
                             f"({in_words(theirs)})", f"load the same {what}, or make the edit anew")

    def apply(self, editor: Editor) -> np.ndarray:
        """Edit the editor's latents as the recipe says; uint8 as `Editor.edit` gives."""
        return editor.edit(self.edit)


def parse_recipe(text: str, *, name: str = "recipe") -> Recipe:
    """Read a recipe's JSON.

    Raises:
        InputError: not a recipe of this program; the message begins with `name`.
    """
    try:
        data = json.loads(text)
        if isinstance(data, dict) and data.get("format") == FORMER:
            raise InputError(name, "a recipe of a former version of this program, which had other controls",
                             "make the edit again")
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise InputError(name, "not a recipe of this program", "give the JSON that an edit has written")
        if not all(isinstance(value, str) for value in dict(data.get("sets", {})).values()):
            raise ValueError("sets must be hashes by name")
        return Recipe(source=unpack_source(data.pop("source")), edit=Edit.from_json(data.pop("edit")), **data)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(name, f"damaged recipe ({type(error).__name__}: {error})",
                         "let an edit write it again") from error


def recipe_texts(recipes: Iterable[Recipe]) -> dict[str, str]:
    """What a picture's metadata holds of its faces' recipes: the first under "gradctrl", others "gradctrl-face2" on."""
    return {RECIPE_KEY if place == 1 else f"{RECIPE_KEY}-face{place}": recipe.to_json()
            for place, recipe in enumerate(recipes, 1)}


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a JSON file, or from the metadata of a picture that the program wrote.

    Raises:
        InputError: no such file, or no recipe in it.
    """
    if Path(path).suffix.lower() in PICTURES:
        stored = read_picture_metadata(path).get(RECIPE_KEY)
        if stored is None:
            raise InputError(path, "holds no recipe", "give a .recipe.json, or a picture as this program wrote it")
        return parse_recipe(stored, name=str(path))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read as a recipe ({error})", "check the name") from error
    return parse_recipe(text, name=str(path))


def save_recipe(path: str | os.PathLike[str], recipe: Recipe) -> None:
    """Write a recipe as JSON; an older file at `path` is replaced only once the new one is whole.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(recipe.to_json() + "\n", encoding="utf-8")
