"""Rendering, directions, edits and inversions of a generator on this machine.

    python -m benchmarks.core [--photo FILE] [--generator bundled] [--device auto] [--threads N]

Prints a Markdown report. Times are medians; the peak memory is that of the whole run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.machine import describe, peak_memory, synchronise
from directions import Controls
from directions import load as load_controls
from editing import Editor
from generators import Generator, choose_device, fastest_dtype, load, to_pixels
from inversion import PRESETS, Projector, align, find_faces, open_photo

Row = tuple[str, str]


def milliseconds(work: Callable[[], object], device: torch.device, *, runs: int = 15) -> float:
    """Median time of a call, after two calls to warm up."""
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append((time.perf_counter() - start) * 1000)
    return median(times[2:])


@torch.no_grad()
def renders(generator: Generator) -> Iterator[Row]:
    for batch in (1, 8) if generator.device.type == "cpu" else (1, 8, 32):
        w = generator.sample(range(batch))
        render = partial(generator.render, w)
        plain = milliseconds(render, generator.device) / batch
        yield f"render, batch {batch}, per picture", f"{plain:.1f} ms"
        fastest = fastest_dtype(generator.device)
        if fastest != torch.float32:
            with generator.precision(fastest):
                ratio = plain / (milliseconds(render, generator.device) / batch)
            yield f"  the same in {str(fastest).removeprefix('torch.')}", f"{ratio:.2f} times as fast"


def precision(generator: Generator) -> Iterator[Row]:
    fastest = str(fastest_dtype(generator.device)).removeprefix("torch.")
    yield "the precision that `generators.fastest_dtype` finds to pay", fastest


@torch.no_grad()
def directions(generator: Generator, controls: Controls) -> Iterator[Row]:
    smile, *others = controls.to(generator.device, generator.dtype).values()
    for count in (1, 1000):
        w = generator.sample([0]).expand(count, -1).contiguous()
        keep = [(other, 100) for other in others]
        spent = milliseconds(partial(smile.direction, w, 0, keep), generator.device)
        yield f"direction that keeps {len(others)} attributes, {count} latents", f"{spent:.2f} ms"


def edits(generator: Generator, controls: Controls) -> Iterator[Row]:
    editor = Editor(generator, controls)
    editor.set_latent(generator.sample([0])[0])
    first = next(iter(controls))
    spent = milliseconds(lambda: editor.edit({first: 1.5}), generator.device)
    yield f"edit, slider ({first} 1.5) to picture", f"{spent:.0f} ms"


def inversions(generator: Generator, crop: np.ndarray, what: str) -> Iterator[Row]:
    projector = Projector(generator)
    _ = projector.distance, projector.statistics, projector.encoder
    for name, settings in PRESETS.items():
        result = projector.invert(crop, settings=settings)
        tuning = f", {settings.tuning_steps} of tuning" if settings.tuning_steps else ""
        yield (f"inversion of {what}, {name} ({settings.space}, {settings.steps} steps{tuning})",
               f"{result.seconds:.1f} s, LPIPS {result.lpips:.3f}, identity distance {result.identity:.2f}")
        if generator.device.type != "cpu" and not settings.tuning_steps:
            for batch in (8, 32):
                several = projector.invert_batch([crop] * batch, settings=settings)
                yield f"  of {batch} at once, each", f"{several[0].seconds / batch:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photo", type=Path, help="a photo whose largest face is inverted too")
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--controls", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = load(arguments.generator, device=choose_device(arguments.device))
    controls = load_controls(arguments.controls)
    for name, value in describe(generator.device).items():
        print(f"- {name}: {value}")
    print("\n| what | measured |\n|---|---|")
    with torch.no_grad():
        sample = to_pixels(generator.render(generator.sample([1001], truncation=0.8)))[0]
    rows = [renders(generator), precision(generator), directions(generator, controls), edits(generator, controls),
            inversions(generator, sample, "a sample")]
    if arguments.photo is not None:
        photo = open_photo(arguments.photo)
        rows.append(inversions(generator, align(photo, find_faces(photo)[0], generator.img_resolution), "a photo"))
    for part in rows:
        for what, measured in part:
            print(f"| {what} | {measured} |", flush=True)
    print(f"| peak memory | {peak_memory():.2f} GB |")


if __name__ == "__main__":
    main()
