"""The commands of discover: directions that nobody labelled, in W and in layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.console import Commands, Outputs, note, progress_bar, wrote
from commands.discover_naming import edits, import_edits, load_found, save
from commands.discover_options import NumberList, layers_of, layers_option, rows_option
from commands.discover_weights import rectify, survey, weights
from commands.options import SEED, class_option, model_options, open_generator, out_options
from commands.samples import follower, table
from directions.analyses import ANALYSES, Analysis, Latent
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from directions.components import Components
    from directions.effects import Effects
    from generators import Generator

SIDE = 128         # Of the pictures of sheets.
FILM_FRAMES = 24   # One way.
SAMPLES, SHOWN = 24, 2  # By which components are measured, and of which some are drawn.


@click.group(cls=Commands)
def discover() -> None:
    """Find directions that nobody labelled, look at them, name them (GANSpace; SeFa; NaviGAN).

    \b
    Examples:
      gradctrl discover edits                                 what GANSpace's authors have named
      gradctrl edit me.jpg --set ganspace:bald=1
      gradctrl discover components                            what nobody has named yet
      gradctrl discover explore ganspace                      what each of them does
      gradctrl discover save ganspace --component 11 --rows 1:4 --name chin
      gradctrl edit me.jpg --controls bundled+chin.safetensors --set chin=1
      gradctrl discover weights --layer layers.2.conv2        the same in the generator's weights
      gradctrl discover survey FILE                           what each of these does
    """


for _command in (edits, save, import_edits, weights, rectify, survey):
    discover.add_command(_command)
SOURCE = click.argument("source", metavar="ganspace|FILE")


@discover.command()
@click.option("--layer", default="w", metavar="w|LAYER",
              help="What is analysed: w, or the activations of a layer by its name (a wrong one is answered with the "
                   "list).")
@click.option("--latent", type=click.Choice(["w", "z"]), default="w",
              help="What the directions move; where it is not what is analysed, by regression. z is for samples alone.")
@click.option("--analysis", type=click.Choice(ANALYSES),
              help="PCA, exact, incremental or randomised; FastICA; sparse PCA; SeFa's closed form; or random "
                   "directions, to compare with.  [default: exact in w, incremental in layers]")
@click.option("--samples", type=click.IntRange(2), help="How many.  [default: 100000 in w, 10000 in layers]")
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures that are drawn at once, for a layer.")
@click.option("--count", type=click.IntRange(1, 512), default=80, help="How many components.")
@click.option("--seed", type=SEED, default=0, help="Of the samples, and of what is random in the analysis.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write them there (.safetensors).  [default: where they are found again by the same settings]")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
@class_option
@model_options
def components(layer: str, latent: Latent, analysis: Analysis | None, samples: int | None, batch: int, count: int,
               seed: int, out: Path | None, overwrite: bool, generator: str, device: str,
               threads: int | None, class_name: str | None) -> None:
    """Find the components of W, or of the activations of a layer.

    They are kept, by the generator and these settings, and found again; a search that was stopped goes on where it was
    with the same command. Memory stays the same for any number of samples, but for fastica and sparse.

    \b
    Example:
      gradctrl discover components --samples 1000000
      gradctrl discover components --layer layers.3.conv2 --samples 20000 --out layer.safetensors
    """
    from directions.components import ComponentSettings, W, save_components
    from directions.finding import cached_components

    given = Outputs.of_one(out, "components", [], overwrite) if out is not None else None
    analysis = analysis or ("exact" if layer == W else "incremental")
    settings = ComponentSettings(layer=layer, latent=latent, analysis=analysis, batch=batch, count=count, seed=seed,
                                 samples=samples or (100_000 if layer == W else 10_000))
    model = open_generator(generator, device, threads, class_name)
    with progress_bar(0, "components", unit="sample") as bar:
        found, path = cached_components(model, settings, on_step=follower(bar))
    if analysis not in ("sefa", "random"):
        shares = found.shares.cumsum(0)
        note(f"{len(found)} components of {layer} hold {shares[-1]:.0%} of its variance, the first "
             f"{min(10, len(found))} {shares[min(10, len(found)) - 1]:.0%}")
    if given is None:
        wrote(path)
    else:
        given[0].write(given[1], partial(save_components, components=found))


@discover.command()
@SOURCE
@click.option("--components", "numbers", type=NumberList(), default="0-13", metavar="LIST",
              help="Which ones, as in 0-13 or 3,7,20-22.")
@click.option("--sigmas", type=click.FloatRange(min=0, min_open=True), default=2.0,
              help="How far to each side, in standard deviations.")
@click.option("--columns", type=click.IntRange(2, 25), default=7, help="Pictures in a row.")
@click.option("--samples", type=click.IntRange(0, 100), default=0,
              help="Move so many samples, on a sheet for each component; 0: the mean, all components on one sheet.")
@click.option("--classes", metavar="A,B,...",
              help="Of BigGAN: move samples of several classes, by number or name, alike (a row each).")
@click.option("--latent", "latent_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Move the face of a .latent.safetensors (`gradctrl invert`) in place of the mean.")
@click.option("--seed", type=SEED, default=0, help="Of the first sample.")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7, help="Of the samples.")
@click.option("--truncate", type=click.Choice(["before", "after"]), default="before",
              help="Truncate samples before they are moved, or after, as GANSpace's authors do, where the move is "
                   "truncated too.")
@layers_option
@rows_option
@click.option("--centred", is_flag=True, help="Take a face's own coordinate along the component away first.")
@click.option("--random", "with_random", is_flag=True, help="Also a sheet of as many random directions.")
@click.option("--video", type=click.Choice(["gif", "mp4"]), help="Also a film of each component.")
@out_options
@class_option
@model_options
def sheet(source: str, numbers: Sequence[int], sigmas: float, columns: int, samples: int, classes: str | None,
          latent_file: Path | None, seed: int, truncation: float, truncate: str, layers: tuple[int, int] | None,
          rows: tuple[int, int] | None, centred: bool, with_random: bool, video: str | None, out: Path,
          overwrite: bool, generator: str, device: str, threads: int | None, class_name: str | None) -> None:
    """Draw what components do: the mean, samples or a face moved along each, from left to right.

    \b
    Example:
      gradctrl discover sheet ganspace
      gradctrl discover sheet ganspace --components 8,20 --samples 10 --layers 16:64 --video mp4
      gradctrl discover sheet ganspace --latent me.latent.safetensors --centred
    """
    import numpy as np

    from editing.sheets import component_pictures, labelled
    from editing.video import save_video
    from inversion import save_picture

    if latent_file is not None and (samples or classes):
        raise click.UsageError("give --latent, or --samples and --classes, not both")
    names_of_classes = [each.strip() for each in classes.split(",")] if classes else []
    samples = max(samples, 1) if names_of_classes else samples
    moved = layers_of(layers, rows)
    stem, found = load_found(source)
    for number in numbers:
        if number >= len(found):
            raise InputError(source, f"there is no component {number}", f"name some of 0 to {len(found) - 1}")
    kinds = [(stem, found)] if not with_random else [(stem, found), (f"{stem}-random", found.random())]
    outputs = Outputs(out, [latent_file] if latent_file else [], overwrite)
    names = [(of, [f"{of}-{number}" for number in numbers]) for of, _ in kinds]
    sheets = {of: outputs.claim(*(f"{each}.jpg" for each in (each_of if samples else [f"{of}-sheet"])))
              for of, each_of in names}
    films = {of: outputs.claim(*(f"{each}.{video}" for each in each_of)) if video else [] for of, each_of in names}
    model = open_generator(generator, device, threads, class_name)
    psi = truncation if truncate == "before" else 1.0
    painter, latents = _moved_latents(model, found, latent_file, samples, seed, psi)
    if names_of_classes:
        latents = _of_classes(model, found, names_of_classes, range(seed, seed + samples), psi)
    steps = np.linspace(-sigmas, sigmas, columns).tolist()
    frames = np.linspace(-sigmas, sigmas, FILM_FRAMES).tolist()
    total = len(kinds) * len(numbers) * (len(latents) * columns + (FILM_FRAMES if video else 0))
    with progress_bar(total, "pictures", unit="picture") as bar:
        def advance(count: int) -> None:
            bar.update(count)

        for of, each in kinds:
            if truncate == "after":
                each = each.truncated(truncation)

            def draw(numbers: Sequence[int], of_latents: Tensor, steps: Sequence[float],
                     each: Components = each) -> np.ndarray:
                return component_pictures(painter, each, numbers, of_latents, steps, layers=moved,
                                          centred=centred, side=SIDE, on_picture=advance)

            pictures = draw(numbers, latents, steps)
            if samples:
                for path, number, column in zip(sheets[of], numbers, pictures.swapaxes(0, 1), strict=True):
                    named = labelled(column, _names_of_rows(f"{of} {number}", names_of_classes, samples))
                    outputs.write(path, partial(save_picture, picture=named))
            else:
                named = labelled(pictures[0], [f"{of} {number}" for number in numbers])
                outputs.write(sheets[of][0], partial(save_picture, picture=named))
            for path, number in zip(films[of], numbers, strict=False):
                outputs.write(path, partial(save_video, pictures=draw([number], latents[:1], frames)[0, 0]))


def _moved_latents(model: Generator, found: Components, latent_file: Path | None, samples: int, seed: int,
                   truncation: float) -> tuple[Generator, Tensor]:
    """What components move: z, w or a face's w+; and the generator that draws it."""
    if latent_file is not None:
        from inversion import load_inversion

        if found.latent == "z":
            raise InputError(latent_file, "is an inversion, which has no z that these components could move",
                             "find components that move w (--latent w)")
        inversion = load_inversion(latent_file, generator=model)
        return inversion.generator_of(model), model.broadcast(inversion.latent[None].to(model.device, model.dtype))
    if found.latent == "z":
        z = model.draw_z(range(seed, seed + samples))
        return model, z if samples else z.new_zeros(1, model.z_dim)
    return model, model.sample(range(seed, seed + samples), truncation=truncation) if samples else (
        found.mean[None].to(model.device, model.dtype))


