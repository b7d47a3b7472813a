"""How alike pictures are: MS-SSIM, and the colours of faces."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FACE_MIDDLE, FACE_RADII = (0.5, 0.55), (0.21, 0.29)  # Of an ellipse within a face, in sides of the aligned crop.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Of the scales, finest first (Wang et al. 2003).
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def ms_ssim(a: Tensor, b: Tensor) -> float:
    """Multi-scale structural similarity of two pictures [1, 3, H, W] in [-1, 1]; 1 for the same picture.

    Wang, Simoncelli and Bovik, "Multi-scale Structural Similarity for Image Quality Assessment" (2003). As many of the
    five scales are taken as the window fits into, four at 128 pixels, their weights made to sum to 1 again.
    """
    a, b = (a.double() + 1) / 2, (b.double() + 1) / 2
    scales = next(n for n in range(len(WEIGHTS), 0, -1) if min(a.shape[2:]) >> (n - 1) >= WINDOW)
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64)
    weights /= weights.sum()
    result = torch.ones([], dtype=torch.float64)
    for scale, weight in enumerate(weights):
        light, structure = _parts(a, b)
        value = (light * structure if scale == scales - 1 else structure).mean(dim=[0, 2, 3])  # Of each colour.
        result = result * value.clamp_min(0).pow(weight).mean()
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return float(result)


def face_colour(picture: np.ndarray) -> np.ndarray:
    """Mean colour of the face in an aligned crop uint8 [S, S, 3], in CIELAB: float32 [3]."""
    import cv2

    side = len(picture)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    face = np.hypot((x - FACE_MIDDLE[0]) / FACE_RADII[0], (y - FACE_MIDDLE[1]) / FACE_RADII[1]) < 1
    colours = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(colours[face].mean(axis=0), np.float32)


def _parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of light, and of contrast and structure together, at each place."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a, variance_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1),
            (2 * covariance + C2) / (variance_a + variance_b + C2))


def _blurred(x: Tensor) -> Tensor:
    taps = torch.exp(-(torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2) ** 2 / (2 * SIGMA**2))
    taps = taps / taps.sum()
    channels = x.shape[1]
    x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
