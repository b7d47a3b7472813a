"""Where work is done: edits a few at a time and at once, inversions one after the other, and the rest beside them."""

from __future__ import annotations

import contextvars
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from generators.memory import give_back
from weights.errors import InputError

WHOLE_WAY = 0.5          # Seconds that a picture in full waits for others' moving sliders at most.
EDIT_WORKERS = 2         # Edits that are made at once; more only take the processor and memory from each other.
EDIT_CORES = 2           # That each has at least, where there are so many: a picture takes two thirds of the time.
BACKGROUND_WORKERS = 20  # Batches and downloads at once: they mostly wait.
MOST_WAITING = 20        # Inversions that wait; whoever comes later is asked to come back.
LOOK = 0.5               # Seconds between two looks at whether an inversion's turn has come.
SWITCH = 0.0005          # Seconds after which a thread must let others of Python's go on; Python's own are 0.005.
Result = TypeVar("Result")


class EditExecutor(ThreadPoolExecutor):
    """A few edits at a time, in the order in which they came, and a way to wait until all of them are done.

    Handlers of many visitors would otherwise all work at once, each in a thread that brings threads of PyTorch with it,
    and every picture would come as late as the last one.

    Args:
        workers: How many at a time.
        cores: That each takes; None: together they take as many as PyTorch was to take for one piece of work.
    """

    def __init__(self, workers: int, cores: int | None = None) -> None:
        share = torch.get_num_threads()
        super().__init__(workers, "edits", initializer=_take_cores, initargs=(cores or max(1, share // workers),))
        self._unfinished = 0
        self._changed = threading.Condition()
        all_started = threading.Barrier(workers + 1)
        for _ in range(workers):
            super().submit(all_started.wait)
        all_started.wait()
        torch.set_num_threads(share)  # What a thread sets for itself is also what later threads begin with.

    def submit(self, work: Callable[..., Result], /, *args: Any, **options: Any) -> Future[Result]:
        with self._changed:
            self._unfinished += 1
        future = super().submit(work, *args, **options)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: Future[Any]) -> None:
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def give_way(self, seconds: float) -> None:
        """Wait until no edit is being made or waits, so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unfinished, seconds)


def _take_cores(number: int) -> None:
    torch.get_num_threads()  # The first call in a thread takes over what holds for new threads.
    torch.set_num_threads(number)


@functools.cache
def edits() -> EditExecutor:
    """Where this process makes edits: there is one machine."""
    # PyTorch lets go of Python's lock at each operation; while the page's own thread is at work, an edit of hundreds of
    # operations would wait for the lock as often, for 5 ms each time.
    sys.setswitchinterval(SWITCH)
    return EditExecutor(max(1, min(EDIT_WORKERS, torch.get_num_threads() // EDIT_CORES)))


@functools.cache
def whole_pictures() -> EditExecutor:
    """Where edits that have come to rest are drawn in full, apart, so that nobody's moving slider waits for them."""
    return EditExecutor(1, torch.get_num_threads())


def give_way_to_edits(seconds: float) -> None:
    """Wait until nobody's edit is being made or waits, so many seconds at most."""
    end = time.monotonic() + seconds
    for executor in (edits(), whole_pictures()):
        executor.give_way(max(end - time.monotonic(), 0.0))


@functools.cache
def measurements() -> EditExecutor:
    """Where edits are measured, apart, so that no picture waits for numbers."""
    return EditExecutor(1, max(1, torch.get_num_threads() // EDIT_CORES))


@functools.cache
def background() -> ThreadPoolExecutor:
    """For what mostly waits: for its turn, or for a network."""
    return ThreadPoolExecutor(BACKGROUND_WORKERS, "background")


class InversionQueue:
    """Inversions, one after the other in the order in which they came, since each takes all that the machine has.

    Args:
        most_waiting: How many may wait.
    Attributes:
        closing: Set once the page ends; what runs is to end soon then.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self.most_waiting = most_waiting
        self.closing = threading.Event()
        self._executor = ThreadPoolExecutor(1, "inversions")
        self._seconds: dict[Future[Any], float] = {}  # That each is expected to take, in their order.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def is_idle(self) -> bool:
        """Whether none runs and none waits."""
        return not self._seconds

    def give_way(self, seconds: float, unless: Callable[[], bool]) -> None:
        """Wait until none runs and none waits, so many seconds at most, and not once `unless` says so."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self.is_idle and not unless() and time.monotonic() < end:
                self._changed.wait(LOOK)

    def submit(self, work: Callable[[], Result], seconds: float = 0.0) -> Future[Result]:
        """Have it done when its turn comes; cancelled before, it leaves the queue.

        Args:
            work: An inversion.
            seconds: That it is expected to take.
        Raises:
            InputError: too many wait.
        """
        with self._lock:
            if len(self._seconds) > self.most_waiting:
                raise InputError(None, f"{self.most_waiting} inversions are waiting already",
                                 "come back in a few minutes, or edit a synthetic face meanwhile")
            # ZeroGPU reads in the context for whom it lends a GPU.
            job = self._executor.submit(contextvars.copy_context().run, work)
            self._seconds[job] = seconds
        job.add_done_callback(self._leave)
        return job

    def _leave(self, job: Future[Any]) -> None:
        with self._changed:
            del self._seconds[job]
            self._changed.notify_all()
        give_back()

    def ahead(self, job: Future[Any]) -> tuple[int, float]:
        """How many come before one, and the seconds that they were expected to take, each in full."""
        with self._lock:
            jobs = list(self._seconds)
            before = jobs[:jobs.index(job)] if job in self._seconds else []
            return len(before), sum(self._seconds[other] for other in before)

    @contextmanager
    def turn(self, seconds: float = 0.0, *, should_stop: Callable[[], bool] = lambda: False,
             on_wait: Callable[[int], object] = lambda ahead: None) -> Iterator[None]:
        """Wait for a turn and keep it, for an inversion that is made in the thread that asks.

        Args:
            seconds: As for `submit`.
            should_stop: Asked while it waits; True ends the wait without a turn.
            on_wait: Told again and again how many come before.
        Raises:
            InputError: too many wait.
        """
        came, over = threading.Event(), threading.Event()

        def keep() -> None:
            came.set()
            over.wait()

        job = self.submit(keep, seconds)
        try:
            while not came.wait(LOOK) and not should_stop():
                on_wait(self.ahead(job)[0])
            on_wait(0)
            yield
        finally:
            over.set()
            job.cancel()

    def close(self) -> None:
        """End what runs after its step, and all that waits: a thread cut off within torch aborts the program."""
        self.closing.set()
        self._executor.shutdown(cancel_futures=True)


def reported(job: Future[Any], reports: queue.SimpleQueue[Any], every: float | None = None) -> Iterator[Any]:
    """What a job reports until it has ended, the newest where several came at once.

    Args:
        job: A future.
        reports: Where the job puts them.
        every: None is yielded whenever nothing came for so many seconds; None: never.
    Raises:
        Exception: what the job raised.
    """
    job.add_done_callback(reports.put)
    while True:
        try:
            report = reports.get(timeout=every)
        except queue.Empty:
            yield None
            continue
        if report is job:
            break
        if reports.empty():  # Otherwise it is out of date already.
            yield report
    if not job.cancelled():
        job.result()
