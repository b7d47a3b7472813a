"""What a photo's numbers mean as colours: ICC profiles, and what stands for them in PNG, HEIC and AVIF; all to sRGB."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

_ROUNDING = 2  # Levels by which a profile may differ from sRGB and still is sRGB: that much comes from rounding.
_PROBE = np.stack(np.meshgrid(*[np.linspace(0, 255, 17)] * 3), axis=-1).astype(np.uint8).reshape(17, 17 * 17, 3)
_ENTRIES = 1024  # Of a curve in a profile that is made here.
_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))
_D65 = (0.3127, 0.3290)
_Curve = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


class Coding(NamedTuple):
    """Code points of ITU-T H.273: of the primaries, and of the transfer characteristics."""

    primaries: int
    transfer: int


_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# White, then red, green and blue: x and y of each (H.273, table 2).
_PRIMARIES = {1: (*_D65, *_SRGB), 2: (*_D65, *_SRGB),
              5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
              6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
              9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
              11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
              12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)}
HDR = (16, 18)  # Transfers by which values are brighter than a screen's white: PQ and HLG.
_WHITE_NITS = 203.0  # What is white on a screen is this bright in PQ, and at 75 % of the signal in HLG (ITU-R BT.2408).


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """A picture of mode L, RGB, CMYK or LAB as 8-bit sRGB, and the profile, if it made a difference.

    Whether a profile is sRGB is found out by what it does to colours, not by its name. One that is broken, or of
    another kind of colours than the picture's, is not used.
    """
    from PIL import ImageCms

    if image.mode == "LAB":
        return _converted(image, ImageCms.createProfile("LAB")), None
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space == "RGB ":
                image = image.convert("RGB") if image.mode == "L" else image
                if image.mode == "RGB" and not is_srgb(profile):
                    return _converted(image, source), profile
            elif (image.mode, source.profile.xcolor_space) in (("L", "GRAY"), ("CMYK", "CMYK")):
                return _converted(image, source), profile
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return (image if image.mode == "RGB" else image.convert("RGB")), None


@functools.lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile gives every colour as sRGB does, within what rounding changes.

    Raises:
        PyCMSError, OSError: not a profile that can be used.
    """
    from PIL import Image, ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    shown = np.asarray(_converted(Image.fromarray(_PROBE), source), np.int16)
    return int(np.abs(shown - _PROBE).max()) <= _ROUNDING


def from_srgb(picture: npt.NDArray[np.uint8], profile: bytes, mode: str) -> npt.NDArray[np.uint8]:
    """An sRGB picture uint8 [H, W, 3] in the colours of a profile: [H, W, 3] of mode RGB, [H, W] of mode L."""
    from PIL import Image, ImageCms

    converted = ImageCms.profileToProfile(Image.fromarray(picture), ImageCms.createProfile("sRGB"),
                                          ImageCms.ImageCmsProfile(io.BytesIO(profile)), outputMode=mode)
    return np.asarray(converted, np.uint8)


def can_write(profile: bytes, mode: str) -> bool:
    """Whether pictures of a mode, L or RGB, can be brought into the colours of a profile: not into a scanner's."""
    from PIL import ImageCms

    try:
        from_srgb(np.zeros((1, 1, 3), np.uint8), profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return True


def profile_of(info: Mapping[Any, Any], coding: Coding | None) -> bytes | None:
    """The ICC profile of a picture, or one that says the same as what its file has in place of one; None: sRGB.

    The order is that of PNG's third edition: the code points, the ICC profile, sRGB, gamma and chromaticities.

    info: what Pillow tells: icc_profile, srgb, gamma, chromaticity.
    coding: the code points of PNG's cICP, or of a HEIC or AVIF, which stand behind an ICC profile there.
    """
    if coding is not None:
        return _profile_of_coding(coding)
    profile = info.get("icc_profile")
    if profile or "srgb" in info:
        return profile or None
    gamma, places = info.get("gamma"), info.get("chromaticity", ())
    places = places if len(places) == 8 and 0.0 not in places[1::2] else (*_D65, *_SRGB)
    usual = np.abs(np.subtract(places, (*_D65, *_SRGB))).max() < 0.005
    if not gamma or (usual and abs(gamma * 2.2 - 1) < 0.05):  # 1 / 2.2 is how sRGB is written there.
        return None if usual else made_profile(places, _srgb_curve)
    return made_profile(places, lambda v: v ** (1 / min(max(gamma, 0.1), 10.0)))


def coding_of(data: bytes, kind: str) -> Coding | None:
    """The code points that a PNG, HEIC or AVIF states; None: none.

    kind: Pillow's word for the format.
    """
    if kind == "PNG":
        at = data.find(b"cICP", 0, max(data.find(b"IDAT"), 0))
        return Coding(data[at + 4], data[at + 5]) if at > 0 else None
    at = data.find(b"colrnclx") if kind in ("HEIF", "AVIF") else -1
    return Coding(*struct.unpack_from(">HH", data, at + 8)) if 0 < at < len(data) - 12 else None


def made_profile(places: tuple[float, ...], curve: _Curve) -> bytes:
    """An ICC profile of three primaries and a curve (ICC.1:2022, 8.3).

    places: x and y of white, red, green and blue.
    curve: from values 0..1 to light 0..1.
    """
    x, y = np.array(places[::2]), np.array(places[1::2])
    white, *primaries = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    columns = np.stack(primaries, axis=1)  # XYZ of red, green and blue, still of any brightness.
    columns = columns * np.linalg.solve(columns, white)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    columns = np.linalg.solve(_BRADFORD, cones @ _BRADFORD @ columns)
    samples = np.rint(np.clip(curve(np.linspace(0, 1, _ENTRIES)), 0, 1) * 65535).astype(">u2").tobytes()
    tone = b"curv" + struct.pack(">II", 0, _ENTRIES) + samples
    tags = {b"desc": _text("made of a photo's colour tags"), b"cprt": _text("no copyright"), b"wtpt": _xyz(_D50),
            b"rXYZ": _xyz(columns[:, 0]), b"gXYZ": _xyz(columns[:, 1]), b"bXYZ": _xyz(columns[:, 2]),
            b"rTRC": tone, b"gTRC": tone, b"bTRC": tone}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(_D50)[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def _profile_of_coding(coding: Coding) -> bytes | None:
    places = _PRIMARIES.get(coding.primaries, _PRIMARIES[1])
    if coding.transfer in (4, 5):
        return made_profile(places, lambda v: v ** (2.2 if coding.transfer == 4 else 2.8))
    curve = {8: lambda v: v, 16: _pq_curve, 18: _hlg_curve}.get(coding.transfer)
    if curve is None:  # sRGB's own, and those of video, which are shown by sRGB's everywhere.
        return made_profile(places, _srgb_curve) if places[2:] != _SRGB else None
    return made_profile(places, curve)


def _srgb_curve(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _pq_curve(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """SMPTE ST 2084, cut off at white."""
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    power = v ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * 10_000 / _WHITE_NITS


def _hlg_curve(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """ITU-R BT.2100's hybrid log-gamma, cut off at white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073

    def light(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(signal <= 0.5, signal ** 2 / 3, (np.exp((signal - c) / a) + b) / 12)

    return (light(v) / light(np.array(0.75))) ** 1.2  # The exponent is that of a screen of 1000 nits.


def _converted(image: Image.Image, source: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded
