"""Directions and masks: the gradient of a score at w, with the channels that matter to kept attributes set to zero.

Chen et al., "Exploring Gradient-based Multi-directional Controls in GANs" (2022), equations 2 and 3 and algorithm 1.
The classifiers have two layers, so their gradients are written out; every latent has its own, without a Python loop.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradctrl.control import SLOPE, Control

KeepList = Sequence[tuple[Control, int]]  # Attributes to keep, each with the number of channels that it masks.


def gradient(control: Control, w: Tensor, target: int | Tensor = 0) -> Tensor:
    """Gradient of a control's score at w.

    For a class j the score is its log-odds, whose gradient is that of log p_j (equation 2) divided by 1 - p_j: the same
    direction, without the loss of precision where p_j is almost 1.

    Args:
        control: The attribute.
        w: Latents [N, w_dim].
        target: Output j whose score is followed, one for all or [N].
    Returns:
        d score_j / dw [N, w_dim].
    """
    weights = control.classifier
    hidden = torch.nn.functional.linear(w, weights.hidden_weight, weights.hidden_bias)  # [N, H]
    slope = torch.where(hidden > 0, 1.0, SLOPE).to(w.dtype)
    if control.binary:
        outer = weights.out_weight  # [1, H]
    else:
        logits = torch.nn.functional.linear(hidden * slope, weights.out_weight, weights.out_bias)  # [N, C]
        chosen = torch.as_tensor(target, device=w.device).expand(w.shape[0])[:, None]  # [N, 1]
        others = logits.scatter(1, chosen, float("-inf")).softmax(dim=1)  # q_k = p_k / (1 - p_j), 0 at j.
        outer = (-others).scatter(1, chosen, 1.0) @ weights.out_weight  # [N, H]
    return (outer * slope) @ weights.hidden_weight


def mask(w: Tensor, keep: KeepList) -> Tensor:
    """Channels that a direction must not touch at w (algorithm 1).

    For each attribute on the keep list, the channels with the largest |d score / dw| at this w; for a multi-class
    attribute the score of the class that w has now.

    Args:
        w: Latents [N, w_dim].
        keep: Attributes and channel counts; counts above w_dim mask every channel.
    Returns:
        bool [N, w_dim], True where the channel is masked.
    """
    masked = torch.zeros(w.shape, dtype=torch.bool, device=w.device)
    for control, count in keep:
        if count < 0:
            raise ValueError(f"{control.name}: the number of channels must not be negative, not {count}")
        if count == 0:
            continue
        now = 0 if control.binary else control.predict(w)
        top = gradient(control, w, now).abs().topk(min(count, w.shape[1]), dim=1).indices
        masked.scatter_(1, top, True)
    return masked


def direction(control: Control, w: Tensor, *, target: int = 0, keep: KeepList = ()) -> Tensor:
    """The unit-length, masked gradient of one score at each w (equation 3).

    Args:
        control: The attribute to change.
        w: Latents [N, w_dim].
        target: Output whose score rises along the direction.
        keep: Attributes to leave alone, with their channel counts.
    Returns:
        [N, w_dim], each row of length 1; 0 where the mask leaves nothing.
    """
    n = gradient(control, w, target).masked_fill(mask(w, keep), 0)
    # Scaled by its largest entry first: the length of a very small gradient would underflow.
    n = n / n.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(n.dtype).tiny)
    return n / n.norm(dim=1, keepdim=True).clamp_min(torch.finfo(n.dtype).tiny)
