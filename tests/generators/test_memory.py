"""How a process takes memory, and gives it back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from generators.memory import give_back, keep_freed_memory, share_pools

glibc = pytest.mark.skipif(not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
                           reason="only glibc can be asked how it takes memory")

# Six threads at once that take memory, and glibc's own account of its pools, on standard error.
POOLS = """
import ctypes, sys, threading
from generators import memory
if sys.argv[1] != "neither":
    print(getattr(memory, sys.argv[1])(), memory.keep_freed_memory())
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

# A tensor of 100 MB over and over, and how many pages the system had to fill for the last ten.
# (glibc before 2.38 takes new memory for the first few, as each aligned piece leaves a splinter.)
PAGES = """
import resource, sys, threading
import torch
from generators.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def work():
    for turn in range(30):
        torch.ones(25_000_000)
        if turn == 19:
            global before
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(program: str, how: str, **environment: str) -> tuple[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | environment
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True, env=given)
    return done.stdout.strip(), done.stderr


@glibc
@pytest.mark.parametrize(("how", "most"), [("keep_freed_memory", 1), ("share_pools", 2)])
def test_threads_share_a_few_pools(how: str, most: int) -> None:
    _, alone = run(POOLS, "neither")
    said, shared = run(POOLS, how)
    assert said.split() == ["True", "False"]  # The first one decides.
    assert shared.count("Arena ") <= most < alone.count("Arena ")


@glibc
def test_what_is_freed_is_used_again() -> None:
    alone, _ = run(PAGES, "glibc's own way")
    kept, _ = run(PAGES, "kept")
    assert int(kept) < 100 < int(alone) / 10


@glibc
@pytest.mark.parametrize("variable", ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_what_the_environment_asks_for_holds(variable: str) -> None:
    for how in ("keep_freed_memory", "share_pools"):
        said, _ = run(POOLS, how, **{variable: "4"})
        assert said.split() == ["False", "False"]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
    assert share_pools() is False


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
