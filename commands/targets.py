"""The chosen faces of photos, and their inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.messages import note, one_line, progress_bar
from commands.run import Run

if TYPE_CHECKING:
    from inversion import Face, Inversion, InversionCache, Photo, Projector, ProjectorSettings


@dataclass(frozen=True, eq=False)
class Target:
    """One chosen face of one photo."""

    photo: Photo
    face: Face
    index: int
    stem: str  # Begins the names of its results: the photo's, with the face's number where there are several.
    faces: Sequence[Face] = ()  # All of the photo.


def open_target(path: Path, index: int | None) -> Target:
    """The face of a photo that --face names, or its only one."""
    from inversion import choose_face, find_faces, open_photo

    photo = open_photo(path, name=str(path))
    faces = find_faces(photo)
    face = choose_face(faces, index, name=photo.name)
    return Target(photo, face, index or 0, path.stem if len(faces) == 1 else f"{path.stem}-face{index}",
                  faces)


def invert_targets(run: Run, projector: Projector, targets: Sequence[Target], settings: ProjectorSettings,
                   cache: InversionCache | None) -> list[Inversion]:
    """A record of each target; those that the cache has are not inverted again."""
    settings = projector.resolve(settings)
    found: list[Inversion | None] = [None] * len(targets)
    if cache is not None:
        found = [cache.get(_key(cache, projector, target, settings), projector.generator) for target in targets]
    missing = [target for target, record in zip(targets, found, strict=True) if record is None]
    made = iter(_invert(run, projector, missing, settings) if missing else ())
    records = []
    for target, record in zip(targets, found, strict=True):
        kept = record is not None
        record = record or next(made)
        _tell(record, target.photo.name, kept)
        if cache is not None and not kept:
            _keep(cache, _key(cache, projector, target, settings), record)
        records.append(record)
    return records


def _invert(run: Run, projector: Projector, targets: Sequence[Target], settings: ProjectorSettings) -> list[Inversion]:
    from inversion import Progress, align, with_warnings

    crops = [align(target.photo, target.face, projector.generator.img_resolution) for target in targets]
    text = targets[0].stem if len(targets) == 1 else f"{len(targets)} faces"
    with run.stoppable(), progress_bar(settings.all_steps, text, unit="step") as bar:
        def show(progress: Progress) -> None:
            bar.set_postfix_str("LPIPS " + " ".join(f"{value:.3f}" for value in progress.lpips[:4]), refresh=False)
            bar.total = progress.steps  # A plateau makes them fewer.
            bar.update(progress.step - bar.n)

        found = projector.invert_batch(crops, settings=settings, every=2, on_step=show,
                                       should_stop=lambda: run.stopped)
    return [with_warnings(record.of_photo(target.photo.sha256, target.face.quad), target.photo, target.face,
                          target.faces, generator=projector.generator, distance=projector.distance)
            for record, target in zip(found, targets, strict=True)]


def _key(cache: InversionCache, projector: Projector, target: Target, settings: ProjectorSettings) -> str:
    return cache.key(target.photo.sha256, target.face.quad, projector.generator.hash, settings)


def _keep(cache: InversionCache, key: str, record: Inversion) -> None:
    """Keep a record. People's faces are not kept without a word: an empty folder's first is told."""
    first = cache.size()[0] == 0
    if cache.put(key, record) and first:
        note(f"Inversions are kept in {one_line(str(cache.folder))}, so that the same face is not inverted twice; "
             "`gradctrl cache clear` removes them, and with --no-cache or GRADCTRL_INVERSIONS=off none are kept")


def _tell(record: Inversion, name: str, kept: bool) -> None:
    """How an inversion went."""
    identity = "" if record.identity is None else f", identity distance {record.identity:.2f}"
    note(f"{name}: LPIPS {record.lpips:.3f}{identity}, " + ("from the cache" if kept else f"{record.seconds:.1f} s"))
    if record.stopped:
        note(f"{name}: stopped after {record.steps} of {record.settings.all_steps} steps; the best so far is kept")
    for text in record.warnings:
        note(f"Warning: {name}: {text}")
