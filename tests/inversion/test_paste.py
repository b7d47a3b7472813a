"""Paste-back: the face goes exactly where it came from, and nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from inversion.alignment import align
from inversion.faces import Face
from inversion.paste import MASK_EDGE, paste_back, paste_mask
from inversion.photo import Photo, photo_from_array


@pytest.fixture(scope="module")
def edited(astronaut_crop: np.ndarray) -> np.ndarray:
    """An edit that changes every pixel."""
    return np.clip(astronaut_crop * [1.1, 0.9, 0.7] + 20, 0, 255).astype(np.uint8)


def inside(photo: Photo, face: Face) -> np.ndarray:
    """Which pixels lie in the quad, [H, W], by the signs of four cross products."""
    ys, xs = np.mgrid[:photo.height, :photo.width]
    result = np.ones(xs.shape, bool)
    for a, b in zip(face.quad, np.roll(face.quad, -1, 0), strict=True):
        result &= (b[0] - a[0]) * (ys - a[1]) - (b[1] - a[1]) * (xs - a[0]) <= 0
    return result


# ---- what stays


@pytest.mark.parametrize("feather", [0.0, 0.1, 0.35, 0.9])
@pytest.mark.parametrize("with_original", [False, True])
def test_pixels_outside_the_face_are_the_photos_own(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray, edited: np.ndarray, feather: float,
    with_original: bool,
) -> None:  # fmt: skip
    face = astronaut_faces[0]
    before = astronaut.pixels.copy()
    result = paste_back(astronaut, face, edited, feather=feather, original=astronaut_crop if with_original else None)
    mask = paste_mask(astronaut, face, feather=feather)
    assert result.dtype == np.uint8
    assert result.shape == before.shape
    assert np.array_equal(result[mask == 0], before[mask == 0])
    assert not mask[~inside(astronaut, face)].any()
    assert (result[mask > 0.9] != before[mask > 0.9]).any(-1).mean() > 0.95
    assert np.array_equal(astronaut.pixels, before)
    assert result.flags.writeable


def test_equal_pictures_return_the_photo(
    astronaut: Photo, astronaut_faces: list[Face], edited: np.ndarray
) -> None:
    assert np.array_equal(paste_back(astronaut, astronaut_faces[0], edited, original=edited), astronaut.pixels)


def test_mask_is_one_on_the_face_and_fades_out_before_the_quads_sides(
    astronaut: Photo, face_at: Callable[..., Face], astronaut_faces: list[Face]
) -> None:
    face = astronaut_faces[0]
    mask = paste_mask(astronaut, face)
    features = np.rint(face.landmarks[17:]).astype(int)  # brows, eyes, nose, mouth
    assert mask[features[:, 1], features[:, 0]].min() > 0.999
    assert mask.max() == 1
    assert mask.min() == 0
    square = face_at((255.5, 255.5), 200.0)
    row = paste_mask(astronaut, square)[255]
    assert np.array_equal(row, row[::-1])
    reach = MASK_EDGE * 100
    assert not row[: int(256 - reach)].any()
    assert row[int(256 - reach) + 2] > 0
    assert (np.diff(row[:256]) >= 0).all()
    assert np.abs(np.diff(row)).max() < 0.06  # no seam: at most 6 % from one pixel to the next
    assert set(np.unique(paste_mask(astronaut, square, feather=0.0))) == {0.0, 1.0}


# ---- where it goes


@pytest.mark.parametrize("size", [64, 128, 512])
def test_aligned_and_pasted_back_is_the_photo_again(astronaut_faces: list[Face], astronaut: Photo, size: int) -> None:
    """On a smooth photo, which every size of crop can hold, the way there and back ends where it began."""
    ys, xs = np.mgrid[:512, :512]
    smooth = np.stack([127 + 120 * np.sin(xs / 11), 127 + 120 * np.cos(ys / 13), (xs + ys) / 4.2], -1)
    photo = photo_from_array(smooth.round().astype(np.uint8))
    face = astronaut_faces[0]
    back = paste_back(photo, face, align(photo, face, size))
    solid = paste_mask(photo, face) > 0.99
    error = (back.astype(int) - photo.pixels)[solid]
    assert np.abs(error).mean() < 1.0
    assert np.abs(error).max() <= 8


@pytest.mark.parametrize("turn", [0.0, 20.0, 90.0, 163.0, -45.0])
@pytest.mark.parametrize(("side", "size"), [(160.0, 128), (171.3, 32), (100.9, 400), (60.0, 512)])
def test_each_pixel_shows_its_place_in_the_picture(
    face_at: Callable[..., Face], turn: float, side: float, size: int
) -> None:
    """Of a picture whose colours tell the place, the pasted colours are the places by the quad's own inverse."""
    steps = (np.arange(size) + 0.5) / size * 250
    picture = np.stack(np.broadcast_arrays(steps[None, :], steps[:, None], 77.0), -1).round().astype(np.uint8)
    face = face_at((131.2, 118.9), side, turn)
    photo = photo_from_array(np.zeros((260, 260, 3), np.uint8))
    result = paste_back(photo, face, picture)
    ys, xs = np.nonzero(paste_mask(photo, face) > 0.9999)
    basis = np.column_stack([face.quad[3] - face.quad[0], face.quad[1] - face.quad[0]])
    places = np.linalg.solve(basis, (np.stack([xs, ys]) - face.quad[0][:, None])) * 250
    error = result[ys, xs, :2].T - places
    pixel = 250 / side  # how much the colour changes in one photo pixel
    assert np.abs(error.mean(1)).max() < 0.1 * pixel + 0.1
    assert np.abs(error).max() < 0.5 * pixel + 1.5
    assert (result[ys, xs, 2] == 77).all()


