"""Carry a run to another machine in small files, in half precision.

    python -m weights.training.gan.pack RUN FOLDER       # Writes FOLDER/state-KIMG-1-of-5.safetensors ... and log.csv.
    python -m weights.training.gan.pack --unpack FOLDER RUN   # Makes RUN/checkpoint.safetensors of them.

That is about a third of the checkpoint's size. What is lost is the last digits of the weights, and Adam's memory,
which is a hundred steps long: a run that goes on from it learns as before, but not bit for bit.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from weights.errors import InputError
from weights.files import replacing
from weights.tensors import write_tensors
from weights.training.gan.run import CHECKPOINT
from weights.training.gan.state import describe, read_state, understand, write_state

FORMAT = "gradctrl-training-part"
NAME = re.compile(r"state-(\d{6}\.\d)-(\d+)-of-(\d+)\.safetensors")
LARGEST = 15_000_000  # Bytes of tensors in a file.


def pack(run: Path, folder: Path, *, largest: int = LARGEST) -> list[Path]:
    """Write a run's checkpoint to `folder` in half precision, in files of about `largest` bytes.

    Parts of an earlier state that lie there are removed once all new ones are complete.

    Returns:
        The files written.
    Raises:
        InputError: there is no checkpoint, or it cannot be written.
    """
    saved = read_state(run / CHECKPOINT)
    metadata = {"format": FORMAT, **describe(saved)}
    tensors = {name: _halved(value) for name, value in saved.tensors.items() if "-adam." not in name}
    folder.mkdir(parents=True, exist_ok=True)
    parts = _split(tensors, largest)
    stem = f"state-{saved.counters['seen'] / 1000:08.1f}"
    paths = [folder / f"{stem}-{index + 1}-of-{len(parts)}.safetensors" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_tensors(path, part, metadata)
    if (run / "log.csv").exists():
        with replacing(folder / "log.csv") as temporary:
            shutil.copyfile(run / "log.csv", temporary)
    for path in folder.iterdir():
        if NAME.fullmatch(path.name) and path not in paths:
            path.unlink()
    return paths


def _halved(value: Tensor) -> Tensor:
    half = value.half()
    return half if value.ndim and bool(torch.isfinite(half).all()) else value


def _split(tensors: dict[str, Tensor], largest: int) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    room = largest
    for name, value in tensors.items():
        if value.nbytes > room and parts[-1]:
            parts.append({})
            room = largest
        parts[-1][name] = value
        room -= value.nbytes
    return parts


def unpack(folder: Path, run: Path) -> float:
    """Make a checkpoint in `run` of what `pack` wrote; returns its thousands of pictures.

    Raises:
        InputError: parts are missing, damaged or of different states, or `run` has a checkpoint already.
    """
    if (run / CHECKPOINT).exists():
        raise InputError(f"{run / CHECKPOINT}: is there already; name another folder")
    paths = _latest(folder)
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                found = dict(file.metadata() or {})
                names = list(file.keys())
                tensors |= {name: file.get_tensor(name).float() for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not readable ({error}); copy it again") from error
        if found.get("format") != FORMAT or (metadata and found != metadata):
            raise InputError(f"{path}: not of the same state as the files beside it; copy all of them again")
        metadata = found
    saved = understand(paths[0], metadata, tensors)
    saved.counters |= {name: 0 for name in saved.counters if name.endswith("-adam")}
    run.mkdir(parents=True, exist_ok=True)
    if (folder / "log.csv").exists():
        with replacing(run / "log.csv") as temporary:
            shutil.copyfile(folder / "log.csv", temporary)
    write_state(run / CHECKPOINT, saved)
    return saved.counters["seen"] / 1000


def _latest(folder: Path) -> list[Path]:
    """The parts of the latest state that is complete."""
    states: dict[tuple[str, int], dict[int, Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            kimg, part, parts = match.groups()
            states.setdefault((kimg, int(parts)), {})[int(part)] = path
    complete = [key for key, paths in states.items() if sorted(paths) == list(range(1, key[1] + 1))]
    if not complete:
        raise InputError(f"{folder}: no complete set of parts (state-...-1-of-...); copy all of them")
    paths = states[max(complete)]
    return [paths[part] for part in sorted(paths)]


def main(words: Sequence[str] | None = None) -> int:
    lines = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m weights.training.gan.pack", description=lines[0], epilog=lines[-1])
    parser.add_argument("source", type=Path, help="the run; with --unpack, the folder of the parts")
    parser.add_argument("target", type=Path, help="where the parts go; with --unpack, the run's new folder")
    parser.add_argument("--unpack", action="store_true", help="make a checkpoint of parts")
    parser.add_argument("--part-mb", type=float, default=LARGEST / 1e6, help="size of a part in megabytes")
    arguments = parser.parse_args(words)
    try:
        if arguments.unpack:
            print(f"{arguments.target}: goes on at {unpack(arguments.source, arguments.target):.1f} kimg")
        else:
            for path in pack(arguments.source, arguments.target, largest=int(arguments.part_mb * 1e6)):
                print(f"{path} {path.stat().st_size / 1e6:.1f} MB")
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
