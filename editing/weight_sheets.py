"""Pictures of directions of weights: samples or a face moved along each, as rows of a sheet and as films."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from directions.navigan.basis import WeightBasis
from generators import Generator, WeightShift, to_pixels
from inversion import made_smaller


@torch.no_grad()
def deformed_pictures(generator: Generator, basis: WeightBasis, numbers: Sequence[int], latents: Tensor,
                      strengths: Sequence[float], *, side: int = 128, batch: int = 8,
                      on_picture: Callable[[int], None] = lambda count: None) -> np.ndarray:
    """Draw latents by a generator whose weights are moved along directions.

    Args:
        generator: Of the weights that the basis is of; of an inversion with tuning, the tuned one.
        basis: The directions, with recommended lengths.
        numbers: Which of them.
        latents: w [N, w_dim] or w+ [N, num_ws, w_dim].
        strengths: How far, from left to right, in recommended lengths.
        side: Of each picture, in pixels.
        batch: Pictures that are drawn at once.
        on_picture: Called with how many pictures were drawn since the last call.
    Returns:
        uint8 [N, len(numbers), len(strengths), side, side, 3].
    """
    ws = latents.repeat_interleave(len(strengths), dim=0)
    drawn_side, rows = generator.side_showing(basis.layer, side), []
    for number in numbers:
        direction = basis.directions[number:number + 1].to(latents)
        amounts = float(basis.lengths[number]) * torch.tensor([*strengths] * len(latents))[:, None].to(latents)
        drawn = []
        for part, own in zip(ws.split(batch), amounts.split(batch), strict=True):
            moved = generator.shifted({basis.layer: WeightShift(direction, own)})
            drawn += [made_smaller(picture, side) for picture in to_pixels(moved.render(part, drawn_side))]
            on_picture(len(part))
        pictures = np.stack(drawn)
        rows.append(pictures.reshape(len(latents), len(strengths), *pictures.shape[1:]))
    return np.stack(rows, axis=1)
