"""A face in its photo, and the FFHQ alignment: from 68 landmarks to a quad, and from a quad to the square crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from inversion.photo import Photo
from weights.errors import InputError

MIN_QUAD_SIDE = 32.0
"""Photo pixels; a face whose quad is smaller holds too little to be inverted."""

_LEFT_EYE, _RIGHT_EYE, _MOUTH_LEFT, _MOUTH_RIGHT = slice(36, 42), slice(42, 48), 48, 54  # "left" as seen in the photo
_EDGE = 4  # a quad that comes nearer than this many pixels to the photo's edge is padded
_Floats = npt.NDArray[np.float32]


class FaceTooSmallError(InputError):
    """The face is there, but has too few pixels to be edited."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face found in a photo. Coordinates are photo pixels; whole numbers are pixel centres.

    box: left, top, right, bottom of the detector's box; may reach beyond the photo.
    score: the detector's confidence; 0 is its threshold, clear faces have 1 and more.
    landmarks: float64 [68, 2], read-only, in dlib's (iBUG 300-W) order.
    quad: float64 [4, 2], read-only: the FFHQ square (top left, bottom left, bottom right, top right of the crop).
    """

    box: tuple[int, int, int, int]
    score: float
    landmarks: npt.NDArray[np.float64]
    quad: npt.NDArray[np.float64]

    @property
    def size(self) -> float:
        """The quad's side in photo pixels."""
        return quad_side(self.quad)

    @property
    def roll(self) -> float:
        """In-plane tilt in degrees, -180..180: 0 for level eyes, positive when turned clockwise in the photo."""
        x, y = self.quad[3] - self.quad[0]
        return float(np.degrees(np.arctan2(y, x)))

    @property
    def yaw(self) -> float:
        """A rough turn of the head in degrees, -90..90: 0 is frontal, positive looks to the photo's right.

        From where the tip of the nose stands between the two ends of the jaw line, along the face's own x axis.
        """
        x = (self.quad[3] - self.quad[0]) / self.size
        left, nose, right = (self.landmarks[[0, 30, 16]] @ x).tolist()
        return float(np.degrees(np.arcsin(np.clip((2 * nose - left - right) / max(right - left, 1e-9), -1, 1))))


