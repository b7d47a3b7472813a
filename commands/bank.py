"""Banks of samples: the commands score and prepare, and sample --bank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.messages import note, one_line, progress_bar, wrote
from commands.models import open_generator, set_threads
from commands.options import SEED, device_options
from commands.outputs import Outputs
from weights.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

    from gradctrl.scores import Scores
    from learning.bank import SampleBank

BANK = click.argument("bank", type=click.Path(path_type=Path), metavar="BANK")


def sample_bank(folder: Path, *, count: int, seed: int, truncation: float, ending: str, batch: int, generator: str,
                device: str, threads: int | None) -> None:
    """What `sample --bank` does."""
    from learning.bank import write_bank

    model = open_generator(generator, device, threads)
    done = 0
    with progress_bar(count, "samples", unit="sample") as bar:
        follow = follower(bar)

        def on_progress(there: int, total: int) -> None:
            nonlocal done
            done = there
            follow(there, total)

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
    from gradctrl.prepare import prepare as choose
    from gradctrl.prepare import save_examples
    from learning.bank import open_bank

    opened = open_bank(bank)
    path = Outputs(out.parent, [], overwrite).claim(out.name)[0]
    examples = []
    problems: list[InputError] = []
    for item in chosen_scores(opened, names):
        with collecting(problems):
            examples.append(choose(item, count=count or 30, share=share, validation=validation, seed=seed))
    if problems and (names is not None or not examples):
        raise problems[0]
    for problem in problems:
        note(f"left out: {one_line(problem)}")
    save_examples(path, examples, generator_hash=opened.generator_hash, samples=opened.settings)
    table([(item.attribute, f"{len(item.train)} to train on, {len(item.validation)} to validate: "
             + ", ".join(item.classes)) for item in examples])
    wrote(path)


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
    wanted = list(scores) if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in scores]
    if unknown:
        raise InputError(bank.folder, f"has no scores of {unknown[0]!r}, only of {', '.join(scores)}", "score it first")
    return [scores[name] for name in dict.fromkeys(wanted)]


def _classes(given: Sequence[str]) -> dict[str, list[str]]:
    """--classes as classes by attribute."""
    found: dict[str, list[str]] = {}
    for text in given:
        name, sign, classes = text.partition("=")
        if not sign or not name or name in found:
            raise click.BadParameter(f"{text!r} must be NAME=A,B, each name once", param_hint="--classes")
        found[name] = [part.strip() for part in classes.split(",")]
    return found


def follower(bar: tqdm[None]) -> Callable[[int, int], None]:
    """A callback that brings a progress bar to where the work is."""
    def follow(done: int, total: int) -> None:
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
