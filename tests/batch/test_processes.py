"""Workers that are processes: the same bits as in this one, and what a worker's or the driver's death costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from batch import BatchJob, Processes, Row, Serial, run
from batch.job import BatchPhoto, BatchTask, Outcome, hash_of
from batch.pool import DIED, Died, Event, Idle, run_pool
from batch.processes import _deaf
from directions import Edit
from generators import load, load_mapped, write_mapped
from inversion import ProjectorSettings
from inversion.photo import Photo
from weights.errors import InputError

QUICK = ProjectorSettings(steps=2, start="samples", samples=2, plateau=0.0, precision="float32")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(small_models: Path) -> BatchJob:
    """A job whose models are named by their files, which other processes see, too."""
    generator, controls = (str(small_models / f"{name}.safetensors") for name in ("generator", "controls"))
    return BatchJob(edit=Edit(strengths={"smile": 2.0}), settings=QUICK, generator=generator, controls=controls,
                    generator_hash=hash_of(generator), controls_hash=hash_of(controls, "controls"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: Photo) -> list[Path]:
    folder = tmp_path_factory.mktemp("process-photos")
    portrait = Image.fromarray(astronaut.pixels)
    for number in range(4):
        portrait.crop((number * 4, 0, 400 + number * 4, 400)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "pictures").iterdir())}


def test_a_mapped_generator_draws_the_same_bits(tmp_path: Path, small_models: Path) -> None:
    generator = load(small_models / "generator.safetensors")
    write_mapped(tmp_path / "mapped.safetensors", generator)
    mapped = load_mapped(tmp_path / "mapped.safetensors")
    assert (mapped.hash, mapped.space.to_text()) == (generator.hash, generator.space.to_text())
    w = generator.sample(range(2))
    assert torch.equal(mapped.render(w), generator.render(w))
    for name, weight in mapped.state_dict().items():
        assert weight.stride() == generator.state_dict()[name].stride(), name
    with pytest.raises(InputError, match="no mapped generator"):
        load_mapped(tmp_path / "nowhere.safetensors")


@pytest.mark.slow
def test_two_processes_make_what_one_makes(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    told: list[Row] = []
    many = run(job, photos, tmp_path / "many", executor=Processes(2, threads), on_row=told.append)
    one = run(job, photos, tmp_path / "one", executor=Serial())
    assert [row.state for row in many.rows] == [row.state for row in one.rows] == ["done"] * 4
    assert pictures(tmp_path / "many") == pictures(tmp_path / "one")
    assert {"finding", "inverting", "editing", "done"} <= {row.state for row in told}
    assert run(job, photos, tmp_path / "many", executor=Processes(2)).skipped == 4


@pytest.mark.slow
def test_a_job_that_cannot_be_done_is_refused_by_name(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:
    for changes, words in (({"edit": Edit(strengths={"wings": 1.0})}, "wings: no such attribute"),
                           ({"generator_hash": "0" * 64}, "is another generator here")):
        with pytest.raises(InputError, match=words):
            run(replace(job, **changes), photos, tmp_path / "out", executor=Processes(1))
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_photo_done(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(row: Row) -> None:
        if row.state == "inverting" and not killed:
            [child, *_] = _children(os.getpid())
            killed.append(child)
            os.kill(child, signal.SIGKILL)

    result = run(replace(job, settings=replace(QUICK, steps=40)), photos, tmp_path / "out", executor=Processes(2),
                 on_row=kill)
    assert killed
    assert [row.state for row in result.rows] == ["done"] * 4


@pytest.mark.slow
def test_a_killed_driver_loses_what_was_in_hand_alone(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cli", "batch", str(photos[0].parent), "--set", "smile=2", "--preset", "fast",
               "--generator", job.generator, "--controls", job.controls, "--workers", "2", "--out", str(out)]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "TMPDIR": str(temporary)})
    while not (out / "journal.jsonl").is_file() or '"ended"' not in (out / "journal.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    workers = _children(process.pid)
    assert [*temporary.glob("gradctrl-batch-*/generator.safetensors")]
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    lines = (out / "journal.jsonl").read_text().splitlines()
    ended = [json.loads(line)["ended"] for line in lines if '"ended"' in line]
    assert sorted(ended) == [path.name for path in photos]  # Each once.
    assert len(pictures(out)) == len(photos)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]  # They ended with the driver,
    assert not [*temporary.glob("gradctrl-batch-*")]  # and have removed the file that they shared.


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_in_hand(job: BatchJob, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "cli", "batch", str(photos[0].parent), "--set", "smile=2", "--preset", "fast",
               "--generator", job.generator, "--controls", job.controls, "--workers", "1", "--executor", "processes",
               "--out", str(out)]
    # Where the tests themselves run in the background, a shell may have made all of them deaf to it.
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while not (out / "journal.jsonl").is_file() or '"begun"' not in (out / "journal.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does it: to the workers, too.
    _, words = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "1 done (0 were already), 0 failed" in words
    assert "stopped: 3 photos were not done; the same command goes on with them" in words
    assert len(pictures(out)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not blocked there")
def test_ctrl_c_while_a_worker_is_started_is_heard_afterwards() -> None:
    started = []

    def start() -> None:
        with _deaf():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            child = [sys.executable, "-c", "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"]
            started.append(subprocess.run(child, capture_output=True, text=True, check=True).stdout)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "SIGINT" in started[0]  # The child hears none.


def _children(process: int) -> list[int]:
    """The workers among a process's children: those that multiprocessing has spawned."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in found
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


