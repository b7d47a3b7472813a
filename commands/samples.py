"""The commands sample, score, gradients and prepare: synthetic people, and banks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.checks import check_bank, check_files, check_generator
from commands.console import LATENT, Outputs, note, one_line, progress_bar, wrote
from commands.options import (
    SEED,
    class_option,
    device_options,
    model_options,
    open_generator,
    open_generator_of,
    out_options,
    set_threads,
)
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from gradctrl.scores import Scores
    from learning.bank import SampleBank


SAMPLE_BATCH = 8


@click.command()
@click.option("--count", type=click.IntRange(1, 100_000), default=8, help="How many.")
@click.option("--seed", type=SEED, default=0, help="Seed of the first; the others follow.")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5),
              help="1: as varied as the generator can; less is more typical.  [default: 0.7; of a bank 1]")
@click.option("--sheet", is_flag=True, help="Also write all of them as one picture.")
@click.option("--bank", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Write a bank instead, that controls can be trained on; one that was stopped goes on.")
@click.option("--format", "ending", type=click.Choice(["png", "webp", "jpg"]), default="png",
              help="Pictures of the bank.")
@click.option("--batch", type=click.IntRange(min=1), default=SAMPLE_BATCH, help="Drawn at once; of the bank.")
@out_options
@class_option
@model_options
@click.pass_context
def sample(context: click.Context, count: int, seed: int, truncation: float | None, class_name: str | None,
           sheet: bool, bank: Path | None, ending: str, batch: int, out: Path, overwrite: bool, generator: str,
           device: str, threads: int | None) -> None:
    """Draw synthetic people.

    Writes sampleSEED.png and sampleSEED.latent.safetensors for each seed. `gradctrl edit --seed SEED` edits the same
    person. With --bank it writes thousands of them into one folder, for `gradctrl score` and `gradctrl prepare`.

    \b
    Example:
      gradctrl sample --count 8 --seed 3 --sheet --out people
      gradctrl sample --count 10000 --bank bank
    """
    _check_use(context, unwanted=("ending", "batch") if bank is None else ("sheet", "out", "overwrite"),
               why="goes with --bank" if bank is None else "does not go with --bank")
    check_generator(generator)
    if bank is not None:
        sample_bank(bank, count=count, seed=seed, truncation=1.0 if truncation is None else truncation, ending=ending,
                    batch=batch, generator=generator, device=device, threads=threads, class_name=class_name)
    else:
        _sample_files(count, seed, 0.7 if truncation is None else truncation, class_name, sheet,
                      Outputs(out, [], overwrite), generator, device, threads)


def _check_use(context: click.Context, unwanted: Sequence[str], why: str) -> None:
    """Refuse options that were given and would have no effect."""
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is not click.core.ParameterSource.DEFAULT
        if parameter.name in unwanted and given:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def _sample_files(count: int, seed: int, truncation: float, class_name: str | None, sheet: bool, outputs: Outputs,
                  generator: str, device: str, threads: int | None) -> None:
    """A picture and a latent for each seed."""
    seeds = range(seed, seed + count)
    sheet_path = outputs.claim(f"samples{seeds[0]}-{seeds[-1]}.png") if sheet else []
    paths = [outputs.claim(f"sample{number}.png", f"sample{number}{LATENT}") for number in seeds]
    from generators import to_pixels
    from inversion import Inversion, save_inversion, save_picture

    model = open_generator(generator, device, threads, class_name)
    pictures: list[np.ndarray] = []
    with progress_bar(count, "samples", unit="sample") as bar:
        for start in range(0, count, SAMPLE_BATCH):
            latents = model.sample(seeds[start:start + SAMPLE_BATCH], truncation=truncation)
            rendered = to_pixels(model.render(latents))
            for latent, picture, (picture_path, latent_path) in zip(latents, rendered, paths[start:], strict=False):
                outputs.write(picture_path, partial(save_picture, picture=picture))
                outputs.write(latent_path, partial(save_inversion, inversion=Inversion(  # Its own crop.
                    latent=latent.float().cpu(), space=model.space, crop=picture, picture=picture, lpips=0.0,
                    mse=0.0, identity=None, seconds=0.0, steps=0)))
                bar.update()
            if sheet:
                pictures.extend(rendered)
    if sheet_path:
        outputs.write(sheet_path[0], partial(save_picture, picture=_sheet(pictures)))


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in rows, about as many rows as columns, white where there are too few."""
    import numpy as np

    from editing import join

    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    grid = np.full((rows * columns, *pictures[0].shape), 255, np.uint8)
    grid[:len(pictures)] = pictures
    return join(grid.reshape(rows, columns, *pictures[0].shape))


