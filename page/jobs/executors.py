"""Who works when: inversions one at a time, in the order in which they came, and edits before them."""

from __future__ import annotations

import asyncio
import atexit
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

import torch

from weights.errors import InputError

MOST_WAITING = 20  # Inversions that wait; whoever comes later is asked to come back.
DESKS = 2          # Edits that are made at once; more only take the processor and memory from each other.
PATIENCE = 30      # Seconds that the program's end waits for an edit to be done.
SWITCH = 0.0005     # Seconds after which a thread must let others of Python's go on; Python's own are 0.005.
Result = TypeVar("Result")


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
                raise InputError(None, f"{self.most} inversions are waiting already",
                                 "come back in a few minutes, or edit a synthetic face meanwhile")
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


@functools.cache
def desk() -> Desk:
    """The desk of this process: there is one machine."""
    # PyTorch lets go of Python's lock at each operation; while the page's own thread is at work, an edit of hundreds of
    # operations would wait for the lock as often, for 5 ms each time.
    sys.setswitchinterval(SWITCH)
    return Desk()


@functools.cache
def measuring_desk() -> Desk:
    """Where edits are measured, apart, so that no picture waits for numbers."""
    return Desk(1)


class Desk:
    """Where edits are made: a few at a time, in threads of their own, in the order in which they came.

    Handlers of many visitors would otherwise all work at once, each in a thread that brings threads of PyTorch with it,
    and every picture would come as late as the last one.

    Args:
        places: How many work at once.
    """

    def __init__(self, places: int = DESKS) -> None:
        self.places = places
        self._work: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._at_work = 0
        self._closed = False
        self._changed = threading.Condition()

    def ask(self, work: Callable[..., Result], *args: Any) -> Future[Result]:
        """Have a function called when its turn comes."""
        future: Future[Result] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*args))
            except BaseException as error:  # noqa: BLE001 (raised where the result is asked for)
                future.set_exception(error)

        with self._changed:
            if not self._threads:
                self._open()
            self._work.append(do)
            self._changed.notify_all()
        return future

    def _open(self) -> None:
        """Start the threads. Together they take as many cores as torch was to take for one piece of work."""
        share, seated = torch.get_num_threads(), threading.Barrier(self.places + 1)

        def sit() -> None:
            torch.get_num_threads()  # The first call in a thread takes over what holds for new threads.
            torch.set_num_threads(max(1, share // DESKS))
            seated.wait()
            self._sit()

        self._threads = [threading.Thread(target=sit, name=f"edits-{number}", daemon=True)
                         for number in range(self.places)]
        for thread in self._threads:
            thread.start()
        seated.wait()
        torch.set_num_threads(share)  # What a thread sets for itself is also what later threads begin with.
        atexit.register(self.close)

    async def wait(self, work: Callable[..., Result], *args: Any) -> Result:
        """As `ask`, and wait for the result without a thread."""
        return await asyncio.wrap_future(self.ask(work, *args))

    def give_way(self, seconds: float) -> None:
        """Wait until nobody works or waits here, so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._work and not self._at_work, seconds)

    def close(self) -> None:
        """Do no more; what is being worked on is finished, since a thread cut off within torch aborts the program."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._at_work, PATIENCE)

    def _sit(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._closed)
                if self._closed:
                    return
                do = self._work.popleft()
                self._at_work += 1
            try:
                do()
            finally:
                del do  # It holds the pictures.
                with self._changed:
                    self._at_work -= 1
                    self._changed.notify_all()
