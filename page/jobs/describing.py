"""dlib's face descriptors, from a process of their own.

dlib computes one in a tenth of a second, and no other thread of Python's can run meanwhile: with some visitors the
whole page, downloads and all, would stand still for most of the time.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # The process imports this module before `_begin` has set how many threads NumPy may start.
    import numpy as np

TRIES = 2         # The process may have been ended from outside.
MOST_STARTS = 10  # After that many descriptors are computed here.


class Describer:
    """As `inversion.describe_crop`, for any thread; the process is started on first use, and ends with this one."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._starts = 0
        self._lock = threading.Lock()

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """dlib's descriptor of a crop uint8 [R, R, 3]: float32 [128]."""
        for _ in range(TRIES):
            descriptor = self._asked(crop)
            if descriptor is not None:
                return descriptor
        return _describe(crop)

    def _asked(self, crop: np.ndarray) -> np.ndarray | None:
        pool = self._running()
        try:
            return pool.submit(_describe, crop).result() if pool is not None else None
        except RuntimeError:  # BrokenProcessPool is one; so is what is raised while the page ends.
            with self._lock:
                self._pool = None if self._pool is pool else self._pool
            return None

    def _running(self) -> ProcessPoolExecutor | None:
        """The pool of one process, made anew if it broke; None: it cannot be had here."""
        with self._lock:
            if self._pool is None and self._starts < MOST_STARTS:
                self._starts += 1
                with suppress(OSError, NotImplementedError):  # A system without semaphores raises one of these.
                    self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
            return self._pool


@functools.cache
def describer() -> Describer:
    """The one of this process."""
    return Describer()


def _begin() -> None:
    """Make the new process ready: one thread, as there is one crop at a time, and its end is that of the page's."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the page says what there is to say.
    threading.Thread(target=_end_with_the_page, daemon=True).start()


def _end_with_the_page() -> None:
    page = multiprocessing.parent_process()
    if page is not None:
        page.join()
        os._exit(0)  # The page was killed, and nobody asks for anything any more.


def _describe(crop: np.ndarray) -> np.ndarray:
    from inversion import describe_crop

    return describe_crop(crop)
