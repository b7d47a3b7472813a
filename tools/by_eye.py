"""How often an image classifier agrees with labels by eye, of samples of the bundled generator.

`labels.csv` holds them: a row for each of 5,537 samples by its seed, a column for each attribute, nothing where nobody
could say, or did. Those from `HELD_OUT` on came as they were drawn and are never trained on; the others were proposed
by first models so that rare classes are among them.

    python -m tools.by_eye [--scorer bundled]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import generators
from generators import Generator
from learning.accuracy import agreement
from learning.scorers import ImageScorer, load_scorer
from learning.scorers.bundled import CLASSES, COARSER

LABELS = Path(__file__).with_name("labels.csv")
HELD_OUT = 14_500  # The first seed of those that are never trained on.
SIDE, DRAWN = 256, 16


def read_labels(path: Path = LABELS) -> dict[int, dict[str, str]]:
    """Labels by attribute, by seed; those that are there."""
    with open(path, newline="", encoding="utf-8") as file:
        return {int(row.pop("seed")): {name: label for name, label in row.items() if label}
                for row in csv.DictReader(file)}


def measure(scorer: ImageScorer, generator: Generator, labels: Mapping[int, Mapping[str, str]]) -> dict[str, dict]:
    """As `learning.accuracy.agreement`, by attribute; of those that the classifier knows, and of the classes it has."""
    seeds = list(labels)
    answers = _answers(scorer, generator, seeds)
    report = {}
    for name, classes in scorer.attributes.items():
        wanted = [_class_of(labels[seed].get(name, ""), name, classes) for seed in seeds]
        known = [index for index, label in enumerate(wanted) if label is not None]
        if known:
            truth = torch.tensor([wanted[index] for index in known])
            report[name] = agreement(answers[name][known], truth, len(classes))
    return report


@torch.no_grad()
def _answers(scorer: ImageScorer, generator: Generator, seeds: list[int]) -> dict[str, Tensor]:
    """The classes that the classifier sees, by attribute."""
    parts = [scorer(generator.render(generator.sample(seeds[start:start + DRAWN]), generator.side_for(SIDE)))
             for start in range(0, len(seeds), DRAWN)]
    return {name: torch.cat([part[name] for part in parts]).argmax(dim=1) for name in scorer.attributes}


def _class_of(label: str, name: str, classes: tuple[str, ...]) -> int | None:
    if label in classes:
        return classes.index(label)
    groups = COARSER.get(name, {}).get(classes, ())
    return next((place for place, group in enumerate(groups) if label in (CLASSES[name][of] for of in group)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scorer", default="bundled")
    arguments = parser.parse_args()
    labels = {seed: row for seed, row in read_labels().items() if seed >= HELD_OUT}
    report = measure(load_scorer(arguments.scorer), generators.load(), labels)
    for name, told in report.items():
        print(f"{name}: balanced {told['balanced accuracy']:.3f} of {told['samples']}; {told['confusion']}")


if __name__ == "__main__":
    main()
