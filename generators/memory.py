"""How a process takes memory from the system, and gives it back."""

from __future__ import annotations

import ctypes
import os
import sys

KEPT = 1 << 30  # Bytes that stay with the process, freed, at most.
_OPTIONS = {    # What mallopt calls it, and the variable by which a user would have decided it.
    "MALLOC_ARENA_MAX": (-8, 1),                # Pools of memory; glibc's own limit is eight for each core.
    "MALLOC_MMAP_THRESHOLD_": (-3, KEPT),       # Only what is larger is the system's business each time.
    "MALLOC_TRIM_THRESHOLD_": (-1, KEPT),
}  # fmt: skip


def keep_freed_memory() -> bool:
    """Have the process use its freed memory again; best called before it has many threads.

    By default glibc asks the system for each tensor of more than 32 megabytes, and gives it back when it is freed; the
    system then fills it with zeros, page by page. Of a batch of pictures, or of a step that tunes a generator at 1024
    pixels, that is half of the time (docs/performance.md). And each thread has a pool of its own: what an inversion's
    thread frees is not there for those that draw edits, so that the pools of a page's visitors went on growing. Now
    there is one pool, of which at most a gigabyte stays free at its end until `give_back`.

    Returns:
        Whether it is in force: not on other systems, nor where one of the variables MALLOC_ARENA_MAX,
        MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ has decided already.
    """
    if not sys.platform.startswith("linux") or any(variable in os.environ for variable in _OPTIONS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Only glibc has it.
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in _OPTIONS.values())


def give_back() -> bool:
    """Give freed memory back to the system: an inversion at 1024 pixels takes a gigabyte that nothing needs afterwards.

    Returns:
        Whether this system can be asked to: only where malloc is glibc's.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return trim is not None and trim(0) >= 0
