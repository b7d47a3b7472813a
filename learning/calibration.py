"""Choosing a control's settings on a small meta-validation set, and calibrating its strength.

Chen et al. 2022, section 4.3: the channel counts are those with which most edits of 30 samples are right, as judged by
an image classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from directions import Control, Controls, EditedLatents, GradCtrlControl, displace, states, strengths_to
from directions.edit import Edit
from generators import Generator
from gradctrl import Scores
from learning.scorers import ImageScorer
from learning.trials import Trials, chances, cross, draw_trials, judge, verdict

COUNTS = (0, 50, 100, 150, 200, 250)                   # Channels that may be masked for an attribute; the paper's.
MARGINS = (0.0, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5)  # In deviations of the score over the samples.
SEARCH_MARGINS = (0.3, 0.75)                           # Those that are tried with each layer range.
LAYER_RANGES = ((4, 2048), (4, 48), (12, 96), (24, 2048), (4, 96), (12, 2048))  # In sides of features.
FINALISTS = 3                                          # Margins that are tried on more samples.
TYPICAL = 150                                          # Samples by which strength and safe range are calibrated.
FARTHEST = 4.0                                         # Standard scores along its own way at which an edit is unlikely.
SAFE = 0.9                                             # Share of samples that stay nearer than that in the safe range.
WATCHED = 16                                           # Side of the pictures whose change is measured.
PICTURE = "_picture"                                   # Among the scores of an image classifier, the picture.
STRIDE = 0.5                                           # In strength, from one try to the next.
LARGEST_LIMIT = 5.0                                    # Strength; a slider needs an end.
Here = TypeVar("Here", Control, Controls)



@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """What is tried."""

    samples: int = 30                        # Of the meta-validation set, for each control.
    counts: Sequence[int] = COUNTS           # For masks only; projection has no counts.
    margins: Sequence[float] = MARGINS
    search_margins: Sequence[float] = SEARCH_MARGINS
    margin_samples: int = 60                 # By which the margin is chosen in the end, of the `FINALISTS`.
    layer_ranges: Sequence[tuple[int, int]] = LAYER_RANGES
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
        self._unedited: dict[tuple[str, int], Tensor] = {}  # Small pictures of trials, by attribute and how many.

    def tune(self, controls: Controls, names: Sequence[str] | None = None) -> Controls:
        """All of what follows, for each control: layers, counts, margin, strength, safe range.

        Args:
            controls: All of them, as they keep each other.
            names: Those to tune; None: all that have scores.
        """
        for name in [name for name in controls if name in self.scores and (names is None or name in names)]:
            best = self.halved(controls, self.layer_choices(controls.control(name)))
            counted = self.tune_counts(controls, best)
            chosen = self.tune_margin(controls, counted)
            controls = controls.replaced(self.calibrate(controls.replaced(chosen), name))
        return controls

    def tune_margin(self, controls: Controls, control: Control) -> Control:
        """Choose how far past its boundary an edit goes: of all margins the few best ones are tried on more samples."""
        margins = self.settings.margins
        if len(margins) > FINALISTS:
            trials = self._trials(control.name, self.settings.samples)
            ratings = self._rate(self._here(controls), self._here(control), trials, margins)
            finalists = {rating.margin for rating in sorted(ratings, key=_goodness, reverse=True)[:FINALISTS]}
            margins = [margin for margin in margins if margin in finalists]
        return self.best(controls, [control], samples=self.settings.margin_samples, margins=margins)

    def best(self, controls: Controls, choices: Sequence[Control], *, margins: Sequence[float] | None = None,
             samples: int | None = None) -> Control:
        """The one of several variants of a control, and the margin, with which most edits can be expected to be right.

        By the mean of `chances`. Of those that are as good, to a hundredth, the one that changes pictures least: what
        no label tells, such as the light and the colour of the skin, should stay as well.

        Args:
            controls: All of them, as they keep each other.
            choices: The variants of one.
            margins: To choose from, in deviations; None: all of the settings.
            samples: How many to try on; None: as many as the settings say.
        """
        margins = self.settings.margins if margins is None else margins
        samples = samples or self.settings.samples
        chosen, rating = self._ranked(controls, choices, margins, samples)[0]
        told = {"samples": len(self._trials(chosen.name, samples)), "accuracy": round(rating.accuracy, 3),
                "expected": round(rating.expected, 3), "margin in deviations": rating.margin}
        return _reported(self.with_margin(chosen, rating.margin), {"meta-validation": told})

    def halved(self, controls: Controls, choices: Sequence[Control]) -> Control:
        """The `best` of several variants at the margins to search with, the better ones tried on more samples.

        Successive halving (Karnin et al. 2013, "Almost Optimal Exploration in Multi-Armed Bandits"): all are tried on
        some samples, the better half of them on twice as many, and so on. Chosen on 30 samples, the layers were often
        those that had been lucky (docs/evaluation.md).
        """
        margins = self.settings.search_margins
        rounds = halvings(len(choices), self.settings.samples)
        for (_, samples), (left, _) in pairwise(rounds):
            choices = [choice for choice, _ in self._ranked(controls, choices, margins, samples)[:left]]
        return self.best(controls, choices, margins=margins, samples=rounds[-1][1])

    def layer_choices(self, control: Control) -> list[Control]:
        """The control with each layer range of the grid."""
        rows = {self.generator.rows(layers): layers for layers in self.settings.layer_ranges}
        return [replace(control, layers=rows[part]) for part in sorted(rows, key=lambda r: r[0] - r[1])]

    def tune_counts(self, controls: Controls, control: Control) -> Control:
        """Choose how many channels each kept attribute masks, one attribute after the other."""
        if not isinstance(control, GradCtrlControl) or control.keeping != "masks":
            return control
        if len(self.settings.counts) == 1:  # Nothing to choose.
            return replace(control, keep=dict.fromkeys(control.keep, self.settings.counts[0]))
        for other in control.keep:
            choices = [replace(control, keep={**control.keep, other: count}) for count in self.settings.counts]
            control = self.best(controls, choices, margins=[margin_of(control)])
        return control

    def calibrate(self, controls: Controls, name: str) -> Control:
        """Set the unit of strength and the safe range.

        Strength 1 is the median path length at which the control's own score crosses its boundary (by the margin), over
        samples of the other classes that have still to cross, both ways for a binary attribute. The safe range ends
        where a tenth of the samples are, along the way that they went, more than 4 standard scores from the mean w.
        """
        controls = self._here(controls)
        control = replace(controls.control(name), units=(1.0,) * controls[name].outputs)
        untuned = controls.replaced(control)
        lengths: list[list[Tensor]] = [[] for _ in control.units]
        labels = self.scores[name].labels
        pool = self.pool[self.scores[name].mask[self.pool]]
        for class_index, class_name in enumerate(control.classes):
            others = pool[labels[pool] != class_index][:TYPICAL]
            if len(others):
                output, _ = control.heading(class_index)
                strengths = strengths_to(self.generator, untuned, self._latents(others), f"{name}:{class_name}", Edit())
                strengths = strengths.abs().cpu()
                lengths[output].append(strengths[strengths > 0])
        ways = [torch.cat([torch.zeros(0), *parts]) for parts in lengths]
        units = tuple(_median(way) for way in ways)
        reach = {"within reach": [round(float(way.isfinite().float().mean()), 3) for way in ways if len(way)]}
        control = _reported(replace(controls.control(name), units=units), reach)
        return replace(control, limits=self._limits(controls.replaced(control), control))

    def _limits(self, controls: Controls, control: Control) -> tuple[float, float]:
        population = self._states(control, self._latents(slice(2000)))
        ends = [sign * min(self._reach(controls, control, key, sign, population) for key in control.keys)
                for sign in ((-1.0, 1.0) if control.binary else (1.0,))]
        return (ends[0], ends[1]) if control.binary else (0.0, ends[0])

    def _reach(self, controls: Controls, control: Control, key: str, sign: float, population: Tensor) -> float:
        """The largest strength, at least 1, at which most samples are still likely."""
        edited = self._latents(self.pool[:TYPICAL // 3])
        start = self._states(control, edited)
        stride = Edit(strengths={key: sign * STRIDE})
        reach = 0.0
        while reach < LARGEST_LIMIT:
            edited = displace(self.generator, controls, edited, stride)  # On from where the last one ended.
            far = _standing(start, self._states(control, edited), population)
            if float((far < FARTHEST).float().mean()) < SAFE:
                break
            reach += STRIDE
        return max(reach, 1.0)

    def with_margin(self, control: Control, margin: float) -> Control:
        """The control with the same margin for all classes, given in deviations of its score over the samples."""
        control = self._here(control)
        spread = control.scores(self._states(control, self._latents(self.pool[:TYPICAL]))).std(dim=0)
        margins = tuple(round(margin * float(spread[control.heading(j)[0]]), 4) for j in range(len(control.classes)))
        return replace(control, margins=margins)

    def _latents(self, index: Tensor | slice) -> EditedLatents:
        """Some of the bank's samples, unedited, where the generator is."""
        w = self.latents[index].to(self.generator.device, self.generator.dtype)
        return EditedLatents(self.generator.broadcast(w))

    def _here(self, controls: Here) -> Here:
        """The same on the generator's device and in its precision."""
        return controls.to(self.generator.device, self.generator.dtype)

    def _states(self, control: Control, edited: EditedLatents) -> Tensor:
        return states(self.generator, control, edited)

    def _trials(self, name: str, samples: int) -> Trials:
        return draw_trials(self.scores, [name], self.pool, count=samples, seed=self.settings.seed)

    def _ranked(self, controls: Controls, choices: Sequence[Control], margins: Sequence[float], samples: int,
                ) -> list[tuple[Control, _Rating]]:
        """The variants with the rating at the best margin of each, the best first."""
        controls, trials = self._here(controls), self._trials(choices[0].name, samples)
        rated = [(choice, max(self._rate(controls, choice, trials, margins), key=_goodness))
                 for choice in map(self._here, choices)]
        return sorted(rated, key=lambda pair: _goodness(pair[1]), reverse=True)

    def _rate(self, controls: Controls, control: Control, trials: Trials, margins: Sequence[float],
              ) -> list[_Rating]:
        """How good a variant is with each of several margins."""
        edits = []
        for margin in margins:
            variant = self.with_margin(control, margin)
            edits.append(cross(self.generator, controls.replaced(variant), self.latents[trials.sample], control.name,
                               trials.target)[0])
        after = judge(self.generator, self._watch, EditedLatents.join(edits), self.on_render)
        pictures = after.pop(PICTURE).unflatten(0, (-1, len(trials)))
        unedited = self._pictures(control.name, trials)
        ratings = []
        for index, margin in enumerate(margins):
            part = slice(index * len(trials), (index + 1) * len(trials))
            seen = {name: values[part] for name, values in after.items()}
            ratings.append(_Rating(accuracy=float(verdict(trials, self.scores, seen).correct.float().mean()),
                                   expected=float(chances(trials, self.scores, seen, self.pool).mean()),
                                   change=float((pictures[index] - unedited).abs().mean()), margin=margin))
        return ratings

    def _pictures(self, name: str, trials: Trials) -> Tensor:
        """Small pictures of the samples of `_trials` before they are edited; drawn once."""
        if (name, len(trials)) not in self._unedited:
            drawn = judge(self.generator, _small, self._latents(trials.sample), self.on_render)
            self._unedited[name, len(trials)] = drawn[PICTURE]
        return self._unedited[name, len(trials)]

    def _watch(self, pictures: Tensor) -> dict[str, Tensor]:
        """The image classifier's scores, and the pictures themselves, small."""
        return {**self.scorer(pictures), **_small(pictures)}


