"""Workers as processes of this machine: spawned, with the processors divided and the generator's weights shared."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from batch.job import BatchJob, BatchTask, JobError, Outcome, Row, check_files
from batch.pool import Died, Event, Idle, processors, run_pool
from weights.errors import InputError

MEMORY_EACH = 1.5e9  # Bytes that a worker is given.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Processes:
    """Works through a batch in several processes of this machine.

    A program that uses it must guard its own start by `if __name__ == "__main__":`, as processes are spawned.

    Args:
        workers: How many; None: one a GPU, or one a processor as far as memory has room for them. Of more than there
            are GPUs, several share one.
        threads: That each computes with; None: the processors are divided.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        self.workers, self.threads = workers, threads

    def run(self, job: BatchJob, folder: Path, groups: Iterable[Sequence[BatchTask]],
            tell: Callable[[Row], None]) -> Iterator[Outcome]:
        """Work through groups of tasks; see `batch.pool.Executor`. Ctrl-C does not reach the workers."""
        groups = iter(groups)
        first = next(groups, None)
        if first is None:  # Nothing is left to do: no model is loaded for that.
            return
        with tempfile.TemporaryDirectory(prefix="gradctrl-batch-", ignore_cleanup_errors=True) as shared:
            gpus, mapped = _prepare(job, Path(shared) / "generator.safetensors")
            workers = self.workers or len(gpus) or min(processors(), _room())
            threads = self.threads or max(1, processors() // workers)

            def start(place: int) -> _Process:
                return _Process(job, folder, threads, gpus[place % len(gpus)] if gpus else None, mapped)

            yield from run_pool(start, _wait, workers, chain([first], groups), tell)


def _room() -> int:
    """How many workers memory has room for; one took 0.9 GB more than was shared at `fast`, and photos are large."""
    try:
        return max(1, int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEMORY_EACH))
    except (ValueError, OSError, AttributeError):  # Windows does not tell it so.
        return processors()


class _Process:
    """A worker process, and the pipe to it."""

    def __init__(self, job: BatchJob, folder: Path, threads: int, gpu: str | None, mapped: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job, folder, threads, gpu, mapped), daemon=True)
        with _deaf():
            self._process.start()
        theirs.close()

    def hand(self, tasks: Sequence[BatchTask]) -> None:
        self.connection.send(list(tasks))

    def close(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, which a terminal sends to all; they finish what they have.

    They inherit it, so that there is no moment at which they would. This process hears afterwards what came meanwhile.
    """
    if sys.platform == "win32":  # There it cannot be inherited.
        yield
        return
    resource_tracker.ensure_running()  # Else the first process to be started would start it, and block no longer then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(workers: list[_Process]) -> list[tuple[_Process, Event]]:
    by_connection = {id(worker.connection): worker for worker in workers}
    events: list[tuple[_Process, Event]] = []
    for ready in wait([worker.connection for worker in workers]):
        worker = by_connection[id(ready)]
        try:
            event = worker.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            event = Died()
        if isinstance(event, tuple):
            raise JobError(*event)
        events.append((worker, event))
    return events


def _serve(connection: Connection, job: BatchJob, folder: Path, threads: int, gpu: str | None, mapped: str) -> None:
    """What a worker process does: work through what comes, until nothing can come any more."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))  # Read when torch and numpy are imported, just below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # As the command line does for itself; see cli.py.
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_end_with_parent, args=[mapped], daemon=True).start()
    import torch

    from batch.models import load_models
    from batch.photo_work import Hooks
    from batch.worker import work

    torch.set_num_threads(threads)
    hooks = Hooks(tell=lambda row: connection.send(replace(row, thumbnails=None)))
    try:
        models = load_models(job, mapped)
        while True:
            for outcome in work(job, connection.recv(), folder, models, hooks):
                connection.send(outcome)
            connection.send(Idle())
    except JobError as error:
        connection.send((error.subject, error.problem, error.remedy))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # The batch is over.
        pass


def _end_with_parent(mapped: str) -> None:
    """A process whose batch was killed has nobody to work for, and must not take the next one's processors.

    What the batch would have removed in the end, the folder with the generator's file, goes too.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if mapped:
            shutil.rmtree(Path(mapped).parent, ignore_errors=True)
        os._exit(1)


def _prepare(job: BatchJob, path: Path) -> tuple[list[str], str]:
    """The GPUs to be used, as CUDA_VISIBLE_DEVICES names them; and for processors the generator's file to be shared.

    By a process of its own, so that torch is not in this one.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve_once, args=(theirs, job, path), daemon=True)
    with _deaf():
        process.start()
    theirs.close()
    try:
        answer: Any = ours.recv()
    except EOFError:
        answer = JobError.__name__, "", "the process that loads the generator ended without a word", "try again"
    process.join()
    if isinstance(answer[0], str):
        raise JobError(*answer[1:])
    return answer


def _serve_once(connection: Connection, job: BatchJob, path: Path) -> None:
    threading.Thread(target=_end_with_parent, args=[str(path)], daemon=True).start()
    import torch

    import generators
    from batch.models import load_generator

    try:
        check_files(job)
        device = generators.choose_device(job.device).type
        if device == "cpu":
            generators.write_mapped(path, load_generator(job))
        named = list(filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")))
        gpus = named or [str(number) for number in range(torch.cuda.device_count())]
        connection.send((gpus if device == "cuda" else [], str(path) if device == "cpu" else ""))
    except InputError as error:
        connection.send((JobError.__name__, error.subject, error.problem, error.remedy))
