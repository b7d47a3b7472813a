"""The photos of a batch: from folders, files, patterns, lists and ZIPs; or the latents of an inverted folder."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from batch.job import JOURNAL, LATENTS, BatchPhoto
from batch.zips import LATENT, MOST_BYTES, MOST_PHOTOS, MOST_UNPACKED, is_zip, of_latent, reason_of, unpack_photos
from inversion.formats import format_of
from weights.errors import InputError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".bmp")
_PATTERN = re.compile(r"[*?\[]")
_NUMBER = re.compile(r"(\d+)")
_HEAD = 4096


def find_photos(sources: Iterable[str | os.PathLike[str]], *, without: Sequence[Path] = (),
                unpacked: Path | None = None) -> list[BatchPhoto]:
    """The photos among sources, in the order of their names, numbers by their value.

    Args:
        sources: Folders, with all below them but what is hidden; files; patterns such as "holiday/**/*.jpg"; ZIPs.
        without: Folders whose files are left out, as that of the results.
        unpacked: Where what is in ZIPs goes; None: ZIPs are refused.
    Returns:
        Each file once. Of a folder, what neither is called nor begins as a photo is left out.
    Raises:
        InputError: a source is not there, a ZIP cannot be unpacked, or there are no photos at all.
    """
    left_out = [path.resolve() for path in without]
    given = [Path(path) for source in sources for path in _matches(source)]
    folders = [path for path in given if path.is_dir()]
    zips = [path for path in given if not path.is_dir() and is_zip(path)]
    others = {*folders, *zips}
    files = [path for path in given if path not in others]
    found: dict[Path, BatchPhoto] = {}
    for folder in folders:
        for path in _in_folder(folder, left_out):
            name = path.relative_to(folder).as_posix()
            found.setdefault(path.resolve(), BatchPhoto(
                name=f"{folder.resolve().name}/{name}" if len(folders) > 1 else name, path=path))
    for path, name in zip(files, _names_of(files), strict=True):
        found.setdefault(path.resolve(), BatchPhoto(name=name, path=path))
    for path in zips:
        for photo in _in_zip(path, unpacked):
            found[photo.file or path / photo.name] = photo
    if not found:
        raise InputError(None, "there are no photos to edit", "give a folder with photos, or photos")
    return sorted(found.values(), key=lambda photo: natural(photo.name))


def _matches(source: str | os.PathLike[str]) -> list[str]:
    """What a source names: itself, or the files of its pattern."""
    text = os.fspath(source)
    if os.path.lexists(text):
        return [text]
    if not _PATTERN.search(text):
        raise InputError(text, "no such file or folder", "check the path")
    matches = [path for path in sorted(glob.glob(text, recursive=True))  # noqa: PTH207
               if not Path(path).is_dir()]
    if not matches:
        raise InputError(text, "no file is called so", "check the pattern")
    return matches


def _in_folder(folder: Path, left_out: Sequence[Path]) -> Iterator[Path]:
    """What may be photos, in a folder and all below it."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders
                      if not name.startswith(".") and Path(place, name).resolve() not in left_out]
        yield from (path for name in files if not name.startswith(".") and _may_be_photo(path := Path(place, name)))


