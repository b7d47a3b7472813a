"""ZIPs of photos taken apart, trusting nothing that they say of themselves; and results packed into one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from batch.job import JOURNAL, LATENTS, BatchPhoto
from inversion.cache import in_words
from inversion.formats import format_of
from weights.errors import InputError
from weights.files import write_new

MOST_PHOTOS = 500
MOST_BYTES = 64 * 10**6        # Of one photo in a ZIP.
MOST_UNPACKED = 10**9          # Of all of them.
LATENT = ".latent.safetensors"

_ENTRY_BYTES = 1024            # Of a ZIP's list of its files, for each that there may be; a name has about 100.
_PIECE = 2**16
_HEAD = 4096                   # Bytes from which a photo is told from another file.
_ENCRYPTED = 0x1
_WRONG = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def is_zip(path: Path) -> bool:
    """Whether a file is a ZIP, by its name or its first bytes."""
    try:
        with open(path, "rb") as file:
            return path.suffix.lower() == ".zip" or file.read(4) in (b"PK\3\4", b"PK\5\6")
    except OSError:  # Reading it as a photo tells why.
        return False


def unpack_photos(path: str | os.PathLike[str], folder: str | os.PathLike[str], *, most: int = MOST_PHOTOS,
                  most_bytes: int = MOST_BYTES, most_unpacked: int = MOST_UNPACKED) -> list[BatchPhoto]:
    """Take the photos out of a ZIP, trusting nothing that it says of itself.

    The files get names of their own, so that none can be written outside the folder or over another. What computers put
    beside photos (folders, `__MACOSX`, names that begin with a dot) is left out; anything else that is no photo is
    listed with the reason: a link, a file with a password, one that is too large. Of a ZIP with stored latents, as a
    batch gives it, these alone are taken.

    Args:
        path: The ZIP.
        folder: Where the photos go; it is made if it is not there.
        most: How many files there may be.
        most_bytes: Of one file, unpacked; counted while it is unpacked.
        most_unpacked: Of all of them.
    Returns:
        The files in their order in the ZIP.
    Raises:
        InputError: not a ZIP, damaged, with too many files or too many bytes in it, or the folder cannot be written.
            Nothing is left in the folder then.
    """
    path, folder = Path(path), Path(folder)
    own: Path | None = None
    try:
        _check_directory(path, most)
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not _hidden(member)]
            members = [member for member in members if member.filename.endswith(LATENT)] or members
            _check_count(path, members, most)
            folder.mkdir(parents=True, exist_ok=True)
            own = Path(tempfile.mkdtemp(prefix="zip-", dir=folder))
            sources, left = [], most_unpacked
            for number, member in enumerate(members):
                source, used = _unpack(archive, member, own / f"{number:04d}", most_bytes, left)
                left -= used
                if left < 0:
                    raise InputError(path.name, f"unpacks to more than {in_words(most_unpacked)}",
                                     "make several ZIPs of it")
                sources.append(source)
            return sources
    except (InputError, *_WRONG) as error:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)
        if isinstance(error, InputError):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(path.name, f"cannot be unpacked ({error.strerror})", "try again") from error
        raise InputError(path.name, f"this ZIP cannot be opened ({error})",
                         "make it again, or choose the photos themselves") from error


def _check_directory(path: Path, most: int) -> None:
    """Refuse a ZIP whose list of files would take much memory, before it is read.

    The list's size stands in the end record, or in that of ZIP64 before it (PKWARE's APPNOTE, 4.3.14 to 4.3.16).
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 2**16 - 98, 0))
        tail = file.read()
    plain = tail[-22:-18] == b"PK\5\6" and tail[-2:] == b"\0\0"  # As zipfile looks for it: without a comment first.
    at = len(tail) - 22 if plain else tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("it is no ZIP, or cut short")
    listed = int.from_bytes(tail[at + 12:at + 16], "little")
    if at >= 76 and tail[at - 20:at - 16] == b"PK\6\7":
        listed = max(int.from_bytes(tail[at - 36:at - 28], "little"), listed if listed < 2**32 - 1 else 0)
    if listed > (most + 500) * _ENTRY_BYTES:  # Folders and what macOS adds are entries too.
        raise InputError(path.name, f"holds far more than {most} files",
                         f"make a ZIP of the photos alone, up to {most} of them")


