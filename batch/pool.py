"""Workers that are fed one group at a time; one that dies is replaced, and its photos are tried once more."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from batch.job import BatchJob, BatchTask, Outcome, Row
from weights.errors import InputError

DIED = "the worker that had it ended twice without a word; there may be too little memory: run fewer at once"
MOST_DEATHS = 5  # In a row, with nothing done in between: then it is not the photos.


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Executor(Protocol):
    """Where a batch's photos are worked on."""

    def run(self, job: BatchJob, folder: Path, groups: Iterable[Sequence[BatchTask]],
            tell: Callable[[Row], None]) -> Iterator[Outcome]:
        """Work through groups of tasks, and yield an outcome for each task, in any order.

        Args:
            job: What is done.
            folder: Where results go.
            groups: A group is taken from it only when a worker is free for it.
            tell: Told of rows that change, as far as that is known here.
        Raises:
            JobError: the job cannot be done.
        """


class Worker(Protocol):
    """One that works elsewhere."""

    def hand(self, tasks: Sequence[BatchTask]) -> None:
        """Give it a group to work through; it is idle."""

    def close(self) -> None:
        """End it, whatever it does."""


class Idle:
    """A worker has worked through its group."""


class Died:
    """A worker has ended, by whatever reason."""


Event = Row | Outcome | Idle | Died
AnyWorker = TypeVar("AnyWorker", bound=Worker)


def run_pool(start: Callable[[int], AnyWorker], wait: Callable[[list[AnyWorker]], list[tuple[AnyWorker, Event]]],
             workers: int, groups: Iterable[Sequence[BatchTask]], tell: Callable[[Row], None]) -> Iterator[Outcome]:
    """Feed groups to workers until all are done; see `Executor.run`.

    Args:
        start: Starts the worker of a place, 0 to `workers` - 1.
        wait: Waits until something has happened to one of some workers, and says what. What it raises ends all.
        workers: How many there are at most; they are started as there is work for them.
        groups, tell: As for `Executor.run`.
    """
    remaining, again = iter(groups), deque[Sequence[BatchTask]]()
    free, idle = list(range(workers))[::-1], list[tuple[int, AnyWorker]]()
    busy: dict[int, AnyWorker] = {}
    in_hand: dict[int, dict[int, BatchTask]] = {}  # By place and index.
    tried: set[int] = set()
    deaths = 0
    try:
        while True:
            while idle or free:
                group = again.popleft() if again else next(remaining, None)
                if group is None:
                    break
                place, worker = idle.pop() if idle else ((at := free.pop()), start(at))
                busy[place], in_hand[place] = worker, {task.index: task for task in group}
                with suppress(OSError):  # It has just died, as `wait` will say.
                    worker.hand(group)
            if not busy:
                return
            places = {id(worker): place for place, worker in busy.items()}
            for worker, event in wait(list(busy.values())):
                place = places[id(worker)]
                if isinstance(event, Row):
                    tell(event)
                elif isinstance(event, Outcome):
                    deaths = 0
                    in_hand[place].pop(event.task.index, None)
                    yield event
                elif isinstance(event, Idle):
                    idle.append((place, busy.pop(place)))
                else:
                    deaths += 1
                    if deaths >= MOST_DEATHS:
                        raise InputError(None, f"{deaths} workers have ended one after another without a word",
                                         "run fewer at once, as there may be too little memory; or one, by serial")
                    busy.pop(place).close()
                    free.append(place)
                    for index, task in in_hand.pop(place).items():
                        if index in tried:
                            yield _marked(task)
                        else:
                            again.append((task,))
                        tried.add(index)
    finally:
        for each in [*busy.values(), *(worker for _, worker in idle)]:
            each.close()


def _marked(task: BatchTask) -> Outcome:
    return Outcome(task=task, rows=(Row(index=task.index, name=task.photo.name, state="failed", reason=DIED),))
