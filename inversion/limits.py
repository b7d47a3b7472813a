"""What is off with a face, or with its inversion, in sentences for the user.

Each sentence says what is off, what that means for the result, and what to do. The thresholds were measured on 100
photos of one uncovered face each, most of them frontal, and on the same photos made smaller, blurred, turned and
covered by drawings; `docs/limits.md` has the rates. They are set so that a plain face is hardly ever warned of, at the
cost of those that go unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inversion.alignment import Face, align, blurred
from inversion.faces import SAME_PERSON
from inversion.photo import Photo
from inversion.tone import Monochrome

if TYPE_CHECKING:
    import torch

    from generators import Generator
    from inversion.perceptual import PerceptualDistance
    from inversion.record import Inversion

SMALL = 0.75     # Quad's side over the crop's, or over _LOOK if that is less; below it detail must be invented. At 0.5
                 # and less it is seen at once.
TURNED = 30.0    # Degrees of `Face.yaw`; 5 of the 100 have more, all of them three-quarter views or profiles.
PROFILE = 60.0   # Degrees above which the measure tells no more than that.
TILTED = 25.0    # Degrees of `Face.roll`; landmarks go astray from 30 on.
OUTSIDE = 0.1    # Part of the crop that the photo does not hold.
INTRUDING = 0.2  # Part of another face's landmarks that are in the quad.
SHARP = 0.7      # See `sharpness`: the plain faces have 0.90 and more (0.68 and more in crops of 256 pixels).

PATTERNED = 1.3  # `fine_detail` of the picture over that of the crop, above which dots or a grid show on the skin.

_LOOK = 256      # Sharpness is measured on a crop of at most so many pixels: LPIPS sees no more of a picture either.
_GLANCE = 128    # What was enlarged from a small face does not pass for blurred at so few pixels.
_MIDDLE, _RADII = (0.5, 0.6), (0.28, 0.36)  # Of an ellipse around brows, eyes, nose and mouth, in units of the crop.
_ROUNDING = 0.1  # Of whole numbers, in `fine_detail`.
_SIDE = 48       # Of the windows by which regions are compared; a crop's features have no finer places that matter.


@dataclass(frozen=True)
class Region:
    """A part of an aligned crop, and how far picture and crop usually are from each other in it."""

    name: str
    covers: str                             # What is often in front of it.
    box: tuple[float, float, float, float]  # Left, top, right, bottom, in units of the crop.
    w: float                                # LPIPS within it that a plain face stays below, of a latent in W.
    w_plus: float                           # The same of one in W+.


REGIONS = (
    Region("eyes", "dark glasses, hair", (0.30, 0.42, 0.70, 0.53), 0.28, 0.155),
    Region("forehead", "a hat, hair", (0.30, 0.18, 0.70, 0.36), 0.47, 0.31),
    Region("mouth and chin", "a hand, a scarf, a mask", (0.34, 0.66, 0.66, 0.92), 0.29, 0.18),
)
"""Cheeks, sides and hair are not among them: of plain faces too they are often far off."""

STANDS_OUT = 0.75, 2.5
"""A region is told from this part of its limit on, if it is so many times as far off as the others are on average."""

FAR = {"w": 0.55, "w+": 0.45, "tuned": 0.25}
"""LPIPS of a whole picture that a plain face stays well below, by the latent's space, or of a tuned generator."""


def limits_of_face(photo: Photo, face: Face, faces: Sequence[Face], *, resolution: int) -> tuple[str, ...]:
    """What is off with a photo, and a face before it is inverted: tiny, turned, tilted, blurred, cut off, not alone.

    Args:
        photo: The photo.
        face: The face in it.
        faces: All faces of the photo; may hold `face` itself.
        resolution: The crop's side in pixels.
    Returns:
        A sentence for each thing; none for a face as it should be.
    Raises:
        FaceTooSmallError: the face cannot be aligned.
    """
    texts = [*photo.warnings]
    if face.size < SMALL * min(resolution, _LOOK):
        texts.append(f"The face is {face.size:.0f} pixels across where the generator draws {resolution}: detail that "
                     "the photo does not have is invented; a larger photo, or one from nearer, works better")
    if abs(face.yaw) > TURNED:
        turn = f"about {abs(face.yaw):.0f}" if abs(face.yaw) < PROFILE else f"{PROFILE:.0f} or more"
        texts.append(f"The face is turned {turn} degrees to the side: the far side is guessed; a more frontal photo "
                     "works better")
    if abs(face.roll) > TILTED:
        texts.append(f"The face is tilted about {abs(face.roll):.0f} degrees: eyes and mouth may be looked for in the "
                     "wrong places; a photo turned upright works better")
    if any(intrusion(face, other) > INTRUDING for other in faces):
        texts.append("Another face reaches into the crop: one face alone can be drawn, and the other turns into hair "
                     "or background; a photo in which they are further apart works better")
    outside = outside_of(photo, face)
    if outside > OUTSIDE:
        texts.append(f"{outside:.0%} of the crop is outside the photo: that part is made up; a photo with more room "
                     "around the head works better")
    if sharpness(align(photo, face, round(min(resolution, face.size, _LOOK)))) < SHARP:
        texts.append("The face is blurred: what makes the person is partly guessed; a sharper photo works better")
    return tuple(texts)