BANK = click.argument("bank", type=click.Path(path_type=Path), metavar="BANK")


def sample_bank(folder: Path, *, count: int, seed: int, truncation: float, ending: str, batch: int, generator: str,
                device: str, threads: int | None, class_name: str | None = None) -> None:
    """What `sample --bank` does."""
    from learning.bank import write_bank

    model = open_generator(generator, device, threads, class_name)
    done = 0
    with progress_bar(count, "samples", unit="sample") as bar:
        follow = follower(bar)

        def on_progress(ready: int, total: int) -> None:
            nonlocal done
            done = ready
            follow(ready, total)

        try:
            bank = write_bank(model, folder, count=count, seed=seed, truncation=truncation, ending=ending, batch=batch,
                              on_progress=on_progress)
        except KeyboardInterrupt as error:
            note(f"stopped: {done} of {count} samples are in {folder}; the same command again goes on from there")
            raise click.exceptions.Exit(1) from error
    wrote(bank.folder)


@click.command()
@BANK
@click.option("--with", "sources", multiple=True, default=["bundled"], metavar="bundled|FILE.json|FILE.csv",
              help="Who scores: the bundled image classifier, a classifier of your own (docs/scorers.md), or a CSV of "
                   "labels. May be given several times.")
@click.option("--classes", "given", multiple=True, metavar="NAME=A,B",
              help="The classes of a column of the CSV, in order: beard=no,yes.")
@click.option("--batch", type=click.IntRange(min=1), default=32, help="Pictures that are scored at once.")
@device_options
def score(bank: Path, sources: tuple[str, ...], given: tuple[str, ...], batch: int, device: str,
          threads: int | None) -> None:
    """Score the samples of a bank: which smile, which are old ...

    Scores of an attribute replace those that the bank has of it; other attributes stay. A model file is a program: give
    only one that you trust.

    \b
    Example:
      gradctrl score people
      gradctrl score people --with beards.csv --classes beard=no,yes
    """
    classes = _classes(given)
    tables = [source for source in sources if source.lower().endswith(".csv")]
    if classes and len(tables) != 1:
        raise click.UsageError("--classes goes with one CSV: --with FILE.csv")
    check_bank(bank)
    check_files(*(source for source in sources if Path(source).suffix.lower() in (".json", ".csv")))
    from learning.bank import open_bank
    from learning.scorers import read_labels

    set_threads(threads)
    opened = open_bank(bank)
    opened.scores()  # A damaged file is told of before the long work.
    scores = [item for table in tables for item in read_labels(table, opened, classes=classes)]
    scores += _score_pictures(opened, [source for source in sources if source not in tables], scores, batch, device)
    opened.save_scores(scores)
    table([(item.attribute, *_counts(item)) for item in scores])
    wrote(opened.folder / "scores.safetensors")


@click.command()
@BANK
@click.option("--count", type=click.IntRange(min=1), default=300, show_default=True,
              help="Of how many samples, the first ones of the bank.")
@click.option("--attributes", "names", metavar="A,B", help="Of which ones.  [default: all that it has scored]")
@click.option("--with", "scorer_name", default="bundled", metavar="bundled|FILE.json",
              help="The image classifier that scored the bank; not an ONNX file.")
@model_options
def gradients(bank: Path, count: int, names: str | None, scorer_name: str, generator: str, device: str,
              threads: int | None) -> None:
    """Measure how a bank's scores change with w; `gradctrl train` then learns that too.

    A score tells one number of a sample, its gradient through the image classifier and the generator one for each
    coordinate of w. One that was stopped goes on where it was.

    \b
    Example:
      gradctrl gradients people
    """
    check_bank(bank)
    check_files(*([scorer_name] if scorer_name.lower().endswith(".json") else []))
    check_generator(generator)
    from learning.bank import open_bank
    from learning.scorers import load_scorer, measure_gradients

    model = open_generator_of(bank, generator, device, threads)
    opened = open_bank(bank, generator=model)
    judge = load_scorer(scorer_name, device=model.device)
    with progress_bar(min(count, opened.count), "gradients", unit="sample") as bar:
        measure_gradients(opened, model, judge, count=count, names=split_names(names), on_progress=follower(bar))
    wrote(opened.folder / "gradients.safetensors")


@click.command()
@BANK
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.json",
              help="Where the examples go.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@click.option("--attributes", "names", metavar="A,B",
              help="Which ones.  [default: all that have enough samples of each class]")
