"""The training report, against values worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from directions import GradCtrlControl
from gradctrl import Classifier
from learning.accuracy import accuracy_report


def reading(classes: tuple[str, ...]) -> GradCtrlControl:
    """A control whose logits are the entries of w themselves: its hidden units read them, and their negatives."""
    outputs = 1 if len(classes) == 2 else len(classes)
    eye = torch.eye(outputs)
    # LeakyReLU(a) - LeakyReLU(-a) = 1.1 a.
    classifier = Classifier(hidden_weight=torch.cat([eye, -eye]), hidden_bias=torch.zeros(2 * outputs),
                            out_weight=torch.cat([eye, -eye], dim=1) / 1.1, out_bias=torch.zeros(outputs))
    return GradCtrlControl(name="x", classes=classes, classifier=classifier, units=(1.0,) * outputs)


def logit(probability: float) -> float:
    return log(probability / (1 - probability))


@pytest.fixture
def sure() -> Tensor:
    """Answers yes with 0.95, 0.95, 0.85 and 0.65, and no with 0.75 and 0.65."""
    return torch.tensor([logit(p) for p in (0.95, 0.95, 0.85, 0.65, 0.25, 0.35)])[:, None]


def test_a_binary_control_by_hand(sure: Tensor) -> None:
    labels = torch.tensor([1, 0, 1, 1, 0, 1])
    assert accuracy_report(reading(("no", "yes")), sure, labels) == {
        "samples": 6, "accuracy": round(4 / 6, 3), "balanced accuracy": round((1 / 2 + 3 / 4) / 2, 3),
        "confusion": [[0.5, 0.5], [0.25, 0.75]],
        # |0.95 * 2 - 1| at 0.9 to 1, |0.85 - 1|, |0.75 - 1|, and |0.65 * 2 - 1| for the one right and the one wrong.
        "calibration error": round((0.9 + 0.15 + 0.25 + 0.3) / 6, 3)}


def test_several_classes_by_hand() -> None:
    log_p = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.1, 0.6], [0.1, 0.1, 0.8]]).log()
    report = accuracy_report(reading(("black", "brown", "blond")), log_p, torch.tensor([0, 1, 1, 2]))
    assert report["samples"] == 4
    assert report["accuracy"] == 0.75
    assert report["balanced accuracy"] == round((1 + 0.5 + 1) / 3, 3)
    assert report["confusion"] == [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]


def test_a_class_that_is_not_there_has_no_part_in_the_balance(sure: Tensor) -> None:
    report = accuracy_report(reading(("no", "yes")), sure, torch.ones(6, dtype=torch.long))
    assert report["balanced accuracy"] == report["accuracy"] == round(4 / 6, 3)
    assert report["confusion"] == [[0, 0], [round(2 / 6, 3), round(4 / 6, 3)]]


def test_whoever_is_as_often_right_as_sure_has_no_calibration_error() -> None:
    answers = torch.full([400, 1], logit(0.75))
    labels = (torch.arange(400) % 4 != 0).long()
    assert accuracy_report(reading(("no", "yes")), answers, labels)["calibration error"] == 0
    always = accuracy_report(reading(("no", "yes")), answers, torch.ones(400, dtype=torch.long))
    assert always["calibration error"] == 0.25


def test_certainty_itself_falls_into_the_last_bin() -> None:
    report = accuracy_report(reading(("no", "yes")), torch.tensor([[200.0], [-200.0]]), torch.tensor([1, 1]))
    assert (report["accuracy"], report["calibration error"]) == (0.5, 0.5)