def limits_of_inversion(inversion: Inversion, *, generator: Generator | None = None,
                        distance: PerceptualDistance | None = None) -> tuple[str, ...]:
    """What is off with a result: a part of the face is covered, it did not converge, or is not the same person.

    A tuned generator draws even what covers a face, so that its picture tells nothing of that; the untuned generator's
    picture of the same latent does. Of an inversion that was stopped, and of a blurred crop, from which all sharp
    pictures are far, only the person is judged.

    Args:
        inversion: The record.
        generator: The untuned generator; None: nothing is said of what covers a face in a tuned inversion.
        distance: LPIPS with AlexNet; None: it is built.
    Returns:
        A sentence for each thing; none for a result as it should be.
    Raises:
        InputError: the inversion belongs to another generator.
    """
    texts = []
    if not inversion.stopped and sharpness(_averaged(inversion.crop, _GLANCE)) >= SHARP:
        region = covered(excesses(inversion, generator, distance))
        if region is not None:
            texts.append(f"The generator cannot draw what the photo shows at the {region.name} ({region.covers}?): "
                         "edits there may smear or replace it; an uncovered face works better")
        finer = fine_detail(inversion.picture) / max(fine_detail(inversion.crop), _ROUNDING)
        if region is None and finer > PATTERNED:
            texts.append(f"The skin shows a pattern that the photo has not ({finer:.1f} times its finest detail): put "
                         "back into the photo most of it is hidden; a more evenly lit photo works better")
        space = "tuned" if inversion.tuning else space_of(inversion)
        if not inversion.lpips <= FAR[space]:  # Not a number is far off as well.
            texts.append(f"The inversion stayed far from the photo (LPIPS {inversion.lpips:.2f}, usual is below "
                         f"{FAR[space]}): edits show another face; a plainer, more frontal photo works better")
    if inversion.identity is not None and not inversion.identity <= SAME_PERSON:
        remedy = "" if inversion.tuning else "the preset faithful comes nearer, and "
        digits = 2 if inversion.identity > SAME_PERSON + 0.005 else 4  # Never "0.60, below 0.6".
        texts.append(f"The result may not look like the person (identity distance {inversion.identity:.{digits}f}, "
                     f"below {SAME_PERSON} is the same person): {remedy}a sharper, more frontal photo works better")
    if Monochrome.of(inversion.crop) is not None:
        texts.append("The photo is black and white, or in another single colour: edits stay in it, and a change of "
                     "colour shows as lighter or darker")
    return tuple(texts)


def with_warnings(inversion: Inversion, photo: Photo, face: Face, faces: Sequence[Face], *,
                  generator: Generator | None = None, distance: PerceptualDistance | None = None) -> Inversion:
    """The same record, whose warnings say what is off with the face and with the result.

    Args:
        inversion: Of the face's crop.
        photo, face, faces: As in `limits_of_face`.
        generator, distance: As in `limits_of_inversion`.
    Raises:
        FaceTooSmallError, InputError: as these two do.
    """
    return replace(inversion, warnings=limits_of_face(photo, face, faces, resolution=len(inversion.crop))
                   + limits_of_inversion(inversion, generator=generator, distance=distance))


def outside_of(photo: Photo, face: Face) -> float:
    """The part of a face's quad that is outside the photo, 0 to 1."""
    down, right = (np.mgrid[:32, :32] + 0.5)[..., None] / 32
    places = face.quad[0] + right * (face.quad[3] - face.quad[0]) + down * (face.quad[1] - face.quad[0])
    inside = (places >= -0.5) & (places <= np.array((photo.width, photo.height)) - 0.5)  # [32, 32, 2]
    return float(1 - inside.all(axis=-1).mean())


def intrusion(face: Face, other: Face) -> float:
    """The part of another face's landmarks that are in a face's quad, 0 to 1; 0 for the face itself."""
    if other is face or np.array_equal(other.quad, face.quad):
        return 0.0
    axes = np.stack([face.quad[3] - face.quad[0], face.quad[1] - face.quad[0]], axis=1)
    places = np.linalg.solve(axes, (other.landmarks - face.quad[0]).T)  # [2, 68] in units of the crop.
    return float(((places > 0) & (places < 1)).all(axis=0).mean())


