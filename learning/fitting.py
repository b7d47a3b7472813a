"""Making controls: several attributes together, from the scores of samples or from a few examples of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from directions.control import Control, Method
from gradctrl.fit import FitSettings, fit_scores
from gradctrl.metric import Metric
from gradctrl.prepare import Examples
from gradctrl.scores import Scores
from gradctrl.train import TrainSettings, train_classifier
from learning.accuracy import accuracy_report
from weights.errors import InputError

UNTUNED_CHANNELS = 100  # Channels masked for each kept attribute until it is tuned; the paper's choice for all.


def teach_from_scores(latents: Tensor, scores: Sequence[Scores], *, num_ws: int, metric: Metric,
                      held_out: Tensor | None = None, settings: FitSettings | None = None) -> list[Control]:
    """Make controls that follow the scores of all samples (`fit_scores`), steered by projection.

    Args:
        latents: w [N, w_dim].
        scores: Of these samples, of each attribute.
        num_ws: Rows of w+; the controls edit all until they are tuned.
        metric: The shape of W.
        held_out: Indexes of samples that are not trained on; the report's accuracy is on them.
        settings: How; None: the defaults.
    Raises:
        InputError: as for `fit_scores`.
    """
    controls = []
    for item in scores:
        _check_length(latents, item)
        used = torch.ones(len(latents), dtype=torch.bool) if held_out is None else outside(len(latents), held_out)
        known = replace(item, known=item.mask & used)
        classifier = fit_scores(latents, known, metric, settings=settings)
        control = _control(item, scores, classifier=classifier, num_ws=num_ws, method="project", metric=metric)
        report: dict[str, object] = {"trained on": f"scores of {int(known.mask.sum())} samples", "scorer": item.scorer}
        controls.append(_with_accuracy(control, latents, item, held_out, report))
    return controls


def teach_from_examples(latents: Tensor, scores: Sequence[Scores], examples: Mapping[str, Examples], *, num_ws: int,
                        metric: Metric | None = None, method: Method = "paper", held_out: Tensor | None = None,
                        settings: TrainSettings | None = None) -> list[Control]:
    """Make controls from a few examples of each class, as the paper does (`train_classifier`).

    Args:
        latents: w [N, w_dim], that the examples' indexes count.
        scores: Of these samples, of each attribute; for the classes' names, and the report's accuracy.
        examples: By attribute, from `prepare`.
        num_ws: Rows of w+.
        metric: The shape of W, for the method "project".
        method: How the controls keep other attributes.
        held_out: Indexes of samples whose labels the report's accuracy is on; None: the validation examples.
        settings: How; None: the defaults.
    Raises:
        InputError: an attribute has no examples, or as for `train_classifier`.
    """
    controls = []
    for item in scores:
        _check_length(latents, item)
        if item.attribute not in examples:
            raise InputError(item.attribute, f"has no examples among {', '.join(examples) or 'none'}", "prepare them")
        found = examples[item.attribute]
        validation = (latents[found.validation], found.validation_labels) if len(found.validation) else None
        classifier = train_classifier(latents[found.train], found.train_labels, classes=len(item.classes),
                                      settings=settings, validation=validation)
        control = _control(item, scores, classifier=classifier, num_ws=num_ws, method=method, metric=metric)
        counts = found.train_labels.bincount(minlength=len(item.classes)).tolist()
        report: dict[str, object] = {"trained on": f"examples a class: {', '.join(map(str, counts))}",
                                     "scorer": item.scorer}
        controls.append(_with_accuracy(control, latents, item, found.validation if held_out is None else held_out,
                                       report))
    return controls


def _control(item: Scores, scores: Sequence[Scores], *, num_ws: int, **more: object) -> Control:
    keep = {other.attribute: UNTUNED_CHANNELS for other in scores if other is not item}
    outputs = 1 if len(item.classes) == 2 else len(item.classes)
    return Control(name=item.attribute, classes=item.classes, layers=(0, num_ws), keep=keep, units=(1.0,) * outputs,
                   ordered=item.ordered, **more)  # type: ignore[arg-type]


def _with_accuracy(control: Control, latents: Tensor, item: Scores, held_out: Tensor | None,
                   report: dict[str, object]) -> Control:
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
