"""The commands evaluate and demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.console import Outputs, note, progress_bar, wrote
from commands.edit_outputs import in_file_name
from commands.options import (
    SEED,
    device_options,
    model_options,
    open_generator,
    open_generator_of,
    out_options,
)
from directions.methods import CONTENDERS, NAME
from weights.errors import InputError

if TYPE_CHECKING:
    from editing import Editor
    from editing.demo import Demo


@click.command()
@click.argument("bank", type=click.Path(path_type=Path), metavar="BANK")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Where everything goes; an evaluation that was interrupted there goes on.")
@click.option("--quick", is_flag=True, help="A few dozen edits instead of thousands, to see that it works.")
@click.option("--trials", type=click.IntRange(min=20), metavar="N",
              help="Edits near boundaries, and with them all else that is tried, fewer or more than 3000.")
@click.option("--methods", metavar="LIST", default=",".join(CONTENDERS),
              help="Which methods are compared; \"\": none but what is --given.")
@click.option("--controls", metavar="NAME|FILE",
              help="Controls of your own to measure as the method gradctrl, not trained on the end of the bank.  "
                   "[default: trained on the rest of it]")
@click.option("--given", metavar="NAME=FILE", multiple=True,
              help="More controls to measure as they are, under a name of your own; may be given several times.")
@click.option("--tune-given", is_flag=True,
              help="Choose how far past its boundary an edit goes for what is --given too, as for the methods.")
@click.option("--tune-samples", type=click.IntRange(min=1), metavar="N",
              help="By how many edits it is chosen how far past its boundary an edit goes.  [default: 300]")
@click.option("--test-share", type=click.FloatRange(0.05, 0.95), default=1 / 3, show_default="a third",
              help="How much of the end of the bank is kept to test on.")
@click.option("--with", "scorer_name", default="bundled", metavar="bundled|paper|controls|FILE.json",
              help="The image classifier that judges, the one that the bank was scored with; paper: the bundled one, "
                   "of the four attributes of the paper in two classes each; controls: of all those of the bundled "
                   "controls, in their classes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the choice of samples.")
@model_options
def evaluate(bank: Path, out: Path, quick: bool, trials: int | None, methods: str, controls: str | None,
             given: tuple[str, ...], tune_given: bool, tune_samples: int | None, test_share: float, scorer_name: str,
             seed: int, generator: str, device: str, threads: int | None) -> None:
    """Measure controls, beside the methods of others.

    BANK is a folder of `gradctrl sample --bank` with the scores of `gradctrl score`. Each method is trained and tuned
    on the first two thirds, then edits samples of the last third, and an image classifier judges the pictures. Writes
    report.md with tables, CSV files, plots and strips, and each method's controls with what was measured of them. It
    takes hours on two cores with the bundled generator (--quick a few minutes); Ctrl-C loses nothing:
    the same command goes on.

    \b
    Example:
      gradctrl evaluate bank --out evaluation
    """
    from directions import load
    from evaluation import QUICK, Evaluation, EvaluationSettings, write_report
    from learning.bank import open_bank
    from learning.scorers import load_scorer

    files = _files(given)
    names = _names(methods) if methods or not files else ()
    if controls:
        if "gradctrl" in files:
            raise click.UsageError("--controls is what --given gradctrl=FILE would be: give one of them")
        files["gradctrl"] = controls
    model = open_generator_of(bank, generator, device, threads)
    samples = open_bank(bank, generator=model)
    settings = replace(QUICK if quick else EvaluationSettings(), methods=names, seed=seed, test_share=test_share,
                       tune_given=tune_given)
    if trials is not None:
        share = trials / settings.trials
        settings = replace(settings, trials=trials, edits=max(1, round(settings.edits * share)),
                           ablation=max(1, round(settings.ablation * share)))
    if tune_samples is not None:
        settings = replace(settings, tune=replace(settings.tune, margin_samples=tune_samples))
    with progress_bar(0, "evaluation", unit="piece") as bar:
        def show(what: str, done: int, total: int) -> None:
            bar.total = max(total, done + 1)
            bar.set_description(what, refresh=False)
            bar.update(done - bar.n)

        evaluation = Evaluation(model, load_scorer(scorer_name, device=model.device), samples, out, settings,
                                given={name: load(file) for name, file in files.items()}, on_progress=show)
        results = evaluation.run()
    wrote(*write_report(evaluation, results))
    for name, why in results.left_out.items():
        note(f"{name}: not judged ({why})")


def _names(methods: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in methods.split(",") if name.strip())
    wrong = [name for name in names if name not in CONTENDERS]
    if wrong or not names or len(set(names)) < len(names):
        raise click.UsageError(f"--methods: {', '.join(wrong) or methods!r}: give some of {', '.join(CONTENDERS)}, "
                               "each once")
    return names


def _files(given: tuple[str, ...]) -> dict[str, str]:
    """Files of controls by name."""
    files: dict[str, str] = {}
    for item in given:
        name, _, file = item.partition("=")
        if not NAME.fullmatch(name) or not file or name in files:
            raise click.UsageError(f"--given: {item!r}: give NAME=FILE, each name once, in lower-case "
                                   "letters of any language, digits and _")
        files[name] = file
    return files


@click.command()
@click.argument("which", metavar="ffhq|car|cat", type=click.Choice(["ffhq", "car", "cat"]))
@click.option("--attribute", metavar="NAME", help="Which one.  [default: all that the authors show]")
@click.option("--samples", type=click.IntRange(1, 10_000), default=4, help="How many random samples are edited.")
@click.option("--seed", type=SEED, default=0, help="Of the first sample; the others follow.")
@out_options
@device_options
def demo(which: str, attribute: str | None, samples: int, seed: int, out: Path, overwrite: bool, device: str,
         threads: int | None) -> None:
    """Reproduce the demo of GradCtrl's authors, with their classifiers and their settings.

    Faces are NVIDIA's where `gradctrl weights fetch stylegan2-ffhq` has got its generator, else those of the bundled
    one, its student, which has the same W. Cars and cats need theirs, and their classifiers (stylegan2-car and
    gradctrl-car, or -cat). Writes ffhq-SEED-ATTRIBUTE.png for each sample and attribute: 9, 6 and 3 steps away from
    it, the sample, and 3, 6 and 9 steps towards it.

    \b
    Example:
      gradctrl demo ffhq --attribute smile --samples 2
    """
    from directions import load
    from editing import Editor
    from editing.demo import DEMOS, demo_names, demo_strips
    from inversion import save_picture

    chosen = _fetched(DEMOS[which])
    controls = load(chosen.controls)
    attributes = chosen.attributes if attribute is None else (controls.find(attribute).name,)
    outputs = Outputs(out, [], overwrite)
    editor: Editor = Editor(open_generator(chosen.generator, device, threads), controls)
    names = [name for item in attributes for name in demo_names(editor, item)]
    paths = {(number, name): outputs.claim(f"{which}-{number}-{in_file_name(name)}.png")[0]
             for number in range(seed, seed + samples) for name in names}
    with progress_bar(len(paths), "strips", unit="strip") as bar:
        for number in range(seed, seed + samples):
            for item in attributes:
                for name, picture in demo_strips(editor, item, number):
                    save_picture(paths[number, name], picture)
                    wrote(paths[number, name])
                    bar.update()


def _fetched(demo: Demo) -> Demo:
    """A demo of files that are there: with the other generator if its own is not.

    Raises:
        InputError: some are missing; the message tells what to run for all of them.
    """
    from weights.manifest import entry_of
    from weights.store import is_known, location

    missing = [name for name in (demo.generator, demo.controls) if is_known(name)
               and not all(location(entry_of(part)).is_file() for part in (name, *entry_of(name).needs))]
    if missing == [demo.generator] and demo.instead:
        note(f"{demo.generator} is not on this machine: the faces are those of {demo.instead}")
        return replace(demo, generator=demo.instead)
    if missing:
        commands = " and ".join(f"`gradctrl weights fetch {name}`" for name in missing)
        raise InputError(', '.join(missing), "not on this machine", f"run {commands}")
    return demo
