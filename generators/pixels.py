"""Between the generator's pictures, float [N, 3, H, W] in [-1, 1], and pixels, uint8 [N, H, W, 3]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_bytes(pictures: Tensor) -> Tensor:
    """Round pictures in [-1, 1] to uint8 of the same shape, on their device; values outside are clipped."""
    return (pictures.detach().float() * 127.5 + 127.5).round_().clamp_(0, 255).to(torch.uint8)


def from_bytes(pictures: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn uint8 pictures of any shape into pictures in [-1, 1], on their device."""
    return pictures.to(dtype) / 127.5 - 1


def to_pixels(pictures: Tensor) -> np.ndarray:
    """Round pictures [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]; values outside are clipped."""
    return to_bytes(pictures).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_pixels(pixels: np.ndarray, *, device: torch.device | str = "cpu",
                dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn uint8 [N, H, W, 3] (or one [H, W, 3]) into pictures [N, 3, H, W] in [-1, 1].

    Raises:
        ValueError: not uint8, or another shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != 3:
        raise ValueError(f"pixels must be uint8 [N, H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    batch = torch.tensor(pixels if pixels.ndim == 4 else pixels[None])  # A copy: the caller keeps the array.
    return from_bytes(batch.to(device).permute(0, 3, 1, 2), dtype)
