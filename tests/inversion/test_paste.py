"""Paste-back: the face goes exactly where it came from, and nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from inversion import Face
from inversion.alignment import align
from inversion.paste import MASK_EDGE, PasteBack, paste_back, paste_mask
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


def test_one_paste_back_for_many_edits_is_each_edits_own(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray, edited: np.ndarray
) -> None:
    face, before = astronaut_faces[0], astronaut.pixels.copy()
    paste = PasteBack.of(astronaut, face, astronaut_crop, feather=0.2)
    for picture in (edited, edited // 2, astronaut_crop, edited):
        expected = paste_back(astronaut, face, picture, feather=0.2, original=astronaut_crop)
        result = paste(picture)
        assert np.array_equal(result, expected)
        result[:] = 0  # The caller's own: neither the photo nor the next result has it.
    assert np.array_equal(astronaut.pixels, before)
    assert not np.array_equal(paste(edited), before)


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


def in_quad(points: np.ndarray, face: Face) -> np.ndarray:
    """Points [N, 2] of the photo in sides of the quad, from its top left corner."""
    basis = np.stack([face.quad[3] - face.quad[0], face.quad[1] - face.quad[0]], 1)
    return np.linalg.solve(basis, (points - face.quad[0]).T).T


@pytest.fixture
def whole_face(astronaut_faces: list[Face], face_at: Callable[..., Face]) -> Callable[..., Face]:
    """As `face_at`, with landmarks: the astronaut's."""
    points = in_quad(astronaut_faces[0].landmarks, astronaut_faces[0])

    def make(middle: tuple[float, float], side: float, turn: float = 0.0) -> Face:
        face = face_at(middle, side, turn)
        across, down = face.quad[3] - face.quad[0], face.quad[1] - face.quad[0]
        return replace(face, landmarks=face.quad[0] + points @ np.stack([across, down]))

    return make


def with_mouth(crop: np.ndarray, face: Face) -> np.ndarray:
    """A crop in which the mouth is another: three bands of dark and bright, as when it opens."""
    size, edited = crop.shape[0], crop.copy()
    lips = in_quad(face.landmarks[48:], face) * size
    (left, top), (right, bottom) = lips.min(0).astype(int), lips.max(0).astype(int)
    third = max((bottom - top) // 3, 2)
    edited[top:bottom, left:right] = 60
    edited[top + third:top + 2 * third, left:right] = 220
    return edited


def near_mouth(photo: Photo, face: Face, reach: float) -> np.ndarray:
    """The pixels no farther from the mouth's middle than this, in sides of the quad: [H, W]."""
    ys, xs = np.mgrid[:photo.height, :photo.width]
    x, y = face.landmarks[48:].mean(0)
    return np.asarray(np.hypot(xs - x, ys - y) < reach * face.size)


def grain_of(pixels: np.ndarray, where: np.ndarray) -> float:
    """How strong the finest detail is: the deviation of each pixel from the mean of those beside it."""
    values = pixels.astype(float).mean(-1)
    fine = values[1:-1, 1:-1] - (values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]) / 4
    return float(np.sqrt(np.square(fine[where[1:-1, 1:-1]]).mean()))


