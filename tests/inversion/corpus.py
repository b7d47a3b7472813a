"""A corpus of files as phones, cameras, scanners, editors and accidents make them, each with its expected outcome.

All of them show one made-up picture, or hold nothing that is one. `cases()` makes them; nothing is stored.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin

from inversion import profiles

WIDTH, HEIGHT = 96, 64


def picture() -> np.ndarray:
    """A smooth picture that no turn leaves as it is; its colours are inside of every profile used here."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([70 + xs * 1.2, 80 + ys * 1.5, 90 + (xs + ys) * 0.5], -1).astype(np.uint8)


PICTURE = picture()
GREY = PICTURE[..., 1]
OVER_WHITE = np.where(np.arange(WIDTH)[:, None] < 20, 255, PICTURE).astype(np.uint8)
ALPHA = np.where(np.arange(WIDTH) < 20, 0, 255).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
RGBA = np.dstack([PICTURE, ALPHA])
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "TIFF": {}, "BMP": {}}
CLOSE: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": 100, "chroma": 444}, "GIF": {}}
PHOTOGRAPHED = {"PNG": 0, "WEBP": 0, "TIFF": 0, "BMP": 0, "JPEG": 5, "AVIF": 6, "HEIF": 6, "GIF": 12}  # Levels.


@dataclass(frozen=True)
class Case:
    """A file, and what comes of opening it: pixels (within so many levels), or a refusal with these words."""

    data: bytes
    pixels: np.ndarray | None = None
    levels: int = 0
    warning: str = ""    # In the photo's warnings; "": there are none.
    refused: str = ""    # In the error.
    mode: str = "RGB"    # In which an unchanged copy is saved as PNG.


def encoded(image: Image.Image | np.ndarray | None, kind: str, **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    assert image is not None
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **{**LOSSLESS.get(kind, {}), **CLOSE.get(kind, {}), **options})
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """The picture as PNG, with one more chunk behind the header."""
    data = encoded(PICTURE, "PNG")
    return data[:33] + chunk(kind, content) + data[33:]


def by_curve(curve: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray = PICTURE) -> np.ndarray:
    """The picture with values that mean the same light by another curve: value = curve(light)."""
    v = pixels / 255
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return np.rint(curve(light) * 255).astype(np.uint8)


def in_profile(profile: bytes, mode: str = "RGB") -> np.ndarray:
    """The picture in the colours of a profile."""
    converted = ImageCms.profileToProfile(Image.fromarray(PICTURE), ImageCms.createProfile("sRGB"),
                                          ImageCms.ImageCmsProfile(io.BytesIO(profile)), outputMode=mode)
    return np.asarray(converted)


def made(primaries: int, transfer: int) -> bytes:
    profile = profiles.profile_of({}, profiles.Coding(primaries, transfer))
    assert profile is not None
    return profile


def icc(device: bytes, colours: bytes, connected: bytes, tag: bytes, content: bytes) -> bytes:
    """An ICC profile (ICC.1:2001-04, 6 and 7) with a white point and one more tag."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    start = 132 + 24
    table = struct.pack(">I4sII4sII", 2, b"wtpt", start, 20, tag, start + 20, len(content))
    head = struct.pack(">I4sI4s4s4s", start + 20 + len(content), b"\0\0\0\0", 0x02400000, device, colours, connected)
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white[8:] + bytes(48)
    return head + table + white + content


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey, by a power."""
    return icc(b"mntr", b"GRAY", b"XYZ ", b"kTRC", b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0")


def lut_profile() -> bytes:
    """A scanner's ICC profile, from a table (lut8) to Lab, and without a way back: it shows red and green swapped."""
    source = ImageCms.createProfile("sRGB")
    to_lab = ImageCms.buildTransform(source, ImageCms.createProfile("LAB"), "RGB", "LAB")
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 17)] * 3, indexing="ij"), -1).astype(np.uint8)
    lab = np.asarray(ImageCms.applyTransform(Image.fromarray(grid.reshape(17, -1, 3)[..., [1, 0, 2]]), to_lab))
    lab = np.dstack([lab[..., 0], lab[..., 1] + 128, lab[..., 2] + 128]).astype(np.uint8)  # Signed, in Pillow.
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes((3, 3, 17, 0))
    table += struct.pack(">9i", *(np.eye(3, dtype=int) * 65536).ravel()) + ramp * 3 + lab.tobytes() + ramp * 3
    return icc(b"scnr", b"RGB ", b"Lab ", b"A2B0", table)


