"""Workers that are Ray's actors, on a local cluster: the same bits, and what an actor's death costs."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from batch import BatchJob, RayCluster, Serial, run
from tests.batch.test_processes import job, photos, pictures  # noqa: F401 (fixtures)

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


def actors() -> list[int]:
    """The processes of this user that are actors of a batch."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It has ended just now.
            if b"ray::_Actor" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_two_actors_make_what_one_process_makes(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:  # noqa: F811
    many = run(job, photos, tmp_path / "many", executor=RayCluster(2, threads=1))
    run(job, photos, tmp_path / "one", executor=Serial())
    assert [row.state for row in many.rows] == ["done"] * 4
    assert {row.node for row in many.rows} == {os.uname().nodename}
    assert pictures(tmp_path / "many") == pictures(tmp_path / "one")
    assert not (tmp_path / "many" / ".seen-by-all").exists()
    assert run(job, photos, tmp_path / "many", executor=RayCluster(2)).skipped == 4


def test_a_killed_actor_is_replaced_and_its_photo_done(job: BatchJob, photos: list[Path],  # noqa: F811
                                                       tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            if (tmp_path / "out" / "latents").exists():  # One photo is nearly done.
                killed.extend(actors()[:1])
            time.sleep(0.05)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    slower = replace(job, settings=replace(job.settings, steps=60))
    result = run(slower, photos, tmp_path / "out", executor=RayCluster(1, threads=1))
    thread.join()
    assert killed
    assert [row.state for row in result.rows] == ["done"] * 4
