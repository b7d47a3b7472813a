"""Alignment: the FFHQ quad, and a crop that is the same picture however the photo was held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from inversion import Face, find_faces
from inversion import alignment as align_module
from inversion.alignment import FaceTooSmallError, align, check_face_size, quad_of, quad_side
from inversion.photo import Photo, photo_from_array

Faces = list[Face]


def ramps(height: int, width: int, x: float, y: float) -> np.ndarray:
    """Red tells the column, green the row, in steps of x and y levels a pixel; blue is 77."""
    ys, xs = np.mgrid[:height, :width]
    return np.stack([xs * x, ys * y, np.full_like(xs, 77)], -1).round().astype(np.uint8)


def sampled(pixels: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The crop by definition: the photo at each crop pixel's place, [size, size, 3]."""
    steps = (np.arange(size) + 0.5) / size
    places = quad[0] + steps[None, :, None] * (quad[3] - quad[0]) + steps[:, None, None] * (quad[1] - quad[0])
    where = [places[..., 1], places[..., 0]]
    planes = [ndimage.map_coordinates(pixels[..., c].astype(float), where, order=1, mode="mirror") for c in range(3)]
    return np.stack(planes, -1)


def moved(face: Face, matrix: np.ndarray, shift: np.ndarray) -> Face:
    """The same face after its photo's pixel coordinates went through matrix @ x + shift."""
    landmarks = face.landmarks @ matrix.T + shift
    return Face(face.box, face.score, landmarks, quad_of(landmarks))


def differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


# ---- the quad


def test_quad_against_an_independent_computation() -> None:
    """The same recipe in complex numbers: a point is x + iy, a quarter turn is a product with i."""
    random = np.random.default_rng(0)
    for _ in range(20):
        landmarks = random.random((68, 2)) * 200
        z = landmarks[:, 0] + 1j * landmarks[:, 1]
        left, right, mouth = z[36:42].mean(), z[42:48].mean(), (z[48] + z[54]) / 2
        eyes = (left + right) / 2
        across = (right - left) - 1j * (mouth - eyes)
        x = across / abs(across) * max(2 * abs(right - left), 1.8 * abs(mouth - eyes))
        centre = eyes + 0.1 * (mouth - eyes)
        corners = np.array([centre + x * (a + 1j * b) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))])
        assert np.allclose(quad_of(landmarks), np.stack([corners.real, corners.imag], -1))


def test_quad_of_an_upright_face_by_hand() -> None:
    """Eyes 60 apart, mouth 70 below: side = max(4 * 60, 3.6 * 70) = 252 about a middle 7 below the eyes."""
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48] = (170, 200), (230, 200)
    landmarks[48], landmarks[54] = (180, 270), (220, 270)
    assert np.allclose(quad_of(landmarks), [[74, 81], [74, 333], [326, 333], [326, 81]])


def test_quad_moves_with_the_landmarks(astronaut_faces: Faces) -> None:
    angle, scale, shift = 0.7, 1.9, np.array([12.5, -40.0])
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face = astronaut_faces[0]
    assert np.allclose(quad_of(face.landmarks @ matrix.T + shift), face.quad @ matrix.T + shift)
    sides = np.linalg.norm(np.roll(face.quad, 1, 0) - face.quad, axis=1)
    assert np.allclose(sides, quad_side(face.quad))


# ---- the crop


@pytest.mark.parametrize("turn", [0.0, 17.0, 140.0])
@pytest.mark.parametrize(("side", "size"), [(100.0, 64), (120.7, 32), (103.7, 333), (123.0, 28), (110.0, 8)])
def test_each_crop_pixel_shows_its_place(face_at: Callable[..., Face], turn: float, side: float, size: int) -> None:
    """On ramps a crop pixel's colour is its place; their mean error is how far the whole crop is shifted.

    Bilinear sampling rounds down (in FFHQ's own crops as well): that darkens a ramp and its negative alike, whereas a
    shift brightens the one as it darkens the other.
    """
    face = face_at((122.3, 121.8), side, turn)
    errors = []
    for pixels in (ramps(250, 250, 1, 1), 255 - ramps(250, 250, 1, 1)):
        crop = align(photo_from_array(pixels), face, size)
        assert crop.shape == (size, size, 3)
        errors.append((crop - sampled(pixels, face.quad, size))[1:-1, 1:-1])
        assert np.abs(errors[-1]).max() <= 2.5
    shift = (errors[0] - errors[1])[..., :2].mean((0, 1)) / 2
    assert np.abs(shift).max() < 0.25, shift  # photo pixels, of which half a one would be the usual mistake


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_against_direct_sampling_of_the_photograph(astronaut: Photo, astronaut_faces: Faces, size: int) -> None:
    smooth = ndimage.gaussian_filter(astronaut.pixels.astype(float), [6, 6, 0]).round().astype(np.uint8)
    crop = align(photo_from_array(smooth), astronaut_faces[0], size)
    expected = sampled(smooth, astronaut_faces[0].quad, size)
    assert np.abs(crop - expected)[2:-2, 2:-2].mean() < 0.8


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_photo_turned_by_quarters_gives_the_same_crop(
    astronaut: Photo, astronaut_faces: Faces, astronaut_crop: np.ndarray, turns: int
) -> None:
    matrix, shift = np.eye(2), np.zeros(2)
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])  # np.rot90: (x, y) -> (y, 511 - x)
    for _ in range(turns):
        matrix, shift = quarter @ matrix, quarter @ shift + (0, 511)
    photo = photo_from_array(np.rot90(astronaut.pixels, turns).copy())
    crop = align(photo, moved(astronaut_faces[0], matrix, shift), 128)
    assert differences(crop, astronaut_crop).max() <= 2


