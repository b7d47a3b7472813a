"""The commands attributes and sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.bank import sample_bank
from commands.messages import progress_bar, wrote
from commands.models import open_controls, open_generator
from commands.options import SEED, controls_option, model_options, out_options
from commands.outputs import LATENT, Outputs

if TYPE_CHECKING:
    import numpy as np

SAMPLE_BATCH = 8


@click.command()
@controls_option
def attributes(controls: str) -> None:
    """List what can be changed, and what each change leaves alone.

    \b
    Example:
      gradctrl attributes
    """
    for control in open_controls(controls).values():
        names = [control.name] if control.binary else [f"{control.name}:{name}" for name in control.classes]
        meaning = f"{control.classes[0]} (-) to {control.classes[1]} (+)" if control.binary else "one class at a time"
        low, high = control.limits
        click.echo(f"{'  '.join(names)}\n    {meaning}; good from {low:g} to {high:g}; layers "
                   f"{control.layers[0]}:{control.layers[1]}\n    keeps: {control.kept}")
    click.echo("\nUse them as in: gradctrl edit me.jpg --set NAME=1", err=True)


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
@model_options
@click.pass_context
def sample(context: click.Context, count: int, seed: int, truncation: float | None, sheet: bool, bank: Path | None,
           ending: str, batch: int, out: Path, overwrite: bool, generator: str, device: str,
           threads: int | None) -> None:
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
    if bank is not None:
        sample_bank(bank, count=count, seed=seed, truncation=1.0 if truncation is None else truncation, ending=ending,
                    batch=batch, generator=generator, device=device, threads=threads)
    else:
        _sample_files(count, seed, 0.7 if truncation is None else truncation, sheet, Outputs(out, [], overwrite),
                      generator, device, threads)


def _check_use(context: click.Context, unwanted: Sequence[str], why: str) -> None:
    """Refuse options that were given and would have no effect."""
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is not click.core.ParameterSource.DEFAULT
        if parameter.name in unwanted and given:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def _sample_files(count: int, seed: int, truncation: float, sheet: bool, outputs: Outputs, generator: str, device: str,
                  threads: int | None) -> None:
    """A picture and a latent for each seed."""
    from generators import to_pixels
    from inversion import Inversion, save_inversion, save_picture

    seeds = range(seed, seed + count)
    sheet_path = outputs.claim(f"samples{seeds[0]}-{seeds[-1]}.png") if sheet else []
    paths = [outputs.claim(f"sample{number}.png", f"sample{number}{LATENT}") for number in seeds]
    model = open_generator(generator, device, threads)
    pictures: list[np.ndarray] = []
    with progress_bar(count, "samples", unit="sample") as bar:
        for start in range(0, count, SAMPLE_BATCH):
            latents = model.sample(seeds[start:start + SAMPLE_BATCH], truncation=truncation)
            rendered = to_pixels(model.render(latents))
            for latent, picture, (picture_path, latent_path) in zip(latents, rendered, paths[start:], strict=False):
                save_picture(picture_path, picture)
                save_inversion(latent_path, Inversion(  # Its own crop: nothing was lost in finding it.
                    latent=latent.float().cpu(), space=model.space, crop=picture, picture=picture, lpips=0.0,
                    mse=0.0, identity=None, seconds=0.0, steps=0))
                wrote(picture_path, latent_path)
                bar.update()
            if sheet:
                pictures.extend(rendered)
    if sheet_path:
        save_picture(sheet_path[0], _sheet(pictures))
        wrote(*sheet_path)


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in rows, about as many rows as columns, white where there are too few."""
    import numpy as np

    from editing import join

    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    grid = np.full((rows * columns, *pictures[0].shape), 255, np.uint8)
    grid[:len(pictures)] = pictures
    return join(grid.reshape(rows, columns, *pictures[0].shape))