# ---- the pool, with workers that are none

class Played:
    """A worker that does what a script says of each photo: "done" or "die"."""

    def __init__(self, log: list[str], script: Callable[[int], str]) -> None:
        self.log, self.script = log, script
        self.tasks: list[BatchTask] = []

    def hand(self, tasks: Sequence[BatchTask]) -> None:
        self.tasks = list(tasks)
        self.log.append("+" + "".join(str(task.index) for task in tasks))

    def close(self) -> None:
        self.log.append("closed")

    def go_on(self) -> list[Event]:
        events: list[Event] = []
        while self.tasks:
            task = self.tasks.pop(0)
            if self.script(task.index) == "die":
                return [*events, Died()]
            events.append(Outcome(task=task, rows=(Row(index=task.index, name="", state="done"),)))
        return [*events, Idle()]


def play(groups: Iterable[Sequence[int]], script: Callable[[int], str], workers: int = 2) -> tuple[dict[int, str],
                                                                                                   list[str]]:
    log: list[str] = []
    tasks = ([BatchTask(index=index, photo=BatchPhoto(name=str(index)), stem=str(index)) for index in group]
             for group in groups)

    def wait(ready: list[Played]) -> list[tuple[Played, Event]]:
        return [(ready[0], event) for event in ready[0].go_on()]

    outcomes = run_pool(lambda place: Played(log, script), wait, workers, tasks, lambda row: None)
    return {outcome.task.index: outcome.rows[0].reason for outcome in outcomes}, log


def test_each_photo_of_a_dead_workers_group_is_tried_once_more_alone_and_then_marked() -> None:
    reasons, log = play([[0, 1, 2], [3]], lambda index: "die" if index == 1 else "done")
    assert reasons == {0: "", 1: DIED, 2: "", 3: ""}
    assert log.count("+1") == 1
    assert "+2" in log


def test_a_group_is_taken_only_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def groups() -> Iterable[Sequence[int]]:
        for index in range(9):
            taken.append(index)
            yield [index]

    held: list[int] = []
    play(groups(), lambda index: held.append(len(taken) - index) or "done", workers=3)
    assert max(held) <= 3


def test_workers_that_all_die_end_the_batch() -> None:
    with pytest.raises(InputError, match="workers have ended one after another"):
        play([[index] for index in range(20)], lambda index: "die")


def test_rows_are_as_they_were_after_the_journal() -> None:
    row = Row(index=3, name="a.jpg", state="done", face=1, faces=2, lpips=0.1, before={"smile": -1.0}, warnings=("x",),
              picture="pictures/a-edited.png", thumbnails=(np.zeros((1, 1, 3)),) * 2)
    back = Row.from_json(json.loads(json.dumps(row.to_json())), 3)
    assert vars(back) == vars(replace(row, thumbnails=None))
