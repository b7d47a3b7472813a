"""What the user is told: paths of what was written on stdout, everything else on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weights.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm


class Commands(click.Group):
    """Turns an InputError into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.ClickException(one_line(error)) from error


def one_line(error: Exception | str) -> str:
    """What an error or a message says, without line breaks and with nothing that cannot be printed."""
    return " ".join(str(error).encode("utf-8", "replace").decode().splitlines())


def note(text: str) -> None:
    """Tell something on stderr."""
    click.echo(text, err=True)


def wrote(*paths: Path) -> None:
    """Tell the paths of files that were written."""
    for path in paths:
        click.echo(click.format_filename(path))


def progress_bar(total: int, text: str, **more: Any) -> tqdm[Any]:
    """A progress bar on stderr; none where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=text, disable=None, leave=False, dynamic_ncols=True, **more)