@click.option("--count", type=click.IntRange(min=1), help="Training examples a class.  [default: 30]")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True),
              help="In place of --count: training examples a class, as a share of all samples that have a score.")
@click.option("--validation", type=click.IntRange(min=0), default=30, help="Validation examples a class.")
@click.option("--seed", type=SEED, default=0, help="Of the division into the two sets.")
def prepare(bank: Path, out: Path, overwrite: bool, names: str | None, count: int | None, share: float | None,
            validation: int, seed: int) -> None:
    """Choose the examples that controls are trained on: of each class the samples that are surest.

    \b
    Example:
      gradctrl prepare people --out examples.json
      gradctrl prepare people --out more.json --attributes smile,age --count 100
    """
    if count is not None and share is not None:
        raise click.UsageError("give --count or --share, not both")
    check_bank(bank)
    from gradctrl.prepare import prepare as choose
    from gradctrl.prepare import save_examples
    from learning.bank import open_bank

    opened = open_bank(bank)
    outputs = Outputs(out.parent, [], overwrite)
    [path] = outputs.claim(out.name)
    examples = []
    problems: list[InputError] = []
    for item in chosen_scores(opened, names):
        with collecting(problems):
            examples.append(choose(item, count=count or 30, share=share, validation=validation, seed=seed))
    if problems and (names is not None or not examples):
        raise problems[0]
    for problem in problems:
        note(f"left out: {one_line(problem)}")
    table([(item.attribute, f"{len(item.train)} to train on, {len(item.validation)} to validate: "
             + ", ".join(item.classes)) for item in examples])
    outputs.write(path, partial(save_examples, examples=examples, samples=opened.settings))


def _score_pictures(bank: SampleBank, sources: Sequence[str], labelled: Iterable[Scores], batch: int,
                    device: str) -> list[Scores]:
    """Scores by image classifiers, of attributes that nobody else scores."""
    from generators import choose_device
    from learning.scorers import load_scorer, score_bank

    if not sources:
        return []
    chosen = choose_device(device)
    scorers = [load_scorer(source, device=chosen) for source in sources]
    claims = [(item.attribute, item.scorer) for item in labelled]
    claims += [(name, scorer.name) for scorer in scorers for name in scorer.attributes]
    first: dict[str, str] = {}
    for name, scorer_name in claims:
        if name in first:
            raise InputError(name, f"is scored by {first[name]} and by {scorer_name}", "give one of them")
        first[name] = scorer_name
    scores = []
    for scorer in scorers:
        with progress_bar(bank.count, scorer.name, unit="sample") as bar:
            scores += score_bank(bank, scorer, batch=batch, on_progress=follower(bar))
    return scores


@contextmanager
def collecting(problems: list[InputError]) -> Iterator[None]:
    """Collect an InputError instead of raising it."""
    try:
        yield
    except InputError as error:
        problems.append(error)


def chosen_scores(bank: SampleBank, names: str | None) -> list[Scores]:
    """The scores of the attributes that were named, or all."""
    scores = bank.scores()
    if not scores:
        raise InputError(bank.folder, "has no scores", f"run `gradctrl score {bank.folder}` first")
    wanted = split_names(names) or list(scores)
    unknown = [name for name in wanted if name not in scores]
    if unknown:
        raise InputError(bank.folder, f"has no scores of {unknown[0]!r}, only of {', '.join(scores)}", "score it first")
    return [scores[name] for name in dict.fromkeys(wanted)]


def split_names(names: str | None) -> list[str] | None:
    """The names of an option "A,B"; None: it was not given."""
    return None if names is None else [name.strip() for name in names.split(",")]


def _classes(given: Sequence[str]) -> dict[str, list[str]]:
    """--classes as classes by attribute."""
    classes_by_name: dict[str, list[str]] = {}
    for text in given:
        name, sign, classes = text.partition("=")
        if not sign or not name or name in classes_by_name:
            raise click.BadParameter(f"{text!r} must be NAME=A,B, each name once", param_hint="--classes")
        classes_by_name[name] = [part.strip() for part in classes.split(",")]
    return classes_by_name


def follower(bar: tqdm[None]) -> Callable[[int, int], None]:
    """A callback that brings a progress bar to where the work is, of as much as there is by now."""
    def follow(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return follow


def _counts(item: Scores) -> tuple[str, str]:
    counts = item.labels[item.mask].bincount(minlength=len(item.classes)).tolist()
    told = ", ".join(f"{name} {count}" for name, count in zip(item.classes, counts, strict=True))
    return told, f"by {item.scorer}"


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Tell rows in columns, on stderr."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        note("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
