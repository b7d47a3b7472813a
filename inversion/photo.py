"""Photos in, pictures out: opening what a user brings, and saving what the program makes."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from inversion.decoding import DECODER_ERRORS, MAX_PIXELS, Stored, decode, open_image, read_only, upright
from inversion.formats import DAMAGED, format_of, size_of
from inversion.metadata import metadata_options, texts_in
from inversion.profiles import profile_of
from weights.errors import InputError, memory_told
from weights.files import replacing

if TYPE_CHECKING:
    from PIL import Image

_HEAD = 4096  # Bytes by which a photo is told from another file.
MAX_BYTES = 512 * 2**20  # 40 megapixels of 16-bit RGBA, stored without compression, are 320 MB
SAVED_AS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MAX_SIDE = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383}
_PNG_LEVEL = 2  # Of zlib's nine: a fourth of the time that the sixth takes, its own choice, for files a tenth larger.


@dataclass(frozen=True, eq=False)
class Photo:
    """What the user brought, decoded: upright, sRGB, without metadata.

    pixels: uint8 [H, W, 3], RGB, read-only.
    name: the file's name, for messages.
    sha256: hex digest of the file's bytes (of the pixels for a photo made from an array); the recipe's photo hash.
    stored: what its file has instead, for `save_picture`: another profile's colours, grey, transparency; or None.
    warnings: what is off with the file, in sentences for the user.
    """

    pixels: npt.NDArray[np.uint8]
    name: str
    sha256: str
    stored: Stored | None = None
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])

    def turned(self, degrees: int) -> Photo:
        """The same photo turned clockwise by 0, 90, 180 or 270 degrees; its hash stays that of the file."""
        assert degrees % 90 == 0, degrees

        def turn(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
            return read_only(np.ascontiguousarray(np.rot90(pixels, -degrees // 90)))

        stored = self.stored
        if stored is not None:
            stored = replace(stored, pixels=turn(stored.pixels),
                             alpha=None if stored.alpha is None else turn(stored.alpha))
        return replace(self, pixels=turn(self.pixels), stored=stored)


def open_photo(source: str | os.PathLike[str] | BinaryIO, *, name: str | None = None) -> Photo:
    """Decode a JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF or BMP file into an upright sRGB photo.

    The format is decided by content, never by the file's ending. EXIF orientation is applied, colours are converted
    to sRGB, transparency is laid over white (as a browser shows it), CMYK, grey, palette and 16-bit pictures become
    8-bit RGB, of an animation the first frame and of several pages the first is taken; then all metadata is dropped.
    One of more than 40 megapixels is made smaller, and a JPEG or PNG that is cut short by at most a tenth is opened
    as far as it goes: `Photo.warnings` say so.

    source: a path, or a file object that reads bytes.
    name: what messages call the photo; the file's own name by default.

    Raises:
        InputError: not a file, empty, larger than 100 megapixels, as a JPEG 210 (read from the header, before anything
            is decoded), another format, damaged, or larger than memory.
    """
    data, name = _read(source, name)
    decoded = decode(data, name)
    return Photo(decoded.pixels, name, hashlib.sha256(data).hexdigest(), decoded.stored, decoded.warnings)


def check_photo(source: str | os.PathLike[str], *, name: str | None = None) -> None:
    """Refuse a file that no photo could be, by its first bytes: quick, and nothing is decoded.

    Raises:
        InputError: not a file, empty, or another kind of file.
    """
    data, name = _read(source, name, _HEAD)
    format_of(data, name)


def photo_from_array(picture: npt.NDArray[np.uint8] | Image.Image, *, name: str = "photo") -> Photo:
    """Make a photo of a picture that is in memory already.

    picture: uint8 [H, W, 3] RGB, or a PIL image (which is treated as `open_photo` treats a file: orientation,
        profile, transparency). The array is copied. The hash is that of the height, the width and the pixels.

    Raises:
        InputError: more than 40 megapixels.
        TypeError, ValueError: not uint8, or not [H, W, 3].
    """
    if isinstance(picture, np.ndarray):
        pixels, stored = read_only(_checked(picture).copy()), None
    else:
        decoded = upright(picture.copy(), profile_of(picture.info, None))
        pixels, stored = decoded.pixels, decoded.stored
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise InputError(name,
                         f"{pixels.shape[1]} x {pixels.shape[0]} pixels are more than {MAX_PIXELS // 10 ** 6} "
                         "megapixels", "make the photo smaller and try again")
    digest = hashlib.sha256(struct.pack("<QQ", *pixels.shape[:2]) + pixels.tobytes())
    return Photo(pixels, name, digest.hexdigest(), stored)


def made_smaller(picture: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """A copy of a picture uint8 [H, W, 3], made smaller so that it has at most `side` pixels a side."""
    from PIL import Image

    factor = side / max(picture.shape[:2])
    if factor >= 1:
        return picture.copy()
    size = max(round(picture.shape[1] * factor), 1), max(round(picture.shape[0] * factor), 1)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


@memory_told()
def save_picture(
    path: str | os.PathLike[str],
    picture: npt.NDArray[np.uint8],
    *,
    quality: int = 95,
    metadata: Mapping[str, str] | None = None,
    mark: bool = False,
    like: Photo | None = None,
) -> None:
    """Write a picture as PNG, JPEG or WebP, by the path's ending; an existing file is replaced only on success.

    picture: uint8 [H, W, 3] RGB.
    quality: 1..100 for JPEG (colour at full resolution) and WebP; PNG is lossless.
    metadata: texts to store with the picture. In PNG each becomes an iTXt chunk under its key; in JPEG and WebP all
        become one JSON object in EXIF's UserComment. `read_picture_metadata` reads either back.
    mark: say in the file, by IPTC's digital source type in XMP, that a generator took part in making the picture.
    like: the photo of which this is an edited copy: in the colours of its profile, if it has one, with its
        transparency (not as JPEG, which has none), grey where it was and is grey (not as WebP, which has colours only),
        and with its own pixels wherever nothing was changed.

    Raises:
        InputError: another ending, a picture or metadata that the format cannot hold, or a folder that cannot be
            written.
    """
    from PIL import Image

    path = Path(path)
    kind = SAVED_AS.get(path.suffix.lower())
    if kind is None:
        raise InputError(path, "pictures are saved as .png, .jpg or .webp", "choose one of these endings")
    picture = _checked(picture)
    if max(picture.shape[:2]) > _MAX_SIDE[kind]:
        raise InputError(path, f"{kind} holds at most {_MAX_SIDE[kind]} pixels a side", "save as .png instead")
    options = metadata_options(path, kind, dict(metadata or {}), mark)
    options |= {"compress_level": _PNG_LEVEL} if kind == "PNG" else {"quality": quality}
    if kind == "JPEG":
        options["subsampling"] = 0
    stored = like.stored if like is not None and picture.shape == like.pixels.shape else None
    if like is not None and stored is not None and not (kind == "JPEG" and stored.alpha is not None):
        picture, profile = stored.of(picture, like.pixels, grey=kind != "WEBP")
        options |= {"icc_profile": profile} if profile else {}
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, kind, **options)


def read_picture_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read back the texts that `save_picture` stored, without its mark; empty when there are none.

    Raises:
        InputError: not a readable JPEG, PNG or WebP.
    """
    data, name = _read(path, None)
    kind = format_of(data, name)
    if kind not in SAVED_AS.values():
        return {}
    size_of(data, kind, name)
    try:
        return texts_in(open_image(data, kind))
    except DECODER_ERRORS as error:
        raise InputError(name, *DAMAGED) from error