@pytest.mark.parametrize("turn", [-12, 7])
def test_the_photo_turned_a_little_gives_nearly_the_same_crop(
    astronaut: Photo, astronaut_crop: np.ndarray, turn: int
) -> None:
    from PIL import Image

    turned = Image.fromarray(astronaut.pixels).rotate(turn, Image.Resampling.BICUBIC, fillcolor=(200, 190, 190))
    photo = photo_from_array(turned)
    face = find_faces(photo)[0]
    assert abs(face.roll - (3.0 - turn)) < 3
    assert differences(align(photo, face, 128), astronaut_crop)[24:104, 24:104].mean() < 10


@pytest.mark.parametrize("scale", [0.8, 2.0, 4.0])
def test_the_photo_scaled_gives_nearly_the_same_crop(
    astronaut: Photo, astronaut_faces: Faces, astronaut_crop: np.ndarray, scale: float
) -> None:
    from PIL import Image

    side = round(512 * scale)
    photo = photo_from_array(Image.fromarray(astronaut.pixels).resize((side, side), Image.Resampling.BICUBIC))
    exact = moved(astronaut_faces[0], np.eye(2) * side / 512, np.full(2, (side / 512 - 1) / 2))
    assert differences(align(photo, exact, 128), astronaut_crop).mean() < 2.5
    found = find_faces(photo)[0]
    assert differences(align(photo, found, 128), astronaut_crop).mean() < 10


# ---- beyond the photo's edge


def test_a_quad_well_inside_is_not_padded(
    astronaut: Photo, astronaut_faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("padded")

    monkeypatch.setattr(align_module, "_pad", never)
    assert align(astronaut, astronaut_faces[0], 64).shape == (64, 64, 3)


@pytest.mark.parametrize("middle", [(10.0, 150.0), (290.0, 150.0), (150.0, 10.0), (5.0, 295.0)])
def test_padding_of_one_colour_is_that_colour(face_at: Callable[..., Face], middle: tuple[float, float]) -> None:
    photo = photo_from_array(np.full((300, 300, 3), (30, 120, 210), np.uint8))
    assert (align(photo, face_at(middle, 200, 20), 64) == (30, 120, 210)).all()


def test_padding_reflects_blurs_and_fades(face_at: Callable[..., Face]) -> None:
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    pixels[:, :40, 0] //= 2  # darker near the left edge, to be seen again beyond it
    crop = align(photo_from_array(pixels), face_at((0.0, 200.0), 256), 256).astype(float)
    inside, outside = crop[60:196, 180:], crop[60:196, 20:118]
    assert outside.min() > 20  # no black beyond the photo
    assert outside[..., 1].std() < 0.25 * inside[..., 1].std()  # noise is blurred away
    near, far = crop[60:196, 115:126, 0].mean(), crop[60:196, :10, 0].mean()
    assert abs(near - 64) < 8  # what the edge shows is reflected ...
    assert abs(far - np.median(pixels[..., 0])) < abs(near - np.median(pixels[..., 0]))  # ... and fades to the median
    step = np.abs(np.diff(crop[60:196, 100:156].mean((0, 2)))).max()
    assert step < 24  # no seam at the photo's edge


def test_half_a_face_at_the_edge_is_still_that_face(
    astronaut: Photo, astronaut_faces: Faces, astronaut_crop: np.ndarray
) -> None:
    cut = int(astronaut_faces[0].quad[:, 1].min()) + 30  # the hair is cut off
    face = moved(astronaut_faces[0], np.eye(2), np.array([0.0, -cut]))
    crop = align(photo_from_array(astronaut.pixels[cut:].copy()), face, 128)
    assert differences(crop, astronaut_crop)[64:].max() <= 2
    assert differences(crop, astronaut_crop)[40:].mean() < 1


@pytest.mark.parametrize("sigma", [1.5, 6.0, 9.0, 17.0])
def test_wide_blurs_are_gaussian(astronaut: Photo, sigma: float) -> None:
    picture = astronaut.pixels.astype(np.float32)
    exact = ndimage.gaussian_filter(picture, [sigma, sigma, 0])
    assert np.abs(align_module.blurred(picture, sigma) - exact).max() < 1.5
    assert np.abs(align_module.blurred(picture, sigma) - exact).mean() < 0.2


# ---- refused


def test_a_face_too_small_is_refused(face_at: Callable[..., Face]) -> None:
    photo = photo_from_array(np.zeros((100, 100, 3), np.uint8), name="far.jpg")
    with pytest.raises(FaceTooSmallError, match=r"^far\.jpg: the face is too small \(20 pixels across, 32 are need"):
        align(photo, face_at((50.0, 50.0), 20), 64)
    check_face_size(face_at((50.0, 50.0), 32.1))


def test_a_face_of_another_photo_is_refused(face_at: Callable[..., Face]) -> None:
    with pytest.raises(ValueError, match="wholly outside"):
        align(photo_from_array(np.zeros((50, 50, 3), np.uint8)), face_at((500.0, 50.0), 100), 64)
