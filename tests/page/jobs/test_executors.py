"""Who works when: edits a few at a time, inversions that give way to them, descriptors in a process of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from editing import Edit
from inversion import describe_crop
from page.jobs import executors, inverting
from page.jobs.describing import Describer
from page.jobs.editing import edited_picture, editor_of
from page.jobs.executors import EditExecutor, reported
from page.jobs.opening import draw_sample
from page.jobs.services import Services
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import asked, dragged, resting, settled

# ---- edits, a few at a time


def test_edits_are_made_in_the_order_in_which_they_came() -> None:
    executor, done = EditExecutor(1), []
    first = threading.Event()
    futures = [executor.submit(first.wait, 5), *(executor.submit(done.append, number) for number in range(5))]
    first.set()
    for future in futures:
        future.result(5)
    assert done == [0, 1, 2, 3, 4]


def test_no_more_edits_at_once_than_there_are_workers_who_share_the_cores() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        executor, together = EditExecutor(2), threading.Barrier(2)

        def work() -> int:
            together.wait(5)
            return torch.get_num_threads()

        assert [future.result(5) for future in [executor.submit(work) for _ in range(8)]] == [2] * 8
        assert torch.get_num_threads() == 4
        assert sum(thread.name.startswith("edits") for thread in threading.enumerate() if thread.is_alive()) >= 2
        with ThreadPoolExecutor(1) as another:
            assert another.submit(torch.get_num_threads).result() == 4
    finally:
        torch.set_num_threads(before)


def test_giving_way_ends_when_no_edit_is_made_and_after_its_time_in_any_case() -> None:
    executor, free = EditExecutor(1), threading.Event()
    executor.give_way(5)  # Nobody is there.
    edit = executor.submit(free.wait, 5)
    start = time.monotonic()
    executor.give_way(0.1)
    assert 0.1 <= time.monotonic() - start < 2
    threading.Timer(0.05, free.set).start()
    executor.give_way(5)
    assert edit.done()
    assert time.monotonic() - start < 4
    failing = executor.submit(lambda: 1 // 0)
    executor.give_way(5)
    assert isinstance(failing.exception(0), ZeroDivisionError)


@pytest.mark.parametrize("where", ["edits", "whole_pictures"])
def test_an_inversion_gives_way_for_a_multiple_of_its_step_at_most(where: str, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    executor, free = EditExecutor(1), threading.Event()
    monkeypatch.setattr(executors, where, lambda: executor)
    executor.submit(free.wait, 5)
    should_stop = inverting.giving_way(lambda: False, inverting.WAY)
    time.sleep(0.05)  # A step.
    start = time.monotonic()
    assert not should_stop()
    assert 0.05 <= time.monotonic() - start < 1
    free.set()


# ---- what a job reports


def test_of_several_reports_the_newest_is_told_and_an_error_is_raised_in_the_end() -> None:
    reports: queue.SimpleQueue[int] = queue.SimpleQueue()
    told, go_on = threading.Event(), threading.Event()

    def work() -> None:
        for number in range(5):
            reports.put(number)
        told.set()
        go_on.wait(5)
        raise ValueError("too much")

    with ThreadPoolExecutor(1) as executor:
        job = executor.submit(work)
        told.wait(5)
        following = reported(job, reports, 0.05)
        assert next(following) == 4
        assert next(following) is None
        go_on.set()
        with pytest.raises(ValueError, match="too much"):
            list(following)


# ---- descriptors


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
            for seed, side in enumerate((64, 128))]


def test_another_process_gives_the_same_descriptors(crops: list[np.ndarray]) -> None:
    others, describe = set(multiprocessing.active_children()), Describer()
    for crop in crops:
        assert np.array_equal(describe(crop), describe_crop(crop))
    [process] = set(multiprocessing.active_children()) - others
    process.kill()
    process.join()
    assert np.array_equal(describe(crops[0]), describe_crop(crops[0]))
    assert len(set(multiprocessing.active_children()) - others) == 1  # Another one has taken its place.


def test_descriptors_are_had_where_no_process_can_be_started(crops: list[np.ndarray],
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr("page.jobs.describing.ProcessPoolExecutor", refuse)
    assert np.array_equal(Describer()(crops[0]), describe_crop(crops[0]))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is read from /proc")
def test_the_process_imports_little_and_ends_with_the_page() -> None:
    code = ("import multiprocessing, os, signal, sys\nimport numpy as np\n"
            "from page.jobs.describing import describer\n"
            "describer()(np.zeros((64, 64, 3), np.uint8))\n"
            "process = multiprocessing.active_children()[0].pid\n"
            "names = open(f'/proc/{process}/maps').read()\n"
            "print(process, 'libtorch' in names, 'dlib' in names)\n"
            "sys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    process, *libraries = result.stdout.split()
    assert libraries == ["False", "True"], result.stderr
    command, deadline = Path(f"/proc/{process}/cmdline"), time.monotonic() + 20
    while command.exists() and command.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not command.exists() or not command.read_bytes()  # Nothing is left of one that has ended.


# ---- edits


@pytest.fixture
def drawn(services: Services) -> Visitor:
    visitor = Visitor()
    draw_sample(visitor, services.models.generator, 5, 0.7)
    return visitor


def test_an_edit_asked_for_again_is_the_picture_that_an_editor_makes(services: Services, drawn: Visitor) -> None:
    subject, models = drawn.subject, services.models
    assert subject is not None
    both = Edit(strengths={"smile": 1.5, "age": -1.0}), Edit(strengths={"age": -1.0, "smile": 1.5})
    for edit in (*both, both[0], Edit(strengths={"smile": 1.0}), both[1]):
        expected = editor_of(models, subject).edit(edit)
        assert np.array_equal(edited_picture(models, subject, edit), expected)
        assert np.array_equal(edited_picture(models, subject, edit), expected)


def test_the_edit_that_is_pinned_is_not_drawn_anew_at_each_move(services: Services, drawn: Visitor) -> None:
    subject, models = drawn.subject, services.models
    assert subject is not None
    pinned = Edit(strengths={"smile": 1.0})
    first = edited_picture(models, subject, pinned)
    for strength in (0.5, 1.0, 1.5):
        moved = Edit(strengths={"age": strength})
        assert np.array_equal(edited_picture(models, subject, moved), editor_of(models, subject).edit(moved))
        assert edited_picture(models, subject, pinned) is first


def test_what_is_let_go_where_it_rests_is_not_painted_again(tab: EditTab, drawn: Visitor) -> None:
    values = asked(tab, drawn, strengths={"smile": 2.0})
    assert tab.side.after in settled(tab, drawn, values)
    assert tab.side.after not in settled(tab, drawn, values)
    dragged(tab, drawn, *asked(tab, drawn, strengths={"smile": 1.0}))
    assert tab.side.after in settled(tab, drawn, values)


def test_numbers_that_take_long_follow_their_picture(tab: EditTab, drawn: Visitor,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("page.tabs.edit.NUMBERS", 0.0)
    effect = type(tab)._effect

    def slowly(*arguments: object) -> str:
        time.sleep(0.2)
        return effect(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(tab), "_effect", slowly)
    values = asked(tab, drawn, strengths={"smile": 2.0})

    async def rest() -> tuple[dict[object, object], dict[object, object], dict[object, object]]:
        picture = await resting(tab, drawn, values)
        return picture, await tab.on_measured(drawn), await tab.on_measured(drawn)

    picture, numbers, again = asyncio.run(rest())
    assert tab.side.effect not in picture
    assert "Smile" in str(numbers[tab.side.effect])
    assert tab.side.effect not in again
