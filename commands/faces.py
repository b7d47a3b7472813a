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
    class_option,
    face_option,
    inversion_options,
    model_options,
    open_generator,
    out_options,
    settings_of,
)


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
@click.option("--seed", type=SEED, default=0, help="Where the search begins; the same seed gives the same result.")
@out_options
@class_option
@model_options
def invert(photos: tuple[Path, ...], face: int | None, cache: bool | None, out: Path, overwrite: bool,
           generator: str, class_name: str | None, device: str, threads: int | None, **options: Any) -> None:
    """Find the latents whose pictures are the faces in photos.

    Writes PHOTO.latent.safetensors, which `gradctrl edit` takes in place of the photo, and PHOTO-inverted.png. Tells
    how near the picture came: LPIPS (0 is equal), and the identity distance (below 0.6 is the same person).

    Ctrl-C keeps the best so far of the running inversion and ends; again, it aborts. For whole folders, and for many
    faces at once on a GPU, there is `gradctrl batch --only invert`.

    \b
    Examples:
      gradctrl invert me.jpg --preset faithful
      gradctrl invert holiday/*.jpg --out latents
    """
    check_inputs(photos)
    check_generator(generator)
    settings = settings_of(options)
    run, outputs = Run(), Outputs(out, photos, overwrite)
    from editing import Inverter
    from inversion import Projector, save_inversion, save_picture

    inverter = Inverter(Projector(open_generator(generator, device, threads, class_name)), open_cache(cache))
    for path in run.over(photos):
        with run.attempt():
            chosen, stem = choose_in(path, index_of(face))
            latent_path, picture_path = outputs.claim(f"{stem}{LATENT}", f"{stem}-inverted.png")
            [inversion] = invert_faces(run, inverter, [chosen], settings, stem)
            outputs.write(latent_path, partial(save_inversion, inversion=inversion))
            outputs.write(picture_path, partial(save_picture, picture=inversion.picture))
    run.finish()
