"""Training the bundled controls: linear on w, from what the bundled image classifier says of a bank's pictures.

Each score is a ridge regression of the classifier's log-odds on w. What else an edit must not change, as the classifier
and the tone of the skin tell it, is projected out: along what is left it changes by nothing, on average over W. Held in
this way once and for all, nothing needs to be kept while a control is used.

    python -m tools.train_controls BANK OUT.safetensors

BANK has pictures of the bundled generator's samples from seed 0 on (`gradctrl sample --bank`) and their scores
(`gradctrl score`). How long strength 1 is, which layers move and where the safe ranges end is from `python -m
tools.flips`, and from looking.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import directions
import generators
from directions.control import GradCtrlControl
from generators import LatentStatistics
from gradctrl import Classifier
from gradctrl.classifier import SLOPE
from inversion import skin_tone
from learning.bank import SampleBank, open_bank
from learning.scorers.bundled import CLASSES

RIDGE = 3e-3    # Of the regressions, in mean variances of w.
TONED = 14_000  # Samples whose skin is looked at.
DRAWN = 100     # So many at a time.
PAST = 0.5      # Of strength 1: so far past its own boundary an edit has arrived, where pictures show it.

LOOKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "smile": ("smile", ("smiling",)), "gender": ("gender", ("male",)), "age": ("age", ("middle", "old")),
    "child": ("age", ("child",)), "eyeglasses": ("eyeglasses", ("eyeglasses", "sunglasses")),
    "sunglasses": ("eyeglasses", ("sunglasses",)), "left": ("pose", ("left",)), "right": ("pose", ("right",)),
    "up": ("pitch", ("up",)), "black": ("hair", ("black",)), "brown": ("hair", ("brown",)),
    "blond": ("hair", ("blond",)), "grey": ("hair", ("grey",)), "red": ("hair", ("red",)),
    "beard": ("beard", ("stubble", "full")), "bangs": ("bangs", ("with",)), "bald": ("bald", ("bald",)),
    "mouth": ("mouth", ("open",)), "eyes": ("eyes", ("closed",)), "makeup": ("makeup", ("with",)),
    "hat": ("hat", ("with",)),
}
"""What is seen in a picture: an attribute of the classifier, and those of its classes that have it."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a control is made and used."""

    classes: tuple[str, ...]
    outputs: tuple[str, ...]              # Of `LOOKS`, one for each way that it goes.
    may_change: tuple[str, ...] = ()      # Of `LOOKS`, beside itself; all others, and the skin's tone, are held.
    layers: tuple[int, int]
    units: tuple[float, ...]
    limits: tuple[float, float]


_COLOURS = ("black", "brown", "blond", "grey", "red")

CHOSEN: Mapping[str, Trained] = {
    "gender": Trained(classes=("female", "male"), outputs=("gender",), may_change=("beard", "makeup", "bangs", "bald"),
                      layers=(12, 96), units=(7.0,), limits=(-1.25, 1.25)),
    "smile": Trained(classes=("serious", "smiling"), outputs=("smile",), may_change=("mouth",), layers=(12, 48),
                     units=(3.2,), limits=(-1.5, 1.5)),
    "eyeglasses": Trained(classes=("without", "with"), outputs=("eyeglasses",), layers=(4, 48), units=(5.0,),
                          limits=(-1.0, 1.25)),
    "age": Trained(classes=("young", "old"), outputs=("age",), may_change=("child", "bald", *_COLOURS[:2], "grey"),
                   layers=(24, 192), units=(6.5,), limits=(-1.25, 1.25)),
    "pose": Trained(classes=("left", "right"), outputs=("right",), may_change=("left",), layers=(4, 24), units=(4.0,),
                    limits=(-1.5, 1.5)),
    "hair": Trained(classes=_COLOURS, outputs=_COLOURS, layers=(48, 1024), units=(6.5, 7.0, 8.0, 9.0, 7.5),
                    limits=(0.0, 1.25)),
    "bangs": Trained(classes=("without", "with"), outputs=("bangs",), layers=(4, 48), units=(4.5,),
                     limits=(-0.75, 1.25)),
    "bald": Trained(classes=("hair", "bald"), outputs=("bald",),
                    may_change=("bangs", "hat", "gender", "age", *_COLOURS), layers=(4, 32), units=(9.0,),
                    limits=(-0.25, 1.25)),
    "beard": Trained(classes=("without", "with"), outputs=("beard",), layers=(16, 96), units=(6.0,),
                     limits=(-1.25, 1.25)),
    "mouth": Trained(classes=("closed", "open"), outputs=("mouth",), layers=(8, 48), units=(4.3,), limits=(-1.25, 1.5)),
    "eyes": Trained(classes=("open", "closed"), outputs=("eyes",), layers=(12, 48), units=(6.5,), limits=(-0.75, 1.25)),
    "makeup": Trained(classes=("without", "with"), outputs=("makeup",), layers=(48, 1024), units=(7.5,),
                      limits=(-0.75, 1.5)),
    "hat": Trained(classes=("without", "with"), outputs=("hat",), may_change=("bangs", "bald", *_COLOURS),
                   layers=(4, 24), units=(6.0,), limits=(-0.75, 1.25)),
}


