"""The edited face back into the whole photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inversion.alignment import blurred, quad_side

if TYPE_CHECKING:
    from inversion.faces import Face
    from inversion.photo import Photo

MASK_EDGE = 0.96
"""Where the mask ends, as a fraction of the way from the quad's middle to its sides."""

_ROUNDNESS = 2.5  # exponent of the mask's outline: 2 is an ellipse, towards infinity a square
_TONE = 0.04          # changes wider than this, in sides of the crop, are of tone: light, colour
_DETAIL = 0.03        # what is finer than this, in sides of the crop, is detail
_REDRAWN = (10.0, 28.0)  # mean change of structure, in levels, where drawing anew begins and is complete
_Floats = npt.NDArray[np.float32]


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
    caller did not give is needed. With `original`, the difference picture - original is added to the photo instead,
    so that skin, hair and background keep the detail that the generator cannot draw, and equal pictures return the
    photo bit for bit. Where the edit draws something else (a mouth that closes, not hair that turns lighter), the
    photo's own detail is faded out, or its edges would show through the new ones. Prefer it when the generator's
    pictures are softer than the photo.

    picture: uint8 [S, S, 3], RGB, the edited crop; any S.
    feather: width of the fading, as a fraction of half the quad's side; 0..0.96, 0 is a hard edge.
    original: uint8 [S, S, 3], the picture of the unedited inversion.
    Returns uint8 [H, W, 3], a new array.

    Raises:
        ValueError: pictures that are not [S, S, 3] or differ in size, or a feather out of range.
    """
    _check(picture, original, feather)
    result: npt.NDArray[np.uint8] = photo.pixels.copy()
    (left, top), (right, bottom) = _bounds(face.quad, (photo.width, photo.height))
    if right <= left or bottom <= top:
        return result
    mask = _mask(face.quad, (left, top, right, bottom), feather)
    part = result[top:bottom, left:right].astype(np.float32)
    if original is None:
        change = _warped(picture.astype(np.float32), face.quad, (left, top, right, bottom)) - part
    else:
        change = _change(part, picture.astype(np.float32), original.astype(np.float32), face.quad,
                         (left, top, right, bottom))
    part += mask[..., None] * change
    result[top:bottom, left:right] = np.rint(part).clip(0, 255).astype(np.uint8)
    return result


def paste_mask(photo: Photo, face: Face, *, feather: float = 0.35) -> _Floats:
    """The mask that `paste_back` uses, for the whole photo: float32 [H, W], 0..1."""
    mask = np.zeros(photo.pixels.shape[:2], np.float32)
    (left, top), (right, bottom) = _bounds(face.quad, (photo.width, photo.height))
    if right > left and bottom > top:
        mask[top:bottom, left:right] = _mask(face.quad, (left, top, right, bottom), feather)
    return mask


def _check(picture: npt.NDArray[np.uint8], original: npt.NDArray[np.uint8] | None, feather: float) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape[0] != picture.shape[1]:
        raise ValueError(f"the picture is uint8 [S, S, 3], not {picture.dtype} {list(picture.shape)}")
    if original is not None and (original.dtype != np.uint8 or original.shape != picture.shape):
        raise ValueError(f"the original is uint8 {list(picture.shape)} as the picture is, not "
                         f"{original.dtype} {list(original.shape)}")
    if not 0.0 <= feather <= MASK_EDGE:
        raise ValueError(f"feather is 0..{MASK_EDGE}, not {feather}")


def _bounds(quad: npt.NDArray[np.float64], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The quad's bounding box within the photo: (left, top), (right, bottom), the last two excluded."""
    start = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    stop = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, size)
    return (int(start[0]), int(start[1])), (int(stop[0]), int(stop[1]))


def _mask(quad: npt.NDArray[np.float64], bounds: tuple[int, int, int, int], feather: float) -> _Floats:
    """1 inside, 0 from `MASK_EDGE` on, a smooth step between: float32 [h, w] over the bounds."""
    left, top, right, bottom = bounds
    middle, half = quad.mean(0), quad_side(quad) / 2
    (ax, ay), (bx, by) = (quad[3] - quad[0]) / (2 * half * half), (quad[1] - quad[0]) / (2 * half * half)
    xs, ys = np.arange(left, right) - middle[0], np.arange(top, bottom) - middle[1]
    # -1..1 across and down the quad; the outline is |u|^n + |v|^n = 1.
    u = np.abs((ax * xs)[None, :] + (ay * ys)[:, None], dtype=np.float32)
    v = np.abs((bx * xs)[None, :] + (by * ys)[:, None], dtype=np.float32)
    radius = (u**_ROUNDNESS + v**_ROUNDNESS) ** (1 / _ROUNDNESS)
    if feather == 0.0:
        return np.asarray(radius < MASK_EDGE, np.float32)
    inside = np.clip((MASK_EDGE - radius) / feather, 0.0, 1.0)
    return np.asarray(inside * inside * (3.0 - 2.0 * inside), np.float32)


def _change(part: _Floats, picture: _Floats, original: _Floats, quad: npt.NDArray[np.float64],
            bounds: tuple[int, int, int, int]) -> _Floats:
    """What the edit adds to the photo's part [h, w, 3], less the photo's own detail where the edit drew anew."""
    change = _warped(picture - original, quad, bounds)
    redrawn = _redrawn(picture - original)
    if not redrawn.any():
        return change
    missing = part - _warped(original, quad, bounds)  # What the generator did not draw: detail, and faults of tone.
    detail = missing - blurred(missing, quad_side(quad) * _DETAIL)
    share = _warped(redrawn, quad, bounds)[..., :1].clip(0.0, 1.0)
    return np.asarray(change - share * detail, np.float32)


def _redrawn(difference: _Floats) -> _Floats:
    """How much the edit [S, S, 3] drew anew, rather than changed in tone: 0..1, float32 [S, S, 3] of equal planes."""
    side = difference.shape[0]
    structure = np.abs(difference - blurred(difference, side * _TONE)).max(axis=2, keepdims=True)
    amount = blurred(np.repeat(structure, 3, axis=2), side * _TONE / 2)
    share = ((amount - _REDRAWN[0]) / (_REDRAWN[1] - _REDRAWN[0])).clip(0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share), np.float32)


def _warped(picture: _Floats, quad: npt.NDArray[np.float64], bounds: tuple[int, int, int, int]) -> _Floats:
    """A square picture [S, S, C] laid over the quad: float32 [h, w, C] over the bounds.

    First brought to the quad's own scale by Lanczos, which neither shows the generator's pixels in a large photo nor
    aliases in a small one; then turned and moved, with nothing left to enlarge, by cubic interpolation.
    """
    import cv2
    from PIL import Image

    side = max(1, round(quad_side(quad)))
    if side != picture.shape[0]:
        planes = [np.asarray(Image.fromarray(picture[..., c]).resize((side, side), Image.Resampling.LANCZOS))
                  for c in range(picture.shape[2])]
        picture = np.stack(planes, axis=-1)
    left, top, right, bottom = bounds
    # Photo = origin + (u across + v down) / side in pixel edges; cv2 counts pixel centres, half a pixel less.
    across, down = (quad[3] - quad[0]) / side, (quad[1] - quad[0]) / side
    turn = np.column_stack([across, down])
    shift = quad[0] - (left, top) + 0.5 * (across + down)
    laid = cv2.warpAffine(picture, np.column_stack([turn, shift]), (right - left, bottom - top),
                          flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.float32)