def test_a_fine_pattern_does_not_alias_in_a_small_face(face_at: Callable[..., Face]) -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    photo = photo_from_array(np.zeros((200, 200, 3), np.uint8))
    face = face_at((100.0, 100.0), 61.3, 9)
    result = paste_back(photo, face, stripes)
    assert np.abs(result[paste_mask(photo, face) > 0.9999].astype(int) - 127).max() < 8


def test_a_coarse_picture_is_drawn_without_steps(face_at: Callable[..., Face]) -> None:
    ramp = np.repeat(np.linspace(20, 220, 32)[None, :, None], 32, 0).repeat(3, -1).round().astype(np.uint8)
    photo = photo_from_array(np.zeros((900, 900, 3), np.uint8))
    row = paste_back(photo, face_at((450.0, 450.0), 800.0), ramp)[450, 250:650, 0].astype(int)
    assert np.diff(row).max() <= 2  # repeated pixels would jump by 6
    assert np.diff(row).min() >= 0


# ---- the difference


def test_the_difference_keeps_the_photos_detail(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray
) -> None:
    from PIL import Image, ImageFilter

    soft = np.array(Image.fromarray(astronaut_crop).filter(ImageFilter.GaussianBlur(3)))
    brighter = np.clip(soft.astype(int) + 12, 0, 255).astype(np.uint8)
    face = astronaut_faces[0]
    solid = paste_mask(astronaut, face) > 0.999
    kept = paste_back(astronaut, face, brighter, original=soft).astype(int) - astronaut.pixels
    room = solid[..., None] & (astronaut.pixels < 200) & (astronaut.pixels > 20)
    assert np.abs(kept[room] - 12).mean() < 1.5
    replaced = paste_back(astronaut, face, brighter).astype(int) - astronaut.pixels
    assert np.abs(replaced[room] - 12).mean() > 4


# ---- at the edges


@pytest.mark.parametrize("middle", [(0.0, 60.0), (100.0, 0.0), (119.0, 99.0), (-20.0, 130.0)])
def test_what_lies_beyond_the_photo_is_left_out(
    face_at: Callable[..., Face], edited: np.ndarray, middle: tuple[float, float]
) -> None:
    """A face across the edge is pasted as it would be in a larger photo of which this one is a part."""
    random = np.random.default_rng(0)
    whole = photo_from_array(random.integers(0, 256, (400, 420, 3), dtype=np.uint8))
    part = photo_from_array(whole.pixels[150:250, 150:270].copy())
    expected = paste_back(whole, face_at((middle[0] + 150, middle[1] + 150), 110, 25), edited)[150:250, 150:270]
    result = paste_back(part, face_at(middle, 110, 25), edited)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert not np.array_equal(result, part.pixels)


def test_a_quad_wholly_outside_changes_nothing(face_at: Callable[..., Face], edited: np.ndarray) -> None:
    photo = photo_from_array(np.full((50, 60, 3), 9, np.uint8))
    assert np.array_equal(paste_back(photo, face_at((500.0, -300.0), 80), edited), photo.pixels)
    assert not paste_mask(photo, face_at((500.0, -300.0), 80)).any()


def test_a_forty_megapixel_photo_is_fast(face_at: Callable[..., Face], edited: np.ndarray) -> None:
    photo = photo_from_array(np.full((5000, 8000, 3), 100, np.uint8))
    start = time.monotonic()
    result = paste_back(photo, face_at((4000.0, 2500.0), 600.0, 5), edited)
    assert time.monotonic() - start < 2
    assert result[0, 0, 0] == 100
    assert result[2500, 4000, 0] != 100


def test_wrong_arguments(astronaut: Photo, astronaut_faces: list[Face], edited: np.ndarray) -> None:
    face = astronaut_faces[0]
    for picture in (edited.astype(np.float32), edited[:64], edited[..., 0]):
        with pytest.raises(ValueError, match="the picture is uint8"):
            paste_back(astronaut, face, picture)
    with pytest.raises(ValueError, match="the original is uint8"):
        paste_back(astronaut, face, edited, original=edited[:64, :64])
    for feather in (-0.1, 1.0):
        with pytest.raises(ValueError, match="feather is"):
            paste_back(astronaut, face, edited, feather=feather)


def test_the_photos_detail_fades_where_the_edit_draws_anew_and_stays_where_it_only_tints(
    face_at: Callable[..., Face],
) -> None:
    """Stripes in the photo that the generator did not draw: kept under a tint, gone under a new shape."""
    size = 200
    pixels = np.full((size, size, 3), 128, np.uint8)
    pixels[:, ::4] += 40
    photo = photo_from_array(pixels, name="stripes")
    face = face_at((size / 2, size / 2), size * 0.8)
    original = np.full((64, 64, 3), 138, np.uint8)

    def stripes(edited: np.ndarray) -> float:
        middle = paste_back(photo, face, edited, original=original)[90:110, 90:110].astype(float)
        return float(np.abs(np.diff(middle.mean(axis=(0, 2)))).mean())

    tinted = original + np.array([40, 0, 0], np.uint8)
    redrawn = original.copy()
    redrawn[29:35, 20:44] = 20
    assert stripes(tinted) > 0.9 * stripes(original)
    assert stripes(redrawn) < 0.3 * stripes(original)