def sharpness(crop: np.ndarray) -> float:
    """How much of a face's detail is fine: the contrast at 1 pixel over that at 2 pixels; about 0.35 to 1.7.

    Neither light nor contrast changes it, and the background does not count. Noise passes for detail.

    crop: uint8 [R, R, 3], as `align` makes it.
    """
    side = len(crop)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    face = ((x - _MIDDLE[0]) / _RADII[0]) ** 2 + ((y - _MIDDLE[1]) / _RADII[1]) ** 2 < 1
    grey = _grey(crop)[..., None].repeat(3, axis=2)
    once, twice = blurred(grey, 1.0), blurred(grey, 2.0)
    fine, coarse = float((grey - once)[face].std()), float((once - twice)[face].std())
    # Rounding to whole numbers looks like noise of a variance of 1/12, which would make the most blurred sharp again.
    return max(fine ** 2 - 1 / 12, 0.0) ** 0.5 / max(coarse, 0.5)


def fine_detail(picture: np.ndarray) -> float:
    """Energy of the three finest Haar bands within a face, in squared levels: the median over cells of 8 x 8 pixels.

    A pattern all over the skin raises it, and what happens in a few places does not.

    picture: uint8 [R, R, 3], an aligned crop or its inversion; R a multiple of 8.
    """
    grey = _grey(picture)
    a, b, c, d = grey[::2, ::2], grey[::2, 1::2], grey[1::2, ::2], grey[1::2, 1::2]
    energy = (a - b + c - d) ** 2 + (a + b - c - d) ** 2 + (a - b - c + d) ** 2
    cells = energy.reshape(len(a) // 4, 4, len(a) // 4, 4).mean(axis=(1, 3)) / 16
    y, x = (np.mgrid[:len(cells), :len(cells)] + 0.5) / len(cells)
    face = ((x - _MIDDLE[0]) / _RADII[0]) ** 2 + ((y - _MIDDLE[1]) / _RADII[1]) ** 2 < 1
    return float(np.median(cells[face]))


def _averaged(crop: np.ndarray, side: int) -> np.ndarray:
    """A crop averaged down to so many pixels a side, or as it is if it has no more."""
    import cv2

    return crop if len(crop) <= side else np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA))


def _grey(picture: np.ndarray) -> np.ndarray:
    """How light a picture uint8 [R, R, 3] is: float32 [R, R]."""
    return picture.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)


def space_of(inversion: Inversion) -> str:
    """The space of a record's latent, as in its settings: "w" or "w+"."""
    return "w" if inversion.latent.ndim == 1 else "w+"


def excesses(inversion: Inversion, generator: Generator | None = None,
             distance: PerceptualDistance | None = None) -> list[tuple[Region, float]]:
    """LPIPS in each region between the crop and the untuned generator's picture, over the region's limit.

    Args:
        inversion, generator, distance: As in `limits_of_inversion`.
    Returns:
        Each region with its number; none for a tuned inversion without a generator.
    Raises:
        InputError: the inversion belongs to another generator.
    """
    import torch

    from generators import from_pixels, to_pixels
    from inversion.perceptual import PerceptualDistance

    picture = inversion.picture
    if generator is not None:
        inversion.check(generator)
    if inversion.tuning:
        if generator is None:
            return []
        with torch.no_grad():
            picture = to_pixels(generator.render(inversion.latent.to(generator.device, generator.dtype)[None]))[0]
    distance = distance or PerceptualDistance()
    device = generator.device if generator is not None else "cpu"
    with torch.no_grad():
        crop, drawn = (distance.features(from_pixels(one[None], device=device)) for one in (inversion.crop, picture))
        far = [float(distance.between(drawn, crop, window(region).to(drawn[0]))) for region in REGIONS]
    return [(region, lpips / (region.w if space_of(inversion) == "w" else region.w_plus))
            for region, lpips in zip(REGIONS, far, strict=True)]


def covered(regions: Sequence[tuple[Region, float]]) -> Region | None:
    """The region that something covers, of what `excesses` gives; None if it is none.

    Only one: a latent that is led astray by one covered region is a little off in the others as well.
    """
    if not regions:
        return None
    region, most = max(regions, key=lambda one: one[1])
    others = (sum(excess for _, excess in regions) - most) / (len(regions) - 1)
    return region if most > 1 or (most > STANDS_OUT[0] and most > STANDS_OUT[1] * others) else None


def window(region: Region) -> torch.Tensor:
    """Where a region is in a crop: float32 [side, side], 1 inside and 0 outside."""
    import torch

    mask = torch.zeros(_SIDE, _SIDE)
    left, top, right, bottom = (round(_SIDE * edge) for edge in region.box)
    mask[top:bottom, left:right] = 1
    return mask
