"""Local affine maps between colours: how one picture's colours tell another quantity, from place to place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST_TRUST = 0.02  # the least weight of a pixel, so that a window of bad ones still has a fit
_Floats = npt.NDArray[np.float32]


def fit_colours(guide: _Floats, target: _Floats, trust: _Floats, *, reach: float, noise: float) -> _Floats:
    """Fit target = A guide + b around each pixel, by weighted least squares in a Gaussian window.

    The guided filter (He, Sun and Tang 2013, "Guided Image Filtering", equations 14 and 15, with three channels in the
    guide) with a weight for each pixel. Fitted on a small guide and applied to a large one, the target takes the
    large one's edges (He and Sun 2015, arXiv 1505.00996).

    guide, target: float32 [S, S, 3].
    trust: float32 [S, S], 0..1: how much each pixel counts.
    reach: the window's standard deviation, in pixels.
    noise: contrasts of the guide well below this, in its own units, are not taken for a cause.
    Returns float32 [S, S, 12]: the rows of A for the guide's three channels, then b. See `apply_colours`.
    """
    weight = np.maximum(trust, _LEAST_TRUST)[..., None]
    pairs = [guide[..., i : i + 1] * guide[..., i:] for i in range(3)]  # rr rg rb, gg gb, bb
    products = [guide[..., i : i + 1] * target for i in range(3)]
    means = averaged(weight * np.concatenate([guide, target, *pairs, *products], axis=2), reach)
    total = averaged(weight, reach)
    means /= total
    mean_guide, mean_target = means[..., :3], means[..., 3:6]
    moments = [means[..., 6 + n] - mean_guide[..., i] * mean_guide[..., j] + np.float32(noise**2 if i == j else 0.0)
               for n, (i, j) in enumerate([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)])]
    cross = [means[..., 12 + 3 * i : 15 + 3 * i] - mean_guide[..., i : i + 1] * mean_target for i in range(3)]
    gain = _solved(moments, cross)
    offset = mean_target - sum(mean_guide[..., i : i + 1] * gain[i] for i in range(3))
    # Each pixel lies in many windows: the fits of those around it are averaged too, the trusted ones first.
    fits = averaged(weight * np.concatenate([*gain, offset], axis=2), reach / 2)
    return np.asarray(fits / averaged(weight, reach / 2), np.float32)


def apply_colours(fits: _Floats, guide: _Floats) -> _Floats:
    """What the fits [S, S, 12] make of a guide [F, F, 3] of their size or larger: float32 [F, F, 3]."""
    import cv2

    def row(index: int) -> _Floats:
        return np.asarray(cv2.resize(rows[index], guide.shape[:2], interpolation=cv2.INTER_LINEAR), np.float32)

    rows, guides = cv2.split(fits), cv2.split(guide)  # Planes: several times as fast as broadcasting to three channels.
    results = [row(9 + channel) for channel in range(3)]
    for channel, result in enumerate(results):
        for i in range(3):
            result += guides[i] * row(3 * i + channel)
    return np.asarray(cv2.merge(results), np.float32)


def averaged(picture: _Floats, reach: float) -> _Floats:
    """Gaussian mean of [S, S, C], of any number of channels, with a standard deviation in pixels: [S, S, C]."""
    import cv2

    result = cv2.GaussianBlur(picture, (0, 0), max(reach, 0.3), borderType=cv2.BORDER_REFLECT)
    return np.asarray(result, np.float32).reshape(picture.shape)


def grey(picture: _Floats) -> _Floats:
    """The mean of the channels of [S, S, 3]: [S, S]."""
    import cv2

    return np.asarray(cv2.transform(picture, np.full((1, 3), 1 / 3, np.float32)), np.float32).reshape(picture.shape[:2])


def _solved(matrix: list[_Floats], right: list[_Floats]) -> list[_Floats]:
    """x of M x = right for symmetric matrices given by rr, rg, rb, gg, gb, bb [S, S]; right and x: three [S, S, 3]."""
    rr, rg, rb, gg, gb, bb = (entry.astype(np.float64) for entry in matrix)
    # The adjugate; symmetric as well. The noise keeps the determinant away from 0.
    a, b, c = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    e, f, i = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * a + rg * b + rb * c
    inverse = [[(entry / determinant).astype(np.float32)[..., None] for entry in row]
               for row in ((a, b, c), (b, e, f), (c, f, i))]
    return [row[0] * right[0] + row[1] * right[1] + row[2] * right[2] for row in inverse]
