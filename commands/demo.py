"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.changes import in_file_name
from commands.messages import progress_bar, wrote
from commands.models import open_controls, open_generator
from commands.options import SEED, device_options, out_options
from commands.outputs import Outputs
from weights.errors import InputError

if TYPE_CHECKING:
    from editing import Editor
    from editing.demo import Demo


@click.command()
@click.argument("which", metavar="ffhq|car|cat", type=click.Choice(["ffhq", "car", "cat"]))
@click.option("--attribute", metavar="NAME", help="Which one.  [default: all that the authors show]")
@click.option("--samples", type=click.IntRange(1, 10_000), default=4, help="How many random samples are edited.")
@click.option("--seed", type=SEED, default=0, help="Of the first sample; the others follow.")
@out_options
@device_options
def demo(which: str, attribute: str | None, samples: int, seed: int, out: Path, overwrite: bool, device: str,
         threads: int | None) -> None:
    """Reproduce the demo of GradCtrl's authors, with their classifiers and their settings.

    Needs the generator and the classifiers, as `gradctrl weights fetch stylegan2-ffhq` and `gradctrl weights fetch
    gradctrl-ffhq` (or -car, -cat) get them. Writes ffhq-SEED-ATTRIBUTE.png for each sample and attribute: 9, 6 and 3
    steps away from it, the sample, and 3, 6 and 9 steps towards it.

    \b
    Example:
      gradctrl demo ffhq --attribute smile --samples 2
    """
    from editing import Editor
    from editing.demo import DEMOS, demo_names, demo_strips
    from inversion import save_picture

    chosen = DEMOS[which]
    _check_fetched(chosen)
    controls = open_controls(chosen.controls)
    attributes = chosen.attributes if attribute is None else (controls.find(attribute).name,)
    outputs = Outputs(out, [], overwrite)
    editor: Editor = Editor(open_generator(chosen.generator, device, threads), controls)
    names = [name for item in attributes for name in demo_names(editor, item)]
    paths = {(number, name): outputs.claim(f"{which}-{number}-{in_file_name(name)}.png")[0]
             for number in range(seed, seed + samples) for name in names}
    with progress_bar(len(paths), "strips", unit="strip") as bar:
        for number in range(seed, seed + samples):
            for item in attributes:
                for name, picture in demo_strips(editor, item, number):
                    save_picture(paths[number, name], picture)
                    wrote(paths[number, name])
                    bar.update()


def _check_fetched(demo: Demo) -> None:
    """Refuse if files are missing, with what to run for all of them."""
    from weights.manifest import entry_of
    from weights.store import is_known, location

    missing = [name for name in (demo.generator, demo.controls) if is_known(name)
               and not all(location(entry_of(part)).is_file() for part in (name, *entry_of(name).needs))]
    if missing:
        commands = " and ".join(f"`gradctrl weights fetch {name}`" for name in missing)
        raise InputError(', '.join(missing), "not on this machine", f"run {commands}")
