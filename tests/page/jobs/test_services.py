"""What all visitors share, as it is timed on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from inversion import Projector
from page.jobs.services import QUICK, Services, quick_side
from page.state.models import PREVIEWED, Pace

FAST, SLOW = QUICK / 2, QUICK * 2


class Timed:
    """A generator whose pictures take what it is told, of which the first takes long."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.now, self.drawn = seconds, 0.0, 0

    def sample(self, seeds: list[int]) -> Tensor:
        return torch.zeros(len(seeds), 8)

    def side_for(self, side: int) -> int:
        return min((own for own in self.seconds if own >= side), default=max(self.seconds))

    dtype = torch.float64  # In which nothing is quicker than it is.

    def render(self, w: Tensor, side: int) -> Tensor:
        self.now += self.seconds[side] + (9.0 if not self.drawn else 0.0)
        self.drawn += 1
        return torch.zeros(len(w), 3, side, side)


@pytest.mark.parametrize(("seconds", "expected"), [
    ({64: FAST, 128: FAST, 256: FAST, 512: FAST}, 256), ({128: FAST, 256: SLOW, 512: SLOW}, 128),
    ({128: SLOW, 256: SLOW}, 128), ({32: FAST, 64: SLOW}, 64), ({512: FAST, 1024: FAST}, 512),
])
def test_previews_are_as_large_as_is_quick_enough(seconds: dict[int, float], expected: int,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Timed(seconds)
    monkeypatch.setattr("page.jobs.services.time", SimpleNamespace(perf_counter=lambda: generator.now))
    assert quick_side(generator) == expected


def test_the_machine_is_timed_once_no_inversion_runs(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Services(services.models.generator, services.models.controls)
    assert page.models.timing.pace is None
    monkeypatch.setattr("page.jobs.services.QUICK", 60.0)
    monkeypatch.setattr("page.jobs.services.SETTLED_AFTER", 0.01)
    with page.inversions.turn():
        warming = threading.Thread(target=page.warm_up)
        warming.start()
        warming.join(1.0)
        assert warming.is_alive()
        assert page.models.timing.pace is None
    warming.join()
    assert page.models.timing.preview_side == page.models.generator.side_for(max(PREVIEWED))
    pace = page.models.timing.pace
    assert pace is not None
    assert min(pace.start, pace.step, pace.tuning) > 0


def test_timing_gives_way_to_an_inversion(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Services(services.models.generator, services.models.controls)
    begun, asked = threading.Event(), []

    def measure(projector: Projector, should_stop: Callable[[], bool]) -> Pace | None:
        asked.append(should_stop())
        if len(asked) > 1:
            return Pace(1.0, 1.0, 1.0, 1.0)
        begun.set()
        while not should_stop():
            pass
        return None

    monkeypatch.setattr("page.jobs.services.QUICK", 60.0)
    monkeypatch.setattr("page.jobs.services.SETTLED_AFTER", 0.01)
    monkeypatch.setattr("page.jobs.services.measured_pace", measure)
    warming = threading.Thread(target=page.warm_up)
    warming.start()
    begun.wait()
    with page.inversions.turn():
        warming.join(0.5)
        assert asked == [False]  # It has ended, and does not begin beside the inversion.
    warming.join()
    assert asked == [False, False]
    assert page.models.timing.pace == Pace(1.0, 1.0, 1.0, 1.0)
