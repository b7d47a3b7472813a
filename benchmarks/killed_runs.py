"""Commands that are killed (SIGKILL) at random moments: no broken file stays, and nothing blocks the next run.

    python -m benchmarks.killed_runs [COUNT]      (100)

Each run edits a synthetic person, or inverts or aligns a photo, into one folder; after each, every file with the name
of a result must open. In the end the same commands must succeed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from editing import load_recipe
from inversion import load_inversion, open_photo
from weights.errors import InputError


def broken(folder: Path) -> list[str]:
    """Results that cannot be read; what begins with a dot is unfinished, and nobody's result."""
    readers: dict[str, Callable[[Path], object]] = {".png": open_photo, ".json": load_recipe,
                                                    ".safetensors": load_inversion}
    found = []
    for path in folder.iterdir():
        if not path.name.startswith("."):
            try:
                readers[path.suffix](path)
            except InputError as error:
                found.append(str(error))
    return found


def main(count: int, photo: Path) -> int:
    """Kill so many runs; the number of faults."""
    folder = Path(tempfile.mkdtemp(prefix="killed-runs-"))
    commands = [["edit", "--seed", "3", "--set", "smile=1", "--strip"],
                ["invert", str(photo), "--preset", "fast"], ["align", str(photo)]]
    environment = {**os.environ, "GRADCTRL_CACHE": str(folder / "cache")}
    faults, finished, whole = [], 0, {}
    for number, command in enumerate(commands):  # How long each takes.
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "cli", *command, "--out", folder / "whole"], env=environment, check=True,
                       capture_output=True)
        whole[number] = time.monotonic() - start
    chance = random.Random(0)
    for number in range(count):
        command = commands[number % len(commands)]
        process = subprocess.Popen([sys.executable, "-m", "cli", *command, "--overwrite", "--out", folder / "out"],
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        if (folder / "out").exists():
            faults += broken(folder / "out")
    for command in commands:
        result = subprocess.run([sys.executable, "-m", "cli", *command, "--overwrite", "--out", folder / "out"],
                                env=environment, capture_output=True, text=True, check=False)
        faults += [result.stderr] if result.returncode else []
    left = [path.name for path in (folder / "out").iterdir() if path.name.startswith(".")]
    print(f"{count} runs, {count - finished} killed, {finished} were quicker; {len(left)} unfinished files were left; "
          f"{len(faults)} faults {faults}")
    return len(faults)


if __name__ == "__main__":
    photo_file = Path(__file__).parents[1] / "page" / "photos" / "eileen-collins.jpg"
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, photo_file) > 0)