def oriented(kind: str, orientation: int) -> bytes:
    """The picture, stored turned or mirrored, and told so by EXIF."""
    stored = {1: PICTURE, 2: PICTURE[:, ::-1], 3: PICTURE[::-1, ::-1], 4: PICTURE[::-1],
              5: PICTURE.swapaxes(0, 1), 6: np.rot90(PICTURE, 1), 7: np.rot90(PICTURE, 2).swapaxes(0, 1),
              8: np.rot90(PICTURE, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(np.ascontiguousarray(stored), kind, exif=exif)


def raw(tag: int, value: int, magic: bytes = b"II*\0\x08\0\0\0") -> bytes:
    """The first tags of a raw camera file, which is a TIFF."""
    tags = [(256, WIDTH), (257, HEIGHT), (tag, value)]
    packed = b"".join(struct.pack("<HHII", *(tag, 4, 1, value)) for tag, value in tags)
    return magic + struct.pack("<H", len(tags)) + packed + bytes(99)


def boxed(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + bytes(8) + brand + bytes(99)


def formats() -> Iterator[tuple[str, Case]]:
    for kind, levels in PHOTOGRAPHED.items():
        yield kind, Case(encoded(PICTURE, kind), PICTURE, levels)
    yield "JPEG, progressive", Case(encoded(PICTURE, "JPEG", progressive=True), PICTURE, 5)
    yield "JPEG of halved colour", Case(encoded(PICTURE, "JPEG", subsampling=2), PICTURE, 8)
    yield "JPEG with restart markers", Case(encoded(PICTURE, "JPEG", restart_marker_rows=1), PICTURE, 5)
    small = Image.fromarray(PICTURE[::2, ::2])
    yield "JPEG with a second picture (MPO)", Case(
        encoded(PICTURE, "MPO", save_all=True, append_images=[small], quality=100, subsampling=0), PICTURE, 5)
    gain_map = b"\xff\xe2" + struct.pack(">H", 38) + b"urn:iso:std:iso:ts:21496:-1\0" + bytes(8)
    jpeg = encoded(PICTURE, "JPEG")
    yield "JPEG with an HDR gain map behind it", Case(
        jpeg[:2] + gain_map + jpeg[2:] + encoded(small, "JPEG"), PICTURE, 5)
    yield "JPEG with bytes behind its end", Case(jpeg + b"motion photo" * 50, PICTURE, 5)
    yield "PNG, interlaced", Case(interlaced(), PICTURE)
    yield "WebP with loss", Case(encoded(PICTURE, "WEBP", lossless=False, quality=100), PICTURE, 10)
    for name, options in (("LZW", {"compression": "tiff_lzw"}), ("deflate", {"compression": "tiff_adobe_deflate"}),
                          ("PackBits", {"compression": "packbits"}), ("big", {"big_tiff": True})):
        yield f"TIFF, {name}", Case(encoded(PICTURE, "TIFF", **options), PICTURE)
    yield "TIFF, JPEG inside", Case(encoded(PICTURE, "TIFF", compression="jpeg", quality=100), PICTURE, 8)
    yield "TIFF of two pages", Case(encoded(PICTURE, "TIFF", save_all=True, append_images=[small.copy()]), PICTURE)
    red = Image.new("RGB", (WIDTH, HEIGHT), "red")
    for kind, levels in (("PNG", 0), ("WEBP", 0), ("GIF", 12), ("AVIF", 6)):
        yield f"{kind}, animated", Case(encoded(PICTURE, kind, save_all=True, append_images=[red]), PICTURE, levels)


def interlaced() -> bytes:
    """An Adam7 PNG of the picture, without filters."""
    body = b""
    for left, top, right, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                                   (0, 1, 1, 2)):
        body += b"".join(b"\0" + row.tobytes() for row in PICTURE[top::down, left::right])
    head = struct.pack(">II5B", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def modes() -> Iterator[tuple[str, Case]]:
    grey = np.repeat(GREY[..., None], 3, -1)
    for kind, levels in (("PNG", 0), ("JPEG", 3), ("TIFF", 0), ("BMP", 0)):
        yield f"{kind}, grey", Case(encoded(GREY, kind), grey, levels, mode="L")
    deep = GREY.astype(np.uint16) * 257
    yield "PNG, grey of 16 bits", Case(encoded(deep, "PNG"), grey, mode="L", warning="16 bits")
    yield "TIFF, grey of 16 bits", Case(encoded(deep, "TIFF"), grey, mode="L", warning="16 bits")
    for ending in ("png", "tiff"):
        yield f"{ending.upper()}, colours of 16 bits", Case(of_16_bits(ending), PICTURE, 1, warning="16 bits")
    yield "TIFF, floating point", Case(encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
                                       refused="holds floating-point numbers, not colours; save")
    white = np.where(GREY > 120, 255, 0).astype(np.uint8)
    yield "PNG, black and white", Case(encoded(Image.fromarray(GREY > 120), "PNG"), np.repeat(white[..., None], 3, -1),
                                       mode="L")
    fax = encoded(Image.fromarray(GREY > 120), "TIFF", compression="group4")
    yield "TIFF, a fax", Case(fax, np.repeat(white[..., None], 3, -1), mode="L")
    palette = Image.fromarray(PICTURE).quantize(64)
    yield "PNG, palette", Case(encoded(palette, "PNG"), np.asarray(palette.convert("RGB")))
    yield "BMP, palette", Case(encoded(palette, "BMP"), np.asarray(palette.convert("RGB")))
    cmyk = Image.fromarray(PICTURE).convert("CMYK")
    yield "JPEG, CMYK", Case(encoded(cmyk, "JPEG"), PICTURE, 8)
    yield "TIFF, CMYK", Case(encoded(cmyk, "TIFF"), PICTURE, 1)
    lab = ImageCms.profileToProfile(Image.fromarray(PICTURE), ImageCms.createProfile("sRGB"),
                                    ImageCms.createProfile("LAB"), outputMode="LAB")
    yield "TIFF, Lab", Case(encoded(lab, "TIFF"), PICTURE, 7)
    for kind, levels in (("PNG", 0), ("WEBP", 0), ("TIFF", 0), ("AVIF", 6), ("HEIF", 6)):
        yield f"{kind}, transparent", Case(encoded(RGBA, kind), OVER_WHITE, levels, mode="RGBA")
    yield "PNG, opaque with alpha", Case(encoded(np.dstack([PICTURE, np.full_like(GREY, 255)]), "PNG"), PICTURE)
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    over_white = np.where(ALPHA[..., None] == 0, 255, grey).astype(np.uint8)
    yield "PNG, grey and transparent", Case(encoded(grey_alpha, "PNG"), over_white, mode="LA")
    key = Image.fromarray(PICTURE)
    clear = np.where((PICTURE[5, 5] == PICTURE).all(axis=2, keepdims=True), 255, PICTURE).astype(np.uint8)
    yield "PNG, one colour transparent", Case(
        encoded(key, "PNG", transparency=tuple(int(v) for v in PICTURE[5, 5])), clear, mode="RGBA")
    hole = palette.copy()
    hole.info["transparency"] = 0
    index = np.asarray(palette) == 0
    yield "GIF, transparent", Case(encoded(hole, "GIF", transparency=0), np.where(
        index[..., None], 255, np.asarray(palette.convert("RGB"))).astype(np.uint8), mode="RGBA")


def of_16_bits(ending: str) -> bytes:
    import cv2

    return cv2.imencode(f".{ending}", PICTURE[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def colours() -> Iterator[tuple[str, Case]]:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "profile sRGB", Case(encoded(PICTURE, "PNG", icc_profile=srgb), PICTURE)
    by_numbers = profiles.made_profile(profiles._PRIMARIES[1], profiles._srgb_curve)
    yield "profile sRGB made of its numbers", Case(encoded(PICTURE, "PNG", icc_profile=by_numbers), PICTURE)
    wide, linear = made(12, 13), made(1, 8)
    for kind, levels in (("PNG", 1), ("JPEG", 5), ("WEBP", 1), ("TIFF", 1), ("AVIF", 7), ("HEIF", 7)):
        yield f"{kind}, Display P3", Case(encoded(in_profile(wide), kind, icc_profile=wide), PICTURE, levels + 1)
    yield "profile BT.2020", Case(encoded(in_profile(made(9, 13)), "PNG", icc_profile=made(9, 13)), PICTURE, 2)
    yield "profile linear", Case(encoded(by_curve(lambda v: v), "PNG", icc_profile=linear), PICTURE, 3)
    named = linear.replace("made of".encode("utf-16-be"), "sRGB IE".encode("utf-16-be"))
    assert named != linear
    yield "profile linear, called sRGB", Case(encoded(by_curve(lambda v: v), "PNG", icc_profile=named), PICTURE, 3)
    yield "profile of a scanner, a table", Case(encoded(PICTURE[..., [1, 0, 2]], "PNG", icc_profile=lut_profile()),
                                                PICTURE, 6)
    grey = np.repeat(GREY[..., None], 3, -1)
    yield "profile grey", Case(encoded(by_curve(lambda v: v ** (1 / 1.8), GREY), "PNG", icc_profile=grey_profile(1.8)),
                               grey, 2, mode="L")
    yield "profile sRGB on grey", Case(encoded(GREY, "JPEG", icc_profile=srgb), grey, 3, mode="L")
    yield "profile wide on grey", Case(encoded(GREY, "PNG", icc_profile=wide), grey, 1)
    yield "profile grey on colours", Case(encoded(PICTURE, "PNG", icc_profile=grey_profile(1.8)), PICTURE)
    yield "profile broken", Case(encoded(PICTURE, "JPEG", icc_profile=srgb[:200]), PICTURE, 5)
    yield "profile no profile", Case(encoded(PICTURE, "PNG", icc_profile=b"not a profile"), PICTURE)
    yield "profile of two megabytes", Case(
        encoded(in_profile(wide), "PNG", icc_profile=wide + np.random.default_rng(0).bytes(2 * 2**20)), PICTURE, 2)
    yield "PNG, gamma of sRGB", Case(with_chunk(b"gAMA", struct.pack(">I", 45455)), PICTURE)
    linear_png = encoded(by_curve(lambda v: v), "PNG")
    yield "PNG, linear gamma", Case(linear_png[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + linear_png[33:],
                                    PICTURE, 3)
    places = profiles._PRIMARIES[12]
    wide_png = encoded(in_profile(wide), "PNG")
    told = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"cHRM", struct.pack(
        ">8I", *(round(place * 100_000) for place in places)))
    yield "PNG, wide chromaticities", Case(wide_png[:33] + told + wide_png[33:], PICTURE, 3)
    yield "PNG, sRGB beside a gamma", Case(
        with_chunk(b"sRGB", b"\0")[:46] + chunk(b"gAMA", struct.pack(">I", 100_000)) + with_chunk(b"sRGB", b"\0")[46:],
        PICTURE)
    yield "PNG, code points of Display P3", Case(
        wide_png[:33] + chunk(b"cICP", bytes((12, 13, 0, 1))) + wide_png[33:], PICTURE, 2)
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128

    def perceptual_quantizer(light: np.ndarray) -> np.ndarray:
        y = (light * 203 / 10_000) ** m1
        return ((c1 + c2 * y) / (1 + c3 * y)) ** m2

    bright = encoded(by_curve(perceptual_quantizer), "PNG")
    yield "PNG, HDR by PQ", Case(bright[:33] + chunk(b"cICP", bytes((1, 16, 0, 1))) + bright[33:], PICTURE, 4)
    avif = encoded(in_profile(wide), "AVIF")
    at = avif.find(b"colrnclx") + 8
    yield "AVIF, code points of Display P3", Case(avif[:at] + struct.pack(">H", 12) + avif[at + 2:], PICTURE, 8)


def orientations() -> Iterator[tuple[str, Case]]:
    for orientation in range(1, 9):
        yield f"JPEG, orientation {orientation}", Case(oriented("JPEG", orientation), PICTURE, 5)
        yield f"AVIF, orientation {orientation}", Case(oriented("AVIF", orientation), PICTURE, 6)
        yield f"TIFF, orientation {orientation}", Case(oriented("TIFF", orientation), PICTURE)
    for kind in ("PNG", "WEBP"):
        yield f"{kind}, orientation 6", Case(oriented(kind, 6), PICTURE, PHOTOGRAPHED[kind])
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(PICTURE, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.info["exif"] = exif.tobytes()  # Written as the file's own turn too, as phones do.
    turned = encoded(stored, "HEIF")
    assert b"irot" in turned
    yield "HEIF, turned", Case(turned, PICTURE, 6)
    # In HEIC the file's own turn is what counts, and EXIF's is not looked at (ISO/IEC 23000-22, 7.3.6.7).
    yield "HEIF, turned in EXIF alone", Case(oriented("HEIF", 6), np.rot90(PICTURE, 1), 6)


def metadata() -> Iterator[tuple[str, Case]]:
    jpeg = encoded(PICTURE, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65_000) + bytes(64_998)
    yield "JPEG with megabytes of segments", Case(jpeg[:2] + segment * 40 + jpeg[2:], PICTURE, 5)
    yield "JPEG with damaged EXIF", Case(encoded(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff"), PICTURE, 5)
    yield "JPEG with damaged XMP", Case(encoded(PICTURE, "JPEG", xmp=b"<x:xmpmeta><broken"), PICTURE, 5)
    yield "PNG with a large text", Case(with_chunk(b"tEXt", b"note\0" + b"x" * 3 * 2**20), PICTURE)
    yield "PNG with a text that inflates", Case(with_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(80 * 2**20))),
                                                PICTURE)
    yield "PNG with a profile that inflates", Case(with_chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(80 * 2**20))),
                                                   PICTURE)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta tiff:Orientation="6"/>')
    turned = encoded(np.ascontiguousarray(np.rot90(PICTURE, 1)), "PNG", pnginfo=texts)
    yield "PNG, orientation in XMP", Case(turned, PICTURE)


def cut() -> Iterator[tuple[str, Case]]:
    """Files cut short, by a little and by much, of a larger and less smooth picture."""
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).resize((480, 320), Image.Resampling.BICUBIC)
    pixels = np.asarray(large)
    for name, options in (("JPEG", {}), ("JPEG, progressive", {"progressive": True})):
        data = encoded(large, "JPEG", quality=90, **options)
        for count in (1, 2, 20, 200):
            yield f"{name}, cut by {count}", Case(data[:-count], pixels, 255, warning="cut short")
        for share in (0.05, 0.3, 0.7)[:2 if options else 3]:
            yield f"{name}, {share:.0%} of it", Case(data[:int(len(data) * share)], refused="cut short or damaged")
    yield "JPEG, progressive, 70% of it", Case(data[:int(len(data) * 0.7)], pixels, 255, warning="coarse")
    png = encoded(large, "PNG")
    yield "PNG, cut by 2", Case(png[:-2], pixels)
    yield "PNG, cut by 1000", Case(png[:-1000], pixels, 255, warning="cut short")
    yield "PNG, half of it", Case(png[:len(png) // 2], refused="cut short or damaged")
    for kind in ("WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"):
        data = encoded(large, kind)
        yield f"{kind}, half of it", Case(data[:len(data) // 2], refused="cut short or damaged")
    for kind in PHOTOGRAPHED:
        yield f"{kind}, its first 20 bytes", Case(encoded(large, kind)[:20], refused="cut short or damaged")


def sizes() -> Iterator[tuple[str, Case]]:
    one = np.full((1, 1, 3), 90, np.uint8)
    yield "PNG of one pixel", Case(encoded(one, "PNG"), one)
    head = struct.pack(">II5B", 0, 5, 8, 2, 0, 0, 0)
    yield "PNG without width", Case(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + bytes(40), refused="damaged")
    huge = 30_000, 20_000
    bombs = {
        "PNG": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", *huge, 8, 2, 0, 0, 0)) + bytes(40),
        "JPEG": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, huge[1], huge[0], 3) + bytes(40),
        "WEBP": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"".join(
            (side - 1).to_bytes(3, "little") for side in huge),
        "GIF": b"GIF89a" + struct.pack("<HH", *huge) + bytes(40),
        "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, huge[0], -huge[1]) + bytes(40),
        "TIFF": raw(258, 8).replace(struct.pack("<I", WIDTH), struct.pack("<I", huge[0]), 1).replace(
            struct.pack("<I", HEIGHT), struct.pack("<I", huge[1]), 1),
        "AVIF": boxed(b"avif")[:24] + struct.pack(">I4s4xI4s4xII", 32, b"meta", 20, b"ispe", *huge),
        "HEIF": boxed(b"heic")[:24] + struct.pack(">I4s4xI4s4xII", 32, b"meta", 20, b"ispe", *huge)}
    gif = bytearray(encoded(PICTURE, "GIF"))
    frame = gif.index(b"\x2c\0\0\0\0")
    gif[frame + 5:frame + 9] = struct.pack("<HH", 50_000, 50_000)
    yield "GIF, a bomb in its first picture", Case(bytes(gif), refused="holds a picture of too many pixels")
    for kind, data in bombs.items():
        yield f"{kind}, a bomb", Case(data, refused="30000 x 20000 pixels are more than")


def others() -> Iterator[tuple[str, Case]]:
    """What is no photo, or none that is opened, by name."""
    told = {
        "a PDF": b"%PDF-1.7", "a Photoshop file": b"8BPS" + bytes(40), "an icon": b"\0\0\1\0" + bytes(40),
        "a JPEG XL": b"\xff\x0a" + bytes(40), "a JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "an OpenEXR": b"\x76\x2f\x31\x01",
        "a Radiance HDR": b"#?RADIANCE\n", "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="x"/>',
        "a web page": b"<!DOCTYPE html><html>", "a video": boxed(b"isom"), "not a JPEG, PNG or WebP": b"just some text"}
    for words, data in told.items():
        yield words, Case(data, refused=words)
    cameras = {"CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "CR3": boxed(b"crx "),
               "RAF": b"FUJIFILMCCD-RAW " + bytes(40),
               "RW2": b"IIU\0" + bytes(40), "ORF": b"IIRO" + bytes(40), "X3F": b"FOVb" + bytes(40),
               "DNG": raw(50706, 0x0401), "NEF": raw(254, 1), "PEF": raw(259, 65535), "sensor": raw(262, 32803)}
    for name, data in cameras.items():
        yield f"raw, {name}", Case(data, refused="is a raw camera file; export it as JPEG")
    twelve = b"\xff\xd8\xff\xc1" + struct.pack(">HBHHB", 17, 12, HEIGHT, WIDTH, 3) + bytes(40)
    yield "JPEG of 12 bits", Case(twelve, refused="is a JPEG of an unusual sort (12 bits a colour)")
    yield "JPEG without loss", Case(twelve.replace(b"\xc1\0\x11\x0c", b"\xc3\0\x11\x08"), refused="(without loss)")


def cases() -> dict[str, Case]:
    """The corpus, by name."""
    parts = (formats, modes, colours, orientations, metadata, cut, sizes, others)
    return {name: case for part in parts for name, case in part()}
