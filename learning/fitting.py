"""Making controls: several attributes together, from the scores of samples or from a few examples of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from directions.control import GradCtrlControl, Keeping
from directions.displacement import UNTUNED_CHANNELS
from generators import LatentStatistics
from gradctrl import Examples, FitExamplesSettings, FitScoresSettings, Scores, fit_examples, fit_scores, fit_sensitivity
from learning.accuracy import accuracy_report
from weights.errors import InputError


def fit_to_scores(latents: Tensor, scores: Sequence[Scores], *, statistics: LatentStatistics,
                  gradients: Mapping[str, Tensor] | None = None, held_out: Tensor | None = None,
                  settings: FitScoresSettings | None = None,
                  on_epoch: Callable[[int], None] | None = None) -> list[GradCtrlControl]:
    """Make controls that follow the scores of all samples (`fit_scores`), steered by projection.

    Args:
        latents: w [N, w_dim].
        scores: Of these samples, of each attribute.
        statistics: Of W.
        gradients: Of the scores of the first M samples by w [M, C, w_dim], by attribute; those of others are not known.
        held_out: Indexes of samples that are not trained on; the report's accuracy is on them.
        settings: How; None: the defaults.
        on_epoch: Called after each pass over the samples, for each attribute again, with how many there were.
    Raises:
        InputError: as for `fit_scores`.
    """
    controls = []
    for item in scores:
        _check_length(latents, item)
        used = torch.ones(len(latents), dtype=torch.bool) if held_out is None else outside(len(latents), held_out)
        known = replace(item, known=item.mask & used)
        slopes = (gradients or {}).get(item.attribute)
        classifier = fit_scores(latents, known, statistics, gradients=slopes, settings=settings, on_epoch=on_epoch)
        control = _control(item, scores, classifier=classifier, keeping="projection", statistics=statistics)
        taught = f"scores of {int(known.mask.sum())} samples"
        if slopes is not None and known.mask[:len(slopes)].any():
            control = replace(control, sensitivity=fit_sensitivity(slopes, known, statistics))
            taught += f", gradients of {int(known.mask[:len(slopes)].sum())}"
        report: dict[str, object] = {"trained on": taught, "scorer": item.scorer}
        controls.append(_with_accuracy(control, latents, item, held_out, report))
    return controls


def fit_to_examples(latents: Tensor, scores: Sequence[Scores], examples: Mapping[str, Examples], *,
                    statistics: LatentStatistics | None = None, keeping: Keeping = "masks",
                    held_out: Tensor | None = None,
                    settings: FitExamplesSettings | None = None) -> list[GradCtrlControl]:
    """Make controls from a few examples of each class, as the paper does (`fit_examples`).

    Args:
        latents: w [N, w_dim], that the examples' indexes count.
        scores: Of these samples, of each attribute; for the classes' names, and the report's accuracy.
        examples: By attribute, from `prepare`.
        statistics: Of W, for projection.
        keeping: How the controls keep other attributes.
        held_out: Indexes of samples whose labels the report's accuracy is on; None: the validation examples.
        settings: How; None: the defaults.
    Raises:
        InputError: an attribute has no examples, or as for `fit_examples`.
    """
    controls = []
    for item in scores:
        _check_length(latents, item)
        if item.attribute not in examples:
            raise InputError(item.attribute, f"has no examples among {', '.join(examples) or 'none'}", "prepare them")
        chosen = examples[item.attribute]
        validation = (latents[chosen.validation], chosen.validation_labels) if len(chosen.validation) else None
        classifier = fit_examples(latents[chosen.train], chosen.train_labels, classes=len(item.classes),
                                      settings=settings, validation=validation)
        control = _control(item, scores, classifier=classifier, keeping=keeping, statistics=statistics)
        counts = chosen.train_labels.bincount(minlength=len(item.classes)).tolist()
        report: dict[str, object] = {"trained on": f"examples a class: {', '.join(map(str, counts))}",
                                     "scorer": item.scorer}
        controls.append(_with_accuracy(control, latents, item, chosen.validation if held_out is None else held_out,
                                       report))
    return controls


def _control(item: Scores, scores: Sequence[Scores], **more: object) -> GradCtrlControl:
    keep = {other.attribute: UNTUNED_CHANNELS for other in scores if other is not item}
    outputs = 1 if len(item.classes) == 2 else len(item.classes)
    return GradCtrlControl(name=item.attribute, classes=item.classes, keep=keep, units=(1.0,) * outputs,
                           ordered=item.ordered, **more)  # type: ignore[arg-type]


def _with_accuracy(control: GradCtrlControl, latents: Tensor, item: Scores, held_out: Tensor | None,
                   report: dict[str, object]) -> GradCtrlControl:
    if held_out is not None:
        index = held_out[item.mask[held_out]]
        if len(index):
            report["held out"] = accuracy_report(control, latents[index], item.labels[index])
    return replace(control, report=report)


def _check_length(latents: Tensor, item: Scores) -> None:
    if len(latents) != len(item.values):
        raise InputError(item.attribute, f"there are {len(latents)} latents and {len(item.values)} scores",
                         "score the bank again")


def outside(count: int, index: Tensor) -> Tensor:
    """Which of `count` samples are not in `index`, bool [count]."""
    outside = torch.ones(count, dtype=torch.bool)
    outside[index] = False
    return outside
