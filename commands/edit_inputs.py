"""What an edit is made of: a face of a photo, the latent of one, a synthetic person, or what a recipe says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.checks import is_latent
from commands.console import Run, note, one_line, progress_bar
from commands.files import open_cache
from commands.options import settings_of
from weights.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from editing import ChosenFace, Editor, Inverter, PhotoSource, Recipe, SampleSource
    from inversion import Inversion, ProjectorSettings

Latent = tuple["Tensor | Inversion", "PhotoSource | SampleSource | None"]


@dataclass(frozen=True)
class EditInput:
    """What is edited. `latent` does the long work, and tells the source for the recipe, or None where none can tell."""

    stem: str  # Begins the names of the results,
    whole: str  # and that of a picture in which all faces of a photo are edited.
    latent: Callable[[], Latent]
    face: ChosenFace | None = None  # Of the photo, if there is one.


def edit_inputs(run: Run, editor: Editor, recipe: Recipe | None, photo_file: Path | None,
                options: dict[str, Any]) -> Callable[[Path | None], list[EditInput]]:
    """The function that makes an edit's inputs of each argument (None: of a synthetic person): one for each face."""
    from editing import Inverter, SampleSource
    from inversion import Projector

    inverter = Inverter(Projector(editor.generator), open_cache(options["cache"]))

    def inputs_of(path: Path | None) -> list[EditInput]:
        if recipe is not None:
            return [_of_recipe(run, inverter, editor, recipe.source, path)]
        if path is None:
            return [_of_sample(editor, SampleSource(seed=options["seed"], truncation=options["truncation"]))]
        if is_latent(path):
            return [_of_latent(editor, path, photo_file)]
        chosen = _all_in(path) if options["all_faces"] else [choose_in(path, index_of(options["face"]))]
        return [_of_face(run, inverter, path, face, stem, settings_of(options)) for face, stem in chosen]

    return inputs_of


def index_of(number: int | None) -> int | None:
    """The place in a list of faces of the one that --face names, which counts from 1."""
    return None if number is None else number - 1


def choose_in(path: Path, index: int | None) -> tuple[ChosenFace, str]:
    """The face of a photo at a place, or its only one; and what begins the names of its results."""
    from editing import choose
    from inversion import open_photo

    chosen = choose(open_photo(path, name=str(path)), index)
    return chosen, path.stem if len(chosen.faces) == 1 else f"{path.stem}-face{chosen.index + 1}"


def _all_in(path: Path) -> list[tuple[ChosenFace, str]]:
    """All faces of a photo, as `choose_in` gives one; those too small to be edited are told and left out."""
    from editing import ChosenFace
    from inversion import FaceTooSmallError, choose_face, find_upright, open_photo

    photo, faces, _ = find_upright(open_photo(path, name=str(path)))
    chosen: list[tuple[ChosenFace, str]] = []
    for index in range(len(faces)):
        try:
            choose_face(faces, index, name=photo.name)
        except FaceTooSmallError as error:
            if len(faces) == 1:
                raise
            note(f"Warning: face {index + 1} is left out: {one_line(error)}")
            continue
        stem = path.stem if len(faces) == 1 else f"{path.stem}-face{index + 1}"
        chosen.append((ChosenFace(photo, faces, index), stem))
    if not chosen:
        raise InputError(path, "all faces are too small to be edited", "use a larger photo")
    return chosen


def _of_face(run: Run, inverter: Inverter, path: Path, chosen: ChosenFace, stem: str,
             settings: ProjectorSettings) -> EditInput:
    def latent() -> Latent:
        [inversion] = invert_faces(run, inverter, [chosen], settings, stem)
        return inversion, _source_of(inversion, chosen)

    return EditInput(stem, path.stem, latent, chosen)


