"""The load check of the page does what it says, for two visitors and a few seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the page is not installed")

from benchmarks.page import Load, growth, report, run_load, times
from benchmarks.page_people import POSITIONS
from benchmarks.page_server import Server, serving

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.fixture(scope="module")
def loads() -> list[Load]:
    async def both(server: Server) -> list[Load]:
        moving = await run_load(server, "moving", visitors=2, inverting=0, seconds=9)
        beside = await run_load(server, "beside", visitors=1, inverting=1, seconds=6, preset="fast", seed=7)
        return [moving, beside]

    with serving() as server:
        found = asyncio.run(both(server))
        assert server.complaints() == []
    return found


def test_two_visitors_see_every_edit_that_they_rest_at(loads: list[Load]) -> None:
    tally = loads[0].tally
    assert tally.errors == []
    drags = tally.moves // POSITIONS
    assert drags >= 1
    assert tally.moves % POSITIONS == 0
    assert len(tally.stops) == len(tally.finished) == drags
    assert tally.numbers
    assert all(seconds >= 0.25 for seconds in tally.finished)  # Nothing is in full before it has rested.
    assert all(first <= full for first, full in zip(sorted(tally.stops), sorted(tally.finished), strict=True))


def test_an_inversion_that_the_end_comes_upon_is_stopped(loads: list[Load]) -> None:
    assert loads[1].tally.errors == []
    assert loads[1].tally.moves > 0


def test_the_server_is_watched(loads: list[Load]) -> None:
    for load in loads:
        assert load.memory[0][1] > 50
        assert load.threads > 1
        assert load.server_cores > 0
        assert load.disk[1] > 0


def test_a_report_has_a_column_for_each_load(loads: list[Load]) -> None:
    lines = report(loads).splitlines()
    assert {line.count("|") for line in lines} == {4}
    assert lines[0] == "| what | moving | beside |"


def test_growth_is_that_of_the_second_half() -> None:
    assert growth([(second, 100.0 if second < 60 else 100 + (second - 60) / 60) for second in range(0, 120, 5)]) \
        == pytest.approx(1, abs=0.1)
    assert growth([(0.0, 100.0), (5.0, 200.0)]) == 0


def test_times_of_nothing_are_none() -> None:
    assert times([]) == "none"
    assert times([0.1, 0.1, 0.4]) == "100 / 370 / 400"
