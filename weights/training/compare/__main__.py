"""Compare two generators: what a new bundled one must pass before it takes the old one's place.

    python -m weights.training.compare OLD NEW --faces FOLDER --photos FOLDER --out DIR

OLD and NEW are "bundled" or files. Four parts (--parts): `seeds`, sheets of the same seeds side by side; `frechet`, the
AlexNet Frechet distance of both to the faces; `photos`, photos inverted by both; `controls`, controls made for both by
the recipe of the bundled ones, and how often their edits are right (the longest: about half an hour for each generator
on two cores). DIR then holds report.md, compare.json and the sheets. A run that was cut goes on; parts that are done
are not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from editing.scorers import load_scorer
from gradctrl import Controls, load_controls
from inversion import PRESETS
from stylegan2 import choose_device, load
from weights.errors import InputError
from weights.training.compare.controls import compare_controls, evaluation_settings
from weights.training.compare.photos import PhotoComparison, projector_settings, spread
from weights.training.compare.record import OnProgress, Pair, Record, Result
from weights.training.compare.report import verdicts, write_report
from weights.training.compare.seeds import compare_seeds
from weights.training.frechet import COUNT, Features, measure, pictures_in

PARTS = ("seeds", "frechet", "photos", "controls")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m weights.training.compare", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("old", help='"bundled", a name from the manifest, or a file')
    made.add_argument("new", help="the one that may take its place")
    made.add_argument("--out", type=Path, required=True, help="folder for everything")
    made.add_argument("--faces", type=Path, help="folder of the pictures that they learned from (frechet)")
    made.add_argument("--photos", type=Path, help="folder of photos to invert (photos)")
    made.add_argument("--parts", default=",".join(PARTS), help="which (default %(default)s)")
    made.add_argument("--seeds", type=int, default=64, help="how many seeds on sheets (default %(default)s)")
    made.add_argument("--first-seed", type=int, default=0, help="of the sheets (default %(default)s)")
    made.add_argument("--truncation", type=float, default=1.0, help="psi of the sheets (default %(default)s)")
    made.add_argument("--samples", type=int, default=COUNT, help="for the Frechet distance (default %(default)s)")
    made.add_argument("--photo-count", type=int, default=20, help="spread over the folder (default %(default)s)")
    made.add_argument("--preset", choices=tuple(PRESETS), default="balanced",
                      help="of the inversions (default %(default)s: `faithful` fits the generator to each photo, and "
                           "hides what it can draw by itself)")
    made.add_argument("--start", choices=("samples", "mean", "auto"), default="samples",
                      help="of the inversions (default %(default)s; `auto` is an encoder where there is one)")
    made.add_argument("--bank", type=int, default=30_000, help="samples for controls (default %(default)s)")
    made.add_argument("--quick", action="store_true", help="a few dozen edits, to see that controls work")
    made.add_argument("--old-controls", metavar="FILE",
                      help="controls of OLD, whose record is taken if it was made on as many samples (default: the "
                           "bundled ones, if OLD is the bundled generator)")
    made.add_argument("--batch", type=int, default=16, help="pictures drawn at a time (default %(default)s)")
    made.add_argument("--device", default="auto")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    return made


def compare(given: argparse.Namespace, on_progress: OnProgress) -> Record:
    """Do the parts that were asked for and are not done, and write the report after each.

    Raises:
        InputError: whatever cannot be used of what was given.
    """
    names = parts_of(given)
    device = choose_device(given.device)
    pair = Pair(load(given.old, device=device), load(given.new, device=device))
    record = Record(given.out, pair.describe())
    work: dict[str, Callable[[], Result]] = {
        "seeds": lambda: _seeds(pair, record, given, on_progress),
        "frechet": lambda: _frechet(pair, record, given, on_progress),
        "photos": lambda: _photos(pair, record, given, on_progress),
        "controls": lambda: _controls(pair, record, given, on_progress)}
    for name in names:
        work[name]()
        write_report(record)
    return record


def parts_of(given: argparse.Namespace) -> list[str]:
    """The parts that were asked for, in their order; what each needs must have been given.

    Raises:
        InputError: no such part, or a folder is lacking or is not there.
    """
    asked = [name.strip() for name in given.parts.split(",") if name.strip()]
    wrong = [name for name in asked if name not in PARTS]
    if wrong or not asked:
        raise InputError(f"--parts {given.parts}: give some of {', '.join(PARTS)}")
    for part, option in (("frechet", "faces"), ("photos", "photos")):
        folder = getattr(given, option)
        if part in asked and folder is None:
            raise InputError(f"the part {part} needs --{option} FOLDER; give it, or leave the part out with --parts")
        if part in asked and not folder.is_dir():
            raise InputError(f"{folder}: no such folder; check --{option}")
    for option in ("seeds", "samples", "photo_count", "bank", "batch"):
        if getattr(given, option) < 1:
            raise InputError(f"--{option.replace('_', '-')} must be 1 or more, not {getattr(given, option)}")
    return [name for name in PARTS if name in asked]


def _seeds(pair: Pair, record: Record, given: argparse.Namespace, on_progress: OnProgress) -> Result:
    settings = {"count": given.seeds, "first": given.first_seed, "truncation": given.truncation}
    return record.part("seeds", settings,
                       lambda: compare_seeds(pair, record.folder, on_progress=on_progress, **settings))


def _frechet(pair: Pair, record: Record, given: argparse.Namespace, on_progress: OnProgress) -> Result:
    def make() -> Result:
        paths, features = pictures_in(given.faces), Features(pair.new.device)
        found = {}
        for which, generator in pair:
            show = partial(on_progress, f"distance of the {which} one")
            found[which] = measure(generator, paths, features, count=given.samples, batch=given.batch,
                                   floor=which == "old", keep=record.folder / "moments", on_progress=show)
        return found

    return record.part("frechet", {"faces": given.faces.name, "samples": given.samples}, make)


def _photos(pair: Pair, record: Record, given: argparse.Namespace, on_progress: OnProgress) -> Result:
    def make() -> Result:
        comparison = PhotoComparison(pair, record.folder, projector_settings(given.preset, given.start), on_progress)
        return comparison.run(spread(pictures_in(given.photos), given.photo_count))

    settings = {"photos": given.photos.name, "count": given.photo_count, "preset": given.preset, "start": given.start}
    return record.part("photos", settings, make)


def _controls(pair: Pair, record: Record, given: argparse.Namespace, on_progress: OnProgress) -> Result:
    def make() -> Result:
        return compare_controls(pair, record.folder, load_scorer("bundled", device=pair.new.device), count=given.bank,
                                settings=evaluation_settings(quick=given.quick), recorded=_recorded(pair, given),
                                batch=given.batch, on_progress=on_progress)

    return record.part("controls", {"count": given.bank, "quick": given.quick}, make)


def _recorded(pair: Pair, given: argparse.Namespace) -> Controls | None:
    """Controls of the old generator that may record what is asked for; quick trials compare with quick trials only."""
    if given.quick:
        return None
    controls = load_controls(given.old_controls or "bundled")
    if controls.generator_hash != pair.old.hash:
        if given.old_controls:
            raise InputError(f"{given.old_controls}: these controls are of generator "
                             f"{(controls.generator_hash or 'unknown')[:12]}, not of OLD ({pair.old.hash[:12]}); name "
                             "those of OLD, or leave --old-controls out to have them made")
        return None
    return controls


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        with tqdm() as bar:
            def show(what: str, done: int, total: int) -> None:
                bar.set_description(what, refresh=False)
                bar.total, bar.n = max(total, done), done
                bar.refresh()

            record = compare(given, show)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    for part, passed in verdicts(record.results).items():
        print(f"{part}: {'passed' if passed else 'not passed'}")
    print(record.folder / "report.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
