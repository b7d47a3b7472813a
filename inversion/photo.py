"""Photos in, pictures out: decoding what a user brings, and saving what the program makes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from weights.errors import InputError
from weights.files import replacing

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 40_000_000
MAX_BYTES = 512 * 2**20  # 40 megapixels of 16-bit RGBA, stored without compression, are 320 MB

_REMEDY = "save the photo as JPEG, PNG or WebP and try again"
_DAMAGED = ("the file is cut short or damaged", "copy or download it again")
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error,
)  # fmt: skip

# How a file starts -> what it is, for formats that are refused by name.
_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF or raw camera file"),
    (b"MM\0*", "a TIFF or raw camera file"),
    (b"BM", "a BMP"),
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
)
_FTYP_BRANDS = {
    b"heic": "a HEIC", b"heix": "a HEIC", b"heim": "a HEIC", b"heis": "a HEIC", b"hevc": "a HEIC", b"hevx": "a HEIC",
    b"mif1": "a HEIC", b"msf1": "a HEIC", b"avif": "an AVIF", b"avis": "an AVIF",
}  # fmt: skip

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_PNG_XMP = "XML:com.adobe.xmp"  # Under which a PNG holds XMP.
MARK = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="gradctrl: edited by a generator, not a photograph"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
"""What `save_picture` marks edited pictures with: IPTC's word for a photo of which a generator drew a part."""
_ASCII = b"ASCII\0\0\0"  # the character code that opens an EXIF UserComment
SAVED_AS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MAX_SIDE = {"PNG": 2**31 - 1, "JPEG": 65_500, "WEBP": 16_383}


@dataclass(frozen=True, eq=False)
class OwnColours:
    """A photo as its file has it, in the colours of an embedded profile that is not sRGB: Display P3, Adobe RGB.

    pixels: uint8 [H, W, 3], upright, read-only.
    profile: the ICC profile that says what they mean.
    """

    pixels: npt.NDArray[np.uint8]
    profile: bytes

    def of(self, picture: npt.NDArray[np.uint8], unedited: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """An edited sRGB picture in these colours; where it is as the unedited one, the file's own pixels."""
        from PIL import Image, ImageCms

        converted = ImageCms.profileToProfile(Image.fromarray(picture), ImageCms.createProfile("sRGB"),
                                              ImageCms.ImageCmsProfile(io.BytesIO(self.profile)), outputMode="RGB")
        same = (picture == unedited).all(axis=2, keepdims=True)
        return np.where(same, self.pixels, np.asarray(converted, np.uint8))


@dataclass(frozen=True, eq=False)
class Photo:
    """What the user brought, decoded: upright, sRGB, without metadata.

    pixels: uint8 [H, W, 3], RGB, read-only.
    name: the file's name, for messages.
    sha256: hex digest of the file's bytes (of the pixels for a photo made from an array); the recipe's photo hash.
    own: its pixels before they became sRGB, for `save_picture`; None where they are sRGB in the file.
    """

    pixels: npt.NDArray[np.uint8]
    name: str
    sha256: str
    own: OwnColours | None = None

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])


def open_photo(source: str | os.PathLike[str] | BinaryIO, *, name: str | None = None) -> Photo:
    """Decode a JPEG, PNG or WebP file into an upright sRGB photo.

    The format is decided by content, never by the file's ending. EXIF orientation is applied, an ICC profile is
    converted to sRGB, transparency is laid over white (as a browser shows it), CMYK, grey, palette and 16-bit
    pictures become 8-bit RGB, of an animation the first frame is taken; then all metadata is dropped.

    source: a path, or a file object that reads bytes.
    name: what messages call the photo; the file's own name by default.

    Raises:
        InputError: not a file, empty, larger than 40 megapixels (read from the header, before anything is decoded),
            another format, cut short or damaged.
    """
    data, name = _read(source, name)
    size = _header_size(data, name)
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(name, f"{size[0]} x {size[1]} pixels are more than {MAX_PIXELS // 10 ** 6} megapixels",
                         "make the photo smaller and try again")
    if min(size) < 1:
        raise InputError(name, *_DAMAGED)
    pixels, own = _decode(data, name)
    return Photo(_read_only(pixels), name, hashlib.sha256(data).hexdigest(), own)


