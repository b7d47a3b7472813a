"""From a photo to an inverted face: open, find, choose, align, invert or take from the cache, warn.

The one chain that page, command line, batches, recipes and the library go through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from editing.editor import Editor
from editing.recipe import PhotoSource, Recipe, SampleSource
from generators import Generator
from inversion import (
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
    find_upright,
    with_warnings,
)
from weights.errors import InputError


class Cache(Protocol):
    """What is needed of a cache of inversions; `inversion.InversionCache` is one."""

    def get(self, key: str, generator: Generator, /) -> Inversion | None:
        """The inversion of a key, or None."""

    def put(self, key: str, inversion: Inversion, /) -> object:
        """Keep an inversion."""


@dataclass(frozen=True, eq=False)
class ChosenFace:
    """One face of a photo, which is to be edited."""

    photo: Photo
    faces: Sequence[Face]  # All of the photo, the largest first.
    index: int             # Of the chosen one among them.

    @property
    def face(self) -> Face:
        return self.faces[self.index]

    def crop(self, side: int) -> np.ndarray:
        """The aligned crop, uint8 [side, side, 3]."""
        return align(self.photo, self.face, side)

    def source(self, inversion: Inversion) -> PhotoSource:
        """What a recipe says of an inversion of this face."""
        return PhotoSource(photo=self.photo.sha256, face=self.index, inversion=inversion.settings)

    def paste_back(self, original: np.ndarray) -> PasteBack:
        """What puts edited crops back into the photo, given the unedited picture uint8 [R, R, 3]."""
        return PasteBack.of(self.photo, self.face, original)


def choose(photo: Photo, index: int | None = None, *, faces: Sequence[Face] | None = None) -> ChosenFace:
    """Find the faces of a photo, turned if it lies on its side, and choose one; never silently among several.

    Args:
        photo: The photo.
        index: Which face, from 0, the largest; None: its only one.
        faces: Those of the photo; None: they are found.
    Raises:
        InputError: no face, several and no index, no such face, or one that is too small.
    """
    if faces is None:
        photo, faces, _ = find_upright(photo)
    choose_face(faces, index, name=photo.name)
    return ChosenFace(photo, faces, index or 0)


def face_index(faces: Sequence[Face], inversion: Inversion, name: str) -> int:
    """Which of a photo's faces an inversion is of.

    Raises:
        InputError: none of them; `name` is what it calls the photo.
    """
    for index, face in enumerate(faces):
        if np.abs(face.quad - np.array(inversion.quad)).max() < 0.01 * face.size:
            return index
    raise InputError(name, "the inverted face is not found in it", "invert the photo again")


class Obtained(NamedTuple):
    """An inversion, and whether it was kept from an earlier time."""

    inversion: Inversion
    cached: bool


class Inverter:
    """Inverts chosen faces, with what belongs to it: the cache before, the warnings after.

    Args:
        projector: Of the generator.
        cache: Where inversions are kept; None: each is made anew.
    """

    def __init__(self, projector: Projector, cache: Cache | None = None) -> None:
        self.projector, self.cache = projector, cache

    @property
    def generator(self) -> Generator:
        return self.projector.generator

    def check(self) -> None:
        """Refuse a generator that cannot draw faces of photos.

        Raises:
            InputError: with the reason.
        """
        if self.generator.no_photos:
            raise InputError(None, f"photos cannot be inverted with this generator: {self.generator.no_photos}",
                             "choose another generator, as the bundled one")

    def key(self, chosen: ChosenFace, settings: ProjectorSettings) -> str:
        """What the inversion of a face is found by (`InversionCache.key`)."""
        return InversionCache.key(chosen.photo.sha256, chosen.face.quad, self.generator.identity,
                                  self.projector.resolve(settings))

    def cached(self, chosen: ChosenFace, settings: ProjectorSettings) -> Inversion | None:
        """The inversion that is kept of a face, or None."""
        return None if self.cache is None else self.cache.get(self.key(chosen, settings), self.generator)

    def invert(self, chosen: Sequence[ChosenFace], settings: ProjectorSettings, *, every: int = 10,
               on_step: Callable[[Progress], None] | None = None,
               should_stop: Callable[[], bool] | None = None) -> list[Inversion]:
        """Invert faces, all at once; arguments as of `Projector.invert_batch`. What is kept already is not asked for.

        Raises:
            InputError: the generator cannot draw faces of photos, the settings ask for an encoder that is not there, or
                nothing finite is drawn.
        """
        self.check()
        crops = [face.crop(self.generator.img_resolution) for face in chosen]
        inversions = self.projector.invert_batch(crops, settings=self.projector.resolve(settings), every=every,
                                                 on_step=on_step, should_stop=should_stop)
        return [self.finish(face, inversion, settings) for face, inversion in zip(chosen, inversions, strict=True)]

    def finish(self, chosen: ChosenFace, inversion: Inversion, settings: ProjectorSettings) -> Inversion:
        """Add to an inversion of a face's crop whose it is and what is off with it, and keep it in the cache."""
        inversion = with_warnings(inversion.of_photo(chosen.photo.sha256, chosen.face.quad), chosen.photo, chosen.face,
                                  chosen.faces, generator=self.generator, distance=self.projector.distance)
        if self.cache is not None:
            self.cache.put(self.key(chosen, settings), inversion)
        return inversion

    def obtain(self, chosen: Sequence[ChosenFace], settings: ProjectorSettings, *, every: int = 10,
               on_step: Callable[[Progress], None] | None = None,
               should_stop: Callable[[], bool] | None = None) -> list[Obtained]:
        """The inversions of faces: those that are kept, and the others made, all at once (see `invert`)."""
        kept = [self.cached(face, settings) for face in chosen]
        missing = [face for face, inversion in zip(chosen, kept, strict=True) if inversion is None]
        new = iter(self.invert(missing, settings, every=every, on_step=on_step, should_stop=should_stop)
                   if missing else ())
        return [Obtained(next(new), False) if inversion is None else Obtained(inversion, True) for inversion in kept]


def obtain_source(inverter: Inverter, source: PhotoSource, photo: Photo | None, *,
                  on_step: Callable[[Progress], None] | None = None) -> Inversion:
    """The inversion of the face that a recipe names.

    Raises:
        InputError: no photo, another photo than the recipe's, or no such face.
    """
    if photo is None:
        raise InputError(None, f"this recipe edits the photo with SHA-256 {source.photo[:12]}",
                         "give that photo with it")
    source.check(photo)
    [obtained] = inverter.obtain([choose(photo, source.face)], source.inversion, on_step=on_step)
    return obtained.inversion



def reproduce(recipe: Recipe, editor: Editor, *, photo: Photo | None = None, inverter: Inverter | None = None,
              on_step: Callable[[Progress], None] | None = None) -> np.ndarray:
    """Make a recipe's picture again, uint8 [R, R, 3].

    Args:
        recipe: The recipe.
        editor: With the recipe's generator and controls; its latent is set.
        photo: The photo, if the recipe is of one.
        inverter: To invert with; None: a new one.
        on_step: Passed on to the inversion.
    Raises:
        InputError: another generator, other controls, another photo or none.
    """
    recipe.check(editor)
    if isinstance(recipe.source, SampleSource):
        editor.set_latent(editor.generator.sample([recipe.source.seed], truncation=recipe.source.truncation)[0])
    else:
        inverter = inverter or Inverter(Projector(editor.generator))
        editor.set_latent(obtain_source(inverter, recipe.source, photo, on_step=on_step))
    return recipe.apply(editor)
