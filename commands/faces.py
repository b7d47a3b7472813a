"""The commands align and invert."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from commands.checks import check_generator, check_inputs
from commands.console import LATENT, Outputs, Run, note
from commands.edit_inputs import choose_in, index_of, invert_faces
from commands.files import open_cache
from commands.options import (
    SEED,
    all_faces_option,
    face_option,
    inversion_options,
    model_options,
    open_generator,
    out_options,
    settings_of,
)
from weights.errors import InputError, is_out_of_memory


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@face_option
@all_faces_option
@click.option("--size", type=click.IntRange(16, 4096), default=256, help="Side of the crop in pixels.")
@out_options
def align(photos: tuple[Path, ...], face: int | None, all_faces: bool, size: int, out: Path, overwrite: bool) -> None:
    """Cut faces out of photos: level, centred, square.

    Writes PHOTO-face.png; for a photo with several faces PHOTO-face1.png, PHOTO-face2.png and so on, the largest first.

    \b
    Examples:
      gradctrl align me.jpg --size 512
      gradctrl align party.jpg --all-faces --out faces
    """
    from inversion import align as align_face
    from inversion import choose_face, find_upright, open_photo, save_picture

    if all_faces and face is not None:
        raise click.UsageError("--face and --all-faces do not go together; give one of them")
    run, outputs = Run(), Outputs(out, photos, overwrite)
    for path in run.over(photos):
        with run.attempt():
            photo, faces, _ = find_upright(open_photo(path, name=str(path)))
            for text in photo.warnings:
                note(f"Warning: {photo.name}: {text}")
            if not all_faces:
                choose_face(faces, index_of(face), name=photo.name)
            for number in range(1, len(faces) + 1) if all_faces else [face or 1]:
                with run.attempt():
                    crop = align_face(photo, faces[number - 1], size)
                    [target] = outputs.claim(f"{path.stem}-face{number if len(faces) > 1 else ''}.png")
                    outputs.write(target, partial(save_picture, picture=crop))
    run.finish()


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@face_option
@inversion_options
@click.option("--batch", type=click.IntRange(min=1), default=1,
              help="Faces inverted at once; more pay on a GPU and change no result.")
@click.option("--seed", type=SEED, default=0, help="Where the search begins; the same seed gives the same result.")
@out_options
@model_options
def invert(photos: tuple[Path, ...], face: int | None, cache: bool | None, batch: int, out: Path, overwrite: bool,
           generator: str, device: str, threads: int | None, **options: Any) -> None:
    """Find the latents whose pictures are the faces in photos.

    Writes PHOTO.latent.safetensors, which `gradctrl edit` takes in place of the photo, and PHOTO-inverted.png. Tells
    how near the picture came: LPIPS (0 is equal), and the identity distance (below 0.6 is the same person).

    Ctrl-C keeps the best so far of the running inversion and ends; again, it aborts.

    \b
    Examples:
      gradctrl invert me.jpg --preset faithful
      gradctrl invert holiday/*.jpg --out latents
    """
    check_inputs(photos)
    check_generator(generator)
    settings = settings_of(options)
    run, outputs = Run(), Outputs(out, photos, overwrite)
    from editing import ChosenFace, Inverter
    from inversion import Projector, save_inversion, save_picture

    inverter = Inverter(Projector(open_generator(generator, device, threads)), open_cache(cache))
    waiting: list[tuple[ChosenFace, str, list[Path]]] = []

    def invert_all(some: list[tuple[ChosenFace, str, list[Path]]]) -> None:
        text = some[0][1] if len(some) == 1 else f"{len(some)} faces"
        inversions = None
        try:
            inversions = invert_faces(run, inverter, [face for face, _, _ in some], settings, text)
        except (InputError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or len(some) == 1:
                raise
        if inversions is None:  # Behind the except: until it is left, the error keeps all that was computed.
            half = len(some) // 2
            note(f"Warning: out of memory with {len(some)} faces at once; trying {max(half, len(some) - half)}")
            for part in (some[:half], some[half:]):
                with run.attempt():
                    invert_all(part)
            return
        for inversion, (_, _, paths) in zip(inversions, some, strict=True):
            with run.attempt():
                outputs.write(paths[0], partial(save_inversion, inversion=inversion))
                outputs.write(paths[1], partial(save_picture, picture=inversion.picture))

    def invert_waiting() -> None:
        some = waiting.copy()
        waiting.clear()
        if some:
            with run.attempt():
                invert_all(some)

    for path in run.over(photos):
        with run.attempt():
            chosen, stem = choose_in(path, index_of(face))
            waiting.append((chosen, stem, outputs.claim(f"{stem}{LATENT}", f"{stem}-inverted.png")))
        if len(waiting) == batch:
            invert_waiting()
    invert_waiting()
    run.finish()