def halvings(choices: int, samples: int) -> list[tuple[int, int]]:
    """The rounds of `Tuner.halved`: how many variants are tried in each, and on how many samples."""
    rounds = [(choices, samples)]
    while choices > 2:
        choices, samples = -(-choices // 2), 2 * samples
        rounds.append((choices, samples))
    return rounds


def _small(pictures: Tensor) -> dict[str, Tensor]:
    return {PICTURE: torch.nn.functional.adaptive_avg_pool2d(pictures, WATCHED).flatten(1)}


@dataclass(frozen=True, kw_only=True)
class _Rating:
    accuracy: float  # Share of edits that were right.
    expected: float  # The same that is to be expected of others.
    change: float    # Mean difference of the pictures, of 2.
    margin: float    # With which it was so, in deviations.


def _goodness(rating: _Rating) -> tuple[float, float]:
    return round(rating.expected, 2), -rating.change


def margin_of(control: Control) -> float:
    """The margin that was tuned for a control, in deviations; 0 where none was."""
    tuned = control.report.get("meta-validation")
    return float(tuned["margin in deviations"]) if isinstance(tuned, dict) else 0.0


def _reported(control: Control, more: Mapping[str, Any]) -> Control:
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


def _standing(start: Tensor, end: Tensor, population: Tensor) -> Tensor:
    """How far [N] each latent is from the population's mean along the way that it went, in deviations."""
    way = torch.nn.functional.normalize(end - start, dim=1)
    deviation = ((population - population.mean(dim=0)) @ way.T).std(dim=0).clamp_min(1e-9)
    return ((end - population.mean(dim=0)) * way).sum(dim=1).abs() / deviation
