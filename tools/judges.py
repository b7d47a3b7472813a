"""Judges of pictures that never see latents, learned from the labels by eye (see `tools.by_eye`).

Logistic regression on what LPIPS's AlexNet makes of a picture, in its main components. With a few hundred labels each,
balanced over the classes, they tell gender right on 0.93 of held-out samples, glasses on 0.91, hats on 0.91, smiles on
0.85 (`python -m tools.judges BANK`), where the bundled classifier, learned from noisier labels, says glasses of a third
of those who wear none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import generators
from generators import from_pixels
from inversion import PerceptualDistance
from inversion.encoder import LAYERS
from learning.accuracy import agreement
from learning.bank import SampleBank, open_bank
from tools.by_eye import HELD_OUT, read_labels

CELLS = 6                  # Feature maps are averaged over so many cells a side.
AXES, FITTED = 1500, 3000  # Main components, and the samples that they are of.
INVERSE_PENALTY = 10.0
DRAWN = 32

Rule = Callable[[Mapping[str, str]], bool | None]
"""Whether a row of labels is of the second class; None where nobody can say."""


def one_of(name: str, first: Sequence[str], second: Sequence[str]) -> Rule:
    """Of a column: labels of the first class, and of the second."""
    def rule(row: Mapping[str, str]) -> bool | None:
        label = row.get(name)
        return True if label in second else False if label in first else None
    return rule


JUDGED: dict[str, Rule] = {
    "gender": one_of("gender", ["female"], ["male"]),
    "smile": one_of("smile", ["serious"], ["smiling"]),
    "age": one_of("age", ["child", "young"], ["middle", "old"]),
    "eyeglasses": one_of("eyeglasses", ["none"], ["eyeglasses"]),
    "sunglasses": one_of("eyeglasses", ["none", "eyeglasses"], ["sunglasses"]),
    "hat": one_of("hat", ["without"], ["with"]),
    "bangs": one_of("bangs", ["without"], ["with"]),
    "bald": one_of("bald", ["hair"], ["bald"]),
    "blond": one_of("hair", ["black", "brown"], ["blond"]),
    "grey": one_of("hair", ["black", "brown", "blond", "red"], ["grey"]),
    "red": one_of("hair", ["black", "brown", "blond", "grey"], ["red"]),
}


@dataclass(frozen=True, eq=False)
class Seen:
    """A bank's samples as the judges see them."""

    features: Tensor  # [N, AXES]

    @classmethod
    def of(cls, bank: SampleBank, count: int) -> Seen:
        """Look at the first samples of a bank."""
        distance = PerceptualDistance()
        parts = [_features(distance, bank.pictures(start, min(start + DRAWN, count)))
                 for start in tqdm(range(0, count, DRAWN), desc="looking")]
        x = torch.cat(parts).float()
        some = x[np.random.default_rng(0).permutation(count)[:FITTED]]
        mean, deviation = some.mean(dim=(0, 2), keepdim=True), some.std(dim=(0, 2), keepdim=True) + 1e-5
        some = ((some - mean) / deviation).flatten(1)
        centre = some.mean(dim=0)
        # The components of the few are had from their products, [FITTED, FITTED], and not of all features.
        values, vectors = torch.linalg.eigh((some - centre) @ (some - centre).T)
        best = values.argsort(descending=True)[:min(AXES, len(some) - 1)]
        axes = (some - centre).T @ vectors[:, best] / values[best].sqrt()
        scores = torch.cat([(((part - mean) / deviation).flatten(1) - centre) @ axes for part in x.split(500)])
        return cls(scores / scores.square().sum(dim=1).mean().sqrt())

    def log_odds(self, rule: Rule, labels: Mapping[int, Mapping[str, str]], *, last: int = HELD_OUT) -> Tensor:
        """Of the second class of a rule, for all samples: float64 [N]; learned from labels before seed `last`."""
        from sklearn.linear_model import LogisticRegression

        known = _known(rule, labels, range(min(last, len(self.features))))
        model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=300)
        model.fit(self.features[list(known)].numpy(), list(known.values()))
        return torch.from_numpy(model.decision_function(self.features.numpy())).double()


def _known(rule: Rule, labels: Mapping[int, Mapping[str, str]], seeds: range) -> dict[int, bool]:
    """What a rule says of those of the seeds of which it says anything."""
    answers = {seed: rule(row) for seed, row in labels.items() if seed in seeds}
    return {seed: answer for seed, answer in answers.items() if answer is not None}


@torch.no_grad()
def _features(distance: PerceptualDistance, pictures: np.ndarray) -> Tensor:
    """[N, 832, 36], in half precision."""
    layers = distance.features(from_pixels(pictures))
    return torch.cat([F.adaptive_avg_pool2d(layers[k], CELLS) for k in LAYERS], dim=1).flatten(2).half()


def main() -> None:
    """Hold the judges to the labels that are held out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bank", type=Path, help="of the bundled generator, from seed 0, with those held out in it")
    bank = open_bank(parser.parse_args().bank, generator=generators.load())
    labels = read_labels()
    seen = Seen.of(bank, bank.count)
    for name, rule in JUDGED.items():
        answers = seen.log_odds(rule, labels) > 0
        known = _known(rule, labels, range(HELD_OUT, bank.count))
        report = agreement(answers[list(known)].long(), torch.tensor(list(known.values())).long(), 2)
        print(f"{name}: balanced {report['balanced accuracy']:.3f} of {report['samples']}; {report['confusion']}")


if __name__ == "__main__":
    main()
