"""Hugging Face's ZeroGPU: an inversion runs in a process that is lent a GPU for the time."""

from __future__ import annotations

import copy
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

from inversion import Inversion, Progress, Projector, ProjectorSettings
from page.jobs.executors import reported

LENT_DEVICE = "cuda"
PREVIEW_STEPS = 5  # Between two pictures of a running inversion.
LENT_LEAST, LENT_STEP = 15, 0.1  # Seconds that a lent GPU is asked for: to begin with, and for each step.

_ON_CPU: dict[str, Projector] = {}  # By `Generator.identity`; a lent process is a copy of this one.


def zero_gpu() -> bool:
    """Whether this is a Space of Hugging Face's with ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


def declare() -> None:
    """Tell ZeroGPU, before the page starts, that there is something to lend a GPU to; elsewhere nothing happens."""
    if zero_gpu():
        lender()


@cache
def lender() -> Callable[..., Iterator[Progress | Inversion]]:
    """`on_lent_gpu`, as ZeroGPU lends a GPU to it."""
    import spaces

    decorated: Callable[..., Iterator[Progress | Inversion]] = spaces.GPU(duration=seconds_lent)(on_lent_gpu)
    return decorated


def seconds_lent(identity: str, crop: np.ndarray, settings: ProjectorSettings, flag: str, device: str) -> int:
    """How long a GPU is asked for, by the settings of the preset. ZeroGPU ends what takes longer."""
    return LENT_LEAST + round(LENT_STEP * settings.all_steps)


def invert_on_lent_gpu(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, *,
                       should_stop: Callable[[], bool], on_step: Callable[[Progress], None]) -> Inversion:
    """As `Projector.invert`, in the process with the GPU."""
    _ON_CPU[projector.generator.identity] = projector
    inversion = None
    with tempfile.TemporaryDirectory() as folder:  # Another process sees no event of this one, but it sees a file.
        flag = Path(folder) / "stop"
        try:
            for report in lender()(projector.generator.identity, crop, settings, str(flag), LENT_DEVICE):
                if should_stop():
                    flag.touch()
                if isinstance(report, Inversion):
                    inversion = report
                else:
                    on_step(report)
        finally:
            with suppress(OSError):
                flag.touch()
    assert inversion is not None
    return inversion


def on_lent_gpu(identity: str, crop: np.ndarray, settings: ProjectorSettings, flag: str,
                device: str) -> Iterator[Progress | Inversion]:
    """In the process with the GPU: what the inversion reports, then its record. The models are there, on the CPU."""
    torch.set_num_threads(1)  # A fork has none of the threads that torch would wait for, for ever.
    on_cpu = _ON_CPU[identity]
    projector = Projector(copy.deepcopy(on_cpu.generator).to(device), encoder=on_cpu.encoder)
    reports: queue.SimpleQueue[Progress] = queue.SimpleQueue()
    left = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        job = executor.submit(projector.invert, crop, settings=settings, every=PREVIEW_STEPS, on_step=reports.put,
                              should_stop=lambda: left.is_set() or Path(flag).exists())
        try:
            yield from reported(job, reports)
            yield job.result()
        finally:
            left.set()
