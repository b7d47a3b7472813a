"""Local affine maps between colours: how one picture's colours tell another quantity, from place to place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LEAST_TRUST = 0.02  # the least weight of a pixel, so that a window of bad ones still has a fit
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ColourGuide:
    """A picture whose colours other quantities are fitted to; what does not depend on the quantity is made once.

    The guided filter (He, Sun and Tang 2013, "Guided Image Filtering", equations 14 and 15, with three channels in the
    guide) with a weight for each pixel. Fitted on a small guide and applied to a large one, the target takes the
    large one's edges (He and Sun 2015, arXiv 1505.00996). Made by `ColourGuide.of`.
    """

    picture: _Floats               # [S, S, 3]
    weight: _Floats                # [S, S, 1]
    reach: float
    mean: _Floats                  # Of the picture in each window, [S, S, 3].
    inverse: list[list[_Floats]]   # Of its covariance, three rows of three [S, S, 1].
    totals: tuple[_Floats, _Floats]  # Of the weights, in the windows of the fits and of their means: [S, S, 1].

    @classmethod
    def of(cls, picture: _Floats, trust: _Floats, *, reach: float, noise: float) -> ColourGuide:
        """Make a guide ready.

        picture: float32 [S, S, 3].
        trust: float32 [S, S], 0..1: how much each pixel counts.
        reach: the window's standard deviation, in pixels.
        noise: contrasts of the guide well below this, in its own units, are not taken for a cause.
        """
        weight = np.maximum(trust, _LEAST_TRUST)[..., None]
        pairs = [picture[..., i : i + 1] * picture[..., i:] for i in range(3)]  # rr rg rb, gg gb, bb
        total = averaged(weight, reach)
        means = averaged(weight * np.concatenate([picture, *pairs], axis=2), reach) / total
        mean = means[..., :3]
        moments = [means[..., 3 + n] - mean[..., i] * mean[..., j] + np.float32(noise**2 if i == j else 0.0)
                   for n, (i, j) in enumerate([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)])]
        return cls(picture, weight, reach, mean, _inverse(moments), (total, averaged(weight, reach / 2)))

    def fit(self, target: _Floats) -> _Floats:
        """Fit target = A guide + b around each pixel, by weighted least squares in a Gaussian window.

        target: float32 [S, S, 3].
        Returns float32 [S, S, 12]: the rows of A for the guide's three channels, then b. See `apply_colours`.
        """
        products = [self.picture[..., i : i + 1] * target for i in range(3)]
        means = averaged(self.weight * np.concatenate([target, *products], axis=2), self.reach) / self.totals[0]
        mean = means[..., :3]
        cross = [means[..., 3 + 3 * i : 6 + 3 * i] - self.mean[..., i : i + 1] * mean for i in range(3)]
        gain = [row[0] * cross[0] + row[1] * cross[1] + row[2] * cross[2] for row in self.inverse]
        offset = mean - sum(self.mean[..., i : i + 1] * gain[i] for i in range(3))
        # Each pixel lies in many windows: the fits of those around it are averaged too, the trusted ones first.
        fits = averaged(self.weight * np.concatenate([*gain, offset], axis=2), self.reach / 2)
        return np.asarray(fits / self.totals[1], np.float32)


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


def _inverse(matrix: list[_Floats]) -> list[list[_Floats]]:
    """The inverse of symmetric matrices given by rr, rg, rb, gg, gb, bb [S, S]: three rows of three [S, S, 1]."""
    rr, rg, rb, gg, gb, bb = (entry.astype(np.float64) for entry in matrix)
    # The adjugate; symmetric as well. The noise keeps the determinant away from 0.
    a, b, c = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    e, f, i = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * a + rg * b + rb * c
    return [[(entry / determinant).astype(np.float32)[..., None] for entry in row]
            for row in ((a, b, c), (b, e, f), (c, f, i))]
