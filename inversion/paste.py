"""The edited face back into the whole photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inversion.alignment import Face, quad_side
from inversion.blending import Blending
from inversion.photo import Photo
from weights.errors import memory_told

MASK_EDGE = 0.96
"""Where the mask ends, as a fraction of the way from the quad's middle to its sides."""

_ENLARGED = 4      # cv2 counts in 1/32 of a pixel: enlarged by more, its cubic interpolation draws steps
_FRAME_SIDE = 512  # the change is made ready at this side: sharper than a crop, and fast for a photo of any size
_ROUNDNESS = 2.5  # exponent of the mask's outline: 2 is an ellipse, towards infinity a square
_Floats = npt.NDArray[np.float32]
_Bounds = tuple[int, int, int, int]  # left, top, right, bottom


@memory_told()
def paste_back(
    photo: Photo,
    face: Face,
    picture: npt.NDArray[np.uint8],
    *,
    feather: float = 0.35,
    original: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Put the edited picture of a face back into its photo, through the inverse of the face's quad.

    A mask, 1 in the middle of the face and fading to 0 before the quad's sides, mixes photo and picture. Where it is 0,
    and so everywhere outside the quad, the result has the photo's own pixels, bit for bit.

    Without `original` the picture itself is pasted: what is shown is what the generator drew, and nothing that the
    caller did not give is needed. With `original`, the photo is changed only as picture and original differ (see
    `inversion.blending`): equal pictures return the photo bit for bit, and what the edit did not touch keeps the
    photo's pixels. Skin and hair that turn lighter keep the detail that the generator cannot draw; where a shape is
    another (a mouth that closes), the generator's is shown, in the photo's colours. Prefer it: pictures are softer than
    photos. For many edits of one face see `PasteBack`.

    picture: uint8 [S, S, 3], RGB, the edited crop; any S.
    feather: width of the fading, as a fraction of half the quad's side; 0..0.96, 0 is a hard edge.
    original: uint8 [S, S, 3], the picture of the unedited inversion.
    Returns uint8 [H, W, 3], a new array.

    Raises:
        ValueError: pictures that are not [S, S, 3] or differ in size, or a feather out of range.
    """
    _check("the picture", picture)
    _check_feather(feather)
    if original is not None:
        _check("the original", original)
        if np.array_equal(picture, original):  # Nothing to make ready for.
            return photo.pixels.copy()
        return PasteBack.of(photo, face, original, feather=feather)(picture)
    result = photo.pixels.copy()
    bounds = _bounds(face.quad, (photo.width, photo.height))
    if _is_empty(bounds):
        return result
    left, top, right, bottom = bounds
    part = result[top:bottom, left:right].astype(np.float32)
    laid = _warped(picture.astype(np.float32), face.quad, bounds)
    part += _mask(face.quad, bounds, feather)[..., None] * (laid - part)
    result[top:bottom, left:right] = np.rint(part).clip(0, 255).astype(np.uint8)
    return result


@dataclass(frozen=True, eq=False)
class PasteBack:
    """`paste_back` for many edits of one inversion; what does not depend on the edit is made once, by `PasteBack.of`.

    Holds the photo, and 5 to 30 MB that grow with the pictures' side and with the face in the photo.
    """

    photo: Photo
    original: npt.NDArray[np.uint8]
    _quad: npt.NDArray[np.float64]
    _bounds: _Bounds
    _mask: _Floats | None        # These two are None for a face that lies outside of the photo.
    _blending: Blending | None

    @classmethod
    @memory_told()
    def of(cls, photo: Photo, face: Face, original: npt.NDArray[np.uint8], *, feather: float = 0.35) -> PasteBack:
        """Make a photo and the inversion of a face in it ready. The arguments are those of `paste_back`.

        Raises:
            ValueError: as `paste_back`.
        """
        _check("the original", original)
        _check_feather(feather)
        bounds = _bounds(face.quad, (photo.width, photo.height))
        if _is_empty(bounds):
            return cls(photo, original, face.quad, bounds, None, None)
        left, top, right, bottom = bounds
        own = max(1, round(face.size))  # The quad's own side: in a frame of this size, nothing is enlarged.
        side = min(own, max(_FRAME_SIDE, original.shape[0], -(-own // _ENLARGED)))
        part = photo.pixels[top:bottom, left:right].astype(np.float32)
        blending = Blending.of(_framed(part, face.quad, bounds, side), original, _in_quad(face.landmarks, face.quad))
        return cls(photo, original, face.quad, bounds, _mask(face.quad, bounds, feather), blending)

    @memory_told()
    def __call__(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Put an edited picture, uint8 [S, S, 3], back into the photo: uint8 [H, W, 3], a new array.

        Raises:
            ValueError: not of the original's type and size.
        """
        _check("the picture", picture)
        if picture.shape != self.original.shape:
            raise ValueError(f"the original is uint8 {list(picture.shape)} as the picture is, not "
                             f"{self.original.dtype} {list(self.original.shape)}")
        result = self.photo.pixels.copy()
        if self._mask is None or self._blending is None or np.array_equal(picture, self.original):
            return result
        left, top, right, bottom = self._bounds
        part = result[top:bottom, left:right].astype(np.float32)
        layer = _warped(self._blending.layer(picture), self._quad, self._bounds)
        for channel in range(3):  # Planes: broadcasting to three channels takes several times as long.
            part[..., channel] += self._mask * (layer[..., channel] - layer[..., 3] * part[..., channel])
        result[top:bottom, left:right] = np.rint(part).clip(0, 255).astype(np.uint8)
        return result


def paste_mask(photo: Photo, face: Face, *, feather: float = 0.35) -> _Floats:
    """Where `paste_back` may change the photo, and how much at most: float32 [H, W], 0..1, for the whole photo."""
    mask = np.zeros(photo.pixels.shape[:2], np.float32)
    bounds = _bounds(face.quad, (photo.width, photo.height))
    if not _is_empty(bounds):
        left, top, right, bottom = bounds
        mask[top:bottom, left:right] = _mask(face.quad, bounds, feather)
    return mask


def _check(what: str, picture: npt.NDArray[np.uint8]) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape[0] != picture.shape[1]:
        raise ValueError(f"{what} is uint8 [S, S, 3], not {picture.dtype} {list(picture.shape)}")


def _check_feather(feather: float) -> None:
    if not 0.0 <= feather <= MASK_EDGE:
        raise ValueError(f"feather is 0..{MASK_EDGE}, not {feather}")


def _bounds(quad: npt.NDArray[np.float64], size: tuple[int, int]) -> _Bounds:
    """The quad's bounding box within the photo: left, top, right, bottom, the last two excluded."""
    start = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    stop = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, size)
    return int(start[0]), int(start[1]), int(stop[0]), int(stop[1])