def quad_of(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The FFHQ quad of 68 landmarks: the oriented square that becomes the crop.

    Karras et al. 2018, "A Style-Based Generator Architecture for Generative Adversarial Networks", as the published
    FFHQ crops were made. The square's axes follow both the line of the eyes and that from eyes to mouth, its side is
    max(4 |eye to eye|, 3.6 |eye to mouth|).

    landmarks: [68, 2], x and y in photo pixels (whole numbers are pixel centres), in dlib's (iBUG 300-W) order.
    Returns float64 [4, 2] in the same coordinates: top left, bottom left, bottom right, top right of the crop.
    """
    landmarks = np.asarray(landmarks, np.float64)
    assert landmarks.shape == (68, 2), landmarks.shape
    left_eye, right_eye = landmarks[_LEFT_EYE].mean(0), landmarks[_RIGHT_EYE].mean(0)
    eyes = (left_eye + right_eye) / 2
    eye_to_eye = right_eye - left_eye
    eye_to_mouth = (landmarks[_MOUTH_LEFT] + landmarks[_MOUTH_RIGHT]) / 2 - eyes
    x = eye_to_eye - _quarter_turn(eye_to_mouth)
    x *= max(2.0 * np.hypot(*eye_to_eye), 1.8 * np.hypot(*eye_to_mouth)) / np.hypot(*x)
    y = _quarter_turn(x)
    centre = eyes + 0.1 * eye_to_mouth
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def quad_side(quad: npt.NDArray[np.float64]) -> float:
    """The side of the quad in photo pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def check_face_size(face: Face, *, name: str = "photo") -> None:
    """Refuse a face whose quad is smaller than `MIN_QUAD_SIDE`.

    Raises:
        FaceTooSmallError: naming the photo, the measured size and the remedy.
    """
    if face.size < MIN_QUAD_SIDE:
        raise FaceTooSmallError(name,
                                f"the face is too small ({face.size:.0f} pixels across, {MIN_QUAD_SIDE:.0f} are "
                                "needed)", "use a larger photo, or one taken from nearer")


def align(photo: Photo, face: Face, size: int) -> npt.NDArray[np.uint8]:
    """Cut the aligned square crop of one face out of a photo, as FFHQ's crops were cut.

    A much larger photo is first shrunk by a whole factor with antialiasing; where the quad leaves the photo or nearly
    so, the photo is continued by reflection, blurred and faded to its median colour; then the quad is sampled
    bilinearly at four times the size (at most 4096) and reduced with antialiasing.

    One thing is done more exactly than in the published script: positions are scaled about pixel edges, not pixel
    centres, when the photo is shrunk, so that `paste_back` is the exact inverse. The two differ by at most a quarter
    of a crop pixel, and not at all where nothing is shrunk.

    size: the crop's side in pixels, the generator's resolution.
    Returns uint8 [size, size, 3], RGB.

    Raises:
        FaceTooSmallError: the quad is smaller than 32 photo pixels.
    """
    from PIL import Image

    assert size >= 1, size
    check_face_size(face, name=photo.name)
    shrink = max(1, int(face.size / size * 0.5))
    region, quad = _region(photo.pixels, face.quad + 0.5, shrink)  # from here on in pixel edges: 0 is the left border
    padding = _padding(region.shape, quad)
    if padding is not None:
        (left, top), _ = padding
        region, quad = _pad(region, padding, quad_side(quad)), quad + np.array([left, top])
    fine = max(size, min(4 * size, 4096))
    crop = Image.fromarray(region).transform(
        (fine, fine), Image.Transform.QUAD, tuple(quad.ravel()), Image.Resampling.BILINEAR
    )
    return np.array(crop.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def _quarter_turn(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn [2] by 90 degrees, from x (right) to y (down)."""
    return np.array([-vector[1], vector[0]])


def _region(
    pixels: npt.NDArray[np.uint8], quad: npt.NDArray[np.float64], shrink: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of the photo around the quad, shrunk by a whole factor, and the quad within it."""
    from PIL import Image

    height, width = pixels.shape[:2]
    border = max(round(quad_side(quad) / shrink * 0.1), 3) * shrink
    start = np.floor((quad.min(0) - border) / shrink).astype(int) * shrink
    stop = np.ceil((quad.max(0) + border) / shrink).astype(int) * shrink
    (left, top), (right, bottom) = np.maximum(start, 0), np.minimum(stop, (width, height))
    if right <= left or bottom <= top:
        raise ValueError("the face's quad lies wholly outside the photo")
    region = pixels[top:bottom, left:right]
    if shrink > 1:
        # Whole cells only: the last one is completed by repeating the photo's edge.
        tall, wide = -(-region.shape[0] // shrink), -(-region.shape[1] // shrink)
        more = ((0, tall * shrink - region.shape[0]), (0, wide * shrink - region.shape[1]), (0, 0))
        region = np.pad(region, more, "edge") if any(after for _, after in more) else region
        region = np.asarray(Image.fromarray(region).resize((wide, tall), Image.Resampling.LANCZOS))
    return region, (quad - (left, top)) / shrink


def _padding(
    shape: tuple[int, ...], quad: npt.NDArray[np.float64]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """How many pixels to add: ((left, top), (right, bottom)); None for a quad that is well inside."""
    side = quad_side(quad)
    border = max(round(side * 0.1), 3)
    before = -np.floor(quad.min(0)).astype(int)
    after = np.ceil(quad.max(0)).astype(int) - (shape[1], shape[0])
    if max(*before, *after) <= -_EDGE:
        return None
    least = max(round(side * 0.3), 1)  # FFHQ pads all four edges at once, so that the fading is even
    left, top = np.maximum(before + border, least)
    right, bottom = np.maximum(after + border, least)
    return (int(left), int(top)), (int(right), int(bottom))


def _pad(
    region: npt.NDArray[np.uint8], padding: tuple[tuple[int, int], tuple[int, int]], side: float
) -> npt.NDArray[np.uint8]:
    """Continue the picture by reflection, blurred from a third of the padding inside its edge, faded to its median."""
    (left, top), (right, bottom) = padding
    mode: Literal["reflect", "edge"] = "reflect" if min(region.shape[:2]) > 1 else "edge"
    picture = np.pad(region, ((top, bottom), (left, right), (0, 0)), mode).astype(np.float32)
    height, width = picture.shape[:2]
    xs, ys = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    # Distance from the outer border in paddings: 0 there, 1 at the photo's own edge, more inside.
    across = np.minimum(xs / left, xs[::-1] / right)
    down = np.minimum(ys / top, ys[::-1] / bottom)
    outside = 1.0 - np.minimum(across[None, :], down[:, None])[..., None]  # [H, W, 1]
    picture += (blurred(picture, side * 0.02) - picture) * np.clip(3.0 * outside + 1.0, 0.0, 1.0)
    picture += (np.median(picture, axis=(0, 1)).astype(np.float32) - picture) * np.clip(outside, 0.0, 1.0)
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def blurred(picture: _Floats, sigma: float) -> _Floats:
    """Gaussian blur of [H, W, 3]; a wide one is made on a smaller copy, where it takes a fraction of the time."""
    import cv2

    step = max(1, int(sigma / 4))
    height, width = picture.shape[:2]
    if step > 1:
        small = cv2.resize(picture, (max(width // step, 1), max(height // step, 1)), interpolation=cv2.INTER_AREA)
        # Averaging cells of `step` pixels and interpolating between them blur a little by themselves.
        sigma = float(np.sqrt(max((sigma / step) ** 2 - 1 / 12 - 1 / 6, 0.1)))
    else:
        small = picture
    taps = 2 * int(4 * sigma + 0.5) + 1
    small = cv2.GaussianBlur(small, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT)
    if step > 1:
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(small, np.float32)
