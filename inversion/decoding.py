"""From a photo's bytes to its pixels: whatever format, depth and orientation the file has."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inversion.formats import DAMAGED, format_of, size_of
from inversion.profiles import HDR, can_write, coding_of, from_srgb, profile_of, to_srgb
from weights.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 40_000_000
"""Larger photos are made smaller, to this."""

_WHOLE, _SCALED = 100_000_000, 210_000_000  # The most that is decoded as it is: 0.4 GB; and, JPEG alone, at half size.
_HALVED = 96_000_000  # From here on a JPEG is decoded at half its size, which leaves 24 megapixels and more.
_MISSING = 0.1        # A photo of which more is missing is refused.
_FAR = 16             # Levels: where two guesses at what is missing are further apart, it is missing.
_LARGE_TEXT, _LARGE_PROFILE = 2**20, 16 * 2**20  # Bytes; Pillow reads no texts beyond this.
_GREY = 2             # Levels between the channels of what still is grey: rounding.
DEEP = ("The photo has 16 bits a colour and is edited with 8, as what is saved has: smooth areas may show steps, also "
        "where nothing is edited; keep the original if that matters")

DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AssertionError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip

_Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Stored:
    """A photo as its file has it, where that is more or other than sRGB: a profile's colours, grey, transparent.

    pixels: uint8 [H, W, 3], or [H, W] of a grey photo; upright, read-only.
    profile: the ICC profile that says what they mean; None: sRGB.
    alpha: how opaque each pixel is, uint8 [H, W]; None: all are.
    """

    pixels: _Pixels
    profile: bytes | None = None
    alpha: _Pixels | None = None

    def of(self, picture: _Pixels, unedited: _Pixels, *, grey: bool = True) -> tuple[_Pixels, bytes | None]:
        """An edited sRGB picture as the file would have it, and its profile.

        Where it is as the unedited one, it has the file's own pixels. A grey photo that was given colours is in sRGB.

        picture, unedited: uint8 [H, W, 3], what is transparent in them laid over white.
        grey: whether it can be written with one channel.
        Returns uint8 [H, W] or [H, W, 3], with alpha [H, W, 2] or [H, W, 4].
        """
        was_grey, profile = self.pixels.ndim == 2, self.profile
        coloured = was_grey and not (grey and _is_grey(picture))
        same = (picture == unedited).all(axis=2)
        result = picture
        if self.alpha is not None:  # Take away what shines through of the white.
            result, mixed = picture.copy(), ~same & (self.alpha > 0) & (self.alpha < 255)
            lack = (255.0 - picture[mixed]) * 255 / self.alpha[mixed, None]
            result[mixed] = np.rint(255 - lack).clip(0, 255)
        if coloured:
            profile = None
        elif was_grey:
            result = from_srgb(result, profile, "L") if profile else result[..., 1]
            result = np.where(same, self.pixels, result)
        else:
            result = from_srgb(result, profile, "RGB") if profile else result
            result = np.where(same[..., None], self.pixels, result)
        return (result if self.alpha is None else np.dstack([result, self.alpha])), profile


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels in sRGB, uint8 [H, W, 3]; as the file has them, if that is otherwise; and what there is to say."""

    pixels: _Pixels
    stored: Stored | None
    warnings: tuple[str, ...] = ()


def decode(data: bytes, name: str) -> Decoded:
    """Decode a photo.

    data: the file.
    name: what messages call it.

    Raises:
        InputError: another kind of file, damaged, too large (read from the header, before anything is decoded).
    """
    kind = format_of(data, name)
    width, height = size_of(data, kind, name)
    _check_size(width, height, kind, name)
    coding = coding_of(data, kind)
    from PIL import Image

    try:
        image = open_image(data, kind)
        _check_size(*image.size, kind, name)
        image, warnings = _loaded(image, data, kind, name)
        if _bits_of(image, data, kind) > 8:
            warnings = (*warnings, DEEP)
        # The code points stand before a profile in a PNG, and behind it in a HEIC and an AVIF.
        first = coding if kind == "PNG" or "icc_profile" not in image.info else None
        image, more = _reduced(_of_plain_mode(image), width, height)
        decoded = upright(image, profile_of(image.info, first))
    except InputError as error:
        raise error.about(name) from error
    except MemoryError as error:
        raise InputError(name, f"{width} x {height} pixels do not fit into memory",
                         "make the photo smaller, or save it as JPEG, and try again") from error
    except Image.DecompressionBombError as error:  # A GIF's first picture may be larger than it says.
        raise InputError(name, "it holds a picture of too many pixels",
                         "make the photo smaller and try again") from error
    except DECODER_ERRORS as error:
        raise InputError(name, *DAMAGED) from error
    # What was brighter than white is gone: an edited copy cannot be written with these code points.
    stored = None if first is not None and first.transfer in HDR else decoded.stored
    return Decoded(decoded.pixels, stored, (*warnings, *more))