def _of_classes(model: Generator, found: Components, names: Sequence[str], seeds: range, truncation: float) -> Tensor:
    """The same samples of several classes, w [classes * seeds, w_dim].

    Raises:
        InputError: the components do not hold for a class, or they move z.
    """
    import torch

    from generators import class_index

    if found.latent == "z":
        raise InputError(None, "these components move z, which is drawn as one class", "leave out --classes")
    of_each = [model.of_class(class_index(model, name)) for name in names]
    for each in of_each:
        found.check(each)
    return torch.cat([each.sample(seeds, truncation=truncation) for each in of_each])


def _names_of_rows(title: str, classes: Sequence[str], samples: int) -> list[str]:
    """What stands beside the rows of a sheet of samples, of one class or of several."""
    names = [[each, *[""] * (samples - 1)] for each in classes or [""]]
    names[0][0] = f"{title}\n{names[0][0]}".strip()
    return [name for of_class in names for name in of_class]


@discover.command()
@SOURCE
@click.option("--sigmas", type=click.FloatRange(min=0, min_open=True), default=3.0,
              help="How far samples are moved, in standard deviations.")
@layers_option
@rows_option
@click.option("--samples", type=click.IntRange(2), default=SAMPLES, help="How many are moved.")
@click.option("--seed", type=SEED, default=0, help="Of the first of them.")
@click.option("--with", "scorer", default="bundled", metavar="bundled|FILE.json",
              help="The classifier of pictures that measures (docs/scorers.md).")
