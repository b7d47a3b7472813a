"""What was made last for a few owners: kept as long as they are, for it may be asked for again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

Owner = TypeVar("Owner")
Made = TypeVar("Made")


class Recent(Generic[Owner, Made]):
    """One thing for each of the owners that asked last. What is made must not hold its owner, or both would stay.

    Args:
        most: For how many owners; of more, those that asked longest ago are asked to make theirs again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._made: weakref.WeakKeyDictionary[Owner, Made] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self, owner: Owner, make: Callable[[], Made]) -> Made:
        """The owner's, made if it is not there. Two that ask at the same time may both make it."""
        with self._lock:
            made = self._made.pop(owner, None)
            if made is not None:
                self._made[owner] = made  # The newest is the last one.
                return made
        made = make()
        with self._lock:
            self._made[owner] = made
            for oldest in list(self._made)[:max(len(self._made) - self.most, 0)]:
                del self._made[oldest]
        return made

    def drop(self, owner: Owner) -> None:
        """Have an owner's made anew when it is asked for again."""
        with self._lock:
            self._made.pop(owner, None)
