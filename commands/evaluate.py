"""The command evaluate."""

from __future__ import annotations

from pathlib import Path

import click

from commands.messages import note, progress_bar, wrote
from commands.models import open_controls, open_generator
from commands.options import model_options

METHODS = ("gradctrl", "paper", "interfacegan", "ganspace", "stylespace")


@click.command()
@click.argument("bank", type=click.Path(path_type=Path), metavar="BANK")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Where everything goes; an evaluation that was interrupted there goes on.")
@click.option("--quick", is_flag=True, help="A few dozen edits instead of thousands, to see that it works.")
@click.option("--methods", metavar="LIST", default=",".join(METHODS), help="Which methods are compared.")
@click.option("--controls", metavar="NAME|FILE",
              help="Controls of your own to measure as the method gradctrl, not trained on the end of the bank.  "
                   "[default: trained on the rest of it]")
@click.option("--test-share", type=click.FloatRange(0.05, 0.95), default=1 / 3, show_default="a third",
              help="How much of the end of the bank is kept to test on.")
@click.option("--with", "scorer_name", default="bundled", metavar="bundled|FILE.json",
              help="The image classifier that judges; the one that the bank was scored with.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the choice of samples.")
@model_options
def evaluate(bank: Path, out: Path, quick: bool, methods: str, controls: str | None, test_share: float,
             scorer_name: str, seed: int, generator: str, device: str, threads: int | None) -> None:
    """Measure controls, beside the methods of others.

    BANK is a folder of `gradctrl sample --bank` with the scores of `gradctrl score`. Each method is trained and tuned
    on the first two thirds, then edits samples of the last third, and an image classifier judges the pictures. Writes
    report.md with tables, CSV files, plots and strips, and each method's controls with what was measured of them. It
    takes about 40 minutes on two cores with the bundled generator (--quick a few minutes); Ctrl-C loses nothing:
    the same command goes on.

    \b
    Example:
      gradctrl evaluate bank --out evaluation
    """
    from dataclasses import replace

    from evaluation import QUICK, Evaluation, EvaluationSettings, write_report
    from learning.bank import open_bank
    from learning.scorers import load_scorer

    names = _names(methods)
    model = open_generator(generator, device, threads)
    samples = open_bank(bank, generator=model)
    settings = replace(QUICK if quick else EvaluationSettings(), methods=names, seed=seed, test_share=test_share)
    with progress_bar(0, "evaluation", unit="piece") as bar:
        def show(what: str, done: int, total: int) -> None:
            bar.total = max(total, done + 1)
            bar.set_description(what, refresh=False)
            bar.update(done - bar.n)

        evaluation = Evaluation(model, load_scorer(scorer_name, device=model.device), samples, out, settings,
                                given={"gradctrl": open_controls(controls)} if controls else {}, on_progress=show)
        results = evaluation.run()
    wrote(*write_report(evaluation, results))
    for name, why in results.left_out.items():
        note(f"{name}: not judged ({why})")


def _names(methods: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in methods.split(",") if name.strip())
    wrong = [name for name in names if name not in METHODS]
    if wrong or not names or len(set(names)) < len(names):
        raise click.UsageError(f"--methods: {', '.join(wrong) or methods!r}: give some of {', '.join(METHODS)}, each "
                               "once")
    return names