@dataclass(frozen=True)
class Seen:
    """What is known of a bank's samples."""

    latents: Tensor            # [N, w_dim], float64 like the rest.
    looks: dict[str, Tensor]   # Log-odds of all `LOOKS` [N].
    tones: Tensor              # The skin of the first ones [n, 3].

    @classmethod
    def of(cls, bank: SampleBank) -> Seen:
        """Read the scores of a bank, and look at its skin."""
        scores = bank.scores()
        looks = {}
        for look, (attribute, having) in LOOKS.items():
            inside = torch.tensor([name in having for name in CLASSES[attribute]])
            values = scores[attribute].values.double()
            looks[look] = values[:, inside].logsumexp(dim=1) - values[:, ~inside].logsumexp(dim=1)
        count = min(bank.count, TONED)
        tones = [skin_tone(picture) for start in tqdm(range(0, count, DRAWN), desc="tones")
                 for picture in bank.pictures(start, min(start + DRAWN, count))]
        return cls(bank.latents().double(), looks, torch.from_numpy(np.stack(tones)).double())


class Regressions:
    """Ridge regressions on the w of samples."""

    def __init__(self, seen: Seen) -> None:
        self.mean = seen.latents.mean(dim=0)
        self.x = seen.latents - self.mean
        self.covariance = self.x.T @ self.x / len(self.x)
        self._ridge = self.covariance + RIDGE * self.covariance.diagonal().mean() * torch.eye(self.x.shape[1]).double()
        self.looks = {name: self.weights(values) for name, values in seen.looks.items()}
        self.tones = [self.weights(values) for values in seen.tones.unbind(dim=1)]

    def weights(self, y: Tensor) -> Tensor:
        """Weights [w_dim] on w that tell y [n] of the first n samples, in deviations."""
        x, y = self.x[:len(y)], ((y - y.mean()) / y.std()).clamp(-3, 3)
        return torch.linalg.solve(self._ridge, x.T @ (y - y.mean()) / len(x))

    def without(self, weights: Tensor, others: list[Tensor]) -> Tensor:
        """What is left of weights that has no covariance with any of the others over W."""
        away = torch.stack(others)
        cross = away @ self.covariance
        return weights - away.T @ torch.linalg.solve(cross @ away.T, cross @ weights)


def train(seen: Seen, regressions: Regressions, chosen: Trained) -> Classifier:
    """The classifier of a control: linear on w, one row for each output."""
    rows, biases = [], []
    for look in chosen.outputs:
        free = {*chosen.outputs, *chosen.may_change}
        held = [weights for name, weights in regressions.looks.items() if name not in free] + regressions.tones
        weights = regressions.without(regressions.looks[look], held)
        slope, bias = logistic(regressions.x @ weights, (seen.looks[look] > 0).double())
        rows.append((weights * slope).float())
        biases.append(float(bias - slope * (regressions.mean @ weights)))
    hidden, shift, count = torch.stack(rows), torch.tensor(biases), len(rows)
    # leaky(a) - leaky(-a) = (1 + slope of the leaky part) a: a linear map by two units.
    out = torch.cat([torch.eye(count), -torch.eye(count)], dim=1) / (1 + SLOPE)
    return Classifier(hidden_weight=torch.cat([hidden, -hidden]), hidden_bias=torch.cat([shift, -shift]),
                      out_weight=out, out_bias=torch.zeros(count))


def logistic(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope and bias with which the sigmoid of x [N] fits y [N], 0 or 1."""
    parameters = torch.tensor([1.0 / float(x.std()), 0.0], dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(parameters[0] * x + parameters[1], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, bias = parameters.detach().tolist()
    return slope, bias


def controls_of(seen: Seen, chosen: Mapping[str, Trained] = CHOSEN) -> list[GradCtrlControl]:
    """All controls."""
    statistics, regressions = LatentStatistics.of(seen.latents.float()), Regressions(seen)
    report = {"trained on": f"{len(seen.latents)} samples of the bundled generator, as the bundled image classifier "
                            "sees them", "settings": "looked at, on photos"}
    result = []
    for name, how in chosen.items():
        classifier = train(seen, regressions, how)
        spread = classifier.logits(seen.latents.float()).std(dim=0).tolist()
        margins = [PAST * unit * deviation for unit, deviation in zip(how.units, spread, strict=True)]
        result.append(GradCtrlControl(
            name=name, classes=how.classes, classifier=classifier, statistics=statistics, keeping="projection",
            shell=False, keep={}, layers=how.layers, units=how.units, limits=how.limits, keeps_tone=True,
            margins=tuple(margins * 2 if len(margins) == 1 else margins), report=report))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    generator = generators.load()
    seen = Seen.of(open_bank(given.bank, generator=generator))
    directions.save(given.out, controls_of(seen), spaces=generator.spaces, dtype=torch.float16)


if __name__ == "__main__":
    main()
