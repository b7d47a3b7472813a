"""What kind of picture a file holds and how large it is, by its first bytes: nothing is decoded for that."""

from __future__ import annotations

import re
import struct

from weights.errors import InputError

DAMAGED = ("the file is cut short or damaged", "copy or download it again")
_REMEDY = "save the photo as JPEG, PNG or WebP and try again"
_RAW = ("is a raw camera file", "export it as JPEG, with the camera maker's program or a photo editor, and try again")

# How a file starts -> what it is, for formats that are refused by name.
_REFUSED = (
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"\x76\x2f\x31\x01", "an OpenEXR"),
    (b"#?RADIANCE", "a Radiance HDR"),
)
_RAW_STARTS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"II\x1a\0\0\0HEAP", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# Of TIFF: tags and values by which cameras' raw files, which are TIFFs too, are told from pictures.
_WIDTH, _HEIGHT, _REDUCED, _COMPRESSION, _PHOTOMETRIC, _DNG = 256, 257, 254, 259, 262, 50706
_RAW_COMPRESSIONS = (34713, 34892, 32767, 32769, 65535, 65000)  # Nikon, DNG, Sony, Epson, Pentax, Kodak.
_RAW_PHOTOMETRICS = (32803, 34892)                              # A colour filter array; linear raw.
_MOST_TAGS = 1000


def format_of(data: bytes, name: str) -> str:
    """Pillow's word for a kind of photo that can be read: JPEG, PNG, WEBP, HEIF, AVIF, TIFF, GIF or BMP.

    data: the file, or its first 4096 bytes.
    name: what messages call it.

    Raises:
        InputError: empty, or another kind of file, which the message names.
    """
    if not data:
        raise InputError(name, "the file is empty (0 bytes)", "copy or download it again")
    for start, kind in ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF8", "GIF"), (b"BM", "BMP")):
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(_TIFF_STARTS):
        if data[8:10] == b"CR":  # Canon's CR2.
            raise InputError(name, *_RAW)
        return "TIFF"
    if data[4:8] == b"ftyp":
        return _boxed_format(data, name)
    if data.startswith(_RAW_STARTS):
        raise InputError(name, *_RAW)
    raise InputError(name, f"is {_other(data)}", _REMEDY)


def size_of(data: bytes, kind: str, name: str) -> tuple[int, int]:
    """Width and height as the header of a file states them.

    kind: what `format_of` says.

    Raises:
        InputError: damaged, or of a sort of this kind that cannot be read.
    """
    try:
        width, height = {"JPEG": _jpeg_size, "PNG": _png_size, "WEBP": _webp_size, "HEIF": _boxed_size,
                         "AVIF": _boxed_size, "TIFF": _tiff_size, "GIF": _gif_size, "BMP": _bmp_size}[kind](data)
    except (struct.error, IndexError) as error:
        raise InputError(name, *DAMAGED) from error
    except InputError as error:
        raise error.about(name) from error
    if min(width, height) < 1:
        raise InputError(name, *DAMAGED)
    return width, height


def _boxed_format(data: bytes, name: str) -> str:
    """HEIF or AVIF, by the brands that the first box names (ISO/IEC 14496-12, 4.3)."""
    length = max(16, min(int.from_bytes(data[:4], "big"), 256))
    brands = [data[8:12], *(data[at:at + 4] for at in range(16, length, 4))]
    if brands[0] == b"crx ":  # Canon's CR3.
        raise InputError(name, *_RAW)
    if {b"avif", b"avis"} & {*brands}:
        return "AVIF"
    if _HEIC_BRANDS & {*brands}:
        return "HEIF"
    raise InputError(name, "is a video or another kind of file", _REMEDY)


def _other(data: bytes) -> str:
    """What a refused file is, in words."""
    for start, kind in _REFUSED:
        if data.startswith(start):
            return kind
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head:
        return "an SVG drawing"
    if head.startswith((b"<html", b"<!doctype html")):
        return "a web page"
    return "not a JPEG, PNG or WebP, nor another kind of photo that can be read"


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    """Of a picture that is stored from below, as most are, or from above (a negative height)."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


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
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            if bits != 8 or marker in (0xFFC3, 0xFFC7, 0xFFCB, 0xFFCF):
                sort = f"{bits} bits a colour" if bits != 8 else "without loss"
                raise InputError(None, f"is a JPEG of an unusual sort ({sort})", _REMEDY)
            return width, height
        elif marker < 0xFF01 or marker in (0xFFD9, 0xFFDA):
            raise struct.error("no frame header before the pixels")
        else:
            at += 2 + (0 if marker == 0xFF01 or 0xFFD0 <= marker <= 0xFFD8 else length)


def _boxed_size(data: bytes) -> tuple[int, int]:
    """The largest of the sizes that the pictures in a HEIC or AVIF state (ISO/IEC 23008-12, 6.5.3): tiles are less."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 1:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        if kind == b"meta":
            sizes = [struct.unpack(">II", match[1])
                     for match in re.finditer(rb"ispe\0{4}(.{8})", data[at:at + length or None], re.DOTALL)]
            width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
            return width, height
        if length < 8:
            raise struct.error("no picture before the end")
        at += length


def _tiff_size(data: bytes) -> tuple[int, int]:
    """Size of the first picture in a TIFF; refuses cameras' raw files."""
    tags = _tiff_tags(data)
    if (_DNG in tags or tags.get(_COMPRESSION) in _RAW_COMPRESSIONS or tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS
            or tags.get(_REDUCED, 0) & 1):  # What comes first is a thumbnail, and the picture itself is raw.
        raise InputError(None, *_RAW)
    return tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)


def _tiff_tags(data: bytes) -> dict[int, int]:
    """The tags of a TIFF's first picture whose values are whole numbers, each with its first value (TIFF 6.0, 2)."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    start, number, entry, value_at = (8, "Q", 20, 12) if big else (4, "I", 12, 8)
    at = struct.unpack_from(order + number, data, start)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    at += 8 if big else 2
    tags = {}
    for index in range(min(count, _MOST_TAGS)):
        tag, kind = struct.unpack_from(order + "HH", data, at + entry * index)
        layout = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if layout is not None and (big or layout != "Q"):
            tags[tag] = struct.unpack_from(order + layout, data, at + entry * index + value_at)[0]
    return tags
