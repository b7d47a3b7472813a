"""Options that several commands have, and what they name: generators, controls, settings of inversions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.checks import check_controls, check_generator, in_words
from directions.methods import METHODS
from inversion.settings import DEFAULT_PRESET, PRESETS, ProjectorSettings, preset

if TYPE_CHECKING:
    from directions import Controls
    from generators import Generator


def several(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator."""
    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return apply


_generator_option = click.option("--generator", default="bundled", metavar="NAME|FILE",
                                 help="The generator: bundled, a name of `gradctrl weights list`, or a file "
                                      "(.safetensors; NVIDIA's .pkl; rosinality's .pt).")
controls_option = click.option("--controls", default="bundled", metavar="NAME|FILE",
                               help="Its controls: bundled, paper, interfacegan, ganspace, stylespace, a name of "
                                    "`gradctrl weights list`, a .safetensors file, or a folder as GradCtrl's authors "
                                    "publish them.")
_device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                              help="Where to compute; auto takes a GPU if there is one.")
_threads_option = click.option("--threads", type=click.IntRange(min=1),
                               help="CPU threads.  [default: PyTorch's choice]")
class_option = click.option("--class", "class_name", metavar="NUMBER|NAME",
                            help="What a generator that knows classes draws: a number from 0; of 1,000 classes a name "
                                 "of ImageNet's too.  [default: its first]")
device_options = several(_device_option, _threads_option)
model_options = several(_generator_option, device_options)
out_options = several(
    click.option("--out", type=click.Path(path_type=Path), default=".", metavar="FOLDER",
                 help="Where the results go; made if it is missing."),
    click.option("--overwrite", is_flag=True, help="Replace results that are there already (never an input)."))
face_option = click.option("--face", type=click.IntRange(min=1), metavar="N",
                           help="Which face of a photo with several: 1 is the largest.")
all_faces_option = click.option("--all-faces", is_flag=True, help="Every face of a photo.")
SEED = click.IntRange(0, 2**31 - 1)
cache_option = click.option("--cache/--no-cache", default=None,
                            help="Keep inversions, so that the same face is not inverted twice; `gradctrl cache` shows "
                                 "and clears them.  [default: --cache, unless GRADCTRL_INVERSIONS is off]")
settings_options = several(
    click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)),
                 help="How hard to look for the person: fast (a likeness), balanced, or faithful (the generator is "
                      f"fitted to the photo).  [default: {DEFAULT_PRESET}]"),
    click.option("--steps", type=click.IntRange(min=1), help="Steps of the search.  [default: the preset's]"),
    click.option("--space", type=click.Choice(["w", "w+"]),
                 help="w: one latent for the whole picture; w+: one for each layer.  [default: the preset's]"),
    click.option("--tuning", "tuning_steps", type=click.IntRange(min=0), metavar="STEPS",
                 help="Steps of fitting the generator to the photo; 0: it stays as it is.  [default: the preset's]"),
    click.option("--start", type=click.Choice(["encoder", "samples", "mean"]),
                 help="Where the search begins.  [default: the generator's encoder if it has one, else the nearest of "
                      "some samples]"))
inversion_options = several(
    settings_options,
    click.option("--seconds", type=click.FloatRange(min=0.1),
                 help="Keep the best after so much time; the result then depends on the machine.  [default: no limit]"),
    cache_option)
INVERSION_SETTINGS = {"steps": "--steps", "space": "--space", "tuning_steps": "--tuning", "start": "--start",
                      "seconds": "--seconds", "seed": "--seed"}


def settings_of(options: Mapping[str, Any]) -> ProjectorSettings:
    """The preset that was named, with what else was given put over it."""
    changes = {name: options[name] for name in INVERSION_SETTINGS if options[name] is not None}
    return preset(options["preset_name"] or DEFAULT_PRESET, **changes)



SIDES = "sides of features, as in 8:64"


class _Assignment(click.ParamType):
    """ATTRIBUTE=STRENGTH."""

    name = "attribute=strength"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        attribute, equals, strength = str(value).partition("=")
        try:
            number = float(strength)
        except ValueError:
            number = math.nan
        if not attribute.strip() or not equals or not math.isfinite(number):
            self.fail(f"{value!r}: write ATTRIBUTE=STRENGTH, as in smile=1.5 or hair:blond=1, one for each --set")
        return attribute.strip(), number


class _KeepList(click.ParamType):
    """age,eyeglasses or smile:100,age:50 or none."""

    name = "attributes"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> tuple[str, ...] | dict[str, int]:
        if not isinstance(value, str):
            return value
        parts = [] if value.strip() == "none" else [part.strip() for part in value.split(",")]
        if all(re.fullmatch(r"[^:\s]+", part) for part in parts):
            return tuple(parts)
        counts = [re.fullmatch(r"([^:\s]+):(\d{1,6})", part) for part in parts]
        if not all(counts):
            self.fail(f"{value!r}: write names (age,eyeglasses), or a channel count for each (age:50,smile:100), or "
                      "none")
        return {match[1]: int(match[2]) for match in counts if match}


