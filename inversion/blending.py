"""What an edit does to the photo: retouch it where its colours can tell the change, draw anew where they cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inversion.alignment import blurred
from inversion.colours import ColourGuide, apply_colours, averaged, grey

_COARSE_SIDE = 256  # Fits and masks are made at this side at most; only their use is in the photo's resolution.

# Lengths, in sides of the crop.
_TINT_REACH = 0.025   # the window in which the photo's colours tell the change
_MATCH_REACH = 0.06   # the window in which the inversion's colours are matched to the photo's
_MEAN_REACH = 0.012   # amounts are averaged over so much
_SHAPE_REACH = 0.04   # what is finer than this is shape, not light
_SHARP_REACH = 0.01   # what the generator drew finer than this is strengthened

# Amounts, in levels of 0..255; of two, the first is where something begins, the second where it is complete.
_TINT_NOISE, _MATCH_NOISE = 10.0, 60.0  # contrasts of the guide that tell nothing
_MISFIT = 16.0                  # where the inversion is off by this, what the edit does there counts half
_SEEN_IN_FACE = (0.5, 3.0)      # the changes that count: all of them in the face,
_SEEN_IN_HEAD = (4.0, 12.0)     # around it those that are more than the generator's wavering,
_SEEN_BEYOND = (8.0, 30.0)      # and far from it only the large ones: the background is seldom meant
_LOST = (10.0, 20.0)            # where the inversion is off by this on average, nothing beyond the face is drawn anew
_FLAT = 8.0                     # shapes fainter than this are none
_ROUGH = 7.0                    # where the photo's finest detail is this strong, it is half faded by drawing anew

# Parts, 0..1; likewise.
_SHARPER = 0.5           # by so much
_CHANGED = (0.25, 0.55)  # of the shapes at a place: those that are others than before, where the edit draws anew
_WHOLE = (0.3, 0.6)      # of an eye or the mouth: what is drawn anew where all of it is

_OUTER, _INNER, _BROWS, _NOSE_TOP, _CHIN = slice(0, 68), slice(17, 68), slice(17, 27), 27, 8
_FEATURES = ((slice(36, 42), 1.6), (slice(42, 48), 1.6), (slice(48, 68), 1.25))  # eyes, mouth: how much they are grown
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Regions:
    """Where things are in the crop: float32 [S, S] each, 0..1, with soft edges."""

    features: _Floats  # Brows, eyes, nose and mouth.
    face: _Floats      # To the chin and the hairline.
    head: _Floats      # With hair and ears.


@dataclass(frozen=True, eq=False)
class Blending:
    """What edits of one inversion do to its photo; what does not depend on the edit is made once, by `Blending.of`.

    Most of a change is one of tone: hair or skin that turns lighter. There the change is fitted to the photo's own
    colours (see `ColourGuide`) where the inversion agrees with the photo, and so follows the photo's edges and
    strands, not the inversion's. Among the features the change itself is added. Where the edit draws another shape
    (a mouth that closes), the picture itself is shown, its colours matched to the photo as those of the inversion
    are, and the photo's detail is faded out, all but fine grain. A mouth or an eye is drawn anew wholly or not.
    """

    photo: _Floats       # [F, F, 3], and
    smooth: _Floats      # the same without its detail, of which
    grain: _Floats       # so much may stay over another shape, [F, F, 1].
    old: _Floats         # The inversion's picture at the coarse side, [C, C, 3], and
    fine: _Floats        # its shapes,
    error: _Floats       # how far it is off, in levels, [C, C],
    match: _Floats       # and what its colours lack: fits [C, C, 12].
    tint: ColourGuide    # The photo at the coarse side.
    regions: _Regions
    landmarks: npt.NDArray[np.float64]

    @classmethod
    def of(cls, photo: _Floats, original: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float64]) -> Blending:
        """Make a photo and its inversion ready.

        photo: float32 [F, F, 3], 0..255: the photo in the quad's frame; F may be larger than S.
        original: uint8 [S, S, 3], the picture of the unedited inversion.
        landmarks: [68, 2], x and y in sides of the crop, from its corner: 0..1.
        """
        coarse = min(photo.shape[0], original.shape[0], _COARSE_SIDE)
        crop, old = (_resized(p.astype(np.float32, copy=False), coarse) for p in (photo, original))
        misfit = crop - old
        error = np.abs(misfit - blurred(misfit, _MATCH_REACH * coarse)).max(axis=2)
        trust = 1.0 / (1.0 + (error / _MISFIT) ** 2)
        tint = ColourGuide.of(crop, trust, reach=_TINT_REACH * coarse, noise=_TINT_NOISE)
        match = ColourGuide.of(old, trust, reach=_MATCH_REACH * coarse, noise=_MATCH_NOISE).fit(misfit)
        smooth = _resized(crop, photo.shape[0])
        return cls(photo=photo, smooth=smooth, grain=_grain(photo - smooth), old=old, fine=_shapes(old), error=error,
                   match=match, tint=tint, regions=_regions(landmarks, coarse), landmarks=landmarks)

    def layer(self, picture: npt.NDArray[np.uint8]) -> _Floats:
        """The layer that makes the edited photo of the photo: result = (1 - fade) photo + paint, in any resolution.

        picture: uint8 [S, S, 3], the edited picture.
        Returns float32 [F, F, 4]: paint, in levels, then fade, 0..1. Both are 0 where nothing is changed.
        """
        side, coarse = self.photo.shape[0], self.old.shape[0]
        new = _resized(picture.astype(np.float32), coarse)
        change = new - self.old
        redrawn = self._redrawn(new)
        seen = np.maximum(_seen(change, self.regions), redrawn)
        amounts = np.stack([seen * (1.0 - redrawn), seen * redrawn, self.regions.features], axis=2)

        # From here on in the frame's resolution.
        retouched, fade, features = np.split(_resized(amounts, side, smooth=False), 3, axis=2)
        tinted = apply_colours(self.tint.fit(change), self.photo)
        tinted += features * (_resized(change, side) - tinted)
        drawn = _sharpened(picture.astype(np.float32)) + _resized(apply_colours(self.match, new), picture.shape[0])
        drawn = _resized(drawn, side) - self.grain * self.smooth
        tinted *= retouched
        drawn *= fade
        return np.dstack([tinted + drawn, fade * (1.0 - self.grain)])

    def _redrawn(self, new: _Floats) -> _Floats:
        """Where the edit draws another shape: [C, C], 0..1.

        Measured is how much of the shapes in both pictures is not common to them: 0 for equal ones, also in another
        light.
        """
        side, fine = new.shape[0], _shapes(new)
        before, after, between = (averaged(grey(shape * shape), _SHAPE_REACH / 2 * side)
                                  for shape in (self.fine, fine, fine - self.fine))
        share = _step(between / (before + after + _FLAT**2), *_CHANGED)
        lost = _step(averaged(self.error, _MATCH_REACH / 2 * side), *_LOST)
        share *= 1.0 - lost * (1.0 - self.regions.features)
        for where, growth in _FEATURES:
            mask = _hull(self.landmarks[where], side, growth)
            if mask.any():
                amount = _step(np.quantile(share[mask > 0], 0.75), *_WHOLE)
                share = np.maximum(share, amount * averaged(mask, _MEAN_REACH * side))
        return np.asarray(share, np.float32)


def _seen(change: _Floats, regions: _Regions) -> _Floats:
    """Where the change [S, S, 3] is meant and can be seen, rather than the generator's wavering: [S, S], 0..1."""
    amount = averaged(np.abs(change).max(axis=2), _MEAN_REACH * change.shape[0])
    limits = [beyond + (in_head - beyond) * regions.head
              for beyond, in_head in zip(_SEEN_BEYOND, _SEEN_IN_HEAD, strict=True)]
    low, high = (limit + (in_face - limit) * regions.face
                 for limit, in_face in zip(limits, _SEEN_IN_FACE, strict=True))
    return _step(amount, low, high)