@click.option("--top", type=click.IntRange(1), default=20, help="Rows of the sheet.")
@out_options
@class_option
@model_options
def explore(source: str, sigmas: float, layers: tuple[int, int] | None, rows: tuple[int, int] | None, samples: int,
            seed: int, scorer: str, top: int, out: Path, overwrite: bool, generator: str, device: str,
            threads: int | None, class_name: str | None) -> None:
    """Measure what components do: which attributes' scores each moves, and how little else.

    SOURCE is a file of components, ganspace (the bundled ones of W), or a bank, whose samples' components are taken.
    Writes NAME-effects.csv, the components ranked by how far they move one attribute and how little else, with a name
    that this suggests; and NAME-effects.jpg, the first of them on samples.

    \b
    Example:
      gradctrl discover explore ganspace --layers 16:64
    """
    from directions.effects import measure_effects
    from editing.sheets import component_pictures, labelled
    from inversion import save_picture
    from learning.scorers import load_scorer

    moved = layers_of(layers, rows)
    stem, found = load_found(source)
    outputs = Outputs(out, [], overwrite)
    csv_path, sheet_path = outputs.claim(f"{stem}-effects.csv", f"{stem}-effects.jpg")
    model = open_generator(generator, device, threads, class_name)
    judge = load_scorer(scorer, device=model.device)
    seeds = range(seed, seed + samples)
    latents = model.draw_z(seeds) if found.latent == "z" else model.sample(seeds)
    with progress_bar(len(found), "components", unit="component") as bar:
        effects = measure_effects(model, found, judge, judge.attributes, latents, sigmas=sigmas, layers=moved,
                                  on_step=follower(bar))
    outputs.write(csv_path, partial(_write_effects, found=found, effects=effects))
    shown = effects.ranked()[:top]
    pictures = component_pictures(model, found, shown, latents[:SHOWN], [-sigmas, 0.0, sigmas],
                                  layers=moved, side=SIDE)
    by_row = pictures.swapaxes(0, 1)
    named = labelled(by_row.reshape(len(shown), -1, *by_row.shape[3:]),
                     [_in_words(effects, number) for number in shown], width=190)
    outputs.write(sheet_path, partial(save_picture, picture=named))
    table([("component", "suggested name", "effect", "alone"),
           *((str(each), effects.name(each), f"{effects.strongest(each)[1]:+.2f}", f"{effects.purity(each):.0%}")
             for each in shown)])


def _in_words(effects: Effects, number: int) -> str:
    output, effect = effects.strongest(number)
    return f"component {number}\n{output} {effect:+.2f}\nalone {effects.purity(number):.0%}"


def _write_effects(path: Path, found: Components, effects: Effects) -> None:
    """A row for each component, the best first."""
    import csv

    from weights.files import replacing

    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["component", "suggested name", "alone", "sigma", "share of variance", *effects.outputs])
        for number in effects.ranked():
            writer.writerow([number, effects.name(number), f"{effects.purity(number):.3f}",
                             f"{float(found.deviations[number]):.4g}", f"{float(found.shares[number]):.4g}",
                             *(f"{value:.3f}" for value in effects.values[number].tolist())])
