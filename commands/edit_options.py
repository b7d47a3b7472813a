"""The options that only edit has."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from commands.models import FAMILIES
from commands.options import SEED, several

METHODS = ("project", "paper")  # As in `gradctrl`, which is slow to import.


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
        return {found[1]: int(found[2]) for found in counts if found}


class _LayerRange(click.ParamType):
    """START:STOP."""

    name = "start:stop"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", str(value).strip())
        if not found:
            self.fail(f"{value!r}: write START:STOP, as in 2:8")
        return int(found[1]), int(found[2])


change_options = several(
    click.option("--set", "assignments", type=_Assignment(), multiple=True, metavar="ATTRIBUTE=STRENGTH",
                 help="What to change and how much; may be given several times. 1 flips the attribute of a typical "
                      "face, -1 goes as far the other way. `gradctrl attributes` lists them."),
    click.option("--to", "targets", multiple=True, metavar="ATTRIBUTE[:CLASS]",
                 help="What to change until it is there, by the control's own score: smile, smile:serious, hair:blond; "
                      "may be given several times. The strength is found."),
    click.option("--through", metavar="ATTRIBUTE",
                 help="Write a picture of each class of an attribute, as pose or hair, each reached from its "
                      "neighbour."),
    click.option("--keep", type=_KeepList(), metavar="LIST",
                 help="What must stay: age,eyeglasses; or with channel counts smile:100,age:50; or none.  [default: "
                      "each control's own list]"),
    click.option("--layers", type=_LayerRange(), metavar="START:STOP",
                 help="Layers that the edit replaces; early ones shape, late ones colour.  [default: each control's "
                      "own]"),
    click.option("--method", type=click.Choice([*METHODS, *FAMILIES]),
                 help="project or paper: how attributes are kept; interfacegan, ganspace or stylespace: with the "
                      "controls of that family, the bundled ones or those of --controls.  [default: each control's "
                      "own]"),
    click.option("--step", type=click.FloatRange(0.01, 10.0), help="Step length in W.  [default: each control's own]"))
result_options = several(
    click.option("--paste/--crop", default=False,
                 help="Write the whole photo with the face put back, or the face alone."),
    click.option("--format", "ending", type=click.Choice(["png", "jpg", "webp"]), default="png",
                 help="Of the picture; with png the rest of a photo stays bit for bit."),
    click.option("--mark/--no-mark", default=True, show_default=True,
                 help="Say in the metadata of pictures that a generator took part in them (IPTC's digital source "
                      "type)."),
    click.option("--strip", "with_strip", is_flag=True, help="Also write each attribute at growing strengths."),
    click.option("--video", type=click.Choice(["gif", "mp4"]), help="Also write the way from the source to the edit."))
file_options = several(
    click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Make the picture of a recipe again: a .recipe.json, or a picture that this program wrote."),
    click.option("--photo", "photo_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="The photo that a .latent.safetensors was inverted from, for --paste and for the recipe."))
person_options = several(
    click.option("--seed", type=SEED,
                 help="Of the inversion (0 unless given); without an INPUT, of a synthetic person."),
    click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7,
                 help="Synthetic person: 1 is as varied as the generator can, less is more typical."))