def _is_empty(bounds: _Bounds) -> bool:
    left, top, right, bottom = bounds
    return right <= left or bottom <= top


def _mask(quad: npt.NDArray[np.float64], bounds: _Bounds, feather: float) -> _Floats:
    """1 inside, 0 from `MASK_EDGE` on, a smooth step between: float32 [h, w] over the bounds."""
    import cv2

    left, top, right, bottom = bounds
    middle, half = quad.mean(0), quad_side(quad) / 2
    (ax, ay), (bx, by) = (quad[3] - quad[0]) / (2 * half * half), (quad[1] - quad[0]) / (2 * half * half)
    xs, ys = np.arange(left, right) - middle[0], np.arange(top, bottom) - middle[1]
    # -1..1 across and down the quad; the outline is |u|^n + |v|^n = 1.
    u = np.abs((ax * xs)[None, :] + (ay * ys)[:, None], dtype=np.float32)
    v = np.abs((bx * xs)[None, :] + (by * ys)[:, None], dtype=np.float32)
    radius = cv2.pow(cv2.pow(u, _ROUNDNESS) + cv2.pow(v, _ROUNDNESS), 1 / _ROUNDNESS)
    if feather == 0.0:
        return np.asarray(radius < MASK_EDGE, np.float32)
    inside = np.clip((MASK_EDGE - radius) / feather, 0.0, 1.0)
    return np.asarray(inside * inside * (3.0 - 2.0 * inside), np.float32)


def _warped(picture: _Floats, quad: npt.NDArray[np.float64], bounds: _Bounds) -> _Floats:
    """A square picture [S, S, C] laid over the quad: float32 [h, w, C] over the bounds.

    One that is larger than the quad, or many times smaller, is first brought to the quad's own scale by Lanczos, which
    neither aliases nor shows the picture's pixels; then it is turned and moved by cubic interpolation.
    """
    import cv2
    from PIL import Image

    side = max(1, round(quad_side(quad)))
    if not picture.shape[0] <= side <= _ENLARGED * picture.shape[0]:
        planes = [np.asarray(Image.fromarray(picture[..., c]).resize((side, side), Image.Resampling.LANCZOS))
                  for c in range(picture.shape[2])]
        picture = np.stack(planes, axis=-1)
    left, top, right, bottom = bounds
    side = picture.shape[0]
    # Photo = origin + (u across + v down) / side in pixel edges; cv2 counts pixel centres, half a pixel less.
    across, down = (quad[3] - quad[0]) / side, (quad[1] - quad[0]) / side
    turn = np.column_stack([across, down])
    shift = quad[0] - (left, top) + 0.5 * (across + down)
    laid = cv2.warpAffine(picture, np.column_stack([turn, shift]), (right - left, bottom - top),
                          flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.float32)


def _framed(part: _Floats, quad: npt.NDArray[np.float64], bounds: _Bounds, side: int) -> _Floats:
    """The inverse of `_warped`: what the quad covers of a photo's part [h, w, C], as a square [side, side, C]."""
    import cv2

    left, top, right, bottom = bounds
    width, height = right - left, bottom - top
    factor = min(side / quad_side(quad), 1.0)
    # What is shrunk is averaged first, or it would alias. Whole pixels: across and down the factors differ a little.
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size != (width, height):
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    scale = np.array(size) / (width, height)
    across, down = (quad[3] - quad[0]) * scale / side, (quad[1] - quad[0]) * scale / side
    shift = (quad[0] - (left, top) + 0.5) * scale - 0.5 + 0.5 * (across + down)
    frame = cv2.warpAffine(part, np.column_stack([across, down, shift]), (side, side),
                           flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(frame, np.float32)


def _in_quad(points: npt.NDArray[np.float64], quad: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points [N, 2] of the photo in sides of the quad, from its top left corner: float64 [N, 2]."""
    basis = np.column_stack([quad[3] - quad[0], quad[1] - quad[0]])
    return np.asarray(np.linalg.solve(basis, (points - quad[0]).T).T, np.float64)