def _in_zip(path: Path, unpacked: Path | None) -> list[BatchPhoto]:
    if unpacked is None:
        raise InputError(path, "is a ZIP", "unpack it first")
    free = shutil.disk_usage(unpacked.parent).free
    return unpack_photos(path, unpacked, most=10**6, most_bytes=10**9, most_unpacked=free // 2)


def _may_be_photo(path: Path) -> bool:
    """By its name, which costs nothing, or by its first bytes."""
    if path.suffix.lower() in PHOTO_ENDINGS:
        return True
    if path.suffix.lower() in (".json", ".jsonl", ".csv", ".txt", ".safetensors", ".zip"):
        return False
    try:
        with open(path, "rb") as file:
            format_of(file.read(_HEAD), path.name)
    except (OSError, InputError):
        return False
    return True


def _names_of(files: Sequence[Path]) -> list[str]:
    """The names of single files, with the folders below the one that all of them share."""
    whole = [path.resolve().parent / path.name for path in files]
    try:
        shared = os.path.commonpath([str(path.parent) for path in whole]) if whole else ""
    except ValueError:  # On two drives.
        return [path.name for path in files]
    return [path.relative_to(shared).as_posix() for path in whole]


def with_own_names(photos: Iterable[BatchPhoto]) -> Iterator[BatchPhoto]:
    """Photos of two sources that are called alike get a number, as the journal knows them by their names."""
    taken: set[str] = set()
    for photo in photos:
        name, number = photo.name, 1
        while name in taken:
            number += 1
            name = f"{photo.name} ({number})"
        taken.add(name)
        yield photo if name == photo.name else replace(photo, name=name)


def natural(name: str) -> list[tuple[int, str | int]]:
    """What names are sorted by, so that frame 10 follows frame 9."""
    return [(0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in _NUMBER.split(name)]


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """The paths in a text file, one a line, relative to the folder that the program runs in; empty lines are none.

    Raises:
        InputError: there is no such file, or nothing in it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()  # Windows' editors begin with a mark.
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read as a list ({error})", "give a text file with a path a line") from error
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise InputError(path, "is an empty list", "write a path a line into it")
    return paths


def find_inverted(folder: str | os.PathLike[str], photos: str | os.PathLike[str] | None = None, *,
                  unpacked: Path | None = None) -> list[BatchPhoto]:
    """The latents of a folder in which a batch has inverted photos, with the photos if these are at hand.

    Args:
        folder: Of that batch; or any other with `.latent.safetensors` files, or the ZIP of one.
        photos: The folder with the photos that it was given; None: there are latents alone. A ZIP does not tell which
            photo a latent is of.
        unpacked: As of `find_photos`.
    Raises:
        InputError: there is no such folder, or no latent in it.
    """
    folder = Path(folder)
    if is_zip(folder) and photos is None:
        found = [photo for photo in _in_zip(folder, unpacked) if photo.latents]
    elif folder.is_dir():
        found = [*_from_journal(folder, None if photos is None else Path(photos))] or [
            of_latent(path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob(f"*{LATENT}"))
            if not path.name.startswith(".")]
    else:
        raise InputError(folder, "no such folder", "give one that was inverted with --only invert")
    if not found:
        raise InputError(folder, "there are no latents in it", "invert photos first, with --only invert")
    return sorted(found, key=lambda photo: natural(photo.name))


def _from_journal(folder: Path, photos: Path | None) -> Iterator[BatchPhoto]:
    """What a batch's journal says of its latents: those of one photo together, and which photo it is."""
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    ended: dict[str, tuple[Path, ...]] = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # A last line that is being written.
            entry = json.loads(line)
            if "ended" in entry:
                ended[entry["ended"]] = tuple(folder / row["latent"] for row in entry["rows"] if row.get("latent"))
    for name, latents in ended.items():
        if latents and all(folder / LATENTS in latent.parents for latent in latents):
            yield BatchPhoto(name=name, path=None if photos is None else photos / name, latents=latents)


def gather(paths: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str], *, most: int = MOST_PHOTOS,
           own: bool = False) -> list[BatchPhoto]:
    """The photos and stored latents among a visitor's files, with those in ZIPs, in their order.

    A ZIP that cannot be opened is listed with the reason.

    Args:
        paths: Photos, latents and ZIPs; photos and ZIPs are told apart by what they hold.
        folder: Where what is in ZIPs goes.
        most: How many photos there may be, all in all.
        own: Whether the files are copies, which may be removed once they were read.
    Raises:
        InputError: there are more photos, or nothing that could be one; with the reason, if it is one ZIP alone.
    """
    photos: list[BatchPhoto] = []
    left = MOST_UNPACKED
    for path in map(Path, paths):
        if not is_zip(path):
            photos.append(of_latent(path, path.name, own=own) if path.name.endswith(LATENT)
                          else BatchPhoto(name=path.name, path=path, own=own))
            continue
        try:
            unpacked = unpack_photos(path, folder, most=most, most_bytes=MOST_BYTES, most_unpacked=left)
        except InputError as error:
            photos.append(BatchPhoto(name=path.name, reason=reason_of(error, path.name)))
        else:
            photos += unpacked
            left -= sum(photo.file.stat().st_size for photo in unpacked if photo.file)
        if own:
            path.unlink(missing_ok=True)
    if len(photos) > most:
        raise InputError(None, f"{len(photos)} photos are more than the {most} of a batch",
                         "make several batches of them")
    if len(photos) == 1 and photos[0].file is None:
        raise InputError(photos[0].name, photos[0].reason)
    if not photos:
        raise InputError(None, "there are no photos to edit", "choose some first")
    return photos
