"""Training the bundled controls of gender, eyeglasses and age, which the authors' ones change too little on photos.

The score that each follows is linear on w: ridge regression on what two judges say of a bank's samples, the image
classifier of their pictures and the authors' classifier of their w. The colour of the hair and the tone of the skin,
for which there are no controls, are projected out of it; smile, pose and the others of the three are kept by
projection, in the metric of W, while the control is used.

    python -m tools.train_controls BANK CONTROLS.safetensors OUT.safetensors [--count N]

CONTROLS holds the authors' controls (`python -m tools.bundle controls`); OUT gets all of them, with these three in
place of theirs, and skin that keeps its tone. BANK has pictures of at least 128 pixels
(`gradctrl sample --bank`).
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
from generators import LatentStatistics, from_pixels
from gradctrl import Classifier
from gradctrl.classifier import SLOPE
from inversion import skin_tone
from learning.bank import SampleBank, open_bank
from learning.scorers import load_scorer

RIDGE = 3e-3  # Of the regressions, in mean variances of w.
DRAWN = 100   # Samples judged at a time.


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How one of the three is used; lengths, layers and limits from looking at 14 inverted photos."""

    keep: tuple[str, ...]
    layers: tuple[int, int]
    unit: float
    limits: tuple[float, float]


CHOSEN = {
    "gender": Trained(keep=("smile", "age", "eyeglasses", "pose"), layers=(12, 96), unit=7.5, limits=(-1.25, 1.25)),
    "eyeglasses": Trained(keep=("gender", "smile", "age", "pose"), layers=(4, 48), unit=6.0, limits=(-1.0, 1.25)),
    "age": Trained(keep=("gender", "smile", "eyeglasses", "pose"), layers=(24, 192), unit=9.0, limits=(-1.25, 1.25)),
}


@dataclass(frozen=True)
class Seen:
    """What is known of a bank's samples."""

    latents: Tensor             # [N, w_dim], float64 like the rest.
    judged: dict[str, Tensor]   # By attribute: the image classifier's log-odds [N], positive class first.
    own: dict[str, Tensor]      # By attribute: the authors' [N].
    others: list[Tensor]        # What is projected out [N] each: hair, and the tone of the skin.


@torch.no_grad()
def look(bank: SampleBank, controls: directions.Controls, count: int) -> Seen:
    """Judge the first samples of a bank."""
    scorer = load_scorer("bundled", device="cpu")
    latents = bank.latents()[:count]
    judged: dict[str, list[Tensor]] = {}
    tones = []
    for start in tqdm(range(0, count, DRAWN), desc="judging"):
        pictures = bank.pictures(start, min(start + DRAWN, count))
        tones += [skin_tone(picture) for picture in pictures]
        for name, scores in scorer(from_pixels(pictures)).items():
            judged.setdefault(name, []).append(scores)
    classes = {name: torch.cat(parts).double() for name, parts in judged.items()}
    hair = classes["hair"][:, 2] - classes["hair"][:, 0]
    return Seen(latents.double(), {name: classes[name][:, 1] - classes[name][:, 0] for name in CHOSEN},
                {name: controls.control(name).scores(latents)[:, 0].double() for name in CHOSEN},
                [hair, *torch.from_numpy(np.stack(tones, axis=1)).double()])


def train(seen: Seen, name: str) -> Classifier:
    """The classifier of one attribute: linear on w."""
    mean = seen.latents.mean(dim=0)
    x = seen.latents - mean
    covariance = x.T @ x / len(x)
    ridge = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(mean), dtype=x.dtype)

    def regress(y: Tensor) -> Tensor:
        return torch.linalg.solve(ridge, x.T @ ((y - y.mean()) / y.std()) / len(x))

    spread = [(scores / scores.std()).clamp(-3, 3) for scores in (seen.judged[name], seen.own[name])]
    others = torch.stack([regress(y) for y in seen.others])
    weights = regress(spread[0] + spread[1])
    cross = others @ covariance
    weights = weights - others.T @ torch.linalg.solve(cross @ others.T, cross @ weights)
    agreed = (seen.judged[name] > 0) == (seen.own[name] > 0)
    slope, bias = logistic((x @ weights)[agreed], (seen.own[name] > 0)[agreed].double())
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


def with_trained(controls: directions.Controls, seen: Seen) -> list[Control]:
    """The authors' controls, with the trained ones in place of theirs."""
    statistics = LatentStatistics.of(seen.latents.float())
    result: list[Control] = []
    for name in controls:
        control = replace(controls.control(name), keeps_tone=True)
        if name in CHOSEN and isinstance(control, GradCtrlControl):
            chosen = CHOSEN[name]
            report = {"trained on": f"{len(seen.latents)} samples of the bundled generator, judged by the image "
                                    "classifier and the authors' classifier", "settings": "looked at, on photos"}
            control = replace(control, classifier=train(seen, name), statistics=statistics, keeping="projection",
                              shell=False, keep=dict.fromkeys(chosen.keep, 100), layers=chosen.layers,
                              units=(chosen.unit,), limits=chosen.limits, report=report)
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
    seen = look(open_bank(given.bank, generator=generator), controls, given.count)
    directions.save(given.out, with_trained(controls, seen), spaces=generator.spaces, dtype=torch.float16)


if __name__ == "__main__":
    main()
