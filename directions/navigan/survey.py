"""What directions of weights do: how far pictures change, which attributes' scores move, and who the face still is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from directions.effects import Asked, Effects, Judge
from directions.navigan.basis import WeightBasis
from generators import Generator, WeightShift, to_pixels
from inversion.faces import SAME_PERSON, describe_crop, identity_distance
from inversion.perceptual import PerceptualDistance
from weights.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """What each direction does at its recommended length, averaged over samples moved both ways."""

    effects: Effects   # Of the scores of attributes; one sigma is the recommended length.
    change: Tensor     # [K], LPIPS.
    identity: Tensor   # [K], distance of dlib's face descriptors; 0.6 is another person.

    def alone(self, number: int) -> float:
        """How much a direction changes beside what classifiers see: the higher, the likelier it is something new.

        The change, 1 at LPIPS 0.1, less the strongest effect on an attribute, less how far the person is left.
        """
        _, strongest = self.effects.strongest(number)
        return float(self.change[number]) / 0.1 - abs(strongest) - float(self.identity[number]) / SAME_PERSON

    def ranked(self) -> list[int]:
        """The directions, those first that change much, and little that classifiers see."""
        return sorted(range(len(self.change)), key=lambda number: -self.alone(number))


@torch.no_grad()
def survey(generator: Generator, basis: WeightBasis, judge: Judge, classes: Mapping[str, Sequence[str]],
           latents: Tensor, *, spread: int = 64, side: int = 128, batch: int = 8,
           on_step: Callable[[int, int], None] = lambda done, total: None) -> Survey:
    """Draw samples moved both ways along each direction, and see what has changed.

    Args:
        generator: Of the weights that the basis is of.
        basis: With recommended lengths.
        judge: Tells the logits of attributes in pictures.
        classes: The judge's classes by attribute; of two, the second counts.
        latents: The samples that are moved, w [N, w_dim].
        spread: Fresh samples by whose scores' deviations effects are measured.
        side: Of the pictures, in pixels, at least.
        batch: Pictures that are drawn at once.
        on_step: Called with the directions that are done and in all.
    Raises:
        InputError: other weights, or a basis without recommended lengths.
    """
    basis.check(generator)
    if len(basis.lengths) != len(basis):
        raise InputError(None, "these directions have no recommended lengths", "find them with `gradctrl discover "
                         "weights` or `rectify`")
    asked, distance = Asked(judge, classes), PerceptualDistance(device=generator.device, dtype=generator.dtype)
    side = generator.side_showing(basis.layer, side)

    def seen(of: Generator, ws: Tensor) -> tuple[Tensor, Tensor]:
        parts = [of.render(part, side) for part in ws.split(batch)]
        return torch.cat([asked(part) for part in parts]), torch.cat(parts)

    scale = seen(generator, generator.sample(range(10_000, 10_000 + spread)))[0].std(dim=0).clamp_min(1e-6)
    _, unmoved = seen(generator, latents)
    people = [describe_crop(picture) for picture in to_pixels(unmoved)]
    values, change, identity = torch.zeros(len(basis), len(asked.outputs)), [], []
    for number, direction in enumerate(basis.directions.to(latents)):
        scores = []
        for sign in (-1, 1):
            amount = torch.full([1, 1], sign * float(basis.lengths[number])).to(latents)
            told, pictures = seen(generator.shifted({basis.layer: WeightShift(direction[None], amount)}), latents)
            scores.append(told)
            change.append(distance(pictures, unmoved).mean())
            identity.append(np.mean([identity_distance(describe_crop(picture), person)
                                     for picture, person in zip(to_pixels(pictures), people, strict=True)]))
        values[number] = (scores[1] - scores[0]).mean(dim=0) / (2 * scale)
        on_step(number + 1, len(basis))
    effects = Effects(outputs=asked.outputs, attributes=asked.attributes, values=values, sigmas=1.0)
    return Survey(effects=effects, change=torch.stack(change).float().cpu().reshape(-1, 2).mean(dim=1),
                  identity=torch.tensor(np.array(identity)).float().reshape(-1, 2).mean(dim=1))
