"""How the page's process takes memory."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from page.jobs.memory import ARENAS, give_back, share_arenas

glibc = pytest.mark.skipif(not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
                           reason="only glibc has pools that can be counted so")

# Six threads at once that take memory, and glibc's own account of its pools, on standard error.
PROGRAM = """
import ctypes, sys, threading
from page.jobs.memory import share_arenas
print(share_arenas() if sys.argv[1] == "shared" else None)
libc, together = ctypes.CDLL(None), threading.Barrier(6)
libc.malloc.restype = ctypes.c_void_p
def take():
    together.wait()
    for _ in range(100):
        libc.malloc(ctypes.c_size_t(5000))
    together.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_stats()
"""


def pools(how: str, **environment: str) -> tuple[str, int]:
    given = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, env=given)
    return done.stdout.strip(), done.stderr.count("Arena ")


@glibc
def test_threads_share_a_few_pools() -> None:
    _, alone = pools("each its own")
    said, shared = pools("shared")
    assert said == "True"
    assert shared <= ARENAS < alone


@glibc
def test_what_the_environment_asks_for_holds() -> None:
    said, count = pools("shared", MALLOC_ARENA_MAX="4")
    assert said == "False"
    assert ARENAS < count <= 4


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert share_arenas() is False


@glibc
def test_freed_memory_is_given_back() -> None:
    """Many pieces below the size from which the system is asked for each."""
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    pieces = [bytearray(64 * 1024) for _ in range(3000)]
    last = bytearray(64 * 1024)  # Above the others, so that they are not given back by themselves.
    before = resident()
    del pieces
    assert give_back()
    assert resident() < before - 100e6
    assert len(last)
