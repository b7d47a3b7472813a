"""The losses of StyleGAN2, to be minimised, and the penalties, with what is worth noting about them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN_DECAY = 0.01  # Of the running mean of path lengths (Karras et al. 2020, appendix B: 0.99 is kept).


def loss_as_real(logits: Tensor) -> Tensor:
    """-log sigmoid D, mean over pictures that are to pass for real: softplus(-D).

    Of fakes it is the generator's non-saturating loss (Goodfellow et al. 2014, section 3); of real pictures it is one
    half of the discriminator's loss.
    """
    return F.softplus(-logits).mean()


def loss_as_fake(logits: Tensor) -> Tensor:
    """-log(1 - sigmoid D), mean over pictures that are to be found out: softplus(D); the discriminator's other half."""
    return F.softplus(logits).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared gradient of the logits at real pictures, |dD(x)/dx|^2 (Mescheder et al. 2018, equation 9).

    Without its factor gamma / 2. The pictures are those that the discriminator gets, after augmentation: they are its
    data, and the resampling in the augmentation has no second derivative.

    Args:
        discriminator: Pictures [N, C, R, R] to logits [N].
        real: The pictures, augmented.
    Returns:
        The penalty [], in the graph of the discriminator's weights, and the logits [N], detached.
    """
    real = real.detach().requires_grad_(True)
    logits = discriminator(real)
    [gradient] = torch.autograd.grad(logits.sum(), [real], create_graph=True)
    return gradient.square().sum(dim=[1, 2, 3]).mean(), logits.detach()


def path_lengths(render: Callable[[Tensor], Tensor], ws: Tensor, noise: Tensor) -> Tensor:
    """How far the picture moves as w does, in a random direction of the picture: |J^T y| for each of ws; [N].

    Karras et al. 2020, equation 4, with y ~ N(0, I) scaled by the picture's side, so that the lengths do not grow
    with the resolution.

    Args:
        render: w+ [N, num_ws, w_dim] to pictures [N, C, R, R].
        ws: w+, in the graph of the mapping network's weights.
        noise: y, [N, C, R, R], of unit variance.
    """
    pictures = render(ws)
    side = (pictures.shape[2] * pictures.shape[3]) ** 0.5
    [gradient] = torch.autograd.grad((pictures * (noise / side)).sum(), [ws], create_graph=True)
    # One w moves all rows at once; the mean over the rows keeps lengths alike for all resolutions, as NVIDIA's does.
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean squared difference of path lengths from their running mean (equation 4), and the new mean [].

    Args:
        lengths: From `path_lengths`, [N].
        mean: The mean so far; None: none yet, and that of these lengths is the first.
    """
    average = lengths.detach().mean()
    mean = average if mean is None else mean.lerp(average, MEAN_DECAY)
    return (lengths - mean).square().mean(), mean
