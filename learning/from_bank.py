"""Controls from a bank of samples: which samples teach what, the training, and the tuning afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from directions import Control, Controls, GradCtrlControl
from directions.control import Keeping
from directions.displacement import UNTUNED_CHANNELS
from directions.methods import Contender
from directions.stylespace import styles_of
from generators import Generator, LatentStatistics
from gradctrl import Examples, FitExamplesSettings, FitScoresSettings, Scores
from gradctrl.fitting import FEWEST
from gradctrl.prepare import prepare
from learning.accuracy import accuracy_report
from learning.bank import SampleBank
from learning.calibration import FINALISTS, Tuner, halvings
from learning.contenders import Split, fit_contender, split_bank
from learning.fitting import fit_to_examples, fit_to_scores, outside
from learning.scorers import ImageScorer
from learning.trials import check_controls, draw_trials
from weights.errors import InputError

Fit = Literal["scores", "examples"]
FEWEST_OF_CLASS = 60  # Samples of each class without which scores teach little: as many as the examples of a class.


def choose_fit(item: Scores, split: Split) -> Fit:
    """What an attribute is best trained on: all scores where there are enough and they are graded, else examples."""
    known = int(item.mask[split.fit].sum())
    return "scores" if item.graded and known >= FEWEST else "examples"


def check_classes(item: Scores, split: Split, *, fewest: int = FEWEST_OF_CLASS) -> None:
    """Refuse an attribute of which a class has too few samples to train on.

    Raises:
        InputError: the message says how many each class has.
    """
    counts = item.labels[split.fit][item.mask[split.fit]].bincount(minlength=len(item.classes)).tolist()
    if min(counts) < fewest:
        counted = ", ".join(f"{name} {count}" for name, count in zip(item.classes, counts, strict=True))
        raise InputError(item.attribute,
                         f"{fewest} samples of each class are needed to train on, and there are: {counted}",
                         "sample more")


def choose_examples(item: Scores, split: Split, *, seed: int = 0) -> Examples:
    """30 examples a class, and 30 to validate, of the samples to train on (`gradctrl.prepare`).

    Raises:
        InputError: a class has too few samples.
    """
    return prepare(replace(item, known=item.mask & ~outside(len(item.values), split.fit)), seed=seed)


def fit_from_bank(bank: SampleBank, scores: Sequence[Scores], examples: Mapping[str, Examples], *,
                  split: Split | None = None, keeping: Keeping | None = None, fit: FitScoresSettings | None = None,
                  few: FitExamplesSettings | None = None,
                  on_step: Callable[[int, int], None] | None = None) -> list[GradCtrlControl]:
    """Fit a control of each attribute: on examples where there are some, else on the scores of all samples.

    The accuracy in the reports is that on the samples to tune on, which are not trained on.

    Where the bank has gradients of the scores (`measure_gradients`), they teach beside the scores.

    Args:
        bank: The samples.
        scores: Of the bank, of each attribute.
        examples: By attribute, their indexes counting the bank's samples.
        split: Which samples are for what; None: nine tenths to train on, the last tenth to tune on.
        keeping: How the controls keep other attributes; None: those trained on scores by projection, others by masks.
        fit: How classifiers are fitted to scores; None: the defaults.
        few: How they are trained on examples; None: the defaults.
        on_step: Called with how many passes over the samples were made, and of how many: those for scores, since
            examples take no time beside them.
    Returns:
        The controls in the order of `scores`, each keeping all others, with the bank's settings in their reports.

    Raises:
        InputError: as for `fit_to_scores` and `fit_to_examples`, or examples of other classes.
    """
    latents, split = bank.latents(), split or split_bank(bank.count)
    statistics = LatentStatistics.of(latents[split.fit])
    fit = fit or FitScoresSettings()
    total = fit.epochs * sum(item.attribute not in examples for item in scores)
    gradients = bank.gradients()
    fitted: dict[str, GradCtrlControl] = {}
    made = 0

    def follow(epochs: int) -> None:
        if on_step is not None:
            on_step(made + epochs, total)

    for item in scores:
        if item.attribute in examples:
            chosen = examples[item.attribute]
            _check_examples(item, chosen, split)
            [control] = fit_to_examples(latents, [item], {item.attribute: chosen}, statistics=statistics,
                                        held_out=_untaught(split, chosen), settings=few)
        else:
            untested = replace(item, known=item.mask & outside(bank.count, split.test))
            [control] = fit_to_scores(latents, [untested], statistics=statistics, gradients=gradients,
                                      held_out=split.tune if len(split.tune) else None, settings=fit, on_epoch=follow)
            made += fit.epochs
        fitted[item.attribute] = replace(control, keeping=keeping or control.keeping, statistics=statistics)
    return [_finished(control, fitted, bank) for control in fitted.values()]


def fit_method_from_bank(method: Contender, bank: SampleBank, scores: Sequence[Scores], generator: Generator,
                         scorer: ImageScorer, *, split: Split | None = None,
                         on_step: Callable[[int, int], None] | None = None) -> list[Control]:
    """Fit the controls of another method, with the likeliest candidate for each attribute.

    Args:
        method: "interfacegan", "ganspace" or "stylespace".
        bank: The samples.
        scores: Of the bank, of each attribute.
        generator: The bank's; it renders what candidates do.
        scorer: Judges that; not used by "interfacegan".
        split: As for `fit_from_bank`.
        on_step: Called with how many candidates were looked at, and of how many.

    Raises:
        InputError: as for `fit_contender`.
    """
    latents, split = bank.latents(), split or split_bank(bank.count)
    by_name = {item.attribute: item for item in scores}
    candidates = fit_contender(method, generator, scorer, latents, by_name, split, on_step=on_step)
    controls: list[Control] = []
    for name, (control, *_) in candidates.items():
        item = by_name[name]
        index = split.tune[item.mask[split.tune]]
        x = latents[index] if control.moves == "w" else styles_of(generator, latents[index])
        known = int(item.mask[split.fit].sum())
        report = {**control.report, "trained on": f"scores of {known} samples", "samples": bank.settings}
        if len(index):
            report["held out"] = accuracy_report(control, x, item.labels[index])
        controls.append(replace(control, report=report))
    return controls


def make_tuner(bank: SampleBank, controls: Controls, names: Sequence[str] | None, generator: Generator,
               scorer: ImageScorer, *, split: Split | None = None, **more: Any) -> tuple[Tuner, list[str]]:
    """A tuner on the samples of a bank that were not trained on, and what of the controls it can tune.

    Args:
        bank: With scores.
        controls: What is to be tuned.
        names: Which of them; None: all that the bank has scores of and that the scorer can judge.
        generator, scorer, more: As for `Tuner`.
        split: As for `fit_from_bank`.

    Raises:
        InputError: one that was named cannot be tuned, or none can; or an attribute has other classes in the bank.
    """
    scores = bank.scores()
    if not scores:
        raise InputError(bank.folder, "has no scores", f"run `gradctrl score {bank.folder}` first")
    judged = {name: item for name, item in scores.items() if scorer.attributes.get(name) == item.classes}
    if names is not None:
        for name in names:
            controls.find(name)
            if name not in judged:
                whose = "has no scores of it" if name not in scores else f"{scorer.name} does not judge these classes"
                raise InputError(bank.folder, f"cannot tune {name}, {whose}",
                                 "score the bank for it, by the image classifier that is named by --with")
    shared = check_controls(controls, judged)
    pool = (split or split_bank(bank.count)).tune
    return (Tuner(generator, scorer, bank.latents(), judged, pool, **more),
            [name for name in shared if names is None or name in names])


def renders(tuner: Tuner, controls: Controls, names: Sequence[str]) -> int:
    """How many pictures it takes to tune some controls, at most."""
    total, settings = 0, tuner.settings
    for name in names:
        control = controls.control(name)
        searched = [(count * len(settings.search_margins), samples) for count, samples
                    in halvings(len(tuner.layer_choices(control)), settings.samples)]
        if isinstance(control, GradCtrlControl) and control.keeping == "masks" and len(settings.counts) > 1:
            searched.append((len(control.keep) * len(settings.counts), settings.samples))
        if len(settings.margins) > FINALISTS:
            searched.append((len(settings.margins), settings.samples))
        searched.append((min(len(settings.margins), FINALISTS), settings.margin_samples))
        there = {samples: len(draw_trials(tuner.scores, [name], tuner.pool, count=samples, seed=settings.seed))
                 for _, samples in searched}
        total += sum(tried * there[samples] for tried, samples in searched)
        total += sum(set(there.values()))  # Unedited, drawn once.
    return total


def _finished(control: GradCtrlControl, others: Mapping[str, Control], bank: SampleBank) -> GradCtrlControl:
    keep = {name: UNTUNED_CHANNELS for name in others if name != control.name}
    return replace(control, keep=keep, report={**control.report, "samples": bank.settings})


def _check_examples(item: Scores, examples: Examples, split: Split) -> None:
    if examples.classes != item.classes:
        raise InputError(item.attribute,
                         f"its examples are of the classes {', '.join(examples.classes)}, and the bank's scores of "
                         f"{', '.join(item.classes)}", "prepare the examples again")
    used = torch.cat([examples.train, examples.validation])
    last = int(used.max())
    if torch.isin(used, split.test).any():
        raise InputError(item.attribute, "some of its examples are among the samples that are to be left alone",
                         "leave out --examples, or --test-share")
    if last >= len(item.values):
        raise InputError(item.attribute, f"its examples name sample {last}, and the bank has {len(item.values)}",
                         "prepare the examples again")


def _untaught(split: Split, examples: Examples) -> Tensor | None:
    """The samples to tune on that are no examples; None if that leaves nothing."""
    index = split.tune[~torch.isin(split.tune, torch.cat([examples.train, examples.validation]))]
    return index if len(index) else None
