"""What tests of the page's handlers do again and again."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editing import Edit
from inversion import ProjectorSettings
from page.jobs.executors import InversionQueue
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from page.tabs.result import BEFORE

QUICK = ProjectorSettings(steps=10, start="samples", samples=4, tuning_steps=2)  # What `fast` is in these tests,
OTHER = ProjectorSettings(steps=11, start="samples", samples=4)                  # `balanced`,
LONG = ProjectorSettings(steps=5000, start="samples", samples=4, plateau=0.0)    # and `faithful`.


def state_of(visitor: Visitor) -> dict[str, Any]:
    """All that is known of a visitor, but when they were seen."""
    return {name: value for name, value in vars(visitor).items() if name != "seen"}


def sliders(tab: EditTab, visitor: Visitor, edit: Edit) -> list[Any]:
    """The values of the sliders and settings, as they stand when they show an edit."""
    shown = tab.sliders.show(tab.services.models_of(visitor), edit)
    return [shown.get(part, {}).get("value") for part in tab.sliders.inputs]


def asked(tab: EditTab, visitor: Visitor, *, compare: str = BEFORE, pasted: bool = False, beside: bool = False,
          **edit: Any) -> list[Any]:
    """The inputs of a repaint, after the visitor; strengths by `strengths`, the rest by the names of `Edit`."""
    return [compare, pasted, beside, *sliders(tab, visitor, Edit(**edit))]


def dragged(tab: EditTab, visitor: Visitor, *values: Any) -> dict[Any, Any]:
    """What comes of a move at once."""
    return asyncio.run(tab.on_drag(visitor, *values))


async def slid(tab: EditTab, visitor: Visitor, name: str, strength: float, beside: bool = False) -> dict[Any, Any]:
    """What comes at once of a move of one control's slider."""
    slider = tab.sliders.strengths[list(tab.services.models_of(visitor).controls).index(name)]
    return await tab.on_slide(tab.sliders.inputs.index(slider), visitor, BEFORE, False, beside, strength)


def within(value: dict[str, str]) -> np.ndarray:
    """The picture within a data URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(value["url"].partition("base64,")[2]))))


def settled(tab: EditTab, visitor: Visitor, values: list[Any]) -> dict[Any, Any]:
    """What comes of a move, once it rests: the picture, and its numbers, for which the picture does not wait."""
    async def both() -> dict[Any, Any]:
        picture = await resting(tab, visitor, values)
        return {**await tab.on_measured(visitor), **picture}

    return asyncio.run(both())


async def resting(tab: EditTab, visitor: Visitor, values: list[Any]) -> dict[Any, Any]:
    """What comes of a move, once it rests, without its numbers where they take long."""
    visitor.values = values[3:]
    return await tab.on_settle(visitor, *values[:3])


def shown(update: dict[Any, Any], tab: EditTab) -> tuple[np.ndarray, np.ndarray]:
    """The two pictures of an update."""
    before, after = update[tab.side.result]["value"]
    return np.asarray(Image.open(before)), np.asarray(Image.open(after))


def addresses(update: dict[Any, Any], tab: EditTab) -> tuple[str, str]:
    """Where the two pictures of an update are."""
    return update[tab.side.result]["value"]  # type: ignore[no-any-return]


def invert(tab: EditTab, photo: Path, preset: str = "fast") -> tuple[Visitor, list[dict[Any, Any]]]:
    """A new visitor who inverts a photo, and what is shown meanwhile."""
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(photo)})
    tab.on_begin(visitor, preset)
    return visitor, list(inverting(tab, visitor, preset))


def inverting(tab: EditTab, visitor: Visitor, preset: str = "fast") -> Iterator[dict[Any, Any]]:
    """What is shown while an inversion runs that was begun, and then."""
    yield from tab.on_invert(visitor, preset)
    yield tab.on_inverted(visitor)


def running_inversion(tab: EditTab, path: Path) -> tuple[Visitor, Iterator[dict[Any, Any]]]:
    """A visitor whose inversion of a photo is at work and would be for long, and what is shown from now on."""
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(path)})
    tab.on_begin(visitor, "fast")
    updates = inverting(tab, visitor, "faithful")
    while "step" not in next(updates)[tab.side.status]:
        pass
    return visitor, updates


class OtherInversion:
    """Somebody else's inversion, which waits for its turn and then runs until it is ended."""

    def __init__(self, inversions: InversionQueue, seconds: float = 0.0) -> None:
        self.began, self._ended = threading.Event(), threading.Event()
        self.job = inversions.submit(self._run, seconds)

    def _run(self) -> None:
        self.began.set()
        self._ended.wait(60)

    def end(self) -> None:
        self.job.cancel()
        self._ended.set()

    def __enter__(self) -> OtherInversion:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
