"""Sheets: groups of pictures side by side with a caption above each, as one picture to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHOWN = 256             # Pixels: the least side at which pictures are shown, so that captions fit.
GAP, CAPTION = 12, 20   # Between groups, and above each picture for its caption.
INK, PAPER = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures uint8 [S, S, 3] of one size that belong side by side, and what stands above each."""

    pictures: Sequence[np.ndarray]
    captions: Sequence[str]


def sheet(groups: Sequence[Group], columns: int) -> np.ndarray:
    """Lay groups out in rows of so many, uint8 [H, W, 3]; all must have as many pictures, of the same size.

    Raises:
        ValueError: no groups, or they differ.
    """
    shapes = {tuple(picture.shape for picture in group.pictures) for group in groups}
    if len(shapes) != 1 or any(len(group.pictures) != len(group.captions) for group in groups):
        raise ValueError(f"groups of equal pictures with a caption each are needed, not {sorted(shapes)}")
    side, many = groups[0].pictures[0].shape[0], len(groups[0].pictures)
    width, height = side * many + GAP, side + CAPTION + GAP
    rows = -(-len(groups) // columns)
    image = Image.new("RGB", (width * min(columns, len(groups)) + GAP, height * rows + GAP), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(CAPTION * 0.65)
    for index, group in enumerate(groups):
        left, top = GAP + width * (index % columns), GAP + height * (index // columns)
        for place, (picture, caption) in enumerate(zip(group.pictures, group.captions, strict=True)):
            fits = next(text for text in _ever_shorter(caption) if draw.textlength(text, font) <= side - 4)
            draw.text((left + place * side + 2, top + CAPTION / 2), fits, INK, font, anchor="lm")
            image.paste(Image.fromarray(picture), (left + place * side, top + CAPTION))
    return np.asarray(image)


def _ever_shorter(caption: str) -> Iterator[str]:
    yield caption
    for length in range(len(caption) - 1, -1, -1):
        yield f"{caption[:length]}..." if length else ""


def brought(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 [S, S, 3] at another side, bicubic; as it is where it has that side."""
    if len(picture) == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
