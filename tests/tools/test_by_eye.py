"""The labels by eye, and how a classifier is held to them."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from generators import load
from tools.by_eye import HELD_OUT, measure, read_labels


class Sees:
    """A classifier that says what it is told of each picture, one after the other."""

    def __init__(self, **answers: list[int]) -> None:
        self.attributes = {"eyeglasses": ("without", "with"), "age": ("young", "old"), "mood": ("glad", "sad")}
        self.answers, self.seen = answers, 0

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        start, self.seen = self.seen, self.seen + len(pictures)
        return {name: torch.eye(2)[self.answers.get(name, [0] * self.seen)[start:self.seen]]
                for name in self.attributes}


def test_labels_are_of_few_classes_and_some_are_held_out() -> None:
    labels = read_labels()
    classes = {name: Counter(row[name] for row in labels.values() if name in row)
               for name in {name for row in labels.values() for name in row}}
    assert classes["eyeglasses"].keys() == {"none", "eyeglasses", "sunglasses"}
    assert classes["age"].keys() == {"child", "young", "middle", "old"}
    assert all(2 <= len(counts) <= 5 for counts in classes.values())
    held_out = [row for seed, row in labels.items() if seed >= HELD_OUT]
    assert min(sum(name in row for row in held_out) for name in classes) >= 100


def test_a_classifier_of_fewer_classes_is_held_to_what_they_are_called() -> None:
    labels = {0: {"eyeglasses": "none", "age": "child"}, 1: {"eyeglasses": "sunglasses", "age": "old"},
              2: {"eyeglasses": "eyeglasses"}, 3: {"age": "middle"}}
    report = measure(Sees(eyeglasses=[0, 1, 0, 1], age=[0, 1, 1, 1]), load(), labels)
    assert report["eyeglasses"] == {"samples": 3, "accuracy": 0.667, "balanced accuracy": 0.75,
                                    "confusion": [[1.0, 0.0], [0.5, 0.5]]}
    assert report["age"]["accuracy"] == 1
    assert "mood" not in report  # Nobody labelled it.
