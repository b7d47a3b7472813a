"""What an edit is made of: a photo, the latent of one, a synthetic person, or what a recipe says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.cache import open_cache
from commands.options import settings_of
from commands.run import Run
from commands.targets import Target, invert_targets, open_target
from weights.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from editing import Editor, PhotoSource, Recipe, SampleSource
    from inversion import Inversion, InversionCache, Projector, ProjectorSettings


@dataclass(frozen=True)
class Subject:
    """What is edited. `latent` does the long work, and tells the source for the recipe, or None where none can tell."""

    stem: str
    latent: Callable[[], tuple[Tensor | Inversion, PhotoSource | SampleSource | None]]
    target: Target | None = None


def subjects(run: Run, editor: Editor, recipe: Recipe | None, photo_file: Path | None,
             options: dict[str, Any]) -> Callable[[Path | None], Subject]:
    """The function that makes a subject of each input (None: of a synthetic person)."""
    from editing import SampleSource
    from inversion import Projector

    projector, cache = Projector(editor.generator), open_cache(options["cache"])

    def subject_of(path: Path | None) -> Subject:
        if recipe is not None:
            return _recipe_subject(run, projector, editor, recipe.source, path, cache)
        if path is None:
            return _sample_subject(editor, SampleSource(seed=options["seed"], truncation=options["truncation"]))
        if is_latent(path):
            return _latent_subject(editor, path, photo_file)
        settings = settings_of(options)
        return _photo_subject(run, projector, open_target(path, options["face"]), settings, cache)

    return subject_of


def is_latent(path: Path) -> bool:
    """Whether an input is a stored latent, not a photo."""
    return path.suffix == ".safetensors"


def _recipe_subject(run: Run, projector: Projector, editor: Editor, source: PhotoSource | SampleSource,
                    path: Path | None, cache: InversionCache | None) -> Subject:
    from editing import SampleSource

    if isinstance(source, SampleSource):
        if path is not None:
            raise InputError(path, "the recipe is of a synthetic person", "leave the input out")
        return _sample_subject(editor, source)
    if path is None or is_latent(path):
        raise InputError(None, f"the recipe edits the photo with SHA-256 {source.photo[:12]}",
                         "give that photo as INPUT")
    target = open_target(path, source.face)
    source.check(target.photo)
    return _photo_subject(run, projector, target, source.inversion, cache)


def _photo_subject(run: Run, projector: Projector, target: Target, settings: ProjectorSettings,
                   cache: InversionCache | None) -> Subject:
    def latent() -> tuple[Inversion, PhotoSource | None]:
        [record] = invert_targets(run, projector, [target], settings, cache)
        return record, _source_of(record, target)

    return Subject(target.stem, latent, target)


def _sample_subject(editor: Editor, source: SampleSource) -> Subject:
    return Subject(f"sample{source.seed}",
                   lambda: (editor.generator.sample([source.seed], truncation=source.truncation)[0], source))


def _latent_subject(editor: Editor, path: Path, photo_file: Path | None) -> Subject:
    from inversion import load_inversion

    record = load_inversion(path, generator=editor.generator)
    target = _target_of(record, path, photo_file) if photo_file else None
    return Subject(path.name.removesuffix(".safetensors").removesuffix(".latent"),
                   lambda: (record, _source_of(record, target) if target else None), target)


def _target_of(record: Inversion, path: Path, photo_file: Path) -> Target:
    """The face of the photo that an inversion is of."""
    import numpy as np

    from inversion import find_faces, open_photo

    photo = open_photo(photo_file, name=str(photo_file))
    if photo.sha256 != record.photo_hash:
        raise InputError(photo_file, f"is not the photo that {path} was inverted from", "give that photo")
    for index, face in enumerate(find_faces(photo)):
        if np.abs(face.quad - np.array(record.quad)).max() < 0.01 * face.size:
            return Target(photo, face, index, path.stem)
    raise InputError(photo_file, f"the face of {path} is not found in it", "invert the photo again")


def _source_of(record: Inversion, target: Target) -> PhotoSource | None:
    """What a recipe says of an inversion; None for one that was stopped, as no settings make it again."""
    from editing import PhotoSource

    if record.stopped:
        return None
    return PhotoSource(photo=target.photo.sha256, face=target.index, inversion=record.settings)
