"""Controls made for both generators by the same recipe, and how often their edits do what they should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

from editing.bank import SampleBank, write_bank
from editing.evaluation import QUICK, Evaluation, EvaluationSettings, write_report
from editing.scorers import ImageScorer
from editing.scorers.scoring import score_bank
from gradctrl import Controls
from stylegan2 import Generator
from weights.training.compare.record import OnProgress, Pair, Result

MEASURED = Path("measured") / "gradctrl.safetensors"   # In the folder of an evaluation: the controls.


def evaluation_settings(*, quick: bool) -> EvaluationSettings:
    """Those of `gradctrl evaluate` for its default method alone, without the ablations."""
    settings = QUICK if quick else EvaluationSettings()
    return replace(settings, methods=("gradctrl",), ablation=0, counts=(), examples=())


def compare_controls(pair: Pair, folder: Path, scorer: ImageScorer, *, count: int, settings: EvaluationSettings,
                     recorded: Controls | None = None, batch: int = 16, on_progress: OnProgress) -> Result:
    """Make and measure controls of both generators, by the recipe of the bundled ones (docs/evaluation.md).

    A bank of samples, scored by the image classifier; controls fitted to the scores of the first two thirds; edits of
    the last third. Each step goes on where it was cut.

    Args:
        pair: The generators.
        folder: Where: `bank-old`, `bank-new`, `controls-old` and `controls-new`, each with a report of its own.
        scorer: The image classifier.
        count: Samples in each bank.
        settings: Of the evaluation.
        recorded: Controls of the old generator; where they were measured on just such a bank, what they record is
            taken, and nothing is made for it.
        batch: Pictures that are drawn at a time.
        on_progress: Told of each piece.
    Returns:
        By generator: what was measured of each attribute, and where the controls are.
    """
    known = None if recorded is None else measured_on(recorded, wanted_samples(pair.old, count))
    if known is not None:
        result: Result = {"old": {"attributes": known, "controls": "as recorded in its controls"}}
    else:
        result = {"old": _made(pair.old, folder, "old", scorer, count, settings, batch, on_progress)}
    return {**result, "new": _made(pair.new, folder, "new", scorer, count, settings, batch, on_progress)}


def wanted_samples(generator: Generator, count: int) -> dict[str, Any]:
    """What a control file says of the samples that it was measured on, if they are those of a bank made here."""
    return SampleBank(folder=Path(), generator_hash=generator.hash, truncation=1.0, seed=0, count=count, ending="png",
                      resolution=generator.resolution, w_dim=generator.w_dim).settings


def measured_on(controls: Controls, samples: Mapping[str, Any]) -> Result | None:
    """What controls record of each attribute; None where it was measured on other samples, or not at all."""
    found = {control.name: control.report for control in controls.values()}
    if not found or any(report.get("samples") != dict(samples) or "measured" not in report
                        for report in found.values()):
        return None
    return {name: _row(report) for name, report in found.items()}


def _made(generator: Generator, folder: Path, which: str, scorer: ImageScorer, count: int,
          settings: EvaluationSettings, batch: int, on_progress: OnProgress) -> Result:
    bank = write_bank(generator, folder / f"bank-{which}", count=count, batch=batch,
                      on_progress=_of(on_progress, f"samples of the {which} one"))
    if not set(scorer.attributes) <= set(bank.scores()):
        bank.save_scores(score_bank(bank, scorer, batch=64, on_progress=_of(on_progress, f"scores of the {which} one")))
    evaluation = Evaluation(generator, scorer, bank, folder / f"controls-{which}", settings,
                            on_progress=lambda what, *done: on_progress(f"{which}: {what}", *done))
    results = evaluation.run()
    write_report(evaluation, results)
    found = {name: _row(results.controls["gradctrl"][name].report) for name in results.trials.attributes}
    return {"attributes": found, "left out": results.left_out, "controls": f"controls-{which}/{MEASURED.as_posix()}"}


def _of(on_progress: OnProgress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(what, done, total)


def _row(report: Mapping[str, Any]) -> Result:
    """Of one control: shares, and the standard error of the accuracy."""
    edits, accuracy = report["measured"]["edits"], report["measured"]["accuracy"]
    held = report.get("held out", {})
    return {"held-out accuracy": held.get("balanced accuracy"), "accuracy": accuracy,
            "reached": report["measured"]["reached"], "edits": edits,
            "error": round(sqrt(accuracy * (1 - accuracy) / max(edits, 1)), 4)}
