"""Faces: all of them, largest first, at any size; and descriptors that know a person again."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from inversion import faces as faces_module
from inversion.alignment import FaceTooSmallError, align, quad_of
from inversion.faces import (
    SAME_PERSON,
    Face,
    NoFaceError,
    SeveralFacesError,
    choose_face,
    describe,
    describe_crop,
    find_faces,
    find_upright,
    identity_distance,
)
from inversion.photo import Photo, open_photo, photo_from_array
from weights.errors import InputError

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
EYES_AND_MOUTH = {"left eye": (36, 42), "right eye": (42, 48), "mouth": (48, 60)}


def resized(photo: Photo, side: int) -> Photo:
    image = Image.fromarray(photo.pixels).resize((side, side), Image.Resampling.BICUBIC)
    return photo_from_array(image, name=photo.name)


@pytest.fixture(scope="module")
def pair(astronaut: Photo) -> Photo:
    """The same woman three times on one photo, once large and twice smaller."""
    canvas = np.full((512, 1100, 3), 128, np.uint8)
    small = np.asarray(Image.fromarray(astronaut.pixels[:300]).resize((410, 240), Image.Resampling.BICUBIC))
    smaller = small[:, 50:350]
    canvas[:240, :410], canvas[:512, 420:932] = small, astronaut.pixels
    canvas[260:500, 10:310] = smaller[:, ::-1]
    return photo_from_array(canvas, name="group.jpg")


# ---- finding


def test_the_face_is_where_it_is(astronaut_faces: list[Face]) -> None:
    assert len(astronaut_faces) == 1
    face = astronaut_faces[0]
    centres = {part: face.landmarks[start:stop].mean(0) for part, (start, stop) in EYES_AND_MOUTH.items()}
    for part, place in (("left eye", (203, 101)), ("right eye", (247, 103)), ("mouth", (223, 146))):  # read off by eye
        assert np.abs(centres[part] - place).max() < 4, part
    left, top, right, bottom = face.box
    assert 160 < left < 200 < 250 < right < 290
    assert 60 < top < 100 < 160 < bottom < 190
    assert face.score > 1
    assert face.landmarks.shape == (68, 2)
    assert np.array_equal(face.quad, quad_of(face.landmarks))
    assert 150 < face.size < 200
    assert not face.landmarks.flags.writeable
    assert not face.quad.flags.writeable


def test_landmarks_follow_the_photos_scale(astronaut: Photo, astronaut_faces: list[Face]) -> None:
    side = astronaut_faces[0].size
    for scale in (0.75, 2, 4):
        face = find_faces(resized(astronaut, round(512 * scale)))[0]
        back = (face.landmarks + 0.5) / scale - 0.5
        assert np.abs(back - astronaut_faces[0].landmarks).mean() < 0.012 * side
        assert np.abs((face.quad + 0.5) / scale - 0.5 - astronaut_faces[0].quad).max() < 0.04 * side


def test_a_mirrored_face_has_the_mirrored_angles(astronaut: Photo, astronaut_faces: list[Face]) -> None:
    mirrored = find_faces(photo_from_array(astronaut.pixels[:, ::-1].copy()))[0]
    face = astronaut_faces[0]
    assert mirrored.roll == pytest.approx(-face.roll, abs=3)
    assert mirrored.yaw == pytest.approx(-face.yaw, abs=6)
    for turn in (-15, 15):
        turned = find_faces(photo_from_array(Image.fromarray(astronaut.pixels).rotate(turn)))[0]
        assert turned.roll == pytest.approx(face.roll - turn, abs=3)


def test_yaw_is_positive_to_the_photos_right(astronaut_faces: list[Face]) -> None:
    landmarks = astronaut_faces[0].landmarks.copy()
    landmarks[30] += (15, 0)
    turned = Face((0, 0, 1, 1), 1.0, landmarks, astronaut_faces[0].quad)
    assert turned.yaw > astronaut_faces[0].yaw + 5


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_photo_on_its_side_is_turned(astronaut: Photo, astronaut_faces: list[Face], degrees: int) -> None:
    """As files are whose orientation got lost: stored turned, and nothing says so."""
    found = find_upright(astronaut.turned(-degrees % 360))
    assert found.turned == degrees
    assert np.array_equal(found.photo.pixels, astronaut.pixels)
    assert [face.box for face in found.faces] == [face.box for face in astronaut_faces]
    assert found.photo.sha256 == astronaut.sha256
    assert len(found.photo.warnings) == bool(degrees)
    assert all("turned" in text for text in found.photo.warnings)


def test_a_photo_without_faces_is_refused_however_it_is_turned() -> None:
    ys, xs = np.mgrid[:300, :400]
    empty = photo_from_array(np.stack([xs % 256, ys % 256, (xs + ys) % 256], -1).astype(np.uint8), name="empty.png")
    with pytest.raises(NoFaceError, match=r"empty\.png: no face was found"):
        find_upright(empty)


def test_every_face_is_found_largest_first(pair: Photo) -> None:
    faces = find_faces(pair)
    assert len(faces) == 3
    assert [face.size for face in faces] == sorted((face.size for face in faces), reverse=True)
    assert 420 < faces[0].box[0] < 932
    assert all(face.box[2] < 420 for face in faces[1:])
    limited = find_faces(pair, limit=1)
    assert [face.box for face in limited] == [faces[0].box]


@pytest.mark.parametrize("quality", [60, 75, 95])
@pytest.mark.parametrize("scale", [1, 1.5, 2])
def test_a_badge_on_the_suit_is_no_face(astronaut: Photo, quality: int, scale: float) -> None:
    file = io.BytesIO()
    Image.fromarray(resized(astronaut, round(512 * scale)).pixels).save(file, "JPEG", quality=quality)
    photo = open_photo(io.BytesIO(file.getvalue()))
    assert [round(face.box[0] / scale / 20) for face in find_faces(photo)] == [9]
    assert len(find_faces(photo, doubtful=True)) >= 1


def test_a_doubtful_box_is_returned_where_there_is_no_clear_face(astronaut: Photo) -> None:
    both = find_faces(astronaut, doubtful=True)
    assert len(both) == 2  # the face, and a badge with a score just above the detector's threshold
    assert both[1].score < 0.5
    badge = photo_from_array(astronaut.pixels[270:].copy())
    assert len(find_faces(badge)) == 1


def test_a_faint_face_beside_a_clear_one_is_kept(astronaut: Photo) -> None:
    """Turned by 20 degrees, the same woman scores low; she is still a face."""
    turned = np.asarray(Image.fromarray(astronaut.pixels).rotate(20, Image.Resampling.BICUBIC, center=(222, 126)))
    photo = photo_from_array(np.concatenate([astronaut.pixels[:260], turned[:260]], 1))
    faint = [face for face in find_faces(photo) if face.box[0] > 512]
    assert len(faint) == 1
    assert faint[0].score < faces_module._CLEAR


def test_a_small_face_is_found_at_the_second_look(astronaut: Photo) -> None:
    photo = resized(astronaut, 256)
    assert faces_module._detect(photo.pixels, 1.0) == []
    face = find_faces(photo)[0]
    assert np.abs(face.landmarks[48:60].mean(0) - (111.5, 73)).max() < 3


def test_looks_grow_to_twice_the_photo_and_stay_affordable() -> None:
    for size in ((300, 200), (1024, 1024), (2400, 1600), (6000, 4000), (7000, 5700), (40_000, 1000)):
        looks = faces_module._looks(*size)
        assert looks[0] == min(1.0, 2400 / max(size))
        assert all(1.19 < after / before <= 2.0001 for before, after in pairwise(looks))
        assert looks[-1] <= 2
        assert size[0] * size[1] * looks[-1] ** 2 <= 25_100_000
    assert faces_module._looks(300, 200) == [1.0, 2.0]


def test_landmarks_of_a_large_photo(astronaut: Photo) -> None:
    photo = resized(astronaut, 6000)
    face = find_faces(photo)[0]
    assert np.abs(face.landmarks[48:60].mean(0) / (6000 / 512) - (223, 146)).max() < 4


def test_no_face_is_an_error_that_says_what_to_do() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for pixels in (noise, np.full((90, 40, 3), 200, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        with pytest.raises(NoFaceError, match=r"^sea\.png: no face was found; use a photo in which") as caught:
            find_faces(photo_from_array(pixels, name="sea.png"))
        assert isinstance(caught.value, InputError)
        assert "\n" not in str(caught.value)


# ---- choosing


def test_choosing(pair: Photo, astronaut_faces: list[Face]) -> None:
    faces = find_faces(pair)
    assert choose_face(astronaut_faces) is astronaut_faces[0]
    assert choose_face(faces, 2) is faces[2]
    left, top, right, bottom = faces[1].box
    with pytest.raises(SeveralFacesError, match=r"^group\.jpg: 3 faces were found; choose one with --face N: 1: ") as e:
        choose_face(faces, name="group.jpg")
    assert f"2: left {left} top {top} right {right} bottom {bottom}" in str(e.value)
    for index in (3, -1):
        with pytest.raises(SeveralFacesError, match=rf"there is no face {index + 1}; choose one with --face N: 1: "):
            choose_face(faces, index)
    with pytest.raises(NoFaceError):
        choose_face([])


def test_a_face_too_small_to_edit(astronaut_faces: list[Face]) -> None:
    landmarks = astronaut_faces[0].landmarks / 8
    tiny = Face((0, 0, 9, 9), 1.0, landmarks, quad_of(landmarks))
    with pytest.raises(FaceTooSmallError, match=r"^far\.jpg: .*too small \(22 pixels across, 32 are needed\); use a"):
        choose_face([tiny], name="far.jpg")


# ---- who it is


def test_descriptors_know_the_same_person(
    astronaut: Photo, astronaut_faces: list[Face], astronaut_crop: np.ndarray
) -> None:
    own = describe(astronaut, astronaut_faces[0])
    assert own.shape == (128,)
    assert own.dtype == np.float32
    assert identity_distance(own, own) == 0
    assert identity_distance(own, describe(astronaut.pixels, astronaut_faces[0])) == 0
    large = resized(astronaut, 3000)
    assert identity_distance(own, describe(large, find_faces(large)[0])) < 0.2
    mirrored = photo_from_array(astronaut.pixels[:, ::-1].copy())
    assert identity_distance(own, describe(mirrored, find_faces(mirrored)[0])) < 0.4


@pytest.mark.parametrize("size", [64, 128, 256, 1024])
def test_the_fixed_place_agrees_with_the_detector(astronaut: Photo, astronaut_faces: list[Face], size: int) -> None:
    crop = align(astronaut, astronaut_faces[0], size)
    found = photo_from_array(crop)
    detected = describe(found, find_faces(found)[0])
    by_place = describe_crop(crop)
    assert identity_distance(by_place, detected) < 0.2
    assert identity_distance(by_place, describe(astronaut, astronaut_faces[0])) < 0.3


def test_a_soft_crop_has_a_descriptor_though_nothing_is_detected(astronaut_crop: np.ndarray) -> None:
    soft = np.array(Image.fromarray(astronaut_crop).filter(ImageFilter.GaussianBlur(5)))
    with pytest.raises(NoFaceError):
        find_faces(photo_from_array(soft))
    assert 0.1 < identity_distance(describe_crop(soft), describe_crop(astronaut_crop)) < 1.5


def test_threads_do_not_disturb_each_other(astronaut: Photo, pair: Photo) -> None:
    def work(photo: Photo) -> tuple[list[tuple[int, ...]], np.ndarray]:
        faces = find_faces(photo)
        return [face.box for face in faces], describe(photo, faces[0])

    photos = [astronaut, pair] * 3
    alone = [work(photo) for photo in photos[:2]]
    with ThreadPoolExecutor(4) as pool:
        for (boxes, descriptor), photo in zip(pool.map(work, photos), photos, strict=True):
            expected = alone[photos.index(photo)]
            assert boxes == expected[0]
            assert np.array_equal(descriptor, expected[1])


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the project's test photos are not here")
def test_people_are_told_apart() -> None:
    own, crops, right = [], [], 0
    for path in sorted(PHOTOS.glob("*.jpg"))[::17]:
        photo = open_photo(path)
        face = find_faces(photo)[0]
        own.append(describe(photo, face))
        crops.append(describe_crop(align(photo, face, 128)))
    for i, a in enumerate(own):
        distances = [identity_distance(a, b) for b in crops]
        assert distances[i] < SAME_PERSON / 2
        right += sum(distance > SAME_PERSON for j, distance in enumerate(distances) if j != i)
    assert right >= 0.8 * len(own) * (len(own) - 1)


# ---- the house rules


def test_importing_is_light() -> None:
    names = "inversion.photo, inversion.faces, inversion.alignment, inversion.paste"
    heavy = "{'dlib', 'cv2', 'torch', 'PIL.Image', 'scipy'}"
    code = f"import sys, {names}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[2])
    assert done.stdout.strip() == "[]"


def test_missing_data_file_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"absent\.dat: dlib's data file is missing; run: pip install face_recog"):
        faces_module._data_file("absent.dat")
