"""Commands, workers and the page killed (SIGKILL) at random moments: nothing broken stays, nothing blocks the next run.

    python -m benchmarks.killed_runs [COUNT] [--what edit,invert,driver,worker,page] [--bundled]

COUNT (100) runs go to the kinds in turn: `edit` of a synthetic person, `invert` of a photo, a `batch` whose driver is
killed, one of which a worker is, and the page's server while a visitor uploads, inverts, edits and downloads. By the
tests' generator of 128 pixels, with --bundled by the bundled one. After each, every file with the name of a result must
open, in the results' folder, in the cache and among what the page keeps; the next run finds what this one left. A batch
that lost a worker must end well, a batch whose driver was killed goes on, and the page must start again.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from batch.edits import load_edit
from benchmarks.machine import free_port
from editing import load_recipe, load_session
from editing.session import ENDING
from inversion import load_inversion, open_photo
from weights.errors import InputError

PHOTO = Path(__file__).parents[1] / "page" / "photos" / "eileen-collins.jpg"
KINDS = ("edit", "invert", "driver", "worker", "page")
PATIENCE = 180  # Seconds for the page to answer.


def broken(folder: Path) -> list[str]:
    """Results that cannot be read; what begins with a dot is unfinished, and nobody's result."""
    readers: dict[str, Callable[[Path], object]] = {
        ".png": open_photo, ".jpg": open_photo, ".csv": rows_of, ".jsonl": lines_of, ".zip": zipfile.ZipFile,
        ".safetensors": lambda path: (load_session if path.name.endswith(ENDING) else load_inversion)(path),
        ".json": lambda path: load_edit(path) if path.name == "edit.json" else load_recipe(path)}
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".") and path.suffix in readers:
            try:
                readers[path.suffix](path)
            except (InputError, zipfile.BadZipFile) as error:
                found.append(f"{path}: {error}")
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


