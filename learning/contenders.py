"""What is compared: each method's controls, fitted to the same samples, and tuned the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from directions import (
    ALL_LAYERS,
    Control,
    Controls,
    LinearControl,
    fit_interfacegan,
    ganspace_candidates,
    stylespace_candidates,
)
from directions.methods import Contender
from generators import Generator, LatentStatistics
from gradctrl import Examples, FitExamplesSettings, FitScoresSettings, Scores
from gradctrl.prepare import prepare
from learning.calibration import Tuner
from learning.candidates import pick_by_pictures
from learning.fitting import fit_to_examples, fit_to_scores, outside
from learning.scorers import ImageScorer

TITLES = {"gradctrl": "GradCtrl (projection)", "paper": "GradCtrl (paper)", "interfacegan": "InterFaceGAN",
          "ganspace": "GANSpace", "stylespace": "StyleSpace"}
PAPER_EXAMPLES = 30               # A class, for training and again for validation.
SHARES = (0.02, 0.1, 0.3)         # Of the most confident samples that InterFaceGAN's boundaries are fitted to.
TUNED_SHARE = 0.1                 # Of the samples to learn from that are kept for tuning.


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which samples of a bank are for what: indexes."""

    fit: Tensor   # To train on.
    tune: Tensor  # To tune on, and for the accuracy in the training report.
    test: Tensor  # Never seen before the evaluation; may be empty.


def split_bank(count: int, *, test_share: float = 0.0) -> Split:
    """Divide a bank: the last `test_share` to test, of the rest the last tenth to tune, what is left to fit."""
    test = count - round(count * test_share)
    tune = test - round(test * TUNED_SHARE)
    index = torch.arange(count)
    return Split(fit=index[:tune], tune=index[tune:test], test=index[test:])


def fit_contender(contender: Contender, generator: Generator, scorer: ImageScorer, latents: Tensor,
                 scores: Mapping[str, Scores], split: Split, *, gradients: Mapping[str, Tensor] | None = None,
                 fit: FitScoresSettings | None = None,
                  few: FitExamplesSettings | None = None, examples: int = PAPER_EXAMPLES, pick_samples: int = 16,
                  finalists: int = 5, on_step: Callable[[int, int], None] | None = None) -> dict[str, list[Control]]:
    """Fit a method's controls; where it leaves a choice, several candidates for each attribute, likeliest first.

    Args:
        contender: Which.
        generator: The generator.
        scorer: Image classifier of the attributes; it looks at what candidates do to pictures.
        latents: w of the bank [N, w_dim].
        scores: Of the bank, of the attributes to train.
        split: Which samples are for what.
        gradients: Of the scores of the bank's first samples by w [M, C, w_dim], by attribute; for "gradctrl".
        fit: How "gradctrl" is fitted; None: the defaults.
        few: How "paper" is trained; None: as the paper does, without shaping.
        examples: Examples a class of "paper".
        pick_samples: By how many samples' pictures "ganspace" and "stylespace" pick their candidates,
        finalists: and how many of each attribute.
        on_step: Called with how many candidates have been looked at, and of how many.
    Raises:
        InputError: a class has too few examples.
    """
    part = part_of(scores, split.fit)
    w = latents[split.fit]
    if contender == "gradctrl":
        with one_thread():
            return _each(fit_to_scores(latents, list(scores.values()), statistics=LatentStatistics.of(w),
                                       gradients=gradients, settings=fit,
                                       held_out=outside(len(latents), split.fit).nonzero()[:, 0]))
    if contender == "paper":
        chosen = examples_of(part, examples)
        with one_thread():
            return _each(fit_to_examples(w, list(part.values()), chosen, statistics=LatentStatistics.of(w),
                                         settings=few or FitExamplesSettings(shaping=0.0)))
    if contender == "interfacegan":
        fits = [fit_interfacegan(w, part, share=share) for share in SHARES]
        return {name: [_most_accurate([controls[index] for controls in fits], latents, scores[name], split.tune)]
                for index, name in enumerate(part)}
    candidates = (ganspace_candidates(w, part) if contender == "ganspace"
                  else stylespace_candidates(generator, w, part))
    picked = pick_by_pictures(generator, w, part, candidates, scorer, best=finalists, samples=pick_samples,
                               on_step=on_step)
    return {name: list(group) for name, group in picked.items()}


def examples_of(scores: Mapping[str, Scores], count: int = PAPER_EXAMPLES) -> dict[str, Examples]:
    """By attribute `count` examples a class to train on, and as many to validate with.

    Raises:
        InputError: a class has too few samples.
    """
    return {name: prepare(item, count=count, validation=count) for name, item in scores.items()}


def part_of(scores: Mapping[str, Scores], index: Tensor) -> dict[str, Scores]:
    """The scores of some samples, by their indexes."""
    return {name: replace(item, values=item.values[index], known=item.mask[index]) for name, item in scores.items()}


def tune_contender(tuner: Tuner, candidates: Mapping[str, Sequence[Control]], *, source: str) -> Controls:
    """Choose among the candidates, and tune what is chosen (`Tuner.tune`)."""
    spaces = tuner.generator.spaces
    controls = Controls([group[0] for group in candidates.values()], spaces=spaces, source=source)
    chosen = [tuner.halved(controls, [replace(item, layers=ALL_LAYERS) for item in group])
              if len(group) > 1 else group[0] for group in candidates.values()]
    return tuner.tune(Controls(chosen, spaces=spaces, source=source))


def tune_margins(tuner: Tuner, controls: Controls) -> Controls:
    """Controls that are used as they are, but for how far past its boundary an edit goes (`Tuner.tune_margin`)."""
    return Controls([tuner.tune_margin(controls, controls.control(name)) if name in tuner.scores else controls[name]
                     for name in controls], spaces=controls.spaces, source=controls.source)


@contextmanager
def one_thread() -> Iterator[None]:
    """Train with one CPU thread: networks this small are slower with more (five times, measured with two)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _each(controls: Sequence[Control]) -> dict[str, list[Control]]:
    return {control.name: [control] for control in controls}


def _most_accurate(controls: Sequence[LinearControl], latents: Tensor, item: Scores, index: Tensor) -> Control:
    """The one that agrees best with the labels of the samples to tune on, every class counting the same."""
    index = index[item.mask[index]]
    labels = item.labels[index]

    def rate(control: LinearControl) -> float:
        hit = (control.predict(latents[index]) == labels).float()
        return float(torch.stack([hit[labels == label].mean() for label in labels.unique()]).mean())

    return max(controls, key=rate)
