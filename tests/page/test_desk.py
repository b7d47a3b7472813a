"""Who works when: edits at their desk, inversions that give way to them, descriptors in a process of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from editing import Edit
from inversion import describe_crop
from page.jobs import gpu
from page.jobs.describing import Describer
from page.jobs.executors import Desk
from page.state.models import Models
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import asked, dragged, resting, settled

# ---- the desk


def test_work_is_done_in_the_order_in_which_it_came() -> None:
    desk, done = Desk(1), []
    first = threading.Event()
    futures = [desk.ask(first.wait, 5), *(desk.ask(done.append, number) for number in range(5))]
    first.set()
    for future in futures:
        future.result(5)
    assert done == [0, 1, 2, 3, 4]
    desk.close()


def test_no_more_work_at_once_than_there_are_places() -> None:
    desk, at_once, most, lock = Desk(2), [0], [0], threading.Lock()

    def work() -> None:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        with lock:
            at_once[0] -= 1

    for future in [desk.ask(work) for _ in range(8)]:
        future.result(5)
    assert most == [2]
    desk.close()


def test_an_error_is_raised_where_the_result_is_asked_for_and_the_desk_goes_on() -> None:
    desk = Desk(1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(desk.wait(lambda: 1 // 0))
    assert asyncio.run(desk.wait(lambda: 7)) == 7
    desk.close()


def test_giving_way_ends_when_nobody_works_and_after_its_time_in_any_case() -> None:
    desk, free = Desk(1), threading.Event()
    desk.give_way(5)  # Nobody is there.
    work = desk.ask(free.wait, 5)
    start = time.monotonic()
    desk.give_way(0.1)
    assert 0.1 <= time.monotonic() - start < 2
    threading.Timer(0.05, free.set).start()
    desk.give_way(5)
    assert work.done()
    assert time.monotonic() - start < 4
    desk.close()


def test_an_inversion_gives_way_for_a_multiple_of_its_step_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, free = Desk(1), threading.Event()
    monkeypatch.setattr(gpu, "desk", lambda: desk)
    desk.ask(free.wait, 5)
    give_way = gpu._give_way()
    time.sleep(0.05)  # A step.
    start = time.monotonic()
    give_way()
    assert 0.05 <= time.monotonic() - start < 1
    free.set()
    desk.close()


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
def drawn(models: Models) -> Visitor:
    visitor = Visitor()
    visitor.sample(models.bench.generator, 5, 0.7)
    return visitor


def test_an_edit_asked_for_again_is_the_picture_that_an_editor_makes(models: Models, drawn: Visitor) -> None:
    subject, bench = drawn.subject, models.bench
    assert subject is not None
    both = Edit(strengths={"smile": 1.5, "age": -1.0}), Edit(strengths={"age": -1.0, "smile": 1.5})
    for edit in (*both, both[0], Edit(strengths={"smile": 1.0}), both[1]):
        expected = edit.apply(bench.editor(subject))
        assert np.array_equal(bench.edit(subject, edit), expected)
        assert np.array_equal(bench.edit(subject, edit), expected)


def test_the_edit_that_is_pinned_is_not_drawn_anew_at_each_move(models: Models, drawn: Visitor) -> None:
    subject, bench = drawn.subject, models.bench
    assert subject is not None
    pinned = Edit(strengths={"smile": 1.0})
    first = bench.edit(subject, pinned)
    for strength in (0.5, 1.0, 1.5):
        moved = Edit(strengths={"age": strength})
        assert np.array_equal(bench.edit(subject, moved), moved.apply(bench.editor(subject)))
        assert bench.edit(subject, pinned) is first


def test_what_is_let_go_where_it_rests_is_not_painted_again(tab: EditTab, drawn: Visitor) -> None:
    values = asked(tab, drawn, strengths={"smile": 2.0})
    assert tab.side.result in settled(tab, drawn, values)
    assert tab.side.result not in settled(tab, drawn, values)
    dragged(tab, drawn, *asked(tab, drawn, strengths={"smile": 1.0}))
    assert tab.side.result in settled(tab, drawn, values)


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