class Killing:
    """The runs, in one folder: what was killed so far, and what is wrong."""

    def __init__(self, folder: Path, bundled: bool) -> None:
        self.folder, self.chance, self.killed, self.faults = folder, random.Random(0), 0, list[str]()
        self.port = 0                    # Of the page that runs.
        self.whole: dict[str, float] = {}  # Seconds that a run takes that nothing ends.
        self.environment = {**os.environ, "GRADCTRL_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"),
                            "GRADCTRL_INVERSIONS": "1GB"}
        (folder / "tmp").mkdir()
        (folder / "photos").mkdir()
        for number in range(4):
            (folder / "photos" / f"{number}.jpg").write_bytes(PHOTO.read_bytes() + bytes([number]))
        self.models: list[str] = []
        if not bundled:
            importlib.import_module("tests.small_models").write_small_models(folder)
            self.models = ["--generator", str(folder / "generator.safetensors"),
                           "--controls", str(folder / "controls.safetensors")]

    def command(self, kind: str) -> list[str]:
        """What is run; a batch goes on in its folder, until that is done."""
        cli = [sys.executable, "-m", "cli"]
        if kind == "page":
            self.port = free_port()
            return [sys.executable, "-m", "benchmarks.killed_runs", "--serve", str(self.port), *self.models[1::2]]
        ending = [*self.models, "--overwrite", "--out", str(self.folder / "out")]
        if kind == "edit":
            return [*cli, "edit", "--seed", "3", "--set", "smile=1", "--strip", *ending]
        if kind == "invert":  # Not from the cache, and into it.
            shutil.rmtree(self.folder / "cache" / "inversions", ignore_errors=True)
            return [*cli, "invert", str(PHOTO), "--preset", "fast", *self.models[:2], *ending[len(self.models):]]
        return [*cli, "batch", str(self.folder / "photos"), "--set", "smile=1", "--preset", "fast", "--workers", "2",
                *self.models, "--out", str(self.folder / "out" / kind)]

    def start(self, kind: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{kind}.log", "wb") as log:
            return subprocess.Popen(self.command(kind), env=self.environment, stdout=log, stderr=log)

    def _visitor(self) -> list[str]:
        """In a process of its own: a client whose page is gone may take others of its process with it."""
        return [sys.executable, "-m", "benchmarks.killed_runs", "--visit", str(self.port), str(self.folder / "visitor")]

    def once(self, kind: str) -> None:
        """A run that nothing ends, which must succeed; how long it takes."""
        begun = time.monotonic()
        process = self.start(kind)
        if kind == "page":
            try:
                self.whole["start"] = _until_it_answers(process, self.port)
                begun = time.monotonic()
                subprocess.run(self._visitor(), check=True, stderr=subprocess.DEVNULL)
            except Exception as error:  # noqa: BLE001 (whatever it is, the page did not do its work)
                self.faults.append(f"page: {error!r}")
            self.whole[kind] = time.monotonic() - begun
            process.kill()
        if process.wait() and kind != "page":
            self.faults.append(f"{kind}: {(self.folder / f'{kind}.log').read_text()[-500:]}")
        self.whole.setdefault(kind, time.monotonic() - begun)
        if kind in ("driver", "worker"):
            shutil.rmtree(self.folder / "out" / kind, ignore_errors=True)

    def kill(self, kind: str) -> None:
        """A run that is killed, half of the times late, when files are written."""
        visitor: subprocess.Popen[bytes] | None = None
        share = self.chance.uniform(0.8, 1) if self.chance.random() < 0.5 else self.chance.uniform(0, 1)
        process = self.start(kind)
        if kind == "page" and self.chance.random() < 0.8:  # Else while it starts.
            try:
                _until_it_answers(process, self.port)
            except RuntimeError as error:
                self.faults.append(str(error))
            visitor = subprocess.Popen(self._visitor(), stderr=subprocess.DEVNULL)
            share *= self.whole["page"] / self.whole["start"]
        with suppress(subprocess.TimeoutExpired):
            process.wait(share * self.whole["start" if kind == "page" else kind])
        if process.poll() is None and kind == "worker":
            self._kill_worker(process)
        elif process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.killed += 1
        if visitor is not None:
            visitor.kill()
            visitor.wait()
        if kind in ("driver", "worker"):
            self.faults += self._left_behind()
        self.faults += [fault for name in ("out", "cache", "tmp") for fault in broken(self.folder / name)]
        if process.returncode == 0 and kind in ("driver", "worker"):
            shutil.rmtree(self.folder / "out" / kind)

    def _left_behind(self) -> list[str]:
        """What a batch has left in the folder for temporary files, some seconds after its end."""
        end = time.monotonic() + 20
        while (left := [*(self.folder / "tmp").glob("gradctrl-batch-*")]) and time.monotonic() < end:
            time.sleep(0.2)
        return [f"{path} is left" for path in left]

    def _kill_worker(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one of a batch's processes, and let the batch end, which it must do well."""
        workers = [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                   if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
                self.killed += 1
        if process.wait() and "loads the generator ended" not in (self.folder / "worker.log").read_text():
            self.faults.append(f"worker: {(self.folder / 'worker.log').read_text()[-500:]}")


def _until_it_answers(process: subprocess.Popen[bytes], port: int) -> float:
    """Wait for the page; how many seconds it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE and process.poll() is None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return time.monotonic() - begun
        time.sleep(0.1)
    raise RuntimeError(f"the page did not start: {process.poll()}")


def _visit(port: int, folder: Path) -> None:
    """Upload a photo, invert it, edit it, download the result, and the same as a batch."""
    from gradio_client import Client, handle_file

    client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False, download_files=str(folder))
    session, _, _ = client.predict(handle_file(str(PHOTO)), 0, "fast", True, api_name="/invert")
    picture, _ = client.predict(handle_file(session), {"smile": 1.0}, api_name="/edit")
    open_photo(picture)
    results, _ = client.predict([handle_file(str(PHOTO))], {"smile": 1.0}, "fast", api_name="/batch")
    zipfile.ZipFile(results).close()


def serve(port: int, models: Sequence[str]) -> None:
    """The page, as the benchmark starts it in a process of its own."""
    from page.launching import launch

    launch(port=port, **dict(zip(("generator", "controls"), models, strict=False)))  # type: ignore[arg-type]


def main() -> int:
    """Do what the command line says; the number of faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--what", default=",".join(KINDS))
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--serve", nargs="+")
    parser.add_argument("--visit", nargs=2)
    given = parser.parse_args()
    if given.serve:
        serve(int(given.serve[0]), given.serve[1:])
        return 0
    if given.visit:
        _visit(int(given.visit[0]), Path(given.visit[1]))
        return 0
    kinds, begun = given.what.split(","), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="killed-runs-") as folder:
        runs = Killing(Path(folder), given.bundled)
        for kind in kinds:
            runs.once(kind)
        print({kind: round(seconds, 1) for kind, seconds in runs.whole.items()}, flush=True)
        for number in range(given.count):
            before = len(runs.faults)
            runs.kill(kinds[number % len(kinds)])
            print(number + 1, kinds[number % len(kinds)], runs.killed, "killed", runs.faults[before:], flush=True)
        for kind in kinds:
            runs.once(kind)
        left = [path for name in ("out", "cache") for path in (Path(folder) / name).rglob(".*") if path.is_file()]
        print(f"{given.what}: {given.count} runs, {runs.killed} killed, {len(left)} hidden files left, "
              f"{time.monotonic() - begun:.0f} s; {len(runs.faults)} faults {runs.faults}")
    return len(runs.faults)


if __name__ == "__main__":
    sys.exit(main() > 0)
