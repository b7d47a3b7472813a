"""How well a control's classifier agrees with labels: accuracy, confusion, calibration."""

from __future__ import annotations

import torch
from torch import Tensor

from directions.control import Control

BINS = 10  # Of the calibration error.


def accuracy_report(control: Control, latents: Tensor, labels: Tensor) -> dict[str, object]:
    """Compare a classifier with the labels of samples that it was not trained on.

    Args:
        control: The control.
        latents: w [N, w_dim].
        labels: Class indexes [N].
    Returns:
        "samples"; "accuracy" and "balanced accuracy" (mean over the classes there are); "confusion", a row for each
        class with the share of its samples that is taken for each class; "calibration error", the mean difference
        between confidence and accuracy over 10 equal bins of confidence (expected calibration error, Guo et al. 2017).
    """
    logits = control.classifier.logits(latents)
    logits = torch.cat([torch.zeros_like(logits), logits], dim=1) if control.binary else logits
    probability, answer = logits.softmax(dim=1).max(dim=1)
    hit = (answer == labels).to(probability.dtype)
    count = len(control.classes)
    confusion = torch.stack([answer[labels == label].bincount(minlength=count).float() for label in range(count)])
    totals = confusion.sum(dim=1)
    recall = (confusion.diagonal() / totals.clamp_min(1))[totals > 0]
    return {"samples": len(labels), "accuracy": _round(hit.mean()), "balanced accuracy": _round(recall.mean()),
            "confusion": [[_round(value) for value in row] for row in confusion / totals.clamp_min(1)[:, None]],
            "calibration error": _round(_calibration_error(probability, hit))}


def _calibration_error(probability: Tensor, hit: Tensor) -> Tensor:
    bins = (probability * BINS).long().clamp(max=BINS - 1)
    gaps = [((probability - hit)[bins == index].sum()).abs() for index in range(BINS)]
    return torch.stack(gaps).sum() / max(len(hit), 1)


def _round(value: Tensor) -> float:
    return round(float(value), 3)
