"""Sheets of components: what each does to the mean, to samples, to a face; and films of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from directions.components import Components
from directions.control import ALL_LAYERS
from directions.effects import moved_rows
from generators import Generator, to_pixels

INK, PAPER = (20, 20, 20), (255, 255, 255)


@torch.no_grad()
def component_pictures(generator: Generator, components: Components, numbers: Sequence[int], latents: Tensor,
                       sigmas: Sequence[float], *, layers: tuple[int, int] = ALL_LAYERS, centred: bool = False,
                       side: int = 128, batch: int = 8,
                       on_picture: Callable[[int], None] = lambda count: None) -> np.ndarray:
    """Draw latents moved along components, as GANSpace's visualize.py does.

    Args:
        generator: Of the space that the components are of; of an inversion with tuning, the tuned one.
        components: They move w or z.
        numbers: Which of them.
        latents: z [N, D] where they move z; else w [N, D] or w+ [N, L, D].
        sigmas: How far, from left to right.
        layers: Layer range that is moved.
        centred: Take the latents' own coordinates away first.
        side: Of each picture, in pixels, where the generator draws such.
        batch: Pictures that are drawn at once.
        on_picture: Called with how many pictures were drawn since the last call.
    Returns:
        uint8 [N, len(numbers), len(sigmas), side, side, 3].

    Raises:
        InputError: the components are of another space, or no layer lies in the range.
    """
    components.check(generator)
    rows = []
    for number in numbers:
        ws = moved_rows(generator, components, latents, number, sigmas, layers, centred=centred).flatten(0, 1)
        drawn = []
        for part in ws.split(batch):
            drawn.append(to_pixels(generator.render(part, generator.side_for(side))))
            on_picture(len(part))
        pictures = np.concatenate(drawn)
        rows.append(pictures.reshape(len(latents), len(sigmas), *pictures.shape[1:]))
    return np.stack(rows, axis=1)


@torch.no_grad()
def mixed_pictures(generator: Generator, latents: Tensor, donors: Tensor, *, layers: tuple[int, int] = ALL_LAYERS,
                   side: int = 128, batch: int = 8) -> np.ndarray:
    """Draw latents as they are, and with the rows of a layer range as each of some donors has them.

    Style mixing (Karras et al. 2019, section 3.1); with fresh donors, resampling of layers (GANSpace, figure 7).

    Args:
        generator: The generator.
        latents: w [N, D] or w+ [N, L, D].
        donors: w [M, D] or w+ [M, L, D].
        layers: Layer range.
        side: Of each picture, in pixels, where the generator draws such.
        batch: Pictures that are drawn at once.
    Returns:
        uint8 [N, 1 + M, side, side, 3], the first of each row unmixed.

    Raises:
        InputError: no layer lies in the range.
    """
    start, stop = generator.rows(layers)
    ws = generator.broadcast(latents)[:, None].repeat(1, 1 + len(donors), 1, 1)  # [N, 1 + M, L, D]
    ws[:, 1:, start:stop] = generator.broadcast(donors)[:, start:stop]
    drawn = [to_pixels(generator.render(part, generator.side_for(side))) for part in ws.flatten(0, 1).split(batch)]
    pictures = np.concatenate(drawn)
    return pictures.reshape(len(latents), 1 + len(donors), *pictures.shape[1:])


def labelled(pictures: np.ndarray, names: Sequence[str], *, width: int = 150) -> np.ndarray:
    """Rows of pictures uint8 [rows, columns, H, W, 3] as one, with a name on the left of each row.

    A name may have several lines.
    """
    rows, columns, height, across, _ = pictures.shape
    sheet = Image.new("RGB", (width + columns * across, rows * height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, (line, name) in enumerate(zip(pictures, names, strict=True)):
        pen.text((4, row * height + 6), name, fill=INK)
        for column, picture in enumerate(line):
            sheet.paste(Image.fromarray(picture), (width + column * across, row * height))
    return np.asarray(sheet)
