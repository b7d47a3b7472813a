"""Honest limits: nothing is said of a plain face, and what is off is said, the surer the worse it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import generators
from generators import Generator, Space, to_pixels
from inversion import SAME_PERSON, Face, limits
from inversion.alignment import FaceTooSmallError, align
from inversion.limits import (
    REGIONS,
    Region,
    excesses,
    fine_detail,
    limits_of_face,
    limits_of_inversion,
    sharpness,
    with_warnings,
)
from inversion.perceptual import PerceptualDistance
from inversion.photo import Photo, photo_from_array
from inversion.record import Inversion, load_inversion, save_inversion
from weights.errors import InputError

RESOLUTION = 128


@pytest.fixture(scope="module")
def generator() -> Generator:
    return generators.load("bundled")


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance()


@pytest.fixture(scope="module")
def face(astronaut_faces: list[Face]) -> Face:
    return astronaut_faces[0]


def moved(face: Face, landmarks: np.ndarray | None = None, quad: np.ndarray | None = None) -> Face:
    return replace(face, landmarks=face.landmarks if landmarks is None else landmarks,
                   quad=face.quad if quad is None else quad)


def shifted(face: Face, right: float, down: float) -> Face:
    step = np.array((right, down))
    return moved(face, face.landmarks + step, face.quad + step)


def scaled(photo: Photo, face: Face, side: float) -> tuple[Photo, Face]:
    """The photo and the face in it, made smaller so that the quad has this side."""
    size = round(photo.width * side / face.size), round(photo.height * side / face.size)
    factor = np.array(size) / (photo.width, photo.height)
    small = photo_from_array(Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS))
    return small, moved(face, (face.landmarks + 0.5) * factor - 0.5, (face.quad + 0.5) * factor - 0.5)


def blurry(photo: Photo, face: Face, pixels: float) -> Photo:
    """The photo, blurred by so many pixels of the crop."""
    radius = pixels * face.size / RESOLUTION
    return photo_from_array(Image.fromarray(photo.pixels).filter(ImageFilter.GaussianBlur(radius)))


def looking_aside(face: Face, degrees: float) -> Face:
    """The face with the tip of its nose where `yaw` is so many degrees."""
    landmarks = face.landmarks.copy()
    along = (face.quad[3] - face.quad[0]) / face.size
    left, nose, right = landmarks[[0, 30, 16]] @ along
    landmarks[30] += along * ((left + right + np.sin(np.radians(degrees)) * (right - left)) / 2 - nose)
    return moved(face, landmarks)


def rolled(face: Face, degrees: float) -> Face:
    """The face with its quad and landmarks turned clockwise about the quad's middle."""
    angle, middle = np.radians(degrees - face.roll), face.quad.mean(0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return moved(face, (face.landmarks - middle) @ turn + middle, (face.quad - middle) @ turn + middle)


def found(photo: Photo, face: Face, faces: list[Face] | None = None, resolution: int = RESOLUTION) -> tuple[str, ...]:
    return limits_of_face(photo, face, [face] if faces is None else faces, resolution=resolution)


# ---- the face


def test_nothing_is_said_of_a_plain_face(astronaut: Photo, face: Face) -> None:
    assert found(astronaut, face) == ()


def test_a_tiny_face_is_told_with_its_size(astronaut: Photo, face: Face) -> None:
    counts = [len(found(*scaled(astronaut, face, side))) for side in (128, 110, 80, 60, 40)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 1)  # Alone: that it is soft goes without saying.
    assert "60 pixels across where the generator draws 128" in found(*scaled(astronaut, face, 60))[0]
    assert "the generator draws 1024" in found(astronaut, face, resolution=1024)[0]


def test_blur_is_told_from_some_amount_on(astronaut: Photo, face: Face) -> None:
    photos = [astronaut, *(blurry(astronaut, face, pixels) for pixels in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0))]
    measured = [sharpness(align(photo, face, RESOLUTION)) for photo in photos]
    assert measured[:-1] == sorted(measured[:-1], reverse=True)
    told = [any("blurred" in text for text in found(photo, face)) for photo in photos]
    assert told == [False, False, *[True] * 5]


