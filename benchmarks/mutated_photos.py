"""Photos that are damaged at random: each opens or is refused, and takes neither long nor much memory.

    python -m benchmarks.mutated_photos [COUNT]      (10,000)

Takes the files of the tests' corpus and changes bytes, cuts pieces out, doubles them, or ends the file early; then
opens it. What is a fault: any other error than the program's own, more than 10 seconds, or more than 2 GB. The file of
each fault is kept.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from inversion import open_photo
from tests.inversion.corpus import cases
from weights.errors import InputError

LONGEST, MOST_MEMORY = 10.0, 2 * 10**9  # Seconds; bytes.
LARGEST = 300_000                       # Bytes of a file that is mutated.


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A file with some bytes changed, a piece cut out or doubled, or without its end."""
    changed = bytearray(data)
    for at in random.integers(0, len(data), random.integers(0, 12)):
        changed[at] = random.integers(256)
    start, stop = sorted(random.integers(0, len(data) + 1, 2).tolist())
    way = random.integers(6)
    if way == 0:
        del changed[start:stop]
    elif way == 1:
        changed[start:start] = changed[start:stop]
    elif way == 2:
        del changed[stop:]
    return bytes(changed)


def main(count: int) -> int:
    """Open so many mutated files; the number of faults."""
    import resource

    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata.
    random = np.random.default_rng(0)
    files = [case.data for case in cases().values() if 0 < len(case.data) <= LARGEST]
    outcomes: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="mutated-photos-"))
    slowest, before = 0.0, time.monotonic()
    for number in range(count):
        data = mutated(files[number % len(files)], random)
        start = time.monotonic()
        try:
            photo = open_photo(io.BytesIO(data), name="mutated")
            outcome = "opened with a warning" if photo.warnings else "opened"
        except InputError as error:
            outcome = f"refused: {error.problem.split('(')[0][:50]}" if "pixels" not in str(error) else "refused: size"
        except Exception as error:  # noqa: BLE001 (a fault, which is what is looked for)
            outcome = f"FAULT: {type(error).__name__}"
            (folder / f"{number}.bin").write_bytes(data)
        seconds = time.monotonic() - start
        if seconds > LONGEST:
            outcome = "FAULT: slow"
            (folder / f"{number}.bin").write_bytes(data)
        slowest = max(slowest, seconds)
        outcomes[outcome] += 1
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if memory > MOST_MEMORY:
        outcomes["FAULT: memory"] += 1
    for outcome, times in outcomes.most_common():
        print(f"{times:6} {outcome}")
    print(f"{count} files in {time.monotonic() - before:.0f} s; the slowest {slowest:.2f} s; memory "
          f"{memory / 1e6:.0f} MB; faults in {folder}")
    return sum(times for outcome, times in outcomes.items() if outcome.startswith("FAULT"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) > 0)
