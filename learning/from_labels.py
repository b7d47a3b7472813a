"""A control from samples that a person has sorted into classes: names, training, honest accuracy, calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from math import copysign, floor
from typing import Any

import torch
from torch import Tensor

from directions import ALL_LAYERS, Control, Controls, GradCtrlControl
from directions.displacement import UNTUNED_CHANNELS
from generators import Generator, LatentStatistics
from gradctrl import Classifier, FitExamplesSettings, Scores, fit_examples
from learning.accuracy import agreement
from learning.calibration import Tuner
from learning.scorers.protocol import check_names
from weights.errors import InputError

POOL = 3000         # Samples that can be shown; their w cost a fifth of a second, their pictures are made when shown.
FEWEST, GOAL = 10, 30  # Examples a class: to train at all, and to train well (the paper's).
MOST_CLASSES = 6
PERSON = "a person, sample by sample"
FOLDS = 5           # Of the cross-validation.
MARGIN = 0.5        # In deviations of the score: in the middle of those that were tuned for the bundled controls.
CAREFUL, STRIDE, LARGEST_LIMIT = 0.75, 0.25, 2.0  # By eye: at 2.5 a smile that 60 samples taught begins to glow.
# Measured with 30 examples a class of the bundled generator's five attributes, labelled by its controls: the balanced
# accuracy on other samples is 0.80 in plain w and 0.76 in w that is shaped; more epochs add nothing.
SETTINGS = FitExamplesSettings(hidden=64, epochs=100, shaping=0.0)


class Pool:
    """Synthetic samples to sort and to calibrate by: w alone, so that lessons of one generator can share them.

    Args:
        generator: Draws the samples; it is not kept.
        seeds: Of the samples, all different.
        truncation: psi of the samples.
    Attributes:
        latents: w [N, w_dim], float32 on the CPU.
    """

    def __init__(self, generator: Generator, seeds: Sequence[int] = range(POOL), *, truncation: float = 1.0) -> None:
        self.seeds, self.truncation = seeds, truncation
        self.latents = latents_of(generator, seeds, truncation)

    @cached_property
    def statistics(self) -> LatentStatistics:
        """Of W, for controls where there are no others that have them."""
        return LatentStatistics.of(self.latents)


def latents_of(generator: Generator, seeds: Sequence[int], truncation: float) -> Tensor:
    """w of samples [N, w_dim], float32 on the CPU."""
    return generator.sample(seeds, truncation=truncation).float().cpu()


def check_attribute(name: str, classes: Sequence[str], controls: Mapping[str, Any]) -> None:
    """Refuse names that a new control cannot have.

    Args:
        name: Of the attribute.
        classes: Of its classes; of a binary one (negative, positive).
        controls: Those that there are; a control that a person has taught may be replaced, others not.
    Raises:
        InputError: the message says what is wrong with which name.
    """
    if not name:
        raise InputError(None, "the new control has no name", "name what it is about, such as beard")
    if len(set(classes)) < len(classes):
        twice = next(item for item in classes if list(classes).count(item) > 1)
        raise InputError(name, f"the class {twice} is there twice", "name each class once")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(name,
                         f"2 to {MOST_CLASSES} classes are needed and there "
                         f"{'is 1' if len(classes) == 1 else f'are {len(classes)}'}",
                         f"name them with commas between, such as: no {name}, {name}")
    check_names("new control", name, tuple(classes))
    if name in controls and not was_taught(controls[name]):
        raise InputError(name, "there is a control of this name already", "choose another name")


def was_taught(control: Any) -> bool:
    """Whether a person taught a control here, so that another lesson may replace it."""
    return isinstance(control, GradCtrlControl) and control.report.get("scorer") == PERSON


def fit_from_labels(generator: Generator, controls: Controls, name: str, classes: Sequence[str],
                    labels: Mapping[int, str], *, truncation: float = 1.0, keep: Sequence[str] | None = None,
                    layers: tuple[int, int] | None = None, pool: Pool | None = None) -> GradCtrlControl:
    """Fit and calibrate a control to samples that were sorted into classes.

    The control keeps all others, by projection. Its unit of strength is the median path length at which its own score
    passes its margin, over samples that were not sorted; its limits are three quarters of the strengths within which
    nine tenths of samples stay likely (`learning.calibration.Tuner.calibrate`), and 2 at most. The report's
    accuracy is cross-validated: each sample is judged by a classifier that was trained without it.

    Args:
        generator: Whose samples they are.
        controls: Those that there are, for the same generator; what the new one keeps.
        name: Of the attribute: lower-case letters of any language, digits and _.
        classes: 2 to 6; of a binary attribute (negative, positive).
        labels: The class of each sample, by seed.
        truncation: psi of the sorted samples.
        keep: Names of the controls to keep; None: all.
        layers: Layer range [start, stop) in sides that edits change; None: all.
        pool: Of this generator, to calibrate by; None: one is made.
    Returns:
        The control, float32 on the CPU; the same for the same labels, in whatever order they were given.

    Raises:
        InputError: names that a control cannot have, a label that is no class, or fewer than 10 samples of a class.
    """
    classes = tuple(classes)
    check_attribute(name, classes, controls)
    _check_labels(name, classes, labels)
    pool = pool or Pool(generator)
    seeds = sorted(labels)  # Training must not depend on the order of the clicks.
    w, y = latents_of(generator, seeds, truncation), torch.tensor([classes.index(labels[seed]) for seed in seeds])
    others = [other for other in keepable(controls, name) if keep is None or other.name in keep]
    known = [control.statistics for control in controls.values()
             if isinstance(control, GradCtrlControl) and control.statistics is not None]
    counts = y.bincount(minlength=len(classes)).tolist()
    sorted_into = dict(zip(classes, counts, strict=True))
    control = GradCtrlControl(
        name=name, classes=classes, classifier=fit(w, y, len(classes)), layers=layers or ALL_LAYERS,
        keep={other.name: UNTUNED_CHANNELS for other in others}, units=(1.0,) * _outputs(classes),
        keeping="projection", statistics=known[0] if known else pool.statistics,
        report={"trained on": f"samples a class: {', '.join(f'{n} {c}' for n, c in sorted_into.items())}",
                "scorer": PERSON, "examples": sorted_into, "held out": cross_validated(w, y, len(classes)),
                "samples": {"space": generator.space.to_text(), "truncation": truncation}})
    return calibrated(generator, control, others, pool, outside=set(seeds))


def keepable(controls: Controls, name: str) -> list[GradCtrlControl]:
    """The controls that the one with this name can keep: the others, of the same method."""
    return [control for control in controls.values()
            if isinstance(control, GradCtrlControl) and control.name != name]


def fit(w: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier on w [N, w_dim] by labels [N]; the same for the same latents and labels. A tenth of a second."""
    return fit_examples(w, labels, classes=classes, settings=SETTINGS)