def test_blur_is_measured_at_the_crops_scale(astronaut: Photo, face: Face) -> None:
    """A photo that is soft in its own pixels only is sharp in its crop."""
    size = astronaut.width * 4, astronaut.height * 4
    large = photo_from_array(Image.fromarray(astronaut.pixels).resize(size, Image.Resampling.BICUBIC))
    assert found(large, moved(face, face.landmarks * 4 + 1.5, face.quad * 4 + 1.5)) == ()


@pytest.mark.parametrize("change", [lambda x: x // 2, lambda x: 128 + x // 2, lambda x: 255 - x])
def test_neither_light_nor_contrast_is_sharpness(astronaut_crop: np.ndarray, change: Callable) -> None:
    assert sharpness(change(astronaut_crop)) == pytest.approx(sharpness(astronaut_crop), rel=0.03)


def test_sharpness_of_nothing(astronaut_crop: np.ndarray) -> None:
    assert sharpness(np.full_like(astronaut_crop, 90)) == 0


def test_the_background_is_not_the_face(astronaut_crop: np.ndarray) -> None:
    noisy = astronaut_crop.copy()
    noisy[:20] = np.random.default_rng(0).integers(0, 255, noisy[:20].shape)
    assert sharpness(noisy) == pytest.approx(sharpness(astronaut_crop), rel=0.01)


def test_a_turn_is_told_on_both_sides(astronaut: Photo, face: Face) -> None:
    for degrees in (-20, -5, 10, 25):
        assert found(astronaut, looking_aside(face, degrees)) == ()
    for degrees in (-48, 48):
        assert "turned about 48 degrees" in found(astronaut, looking_aside(face, degrees))[0]
    assert "60 or more degrees" in found(astronaut, looking_aside(face, 89))[0]


def test_a_tilt_is_told_on_both_sides(astronaut: Photo, face: Face) -> None:
    def told(degrees: float) -> bool:
        return any("tilted" in text for text in found(astronaut, rolled(face, degrees)))

    assert all(told(degrees) for degrees in (-60, -30, 30, 60))
    assert not any(told(degrees) for degrees in (-15, 0, 15))


def test_another_face_in_the_quad_is_told(astronaut: Photo, face: Face) -> None:
    away = [shifted(face, part * face.size, 0) for part in (1.5, 0.9, 0.6, 0.3)]
    told = [any("Another face" in text for text in found(astronaut, face, [face, other])) for other in away]
    assert told == [False, False, True, True]
    shares = [limits.intrusion(face, other) for other in away]
    assert shares == sorted(shares)
    assert limits.intrusion(face, moved(face)) == 0  # A copy of the same face is no other.


def test_a_small_face_in_a_large_ones_quad_is_not_the_other_way_round(astronaut: Photo, face: Face) -> None:
    middle = face.quad.mean(0)
    child = moved(face, (face.landmarks - middle) * 0.2 + middle - 0.4 * face.size,
                  (face.quad - middle) * 0.2 + middle - 0.4 * face.size)
    assert limits.intrusion(face, child) > 0.9
    assert limits.intrusion(child, face) < limits.INTRUDING


def test_a_quad_outside_the_photo_is_told(astronaut: Photo, face: Face) -> None:
    def told(down: float) -> list[str]:
        return [text for text in found(astronaut, shifted(face, 0, down)) if "outside the photo" in text]

    outside = [limits.outside_of(astronaut, shifted(face, 0, -up)) for up in (0, 30, 60, 120)]
    assert outside == sorted(outside)
    assert outside[0] == 0
    assert told(0) == []
    assert told(-15 - 0.3 * face.size)[0].startswith(("2", "3"))


def test_all_that_is_off_is_told(astronaut: Photo, face: Face) -> None:
    small, there = scaled(astronaut, face, 64)
    aside = looking_aside(there, 50)
    other = shifted(there, 20, 20)
    assert len(found(small, aside, [aside, other])) == 3


def test_a_face_that_cannot_be_aligned_is_refused(astronaut: Photo, face: Face) -> None:
    with pytest.raises(FaceTooSmallError):
        found(*scaled(astronaut, face, 20))


# ---- the inversion


OTHER = Space.of("w", torch.zeros(4, 256))


def record(crop: np.ndarray, picture: np.ndarray, **changes: object) -> Inversion:
    fields = {"latent": torch.zeros(256), "space": OTHER, "crop": crop, "picture": picture, "lpips": 0.1,
              "mse": 0.01, "identity": 0.4, "seconds": 1.0, "steps": 40}
    return Inversion(**{**fields, **changes})  # type: ignore[arg-type]


def covered(crop: np.ndarray, region: Region, part: float = 1.0) -> np.ndarray:
    """The crop with stripes over a region, or over its left part."""
    picture, side = crop.copy(), len(crop)
    left, top, right, bottom = (round(side * edge) for edge in region.box)
    right = left + round((right - left) * part)
    picture[top:bottom, left:right] = np.where(np.arange(left, right)[None, :, None] // 4 % 2, (200, 30, 30), 20)
    return picture


def test_nothing_is_said_of_the_crop_itself(astronaut_crop: np.ndarray, distance: PerceptualDistance) -> None:
    assert limits_of_inversion(record(astronaut_crop, astronaut_crop), distance=distance) == ()


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
@pytest.mark.parametrize("latent", [torch.zeros(256), torch.zeros(12, 256)], ids=["w", "w+"])
def test_what_covers_a_region_is_told_by_name(astronaut_crop: np.ndarray, distance: PerceptualDistance, region: Region,
                                              latent: torch.Tensor) -> None:
    crop = covered(astronaut_crop, region)
    (text,) = limits_of_inversion(record(crop, astronaut_crop, latent=latent), distance=distance)
    assert f"at the {region.name} (" in text


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.name)
def test_the_more_is_covered_the_further_off(astronaut_crop: np.ndarray, distance: PerceptualDistance,
                                             region: Region) -> None:
    measured = [dict(excesses(record(covered(astronaut_crop, region, part), astronaut_crop), distance=distance))[region]
                for part in (0.0, 0.3, 0.6, 1.0)]
    assert measured == sorted(measured)
    assert measured[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("far", "told"), [
    ((0.5, 0.1, 0.1), None), ((0.7, 0.5, 0.4), None), ((0.9, 0.9, 0.9), None), ((0.8, 0.2, 0.2), 0),
    ((0.7, 0.2, 0.2), None), ((0.3, 0.9, 0.2), 1), ((1.1, 1.2, 1.3), 2), ((0.0, 0.0, 0.0), None)])
def test_a_region_is_told_if_it_is_far_off_or_stands_out(far: tuple[float, ...], told: int | None) -> None:
    region = limits.covered(list(zip(REGIONS, far, strict=True)))
    assert region is (None if told is None else REGIONS[told])
    assert limits.covered([]) is None


def test_what_is_off_beside_the_face_is_not_told(astronaut_crop: np.ndarray, distance: PerceptualDistance) -> None:
    crop = astronaut_crop.copy()
    crop[:, :12] = crop[:, -12:] = (0, 200, 0)
    assert limits_of_inversion(record(crop, astronaut_crop), distance=distance) == ()


def test_a_tuned_inversion_is_judged_by_the_untuned_picture(generator: Generator, distance: PerceptualDistance) -> None:
    latent = generator.sample([5], truncation=0.7)[0]
    own = to_pixels(generator.render(latent[None]))[0]
    crop = covered(own, REGIONS[2])
    tuning = {"synthesis.blocks.0.conv.weight": torch.zeros(1)}
    tuned = record(crop, crop, latent=latent, tuning=tuning, space=generator.space,
                   generator_hash=generator.hash)
    (text,) = limits_of_inversion(tuned, generator=generator, distance=distance)
    assert "mouth and chin" in text
    assert limits_of_inversion(tuned, distance=distance) == ()  # Nothing can be said without the generator.
    plain = record(own, own, latent=latent, tuning=tuning, space=generator.space,
                   generator_hash=generator.hash)
    assert limits_of_inversion(plain, generator=generator, distance=distance) == ()
    with pytest.raises(InputError, match="another space"):
        limits_of_inversion(record(crop, crop, tuning=tuning), generator=generator, distance=distance)


@pytest.mark.parametrize("lpips", [0.7, float("nan"), float("inf")])
def test_what_did_not_converge_is_told(astronaut_crop: np.ndarray, distance: PerceptualDistance, lpips: float) -> None:
    far = record(astronaut_crop, astronaut_crop, lpips=lpips)
    (text,) = limits_of_inversion(far, distance=distance)
    assert "stayed far from the photo" in text
    assert limits_of_inversion(replace(far, stopped=True), distance=distance) == ()  # That is told as it is.


def test_a_blurred_crop_is_not_taken_for_a_covered_one(astronaut: Photo, face: Face, astronaut_crop: np.ndarray,
                                                       distance: PerceptualDistance) -> None:
    crop = align(blurry(astronaut, face, 3), face, RESOLUTION)
    blurred = record(crop, astronaut_crop, lpips=0.7)
    assert max(excess for _, excess in excesses(blurred, distance=distance)) > 1
    assert limits_of_inversion(blurred, distance=distance) == ()


def test_a_pattern_on_the_skin_is_told(astronaut_crop: np.ndarray, distance: PerceptualDistance) -> None:
    y, x = np.mgrid[:len(astronaut_crop), :len(astronaut_crop)]
    dots = ((x % 4 == 0) & (y % 4 == 0))[..., None]

    def told(strength: int) -> tuple[str, ...]:
        picture = np.clip(astronaut_crop.astype(int) + strength * dots, 0, 255).astype(np.uint8)
        return limits_of_inversion(record(astronaut_crop, picture), distance=distance)

    assert told(0) == told(2) == ()
    assert any("a pattern that the photo has not" in text for text in told(90))
    assert fine_detail(np.full((64, 64, 3), 80, np.uint8)) == pytest.approx(0, abs=1e-6)


def test_another_person_is_told(astronaut_crop: np.ndarray, distance: PerceptualDistance) -> None:
    def told(**changes: object) -> tuple[str, ...]:
        return limits_of_inversion(record(astronaut_crop, astronaut_crop, **changes), distance=distance)

    for identity in (None, 0.0, SAME_PERSON):
        assert told(identity=identity) == ()
    (text,) = told(identity=0.72)
    assert "identity distance 0.72" in text
    assert "preset faithful" in text
    assert "identity distance 0.6010," in told(identity=0.601)[0]
    assert "preset faithful" not in told(identity=0.72, tuning={"a": torch.zeros(1)})[0]
    assert len(told(identity=0.9, stopped=True)) == 1


def test_a_photo_of_one_colour_is_told(astronaut_crop: np.ndarray, distance: PerceptualDistance) -> None:
    for tint in ((1, 1, 1), (1, 0.9, 0.75)):
        grey = np.rint(astronaut_crop.mean(axis=2, keepdims=True) * tint).astype(np.uint8)
        (text,) = limits_of_inversion(record(grey, grey), distance=distance)
        assert "black and white" in text


def test_the_record_carries_all_of_it_and_nothing_else_changes(astronaut: Photo, face: Face, astronaut_crop: np.ndarray,
                                                               distance: PerceptualDistance, tmp_path_factory:
                                                               pytest.TempPathFactory) -> None:
    before = record(astronaut_crop, astronaut_crop, identity=0.8, warnings=("out of date",))
    after = with_warnings(before, astronaut, looking_aside(face, 50), [face], distance=distance)
    assert ["turned" in after.warnings[0], "person" in after.warnings[1]] == [True, True]
    assert replace(after, warnings=before.warnings).__dict__ == before.__dict__
    again = with_warnings(after, astronaut, looking_aside(face, 50), [face], distance=distance)
    assert again.warnings == after.warnings
    path = tmp_path_factory.mktemp("limits") / "you.latent.safetensors"
    save_inversion(path, after)
    assert load_inversion(path).warnings == after.warnings
    for text in after.warnings:
        what, remedy = text.split(": ")
        assert what[0].isupper()
        assert remedy.endswith(("works better", "work better"))
