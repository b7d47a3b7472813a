"""The command mix: samples whose layers come of several latents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from commands.checks import check_generator
from commands.console import Outputs
from commands.discover_options import NumberList, layers_of, layers_option, rows_option
from commands.options import class_option, model_options, open_generator, out_options

SIDE = 256  # Of the pictures of sheets, at most.


@click.command()
@click.option("--seeds", type=NumberList(), required=True, metavar="LIST",
              help="The samples that are mixed, as in 1-3.")
@click.option("--with", "donors", type=NumberList(), required=True, metavar="LIST",
              help="Those whose rows they take, as in 10-16: one column of the sheet each.")
@click.option("--with-class", metavar="NUMBER|NAME", help="What these are of, of BigGAN.  [default: --class]")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7, help="Of all of them.")
@layers_option
@rows_option
@out_options
@class_option
@model_options
def mix(seeds: Sequence[int], donors: Sequence[int], with_class: str | None, truncation: float,
        layers: tuple[int, int] | None, rows: tuple[int, int] | None, out: Path, overwrite: bool, generator: str,
        device: str, threads: int | None, class_name: str | None) -> None:
    """Draw samples that take some layers' latents of others (style mixing), or of fresh ones (resampling).

    Writes mix.png, a row for each of --seeds: first itself, then with the layers of --layers as each of --with has
    them. Of BigGAN a layer range is one of blocks, each with its z and class (figures 6 and 7 of GANSpace).

    \b
    Examples:
      gradctrl mix --seeds 1-3 --with 10-12 --layers 64:1024                  colours of others
      gradctrl mix --seeds 1 --with 20-29 --layers 32:512 --class tabby --generator biggan-deep-256
    """
    check_generator(generator)
    outputs = Outputs(out, [], overwrite)
    [path] = outputs.claim("mix.png")
    from editing import join
    from editing.sheets import mixed_pictures
    from generators import class_index
    from inversion import save_picture
    from weights.errors import InputError

    model = open_generator(generator, device, threads, class_name)
    giving = model if with_class is None else model.of_class(class_index(model, with_class))
    if not giving.space.matches(model.space):
        raise InputError(None, "these classes have each a W of their own, and cannot be mixed",
                         "leave out --with-class")
    pictures = mixed_pictures(model, model.sample(seeds, truncation=truncation),
                              giving.sample(donors, truncation=truncation), layers=layers_of(layers, rows), side=SIDE)
    outputs.write(path, partial(save_picture, picture=join(pictures)))
