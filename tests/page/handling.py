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
from page.tabs.groups import grouped
from page.tabs.result import BEFORE, WHOLE

QUICK = ProjectorSettings(steps=10, start="samples", samples=4, tuning_steps=2)  # What `fast` is in these tests,
OTHER = ProjectorSettings(steps=11, start="samples", samples=4)                  # `balanced`,
LONG = ProjectorSettings(steps=5000, start="samples", samples=4, plateau=0.0)    # and `faithful`.


def state_of(visitor: Visitor) -> dict[str, Any]:
    """All that is known of a visitor, but when they were seen."""
    return {name: value for name, value in vars(visitor).items() if name != "seen"}


def sliders(tab: EditTab, visitor: Visitor, edit: Edit) -> list[Any]:
    """The values of the sliders and settings, as they stand when they show an edit."""
    shown = tab.sliders.show(tab.services.models_of(visitor), edit, {})
    return [shown.get(part, {}).get("value") for part in tab.sliders.inputs]


def asked(tab: EditTab, visitor: Visitor, *, compare: str = BEFORE, pasted: bool = False, look: str = WHOLE,
          **edit: Any) -> list[Any]:
    """The inputs of a repaint, after the visitor; strengths by `strengths`, the rest by the names of `Edit`."""
    return [compare, pasted, look, *sliders(tab, visitor, Edit(**edit))]


def dragged(tab: EditTab, visitor: Visitor, *values: Any) -> dict[Any, Any]:
    """What comes of a move at once."""
    return asyncio.run(tab.on_drag(visitor, *values))


def slot_of(tab: EditTab, visitor: Visitor, name: str) -> int:
    """The number of a control's slider."""
    return [known for known, _ in grouped(list(tab.services.models_of(visitor).controls))].index(name)


async def slid(tab: EditTab, visitor: Visitor, name: str, strength: float, *, compare: str = BEFORE,
               look: str = WHOLE) -> dict[Any, Any]:
    """What comes at once of a move of one control's slider."""
    slider = tab.sliders.strengths[slot_of(tab, visitor, name)]
    return await tab.on_slide(tab.sliders.inputs.index(slider), visitor, compare, False, look, strength)


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
    tab.note(visitor, *values[:3])
    return await tab.on_settle(visitor)


def shown(update: dict[Any, Any], tab: EditTab) -> tuple[np.ndarray, np.ndarray]:
    """The two pictures of an update."""
    before, after = addresses(update, tab)
    return np.asarray(Image.open(before)), np.asarray(Image.open(after))


def addresses(update: dict[Any, Any], tab: EditTab) -> tuple[str, str]:
    """Where the two pictures of an update are."""
    return update[tab.side.before], update[tab.side.after]


def opened(tab: EditTab, photo: Path, preset: str = "fast") -> Visitor:
    """A new visitor who has chosen a photo and how near inversions shall come, before anything is inverted."""
    visitor = Visitor()
    visitor.preset = preset
    tab.on_upload(visitor, {"path": str(photo)})
    return visitor


def invert(tab: EditTab, photo: Path, preset: str = "fast") -> tuple[Visitor, list[dict[Any, Any]]]:
    """A new visitor whose face is made ready, and what is shown meanwhile."""
    visitor = opened(tab, photo, preset)
    return visitor, list(inverting(tab, visitor))


def inverting(tab: EditTab, visitor: Visitor) -> Iterator[dict[Any, Any]]:
    """What is shown while a face is made ready, first quickly and then by the chosen preset."""
    yield from tab.on_quick_inversion(visitor)
    yield from tab.on_better_inversion(visitor)


def refining(tab: EditTab, path: Path) -> tuple[Visitor, Iterator[dict[Any, Any]]]:
    """A visitor whose face is ready, and whose better inversion is at work and would be for long."""
    visitor = opened(tab, path, "faithful")
    list(tab.on_quick_inversion(visitor))
    updates = tab.on_better_inversion(visitor)
    while "value=" not in next(updates)[tab.side.status]:
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
