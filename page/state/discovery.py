"""What a visitor looks at in the tab Discover. It does no work."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, field
from functools import cached_property

from directions import Direction, Edit
from directions.named import DirectionSet
from generators import Space
from weights.errors import InputError

SHOWN = 8                   # Sliders that are in sight at once.
OWN, SAMPLE, MEAN = "own", "sample", "mean"  # Whose face is moved.


@dataclass(frozen=True, eq=False)
class Collection:
    """Directions of one output each, what is known of each, and how far it may be moved."""

    found: DirectionSet     # Edits name its members with its name before them, as they may be called as controls are.
    hints: tuple[str, ...]
    step: float             # Of the sliders.
    space: Space | None = None  # Of components, whose W it is.

    def __len__(self) -> int:
        return self.found.outputs

    @property
    def name(self) -> str:
        return self.found.name

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(self.found.members.values())

    def reach(self, number: int) -> tuple[float, float]:
        """The strengths between which a direction is moved."""
        return self.directions[number].limits


@dataclass(eq=False)
class Discovery:
    """What a visitor looks at in the tab."""

    collection: Collection | None = None
    own: Collection | None = None                          # Of the visitor's own file,
    searched: Collection | None = None                     # and of the layer that was searched last.
    stop: threading.Event | None = None                    # Of the search that waits or runs.
    page: int = 0
    amounts: dict[int, float] = field(default_factory=dict)  # Of the directions that are moved, by their numbers.
    layers: tuple[int, int] | None = None
    centred: bool = False
    who: str = SAMPLE
    seed: int = 0
    moves: int = 0                                         # How many there have been.

    @property
    def numbers(self) -> range:
        """The directions whose sliders are in sight."""
        count = len(self.collection) if self.collection is not None else 0
        return range(self.page * SHOWN, min((self.page + 1) * SHOWN, count))

    @property
    def pages(self) -> int:
        return -(-len(self.collection) // SHOWN) if self.collection is not None else 0

    @property
    def edit(self) -> Edit:
        """All that is moved, as an edit of the collection's directions."""
        assert self.collection is not None
        keys = self.collection.found.keys
        strengths = {keys[number]: amount for number, amount in self.amounts.items() if amount}
        return Edit(strengths=strengths, layers=self.layers, centred=self.centred)

    def begin_search(self) -> threading.Event:
        """Announce a search; one that still waits or runs is ended."""
        self.end_search()
        self.stop = threading.Event()
        return self.stop

    def end_search(self) -> None:
        """End the search that waits or runs, if there is one."""
        if self.stop is not None:
            self.stop.set()

    def turn(self, pages: int) -> None:
        """Leaf through the directions; the last page is followed by the first."""
        self.page = (self.page + pages) % max(self.pages, 1)

    def move(self, place: int, value: float | None) -> None:
        """Take what a slider in sight says; a browser keeps to its ends, other programs need not.

        Raises:
            InputError: there is no such slider now, or it is not a number.
        """
        if self.collection is None or place >= len(self.numbers):
            raise InputError("this slider", "moves nothing now", "choose directions again")
        number = self.numbers[place]
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(self.collection.directions[number].name, f"{value!r} is no number", "give another")
        low, high = self.collection.reach(number)
        self.amounts[number] = min(max(float(value), low), high)
        self.moves += 1

    def randomise(self) -> None:
        """Move those in sight by chance, some a little and one or two far."""
        assert self.collection is not None
        for number in self.numbers:
            low, high = self.collection.reach(number)
            amount = random.gauss(0.0, 1.0) * (high - low) / 12
            self.amounts[number] = min(max(round(amount / self.collection.step) * self.collection.step, low), high)