def _shapes(picture: _Floats) -> _Floats:
    """What of a picture [S, S, 3] is shape, not light."""
    return picture - blurred(picture, _SHAPE_REACH * picture.shape[0])


def _regions(landmarks: npt.NDArray[np.float64], side: int) -> _Regions:
    up = landmarks[_NOSE_TOP] - landmarks[_CHIN]
    with_forehead, with_hair = (np.concatenate([landmarks[_OUTER], landmarks[_BROWS] + height * up])
                                for height in (0.45, 0.8))
    return _Regions(averaged(_hull(landmarks[_INNER], side, 1.15), 0.02 * side),
                    averaged(_hull(with_forehead, side, 1.0), 0.02 * side),
                    averaged(_hull(with_hair, side, 1.5), 0.06 * side))


def _hull(points: npt.NDArray[np.float64], side: int, growth: float) -> _Floats:
    """1 within the points' convex hull, grown about their mean by a factor: float32 [S, S]."""
    import cv2

    middle = points.mean(axis=0)
    grown = ((points - middle) * growth + middle) * side - 0.5  # in pixel centres
    outline = cv2.convexHull(np.clip(grown, -side, 2 * side).astype(np.float32))
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, np.rint(outline * 16).astype(np.int32), 1.0, shift=4)  # in sixteenths of a pixel
    return mask


def _grain(detail: _Floats) -> _Floats:
    """How much of the photo's detail [F, F, 3] may stay over another shape: fine grain, no edges; [F, F, 1], 0..1."""
    power = averaged(grey(detail * detail), _MEAN_REACH * detail.shape[0])
    return np.asarray(1.0 / (1.0 + (power / _ROUGH**2) ** 2), np.float32)[..., None]


def _sharpened(picture: _Floats) -> _Floats:
    """A picture from the generator, a little crisper; in its greys only, for its colours have fringes."""
    light = grey(picture)
    fine = light - averaged(light, _SHARP_REACH * picture.shape[0])
    return np.asarray(picture + _SHARPER * fine[..., None], np.float32)


def _step(amount: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> _Floats:
    """A smooth step: 0 up to `low`, 1 from `high` on."""
    share = np.clip((np.asarray(amount) - low) / (np.asarray(high) - low), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share), np.float32)


def _resized(picture: _Floats, side: int, *, smooth: bool = True) -> _Floats:
    """[S, S, C] in another size; not smooth: with no values beyond those that it has."""
    import cv2

    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    if side < picture.shape[0]:
        how = cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.float32)
