"""People on the page: who move sliders, and who have a photo inverted.

A person draws a face of nobody and then does this over and over: takes one of the sliders, drags it over 8 positions to
somewhere within its range, 60 to 120 ms apart, lets it go, waits for the picture in full, and
looks at it for 2 to 6 seconds. The browser's part is as in a browser: while one event is under way its later positions
wait, and when it returns the newest is sent (`always_last`).

Others drop a photo, invert it with `faithful`, and begin again with it; its bytes differ each time, so that no kept
inversion answers.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.page_protocol import Event, PageError, Plan, Tab, files

POSITIONS = 8
BETWEEN = (0.06, 0.12)  # Seconds between two positions of a drag.
LOOKING = (2.0, 6.0)    # Seconds that an edit is looked at.
SETTLED_WITHIN = 30.0   # Seconds after which a picture that has not come counts as an error.


@dataclass
class Tally:
    """What was measured, in seconds."""

    drags: list[float] = field(default_factory=list)     # From sending a position to having its picture.
    settled: list[float] = field(default_factory=list)   # From sending that it rests to the picture in full.
    stops: list[float] = field(default_factory=list)     # From the slider's last position to a picture of it.
    finished: list[float] = field(default_factory=list)  # From there to the picture in full.
    numbers: list[float] = field(default_factory=list)   # From there to what the edit did, in numbers.
    inversions: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    moves: int = 0                                       # Positions of sliders, most of which are skipped under load.


class Person:
    """Somebody who moves sliders.

    Args:
        tab: Of this person.
        tally: Where what is measured goes.
        seed: Of the face and of all that is done.
    """

    def __init__(self, tab: Tab, tally: Tally, seed: int) -> None:
        self.tab, self.tally, self.seed = tab, tally, seed
        self._chance = random.Random(seed)
        self._drags, self._settle = _move_events(tab.plan)
        self._moved = next(part for part, name in self._settle.targets if part is not None and name == "change")
        self._position, self._moved_at = 0, 0.0
        self._shown, self._full = asyncio.Event(), asyncio.Event()
        self._full_at = 0.0       # When the last picture in full came.
        self._overtaken = False   # Whether the next one shows the last position, however early it was asked for.
        self._busy: set[int] = set()
        self._later: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def live(self, until: float) -> None:
        """Come, draw a face, and move sliders until a time by time.monotonic."""
        try:
            await self.tab.arrive()
            await self.tab.call(self.tab.plan.events_of(self.tab.plan.ids["draw"], "click")[0],
                                **{str(self._seed_part()): self.seed})
            await asyncio.sleep(self._chance.uniform(0, LOOKING[1]))  # Not all at once.
            while time.monotonic() < until:
                await self.move()
                await asyncio.sleep(self._chance.uniform(*LOOKING))
        except (PageError, httpx.HTTPError, asyncio.TimeoutError) as error:
            self.tally.errors.append(f"{type(error).__name__}: {error}")
        finally:
            await asyncio.gather(*self._tasks)
            await self.tab.leave()

    async def move(self) -> None:
        """Drag a slider and let it go, and wait for what comes of it."""
        slider = self._chance.choice(self._sliders())
        begin = end = self.tab.values[slider] or 0.0
        while end == begin:  # Where a slider is already, nothing is painted anew.
            end = self._somewhere(slider)
        self._shown.clear()
        self._full.clear()
        self._overtaken = False
        for number in range(1, POSITIONS + 1):
            self.tab.values[slider] = round(begin + (end - begin) * number / POSITIONS, 3)
            self._position += 1
            self._moved_at = time.monotonic()
            self.tally.moves += 1
            self._send(self._drags[slider])
            if number < POSITIONS:
                await asyncio.sleep(self._chance.uniform(*BETWEEN))
        self._send(self._drags[slider])  # Let go.
        try:
            await asyncio.wait_for(self._full.wait(), SETTLED_WITHIN)
        except asyncio.TimeoutError:
            what = "an older picture" if self._shown.is_set() else "no picture of it at all"
            self.tally.errors.append(f"a slider rested and nothing came in full within {SETTLED_WITHIN:g} s: {what}")

    def _send(self, event: Event) -> None:
        if event.index in self._busy:
            self._later.add(event.index)
            return
        self._busy.add(event.index)
        task = asyncio.create_task(self._answered(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answered(self, event: Event) -> None:
        while True:
            position, moved_at, sent = self._position, self._moved_at, time.monotonic()
            moved = self.tab.values[self._moved]
            try:
                outputs = await self.tab.call(event)
            except (PageError, httpx.HTTPError, asyncio.TimeoutError) as error:
                self.tally.errors.append(f"{type(error).__name__}: {error}")
                outputs = []
            self._note(event, outputs, position, moved_at, sent)
            if event is self._settle:
                self._follow(outputs, moved_at)
            elif self.tab.values[self._moved] != moved:
                self._send(self._settle)
            if event.index not in self._later:
                break
            self._later.discard(event.index)
        self._busy.discard(event.index)

    def _follow(self, outputs: list[Any], moved_at: float) -> None:
        """What follows a picture in full: its numbers, if they did not come with it."""
        if _numbers_in(outputs):
            self.tally.numbers.append(time.monotonic() - moved_at)
        task = asyncio.create_task(self._numbers(moved_at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _numbers(self, moved_at: float) -> None:
        for event in self.tab.plan.after(self._settle):
            try:
                outputs = await self.tab.call(event)
            except (PageError, httpx.HTTPError, asyncio.TimeoutError) as error:
                self.tally.errors.append(f"{type(error).__name__}: {error}")
                continue
            if _numbers_in(outputs):
                self.tally.numbers.append(time.monotonic() - moved_at)

    def _note(self, event: Event, outputs: list[Any], position: int, moved_at: float, sent: float) -> None:
        now, full = time.monotonic(), event is self._settle
        if not files(_values(outputs)):
            if not full and position == self._position:
                self._overtake(sent, moved_at)
            return
        if full:
            self._full_at = now
        (self.tally.settled if full else self.tally.drags).append(now - sent)
        if position == self._position or (full and self._overtaken):
            self._seen(now - self._moved_at, full)

    def _overtake(self, sent: float, moved_at: float) -> None:
        """The page paints nothing for the last position: the picture in full is before it, or has come already.

        That rest was asked for before the position was sent, and begun after it had come.
        """
        if self._full_at > sent:
            self._seen(self._full_at - moved_at, True)
        else:
            self._overtaken = True

    def _seen(self, seconds: float, full: bool) -> None:
        if not self._shown.is_set():
            self._shown.set()
            self.tally.stops.append(seconds)
        if full and not self._full.is_set():
            self._full.set()
            self.tally.finished.append(seconds)

    def _sliders(self) -> list[int]:
        """The sliders that are in sight and need no class chosen."""
        shown = [part for part, props in self.tab.props.items()
                 if self.tab.plan.types[part] == "slider" and str(props.get("elem_id", "")).startswith("control-")]
        return [part for part in shown if self.tab.props[part].get("minimum", 0) < 0]

    def _somewhere(self, slider: int) -> float:
        props = self.tab.props[slider]
        low, high = props["minimum"] / 1.5, props["maximum"] / 1.5  # Its safe range, about.
        return float(round(self._chance.uniform(low, high), 2))

    def _seed_part(self) -> int:
        event = self.tab.plan.events_of(self.tab.plan.ids["draw"], "click")[0]
        return event.inputs[1]


class Inverter:
    """Somebody who inverts a photo over and over.

    Args:
        tab: Of this person.
        tally: Where what is measured goes.
        photo: A JPEG.
        seed: Makes its bytes different from those of all others.
        preset: How it is inverted.
    """

    def __init__(self, tab: Tab, tally: Tally, photo: bytes, seed: int, preset: str = "faithful") -> None:
        self.tab, self.tally, self.photo, self.seed, self.preset = tab, tally, photo, seed, preset
        self._count = 0

    async def live(self, until: float) -> None:
        """Come, and invert the photo until a time by time.monotonic; what runs then is stopped."""
        try:
            await self.tab.arrive()
            while time.monotonic() < until:
                await self._invert(until)
        except (PageError, httpx.HTTPError, asyncio.TimeoutError) as error:
            self.tally.errors.append(f"{type(error).__name__}: {error}")
        finally:
            await self.tab.leave()

    async def _invert(self, until: float) -> None:
        plan, tab = self.tab.plan, self.tab
        self._count += 1
        # Bytes after the end of a JPEG change its hash and nothing else.
        content = self.photo + f"{self.seed}.{self._count}".encode()
        upload = plan.ids["upload"]
        await tab.call(plan.events_of(upload, "upload")[0], **{str(upload): await tab.upload("face.jpg", content)})
        tab.values[plan.ids["preset"]] = self.preset
        begin = next(event for event in plan.events_of(plan.ids["invert"], "click") if event.inputs)
        await tab.call(begin)
        started = 0.0
        stopper = asyncio.create_task(self._stop_at(until))
        running = plan.after(begin)[0]
        async for outputs in tab.stream(running):
            if not started and any("picture.jpg" in str(value) for value in outputs):
                started = time.monotonic()  # Its turn has come, and its first picture.
        stopper.cancel()
        await tab.call(plan.after(running)[0])  # The sliders.
        if time.monotonic() < until:
            self.tally.inversions.append(time.monotonic() - started)

    async def _stop_at(self, until: float) -> None:
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        await self.tab.call(self.tab.plan.events_of(self.tab.plan.ids["stop"], "click")[0])


def _values(outputs: list[Any]) -> list[Any]:
    return [value["value"] if isinstance(value, dict) and "value" in value else value for value in outputs]


def _numbers_in(outputs: list[Any]) -> bool:
    return any(isinstance(value, str) and "effect" in value for value in _values(outputs))


def _move_events(plan: Plan) -> tuple[dict[int, Event], Event]:
    """What a slider's move sets off: by slider what can be shown at once, and what comes when it rests."""
    moved = [event for event in plan.events if event.mode == "always_last" and plan.ids["result"] in event.outputs]
    drags = {part: event for event in moved for part, name in event.targets if part is not None and name == "release"}
    settle = next(event for event in moved if any(name == "change" for _, name in event.targets))
    return drags, settle