def photo_from_array(picture: npt.NDArray[np.uint8] | Image.Image, *, name: str = "photo") -> Photo:
    """Make a photo of a picture that is in memory already.

    picture: uint8 [H, W, 3] RGB, or a PIL image (which is treated as `open_photo` treats a file: orientation,
        profile, transparency). The array is copied. The hash is that of the height, the width and the pixels.

    Raises:
        InputError: more than 40 megapixels.
        TypeError, ValueError: not uint8, or not [H, W, 3].
    """
    pixels = _checked(picture).copy() if isinstance(picture, np.ndarray) else _upright_rgb(picture.copy())[0]
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise InputError(name,
                         f"{pixels.shape[1]} x {pixels.shape[0]} pixels are more than {MAX_PIXELS // 10 ** 6} "
                         "megapixels", "make the photo smaller and try again")
    digest = hashlib.sha256(struct.pack("<QQ", *pixels.shape[:2]) + pixels.tobytes())
    return Photo(_read_only(pixels), name, digest.hexdigest())


def made_smaller(picture: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """A copy of a picture uint8 [H, W, 3], made smaller so that it has at most `side` pixels a side."""
    from PIL import Image

    factor = side / max(picture.shape[:2])
    if factor >= 1:
        return picture.copy()
    size = max(round(picture.shape[1] * factor), 1), max(round(picture.shape[0] * factor), 1)
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


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
    like: the photo of which this is an edited copy: in the colours of its profile, if it has one, and with its own
        pixels wherever nothing was changed.

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
    options = _save_options(path, kind, quality, dict(metadata or {}), mark)
    if like is not None and like.own is not None and picture.shape == like.pixels.shape:
        picture, options["icc_profile"] = like.own.of(picture, like.pixels), like.own.profile
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, kind, **options)


