"""The page in a real Chromium: visitors who move sliders, while another has a photo inverted.

    python -m benchmarks.page [--visitors 5] [--minutes 10] [--beside 1] [--photo FILE ...] [--out FILE]

Starts the page in a process of its own and drives it as its visitors would, each in a browser context of their own. It
measures one load after the other: one visitor with a sample; one with each photo, put back into it; all visitors; all,
and one more who brings a photo over and over. A visitor moves a slider, waits until the picture is painted, and looks
at it for a second, in which the picture in full comes and the numbers. Prints a Markdown report; --out also writes all
single values as JSON.

The browsers take processor time themselves, so that the page on a machine of its own is faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import torch

from benchmarks.machine import describe, free_port

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "page" / "photos" / "eileen-collins.jpg"
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
STARTING = 120.0  # Seconds that the page may take to answer.
WARMING = 180.0   # Seconds that it may be busy with itself then: it times an inversion.
LOOKING = 1.0     # Seconds between a picture and the next move.
APART = 0.05      # Of a slider's length, between one move and the next: nothing moves otherwise, and no picture comes.
PATIENCE = 180_000  # Milliseconds that anything in the browser may take.
# Moves the slider as a hand would, to a place from 0 to 1 between its ends of now, and waits until a picture of the
# result is another one, is decoded and has had a frame in which to be painted; then, for at most a second from there,
# until the picture in full has come. Milliseconds from the move to each; null: it has not come.
MOVE = """async ([selector, place, looking]) => {
  const slider = document.querySelector(selector), low = Number(slider.min), high = Number(slider.max);
  const value = low + place * (high - low), pictures = () => [...document.querySelectorAll('#whole img')];
  const shown = () => pictures().map(image => image.src).join();
  const before = shown();
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const start = performance.now();
  set.call(slider, value);
  slider.dispatchEvent(new Event('input', {bubbles: true}));
  while (true) {
    const images = pictures();
    if (shown() != before && images.every(image => image.complete && image.naturalWidth)) break;
    if (performance.now() - start > 30000) throw new Error('no picture within 30 s');
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  await pictures().at(-1).decode().catch(() => null);
  await new Promise(resolve => requestAnimationFrame(resolve));
  const moved = performance.now() - start, preview = shown();
  while (performance.now() - start - moved < looking) {
    if (shown() != preview && pictures().every(image => image.complete && image.naturalWidth))
      return [moved, performance.now() - start];
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  return [moved, null];
}"""


@dataclass(frozen=True)
class Server:
    """A running page."""

    address: str
    process: int
    log: Path

    def memory(self) -> float:
        """Resident memory in MB."""
        return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())[0]) / 1000

    def seconds_worked(self) -> float:
        """Processor time so far, of all threads."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rest(self) -> None:
        """Wait until it has nothing to do.

        Raises:
            RuntimeError: it has not come to rest in time.
        """
        for _ in range(round(WARMING / 2)):
            worked = self.seconds_worked()
            time.sleep(2)
            if self.seconds_worked() - worked < 0.4:  # Its queue looks for work by the clock.
                return
        raise RuntimeError(f"the page is still at work after {WARMING:g} s, and nobody has asked it for anything")

    def complaints(self) -> list[str]:
        """Errors that it wrote about."""
        return re.findall(r"^\w*(?:Error|Exception)\b.*", self.log.read_text(errors="replace"), re.MULTILINE)


@contextmanager
def serving() -> Iterator[Server]:
    """Start the page as `gradctrl app` does, on a free port, and end it at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="page-benchmark-") as folder:
        log = Path(folder) / "page.log"
        environment = {**os.environ, "GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        command = [sys.executable, "-c", "import cli; cli.main()", "app", "--port", str(port)]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=ROOT)
        try:
            server = Server(f"http://127.0.0.1:{port}", process.pid, log)
            _wait_for(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(server.address + "/config", timeout=10):
                return
        except (URLError, OSError):  # noqa: PERF203 (not yet)
            time.sleep(0.5)
    raise RuntimeError(f"the page did not start:\n{server.log.read_text()[-2000:]}")


@dataclass
class Load:
    """One load, and what came of it."""

    title: str
    visitors: int
    photo: Path | None = None  # That they edit; None: a sample each.
    inverting: bool = False    # Whether one more brings a photo over and over.
    moves: list[float] = field(default_factory=list)       # Milliseconds from a slider's move to its picture,
    rests: list[float] = field(default_factory=list)       # and to the picture in full, infinite where none came.
    ready: list[float] = field(default_factory=list)       # Seconds from a face's choice to its first live slider.
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)  # Seconds, MB.
    cores: float = 0.0  # Mean number of cores that the page kept busy.

    async def run(self, browser: Any, server: Server, seconds: float) -> None:
        """Let the visitors use the page for some time, once all have a face."""
        tabs = []
        for _ in range(self.visitors):
            tab, seconds_to_slider = await _open(browser, server, self.photo)
            tabs.append(tab)
            self.ready.append(seconds_to_slider)
        begin, worked = time.monotonic(), server.seconds_worked()
        until = begin + seconds
        tasks = [self._move(tab, seed, until) for seed, tab in enumerate(tabs)]
        if self.inverting:
            tasks.append(self._invert(browser, server, until))
        await asyncio.gather(self._watch(server, begin, until), *tasks)
        self.cores = (server.seconds_worked() - worked) / (time.monotonic() - begin)
        for tab in tabs:
            await tab.context.close()

    async def _move(self, tab: Any, seed: int, until: float) -> None:
        rng, place = np.random.default_rng(seed), 0.5
        while time.monotonic() < until:
            before, looked = place, 0.0
            while abs(place - before) < APART:
                place = rng.uniform(0.2, 0.8)
            try:
                moved, rested = await tab.evaluate(MOVE, ["#control-smile input[type=range]", place,
                                                         LOOKING * 1000])
                self.moves.append(float(moved))
                self.rests.append(float(np.inf if rested is None else rested))
                looked = LOOKING if rested is None else (rested - moved) / 1000
            except Exception as error:  # noqa: BLE001 (an error is what is counted)
                self.errors.append(str(error).split("\n", 1)[0])
            await asyncio.sleep(LOOKING - looked)

    async def _invert(self, browser: Any, server: Server, until: float) -> None:
        while time.monotonic() < until:
            try:
                tab, seconds_to_slider = await _open(browser, server, PHOTO)
                self.ready.append(seconds_to_slider)
                await tab.context.close()
            except Exception as error:  # noqa: BLE001, PERF203 (an error is what is counted)
                self.errors.append(str(error).split("\n", 1)[0])

    async def _watch(self, server: Server, begin: float, until: float) -> None:
        while time.monotonic() < until:
            self.memory.append((time.monotonic() - begin, server.memory()))
            await asyncio.sleep(2)

    def growth(self) -> float:
        """MB a minute by which memory grew in the second half, by least squares."""
        later = np.array(self.memory[len(self.memory) // 2:])
        return float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * 60) if len(later) > 2 else 0.0


async def _open(browser: Any, server: Server, photo: Path | None) -> tuple[Any, float]:
    """The page as a new visitor sees it, with a face to edit: a sample, or a photo; and the seconds to its sliders."""
    tab = await (await browser.new_context(viewport={"width": 1440, "height": 900})).new_page()
    tab.set_default_timeout(PATIENCE)
    await tab.goto(server.address)
    await tab.wait_for_selector("#upload input[type=file]", state="attached")
    start = time.monotonic()
    if photo is None:
        await tab.click("#surprise")
    else:
        await tab.set_input_files("#upload input[type=file]", str(photo))
    await tab.wait_for_selector("#edit", state="visible")
    seconds = time.monotonic() - start
    await tab.wait_for_timeout(3000)
    return tab, seconds


def report(loads: Sequence[Load]) -> str:
    """A Markdown table, one line for each load."""
    lines = ["| load | moves | slider to picture, ms: p50 / p95 / most | p50 beside the first "
             "| to the picture in full, ms: p50 | to the first slider, median s "
             "| errors | memory, MB: begin, end, most | growth, MB a minute | cores of the page |",
             "|" + "---|" * 10]
    for load in loads:
        p50, p95 = np.percentile(load.moves, [50, 95]) if load.moves else (np.nan, np.nan)
        memory = [mb for _, mb in load.memory] or [0.0]
        ready = f"{np.median(load.ready):.1f} of {len(load.ready)}" if load.ready else "none"
        lines.append(f"| {load.title} | {len(load.moves)} | {p50:.0f} / {p95:.0f} / {max(load.moves, default=0):.0f} "
                     f"| {p50 / np.median(loads[0].moves or [np.nan]):.1f} "
                     f"| {np.median(load.rests or [np.nan]):.0f} | {ready} | {len(load.errors)} "
                     f"| {memory[0]:.0f}, {memory[-1]:.0f}, {max(memory):.0f} | {load.growth():+.1f} "
                     f"| {load.cores:.2f} |")
    return "\n".join(lines)


async def measure(server: Server, loads: Sequence[Load], seconds: Sequence[float]) -> None:
    """Run the loads, one after the other."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for load, length in zip(loads, seconds, strict=True):
            await load.run(browser, server, length)
            print(f"<!-- {load.title}: done, {len(load.errors)} errors {load.errors[:3]} -->", flush=True)
        await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--visitors", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10, help="of the load with inversions")
    parser.add_argument("--beside", type=float, default=1, help="minutes of each of the other loads")
    parser.add_argument("--photo", type=Path, action="append", default=[], help="beside the page's own")
    parser.add_argument("--out", type=Path, help="all single values, as JSON")
    arguments = parser.parse_args()
    for name, value in describe(torch.device("cpu")).items():
        print(f"- {name}: {value}")
    print(f"- load average before: {os.getloadavg()[0]:.2f}\n", flush=True)
    loads = [Load("1 visitor, a sample", 1),
             *(Load(f"1 visitor, {path.name}", 1, path) for path in (PHOTO, *arguments.photo)),
             Load(f"{arguments.visitors} visitors", arguments.visitors),
             Load(f"{arguments.visitors} visitors, 1 inverting", arguments.visitors, inverting=True)]
    with serving() as server:
        server.rest()
        asyncio.run(measure(server, loads, [arguments.beside * 60] * (len(loads) - 1) + [arguments.minutes * 60]))
        print("\n" + report(loads))
        for what in sorted({error for load in loads for error in load.errors} | set(server.complaints())):
            print(f"- error: {what}")
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(load) for load in loads], indent=1, default=str))


if __name__ == "__main__":
    main()