def _check_count(path: Path, members: list[zipfile.ZipInfo], most: int) -> None:
    if not members:
        raise InputError(path.name, "there are no files in this ZIP", "put photos into it")
    if len(members) > most:
        raise InputError(path.name, f"holds {len(members)} files, and a batch is of up to {most} photos",
                         "make several ZIPs of it")


def _hidden(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder, or what a computer put there by itself."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    return member.is_dir() or not parts or "__MACOSX" in parts or (parts[-1].startswith(".") and parts[-1] != "..") \
        or parts[-1].lower() in ("thumbs.db", "desktop.ini")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, most: int,
            left: int) -> tuple[BatchPhoto, int]:
    """Unpack one photo or latent; what it is called, and how many bytes were unpacked."""
    name = _shown(member.filename)
    is_latent = name.endswith(LATENT)
    reason = _why_refused(member)
    if reason:
        return BatchPhoto(name=name, reason=reason), 0
    used = 0
    try:
        with archive.open(member) as file:
            piece = file.read(_HEAD)
            used = len(piece)
            if not is_latent:
                format_of(piece, name)
            with open(target, "xb") as photo:
                while piece and used <= min(most, left):
                    photo.write(piece)
                    piece = file.read(_PIECE)
                    used += len(piece)
    except InputError as error:  # Not a photo.
        return BatchPhoto(name=name, reason=reason_of(error, name)), used
    except _WRONG as error:
        if isinstance(error, OSError) and error.errno is not None:  # The disk is full: no other can be unpacked either.
            raise
        target.unlink(missing_ok=True)
        return BatchPhoto(name=name, reason="is damaged within the ZIP; make the ZIP again"), used
    if used > most:
        target.unlink()
        return BatchPhoto(name=name, reason=f"is larger than {in_words(most)}; make the photo smaller"), used
    return (of_latent(target, name, own=True) if is_latent else BatchPhoto(name=name, path=target, own=True)), used


def of_latent(path: Path, name: str, *, own: bool = False) -> BatchPhoto:
    """A stored latent in place of a photo, called as what it was inverted from."""
    return BatchPhoto(name=name.removeprefix(f"{LATENTS}/").removesuffix(LATENT), latents=(path,), own=own)


def _why_refused(member: zipfile.ZipInfo) -> str:
    """Why a member is not even opened; nothing if it is."""
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device, not a photo; put the photo itself into the ZIP"
    if member.flag_bits & _ENCRYPTED:
        return "has a password; make the ZIP without one"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # Others unpack without any measure.
        return "is compressed in an unusual way; make the ZIP with the usual settings"
    return ""


def reason_of(error: InputError, name: str) -> str:
    """An error in one line, without the file's name, which stands beside it."""
    return " ".join((error.what if error.subject == name else str(error)).split())


def _shown(name: str) -> str:
    """A member's name for people to read: no drive, no way up, nothing that cannot be printed."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    clean = "/".join("".join(c if c.isprintable() else "?" for c in part) for part in parts)
    return clean[-200:] or "photo"


def pack(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Put all results in a batch's folder into a ZIP, which is there only once it is whole.

    Pictures and latents do not become smaller by compression, so that they are stored as they are.

    Args:
        folder: The batch's; what is hidden in it, and its journal, is left out.
        path: Of the ZIP. Where something is there already, NAME-2, NAME-3 and so on are tried.
    Returns:
        The path that it has.
    Raises:
        InputError: the ZIP cannot be written.
    """
    folder, path = Path(folder), Path(path)
    return write_new(path, lambda temporary: _pack(folder, _results_in(folder), temporary))


def _results_in(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != JOURNAL)
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _pack(folder: Path, files: Iterable[Path], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            how = zipfile.ZIP_DEFLATED if file.suffix in (".csv", ".json", ".jsonl") else zipfile.ZIP_STORED
            member = zipfile.ZipInfo.from_file(file, file.relative_to(folder).as_posix(), strict_timestamps=False)
            member.compress_type = how
            with open(file, "rb") as source, archive.open(member, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _PIECE)
