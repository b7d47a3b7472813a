"""Renders, inversion steps and edits on a device, each plain, compiled and as CUDA graphs, in several precisions.

    python -m benchmarks.device [--device cuda] [--quick] [--out FILE.md]

Generators: the bundled one (or --generator), and those of NVIDIA's architectures for FFHQ at 256x256 and 1024x1024 with
random weights, which take as long as trained ones. What the device cannot do is left out; what fails is named below its
table, and the rest goes on. --parts and --ways choose; where commands may not run for long, run it part by part. The
Markdown is for docs/performance.md. --quick is small networks and few runs, to see that all of it works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.device_ways import FAILURES, WAYS, Way, failure, forget, quicker, ways_of
from benchmarks.machine import describe, synchronise
from editing import Editor
from gradctrl import Controls, load_controls
from inversion import PRESETS, PerceptualDistance
from inversion.search import Best, Targets, face_window, search
from inversion.whitening import Whitening
from stylegan2 import Generator, GeneratorConfig, choose_device, load
from weights.errors import InputError
from weights.files import replacing

PARTS = ("renders", "inversions", "edits")
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}  # Of the generator's convolutions.


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much is measured."""

    renders: tuple[int, ...] = (1, 8, 32)    # Pictures at a time.
    crops: tuple[int, ...] = (1, 8, 32)      # Inverted at a time.
    steps: int = 30                          # Of an inversion that are timed, after a third as many to warm up.
    runs: int = 5                            # Of everything else, at least.
    seconds: float = 1.0                     # And for so long, at least.
    shapes: tuple[tuple[str, int, int, int], ...] = (
        ("FFHQ 256x256", 256, 16384, 512), ("FFHQ 1024x1024", 1024, 32768, 512))  # Side, channel_base, channel_max.


QUICK = Amount(renders=(1,), crops=(1, 2), steps=3, runs=2, seconds=0.0, shapes=(("FFHQ 64x64, thin", 64, 1024, 32),))


