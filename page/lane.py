"""The lane of inversions: one at a time, in the order in which they came, and not endlessly many."""

from __future__ import annotations

import threading
from types import TracebackType

from weights.errors import InputError

MOST_WAITING = 20  # Inversions that wait; whoever comes later is asked to come back.


class Lane:
    """Where inversions run one after the other, since they need all that the machine has.

    Args:
        most: How many may wait.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self._tickets: list[Ticket] = []
        self._turn = threading.Condition()

    def join(self, seconds: float = 0.0) -> Ticket:
        """Take a place at the end. Leave it by `Ticket.leave`, or use the ticket in a `with` statement.

        Args:
            seconds: That the work is expected to take.
        Raises:
            InputError: too many wait.
        """
        with self._turn:
            if len(self._tickets) > self.most:
                raise InputError(f"{self.most} inversions are waiting already; come back in a few minutes, or edit a "
                                 "synthetic face meanwhile")
            ticket = Ticket(self, seconds)
            self._tickets.append(ticket)
            return ticket


class Ticket:
    """A place in a lane."""

    def __init__(self, lane: Lane, seconds: float) -> None:
        self.seconds = seconds
        self._lane = lane

    @property
    def place(self) -> int:
        """How many are before it; 0: it is its turn. -1 once it has left."""
        with self._lane._turn:
            return self._lane._tickets.index(self) if self in self._lane._tickets else -1

    @property
    def seconds_ahead(self) -> float:
        """Seconds that those before it were expected to take, all of them in full."""
        with self._lane._turn:
            before = self._lane._tickets[:self._lane._tickets.index(self)] if self in self._lane._tickets else []
            return sum(ticket.seconds for ticket in before)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its turn, so many seconds at most; whether it has come."""
        with self._lane._turn:
            return self._lane._turn.wait_for(lambda: self._lane._tickets[:1] == [self], seconds)

    def leave(self) -> None:
        """Let the next one go on."""
        with self._lane._turn:
            if self in self._lane._tickets:
                self._lane._tickets.remove(self)
                self._lane._turn.notify_all()

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.leave()
