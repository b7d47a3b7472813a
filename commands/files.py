"""The commands weights and convert."""

from __future__ import annotations

from pathlib import Path

import click

from commands.messages import note, progress_bar, wrote
from commands.outputs import Outputs


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

    found = verify(name)
    for status in found:
        if status.right:
            click.echo(f"{status.entry.name}: right")
        else:
            note(f"Error: {status.entry.name}: {status.problem}")
    if not all(status.right for status in found):
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
    from weights.store import cache_dir, path_of

    wrote(path_of(name) if name else cache_dir())


@click.command("convert")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--half", is_flag=True, help="Store in half precision: half the size, almost the same pictures.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there already (never SOURCE).")
def convert_generator(source: str, out: Path, half: bool, overwrite: bool) -> None:
    """Write someone else's generator as safetensors, after which no pickle is needed.

    SOURCE is NVIDIA's .pkl (PyTorch or TensorFlow), rosinality's .pt, or a name of `gradctrl weights list`. Nothing
    that it names is run.

    \b
    Example:
      gradctrl convert ffhq.pkl ffhq.safetensors
    """
    from generators import convert
    from generators.loading import find

    [path] = Outputs(out.parent, [find(source)], overwrite).claim(out.name)
    convert(source, path, half=half)
    wrote(path)