@dataclass
class Table:
    """One table: a row for each thing that is measured and precision, a column for each way."""

    title: str
    unit: str
    ways: tuple[Way, ...]
    rows: list[list[str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        head = ["what", "precision", *(way.title for way in self.ways)]
        lines = [f"| {' | '.join(row)} |" for row in [head, *self.rows]]
        notes = [f"- {note}" for note in self.failures]
        return "\n".join([f"{self.title}, {self.unit}:", "", lines[0], "|" + "---|" * len(head), *lines[1:],
                          *(["", *notes] if notes else [])])


# Measuring.

def seconds_of(work: Callable[[], object], device: torch.device, amount: Amount) -> float:
    """Median seconds of a call; the device is waited for before and after each. Warm it up before."""
    times: list[float] = []
    while len(times) < amount.runs or sum(times) < amount.seconds:
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return median(times)


def timed(work: Callable[[], object], device: torch.device, amount: Amount, begin: float) -> tuple[float, float]:
    """Median seconds of a call, and seconds from `begin` to the end of the first call, in which compilers work."""
    work()
    synchronise(device)
    first = time.perf_counter() - begin
    for _ in range(2):
        work()
    return seconds_of(work, device, amount), first


def measure(table: Table, what: str, precision: str, of: Callable[[Way], tuple[float, float]]) -> None:
    """Add a row: each way's number, in brackets the seconds of its first call where it compiles; or that it failed.

    Args:
        table: Where to.
        what, precision: What the row is.
        of: Measures one way: the number, and the seconds of the first call. What it raises when a device or a
            compiler fails is noted below the table.
    """
    table.rows.append([what, precision, *(_cell(table, f"{what}, {precision}", way, of) for way in table.ways)])
    print(f"{table.title}: {' | '.join(table.rows[-1])}", file=sys.stderr, flush=True)


def _cell(table: Table, row: str, way: Way, of: Callable[[Way], tuple[float, float]]) -> str:
    try:
        number, first = of(way)
    except FAILURES as error:
        table.failures.append(f"{row}, {way.title}: {failure(error)}")
        return "failed"
    finally:
        forget()
    return f"{number:.3g} ({first:.0f} s)" if way.compiled else f"{number:.3g}"


# What is measured.

def random_generator(side: int, channel_base: int, channel_max: int, device: torch.device) -> Generator:
    """A generator of NVIDIA's architecture with random weights."""
    resolutions = [2 ** power for power in range(2, side.bit_length())]
    config = GeneratorConfig(img_resolution=side,
                             channels=tuple(min(channel_base // resolution, channel_max) for resolution in resolutions))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(config)
    generator.requires_grad_(False).eval()
    return generator.to(device).to(memory_format=torch.channels_last)


@torch.no_grad()
def render_rate(generator: Generator, batch: int, dtype: torch.dtype | None, amount: Amount,
                way: Way) -> tuple[float, float]:
    """Pictures a second.

    Raises:
        FloatingPointError: the pictures are not finite in this precision.
    """
    own = in_precision(generator, dtype)
    w_plus = own.broadcast(own.sample(range(batch))).contiguous()
    begin = time.perf_counter()
    quicker(own.synthesis, way, w_plus)
    spent, first = timed(partial(own.synthesis, w_plus), own.device, amount, begin)
    if not own.synthesis(w_plus).isfinite().all():
        raise FloatingPointError("draws nothing finite")
    return batch / spent, first


def step_rate(generator: Generator, crops: int, dtype: torch.dtype | None, amount: Amount,
              way: Way) -> tuple[float, float]:
    """Steps a second of the search of the preset `balanced` with freed rows, all crops at once."""
    own = in_precision(generator, dtype)
    with torch.no_grad():
        whitening, distance = Whitening(own), PerceptualDistance(device=own.device)
        pictures = own.render(own.sample(range(crops))).float().clamp(-1, 1)
        targets = Targets(pictures, distance.features(pictures), face_window(own.resolution, 0.1).to(pictures))
        scores = torch.zeros_like(whitening.mean).repeat(crops, 1)
        sample = own.broadcast(own.sample(range(crops))).contiguous()
    begin = time.perf_counter()
    quicker(own.synthesis, way, sample.requires_grad_())
    warm, marks = max(1, amount.steps // 3), list[float]()

    def watch(_: Best) -> bool:
        marks.append(0.0)
        if len(marks) in (1, warm, warm + amount.steps):
            synchronise(own.device)
            marks[-1] = time.perf_counter()
        return len(marks) == warm + amount.steps

    settings = replace(PRESETS["balanced"], steps=warm + amount.steps, plateau=0.0, spread_from=0.0)
    search(own, distance, whitening, targets, scores, settings, watch)
    return amount.steps / (marks[-1] - marks[warm - 1]), marks[0] - begin


def edit_times(generator: Generator, controls: Controls, dtype: torch.dtype | None, amount: Amount, what: str,
               way: Way) -> tuple[float, float]:
    """Milliseconds of a direction, of the edited latent, or from slider to picture."""
    own = in_precision(generator, dtype)
    begin = time.perf_counter()
    with torch.no_grad():
        quicker(own.synthesis, way, own.broadcast(own.sample([0])).contiguous())
    editor = Editor(own, controls)
    editor.set_latent(own.sample([0])[0])
    name = next(iter(controls))
    control = editor.controls[name]
    kept = [(editor.controls[other], count) for other, count in control.keep.items() if other in editor.controls]
    x = editor.states(control)
    work: dict[str, Callable[[], object]] = {
        DIRECTION: lambda: control.direction(x, 0, kept), LATENT: lambda: editor.edit_latent({name: 1.5}),
        PICTURE: lambda: editor.edit({name: 1.5})}
    spent, first = timed(work[what], own.device, amount, begin)
    return spent * 1000, first


DIRECTION, LATENT, PICTURE = "direction that keeps the others", "edited latent", "slider to picture"


def in_precision(generator: Generator, dtype: torch.dtype | None) -> Generator:
    """A copy to change: its convolutions in another precision."""
    copied = deepcopy(generator)
    copied.synthesis.compute_dtype = dtype
    return copied


# The tables.

def renders(generators: Iterable[tuple[str, Generator]], ways: tuple[Way, ...], amount: Amount) -> Iterator[Table]:
    for name, generator in generators:
        table = Table(f"Renders, {name}", "pictures a second", ways)
        for batch in amount.renders:
            for precision, dtype in DTYPES.items():
                measure(table, f"batch {batch}", precision, partial(render_rate, generator, batch, dtype, amount))
        yield table


def inversions(generators: Iterable[tuple[str, Generator]], ways: tuple[Way, ...], amount: Amount) -> Iterator[Table]:
    for name, generator in generators:
        table = Table(f"Inversion, {name}", "steps a second (times the crops: each step is of all of them)", ways)
        for crops in amount.crops:
            for precision in ("float32", "bfloat16"):  # Those that inversions can be asked for.
                measure(table, f"{crops} crops" if crops > 1 else "1 crop", precision,
                        partial(step_rate, generator, crops, DTYPES[precision], amount))
        yield table


def edits(name: str, generator: Generator, controls: Controls, ways: tuple[Way, ...], amount: Amount) -> Table:
    table = Table(f"Edits, {name}, {next(iter(controls))} 1.5", "milliseconds", ways)
    for precision, dtype in DTYPES.items():
        for what in (PICTURE,) if precision != "float32" else (DIRECTION, LATENT, PICTURE):
            # Directions and latents see no convolution: precision and ways make no difference to them.
            measure(table, what, precision, partial(edit_times, generator, controls, dtype, amount, what))
    return table


def tables(given: argparse.Namespace, device: torch.device) -> Iterator[Table]:
    """Each table as soon as it is done."""
    amount, ways = QUICK if given.quick else Amount(), ways_of(given.ways, device, quick=given.quick)
    own = load(given.generator, device=device)
    name = f"{given.generator} {own.resolution}x{own.resolution}"

    def generators() -> Iterator[tuple[str, Generator]]:
        yield name, own
        for title, side, channel_base, channel_max in amount.shapes:
            yield title, random_generator(side, channel_base, channel_max, device)

    parts = given.parts.split(",")
    if "renders" in parts:
        yield from renders(generators(), ways, amount)
    if "inversions" in parts:
        yield from inversions(generators(), ways, amount)
    if "edits" in parts:
        controls = load_controls(given.controls)
        Editor(own, controls)  # Refuses those of another generator at once, and not in every cell.
        yield edits(name, own, controls, ways, amount)


def head(device: torch.device) -> str:
    """What the measurement is taken on, with whether float32 convolutions are rounded to TF32."""
    facts = describe(device)
    if device.type == "cuda":
        facts["float32 convolutions"] = "TF32" if torch.backends.cudnn.allow_tf32 else "float32"
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def report(title: str, done: Sequence[Table]) -> str:
    return "\n\n".join([title, *(table.markdown() for table in done)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="small and few, to see that it works")
    parser.add_argument("--out", type=Path, help="Markdown file, written after each table")
    parser.add_argument("--parts", default=",".join(PARTS), help="which (default %(default)s)")
    parser.add_argument("--ways", help=f"some of {','.join(WAYS)} (default: all that the device can; quick: plain)")
    parser.add_argument("--generator", default="bundled", help="instead of the bundled one")
    parser.add_argument("--controls", default="bundled", help="of that generator, for the edits")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    done: list[Table] = []
    try:
        wrong = [name for name in given.parts.split(",") if name not in PARTS]
        if wrong:
            raise InputError(f"--parts {given.parts}: give some of {', '.join(PARTS)}")
        device = choose_device(given.device)
        title = head(device)
        for table in tables(given, device):
            done.append(table)
            if given.out is not None:
                with replacing(given.out) as temporary:
                    temporary.write_text(report(title, done), encoding="utf-8")
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(report(title, done), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
