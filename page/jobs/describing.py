"""dlib's face descriptors, from a process of their own.

dlib computes one in a tenth of a second, and no other thread of Python's can run meanwhile: with some visitors the
whole page, downloads and all, would stand still for most of the time. Between the processes go plain numbers.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

import numpy as np

from inversion import describe_crop

NUMBERS = 128  # Of a descriptor.


class Describer:
    """As `inversion.describe_crop`, for any thread; the process is started on first use, and ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """dlib's descriptor of a crop uint8 [R, R, 3]: float32 [128]."""
        assert crop.dtype == np.uint8, crop.dtype
        assert crop.shape == (len(crop), len(crop), 3), crop.shape
        with self._turn:
            for _ in range(2):  # It may have been ended from outside.
                found = self._asked(crop)
                if found is not None:
                    return found
        return describe_crop(crop)

    def _asked(self, crop: np.ndarray) -> np.ndarray | None:
        try:
            if self._process is None:
                self._process = _started()
            to, back = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
            to.write(len(crop).to_bytes(4, "little") + crop.tobytes())
            to.flush()
            found = back.read(NUMBERS * 4)
        except OSError:
            found = b""
        if len(found) == NUMBERS * 4:
            return np.frombuffer(found, "<f4").astype(np.float32)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        return None


@functools.cache
def describer() -> Describer:
    """The one of this process."""
    return Describer()


def serve(source: IO[bytes], drain: IO[bytes]) -> None:
    """Describe crops until there are no more: each its side in 4 bytes, then its pixels; back go 128 numbers."""
    while len(head := source.read(4)) == 4:
        side = int.from_bytes(head, "little")
        crop = np.frombuffer(source.read(side * side * 3), np.uint8).reshape(side, side, 3)
        drain.write(describe_crop(crop).astype("<f4").tobytes())
        drain.flush()


def _started() -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen([sys.executable, "-m", "page.jobs.describing"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except KeyboardInterrupt:  # Ctrl-C reaches both processes; the other one says what there is to say.
        sys.exit(0)
