"""Photos as the page shows them: the part around the face, small enough to be quick, and with the faces outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inversion import Face, PasteBack, Photo, made_smaller, paste_back
from page.jobs.recent import Recent
from page.state.visitor import EditSubject, SubjectView

VIEW_SIDE = 1024    # Photos are shown with at most so many pixels a side; they are saved with all of theirs.
PREVIEW_SIDE = 512  # The same while a slider is dragged, when being quick counts.
VIEW_REACH = 1.5    # Of an edited photo the part around the face is shown, so many times as wide as the crop.
MOST_READY = 16     # Photos kept ready for previews.
CHOSEN, OTHER = (99, 102, 241), (255, 255, 255)  # Colours of the outlines.
_READY: Recent[EditSubject, dict[int, PasteBack]] = Recent(MOST_READY)  # By the side of the edited pictures.


def pasted_pictures(subject: EditSubject, picture: np.ndarray, *,
                    side: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The photo, and the photo with the edited face put back into it.

    Args:
        subject: Of a photo.
        picture: The edited picture, uint8 [R, R, 3]; for previews it may be smaller.
        side: For the page: the part around the face, at most so many pixels a side, since an edit of a small face
            could not be seen otherwise. None: all of the photo, for saving.
    Raises:
        ValueError: there is no photo.
    """
    if subject.photo is None or subject.face is None:
        raise ValueError("there is no photo to put the face back into")
    if side is None:
        return subject.photo.pixels, paste_back(subject.under or subject.photo, subject.face, picture,
                                                original=subject.picture)
    view = view_of(subject, side)
    if side != PREVIEW_SIDE:
        return view.photo.pixels, paste_back(view.under, view.face, picture, original=subject.picture)
    # Asked for at each move of a slider; the photo's part of it takes longer than the edit's.
    ready = _READY.get(subject, dict)
    if len(picture) not in ready:
        ready[len(picture)] = PasteBack.of(view.under, view.face, made_smaller(subject.picture, len(picture)))
    return view.photo.pixels, ready[len(picture)](picture)


def view_of(subject: EditSubject, side: int) -> SubjectView:
    """The part of a subject's photo around its face, at most so many pixels a side."""
    assert subject.photo is not None
    assert subject.face is not None
    if side not in subject.views:
        part, faces = scaled(*around(subject.photo, subject.face), side)
        under = part if subject.under is None else scaled(*around(subject.under, subject.face), side)[0]
        subject.views[side] = SubjectView(part, under, faces[0])
    return subject.views[side]


def lay_under(subject: EditSubject, others: Sequence[tuple[EditSubject, np.ndarray]]) -> None:
    """Have a subject's face put back into its photo as the edits of the photo's other faces leave it.

    Args:
        subject: Of a photo.
        others: Other faces of it, each with its edited picture, uint8 [R, R, 3].
    """
    assert subject.photo is not None
    pixels = subject.photo.pixels
    for other, picture in others:
        assert other.face is not None
        pixels = paste_back(replace(subject.photo, pixels=pixels), other.face, picture, original=other.picture)
    subject.under = replace(subject.photo, pixels=pixels) if others else None
    subject.views.clear()
    _READY.drop(subject)


def around(photo: Photo, face: Face) -> tuple[Photo, list[Face]]:
    """The part of a photo around a face, and the face in it."""
    reach = VIEW_REACH * face.size / 2
    start = np.maximum((face.quad.mean(0) - reach).round().astype(int), 0)
    stop = (face.quad.mean(0) + reach).round().astype(int)  # Slices end with the photo by themselves.
    left, top, right, bottom = (np.array(face.box).reshape(2, 2) - start).ravel().tolist()
    part = replace(photo, pixels=photo.pixels[start[1]:stop[1], start[0]:stop[0]])
    return part, [replace(face, box=(left, top, right, bottom), landmarks=face.landmarks - start,
                          quad=face.quad - start)]


def scaled(photo: Photo, faces: Sequence[Face], side: int) -> tuple[Photo, Sequence[Face]]:
    """A photo and faces in it, made smaller so that the photo has at most `side` pixels a side."""
    if side >= max(photo.width, photo.height):
        return photo, faces
    pixels = made_smaller(photo.pixels, side)
    stretch = np.array(pixels.shape[1::-1]) / (photo.width, photo.height)
    return replace(photo, pixels=pixels), [_stretched(face, stretch) for face in faces]


def _stretched(face: Face, stretch: np.ndarray) -> Face:
    landmarks, quad = ((points + 0.5) * stretch - 0.5 for points in (face.landmarks, face.quad))
    left, top, right, bottom = (np.array(face.box).reshape(2, 2) * stretch).round().astype(int).ravel().tolist()
    return replace(face, box=(left, top, right, bottom), landmarks=landmarks, quad=quad)


def outlined(photo: Photo, faces: Sequence[Face], chosen: int | None) -> np.ndarray:
    """The photo with each face's quad outlined and numbered from 1, the chosen one in colour.

    Returns:
        uint8 [H, W, 3], at most VIEW_SIDE pixels a side.
    """
    view, faces = scaled(photo, faces, VIEW_SIDE)
    image = Image.fromarray(view.pixels)
    draw = ImageDraw.Draw(image)
    width = max(3, round(max(image.size) / 200))
    font = ImageFont.load_default(size=max(14, round(max(image.size) / 28)))
    # The chosen face last, so that no other outline lies over its own.
    for number, face in sorted(enumerate(faces, 1), key=lambda item: item[0] - 1 == chosen):
        colour = CHOSEN if number - 1 == chosen else OTHER
        corners = [(float(x), float(y)) for x, y in face.quad]
        for line, grown in (((0, 0, 0), 2), (colour, 0)):  # A dark rim, to be seen on any photo.
            draw.line([*corners, *corners[:2]], fill=line, width=width + grown, joint="curve")
        x, y = (float(value) for value in np.clip(face.quad.min(0), 0, None) + width)
        left, top, right, bottom = draw.textbbox((x + width * 2, y + width), str(number), font=font)
        draw.rounded_rectangle((left - width * 2, top - width * 2, right + width * 2, bottom + width * 2),
                               radius=width * 2, fill=colour)
        draw.text((x + width * 2, y + width), str(number), font=font,
                  fill=(255, 255, 255) if colour == CHOSEN else (17, 24, 39))
    return np.asarray(image)
