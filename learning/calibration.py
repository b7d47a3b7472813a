"""Choosing a control's settings on a small meta-validation set, and calibrating its strength.

Chen et al. 2022, section 4.3: the channel counts are those with which most edits of 30 samples are right, as judged by
an image classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from directions import Control, Controls, Steerable
from editing.editor import Edited, Editor
from generators import Generator
from gradctrl import Scores
from learning.scorers import ImageScorer
from learning.trials import Trials, cross, draw_trials, judge, verdict

COUNTS = (0, 50, 100, 150, 200, 250)                   # Channels that may be masked for an attribute; the paper's.
MARGINS = (0.0, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5)  # In deviations of the score over the samples.
SEARCH_MARGINS = (0.3, 0.75)                           # Those that are tried with each layer range.
LAYER_PARTS = ((0, 1), (0, 1 / 2), (1 / 6, 2 / 3), (1 / 3, 1), (0, 2 / 3), (1 / 6, 1))  # Of the rows of w+.
TYPICAL = 150                                          # Samples by which strength and safe range are calibrated.
FARTHEST = 4.0                                         # Standard scores along its own way at which an edit is unlikely.
SAFE = 0.9                                             # Share of samples that stay nearer than that in the safe range.
WATCHED = 16                                           # Side of the pictures whose change is measured.
PICTURE = "_picture"                                   # Among the scores of an image classifier, the picture.
STRIDE = 0.5                                           # In strength, from one try to the next.
LARGEST_LIMIT = 5.0                                    # Strength; a slider needs an end.



@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """What is tried."""

    samples: int = 30                        # Of the meta-validation set, for each control.
    counts: Sequence[int] = COUNTS           # For the method "paper" only; projection has no counts.
    margins: Sequence[float] = MARGINS
    search_margins: Sequence[float] = SEARCH_MARGINS
    margin_samples: int = 60                 # By which the margin is chosen in the end.
    layer_parts: Sequence[tuple[float, float]] = LAYER_PARTS
    seed: int = 0


class Tuner:
    """Tries settings of controls on samples near the boundaries.

    Args:
        generator: Renders the edits.
        scorer: The image classifier that judges them.
        latents: w of the whole bank [N, w_dim].
        scores: Of the whole bank.
        pool: Indexes of the samples to tune on [P]; not those that the controls were trained on.
    """

    def __init__(self, generator: Generator, scorer: ImageScorer, latents: Tensor, scores: Mapping[str, Scores],
                 pool: Tensor, settings: TuneSettings | None = None, *, on_render: Callable[[int], None] | None = None,
                 ) -> None:
        self.generator, self.scorer, self.latents, self.scores, self.pool = generator, scorer, latents, scores, pool
        self.settings = settings or TuneSettings()
        self.on_render = on_render

    def tune(self, controls: Controls, names: Sequence[str] | None = None) -> Controls:
        """All of what follows, for each control: layers, counts, margin, strength, safe range.

        Args:
            controls: All of them, as they keep each other.
            names: Those to tune; None: all that have scores.
        """
        for name in [name for name in controls if name in self.scores and (names is None or name in names)]:
            best = self.best(controls, self.layer_choices(controls[name]), margins=self.settings.search_margins)
            counted = self.tune_counts(controls, best)
            chosen = self.best(controls, [counted], samples=self.settings.margin_samples)
            controls = _with(controls, self.calibrate(_with(controls, chosen), name))
        return controls

    def best(self, controls: Controls, choices: Sequence[Steerable], *, margins: Sequence[float] | None = None,
             samples: int | None = None) -> Steerable:
        """The one of several variants of a control, and the margin, with which most edits are right.

        Of those that are as good, the one that changes pictures least: what no label tells, such as
        the light and the colour of the skin, should stay as well.

        Args:
            controls: All of them, as they keep each other.
            choices: The variants of one.
            margins: To choose from, in deviations; None: all of the settings.
            samples: How many to try on; None: as many as the settings say.
        """
        trials = self._trials(choices[0].name, samples or self.settings.samples)
        margins = self.settings.margins if margins is None else margins
        rated = [self._rate(controls, choice, trials, margins) for choice in choices]
        found = max(range(len(rated)), key=lambda index: (rated[index].accuracy, -rated[index].change))
        rating = rated[found]
        chosen = self.with_margin(choices[found], rating.margin)
        return _reported(chosen, {"meta-validation": {"samples": len(trials), "accuracy": round(rating.accuracy, 3),
                                                      "margin in deviations": rating.margin}})

    def layer_choices(self, control: Steerable) -> list[Steerable]:
        """The control with each layer range of the grid."""
        rows = self.generator.num_ws
        ranges = {(round(start * rows), round(stop * rows)) for start, stop in self.settings.layer_parts}
        return [replace(control, layers=layers) for layers in sorted(ranges, key=lambda r: r[0] - r[1])
                if layers[0] < layers[1]]

    def tune_counts(self, controls: Controls, control: Steerable) -> Steerable:
        """Choose how many channels each kept attribute masks, one attribute after the other."""
        if not isinstance(control, Control) or control.method != "paper":
            return control
        for other in control.keep:
            choices = [replace(control, keep={**control.keep, other: count}) for count in self.settings.counts]
            control = self.best(controls, choices, margins=[margin_of(control)])
        return control

    def calibrate(self, controls: Controls, name: str) -> Steerable:
        """Set the unit of strength and the safe range.

        Strength 1 is the median path length at which the control's own score crosses its boundary (by the margin), over
        samples of the other classes that have still to cross, both ways for a binary attribute. The safe range ends
        where a tenth of the samples are, along the way that they went, more than 4 standard scores from the mean w.
        """
        control = replace(controls[name], units=(1.0,) * controls[name].outputs)
        editor = Editor(self.generator, _with(controls, control))
        lengths: list[list[Tensor]] = [[] for _ in control.units]
        labels = self.scores[name].labels
        pool = self.pool[self.scores[name].mask[self.pool]]
        for class_index, class_name in enumerate(control.classes):
            others = pool[labels[pool] != class_index][:TYPICAL]
            if len(others):
                editor.set_latents(self.latents[others])
                output, _ = control.heading(class_index)
                strengths = editor.strengths_to(f"{name}:{class_name}").abs().cpu()
                lengths[output].append(strengths[strengths > 0])
        ways = [torch.cat([torch.zeros(0), *found]) for found in lengths]
        units = tuple(_median(way) for way in ways)
        reach = {"within reach": [round(float(way.isfinite().float().mean()), 3) for way in ways if len(way)]}
        control = _reported(replace(controls[name], units=units), reach)
        return replace(control, limits=self._limits(_with(controls, control), control))

    def _limits(self, controls: Controls, control: Steerable) -> tuple[float, float]:
        population = Editor(self.generator, controls).states(control, self.latents[:2000])
        ends = [sign * min(self._reach(controls, control, key, sign, population) for key in _keys(control))
                for sign in ((-1.0, 1.0) if control.binary else (1.0,))]
        return (ends[0], ends[1]) if control.binary else (0.0, ends[0])

    def _reach(self, controls: Controls, control: Steerable, key: str, sign: float, population: Tensor) -> float:
        """The largest strength, at least 1, at which most samples are still likely."""
        editor = Editor(self.generator, controls)
        editor.set_latents(self.latents[self.pool[:TYPICAL // 3]])
        start = editor.states(control)
        reach = 0.0
        while reach < LARGEST_LIMIT:
            editor.set_latents(editor.displace({key: sign * STRIDE}))  # On from where the last one ended.
            far = _standing(start, editor.states(control), population)
            if float((far < FARTHEST).float().mean()) < SAFE:
                break
            reach += STRIDE
        return max(reach, 1.0)

    def with_margin(self, control: Steerable, margin: float) -> Steerable:
        """The control with the same margin for all classes, given in deviations of its score over the samples."""
        x = Editor(self.generator, Controls([control])).states(control, self.latents[self.pool[:TYPICAL]])
        spread = control.scores(x).std(dim=0)
        margins = tuple(round(margin * float(spread[control.heading(j)[0]]), 4) for j in range(len(control.classes)))
        return replace(control, margins=margins)

    def _trials(self, name: str, samples: int) -> Trials:
        return draw_trials(self.scores, [name], self.pool, count=samples, seed=self.settings.seed)

    def _rate(self, controls: Controls, control: Steerable, trials: Trials, margins: Sequence[float]) -> _Rating:
        """How good a variant is with the best of several margins."""
        start = Edited(self.generator.broadcast(self.latents[trials.sample].to(self.generator.neutral())))
        edits = [start]
        for margin in margins:
            variant = self.with_margin(control, margin)
            edits.append(cross(Editor(self.generator, _with(controls, variant)), self.latents[trials.sample],
                               control.name, trials.target)[0])
        after = judge(self.generator, self._watch, Edited.join(edits), self.on_render)
        pictures = after.pop(PICTURE).unflatten(0, (-1, len(trials)))
        ratings = []
        for index, margin in enumerate(margins, 1):
            part = slice(index * len(trials), (index + 1) * len(trials))
            found = verdict(trials, self.scores, {name: values[part] for name, values in after.items()})
            ratings.append(_Rating(accuracy=float(found.correct.float().mean()),
                                   stayed=float(torch.stack(list(found.stayed.values())).float().mean()),
                                   change=float((pictures[index] - pictures[0]).abs().mean()), margin=margin))
        return max(ratings, key=lambda rating: (rating.accuracy, rating.stayed))

    def _watch(self, pictures: Tensor) -> dict[str, Tensor]:
        """The image classifier's scores, and the pictures themselves, small."""
        small = torch.nn.functional.adaptive_avg_pool2d(pictures, WATCHED)
        return {**self.scorer(pictures), PICTURE: small.flatten(1)}