class Range(click.ParamType):
    """START:STOP of what is told in words; where STOP is at most so much, START must be less."""

    name = "start:stop"

    def __init__(self, words: str, most: int | None = None) -> None:
        self.words, self.most = words, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", str(value).strip())
        if not match or (self.most is not None and not int(match[1]) < int(match[2]) <= self.most):
            self.fail(f"{value!r}: write START:STOP in {self.words}")
        return int(match[1]), int(match[2])


set_option = click.option("--set", "assignments", type=_Assignment(), multiple=True, metavar="ATTRIBUTE=STRENGTH",
                          help="What to change and how much; may be given several times. 1 flips the attribute of a "
                               "typical face, -1 goes as far the other way. `gradctrl attributes` lists them.")
how_options = several(
    click.option("--keep", type=_KeepList(), metavar="LIST",
                 help="What must stay: age,eyeglasses; or by masks of so many channels, smile:100,age:50; or none.  "
                      "[default: each control's own list]"),
    click.option("--layers", type=Range(SIDES), metavar="START:STOP",
                 help="Layers that the edit changes, by the side of their features from 4 on, STOP not among them: "
                      "coarse ones shape, fine ones colour; the second layer of a side counts half as much more, 12 of "
                      "8.  [default: each control's own]"),
    click.option("--method", type=click.Choice(list(METHODS)),
                 help="With the controls of this method, the bundled ones or those of --controls.  [default: those of "
                      "--controls]"),
    click.option("--step", type=click.FloatRange(0.01, 10.0), help="Step length in W.  [default: each control's own]"),
    click.option("--centred", is_flag=True,
                 help="Of GANSpace's directions: take the face's own coordinate along each away first, so that "
                      "strength 0 is the mean's, and every face arrives at the same place."))
change_options = several(
    set_option,
    click.option("--to", "targets", multiple=True, metavar="ATTRIBUTE[:CLASS]",
                 help="What to change until it is there, by the control's own score: smile, smile:serious, hair:blond; "
                      "may be given several times. The strength is found."),
    click.option("--through", metavar="ATTRIBUTE",
                 help="Write a picture of each class of an attribute, as pose or hair, each reached from its "
                      "neighbour."),
    how_options)
picture_options = several(
    click.option("--paste/--crop", default=None,
                 help="Write the whole photo with the face put back, or the face alone.  [default: --paste where there "
                      "is a photo]"),
    click.option("--format", "ending", type=click.Choice(["png", "jpg", "webp"]), default="png",
                 help="Of the picture; with png the rest of a photo stays bit for bit."),
    click.option("--mark/--no-mark", default=True, show_default=True,
                 help="Say in the metadata of pictures that a generator took part in them (IPTC's digital source "
                      "type)."))
result_options = several(
    picture_options,
    click.option("--strip", "with_strip", is_flag=True, help="Also write each attribute at growing strengths."),
    click.option("--video", type=click.Choice(["gif", "mp4"]), help="Also write the way from the source to the edit."))
file_options = several(
    click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Make the picture of a recipe again: a .recipe.json, or a picture that this program wrote."),
    click.option("--like", "like_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Edit as a recipe does, but whatever INPUT is: another photo, a latent, a synthetic person."),
    click.option("--photo", "photo_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="The photo that a .latent.safetensors was inverted from, to put the face back and for the "
                      "recipe."))
person_options = several(
    click.option("--seed", type=SEED,
                 help="Of the inversion (0 unless given); without an INPUT, of a synthetic person."),
    click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7,
                 help="Synthetic person: 1 is as varied as the generator can, less is more typical."))




def open_generator(source: str, device: str, threads: int | None, class_name: str | None = None) -> Generator:
    """The generator of --generator, on the device of --device, of the class of --class."""
    check_generator(source)
    import generators

    set_threads(threads)
    model = generators.load(source, device=device)
    return model if class_name is None else model.of_class(generators.class_index(model, class_name))


def open_controls(source: str) -> Controls:
    """The controls of --controls, which messages call as they were typed."""
    check_controls(source)
    from directions import load

    controls = load(source)
    controls.source = in_words(source)
    return controls


def set_threads(threads: int | None) -> None:
    """Follow --threads; None leaves PyTorch's choice."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def open_generator_of(bank: Path, source: str, device: str, threads: int | None) -> Generator:
    """The generator of --generator, drawing the class that a bank's samples are of; `open_bank` checks that it fits."""
    model = open_generator(source, device, threads)
    from learning.bank import as_it_drew

    return as_it_drew(bank, model)
