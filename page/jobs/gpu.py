"""Inversions in a thread of their own; on Hugging Face's ZeroGPU in a process that is lent a GPU for the time."""

from __future__ import annotations

import atexit
import copy
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

from inversion import Inversion, Progress, Projector, ProjectorSettings
from page.jobs.executors import desk

PREVIEW_STEPS = 5  # Between two pictures of a running inversion.
PATIENCE = 30      # Seconds that the program's end waits for a step to finish.
WAY = 2.0          # How long an inversion waits for edits after a step at most, in units of that step's time.
LENT_LEAST, LENT_STEP = 15, 0.1  # Seconds that a lent GPU is asked for: to begin with, and for each step.

_ON_CPU: dict[str, Projector] = {}  # By generator hash: what a lent process finds, since it is a copy of this one.


def zero_gpu() -> bool:
    """Whether this is a Space of Hugging Face's with ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


def reports(projector: Projector, crop: np.ndarray, settings: ProjectorSettings,
            stop: threading.Event, *, lent: str = "cuda") -> Iterator[Progress | Inversion]:
    """Run an inversion, yielding what it reports and in the end its record.

    Args:
        projector: With the generator.
        crop: uint8 [R, R, 3].
        settings: Of the inversion.
        stop: Ends it after the step that is running, and keeps the best so far; so does closing the iterator.
        lent: The device that ZeroGPU lends; elsewhere it means nothing.
    """
    if not zero_gpu():
        yield from _in_thread(projector, crop, settings, stop.is_set, _give_way())
        return
    _ON_CPU[projector.generator.hash] = projector
    with tempfile.TemporaryDirectory() as folder:  # Another process sees no event of this one, but it sees a file.
        flag = Path(folder) / "stop"
        lending = _lent()(projector.generator.hash, crop, settings, str(flag), lent)
        try:
            for report in lending:
                if stop.is_set():
                    flag.touch()
                yield report
        finally:
            with suppress(OSError):
                flag.touch()


def seconds_lent(generator_hash: str, crop: np.ndarray, settings: ProjectorSettings, flag: str, device: str) -> int:
    """How long a GPU is asked for, by the settings of the preset. ZeroGPU ends what takes longer."""
    return LENT_LEAST + round(LENT_STEP * settings.all_steps)


@cache
def _lent() -> Callable[..., Iterator[Progress | Inversion]]:
    import spaces

    decorated: Callable[..., Iterator[Progress | Inversion]] = spaces.GPU(duration=seconds_lent)(_on_lent_gpu)
    return decorated


def declare() -> None:
    """Tell ZeroGPU, before the page starts, that there is something to lend a GPU to; elsewhere nothing happens."""
    if zero_gpu():
        _lent()


def _on_lent_gpu(generator_hash: str, crop: np.ndarray, settings: ProjectorSettings, flag: str,
                 device: str) -> Iterator[Progress | Inversion]:
    """In the process with the GPU. It has this process's models, which are on the CPU."""
    torch.set_num_threads(1)  # A fork has none of the threads that torch would wait for, for ever.
    on_cpu = _ON_CPU[generator_hash]
    projector = Projector(copy.deepcopy(on_cpu.generator).to(device), encoder=on_cpu.encoder)
    yield from _in_thread(projector, crop, settings, Path(flag).exists, lambda: None)


def _give_way() -> Callable[[], None]:
    """Lets edits go first between two steps, but never for so long that an inversion could not go on."""
    last = time.monotonic()

    def wait() -> None:
        nonlocal last
        desk().give_way(WAY * (time.monotonic() - last))
        last = time.monotonic()

    return wait


def _in_thread(projector: Projector, crop: np.ndarray, settings: ProjectorSettings,
               should_stop: Callable[[], bool], give_way: Callable[[], None]) -> Iterator[Progress | Inversion]:
    """Run it in a thread, which the program's end stops; `give_way` is called after each step."""
    found: queue.Queue[Progress | Inversion | Exception] = queue.Queue()
    left = threading.Event()

    def ends() -> bool:
        if not (left.is_set() or should_stop()):
            give_way()
        return left.is_set() or should_stop()

    def work() -> None:
        try:
            found.put(projector.invert(crop, settings=settings, every=PREVIEW_STEPS, on_step=found.put,
                                       should_stop=ends))
        except Exception as error:  # noqa: BLE001 (raised below, in the thread that waits)
            found.put(error)

    def end() -> None:
        left.set()
        thread.join(PATIENCE)  # A thread that is cut off within torch would abort the program.

    thread = threading.Thread(target=work, name="inversion", daemon=True)
    thread.start()
    atexit.register(end)
    try:
        while True:
            report = found.get()
            if isinstance(report, Exception):
                raise report
            if isinstance(report, Inversion) or found.empty():  # Otherwise it is out of date already.
                yield report
            if isinstance(report, Inversion):
                return
    finally:
        left.set()  # Whoever waited may be gone.
        atexit.unregister(end)
