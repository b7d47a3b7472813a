"""How the page's process takes memory, so that it does not grow while nothing more is kept."""

from __future__ import annotations

import ctypes
import os
import sys

ARENAS = 2        # glibc's own limit is eight for each core.
_M_ARENA_MAX = -8  # Of glibc's malloc.h.


def share_arenas(most: int = ARENAS) -> bool:
    """Have the threads of this process take memory from a few pools; to be called before there are many threads.

    By default each of glibc's threads has a pool of its own, which keeps what is freed. What an inversion's thread
    frees is not there for those that draw edits, and the next inversion is another thread: the pools of thirty visitors
    held more free memory than memory in use, and went on growing.

    Returns:
        Whether it is in force: not on other systems, nor where MALLOC_ARENA_MAX has decided already.
    """
    if not sys.platform.startswith("linux") or "MALLOC_ARENA_MAX" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Only glibc has it.
    return mallopt is not None and mallopt(_M_ARENA_MAX, most) == 1


def give_back() -> bool:
    """Give freed memory back to the system: an inversion at 1024 pixels takes a gigabyte that nothing needs afterwards.

    Returns:
        Whether this system can be asked to: only where malloc is glibc's.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    return trim is not None and trim(0) >= 0