@dataclass(frozen=True, kw_only=True)
class _Rating:
    accuracy: float  # Share of edits that are right.
    stayed: float    # Share of other labels that stayed.
    change: float    # Mean difference of the pictures, of 2.
    margin: float    # With which it was so, in deviations.


def margin_of(control: Steerable) -> float:
    """The margin that was tuned for a control, in deviations; 0 where none was."""
    found = control.report.get("meta-validation")
    return float(found["margin in deviations"]) if isinstance(found, dict) else 0.0


def _with(controls: Controls, control: Steerable) -> Controls:
    """The controls with one of them replaced."""
    return Controls([control if other.name == control.name else other for other in controls.values()],
                    generator_hash=controls.generator_hash, source=controls.source)


def _reported(control: Steerable, more: Mapping[str, Any]) -> Steerable:
    return replace(control, report={**control.report, **more})


def _median(lengths: Tensor) -> float:
    """Median of path lengths, 1 if there are none; those that never crossed count as longer than all others."""
    if not len(lengths):
        return 1.0
    middle = float(lengths.sort().values[(len(lengths) - 1) // 2])
    finite = lengths[lengths.isfinite()]
    if middle == float("inf"):
        middle = float(finite.max()) if len(finite) else 1.0
    return round(max(middle, 1e-3), 4)


def _keys(control: Steerable) -> list[str]:
    return [control.name] if control.binary else [f"{control.name}:{name}" for name in control.classes]


def _standing(start: Tensor, end: Tensor, population: Tensor) -> Tensor:
    """How far [N] each latent is from the population's mean along the way that it went, in deviations."""
    way = torch.nn.functional.normalize(end - start, dim=1)
    deviation = ((population - population.mean(dim=0)) @ way.T).std(dim=0).clamp_min(1e-9)
    return ((end - population.mean(dim=0)) * way).sum(dim=1).abs() / deviation
