"""The tone of the skin, and of photos of one colour; and edited pictures in which it stays as it was."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_SIDE = 128       # Pixels a side at which the tone is measured: skin has no finer places that matter.
_LEAST = 8.0      # Levels; a darker channel tells no ratio.
_MOST = 1.35      # Channels are multiplied by this at most, and divided by it.
_CHROMA = 14.0    # In CIELAB: so far from the skin's colour a pixel is about half skin,
_LIGHT = 45.0     # and so far from its lightness.
_CENTRE, _RADII = (0.5, 0.6), (0.36, 0.5)  # Of the ellipse, in sides of the crop, around face, ears and neck.
_LUMA = np.array((0.299, 0.587, 0.114))
_COLOURED = 2.0    # Levels by which the colours of a crop are on average off one hue if it has several.
_Pictures = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]


def skin_tone(picture: _Pictures) -> _Floats:
    """The tone of the skin of an aligned crop: medians of red, green and blue over cheeks, nose and forehead [3].

    Beard, teeth and eyes are not in it, and of glasses too little to count.

    picture: uint8 [S, S, 3].
    """
    return _tone(_small(picture))


def keep_tone(picture: _Pictures, tone: _Floats) -> _Pictures:
    """An edited picture whose skin has a tone again.

    Each channel is multiplied, as light of another colour would do, by what the tone lacks; hair, eyes, clothes and
    background by less, the less they look like skin. A picture of this tone comes back as it is.

    picture: uint8 [S, S, 3], an aligned crop.
    tone: `skin_tone` of the unedited one.
    """
    import cv2

    small = _small(picture)
    gain = np.maximum(tone, _LEAST) / np.maximum(_tone(small), _LEAST)
    if (gain == 1).all():
        return picture
    amount = np.clip(gain, 1 / _MOST, _MOST).astype(np.float32) - 1
    where = cv2.resize(_likeness(small), picture.shape[:2], interpolation=cv2.INTER_LINEAR)
    # Planes: several times as fast as broadcasting to three channels.
    planes = [plane * (1 + where * part) for plane, part in zip(cv2.split(picture), amount, strict=True)]
    return np.asarray(np.rint(cv2.merge(planes)).clip(0, 255), np.uint8)


def _small(picture: _Pictures) -> _Pictures:
    import cv2

    return np.asarray(cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _tone(small: _Pictures) -> _Floats:
    return np.asarray(np.median(small[skin_mask()], axis=0), np.float32)


def _likeness(small: _Pictures) -> _Floats:
    """How much each place of a small picture looks like its skin: float32 [_SIDE, _SIDE], 0 to 1."""
    import cv2

    colours = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    apart = colours - np.median(colours[skin_mask()], axis=0)
    alike = np.exp(-((apart[..., 0] / _LIGHT) ** 2 + (apart[..., 1:] ** 2).sum(axis=2) / _CHROMA**2))
    y, x = _places()
    radius = np.hypot((x - _CENTRE[0]) / _RADII[0], (y - _CENTRE[1]) / _RADII[1])
    inside = 1 / (1 + np.exp((radius - 1) * 12))
    return np.asarray(cv2.GaussianBlur(alike * inside, (0, 0), 1.0), np.float32)


@lru_cache(maxsize=1)
def skin_mask() -> npt.NDArray[np.bool_]:
    """Cheeks, nose and forehead of an aligned crop, without eyes and brows: [_SIDE, _SIDE]."""
    y, x = _places()

    def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> npt.NDArray[np.bool_]:
        return np.asarray(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1)

    eyes = ellipse((0.385, 0.475), (0.085, 0.055)) | ellipse((0.615, 0.475), (0.085, 0.055))
    brows = (y > 0.385) & (y < 0.44)
    return ellipse((0.5, 0.52), (0.21, 0.24)) & (y < 0.64) & ~eyes & ~brows


def _places() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _SIDE
    return y, x


@dataclass(frozen=True, eq=False)
class Monochrome:
    """What colour each lightness has in a photo of one colour: black and white, sepia, blue.

    A generator of colour pictures gives an edited face colours that such a photo has nowhere. Made by `Monochrome.of`.
    """

    colours: _Pictures  # Of each lightness, [256, 3].

    @classmethod
    def of(cls, crop: _Pictures) -> Monochrome | None:
        """That of a crop uint8 [S, S, 3]; None if it has several colours, or hardly any contrast to tell by."""
        small = _small(crop).reshape(-1, 3).astype(np.float64)
        light = small @ _LUMA
        if light.std() < _LEAST:
            return None
        # One hue, the stronger the lighter, as on tinted paper, or strongest in the middle, as in toned prints.
        levels = np.arange(256.0)
        for strength in (levels, levels * (255 - levels) / 255):
            shape = np.interp(light, levels, strength)
            hue = shape @ (small - light[:, None]) / (shape @ shape)
            if np.abs(small - light[:, None] - shape[:, None] * hue).mean() < _COLOURED:
                return cls(np.rint(levels[:, None] + strength[:, None] * hue).clip(0, 255).astype(np.uint8))
        return None

    def __call__(self, picture: _Pictures) -> _Pictures:
        """A picture uint8 [..., 3] in these colours."""
        light = np.rint(picture.astype(np.float32) @ _LUMA.astype(np.float32)).clip(0, 255).astype(np.uint8)
        return np.asarray(self.colours[light], np.uint8)
