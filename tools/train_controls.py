"""Training the bundled controls of gender, eyeglasses and age, which the authors' ones change too little on photos.

The score that each follows is linear on w: ridge regression on what judges who learned from labels by eye say of the
pictures of a bank's samples (see `tools.judges`). What else an edit must not change, as those judges and the tone of
the skin tell it, is projected out: along what is left it changes by nothing, on average over W. Held in this way once
and for all, the others need no keeping while the control is used; only the turn of the head is kept then.

    python -m tools.train_controls BANK CONTROLS.safetensors OUT.safetensors [--count N]

CONTROLS holds the authors' controls (`python -m tools.bundle controls`); OUT gets all of them, with these three in
place of theirs, and skin that keeps its tone. BANK has pictures of 256 pixels of the bundled generator's samples from
seed 0 on (`gradctrl sample --bank`).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import directions
import generators
from directions import Control
from directions.control import GradCtrlControl
from generators import LatentStatistics
from gradctrl import Classifier
from gradctrl.classifier import SLOPE
from inversion import skin_tone
from learning.bank import SampleBank, open_bank
from tools.by_eye import read_labels
from tools.judges import JUDGED, Seen

RIDGE = 3e-3  # Of the regressions, in mean variances of w.
DRAWN = 100   # Samples judged at a time.


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How one of the three is made and used; lengths, layers and limits from looking at inverted photos."""

    others: tuple[str, ...]  # What it must not change, beside the tone of the skin.
    layers: tuple[int, int]
    unit: float
    limits: tuple[float, float]


CHOSEN = {
    "gender": Trained(others=("age", "smile", "eyeglasses", "sunglasses", "blond", "grey", "red"),
                      layers=(12, 96), unit=7.0, limits=(-1.25, 1.25)),
    "eyeglasses": Trained(others=("gender", "age", "smile", "sunglasses", "hat", "bangs", "bald", "blond", "grey",
                                  "red"), layers=(4, 48), unit=6.0, limits=(-1.0, 1.25)),
    "age": Trained(others=("gender", "smile", "eyeglasses", "sunglasses", "hat", "blond", "red"),
                   layers=(24, 192), unit=6.5, limits=(-1.25, 1.25)),
}
KEPT = {"pose": 100}
PAST = 0.5  # Of strength 1: so far past its own boundary an edit has arrived, where pictures show it.


@dataclass(frozen=True)
class Judged:
    """What is known of a bank's samples."""

    latents: Tensor              # [N, w_dim], float64 like the rest.
    log_odds: dict[str, Tensor]  # By what is judged [N].
    tones: list[Tensor]          # Of the skin, [N] each.


def look(bank: SampleBank, count: int) -> Judged:
    """Judge the first samples of a bank."""
    labels, seen = read_labels(), Seen.of(bank, count)
    tones = [skin_tone(picture) for start in tqdm(range(0, count, DRAWN), desc="tones")
             for picture in bank.pictures(start, min(start + DRAWN, count))]
    return Judged(bank.latents()[:count].double(),
                  {name: seen.log_odds(rule, labels) for name, rule in JUDGED.items()},
                  list(torch.from_numpy(np.stack(tones, axis=1)).double()))


def train(judged: Judged, name: str) -> Classifier:
    """The classifier of one attribute: linear on w."""
    mean = judged.latents.mean(dim=0)
    x = judged.latents - mean
    covariance = x.T @ x / len(x)
    ridge = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(mean), dtype=x.dtype)

    def regress(y: Tensor) -> Tensor:
        return torch.linalg.solve(ridge, x.T @ ((y - y.mean()) / y.std()).clamp(-3, 3) / len(x))

    weights = regress(judged.log_odds[name])
    others = [judged.log_odds[other] for other in CHOSEN[name].others] + judged.tones
    away = torch.stack([regress(y) for y in others])
    cross = away @ covariance
    weights = weights - away.T @ torch.linalg.solve(cross @ away.T, cross @ weights)
    slope, bias = logistic(x @ weights, (judged.log_odds[name] > 0).double())
    weights, bias = (weights * slope).float(), float(bias - slope * (mean @ weights))
    # leaky(a) - leaky(-a) = (1 + slope of the leaky part) a: a linear map by two units.
    out = torch.tensor([[1.0, -1.0]]) / (1 + SLOPE)
    return Classifier(hidden_weight=torch.stack([weights, -weights]), hidden_bias=torch.tensor([bias, -bias]),
                      out_weight=out, out_bias=torch.zeros(1))


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


def with_trained(controls: directions.Controls, judged: Judged) -> list[Control]:
    """The authors' controls, with the trained ones in place of theirs."""
    statistics = LatentStatistics.of(judged.latents.float())
    result: list[Control] = []
    for name in controls:
        control = replace(controls.control(name), keeps_tone=True)
        if name in CHOSEN and isinstance(control, GradCtrlControl):
            chosen = CHOSEN[name]
            report = {"trained on": f"{len(judged.latents)} samples of the bundled generator, judged by what learned "
                                    "from labels by eye", "settings": "looked at, on photos"}
            classifier = train(judged, name)
            margin = PAST * chosen.unit * float(classifier.logits(judged.latents.float()).std())
            control = replace(control, classifier=classifier, statistics=statistics, keeping="projection", shell=False,
                              keep=KEPT, layers=chosen.layers, units=(chosen.unit,), limits=chosen.limits,
                              margins=(margin, margin), report=report)
        result.append(control)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("controls", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=14_000, help="Samples of the bank that are judged.")
    given = parser.parse_args()
    generator = generators.load()
    controls = directions.load(given.controls)
    judged = look(open_bank(given.bank, generator=generator), given.count)
    directions.save(given.out, with_trained(controls, judged), spaces=generator.spaces, dtype=torch.float16)


if __name__ == "__main__":
    main()
