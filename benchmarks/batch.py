"""Batches: how quick on one worker, two, and Ray; what workers hold in memory; and runs that are killed at random.

    python -m benchmarks.batch speed PHOTOS [--count 8] [--turns 2]     photos a minute by each executor
    python -m benchmarks.batch parts PHOTOS [--count 8]     processor seconds and bytes of each part of a photo's way
    python -m benchmarks.batch memory PHOTOS [--count 8]    what 1, 2 and 3 workers hold
    python -m benchmarks.batch kills PHOTOS [--count 1000] [--kills 20] [--small]

PHOTOS is a folder of portraits, which are made small and varied. `kills` takes the command line as users do, and checks
in the end that nothing was lost and nothing done twice; with --small, by the tests' generator of 128 pixels in place of
the bundled one, which takes a part of the time and goes through the same files.
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
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image, ImageEnhance, ImageOps

from batch import BatchJob, Processes, RayCluster, Row, run
from batch.inputs import find_photos
from batch.models import load_models
from batch.pool import Executor
from benchmarks.killed_runs import broken
from benchmarks.machine import describe
from directions import Edit
from editing import choose
from inversion import describe_crop, find_upright, open_photo, preset, save_inversion, save_picture

SIDE = 360  # Of the small photos, in pixels.
EDIT = Edit(strengths={"smile": 1.0})


def vary(photos: Sequence[Path], folder: Path, count: int) -> Path:
    """Write so many small photos: portraits mirrored, moved, made lighter and darker, in sub-folders of a hundred."""
    chance = random.Random(0)
    for number in range(count):
        with Image.open(photos[number % len(photos)]) as image:
            picture = ImageOps.fit(image.convert("RGB"), (SIDE + 20, SIDE + 20))
        left, top = chance.randrange(20), chance.randrange(20)
        picture = picture.crop((left, top, left + SIDE, top + SIDE))
        if number // len(photos) % 2:
            picture = ImageOps.mirror(picture)
        picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.85, 1.15))
        path = folder / f"{number // 100:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
    return folder


def speed(photos: Path, work: Path, count: int, turns: int) -> None:
    """Print photos a minute and processor seconds a photo, by executors in turns."""
    kinds: dict[str, Executor] = {
        "1 process, 1 thread": Processes(1, 1), "2 processes, 1 thread each": Processes(2, 1),
        "2 Ray actors, 1 thread each": RayCluster(2, threads=1), "1 process, 2 threads": Processes(1, 2)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for turn in range(turns):
        for name, executor in kinds.items():
            found[name].append(_rate(photos, work / f"{turn}-{name}", executor, count))
            print(name, found[name][-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    for name, each in found.items():
        rate, spent = (statistics.mean(numbers) for numbers in zip(*each, strict=True))
        print(f"| {name} | {rate:.2f} | {spent:.2f} |")


def _rate(photos: Path, out: Path, executor: Executor, count: int) -> tuple[float, float]:
    """Photos a minute and processor seconds a photo, after the first of each worker, which waits for its models."""
    ended: list[tuple[float, float]] = []  # When each photo was done, and what the workers had spent by then.
    done: set[int] = set()

    def on_row(row: Row) -> None:
        if row.state == "done" and row.index not in done:
            done.add(row.index)
            ended.append((time.monotonic(), _spent()))

    job = BatchJob(edit=EDIT, settings=preset("fast", precision="float32"))
    workers = getattr(executor, "workers", 1)
    run(job, find_photos([photos])[:count + workers], out, executor=executor, on_row=on_row)
    (begun, before), (over, after) = ended[workers - 1], ended[-1]
    return 60 * count / (over - begun), (after - before) / count


def _spent() -> float:
    """Processor seconds of this program's workers, and of Ray's actors."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):  # It has ended just now.
            command = (folder / "cmdline").read_bytes()
            values = (folder / "stat").read_text().rpartition(")")[2].split()
            if b"ray::_Actor" in command or (b"spawn_main" in command and int(values[1]) == os.getpid()):
                ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def parts(photos: Path, work: Path, count: int) -> None:
    """Print the medians of each part of a photo's way: processor seconds, which other work hardly moves."""
    torch.set_num_threads(1)
    models = load_models(BatchJob(edit=EDIT))
    assert models.editor is not None
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, list[int]] = {}
    for path in [photo.path for photo in find_photos([photos])[:count + 1]]:
        assert path is not None
        clock = _Clock(seconds)
        photo, faces, _ = find_upright(open_photo(path))
        clock("open and find faces")
        chosen = choose(photo, 0, faces=faces)
        [inversion] = models.inverter.invert([chosen], preset("fast", precision="float32"))
        clock("invert, fast, with warnings")
        models.editor.set_latent(inversion)
        picture = models.editor.edit(EDIT)
        clock("edit and draw")
        pasted = chosen.paste_back(inversion.picture)(picture)
        clock("put back")
        save_picture(work / "photo.png", pasted)
        clock("write the photo, PNG")
        save_picture(work / "crop.jpg", picture)
        clock("write the face, JPEG")
        save_inversion(work / "me.latent.safetensors", inversion)
        clock("write the latent")
        describe_crop(inversion.crop)
        describe_crop(picture)
        clock("identity")
        for file in work.iterdir():
            sizes.setdefault(file.name, []).append(file.stat().st_size)
    for name, each in seconds.items():
        print(f"| {name} | {statistics.median(each[1:]):.3f} s |")
    for name, bytes_each in sizes.items():
        print(f"| {name} | {statistics.median(bytes_each) / 1e6:.2f} MB |")


