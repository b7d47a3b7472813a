"""The page in a process of its own, and the memory that it holds."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

STARTING = 120.0  # Seconds that it may take to answer.
WARMING = 180.0   # Seconds that it may be busy with itself then: it times an inversion.
_START = "import sys, app; app.launch(port=int(sys.argv[1]))"


@dataclass(frozen=True)
class Server:
    """A running page."""

    address: str
    process: int
    folder: Path  # Of its temporary files.
    log: Path

    def memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1000

    def seconds_worked(self) -> float:
        """Processor time so far, of all threads."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rest(self) -> None:
        """Wait until it has nothing to do.

        Raises:
            RuntimeError: it has not come to rest in time.
        """
        for _ in range(round(WARMING / 2)):
            worked = self.seconds_worked()
            time.sleep(2)
            if self.seconds_worked() - worked < 0.4:  # Its queue looks for work by the clock.
                return
        raise RuntimeError(f"the page is still at work after {WARMING:g} s, and nobody has asked it for anything")

    def disk(self) -> float:
        """Size of its temporary files in MB."""
        return sum(map(_size, self.folder.rglob("*"))) / 1e6

    def threads(self) -> int:
        """How many threads it has."""
        return len(list(Path(f"/proc/{self.process}/task").iterdir()))

    def complaints(self) -> list[str]:
        """Errors that it wrote about."""
        return re.findall(r"^\w*(?:Error|Exception)\b.*", self.log.read_text(errors="replace"), re.MULTILINE)


@contextmanager
def serving(port: int | None = None) -> Iterator[Server]:
    """Start the page as `python app.py` does, on a free port, and end it at the end."""
    port = port or free_port()
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="page-benchmark-") as folder:
        log = Path(folder) / "page.log"
        environment = {**os.environ, "GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False",
                       "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-c", _START, str(port)], stdout=out, stderr=out,
                                       env=environment, cwd=root)
        try:
            server = Server(f"http://127.0.0.1:{port}", process.pid, Path(folder), log)
            _wait_for(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # Deleted meanwhile.
        return 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(server.address + "/config", timeout=10).raise_for_status()
            return
        except httpx.HTTPError:  # noqa: PERF203 (not yet)
            time.sleep(0.5)
    raise RuntimeError(f"the page did not start:\n{server.log.read_text()[-2000:]}")
