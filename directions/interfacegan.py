"""InterFaceGAN: the normal of a linear boundary in W is the direction.

Shen, Gu, Tang and Zhou, "Interpreting the Latent Space of GANs for Semantic Face Editing" (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from directions.boundaries import SHARE, check, fit_boundaries, linear_control
from directions.linear import LinearControl
from gradctrl import Scores


def fit_interfacegan(latents: Tensor, scores: Mapping[str, Scores], *, share: float = SHARE,
                     regularisation: float = 1.0) -> list[LinearControl]:
    """Fit a control for each attribute: normals of support vector machines on the most confident samples.

    A multi-class attribute has one machine a class, against the rest; one whose classes have an order has one for each
    place where it can be cut in two (see `LinearControl`). By default each control keeps all other attributes, by
    conditional manipulation.

    Args:
        latents: w [N, w_dim].
        scores: Scores [N, C] by attribute.
        share: Share of the samples that are examples, on each side.
        regularisation: C of the machines; larger follows the examples more closely.
    Returns:
        One control an attribute, in the order of `scores`; the same for the same input.

    Raises:
        InputError: scikit-learn is missing, scores do not fit the latents, or an attribute has too few examples.
    """
    check(latents, scores)
    x = latents.detach().cpu().float()
    controls = []
    for item in scores.values():
        boundaries = fit_boundaries(x, item, share=share, regularisation=regularisation)
        normals = torch.stack([boundary.normal for boundary in boundaries])
        keep = [other.attribute for other in scores.values() if other.attribute != item.attribute]
        controls.append(linear_control(item, x, normals, boundaries, method="interfacegan", keep=keep,
                                       details=[{}] * len(boundaries)))
    return controls
