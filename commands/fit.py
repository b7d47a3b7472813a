"""The commands train, tune and encoder: what is learned from samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.checks import check_bank, check_controls, check_files, check_generator
from commands.console import Outputs, note, one_line, progress_bar
from commands.options import (
    SEED,
    model_options,
    open_controls,
    open_generator,
    open_generator_of,
    set_threads,
    several,
)
from commands.samples import BANK, chosen_scores, collecting, follower, split_names, table
from weights.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from directions import Control, Controls
    from generators import Generator
    from gradctrl import Examples, Scores
    from inversion.encoder_training import Draw, EncoderSettings
    from learning.bank import SampleBank
    from learning.contenders import Split


POOR = 0.7  # Balanced accuracy below which a control is warned of; half is guessing.
OF_SCORES, OF_EXAMPLES, OF_BOTH = ("networks",), ("shaping",), ("hidden", "epochs", "learning_rate")
OTHERS = ("interfacegan", "ganspace", "stylespace")  # Methods that `fit_method_from_bank` fits.
OF_GRADCTRL = ("fit", "examples_file", "keeping", "seed", *OF_SCORES, *OF_EXAMPLES, *OF_BOTH)

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
    click.option("--keeping", type=click.Choice(["projection", "masks"]),
                 help="How edits keep other attributes: by projection, or by the paper's masks.  [default: projection "
                      "for scores, masks for examples]"))


@click.command()
@BANK
@out_file_options
@click.option("--attributes", "names", metavar="A,B",
              help="Which ones.  [default: all that have enough samples of each class]")
@train_options
@click.option("--method", type=click.Choice(["gradctrl", *OTHERS]), default="gradctrl",
              help="Train controls of another method instead.")
@share_option
@scorer_option
@model_options
@click.pass_context
def train(context: click.Context, bank: Path, out: Path, overwrite: bool, names: str | None, method: str,
          test_share: float, scorer: str, generator: str, device: str, threads: int | None, **options: Any) -> None:
    """Teach controls what a bank shows: smile, age, beard ...

    BANK has scores (`gradctrl score`). A tenth of it is not trained on: the table tells how often the controls are
    right about these samples. `gradctrl tune` then finds how each control is best used.

    \b
    Example:
      gradctrl train people --out mine.safetensors
      gradctrl train people --out few.safetensors --fit examples --attributes smile,age
    """
    _check_usage(context, method, options)
    check_bank(bank)
    check_files(options["examples_file"])
    if method != "gradctrl":
        check_generator(generator)
    outputs, path = Outputs.of_one(out, "controls", [file for file in [options["examples_file"]] if file], overwrite)
    from directions import save
    from generators import Space
    from learning.bank import open_bank

    controls: Sequence[Control]
    if method == "gradctrl":
        set_threads(threads or 1)  # More only get in each other's way: the networks are small.
        opened = open_bank(bank)
        controls = _fit(opened, names, test_share, options)
        spaces = {"w": Space.from_text(opened.space)}
    else:
        model = open_generator_of(bank, generator, device, threads)
        opened = open_bank(bank, generator=model)
        controls = _fit_method(opened, names, method, test_share, scorer, model)
        spaces = dict(model.spaces)
    _tell_accuracy(controls)
    outputs.write(path, partial(save, controls=controls, spaces=spaces))


@click.command()
@click.argument("controls", metavar="FILE")
@click.option("--bank", type=click.Path(path_type=Path), required=True, metavar="BANK",
              help="Samples with scores; those that `train` holds back are used.")
@out_file_options
@click.option("--attributes", "names", metavar="A,B", help="Which ones.  [default: all that can be]")
@click.option("--samples", type=click.IntRange(min=1), default=30,
              help="Edits that each choice is tried with; the better layers with up to four times as many.")
@share_option
@click.option("--seed", type=SEED, default=0, help="Of the choice of samples.")
@scorer_option
@model_options
def tune(controls: str, bank: Path, out: Path, overwrite: bool, names: str | None, samples: int, test_share: float,
         seed: int, scorer: str, generator: str, device: str, threads: int | None) -> None:
    """Find the settings with which controls do best, judged by pictures of their edits.

    Of each control in FILE: its layers, where it keeps by masks the channel counts of its keep list, and how sure it
    must be before an edit has arrived; then strength 1 is set to what flips a typical sample, and the safe range found.

    \b
    Example:
      gradctrl tune mine.safetensors --bank people --out tuned.safetensors
    """
    check_bank(bank)
    check_controls(controls, kept=split_names(names) or ())
    check_generator(generator)
    outputs, path = Outputs.of_one(out, "controls", [Path(controls)], overwrite)
    from directions import save
    from learning.bank import open_bank
    from learning.calibration import TuneSettings
    from learning.contenders import split_bank
    from learning.from_bank import make_tuner, renders
    from learning.scorers import load_scorer

    untuned = open_controls(controls)
    model = open_generator_of(bank, generator, device, threads)
    untuned.check(model)
    judge = load_scorer(scorer, device=model.device)
    opened = open_bank(bank, generator=model)
    tuner, chosen = make_tuner(opened, untuned, split_names(names), model, judge,
                               split=split_bank(opened.count, test_share=test_share),
                               settings=TuneSettings(samples=samples, seed=seed))
    left = [name for name in untuned if name not in chosen]
    if left and names is None:
        note(f"left as they are: {', '.join(left)} (no scores in the bank that {judge.name} gives)")
    with progress_bar(renders(tuner, untuned, chosen), "pictures", unit="picture") as bar:
        def follow(count: int) -> None:
            bar.update(count)

        tuner.on_render = follow
        tuned = tuner.tune(untuned, chosen)
    _tell_settings(tuned, chosen)
    outputs.write(path, partial(save, controls=tuned.values(), spaces=model.spaces))


def _check_usage(context: click.Context, method: str, options: Mapping[str, Any]) -> None:
    """Refuse options that were given and would have no effect."""
    def given(names: Sequence[str]) -> list[str]:
        return [str(parameter.opts[0]) for parameter in context.command.params if parameter.name in names
                and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE]

    if method == "gradctrl":
        idle, why = given(["scorer", "generator", "device"]), f"is for --method {', '.join(OTHERS)}"
        if options["fit"] == "scores":
            idle, why = idle + given([*OF_EXAMPLES, "examples_file"]), "does not go with --fit scores"
        elif options["fit"] == "examples" or options["examples_file"]:
            idle, why = idle + given(OF_SCORES), "does not go with examples"
    else:
        idle, why = given(OF_GRADCTRL), f"does not go with --method {method}"
    if idle:
        raise click.UsageError(f"{idle[0]} {why}")


def _fit(bank: SampleBank, names: str | None, test_share: float, options: Mapping[str, Any]) -> Sequence[Control]:
    from gradctrl import FitExamplesSettings, FitScoresSettings
    from learning.contenders import split_bank
    from learning.from_bank import fit_from_bank

    split = split_bank(bank.count, test_share=test_share)
    scores, examples = _material(bank, names, split, options)
    given = {name: options[name] for name in (*OF_BOTH, "seed") if options[name] is not None}
    networks = {} if options["networks"] is None else {"networks": options["networks"]}
    shaping = {} if options["shaping"] is None else {"shaping": options["shaping"]}
    with progress_bar(0, "training", unit="epoch") as bar:
        controls = fit_from_bank(bank, scores, examples, split=split, keeping=options["keeping"],
                                 fit=FitScoresSettings(**given, **networks),
                                 few=FitExamplesSettings(**given, **shaping), on_step=follower(bar))
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
        examples = load_examples(options["examples_file"], samples=bank.settings)
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


def _fit_method(bank: SampleBank, names: str | None, method: Any, test_share: float, scorer: str,
                model: Generator) -> Sequence[Control]:
    from learning.bank import open_bank
    from learning.contenders import split_bank
    from learning.from_bank import FEWEST_OF_CLASS, check_classes, fit_method_from_bank
    from learning.scorers import load_scorer

    scores: list[Scores] = []
    problems: list[InputError] = []
    open_bank(bank.folder, generator=model)
    judge = load_scorer(scorer, device=model.device)
    split = split_bank(bank.count, test_share=test_share)
    for item in chosen_scores(bank, names):
        with collecting(problems):
            if method != "interfacegan" and judge.attributes.get(item.attribute) != item.classes:
                raise InputError(item.attribute, f"{judge.name} does not judge these classes",
                                 "name the classifier that scored them with --with")
            check_classes(item, split, fewest=FEWEST_OF_CLASS if names is None else 2)
            scores.append(item)
    _tell_left_out(problems, named=names is not None, any_left=bool(scores))
    with progress_bar(0, method, unit="candidate") as bar:
        return fit_method_from_bank(method, bank, scores, model, judge, split=split, on_step=follower(bar))


def _tell_left_out(problems: Sequence[InputError], *, named: bool, any_left: bool) -> None:
    """Raise the first problem if the attribute was named or nothing else is left, else tell all."""
    if problems and (named or not any_left):
        raise problems[0]
    for problem in problems:
        note(f"left out: {one_line(problem)}")


def _tell_accuracy(controls: Sequence[Control]) -> None:
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
    rows = [("attribute", "layers", "margin", "strength 1", "safe", "right", "expected", "keeps")]
    for name in names:
        control = controls.control(name)
        told: Any = control.report["meta-validation"]
        rows.append((name, f"{control.layers[0]}:{control.layers[1]}", f"{told['margin in deviations']:g} dev.",
                     ", ".join(f"{unit:.3g}" for unit in control.units),
                     f"{control.limits[0]:g} to {control.limits[1]:g}",
                     f"{told['accuracy']:.0%} of {told['samples']}", f"{told['expected']:.0%}", control.kept))
    table(rows)


@click.command()
@click.option("--count", type=click.IntRange(1000, 1_000_000), default=20_000, show_default=True,
              help="Samples that it is trained on.")
@click.option("--steps", type=click.IntRange(0), default=1000, show_default=True,
              help="Steps through the generator after that, by which it learns w+.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True,
              help="Pictures of such a step; 64 on a GPU.")
@click.option("--side", type=click.IntRange(32), default=128, show_default=True,
              help="Their side, in pixels; 256 on a GPU.")
@click.option("--bank", type=click.Path(path_type=Path), metavar="BANK",
              help="Take the samples from a bank (`gradctrl sample --bank`) in place of drawing them.")
@click.option("--faces", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Learn w+ by these pictures too: aligned faces (`gradctrl align`), of the generator's kind.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write it there (.safetensors), to be given to others.  [default: where it is found and used]")
@click.option("--overwrite", is_flag=True, help="Replace the encoder that is there already.")
@model_options
def encoder(count: int, steps: int, batch: int, side: int, bank: Path | None, faces: Path | None, out: Path | None,
            overwrite: bool, generator: str, device: str, threads: int | None) -> None:
    """Train the encoder of a generator, from which inversions start.

    It learns from the generator's own samples; no photos are needed. Inversions with that generator use it from then
    on. A training that was stopped goes on where it was when it is started
    again (from FILE.checkpoint, which is removed in the end).

    \b
    Example:
      gradctrl encoder --generator ffhq.pkl
    """
    check_generator(generator)
    if bank is not None:
        check_bank(bank)
    check_files(faces)
    from inversion.encoder import own_path, save_encoder
    from inversion.encoder_training import EncoderSettings, fit_encoder

    model = open_generator(generator, device, threads)
    outputs, path = Outputs.of_one(out or own_path(model), "encoders", [], overwrite)
    settings = EncoderSettings(count=count, drawn_steps=steps, drawn_batch=batch, drawn_side=side)
    checkpoint = path.with_suffix(".checkpoint")
    with progress_bar(settings.steps + steps, "encoder", unit="step") as bar:
        def show(done: int, total: int, loss: float) -> None:
            bar.set_postfix_str(f"error {loss:.2f}", refresh=False)
            bar.update(done - bar.n)

        trained, report = fit_encoder(model, settings=settings, checkpoint=checkpoint, on_step=show,
                                      draw=_draw_from(bank, settings, model) if bank else None,
                                      faces=_read_faces(faces) if faces else None)
    notes = {"samples": str(count), "lpips": f"{report.lpips:.3f}", "lpips_changed": f"{report.lpips_changed:.3f}"}
    outputs.write(path, partial(save_encoder, encoder=trained, space=model.space, notes=notes))
    checkpoint.unlink(missing_ok=True)
    note(f"LPIPS of its starts on new samples: {report.lpips:.3f}; on samples changed as photos may be: "
         f"{report.lpips_changed:.3f} (of the mean: {report.lpips_mean:.3f})")


def _draw_from(folder: Path, settings: EncoderSettings, generator: Generator) -> Draw:
    """Samples of a bank, its last ones held out.

    Raises:
        InputError: not a bank, of another space, or with too few samples.
    """
    import torch

    from inversion.encoder_training import DRAWN
    from learning.bank import open_bank

    bank = open_bank(folder, generator=generator)
    needed = settings.count + settings.held_out + DRAWN
    if bank.count < needed:
        raise InputError(folder, f"has {bank.count} samples, and {needed} are needed",
                         "sample more, or give a smaller --count")
    latents = bank.latents()

    def draw(numbers: range) -> tuple[Tensor, Tensor]:
        start = numbers.start % bank.count
        stop = start + len(numbers)
        return torch.from_numpy(bank.pictures(start, stop)).permute(0, 3, 1, 2), latents[start:stop]

    return draw


def _read_faces(folder: Path) -> Tensor:
    """Aligned pictures of a folder, uint8 [M, 3, 256, 256].

    Raises:
        InputError: there are none, or one cannot be read.
    """
    import numpy as np
    import torch

    from inversion import made_smaller, open_photo
    from inversion.encoder_training import SIDE
    from inversion.photo import SAVED_AS

    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SAVED_AS)
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror})", "give a folder of aligned faces") from error
    pictures = [made_smaller(open_photo(path).pixels, SIDE) for path in paths]
    odd = [path for path, picture in zip(paths, pictures, strict=True) if picture.shape != (SIDE, SIDE, 3)]
    if odd or not paths:
        raise InputError(odd[0] if odd else folder, "not an aligned face" if odd else "no pictures",
                         "align photos by `gradctrl align`")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