def _read(source: str | os.PathLike[str] | BinaryIO, name: str | None, head: int = 0) -> tuple[bytes, str]:
    """The file's bytes, or only so many of its first, and what messages call it."""
    place = os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "photo"))
    name = name or Path(place).name or place
    most = head or MAX_BYTES + 1
    try:
        if isinstance(source, (str, os.PathLike)):
            if Path(place).is_dir():  # opening one fails too, on some systems as a matter of permissions
                raise InputError(place, "is a folder, not a photo", "name a file in it")
            with open(source, "rb") as file:
                data = file.read(most)
        else:
            data = source.read(most)
    except FileNotFoundError as error:
        raise InputError(place, "no such file", "check the path") from error
    except OSError as error:
        raise InputError(place, f"cannot be read ({error.strerror or error})", "check its permissions") from error
    except InputError:
        raise
    except ValueError as error:  # a zero byte in the path, a closed file object
        raise InputError(f"{name!r}", f"cannot be read ({error})", "check the path") from error
    if len(data) > MAX_BYTES:
        raise InputError(name, f"larger than {MAX_BYTES // 2 ** 20} MB", "make the photo smaller and try again")
    return data, name


def _checked(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if picture.dtype != np.uint8:
        raise TypeError(f"a picture is uint8, not {picture.dtype}")
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"a picture is [height, width, 3], not {list(picture.shape)}")
    return np.ascontiguousarray(picture)
