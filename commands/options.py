"""The options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from inversion.settings import DEFAULT_PRESET, PRESETS, ProjectorSettings, preset


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
device_options = several(_device_option, _threads_option)
model_options = several(_generator_option, device_options)
out_options = several(
    click.option("--out", type=click.Path(path_type=Path), default=".", metavar="FOLDER",
                 help="Where the results go; made if it is missing."),
    click.option("--overwrite", is_flag=True, help="Replace results that are there already (never an input)."))
face_option = click.option("--face", type=click.IntRange(min=0), metavar="N",
                           help="Which face of a photo with several: 0 is the largest.")
SEED = click.IntRange(0, 2**31 - 1)
cache_option = click.option("--cache/--no-cache", default=None,
                            help="Keep inversions, so that the same face is not inverted twice; `gradctrl cache` shows "
                                 "and clears them.  [default: --cache, unless GRADCTRL_INVERSIONS is off]")
inversion_options = several(
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
                      "some samples]"),
    click.option("--seconds", type=click.FloatRange(min=0.1),
                 help="Keep the best after so much time; the result then depends on the machine.  [default: no limit]"),
    cache_option)
INVERSION_SETTINGS = {"steps": "--steps", "space": "--space", "tuning_steps": "--tuning", "start": "--start",
                      "seconds": "--seconds", "seed": "--seed"}


def settings_of(options: Mapping[str, Any]) -> ProjectorSettings:
    """The preset that was named, with what else was given put over it."""
    changes = {name: options[name] for name in INVERSION_SETTINGS if options[name] is not None}
    return preset(options["preset_name"] or DEFAULT_PRESET, **changes)
