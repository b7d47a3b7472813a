"""The inversions that are kept: opening their folder as options and variable say, and the command cache."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from commands.messages import note, one_line
from weights.errors import InputError

if TYPE_CHECKING:
    from inversion import InversionCache

VARIABLE = "GRADCTRL_INVERSIONS"
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def open_cache(wanted: bool | None) -> InversionCache | None:
    """The cache of inversions, or None where none is wanted.

    Args:
        wanted: What --cache or --no-cache says; None: neither was given, and the variable decides.
    Raises:
        InputError: the variable's value is neither "off" nor a size.
    """
    from inversion.cache import LIMIT, InversionCache

    if wanted is False:
        return None
    limit = _limit()
    if limit == 0 and not wanted:
        return None
    return InversionCache(limit=limit or LIMIT, on_note=lambda text: note(f"Warning: {one_line(text)}"))


def is_wanted(wanted: bool | None) -> bool:
    """Whether inversions are to be kept at all; arguments and errors as of `open_cache`."""
    return open_cache(wanted) is not None


def _limit() -> int | None:
    """The limit in bytes that the variable gives; 0: off; None: it says nothing."""
    value = os.environ.get(VARIABLE, "").strip()
    if not value:
        return None
    if value.lower() == "off":
        return 0
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMGT]B)", value.upper())
    limit = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if limit == 0:
        raise InputError(f"{VARIABLE}={value}", "neither off nor a size",
                         "set it to off, or to a limit such as 500MB or 2GB")
    return limit


@click.group("cache")
def cache_group() -> None:
    """Show or clear the inversions that are kept, so that the same face is not inverted twice.

    They are found again by the photo's bytes, the face, the generator and the settings. The environment variable
    GRADCTRL_INVERSIONS limits them to a size such as 500MB (1 GB unless given) or, set to off, keeps none.

    \b
    Example:
      gradctrl cache show
    """


@cache_group.command("show")
def show_cache() -> None:
    """Show where inversions are kept, how many, and how much room they take.

    \b
    Example:
      gradctrl cache show
    """
    from inversion.cache import InversionCache, in_words

    cache = open_cache(None)
    number, size = InversionCache().size()
    click.echo(f"folder  {click.format_filename(InversionCache().folder)}")
    click.echo(f"kept    {_inversions(number)}, {in_words(size)}")
    click.echo(f"limit   {in_words(cache.limit)}" if cache else f"limit   off: nothing more is kept ({VARIABLE})")


@cache_group.command("clear")
def clear_cache() -> None:
    """Remove all inversions that are kept, and nothing else in their folder.

    \b
    Example:
      gradctrl cache clear
    """
    from inversion.cache import InversionCache, in_words

    cache = InversionCache()
    number, size = cache.clear()
    note(f"removed {_inversions(number)}, {in_words(size)}")
    left, _ = cache.size()
    if left:
        raise InputError(cache.folder, f"{_inversions(left)} could not be removed", "check the folder's permissions")


def _inversions(number: int) -> str:
    return "1 inversion" if number == 1 else f"{number} inversions"
