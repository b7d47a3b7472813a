"""How well answers agree with labels: accuracy, confusion, calibration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from directions import Control, GradCtrlControl

BINS = 10  # Of the calibration error.


def agreement(answers: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    """Compare answers with labels, both class indexes [N].

    Returns:
        "samples"; "accuracy" and "balanced accuracy" (mean over the classes there are); "confusion", a row for each
        class with the share of its samples that is taken for each class.
    """
    table = (labels * classes + answers).bincount(minlength=classes * classes).reshape(classes, classes).double()
    totals = table.sum(dim=1)
    shares = table / totals.clamp_min(1)[:, None]
    return {"samples": len(labels), "accuracy": _round(table.trace() / table.sum()),
            "balanced accuracy": _round(shares.diagonal()[totals > 0].mean()),
            "confusion": [[_round(value) for value in row] for row in shares]}


def accuracy_report(control: Control, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Compare a control with the labels of samples that it was not trained on.

    Args:
        control: The control.
        x: Latents as it sees them [N, D].
        labels: Class indexes [N].
    Returns:
        As `agreement`; of a classifier also "calibration error", the mean difference between confidence and accuracy
        over 10 equal bins of confidence (expected calibration error, Guo et al. 2017).
    """
    report = agreement(control.predict(x), labels, len(control.classes))
    if isinstance(control, GradCtrlControl):
        logits = control.classifier.logits(x)
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1) if control.binary else logits
        probability, answers = logits.softmax(dim=1).max(dim=1)
        report["calibration error"] = _round(_calibration_error(probability, (answers == labels).to(probability)))
    return report


def _calibration_error(probability: Tensor, hit: Tensor) -> Tensor:
    bins = (probability * BINS).long().clamp(max=BINS - 1)
    gaps = [((probability - hit)[bins == index].sum()).abs() for index in range(BINS)]
    return torch.stack(gaps).sum() / max(len(hit), 1)


def _round(value: Tensor) -> float:
    return round(float(value), 3)
