"""How a process takes memory from the system, and gives it back."""

from __future__ import annotations

import ctypes
import os
import sys

KEPT = 1 << 30  # Bytes that stay with the process, freed, at most.
_DECIDES = {    # By which variable a user decides it, and what mallopt calls it.
    "MALLOC_ARENA_MAX": -8,        # Pools of memory; glibc's own limit is eight for each core.
    "MALLOC_MMAP_THRESHOLD_": -3,  # Only what is larger is the system's business each time.
    "MALLOC_TRIM_THRESHOLD_": -1,
}  # fmt: skip
_chosen = False  # Whether this process has.


def keep_freed_memory() -> bool:
    """Have the process use its freed memory again; best called before it has many threads.

    By default glibc asks the system for each tensor of more than 32 megabytes, and gives it back when it is freed; the
    system then fills it with zeros, page by page. Of a batch of pictures, or of a step that tunes a generator at 1024
    pixels, that is half of the time (docs/performance.md). Now at most a gigabyte stays free at the end of one pool,
    until `give_back`.

    Returns:
        Whether it is in force: not on other systems, nor where `share_pools` or one of the variables MALLOC_ARENA_MAX,
        MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ has decided already.
    """
    return _choose({"MALLOC_ARENA_MAX": 1, "MALLOC_MMAP_THRESHOLD_": KEPT, "MALLOC_TRIM_THRESHOLD_": KEPT})


def share_pools() -> bool:
    """Have the threads of a process that must stay small, as the page's, take memory from two pools, and keep no more.

    By default each of glibc's threads has a pool of its own, which keeps what is freed. What an inversion's thread
    frees is not there for those that draw edits, and the next inversion is another thread: the pools of thirty visitors
    held more free memory than memory in use, and went on growing.

    Returns:
        As `keep_freed_memory`, which does nothing from then on.
    """
    return _choose({"MALLOC_ARENA_MAX": 2})


def _choose(values: dict[str, int]) -> bool:
    global _chosen
    if not sys.platform.startswith("linux") or _chosen or any(variable in os.environ for variable in _DECIDES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Only glibc has it.
    _chosen = mallopt is not None and all(mallopt(_DECIDES[name], value) == 1 for name, value in values.items())
    return _chosen


def give_back() -> bool:
    """Give freed memory back to the system: an inversion at 1024 pixels takes a gigabyte that nothing needs afterwards.

    Returns:
        Whether this system can be asked to: only where malloc is glibc's.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return trim is not None and trim(0) >= 0
