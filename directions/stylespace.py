"""StyleSpace: single channels of the generator's styles are the directions, found by a few examples.

Wu, Lischinski and Shechtman, "StyleSpace Analysis: Disentangled Controls for StyleGAN Image Generation" (CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from directions.boundaries import SHARE, check, fit_boundaries, linear_control, most_confident, outputs_of
from directions.linear import LinearControl
from generators import Generator
from gradctrl import Scores

BATCH = 1000
DEAD = 1e-6  # Of the mean deviation; channels that vary less than this never change.


@torch.no_grad()
def styles_of(generator: Generator, latents: Tensor) -> Tensor:
    """Styles float32 [N, S] of w or w+, computed some at a time; on the CPU."""
    return torch.cat([generator.styles(part.to(generator.device, generator.dtype)).cpu().float()
                      for part in latents.split(BATCH)])


def attribute_channels(styles: Tensor, exemplars: Tensor) -> tuple[Tensor, Tensor]:
    """How consistently each style channel differs in some examples from the population (section 5 of the paper).

    With delta = (style - mean) / deviation, both of the population, a channel's relevance is |mean of delta| /
    deviation of delta, over the exemplars.

    Args:
        styles: The population's [N, S].
        exemplars: Indexes [M] of examples among them, at least two.
    Returns:
        Relevance [S], 0 for channels that never change, and the mean of delta [S], whose sign is that of the change.
    """
    deviation, mean = torch.std_mean(styles, dim=0)
    alive = deviation > DEAD * deviation.mean()
    delta = (styles[exemplars] - mean) / deviation.where(alive, 1.0)  # [M, S]
    spread, shift = torch.std_mean(delta, dim=0)
    return (shift.abs() / spread.clamp_min(1e-12)).where(alive, 0.0), shift


def stylespace_candidates(generator: Generator, latents: Tensor, scores: Mapping[str, Scores], *, exemplars: int = 30,
                          best: int = 5, share: float = SHARE,
                          regularisation: float = 1.0) -> dict[str, list[LinearControl]]:
    """For each attribute the controls whose directions are single style channels, the most relevant first.

    Exemplars of an output are the most confident samples of its classes (for a binary attribute the positive one);
    channels are ranked by `attribute_channels`, those of the colour layers like all others. The score of each control
    is that of a linear boundary on the styles, fitted as for InterFaceGAN but with every channel in its own deviation.

    Args:
        generator: The generator of the latents.
        latents: w [N, w_dim] or w+ [N, num_ws, w_dim].
        scores: Scores [N, C] by attribute.
        exemplars: How many examples an output; the paper finds 10 to 30 enough.
        best: How many controls an attribute; the i-th takes the i-th channel of each output.
        share, regularisation: Of the boundaries, as for `fit_interfacegan`.
    Returns:
        Controls by attribute; `recombine` makes one of them. Their reports name by output the "layer" and the "channel"
        in it, whether it is of a colour layer, and its relevance as "rank".

    Raises:
        InputError: scikit-learn is missing, scores do not fit the latents, or an attribute has too few examples.
    """
    check(latents.flatten(1), scores)
    styles = styles_of(generator, latents)
    deviation = styles.std(dim=0)
    scale = deviation.clamp_min(DEAD * deviation.mean()).double() * styles.shape[1] ** 0.5
    result: dict[str, list[LinearControl]] = {}
    for name, item in scores.items():
        boundaries = fit_boundaries(styles, item, share=share, regularisation=regularisation, scale=scale)
        ranked = [attribute_channels(styles, most_confident(item, classes, exemplars))
                  for classes in outputs_of(item)]
        orders = [relevance.argsort(descending=True, stable=True) for relevance, _ in ranked]
        result[name] = []
        for place in range(best):
            channels = [int(order[place]) for order in orders]
            directions = torch.zeros(len(channels), styles.shape[1])
            for output, channel in enumerate(channels):
                directions[output, channel] = -1.0 if ranked[output][1][channel] < 0 else 1.0
            details = [{**_place(generator, channel), "rank": float(relevance[channel])}
                    for channel, (relevance, _) in zip(channels, ranked, strict=True)]
            result[name].append(linear_control(item, styles, directions, boundaries, method="stylespace",
                                               details=details))
    return result


def _place(generator: Generator, channel: int) -> dict[str, object]:
    part = next(part for part in generator.layers if part.start <= channel < part.stop)
    return {"layer": part.name, "channel": channel - part.start, "colours": part.colours}