class _Clock:
    """Notes the processor seconds since it was last asked."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.seconds, self.last = seconds, time.process_time()

    def __call__(self, name: str) -> None:
        now = time.process_time()
        self.seconds.setdefault(name, []).append(now - self.last)
        self.last = time.process_time()


def memory(photos: Path, work: Path, count: int) -> None:
    """Print the most that the workers held together: all, with their shares of what they map alike (PSS), their own."""
    for workers in (1, 2, 3):
        most: dict[str, float] = {}
        over = threading.Event()

        def watch(most: dict[str, float] = most, over: threading.Event = over) -> None:
            while not over.wait(0.5):
                now = _held(os.getpid())
                if now["Pss"] > most.get("Pss", 0):
                    most.update(now)

        thread = threading.Thread(target=watch)
        thread.start()
        run(BatchJob(edit=EDIT, settings=preset("fast", precision="float32")), find_photos([photos])[:count],
            work / str(workers), executor=Processes(workers, 1))
        over.set()
        thread.join()
        print(f"| {workers} |", *(f"{most[name] / 1e6:.2f} GB |" for name in ("Rss", "Pss", "Anonymous")))


def _held(process: int) -> dict[str, float]:
    """Sums over a process's workers, in kB."""
    sums = {"Rss": 0.0, "Pss": 0.0, "Anonymous": 0.0}
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        try:
            lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name in sums:
                sums[name] += float(value.split()[0])
    return sums


def kills(photos: Path, work: Path, count: int, wanted: int, small: bool) -> int:
    """Kill a batch so many times at random moments, then let it end; how much is wrong with its results."""
    out, models = work / "out", []
    if small:
        importlib.import_module("tests.small_models").write_small_models(work)
        models = ["--generator", str(work / "generator.safetensors"), "--controls", str(work / "controls.safetensors")]
    command = [sys.executable, "-m", "cli", "batch", str(photos), "--set", "smile=1", "--preset", "fast", "--workers",
               "2", "--out", str(out), *models]
    chance, killed, begun = random.Random(0), 0, time.monotonic()
    while killed < wanted:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before, patience = len(_ended(out)), chance.uniform(0, 20)
        # Three of four once some photos came out, so that kills are spread over the run; else as it starts.
        wait = chance.randint(1, max(1, 2 * count // wanted)) if killed % 4 < 3 else 0
        while process.poll() is None and len(_ended(out)) < before + wait:
            time.sleep(0.1)
        try:
            process.wait(timeout=patience)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        print(f"killed {killed} times, {len(_ended(out))} of {count} have ended", flush=True)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(result.stderr[-500:])
    faults = broken(out)
    names = [photo.name for photo in find_photos([photos])]
    ended = _ended(out)
    with open(out / "batch.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results = [path for path in (out / "pictures").rglob("*.png") if not path.name.startswith(".")]
    done = [row for row in rows if row["state"] == "done"]
    faults += [f"{name} has not ended" for name in set(names) - {*ended}]
    faults += [f"{name} has ended {ended.count(name)} times" for name in {*ended} if ended.count(name) > 1]
    if [row["file"] for row in rows] != names or len(done) != len(results):
        faults.append(f"{len(rows)} rows, {len(done)} done, {len(results)} pictures of {len(names)} photos")
    left = [path.name for path in out.rglob(".*") if path.is_file() and path.name != ".precision"]
    print(f"{len(names)} photos, {killed} kills, {time.monotonic() - begun:.0f} s: {len(done)} done, "
          f"{len(rows) - len(done)} failed, {len(left)} hidden files; {len(faults)} faults {faults}")
    return len(faults)


def _ended(out: Path) -> list[str]:
    """The photos that have ended, as often as the journal says so."""
    try:
        lines = (out / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    except OSError:
        return []
    return [entry["ended"] for entry in map(json.loads, lines) if "ended" in entry]


def main() -> int:
    """Do what the command line says; the number of faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "parts", "memory", "kills"])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    count = given.count or (1000 if given.what == "kills" else 8)
    print(describe(torch.device("cpu")), f"load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="batch-benchmark-") as folder:
        work = Path(folder)
        found = [photo.path for photo in find_photos([given.photos]) if photo.path]
        photos = vary(found, work / "photos", count + 3)
        (work / "results").mkdir()
        if given.what == "kills":
            shutil.rmtree(work / "photos")
            return kills(vary(found, work / "photos", count), work / "results", count, given.kills, given.small)
        if given.what == "speed":
            speed(photos, work / "results", count, given.turns)
        else:
            {"parts": parts, "memory": memory}[given.what](photos, work / "results", count)
    return 0


if __name__ == "__main__":
    sys.exit(main() > 0)