def open_image(data: bytes, kind: str) -> Image.Image:
    """Let a decoder read the header; a very large JPEG will be decoded at half its size.

    The decoders are called by themselves: `Image.open` would warn of sizes that are allowed here.

    Raises:
        One of `DECODER_ERRORS`: damaged.
    """
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    if kind == "HEIF":
        from pillow_heif import HeifImageFile

        return HeifImageFile(io.BytesIO(data))
    decoders = {"JPEG": JpegImagePlugin.JpegImageFile, "PNG": PngImagePlugin.PngImageFile,
                "WEBP": WebPImagePlugin.WebPImageFile, "AVIF": AvifImagePlugin.AvifImageFile,
                "TIFF": TiffImagePlugin.TiffImageFile, "GIF": GifImagePlugin.GifImageFile,
                "BMP": BmpImagePlugin.BmpImageFile}
    data, profile = _without_texts(data) if kind == "PNG" else (data, None)
    image = decoders[kind](io.BytesIO(data))
    if profile:
        image.info["icc_profile"] = profile
    if kind == "JPEG" and image.width * image.height > _HALVED:
        image.draft(None, (image.width // 2, image.height // 2))
    return image


def upright(image: Image.Image, profile: bytes | None) -> Decoded:
    """Orientation applied (to the image itself), colours in sRGB, transparency over white."""
    from PIL import Image, ImageOps

    image = _of_plain_mode(image)
    with suppress(*DECODER_ERRORS):  # Damaged EXIF is no reason to refuse a photo.
        ImageOps.exif_transpose(image, in_place=True)
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if alpha is not None:
        image = image.convert(image.mode[:-1])
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    shown, used = to_srgb(image, profile)
    own = image
    if image.mode not in ("L", "RGB") or len(used or b"") > _LARGE_TEXT:  # So large a profile few programs read.
        own, used = shown, None  # What cannot be written again is sRGB from here on.
    elif used is not None and not can_write(used, image.mode):
        own, used = (image.convert("RGB"), used) if can_write(used, "RGB") else (shown, None)
    stored = None
    if alpha is not None or used is not None or own.mode == "L":
        stored = Stored(read_only(np.array(own)), used, None if alpha is None else read_only(np.array(alpha)))
    if alpha is not None:
        shown = Image.composite(shown, Image.new("RGB", shown.size, "white"), alpha)
    return Decoded(read_only(np.array(shown, np.uint8)), stored)


def read_only(pixels: _Pixels) -> _Pixels:
    pixels.setflags(write=False)
    return pixels


def _check_size(width: int, height: int, kind: str, name: str) -> None:
    most = _SCALED if kind == "JPEG" else _WHOLE
    if width * height > most:
        remedy = "make the photo smaller and try again" if kind == "JPEG" or width * height > _SCALED else \
            "save it as JPEG, of which larger ones can be read, or make it smaller, and try again"
        raise InputError(name, f"{width} x {height} pixels are more than {most // 10 ** 6} megapixels", remedy)


def _loaded(image: Image.Image, data: bytes, kind: str, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """All pixels of a file; of one that is cut short a little, those that are there."""
    try:
        image.load()
    except DECODER_ERRORS:
        if kind not in ("JPEG", "PNG"):
            raise
        image, missing = _completed(data, image.width * image.height) if kind == "JPEG" else _filled(image)
        if missing > _MISSING:
            raise InputError(name, *DAMAGED) from None
        return image, (f"The file is cut short: about {missing:.1%} of the picture is missing, and grey, black "
                       "or coarse instead; copy or download the photo again if that matters",)
    return image, ()


def _bits_of(image: Image.Image, data: bytes, kind: str) -> int:
    """Bits a colour that a PNG or TIFF holds; of the other kinds those of a result are enough, 8."""
    if kind == "PNG":
        return data[24]  # Of the header, the PNG specification's IHDR.
    return max(image.tag_v2.get(258, (8,))) if kind == "TIFF" else 8  # type: ignore[attr-defined]  # BitsPerSample


def _completed(data: bytes, pixels: int) -> tuple[Image.Image, float]:
    """A JPEG that ends too early, with an end; and how much of it is missing.

    What is missing differs between two guesses at how the file goes on: with nothing, and with noise.
    """
    noise = np.random.default_rng(0).integers(0, 255, 2**16, np.uint8).tobytes()
    noise *= 1 + 2 * pixels // len(noise)  # At two bytes a pixel enough for all of them.
    first, second = (open_image(data.rstrip(b"\xff") + rest + b"\xff\xd9", "JPEG") for rest in (b"", noise))
    far = np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)) > _FAR
    return first, float(far.reshape(*far.shape[:2], -1).any(axis=2).mean())


def _filled(image: Image.Image) -> tuple[Image.Image, float]:
    """A PNG that ends too early, as far as it was decoded; and how much of it is missing: the rows of zeros below."""
    if image.info.get("interlace") or getattr(image, "im", None) is None:
        return image, 1.0
    part = image._new(image.im)
    rows = np.flatnonzero(np.asarray(part).reshape(part.height, -1).max(axis=1))
    return part, 1 - (int(rows[-1]) + 1) / part.height if len(rows) else 1.0


def _of_plain_mode(image: Image.Image) -> Image.Image:
    """A picture as L, LA, RGB, RGBA, CMYK or LAB: of 8 bits, without a palette.

    Raises:
        InputError: it holds floating-point numbers.
    """
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255.
        plain = Image.new("L", image.size)
        for top in range(0, image.height, 512):  # In parts, which need less memory.
            part = image.crop((0, top, image.width, min(top + 512, image.height)))
            grey = np.clip(np.rint(np.asarray(part, np.float32) / 257), 0, 255).astype(np.uint8)
            plain.paste(Image.fromarray(grey), (0, top))
        plain.info = {key: value for key, value in image.info.items() if key != "transparency"}
        return plain
    if image.mode in ("P", "PA", "La", "RGBa") or "transparency" in image.info:
        has_alpha = image.mode != "P" or "transparency" in image.info
        return image.convert(("LA" if image.mode in ("La", "L") else "RGBA") if has_alpha else "RGB")
    if image.mode in ("1", "RGBX", "YCbCr", "HSV"):
        return image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        raise InputError(None, "holds floating-point numbers, not colours", "save it with 8 or 16 bits and try again")
    return image


def _reduced(image: Image.Image, width: int, height: int) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture of at most `MAX_PIXELS`, and what is said of one that had more."""
    from PIL import Image

    pixels = image.width * image.height
    if width * height <= MAX_PIXELS:
        return image, ()
    if pixels > MAX_PIXELS:
        factor = (MAX_PIXELS / pixels) ** 0.5
        image = image.resize((int(image.width * factor), int(image.height * factor)), Image.Resampling.LANCZOS,
                             reducing_gap=2.0)
    return image, (f"The photo has {width * height / 1e6:.0f} megapixels and was made smaller, to {image.width} x "
                   f"{image.height} pixels: larger ones are not edited, and what is saved has this size",)


def _without_texts(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG without its profile, which is returned too, and without what Pillow may refuse or does not need.

    These are large texts, and the frames of an animation after the first.
    """
    parts, at, profile = [data[:8]], 8, None
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at:at + 12 + length]
        if kind == b"iCCP" and profile is None:
            profile = _inflated(chunk[8:-4], _LARGE_PROFILE)
        elif not (kind in (b"iCCP", b"acTL", b"fcTL", b"fdAT") or (kind in (b"tEXt", b"iTXt") and length > _LARGE_TEXT)
                  or (kind == b"zTXt" and _inflated(chunk[8:-4], _LARGE_TEXT) is None)
                  or (kind == b"iTXt" and chunk[8:-4].partition(b"\0")[2][:1] == b"\1")):
            parts.append(chunk)
        at += 12 + length
    parts.append(data[at:])
    return b"".join(parts), profile


def _inflated(content: bytes, most: int) -> bytes | None:
    """What is compressed in a chunk behind its name; None: more bytes than that, or damaged."""
    try:
        inflated = zlib.decompressobj().decompress(content.partition(b"\0")[2][1:], most + 1)
    except zlib.error:
        return None
    return inflated if len(inflated) <= most else None


def _is_grey(picture: _Pixels) -> bool:
    """Whether the channels of a picture [H, W, 3] are the same but for rounding."""
    red, green, blue = (picture[..., channel] for channel in range(3))
    darkest, lightest = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    return int((lightest - darkest).max()) <= _GREY
