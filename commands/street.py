"""The command street: pictures of label maps, by pix2pixHD, and what directions of its weights do to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.checks import check_files, check_generator
from commands.console import Outputs, progress_bar
from commands.discover_options import NumberList
from commands.options import model_options, open_generator, out_options
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from directions.navigan.basis import WeightBasis
    from generators import Generator


@click.command()
@click.argument("labels", type=click.Path(path_type=Path), metavar="MAP")
@click.option("--instances", type=click.Path(path_type=Path), metavar="FILE",
              help="A PNG with another number for each instance, between which edges are drawn.  [default: each class "
                   "is one instance]")
@click.option("--along", "basis_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Also draw it moved along these directions of weights (`gradctrl discover weights --labels MAP`).")
@click.option("--directions", "numbers", type=NumberList(), metavar="LIST",
              help="Which of them, as in 0-13 or 3,7,20-22.  [default: all]")
@click.option("--strength", type=click.FloatRange(0, min_open=True), default=1.0,
              help="How far to each side, in recommended lengths.")
@out_options
@model_options
def street(labels: Path, instances: Path | None, basis_file: Path | None, numbers: Sequence[int] | None,
           strength: float, out: Path, overwrite: bool, generator: str, device: str, threads: int | None) -> None:
    """Draw the street of a label map, by pix2pixHD.

    MAP is a PNG of Cityscapes' class numbers or colours. Writes MAP-street.png; with --along also MAP-directionN.png
    for each direction: moved one way, as it is, moved the other way.

    \b
    Example:
      gradctrl street map.png --instances instances.png --generator latest_net_G.pth
      gradctrl street map.png --generator latest_net_G.pth --along basis.safetensors --directions 0-3
    """
    check_files(labels, instances, basis_file)
    check_generator(generator)
    if numbers is not None and basis_file is None:
        raise click.UsageError("--directions goes with --along")
    from generators import to_pixels
    from inversion import save_picture

    basis, chosen = _directions(basis_file, numbers)
    outputs = Outputs(out, [each for each in (labels, instances, basis_file) if each], overwrite)
    path, *moved = outputs.claim(f"{labels.stem}-street.png", *(f"{labels.stem}-direction{each}.png"
                                                                for each in chosen))
    model = open_generator(generator, device, threads)
    if basis is not None:
        basis.check(model)
    inputs = read_inputs(model, [labels], instances)
    assert inputs is not None
    _check_memory(model, labels, inputs)
    picture = to_pixels(model.render(inputs))[0]
    outputs.write(path, partial(save_picture, picture=picture))
    with progress_bar(len(chosen), "directions", unit="direction") as bar:
        for number, target in zip(chosen, moved, strict=True):
            assert basis is not None
            drawn = _before_and_after(model, basis, number, inputs, picture, strength)
            outputs.write(target, partial(save_picture, picture=drawn))
            bar.update()


def read_inputs(model: Generator, labels: Sequence[Path], instances: Path | None = None) -> Tensor | None:
    """The label maps [N, 2, H, W] that a generator is to draw; None: none were given, and it draws samples.

    Raises:
        InputError: it draws no label maps, or it draws nothing else and none were given, or they differ in size.
    """
    import torch

    from generators import Pix2PixHD, read_label_maps

    if not isinstance(model, Pix2PixHD):
        if labels:
            raise InputError(labels[0], f"is a label map, and a generator of the architecture "
                             f"{model.architecture} draws none", "give --generator a pix2pixHD's file")
        return None
    if not labels:
        raise InputError(None, "this generator draws label maps, not samples", "give one with --labels")
    maps = [read_label_maps(each, instances) for each in labels]
    for path, each in zip(labels, maps, strict=True):
        try:
            model.check_size(*each.shape[2:])
        except InputError as error:
            raise error.about(str(path)) from error
        if each.shape != maps[0].shape:
            raise InputError(path, f"has another size than {labels[0]}", "give label maps of one size")
    return torch.cat(maps).to(model.device)


def _check_memory(model: Generator, labels: Path, inputs: Tensor) -> None:
    """Refuse a label map for which the free memory does not suffice: the system would end the program without a word.

    Raises:
        InputError: it says how much is needed.
    """
    from directions.finding import free_memory
    from generators import Pix2PixHD

    assert isinstance(model, Pix2PixHD)
    height, width = inputs.shape[2:]
    needed, free = model.memory(height, width), free_memory()
    if model.device.type == "cpu" and free is not None and needed > free:
        raise InputError(labels, f"a street of {width} x {height} pixels needs about {needed / 1e9:.1f} GB of memory, "
                         f"and {free / 1e9:.1f} are free", "end other programs, or give a smaller label map")


def _directions(file: Path | None, numbers: Sequence[int] | None) -> tuple[WeightBasis | None, list[int]]:
    """The directions of a file, and which of them are wanted."""
    from directions.navigan.basis import load_basis

    if file is None:
        return None, []
    basis = load_basis(file)
    chosen = list(range(len(basis)) if numbers is None else numbers)
    if not len(basis.lengths) or max(chosen) >= len(basis):
        raise InputError(file, f"has no direction {max(chosen)} with a recommended length",
                         f"name some of 0 to {len(basis) - 1}, of a file of `gradctrl discover weights`")
    return basis, chosen


def _before_and_after(model: Generator, basis: WeightBasis, number: int, inputs: Tensor, before: np.ndarray,
                      strength: float) -> np.ndarray:
    """A street moved one way along a direction, as it is, and moved the other way, side by side."""
    import numpy as np
    import torch

    from generators import WeightShift, to_pixels

    drawn = []
    for sign in (-1, 1):
        amount = torch.full([1, 1], sign * strength * float(basis.lengths[number])).to(model.device, model.dtype)
        direction = basis.directions[number:number + 1].to(model.device, model.dtype)
        drawn.append(to_pixels(model.shifted({basis.layer: WeightShift(direction, amount)}).render(inputs))[0])
    return np.concatenate([drawn[0], before, drawn[1]], axis=1)
