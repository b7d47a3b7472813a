"""The commands of discover that name directions: edits, save, import."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.console import Outputs, note
from commands.discover_options import class_option, layers_of, layers_option, open_class, rows_option
from commands.options import model_options
from weights.errors import InputError

if TYPE_CHECKING:
    from directions import Control
    from directions.components import Components

OF_BANK = 80  # Components that are taken of a bank's samples.


def load_found(source: str) -> tuple[str, Components]:
    """The components that a command names, and what begins the names of its results."""
    from directions.components import load_components
    from directions.finding import components_of
    from directions.named import GANSPACE, ganspace_components

    if source == GANSPACE:
        return GANSPACE, ganspace_components()
    path = Path(source)
    if path.is_dir():
        from generators import Space
        from learning.bank import open_bank

        bank = open_bank(path)
        return path.name, components_of(bank.latents(), Space.from_text(bank.space), OF_BANK)
    return path.name.removesuffix(".safetensors"), load_components(path)


@click.command()
@click.option("--group", help="Only those of this group.")
def edits(group: str | None) -> None:
    """List the edits that GANSpace's authors named, and what each does to faces here.

    \b
    Example:
      gradctrl discover edits --group hair
      gradctrl edit me.jpg --set ganspace:bald=1
    """
    from directions.named import ganspace_edits

    named = ganspace_edits()
    groups = list(dict.fromkeys(named.groups.values()))
    if group is not None and group not in groups:
        raise InputError(group, "no such group", f"there are {', '.join(groups)}")
    for each in [group] if group is not None else groups:
        click.echo(each)
        for key, (name, member) in zip(named.keys, named.members.items(), strict=True):
            if named.groups[name] == each:
                click.echo(f"  {key}\n      {member.report['does']}; {member.limits[0]:g} to {member.limits[1]:g}")


@click.command()
@click.argument("source", metavar="ganspace|FILE")
@click.option("--component", "number", type=click.IntRange(0), required=True, help="Which component, from 0.")
@click.option("--name", required=True, help="What it is to be called: lower-case letters, digits and _.")
@click.option("--sigmas", type=float, default=3.0, metavar="NUMBER",
              help="Standard deviations that strength 1 moves by; below 0 the other way.")
@layers_option
@rows_option
@click.option("--hold-still", metavar="A,B",
              help="Take out of it what moves these attributes' scores, by the controls of --controls.")
@click.option("--controls", default="bundled", metavar="NAME|FILE", help="Whose attributes are held still.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where.  [default: NAME.safetensors]")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@class_option
@model_options
def save(source: str, number: int, name: str, sigmas: float, layers: tuple[int, int] | None,
         rows: tuple[int, int] | None, hold_still: str | None, controls: str, out: Path | None, overwrite: bool,
         generator: str, device: str, threads: int | None, class_index: int | None) -> None:
    """Name a component, and write it as a direction that edits can use.

    \b
    Example:
      gradctrl discover save ganspace --component 51 --rows 4:5 --sigmas -20 --name nose
      gradctrl edit me.jpg --controls bundled+nose.safetensors --set nose=1 --set smile=0.5
    """
    from directions import load
    from directions import save as save_directions
    from directions.holding import held_still
    from directions.methods import NAME

    moved = layers_of(layers, rows)
    if not NAME.fullmatch(name):
        raise InputError(name, "cannot be a direction's name", "use lower-case letters of any language, digits and _")
    outputs, path = Outputs.of_one(out or Path(f"{name}.safetensors"), "directions", [], overwrite)
    _, found = load_found(source)
    model = open_class(generator, device, threads, class_index)
    found.check(model)
    made = found.direction(number, name=name, sigmas=sigmas, layers=moved)
    model.rows(made.layers)
    if hold_still:
        known = load(controls)
        known.check(model)
        kept: list[Control] = [known.control(each.strip()) for each in hold_still.split(",")]
        made = held_still(made, kept, model.sample(range(1000)).float().cpu())
        note(f"{made.report['left of it']:.0%} of it is left")
    outputs.write(path, partial(save_directions, controls=[made], spaces=model.spaces))


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.pkl...")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="Where the directions go (.safetensors).")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@class_option
@model_options
def import_edits(files: tuple[Path, ...], out: Path, overwrite: bool, generator: str, device: str,
                 threads: int | None, class_index: int | None) -> None:
    """Import edits that GANSpace's viewer has saved (out/directions/*.pkl); nothing in them is run.

    They are refused for a generator whose W does not spread along them as they say: that is another network's.

    \b
    Example:
      gradctrl discover import stylegan2-nose-ffhq-ipca-w-style-comp51-range4-5.pkl --out nose.safetensors
    """
    from directions import save as save_directions
    from directions.saved_edits import import_saved_edit
    from generators import LatentStatistics

    outputs, path = Outputs.of_one(out, "directions", files, overwrite)
    model = open_class(generator, device, threads, class_index)
    statistics = LatentStatistics.of_generator(model)
    made = [import_saved_edit(each, statistics=statistics) for each in files]
    for each in made:
        note(f"{each.name}: layers {each.layers[0]}:{each.layers[1]}")
    outputs.write(path, partial(save_directions, controls=made, spaces=model.spaces))
