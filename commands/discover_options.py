"""What the commands of discover are given: layers, rows, lists of components."""

from __future__ import annotations

import re
from typing import Any

import click

from commands.options import SIDES, Range


class NumberList(click.ParamType):
    """3,7,20-22."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        numbers: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
            if not match:
                self.fail(f"{value!r}: write numbers from 0, as in 3,7,20-22")
            numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
        return tuple(dict.fromkeys(numbers))


layers_option = click.option("--layers", type=Range(SIDES, most=2048), metavar="START:STOP",
                             help="Layers that are moved, in sides of features.  [default: all]")
rows_option = click.option("--rows", type=Range("rows of 0 to 18, as in 2:5", most=18), metavar="START:STOP",
                           help="The same in rows of StyleGAN2 at 1024 pixels, as GANSpace's authors state them: 2:5 "
                                "of 18.")


def layers_of(layers: tuple[int, int] | None, rows: tuple[int, int] | None) -> tuple[int, int]:
    """The layer range of --layers or --rows."""
    from directions.control import ALL_LAYERS
    from generators import layers_of_rows

    if layers is not None and rows is not None:
        raise click.UsageError("give --layers or --rows, not both")
    if rows is not None:
        start, stop = layers_of_rows(*rows)
        return int(start), int(stop)
    return layers or ALL_LAYERS