def _of_recipe(run: Run, inverter: Inverter, editor: Editor, source: PhotoSource | SampleSource,
               path: Path | None) -> EditInput:
    from editing import SampleSource

    if isinstance(source, SampleSource):
        if path is not None:
            raise InputError(path, "the recipe is of a synthetic person", "leave the input out")
        return _of_sample(editor, source)
    if path is None or is_latent(path):
        raise InputError(None, f"the recipe edits the photo with SHA-256 {source.photo[:12]}",
                         "give that photo as INPUT; --like makes the same edit of anything")
    chosen, stem = choose_in(path, source.face)
    source.check(chosen.photo)
    return _of_face(run, inverter, path, chosen, stem, source.inversion)


def _of_sample(editor: Editor, source: SampleSource) -> EditInput:
    name = f"sample{source.seed}"
    return EditInput(name, name,
                     lambda: (editor.generator.sample([source.seed], truncation=source.truncation)[0], source))


def _of_latent(editor: Editor, path: Path, photo_file: Path | None) -> EditInput:
    from inversion import load_inversion

    inversion = load_inversion(path, generator=editor.generator)
    chosen = _face_of(inversion, path, photo_file) if photo_file else None
    name = path.name.removesuffix(".safetensors").removesuffix(".latent")
    return EditInput(name, name, lambda: (inversion, _source_of(inversion, chosen) if chosen else None), chosen)


def _face_of(inversion: Inversion, path: Path, photo_file: Path) -> ChosenFace:
    """The face of the photo that an inversion is of."""
    from editing import ChosenFace
    from editing.pipeline import face_index
    from inversion import find_upright, open_photo

    photo = open_photo(photo_file, name=str(photo_file))
    if photo.sha256 != inversion.photo_hash:
        raise InputError(photo_file, f"is not the photo that {path} was inverted from", "give that photo")
    photo, faces, _ = find_upright(photo)
    return ChosenFace(photo, faces, face_index(faces, inversion, photo.name))


def _source_of(inversion: Inversion, chosen: ChosenFace) -> PhotoSource | None:
    """What a recipe says of an inversion; None for one that was stopped, as no settings make it again."""
    return None if inversion.stopped else chosen.source(inversion)


def invert_faces(run: Run, inverter: Inverter, faces: Sequence[ChosenFace], settings: ProjectorSettings,
                 text: str) -> list[Inversion]:
    """The inversions of faces, with a progress bar and what there is to say; Ctrl-C keeps the best so far."""
    from inversion import InversionCache, Progress

    cache = inverter.cache
    empty = isinstance(cache, InversionCache) and cache.size()[0] == 0
    with run.stoppable(), progress_bar(settings.all_steps, text, unit="step") as bar:
        def show(progress: Progress) -> None:
            bar.set_postfix_str("LPIPS " + " ".join(f"{value:.3f}" for value in progress.lpips[:4]), refresh=False)
            bar.total = progress.steps  # A plateau makes them fewer.
            bar.update(progress.step - bar.n)

        obtained = inverter.obtain(faces, settings, every=2, on_step=show, should_stop=lambda: run.stopped)
    for (inversion, cached), face in zip(obtained, faces, strict=True):
        _tell(inversion, face.photo.name, cached=cached, by_user=run.stopped)
    if empty and isinstance(cache, InversionCache) and cache.size()[0]:  # Faces are not kept without a word.
        note(f"Inversions are kept in {one_line(str(cache.folder))}, so that the same face is not inverted twice; "
             "`gradctrl cache clear` removes them, and with --no-cache or GRADCTRL_INVERSIONS=off none are kept")
    return [inversion for inversion, _ in obtained]


def _tell(inversion: Inversion, name: str, *, cached: bool, by_user: bool) -> None:
    """How an inversion went."""
    identity = "" if inversion.identity is None else f", identity distance {inversion.identity:.2f}"
    note(f"{name}: LPIPS {inversion.lpips:.3f}{identity}, "
         + ("from the cache" if cached else f"{inversion.seconds:.1f} s"))
    if inversion.stopped:
        note(f"{name}: stopped after {inversion.steps} of {inversion.settings.all_steps} steps; the best so far is "
             "kept" + ("; the same command with --overwrite does all of them" if by_user else ""))
    for text in inversion.warnings:
        note(f"Warning: {name}: {text}")
