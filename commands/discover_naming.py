"""The commands of discover that name directions: edits, save, import."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.console import Outputs, note
from commands.discover_options import layers_of, layers_option, rows_option
from commands.options import class_option, model_options, open_generator
from weights.errors import InputError

if TYPE_CHECKING:
    from directions import Control, Direction
    from directions.components import Components
    from generators import Generator

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
    """List the edits that GANSpace's authors named, and directions of weights, and what each does to faces here.

    \b
    Example:
      gradctrl discover edits --group hair
      gradctrl edit me.jpg --set ganspace:bald=1
    """
    from directions.files import NAMED
    from directions.named import DirectionSet

    sets = [each for read in NAMED.values() for each in read().values() if isinstance(each, DirectionSet)]
    groups = list(dict.fromkeys(of for named in sets for of in named.groups.values()))
    if group is not None and group not in groups:
        raise InputError(group, "no such group", f"there are {', '.join(groups)}")
    for of in [group] if group is not None else groups:
        click.echo(of)
        for named in sets:
            for key, (name, member) in zip(named.keys, named.members.items(), strict=True):
                if named.groups[name] == of:
                    click.echo(f"  {key}\n      {member.report['does']}; {member.limits[0]:g} to "
                               f"{member.limits[1]:g}")


@click.command()
@click.argument("source", metavar="ganspace|FILE")
@click.option("--component", "number", type=click.IntRange(0), required=True,
              help="Which component, or direction of weights, from 0.")
@click.option("--name", required=True, help="What it is to be called: lower-case letters, digits and _.")
@click.option("--sigmas", type=float, metavar="NUMBER",
              help="Standard deviations that strength 1 moves by; below 0 the other way.  [default: 3]")
@click.option("--lengths", type=float, metavar="NUMBER",
              help="Of a direction of weights: recommended lengths that strength 1 moves by; below 0 the other way.  "
                   "[default: 1]")
@layers_option
@rows_option
@click.option("--hold-still", metavar="A,B",
              help="Take out of it what moves these attributes' scores, by the controls of --controls.")
@click.option("--controls", default="bundled", metavar="NAME|FILE", help="Whose attributes are held still.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where.  [default: NAME.safetensors]")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@class_option
@model_options
def save(source: str, number: int, name: str, sigmas: float | None, lengths: float | None,
         layers: tuple[int, int] | None, rows: tuple[int, int] | None, hold_still: str | None, controls: str,
         out: Path | None, overwrite: bool, generator: str, device: str, threads: int | None,
         class_name: str | None) -> None:
    """Name a component, or a direction of weights, and write it as a direction that edits can use.

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
    if is_weight_basis(source):
        if sigmas is not None or layers or rows or hold_still:
            raise click.UsageError("directions of weights have --lengths, and no --sigmas, --layers, --rows or "
                                   "--hold-still")
        _save_weights(source, number, name, 1.0 if lengths is None else lengths,
                      open_generator(generator, device, threads, class_name), outputs, path)
        return
    if lengths is not None:
        raise click.UsageError("components have --sigmas, and no --lengths")
    _, found = load_found(source)
    model = open_generator(generator, device, threads, class_name)
    found.check(model)
    made = found.direction(number, name=name, sigmas=3.0 if sigmas is None else sigmas, layers=moved)
    model.rows(made.layers)
    if hold_still:
        known = load(controls)
        known.check(model)
        kept: list[Control] = [known.control(each.strip()) for each in hold_still.split(",")]
        made = held_still(made, kept, model.sample(range(1000)).float().cpu())
        note(f"{made.report['left of it']:.0%} of it is left")
    outputs.write(path, partial(save_directions, controls=[made], spaces=model.spaces))


def is_weight_basis(source: str) -> bool:
    """Whether a file is one of directions of weights, by its header alone."""
    from directions.navigan.basis import FORMAT

    try:
        with open(source, "rb") as file:
            return FORMAT.encode() in file.read(min(int.from_bytes(file.read(8), "little"), 1 << 20))
    except OSError:
        return False  # What reads it says so.


def _save_weights(source: str, number: int, name: str, lengths: float, model: Generator, outputs: Outputs,
                  path: Path) -> None:
    """Write a direction of weights by a name."""
    from directions import save as save_directions
    from directions.navigan.basis import load_basis

    found = load_basis(source)
    found.check(model)
    made = found.direction(number, name=name, lengths=lengths)
    outputs.write(path, partial(save_directions, controls=[made], spaces=model.spaces))


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.pkl|FILE.pt...")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="Where the directions go (.safetensors).")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@class_option
@model_options
def import_edits(files: tuple[Path, ...], out: Path, overwrite: bool, generator: str, device: str,
                 threads: int | None, class_name: str | None) -> None:
    """Import what the authors' programs have saved: GANSpace's edits (.pkl), NaviGAN's deformations (.pt).

    Nothing in them is run. Edits are refused for a generator whose W does not spread along them as they say: that is
    another network's; deformations for one whose weights have another shape.

    \b
    Example:
      gradctrl discover import stylegan2-nose-ffhq-ipca-w-style-comp51-range4-5.pkl --out nose.safetensors
    """
    from directions import save as save_directions
    from directions.saved_edits import import_saved_edit, slug
    from directions.weights import import_deformation
    from generators import LatentStatistics

    outputs, path = Outputs.of_one(out, "directions", files, overwrite)
    model = open_generator(generator, device, threads, class_name)
    statistics = LatentStatistics.of_generator(model) if any(each.suffix != ".pt" for each in files) else None
    made: list[Direction] = []
    for file in files:
        if file.suffix == ".pt":
            deformation = import_deformation(file, model, name=slug(file.stem))
            note(f"{deformation.name}: the weight of {deformation.deformation.layer}, strength 1 is "
                 f"{deformation.units[0]:.4g}")
            made.append(deformation)
        else:
            made.append(import_saved_edit(file, statistics=statistics))
            note(f"{made[-1].name}: layers {made[-1].layers[0]}:{made[-1].layers[1]}")
    outputs.write(path, partial(save_directions, controls=made, spaces=model.spaces))