@pytest.fixture(scope="module")
def portrait(astronaut: Photo) -> Photo:
    """The astronaut's head, enlarged to 1,400 pixels, with grain as a camera's at high sensitivity."""
    from PIL import Image

    head = Image.fromarray(astronaut.pixels[:256, 96:352]).resize((1400, 1400), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 5, (1400, 1400, 1))
    return photo_from_array((np.asarray(head) + grain).round().clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def portrait_face(astronaut_faces: list[Face]) -> Face:
    face, scale = astronaut_faces[0], 1400 / 256
    return replace(face, landmarks=(face.landmarks - (96, 0) + 0.5) * scale - 0.5,
                   quad=(face.quad - (96, 0) + 0.5) * scale - 0.5)


def test_an_edit_of_the_mouth_changes_the_mouth_only(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray, portrait: Photo, portrait_face: Face
) -> None:
    for photo, face in ((astronaut, astronaut_faces[0]), (portrait, portrait_face)):
        result = paste_back(photo, face, with_mouth(astronaut_crop, face), original=astronaut_crop)
        beyond = ~near_mouth(photo, face, 0.3)
        assert np.array_equal(result[beyond], photo.pixels[beyond])
        mouth = near_mouth(photo, face, 0.04)
        assert np.abs(result[mouth].astype(int) - photo.pixels[mouth]).mean() > 15


def test_a_large_photo_keeps_its_grain(portrait: Photo, portrait_face: Face, astronaut_crop: np.ndarray) -> None:
    """Outside of what is drawn anew nearly all of it, and in the new mouth some: it must not look like plastic."""
    solid = paste_mask(portrait, portrait_face) > 0.99
    tinted = np.clip(astronaut_crop * [1.06, 1.0, 0.9] + 5, 0, 255).astype(np.uint8)
    redrawn = with_mouth(tinted, portrait_face)
    mouth, beyond = near_mouth(portrait, portrait_face, 0.03), solid & ~near_mouth(portrait, portrait_face, 0.15)
    for edited in (tinted, redrawn):
        result = paste_back(portrait, portrait_face, edited, original=astronaut_crop)
        assert (result[beyond] != portrait.pixels[beyond]).any(-1).mean() > 0.8
        assert 0.95 < grain_of(result, beyond) / grain_of(portrait.pixels, beyond) < 1.1
    assert grain_of(result, mouth) > 0.5 * grain_of(portrait.pixels, mouth)
    assert grain_of(paste_back(portrait, portrait_face, redrawn), mouth) < 0.3 * grain_of(portrait.pixels, mouth)


@pytest.mark.parametrize("fault", [(30, 30, 30), (-25, 0, 25)])
def test_what_is_drawn_anew_takes_the_photos_colours(
    portrait: Photo, portrait_face: Face, astronaut_crop: np.ndarray, fault: tuple[int, int, int]
) -> None:
    """An inversion that is off by the same tone everywhere gives the same result as one that is not."""
    original = (astronaut_crop * 0.7 + 35).astype(np.uint8)
    face, edited = portrait_face, with_mouth(original, portrait_face)
    photo = photo_from_array((portrait.pixels * 0.7 + 35).astype(np.uint8))
    off = [(picture.astype(int) + fault).clip(0, 255).astype(np.uint8) for picture in (edited, original)]
    expected = paste_back(photo, face, edited, original=original).astype(int)
    result = paste_back(photo, face, off[0], original=off[1])
    assert np.abs(expected - photo.pixels)[near_mouth(photo, face, 0.04)].mean() > 15
    error = np.abs(result - expected).mean(-1)
    assert error[near_mouth(photo, face, 0.1)].mean() < 2
    assert error.max() < 12


def test_lighter_hair_ends_where_the_photos_hair_ends(whole_face: Callable[..., Face]) -> None:
    """The inversion's outline is three of its pixels (12 of the photo) off; the background takes no light from it."""
    pixels = np.full((512, 512, 3), 190, np.uint8)
    pixels[:, :100] = 40
    photo = photo_from_array(pixels)
    original, edited = np.full((128, 128, 3), 190, np.uint8), np.full((128, 128, 3), 190, np.uint8)
    original[:, :28], edited[:, :28] = 40, 100
    face = whole_face((255.5, 255.5), 512.0)
    rows = slice(220, 290)
    result = paste_back(photo, face, edited, original=original)[rows].astype(int)
    assert np.abs(result[:, 104:300] - 190).max() <= 9
    assert np.abs(result[:, 80:96] - 100).max() <= 12
    old = (photo.pixels[rows].astype(int) + np.kron(edited.astype(int) - original, np.ones((4, 4, 1), int))[rows])
    assert old[:, 104:111].max() >= 240  # the plain difference draws a bright rim there


def test_the_generators_wavering_is_not_pasted(whole_face: Callable[..., Face], astronaut_crop: np.ndarray) -> None:
    random = np.random.default_rng(1)
    photo = photo_from_array(random.integers(0, 256, (300, 300, 3), dtype=np.uint8))
    face = whole_face((149.5, 149.5), 280.0)
    original = (astronaut_crop * 0.9 + 10).astype(np.uint8)
    wavering = (original + random.integers(-4, 5, original.shape)).astype(np.uint8)
    result = paste_back(photo, face, wavering, original=original)
    corner = np.s_[:100, :70]
    assert paste_mask(photo, face)[corner].max() > 0.5
    assert np.array_equal(result[corner], photo.pixels[corner])


def test_a_mirrored_face_gives_the_mirrored_result(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray
) -> None:
    face = astronaut_faces[0]
    edited = with_mouth(np.clip(astronaut_crop * [1.2, 1.0, 0.8], 0, 255).astype(np.uint8), face)
    landmarks, quad = (points * [-1, 1] + [astronaut.width - 1, 0] for points in (face.landmarks, face.quad))
    mirrored = replace(face, landmarks=landmarks, quad=quad[[3, 2, 1, 0]])
    photo = photo_from_array(astronaut.pixels[:, ::-1].copy())
    expected = paste_back(astronaut, face, edited, original=astronaut_crop)[:, ::-1].astype(int)
    result = paste_back(photo, mirrored, edited[:, ::-1], original=astronaut_crop[:, ::-1])
    assert np.abs(result - expected).mean() < 0.1
    assert np.abs(result - expected).max() <= 6


def test_a_turned_photo_gives_the_turned_result(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray
) -> None:
    face = astronaut_faces[0]
    edited = with_mouth(np.clip(astronaut_crop * [1.2, 1.0, 0.8], 0, 255).astype(np.uint8), face)
    turned = replace(face, landmarks=_quarter(face.landmarks, astronaut.width),
                     quad=_quarter(face.quad, astronaut.width))
    photo = photo_from_array(np.rot90(astronaut.pixels).copy())
    expected = np.rot90(paste_back(astronaut, face, edited, original=astronaut_crop)).astype(int)
    result = paste_back(photo, turned, edited, original=astronaut_crop)
    assert np.abs(result - expected).mean() < 0.1
    assert np.abs(result - expected).max() <= 6


def _quarter(points: np.ndarray, width: int) -> np.ndarray:
    """Where points [N, 2] go when the photo is turned by 90 degrees against the clock."""
    return np.stack([points[:, 1], width - 1 - points[:, 0]], 1)


def test_the_photos_detail_fades_where_the_edit_draws_anew_and_stays_where_it_only_tints(
    whole_face: Callable[..., Face],
) -> None:
    """Stripes in the photo that the generator did not draw: kept under a tint, gone under a new shape."""
    size = 200
    pixels = np.full((size, size, 3), 128, np.uint8)
    pixels[:, ::4] += 40
    photo = photo_from_array(pixels, name="stripes")
    face = whole_face((size / 2, size / 2), size * 0.8)
    middle = near_mouth(photo, face, 0.07)
    rows, columns = (slice(axis.min(), axis.max() + 1) for axis in np.nonzero(middle))
    original = np.full((64, 64, 3), 138, np.uint8)

    def stripes(edited: np.ndarray) -> float:
        part = paste_back(photo, face, edited, original=original)[rows, columns].astype(float)
        return float(np.abs(np.diff(part.mean(axis=(0, 2)))).mean())

    tinted = original + np.array([40, 0, 0], np.uint8)
    redrawn = with_mouth(original, face)
    assert stripes(tinted) > 0.9 * stripes(original)
    assert stripes(redrawn) < 0.3 * stripes(original)


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


@pytest.mark.parametrize("middle", [(0.0, 60.0), (100.0, 0.0), (119.0, 99.0)])
def test_an_edit_of_a_face_across_the_photos_edge(
    whole_face: Callable[..., Face], astronaut_crop: np.ndarray, edited: np.ndarray, middle: tuple[float, float]
) -> None:
    """It is what it would be in a larger photo, but for the little that the photo's missing part tells."""
    from PIL import Image

    face = whole_face((middle[0] + 150, middle[1] + 150), 110, 25)
    whole = photo_from_array(np.asarray(Image.fromarray(astronaut_crop).resize((420, 420), Image.Resampling.BICUBIC)))
    part = photo_from_array(whole.pixels[150:250, 150:270].copy())
    expected = paste_back(whole, face, edited, original=astronaut_crop)[150:250, 150:270]
    result = paste_back(part, whole_face(middle, 110, 25), edited, original=astronaut_crop)
    assert np.abs(result.astype(int) - expected)[10:-10, 10:-10].mean() < 1
    assert not np.array_equal(result, part.pixels)


@pytest.mark.parametrize("side", [33.0, 60.0, 700.0])
@pytest.mark.parametrize("size", [16, 128, 512])
def test_any_size_of_face_and_picture(
    whole_face: Callable[..., Face], face_at: Callable[..., Face], side: float, size: int
) -> None:
    """Also a face without landmarks: then nothing tells where its features are, and no more."""
    random = np.random.default_rng(0)
    photo = photo_from_array(random.integers(60, 180, (200, 240, 3), dtype=np.uint8))
    original = random.integers(0, 200, (size, size, 3), dtype=np.uint8)
    for make in (whole_face, face_at):
        face = make((120.0, 100.0), side, -8)
        result = paste_back(photo, face, original + np.uint8(50), original=original).astype(int)
        unchanged = paste_mask(photo, face) == 0
        assert np.array_equal(result[unchanged], photo.pixels[unchanged])
        assert abs((result - photo.pixels)[paste_mask(photo, face) > 0.99].mean() - 50) < 8


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
    with pytest.raises(ValueError, match="the original is uint8"):
        PasteBack.of(astronaut, face, edited)(edited[:64, :64])
    with pytest.raises(ValueError, match="the original is uint8"):
        PasteBack.of(astronaut, face, edited.astype(np.float32))
    for feather in (-0.1, 1.0):
        with pytest.raises(ValueError, match="feather is"):
            paste_back(astronaut, face, edited, feather=feather)