@cache
def warm_up() -> None:
    """Train once on nothing: the first time loads parts of torch that take two seconds."""
    fit(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), torch.tensor([0, 1, 0, 1]), 2)


def cross_validated(w: Tensor, labels: Tensor, classes: int, *, folds: int = FOLDS) -> dict[str, Any]:
    """How often classifiers agree with labels that they were not trained on: each fold is judged by the others.

    Returns:
        As `agreement`, and "folds".
    """
    fold = torch.zeros_like(labels)
    for index in range(classes):  # Every class is in every fold, as evenly as it goes.
        members = (labels == index).nonzero()[:, 0]
        fold[members] = torch.arange(len(members)) % folds
    predicted = torch.zeros_like(labels)
    for index in range(folds):
        judged = fold == index
        predicted[judged] = fit(w[~judged], labels[~judged], classes).predict(w[judged])
    return {**agreement(predicted, labels, classes), "folds": folds}


def calibrated(generator: Generator, control: GradCtrlControl, others: Sequence[Control], pool: Pool, *,
               outside: Collection[int] = ()) -> GradCtrlControl:
    """Set the margins, the unit of strength and the limits of a control, as the bundled ones' were set.

    Args:
        generator: Theirs.
        control: The control.
        others: What there is to keep.
        pool: Samples, whose classes are what the control itself says.
        outside: Seeds that are left out, as the control was trained on them.
    """
    scores = control.scores(pool.latents)
    values = torch.cat([torch.zeros_like(scores), scores], dim=1) if control.binary else scores
    judged = Scores(attribute=control.name, classes=control.classes, values=values, scorer="the control itself")
    index = torch.tensor([i for i, seed in enumerate(pool.seeds) if seed not in outside])
    tuner = Tuner(generator, _Nobody(), pool.latents, {control.name: judged}, index)
    with_margin = tuner.with_margin(control, MARGIN)
    tuned = tuner.calibrate(Controls([*others, with_margin], spaces=generator.spaces), control.name)
    low, high = (_careful(limit) for limit in tuned.limits)
    return replace(control, margins=tuned.margins, units=tuned.units, limits=(low, high), report=tuned.report)


def _careful(limit: float) -> float:
    """A limit for a control that few examples taught: they tell less of the way than the thousands of a bundled one."""
    size = min(max(floor(CAREFUL * abs(limit) / STRIDE) * STRIDE, 1.0), LARGEST_LIMIT)
    return copysign(size, limit) if limit else 0.0


def adjusted(generator: Generator, control: GradCtrlControl, controls: Controls, pool: Pool, *,
             keep: Collection[str], layers: tuple[int, int] | None = None,
             outside: Collection[int] = ()) -> GradCtrlControl:
    """A control with another keep list or layer range, calibrated again, as what is kept makes paths longer.

    Args:
        keep: Names of the controls to keep.
        layers: Layer range; None: as it is.
        generator, control, pool, outside: As for `calibrated`.
        controls: Those that there are.
    """
    others = [other for other in keepable(controls, control.name) if other.name in keep]
    changed = replace(control, keep={other.name: UNTUNED_CHANNELS for other in others},
                      layers=layers or control.layers)
    return calibrated(generator, changed, others, pool, outside=outside)


class _Nobody:
    """Stands where a tuner wants an image classifier: calibrating asks for none, as it goes by the control's scores."""

    name = "none"
    attributes: Mapping[str, tuple[str, ...]] = {}
    ordered: frozenset[str] = frozenset()

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        raise RuntimeError("nobody judges pictures here")


def _outputs(classes: Sequence[str]) -> int:
    return 1 if len(classes) == 2 else len(classes)


def _check_labels(name: str, classes: Sequence[str], labels: Mapping[int, str]) -> None:
    strange = next((label for label in labels.values() if label not in classes), None)
    if strange is not None:
        raise InputError(name, f"{strange!r} is none of its classes, which are {', '.join(classes)}")
    given = list(labels.values())
    few = [f"{label} {given.count(label)}" for label in classes if given.count(label) < FEWEST]
    if few:
        raise InputError(name,
                         f"at least {FEWEST} samples of each class are needed, {GOAL} are better, and there are: "
                         f"{', '.join(few)}", "sort more")
