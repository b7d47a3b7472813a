"""Checkpoints that are damaged at random: each is read or refused, and takes neither long nor much memory.

    python -m benchmarks.mutated_checkpoints [COUNT]      (5,000)

Writes small random networks, classifiers and edits as every kind of file that is read; changes bytes (in half of the
files where names stand, which is where the structure is), cuts pieces out, doubles them, or ends the file early; then
reads it, in a process apart. What is a fault: any other error than the program's own, the end of that process, more
than 10 seconds, or more than 2 GB. The file of each fault is kept.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from benchmarks.mutated_photos import LONGEST, MOST_MEMORY, mutated
from directions.authors import import_authors
from directions.saved_edits import import_saved_edit
from generators.checkpoints import read, write
from tests.directions.test_authors import folder as write_authors
from tests.directions.test_saved_edits import saved
from tests.directions.test_saved_edits import write as write_edit
from tests.generators.checkpoints import openvino_files
from tests.generators.checkpoints import reader_files as files
from weights.errors import InputError

STARTING = 120.0  # Seconds for a process to import what it needs.


def kinds(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """A good file of each kind, and what reads it."""
    authors, openvino = write_authors(folder / "authors", ("color", "day"), (8, 1)), folder / "openvino"
    openvino.mkdir(exist_ok=True)
    openvino_files.write_export(openvino)
    nvidia = files.write_nvidia_torch(folder / "nvidia.pkl")
    write(folder / "own.safetensors", *read(nvidia))

    def of_authors(path: Path) -> object:
        return import_authors(path.parent)

    return {
        "NVIDIA, PyTorch": (nvidia, read),
        "NVIDIA, TensorFlow": (files.write_nvidia_tensorflow(folder / "tensorflow.pkl"), read),
        "rosinality, zip": (files.write_rosinality(folder / "zip.pt"), read),
        "rosinality, legacy": (files.write_rosinality(folder / "legacy.pt", zip_file=False), read),
        "rosinality, without mean": (files.write_rosinality(folder / "bare.pt", latent_avg=False), read),
        "own safetensors": (folder / "own.safetensors", read),
        "OpenVINO, graph": (openvino / "SynthesisNetwork.xml", read),
        "authors, model.pth": (authors / "model.pth", of_authors),
        "authors, model_params.pkl": (authors / "model_params.pkl", of_authors),
        "GANSpace, saved edit": (write_edit(folder / "edit.pkl", saved()), import_saved_edit),
    }


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A file damaged as photos are (`mutated`), or only where names stand."""
    if random.integers(2):
        return mutated(data, random)
    changed, spots = bytearray(data), [match.start() for match in re.finditer(rb"[A-Za-z_.]{3}", data)]
    for spot in random.choice(spots, random.integers(1, 4)):
        changed[min(spot + random.integers(-4, 8), len(data) - 1)] = random.integers(256)
    return bytes(changed)


def work(connection: Connection, folder: Path) -> None:
    """Read the file of each kind that is asked for; tell the outcome and the memory that it took, at most."""
    torch.set_num_threads(1)
    readers = kinds(folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_MEMORY, size + MOST_MEMORY))
    connection.send(("ready", 0))
    while True:
        path, reader = readers[connection.recv()]
        try:
            reader(path)
            outcome = "read"
        except InputError as error:
            outcome = "refused" if "\n" not in str(error) else "FAULT: more than a line"
        except Exception as error:  # noqa: BLE001 (a fault, which is what is looked for)
            outcome = f"FAULT: {type(error).__name__} {str(error)[:100]}"
        connection.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


class Worker:
    """A process that reads files, begun anew after one that it did not live through."""

    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, folder), daemon=True)
        self.process.start()
        other.close()
        self._answer(STARTING)

    def ask(self, kind: str) -> tuple[str, int]:
        self.connection.send(kind)
        return self._answer(LONGEST)

    def _answer(self, seconds: float) -> tuple[str, int]:
        try:
            if self.connection.poll(seconds):
                answer: tuple[str, int] = self.connection.recv()
                return answer
            return "FAULT: slow", 0
        except EOFError:
            return "FAULT: the process ended", 0


def main(count: int) -> int:
    """Read so many damaged files; the number of faults."""
    random, folder = np.random.default_rng(0), Path(tempfile.mkdtemp(prefix="mutated-checkpoints-"))
    readers = kinds(folder)
    originals = {kind: path.read_bytes() for kind, (path, _) in readers.items()}
    outcomes: Counter[tuple[str, str]] = Counter()
    slowest, memory, before = 0.0, 0, time.monotonic()
    worker = Worker(folder)
    for number in range(count):
        kind = [*readers][number % len(readers)]
        path, data = readers[kind][0], damaged(originals[kind], random)
        path.write_bytes(data)
        start = time.monotonic()
        outcome, peak = worker.ask(kind)
        slowest, memory = max(slowest, time.monotonic() - start), max(memory, peak)
        outcome = "FAULT: memory" if peak > MOST_MEMORY else outcome
        path.write_bytes(originals[kind])
        if outcome.startswith("FAULT"):
            (folder / f"fault-{number}{path.suffix}").write_bytes(data)
            worker.process.kill()
            worker = Worker(folder)
        outcomes[kind, outcome] += 1
    worker.process.kill()
    for (kind, outcome), times in sorted(outcomes.items()):
        print(f"{times:6} {kind}: {outcome}")
    print(f"{count} files in {time.monotonic() - before:.0f} s; the slowest {slowest:.2f} s; memory "
          f"{memory / 1e6:.0f} MB; faults in {folder}")
    return sum(times for (_, outcome), times in outcomes.items() if outcome.startswith("FAULT"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000) > 0)
