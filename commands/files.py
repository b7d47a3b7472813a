"""The commands weights, convert and cache."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.checks import check_generator
from commands.console import Outputs, note, one_line, progress_bar, wrote
from weights.errors import InputError

if TYPE_CHECKING:
    from inversion import InversionCache


@click.group("weights")
def weights_group() -> None:
    """List, fetch and check the files that the program can use.

    \b
    Example:
      gradctrl weights list
    """


@weights_group.command("list")
def list_weights() -> None:
    """Show every file: whether it is here, its size, what it is and its licence.

    \b
    Example:
      gradctrl weights list
    """
    from weights.fetch import listing

    for status in listing():
        entry = status.entry
        state = "bundled" if entry.bundled else "here" if status.present else "to fetch"
        state = state if status.present or not entry.bundled else "MISSING"
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else ""
        click.echo(f"{entry.name:26} {state:9} {size:>9}  {entry.what}\n{'':48}{entry.licence}")


@weights_group.command("fetch")
@click.argument("name")
@click.option("--force", is_flag=True, help="Get it again even if it is here.")
def fetch_weights(name: str, force: bool) -> None:
    """Get the file NAME, check its hash and store it.

    \b
    Example:
      gradctrl weights fetch stylegan2-ffhq
    """
    from generators import fetch

    with progress_bar(0, name, unit="B", unit_scale=True, unit_divisor=1000) as bar:
        def show(done: int, total: int) -> None:
            if total != (bar.total or 0) or done < bar.n:  # Another file or another source.
                bar.reset(total=total or None)
            bar.update(done - bar.n)

        path = fetch(name, on_progress=show, force=force)
    wrote(path)


@weights_group.command("verify")
@click.argument("name", required=False)
def verify_weights(name: str | None) -> None:
    """Check the hash of the file NAME, or of all that are here.

    \b
    Example:
      gradctrl weights verify
    """
    from weights.fetch import verify

    statuses = verify(name)
    for status in statuses:
        if status.right:
            click.echo(f"{status.entry.name}: right")
        else:
            note(f"Error: {status.entry.name}: {status.problem}")
    if not all(status.right for status in statuses):
        raise click.exceptions.Exit(1)


@weights_group.command("path")
@click.argument("name", required=False)
def path_of_weights(name: str | None) -> None:
    """Show where fetched files are stored, or where the file NAME is.

    The environment variable GRADCTRL_CACHE moves the folder.

    \b
    Example:
      gradctrl weights path
    """
    from weights.store import NO_HOME, cache_dir, has_cache, path_of

    if not name and not has_cache():
        raise InputError(None, *NO_HOME)
    wrote(path_of(name) if name else cache_dir())


@click.command("convert")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--half", is_flag=True, help="Store in half precision: half the size, almost the same pictures.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there already (never SOURCE).")
def convert_generator(source: str, out: Path, half: bool, overwrite: bool) -> None:
    """Write someone else's generator as safetensors, after which no pickle is needed.

    SOURCE is NVIDIA's .pkl (PyTorch or TensorFlow), rosinality's .pt, the folder of MobileStyleGAN's OpenVINO files
    (MappingNetwork and SynthesisNetwork, .xml and .bin), or a name of `gradctrl weights list`. Nothing that it names
    is run.

    \b
    Example:
      gradctrl convert ffhq.pkl ffhq.safetensors
    """
    given = check_generator(source)
    outputs, path = Outputs.of_one(out, "converted generators", [given], overwrite)
    from generators import convert

    outputs.write(path, partial(convert, source, half=half))


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
    from weights.store import NO_HOME, has_cache

    if wanted is False:
        return None
    limit = _limit()
    if limit == 0 and not wanted:
        return None
    if not has_cache():
        note(f"Warning: inversions are not kept: {NO_HOME[0]}; {NO_HOME[1]}, or keep none with --no-cache")
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
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMGT]B)", value.upper())
    limit = int(float(match[1]) * UNITS[match[2]]) if match else 0
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
