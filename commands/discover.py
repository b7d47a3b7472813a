"""The commands of discover: directions that nobody labelled."""

from __future__ import annotations

from pathlib import Path

import click

from commands.console import Outputs, note, progress_bar, wrote
from commands.options import SEED, model_options, open_generator
from directions.analyses import ANALYSES, Analysis, Latent
from weights.errors import InputError


@click.group()
def discover() -> None:
    """Find directions that nobody labelled, look at them, name them (GANSpace; SeFa).

    \b
    Example:
      gradctrl discover components
    """


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
@model_options
def components(layer: str, latent: Latent, analysis: Analysis | None, samples: int | None, batch: int, count: int,
               seed: int, out: Path | None, overwrite: bool, generator: str, device: str,
               threads: int | None) -> None:
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

    if out is not None and out.suffix != ".safetensors":
        raise InputError(out, "components are safetensors", "end the name in .safetensors")
    paths = Outputs(out.parent, [], overwrite).claim(out.name) if out is not None else []
    analysis = analysis or ("exact" if layer == W else "incremental")
    settings = ComponentSettings(layer=layer, latent=latent, analysis=analysis, batch=batch, count=count, seed=seed,
                                 samples=samples or (100_000 if layer == W else 10_000))
    model = open_generator(generator, device, threads)
    with progress_bar(0, "components", unit="sample") as bar:
        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found, path = cached_components(model, settings, on_step=show)
    if paths:
        save_components(paths[0], found)
    if analysis not in ("sefa", "random"):
        shares = found.shares.cumsum(0)
        note(f"{len(found)} components of {layer} hold {shares[-1]:.0%} of its variance, the first "
             f"{min(10, len(found))} {shares[min(10, len(found)) - 1]:.0%}")
    wrote(*(paths or [path]))