def read_picture_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read back the texts that `save_picture` stored, without its mark; empty when there are none.

    Raises:
        InputError: not a readable JPEG, PNG or WebP.
    """
    data, name = _read(path, None)
    _header_size(data, name)
    image = _open(data, name)
    try:
        if image.format == "PNG":
            image.load()  # a text may stand after the pixels
            return {key: str(value) for key, value in getattr(image, "text", {}).items() if key != _PNG_XMP}
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
        if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
            return {}
        stored = json.loads(comment[len(_ASCII):])
    except json.JSONDecodeError:
        return {}  # a camera's or another program's comment
    except _DECODER_ERRORS as error:
        raise InputError(name, *_DAMAGED) from error
    return {str(key): str(value) for key, value in stored.items()} if isinstance(stored, dict) else {}


def _read(source: str | os.PathLike[str] | BinaryIO, name: str | None) -> tuple[bytes, str]:
    """The file's bytes, and what messages call it."""
    place = os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "photo"))
    name = name or Path(place).name or place
    try:
        if isinstance(source, (str, os.PathLike)):
            if Path(place).is_dir():  # opening one fails too, on some systems as a matter of permissions
                raise InputError(place, "is a folder, not a photo", "name a file in it")
            with open(source, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        else:
            data = source.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(place, "no such file", "check the path") from error
    except OSError as error:
        raise InputError(place, f"cannot be read ({error.strerror or error})", "check its permissions") from error
    except InputError:
        raise
    except ValueError as error:  # a zero byte in the path, a closed file object
        raise InputError(f"{name!r}", f"cannot be read ({error})", "check the path") from error
    if not data:
        raise InputError(name, "the file is empty (0 bytes)", "copy or download it again")
    if len(data) > MAX_BYTES:
        raise InputError(name, f"larger than {MAX_BYTES // 2 ** 20} MB", "make the photo smaller and try again")
    return data, name


def _header_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height as the header states them; refuses every format but JPEG, PNG and WebP by name."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg_size(data)
    except (struct.error, IndexError) as error:
        raise InputError(name, *_DAMAGED) from error
    raise InputError(name, f"is {_kind(data)}", _REMEDY)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size from the first chunk (RFC 9649); Pillow would allocate the canvas to tell it."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Frame size from the first start-of-frame segment (ITU T.81, B.2.2); raises struct.error where there is none."""
    at = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFFFF:  # fill byte before a marker
            at += 1
        elif 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker < 0xFF01 or marker in (0xFFD9, 0xFFDA):
            raise struct.error("no frame header before the pixels")
        else:
            at += 2 + (0 if marker == 0xFF01 or 0xFFD0 <= marker <= 0xFFD8 else length)


def _kind(data: bytes) -> str:
    """What a refused file is, in words."""
    for start, kind in _OTHER_FORMATS:
        if data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        return _FTYP_BRANDS.get(data[8:12], "a video or another kind of file")
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head:
        return "an SVG drawing"
    if head.startswith((b"<html", b"<!doctype html")):
        return "a web page"
    return "not a JPEG, PNG or WebP"


def _open(data: bytes, name: str) -> Image.Image:
    """Let Pillow read the header, with the three decoders only."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except _DECODER_ERRORS as error:
        raise InputError(name, *_DAMAGED) from error


def _decode(data: bytes, name: str) -> tuple[npt.NDArray[np.uint8], OwnColours | None]:
    """All pixels, upright, in sRGB: uint8 [H, W, 3]; and as they are in the file, where that is not sRGB."""
    image = _open(data, name)
    try:
        image.load()
    except _DECODER_ERRORS as error:
        raise InputError(name, *_DAMAGED) from error
    return _upright_rgb(image)


def _upright_rgb(image: Image.Image) -> tuple[npt.NDArray[np.uint8], OwnColours | None]:
    """Orientation applied (to the image itself), colours in sRGB, transparency over white: uint8 [H, W, 3].

    And what it was in its own colours, if these are RGB by another profile, and opaque.
    """
    from PIL import Image, ImageOps

    profile = image.info.get("icc_profile")
    with suppress(*_DECODER_ERRORS):  # Damaged EXIF is no reason to refuse a photo.
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        grey = np.clip(np.rint(np.asarray(image, np.float64) / 257.0), 0, 255)
        image, profile = Image.fromarray(grey.astype(np.uint8)), None
    if image.mode in ("1", "P", "PA", "La", "RGBa") or "transparency" in image.info:
        has_alpha = image.mode in ("PA", "La", "RGBa") or "transparency" in image.info
        image = image.convert("RGBA" if has_alpha else "RGB")
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if alpha is not None:
        image = image.convert("L" if image.mode == "LA" else "RGB")
    before = image
    image = _to_srgb(image, profile)
    own = None
    if profile and alpha is None and before.mode == "RGB" and image is not before:
        own = OwnColours(_read_only(np.array(before, np.uint8)), profile)
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return np.array(image, np.uint8), own


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to 8-bit sRGB through the embedded profile; without one, or with a broken one, plainly."""
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # An sRGB photo stays bit for bit as it is: a conversion to itself would round.
            if image.mode != "RGB" or not ImageCms.getProfileDescription(source).startswith("sRGB"):
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile for another colour space, or not a profile: the pixels themselves are sound
    return image if image.mode == "RGB" else image.convert("RGB")


def _save_options(path: Path, kind: str, quality: int, metadata: dict[str, str], mark: bool) -> dict[str, object]:
    """Pillow's arguments for one format, with the metadata and the mark in them."""
    if kind == "PNG":
        return {"pnginfo": _png_texts(path, metadata | ({_PNG_XMP: MARK} if mark else {}))}
    options: dict[str, object] = {"quality": quality}
    if mark:
        options["xmp"] = MARK.encode()
    if kind == "JPEG":
        options["subsampling"] = 0
    if metadata:
        from PIL import Image

        exif = Image.Exif()
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + json.dumps(metadata).encode("ascii")
        options["exif"] = exif.tobytes()
        if kind == "JPEG" and len(exif.tobytes()) > 65_500:  # one APP1 segment
            raise InputError(path, "the recipe is too long for a JPEG", "save as .png or .webp instead")
    return options


def _png_texts(path: Path, metadata: dict[str, str]) -> object:
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        if not (1 <= len(key) <= 79 and key.isascii() and key.isprintable()):
            raise InputError(path, f"{key!r} cannot name a text in a PNG", "use 1 to 79 plain letters")
        texts.add_itxt(key, value)
    return texts


def _checked(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if picture.dtype != np.uint8:
        raise TypeError(f"a picture is uint8, not {picture.dtype}")
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"a picture is [height, width, 3], not {list(picture.shape)}")
    return np.ascontiguousarray(picture)


def _read_only(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    pixels.setflags(write=False)
    return pixels
