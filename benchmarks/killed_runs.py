"""Commands that are killed (SIGKILL) at random moments: no broken file stays, and nothing blocks the next run.

    python -m benchmarks.killed_runs [COUNT]      (100)

Each run edits a synthetic person, inverts or aligns a photo, or edits two photos as a batch of the page, into one
folder; after each, every file with the name of a result must open. In the end the same commands must succeed.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from batch import BatchJob, run
from batch.edits import load_edit
from directions import Edit
from editing import load_recipe
from inversion import ProjectorSettings, load_inversion, open_photo
from weights.errors import InputError

QUICK = ProjectorSettings(steps=2, start="samples", samples=2, plateau=0.0)


def broken(folder: Path) -> list[str]:
    """Results that cannot be read; what begins with a dot is unfinished, and nobody's result."""
    readers: dict[str, Callable[[Path], object]] = {
        ".png": open_photo, ".jpg": open_photo, ".safetensors": load_inversion, ".csv": rows_of, ".jsonl": lines_of,
        ".json": lambda path: load_edit(path) if path.name == "edit.json" else load_recipe(path)}
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            try:
                readers[path.suffix](path)
            except InputError as error:
                found.append(str(error))
    return found


def rows_of(path: Path) -> None:
    """Read the table of a batch.

    Raises:
        InputError: a row has not all columns.
    """
    with open(path, encoding="utf-8", newline="") as file:
        if any(None in row or None in row.values() for row in csv.DictReader(file)):
            raise InputError(path, "is cut short")


def lines_of(path: Path) -> None:
    """Read lines of JSON; the journal's last one may be torn, as the next run removes it.

    Raises:
        InputError: a line is no JSON.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    try:
        for line in lines[:-1]:
            json.loads(line)
    except ValueError as error:
        raise InputError(path, "is cut short") from error


def edit_batch(photo: Path, folder: Path) -> None:
    """Edit a photo twice, as the page does with a batch: each in a new folder."""
    folder.mkdir(exist_ok=True)
    run(BatchJob(edit=Edit(strengths={"smile": 1.0}), settings=QUICK), [photo, photo], tempfile.mkdtemp(dir=folder))


def main(count: int, photo: Path) -> int:
    """Kill so many runs; the number of faults."""
    folder = Path(tempfile.mkdtemp(prefix="killed-runs-"))
    cli, ending = [sys.executable, "-m", "cli"], ["--overwrite", "--out", str(folder / "out")]
    commands = [[*cli, "edit", "--seed", "3", "--set", "smile=1", "--strip", *ending],
                [*cli, "invert", str(photo), "--preset", "fast", *ending],
                [*cli, "align", str(photo), *ending],
                [sys.executable, "-m", "benchmarks.killed_runs", "--batch", str(folder / "out")]]
    environment = {**os.environ, "GRADCTRL_CACHE": str(folder / "cache")}
    faults, finished, whole = [], 0, {}
    for number, command in enumerate(commands):  # How long each takes.
        start = time.monotonic()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        whole[number] = time.monotonic() - start
    chance = random.Random(0)
    for number in range(count):
        command = commands[number % len(commands)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Half of them late, when files are written.
        share = chance.uniform(0.8, 1) if chance.random() < 0.5 else chance.uniform(0, 1)
        start = time.monotonic()
        try:
            process.wait(timeout=share * whole[number % len(commands)])
            finished += 1
            whole[number % len(commands)] = time.monotonic() - start
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        faults += broken(folder / "out")
    for command in commands:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        faults += [result.stderr] if result.returncode else []
    left = [path.name for path in (folder / "out").rglob(".*")]
    print(f"{count} runs, {count - finished} killed, {finished} were quicker; {len(left)} unfinished files were left; "
          f"{len(faults)} faults {faults}")
    return len(faults)


if __name__ == "__main__":
    photo_file = Path(__file__).parents[1] / "page" / "photos" / "eileen-collins.jpg"
    if sys.argv[1:2] == ["--batch"]:
        edit_batch(photo_file, Path(sys.argv[2]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, photo_file) > 0)
