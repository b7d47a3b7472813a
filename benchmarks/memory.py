"""What it saves that freed memory stays with the process (`generators.memory`): with and without, in turns.

    python -m benchmarks.memory [--rounds 3] [--threads N]

Each turn is a process of its own. Prints a Markdown table: the time of a piece of work, the median of the rounds'
ratios with the least and the greatest, and the most memory that the processes held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.machine import describe, peak_memory
from generators import Generator, load

TURNS = 5  # Of the work in a process, after one that is not timed.
GLIBC = {"MALLOC_ARENA_MAX": str(8 * (os.cpu_count() or 1))}  # glibc's own choice; said so, ours is not made.


def drawing(side: int, batch: int) -> Callable[[Generator], None]:
    """Pictures of a batch."""
    @torch.no_grad()
    def work(generator: Generator) -> None:
        generator.render(generator.sample(range(batch)), side)

    return work


def learning(side: int, batch: int) -> Callable[[Generator], None]:
    """Pictures of a batch and the gradients of what is said of them: a step of a search."""
    def work(generator: Generator) -> None:
        latents = generator.sample(range(batch)).clone().requires_grad_()
        generator.render(latents, side).square().mean().backward()

    return work


WORK = {"one picture of 256": drawing(256, 1), "16 pictures of 256": drawing(256, 16),
        "one picture of 1024": drawing(1024, 1), "two pictures of 1024": drawing(1024, 2),
        "a step of a search, 256": learning(256, 1), "a step of a search, 1024": learning(1024, 1)}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def one(work: str, precision: str, threads: int) -> None:
    """Do the work, in this process, and print the seconds of a piece and the memory at most."""
    torch.set_num_threads(threads)
    generator = load("bundled").in_precision(PRECISIONS[precision])
    WORK[work](generator)
    start = time.perf_counter()
    for _ in range(TURNS):
        WORK[work](generator)
    print(json.dumps([(time.perf_counter() - start) / TURNS, peak_memory()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", nargs=2, metavar=("WORK", "PRECISION"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one[0], arguments.one[1], arguments.threads)
        return
    torch.set_num_threads(arguments.threads)
    for name, value in describe(torch.device("cpu")).items():
        print(f"- {name}: {value}")
    print("\n| work | precision | freed memory given back, ms | kept, ms | kept / given back | memory at most, GB |\n"
          "|---|---|---|---|---|---|")
    for precision in PRECISIONS:
        for work in WORK:
            given_back, kept = [], []
            for _ in range(arguments.rounds):
                given_back.append(_in_a_process(work, precision, arguments.threads, GLIBC))
                kept.append(_in_a_process(work, precision, arguments.threads, {}))
            ratios = sorted(ours[0] / theirs[0] for ours, theirs in zip(kept, given_back, strict=True))
            print(f"| {work} | {precision} | {_middle(given_back, 0) * 1e3:.0f} | {_middle(kept, 0) * 1e3:.0f} | "
                  f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | "
                  f"{_middle(given_back, 1):.2f}, {_middle(kept, 1):.2f} |", flush=True)


def _in_a_process(work: str, precision: str, threads: int, environment: dict[str, str]) -> list[float]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-m", "benchmarks.memory", "--threads", str(threads), "--one", work, precision]
    done = subprocess.run(command, env={**others, **environment}, capture_output=True, text=True, check=True)
    seconds, most = json.loads(done.stdout)
    return [seconds, most]


def _middle(turns: list[list[float]], index: int) -> float:
    return median(turn[index] for turn in turns)


if __name__ == "__main__":
    main()
