"""The bundled generator's pictures beside OpenVINO's float32 run of the files that it was made of, in one run.

    python -m benchmarks.openvino FOLDER [--python PYTHON] [--rounds 8] [--threads 2]

FOLDER holds SynthesisNetwork.xml and .bin of the registry's package random-face; PYTHON is one that can import openvino
(a process of its own runs it). Every round times each thing once, one after the other, so that all meet the same
machine. Prints a Markdown table: medians, and their ratios to OpenVINO's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import describe
from generators import fastest_dtype, load

OPENVINO = "OpenVINO, 1024 pixels"
PROGRAM = """
import sys, time
import numpy as np, openvino
network = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32",
                                                             "INFERENCE_NUM_THREADS": int(sys.argv[2])})
w = np.zeros((1, 512), np.float32)
network(w)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    network(w)
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def openvino_runs(folder: Path, python: str, threads: int) -> Iterator[Callable[[], float]]:
    """What runs the network once and gives the seconds that it took."""
    command = [python, "-c", PROGRAM, str(folder / "SynthesisNetwork.xml"), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{python} cannot run the network with openvino")
        stdin, stdout = process.stdin, process.stdout

        def run() -> float:
            stdin.write("once\n")
            stdin.flush()
            return float(stdout.readline())

        yield run
        stdin.close()


def our_runs() -> dict[str, Callable[[], object]]:
    """What is timed of ours, by name."""
    generator = load()
    w = generator.sample([1])

    def draw(side: int) -> None:
        with torch.no_grad(), generator.precision(fastest_dtype(generator.device)):
            generator.render(w, side)

    def draw_and_back(side: int) -> None:
        latent = w.clone().requires_grad_()
        with generator.precision(fastest_dtype(generator.device)):
            generator.render(latent, side).square().mean().backward()

    return {**{f"{side} pixels": partial(draw, side) for side in reversed(generator.sides)},
            **{f"{side} pixels, forward and backward": partial(draw_and_back, side) for side in (256, 128)}}


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with openvino_runs(given.folder, given.python, given.threads) as openvino:
        ours = our_runs()
        for run in ours.values():
            run()
        seconds: dict[str, list[float]] = {name: [] for name in (OPENVINO, *ours)}
        for _ in range(given.rounds):
            seconds[OPENVINO].append(openvino())
            for name, run in ours.items():
                seconds[name].append(timed(run))
    print(describe(torch.device("cpu")))
    print(f"\n| {fastest_dtype()} | milliseconds | in parts of OpenVINO's float32 run |\n|---|---|---|")
    whole = median(seconds[OPENVINO])
    for name, each in seconds.items():
        print(f"| {name} | {1000 * median(each):.0f} | {median(each) / whole:.2f} |")


if __name__ == "__main__":
    main()
