"""The page under load: many people who move sliders, while others have photos inverted.

    python -m benchmarks.page [--visitors 30] [--inverting 3] [--minutes 10] [--beside 1] [--browser] [--out FILE]

Starts the page in a process of its own, and acts as its visitors in this one, by the page's own protocol (what people
do: `benchmarks.page_people`). Three loads are measured one after the other: one visitor alone, all visitors with no
inversion, all with the inversions. With --browser a real Chromium is driven before, alone. Prints a Markdown report;
--out also writes all single values as JSON.

The visitors take processor time themselves; the report says how much. A person waits for the picture before moving on,
so that a slower page is also asked for less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.page_people import Inverter, Person, Tally
from benchmarks.page_protocol import Plan, Tab
from benchmarks.page_server import Server, serving

PHOTO = Path(__file__).parent.parent / "page" / "photos" / "eileen-collins.jpg"
SAMPLE_EVERY = 5.0  # Seconds between two looks at the server's memory.


@dataclass
class Load:
    """One load, and what came of it."""

    title: str
    seconds: float
    tally: Tally = field(default_factory=Tally)
    memory: list[tuple[float, float]] = field(default_factory=list)  # Seconds, MB.
    disk: tuple[float, float] = (0.0, 0.0)                           # MB before and after.
    threads: int = 0
    server_cores: float = 0.0  # Mean number of cores that the page's process kept busy.
    own_cores: float = 0.0     # The same of the visitors' process.
    load_before: float = 0.0   # The machine's load average of a minute before it began.


async def run_load(server: Server, title: str, *, visitors: int, inverting: int, seconds: float,
                   preset: str = "faithful", seed: int = 0) -> Load:
    """Let people use the page for some time."""
    load = Load(title, seconds, load_before=os.getloadavg()[0])
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=server.address, limits=limits, timeout=60) as http:
        plan = Plan.of((await http.get("/config")).json())
        begin, until = time.monotonic(), time.monotonic() + seconds
        worked, own, disk = server.seconds_worked(), time.process_time(), server.disk()
        watching = asyncio.create_task(_watch(server, load, begin))
        photo = PHOTO.read_bytes()
        await asyncio.gather(
            *(Person(Tab(http, plan), load.tally, seed + number).live(until) for number in range(visitors)),
            *(Inverter(Tab(http, plan), load.tally, photo, seed + number, preset).live(until)
              for number in range(inverting)))
        spent = time.monotonic() - begin
        watching.cancel()
    load.server_cores = (server.seconds_worked() - worked) / spent
    load.own_cores = (time.process_time() - own) / spent
    load.disk = disk, server.disk()
    return load


async def _watch(server: Server, load: Load, begin: float) -> None:
    while True:
        load.memory.append((time.monotonic() - begin, server.memory()))
        load.threads = max(load.threads, server.threads())
        await asyncio.sleep(SAMPLE_EVERY)


def times(values: Sequence[float]) -> str:
    """p50, p95 and most, in milliseconds."""
    if not values:
        return "none"
    p50, p95 = np.percentile(values, [50, 95])
    return f"{p50 * 1000:.0f} / {p95 * 1000:.0f} / {max(values) * 1000:.0f}"


def growth(memory: Sequence[tuple[float, float]]) -> float:
    """MB a minute by which memory grew in the second half of a load, by least squares."""
    later = np.array(memory[len(memory) // 2:])
    if len(later) < 3:
        return 0.0
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * 60)


def report(loads: Sequence[Load]) -> str:
    """A Markdown table, one column for each load."""
    rows: list[tuple[str, list[str]]] = [
        ("seconds", [f"{load.seconds:.0f}" for load in loads]),
        ("load average of the machine before", [f"{load.load_before:.1f}" for load in loads]),
        ("positions of sliders", [str(load.tally.moves) for load in loads]),
        ("pictures while dragging, a second", [f"{len(load.tally.drags) / load.seconds:.1f}" for load in loads]),
        ("pictures in full, a second", [f"{len(load.tally.settled) / load.seconds:.1f}" for load in loads]),
        ("sent to picture, dragging", [times(load.tally.drags) for load in loads]),
        ("sent to picture in full, with its 250 ms of rest", [times(load.tally.settled) for load in loads]),
        ("last position to a picture of it", [times(load.tally.stops) for load in loads]),
        ("last position to the picture in full", [times(load.tally.finished) for load in loads]),
        ("last position to the numbers", [times(load.tally.numbers) for load in loads]),
        ("times that numbers came", [str(len(load.tally.numbers)) for load in loads]),
    ]
    first = loads[0].tally
    for title, name in (("dragging", "drags"), ("last position", "stops")):
        base = np.median(getattr(first, name)) if getattr(first, name) else np.nan
        rows.append((f"p50 beside the first column, {title}",
                     [f"{np.median(getattr(load.tally, name)) / base:.1f}" if getattr(load.tally, name) else "none"
                      for load in loads]))
    rows += [
        ("inversions done", [str(len(load.tally.inversions)) for load in loads]),
        ("seconds of an inversion, p50 (most)",
         [f"{np.median(load.tally.inversions):.0f} ({max(load.tally.inversions):.0f})" if load.tally.inversions
          else "none" for load in loads]),
        ("errors", [str(len(load.tally.errors)) for load in loads]),
        ("memory of the page, MB: begin, end, most",
         [f"{load.memory[0][1]:.0f}, {load.memory[-1][1]:.0f}, {max(mb for _, mb in load.memory):.0f}"
          for load in loads]),
        ("growth in the second half, MB a minute", [f"{growth(load.memory):+.1f}" for load in loads]),
        ("temporary files, MB: begin, end", [f"{load.disk[0]:.1f}, {load.disk[1]:.1f}" for load in loads]),
        ("threads of the page, at most", [str(load.threads) for load in loads]),
        ("cores that the page kept busy", [f"{load.server_cores:.2f}" for load in loads]),
        ("cores that its visitors kept busy", [f"{load.own_cores:.2f}" for load in loads]),
    ]
    head = ["what", *(load.title for load in loads)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join([what, *values]) + " |" for what, values in rows])


async def run_loads(server: Server, arguments: argparse.Namespace) -> list[Load]:
    """The loads, one after the other; before them a minute's part in which all that is built once is built."""
    minutes, beside = arguments.minutes * 60, arguments.beside * 60
    await run_load(server, "warming up", visitors=2, inverting=1, seconds=min(20.0, beside), preset="fast", seed=900)
    plans = [("1 visitor alone", 1, 0, beside), (f"{arguments.visitors} visitors", arguments.visitors, 0, beside),
             (f"{arguments.visitors} visitors, {arguments.inverting} inverting", arguments.visitors,
              arguments.inverting, minutes)]
    loads = []
    for number, (title, visitors, inverting, seconds) in enumerate(plans):
        loads.append(await run_load(server, title, visitors=visitors, inverting=inverting, seconds=seconds,
                                    preset=arguments.preset, seed=1000 * number))
        print(f"<!-- {title}: done, {len(loads[-1].tally.errors)} errors {loads[-1].tally.errors[:3]} -->", flush=True)
    return loads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--inverting", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10, help="of the load with inversions")
    parser.add_argument("--beside", type=float, default=1, help="minutes of each of the other loads")
    parser.add_argument("--preset", default="faithful", help="of the inversions")
    parser.add_argument("--browser", action="store_true", help="also measure one visitor in a real Chromium")
    parser.add_argument("--photo", type=Path, action="append", default=[], help="for Chromium, beside the page's own")
    parser.add_argument("--out", type=Path, help="all single values, as JSON")
    arguments = parser.parse_args()
    for name, value in describe(torch.device("cpu")).items():
        print(f"- {name}: {value}")
    print(f"- load average before: {os.getloadavg()[0]:.2f}\n", flush=True)
    with serving() as server:
        if arguments.browser:
            from benchmarks.page_browser import in_chromium

            server.rest()
            print(in_chromium(server.address, [PHOTO, *arguments.photo]), flush=True)
        loads = asyncio.run(run_loads(server, arguments))
        print("\n" + report(loads))
        for what in sorted({error for load in loads for error in load.tally.errors} | set(server.complaints())):
            print(f"- error: {what}")
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(load) for load in loads], indent=1))


if __name__ == "__main__":
    main()
