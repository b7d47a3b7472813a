"""The commands train and tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.bank import BANK, chosen_scores, collecting, follower, table
from commands.messages import note, one_line, progress_bar, wrote
from commands.models import FAMILIES, open_controls, open_generator, set_threads
from commands.options import SEED, model_options, several
from commands.outputs import Outputs
from weights.errors import InputError

if TYPE_CHECKING:
    from directions import Controls, Steerable
    from gradctrl import Examples, Scores
    from learning.bank import SampleBank
    from learning.methods import Split

POOR = 0.7  # Balanced accuracy below which a control is warned of; half is guessing.
OF_SCORES, OF_EXAMPLES, OF_BOTH = ("networks",), ("shaping",), ("hidden", "epochs", "learning_rate")
OF_GRADCTRL = ("fit", "examples_file", "method", "seed", *OF_SCORES, *OF_EXAMPLES, *OF_BOTH)

out_file_options = several(
    click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.safetensors",
                 help="Where the controls go."),
    click.option("--overwrite", is_flag=True, help="Replace a file that is there already (never an input)."))
share_option = click.option("--test-share", type=click.FloatRange(0, 0.9), default=0.0,
                            help="The share of the bank, its end, to leave alone for `gradctrl evaluate --controls` "
                                 "(which needs 0.5).")
scorer_option = click.option("--with", "scorer", default="bundled", metavar="bundled|FILE.json",
                             help="The image classifier that judges what edits do: the one that scored the bank.")
train_options = several(
    click.option("--fit", type=click.Choice(["scores", "examples"]),
                 help="Train on the scores of all samples, or on a few examples of each class, as the paper does.  "
                      "[default: scores; examples where there are labels without degrees, or few scores]"),
    click.option("--examples", "examples_file", type=click.Path(path_type=Path), metavar="FILE.json",
                 help="The examples, from `gradctrl prepare`.  [default: 30 of each class, and 30 to validate]"),
    click.option("--hidden", type=click.IntRange(min=1),
                 help="Units of the hidden layer.  [default: 32 a network for scores, 16 for examples]"),
    click.option("--epochs", type=click.IntRange(min=1),
                 help="Passes over the samples.  [default: 40 for scores, 300 for examples]"),
    click.option("--lr", "learning_rate", type=click.FloatRange(min=0, min_open=True),
                 help="Learning rate.  [default: 0.005 for scores, 0.01 for examples]"),
    click.option("--shaping", type=click.FloatRange(min=0),
                 help="Of examples: how much they shrink where W is thin; the paper's way is 0.  [default: 1]"),
    click.option("--networks", type=click.IntRange(min=1),
                 help="Of scores: how many networks are averaged.  [default: 4]"),
    click.option("--seed", type=SEED, default=0, help="Of the initial weights, and the choice of examples."),
    click.option("--method", type=click.Choice(["project", "paper"]),
                 help="How edits keep other attributes: by projection, or by the paper's masks.  [default: project for "
                      "scores, paper for examples]"))


@click.command()
@BANK
@out_file_options
@click.option("--attributes", "names", metavar="A,B",
              help="Which ones.  [default: all that have enough samples of each class]")
@train_options
@click.option("--family", type=click.Choice(["gradctrl", *FAMILIES]), default="gradctrl",
              help="Train controls of another method instead.")
@share_option
@scorer_option
@model_options
@click.pass_context
def train(context: click.Context, bank: Path, out: Path, overwrite: bool, names: str | None, family: str,
          test_share: float, scorer: str, generator: str, device: str, threads: int | None, **options: Any) -> None:
    """Teach controls what a bank shows: smile, age, beard ...

    BANK has scores (`gradctrl score`). A tenth of it is not trained on: the table tells how often the controls are
    right about these samples. `gradctrl tune` then finds how each control is best used.

    \b
    Example:
      gradctrl train people --out mine.safetensors
      gradctrl train people --out few.safetensors --fit examples --attributes smile,age
    """
    _check_usage(context, family, options)
    from directions.files import save_any
    from learning.bank import open_bank

    path = _claim(out, [file for file in [options["examples_file"]] if file], overwrite)
    opened = open_bank(bank)
    controls: Sequence[Steerable]
    if family == "gradctrl":
        set_threads(threads or 1)  # More only get in each other's way: the networks are small.
        controls = _teach(opened, names, test_share, options)
    else:
        controls = _teach_family(opened, names, family, test_share, scorer, generator, device, threads)
    save_any(path, controls, generator_hash=opened.generator_hash)
    _tell_accuracy(controls)
    wrote(path)


@click.command()
@click.argument("controls", metavar="FILE")
@click.option("--bank", type=click.Path(path_type=Path), required=True, metavar="BANK",
              help="Samples with scores; those that `train` holds back are used.")
@out_file_options
@click.option("--attributes", "names", metavar="A,B", help="Which ones.  [default: all that can be]")
@click.option("--samples", type=click.IntRange(min=1), default=30, help="Edits that each choice is tried with.")
@share_option
@click.option("--seed", type=SEED, default=0, help="Of the choice of samples.")
@scorer_option
@model_options
def tune(controls: str, bank: Path, out: Path, overwrite: bool, names: str | None, samples: int, test_share: float,
         seed: int, scorer: str, generator: str, device: str, threads: int | None) -> None:
    """Find the settings with which controls do best, judged by pictures of their edits.

    Of each control in FILE: its layers, with the paper's method the channel counts of its keep list, and how sure it
    must be before an edit has arrived; then strength 1 is set to what flips a typical sample, and the safe range found.

    \b
    Example:
      gradctrl tune mine.safetensors --bank people --out tuned.safetensors
    """
    from directions.files import check_generator, save_any
    from learning.bank import open_bank
    from learning.calibration import TuneSettings
    from learning.from_bank import make_tuner, renders
    from learning.methods import split_bank
    from learning.scorers import load_scorer

    path = _claim(out, [Path(controls)], overwrite)
    found = open_controls(controls)
    check_generator(found, open_bank(bank).generator_hash, what=f"the samples of {bank} are")
    model = open_generator(generator, device, threads)
    judge = load_scorer(scorer, device=model.device)
    opened = open_bank(bank, generator=model)
    tuner, chosen = make_tuner(opened, found, _split_names(names), model, judge,
                               split=split_bank(opened.count, test_share=test_share),
                               settings=TuneSettings(samples=samples, seed=seed))
    left = [name for name in found if name not in chosen]
    if left and names is None:
        note(f"left as they are: {', '.join(left)} (no scores in the bank that {judge.name} gives)")
    with progress_bar(renders(tuner, found, chosen), "pictures", unit="picture") as bar:
        def follow(count: int) -> None:
            bar.update(count)

        tuner.on_render = follow
        tuned = tuner.tune(found, chosen)
    save_any(path, tuned.values(), generator_hash=model.hash)
    _tell_settings(tuned, chosen)
    wrote(path)


def _check_usage(context: click.Context, family: str, options: Mapping[str, Any]) -> None:
    """Refuse options that were given and would have no effect."""
    def given(names: Sequence[str]) -> list[str]:
        return [str(parameter.opts[0]) for parameter in context.command.params if parameter.name in names
                and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE]

    if family == "gradctrl":
        idle, why = given(["scorer", "generator", "device"]), f"is for --family {', '.join(FAMILIES)}"
        if options["fit"] == "scores":
            idle, why = idle + given([*OF_EXAMPLES, "examples_file"]), "does not go with --fit scores"
        elif options["fit"] == "examples" or options["examples_file"]:
            idle, why = idle + given(OF_SCORES), "does not go with examples"
    else:
        idle, why = given(OF_GRADCTRL), f"does not go with --family {family}"
    if idle:
        raise click.UsageError(f"{idle[0]} {why}")


def _claim(out: Path, inputs: Sequence[Path], overwrite: bool) -> Path:
    if out.suffix != ".safetensors":
        raise InputError(out, "controls are safetensors", "end the name in .safetensors")
    return Outputs(out.parent, inputs, overwrite).claim(out.name)[0]


def _split_names(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def _teach(bank: SampleBank, names: str | None, test_share: float, options: Mapping[str, Any]) -> Sequence[Steerable]:
    from gradctrl import FitSettings, TrainSettings
    from learning.from_bank import teach
    from learning.methods import split_bank

    split = split_bank(bank.count, test_share=test_share)
    scores, examples = _material(bank, names, split, options)
    given = {name: options[name] for name in (*OF_BOTH, "seed") if options[name] is not None}
    networks = {} if options["networks"] is None else {"networks": options["networks"]}
    shaping = {} if options["shaping"] is None else {"shaping": options["shaping"]}
    controls = teach(bank, scores, examples, split=split, method=options["method"],
                     fit=FitSettings(**given, **networks), few=TrainSettings(**given, **shaping))
    for way, chosen in (("the scores of all samples", [item for item in scores if item.attribute not in examples]),
                        ("examples of each class", [item for item in scores if item.attribute in examples])):
        if chosen:
            note(f"trained on {way}: {', '.join(item.attribute for item in chosen)}")
    return controls


def _material(bank: SampleBank, names: str | None, split: Split,
              options: Mapping[str, Any]) -> tuple[list[Scores], dict[str, Examples]]:
    """Scores of the attributes that can be trained, and examples of those to be trained on them."""
    from gradctrl import load_examples
    from learning.from_bank import FEWEST_OF_CLASS, check_classes, choose_examples, choose_fit

    if options["examples_file"]:
        examples = load_examples(options["examples_file"], generator_hash=bank.generator_hash, samples=bank.settings)
        chosen = chosen_scores(bank, names or ",".join(examples))
        for item in chosen:
            if item.attribute not in examples:
                raise InputError(options['examples_file'],
                                 f"{item.attribute}: has no examples, only {', '.join(examples)}", "prepare them")
        return chosen, examples
    scores: list[Scores] = []
    examples = {}
    problems: list[InputError] = []
    for item in chosen_scores(bank, names):
        with collecting(problems):
            if (options["fit"] or choose_fit(item, split)) == "examples":
                examples[item.attribute] = choose_examples(item, split, seed=options["seed"])
            else:
                check_classes(item, split, fewest=FEWEST_OF_CLASS if names is None else 1)
            scores.append(item)
    _tell_left_out(problems, named=names is not None, any_left=bool(scores))
    return scores, examples


def _teach_family(bank: SampleBank, names: str | None, family: Any, test_share: float, scorer: str, generator: str,
                  device: str, threads: int | None) -> Sequence[Steerable]:
    from learning.bank import open_bank
    from learning.from_bank import FEWEST_OF_CLASS, check_classes, teach_family
    from learning.methods import split_bank
    from learning.scorers import load_scorer

    scores: list[Scores] = []
    problems: list[InputError] = []
    model = open_generator(generator, device, threads)
    open_bank(bank.folder, generator=model)
    judge = load_scorer(scorer, device=model.device)
    split = split_bank(bank.count, test_share=test_share)
    for item in chosen_scores(bank, names):
        with collecting(problems):
            if family != "interfacegan" and judge.attributes.get(item.attribute) != item.classes:
                raise InputError(item.attribute, f"{judge.name} does not judge these classes",
                                 "name the classifier that scored them with --with")
            check_classes(item, split, fewest=FEWEST_OF_CLASS if names is None else 2)
            scores.append(item)
    _tell_left_out(problems, named=names is not None, any_left=bool(scores))
    with progress_bar(0, family, unit="candidate") as bar:
        follow = follower(bar)

        def on_step(done: int, total: int) -> None:
            bar.total = total
            follow(done, total)

        return teach_family(family, bank, scores, model, judge, split=split,
                            on_step=on_step)


def _tell_left_out(problems: Sequence[InputError], *, named: bool, any_left: bool) -> None:
    """Raise the first problem if the attribute was named or nothing else is left, else tell all."""
    if problems and (named or not any_left):
        raise problems[0]
    for problem in problems:
        note(f"left out: {one_line(problem)}")


def _tell_accuracy(controls: Sequence[Steerable]) -> None:
    """A table of how well the controls agree with samples that they were not trained on."""
    rows: list[tuple[str, ...]] = [("attribute", "trained on", "samples", "accuracy", "balanced")]
    poor = []
    for control in controls:
        told = control.report.get("held out")
        held_out: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        cells = [held_out.get(key, "-") for key in ("samples", "accuracy", "balanced accuracy")]
        rows.append((control.name, str(control.report["trained on"]), *map(str, cells)))
        if held_out and held_out["balanced accuracy"] < POOR:
            poor.append(control.name)
    table(rows)
    for name in poor:
        note(f"Warning: {name}: does not tell its classes well (balanced accuracy below {POOR:g}); sample "
             "and score more, or leave it out")


def _tell_settings(controls: Controls, names: Sequence[str]) -> None:
    """A table of what was chosen."""
    rows = [("attribute", "layers", "margin", "strength 1", "safe", "accuracy", "keeps")]
    for name in names:
        control = controls[name]
        told: Any = control.report["meta-validation"]
        rows.append((name, f"{control.layers[0]}:{control.layers[1]}", f"{told['margin in deviations']:g} dev.",
                     ", ".join(f"{unit:.3g}" for unit in control.units),
                     f"{control.limits[0]:g} to {control.limits[1]:g}",
                     f"{told['accuracy']:.0%} of {told['samples']}", control.kept))
    table(rows)
