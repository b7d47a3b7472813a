"""Inversions as the page shows them: streaming, waiting, stopped, overtaken."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from page.jobs.executors import InversionQueue
from page.jobs.inverting import invert as invert_face
from page.jobs.services import Services
from page.layout import Page
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.edit import EditTab
from tests.page.handling import LONG, QUICK, OtherInversion, addresses, invert, inverting, running_inversion


def test_an_inversion_streams_and_opens_the_sliders(tab: EditTab, astronaut_file: Path) -> None:
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    begun = tab.on_begin(visitor, "fast")
    assert begun[tab.photo.stop]["visible"] is True
    updates = list(inverting(tab, visitor, "fast"))
    steps = [update[tab.side.status] for update in updates if "value=" in str(update.get(tab.side.status))]
    assert len(steps) >= 3
    assert "step 12 of 12" in steps[-1]
    assert "identity distance" in steps[-1]
    assert "<polyline" in steps[-1]
    last = updates[-1]
    assert last[tab.edit_area]["visible"] is True
    assert last[tab.photo.invert]["visible"] is True
    assert last[tab.photo.stop]["visible"] is False
    assert "by dlib: distance" in last[tab.side.status]
    assert "LPIPS" in last[tab.side.status]
    assert "stopped" not in last[tab.side.status]
    assert visitor.subject.inversion.steps == 12
    assert visitor.subject.inversion.photo_hash == visitor.photo.sha256
    assert all(slider in last and last[slider]["value"] == 0 for slider in tab.sliders.strengths)


def test_stop_reaches_the_running_inversion_and_keeps_the_best_so_far(tab: EditTab, astronaut_file: Path) -> None:
    visitor, updates = running_inversion(tab, astronaut_file)
    next(updates)
    tab.on_stop(visitor)
    last = list(updates)[-1]
    assert visitor.subject is not None
    assert 1 < visitor.subject.inversion.steps < 200
    assert visitor.subject.inversion.stopped
    assert "stopped at step" in last[tab.side.status]
    assert last[tab.side.pasted]["value"] is True
    before, after = (Path(shown).read_bytes() for shown in addresses(last, tab))
    assert before == after  # Unedited, the photo with the face put back is the photo itself.
    assert last[tab.edit_area]["visible"] is True


def test_stop_reaches_an_inversion_that_still_waits(tab: EditTab, astronaut_file: Path) -> None:
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    tab.on_begin(visitor, "fast")
    tab.on_stop(visitor)
    updates = list(inverting(tab, visitor, "faithful"))
    assert visitor.subject.inversion.steps == 1
    assert updates[-1][tab.photo.invert]["visible"] is True


def test_another_photo_is_not_overwritten_by_an_inversion_of_the_last(tab: EditTab, astronaut_file: Path,
                                                                      two_faces: Path) -> None:
    visitor, updates = running_inversion(tab, astronaut_file)
    tab.on_upload(visitor, {"path": str(two_faces)})  # Ends it.
    last = list(updates)[-1]
    assert visitor.subject is None
    assert visitor.photo.name == "two.png"
    assert last[tab.photo.stop]["visible"] is False


def test_closing_the_stream_ends_the_inversion(tab: EditTab, astronaut_file: Path) -> None:
    visitor, inversions = Visitor(), tab.services.inversions
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    visitor.begin_inversion()
    stream = invert_face(visitor, tab.services.models, LONG, inversions)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    with OtherInversion(inversions) as other:
        assert other.began.wait(20)


def test_closing_the_queue_ends_what_runs_and_what_waits(tab: EditTab, astronaut_file: Path) -> None:
    inversions, visitors, updates = InversionQueue(), [Visitor(), Visitor()], []
    for visitor in visitors:
        tab.on_upload(visitor, {"path": str(astronaut_file)})
        updates.append(invert_face(visitor, tab.services.models, LONG, inversions))
        next(updates[-1])
    inversions.close()
    for stream in updates:
        list(stream)
    running, waiting = visitors
    assert running.subject is not None
    assert running.subject.inversion.stopped
    assert waiting.subject is None


def test_inversions_wait_in_a_queue_and_tell_their_place(tab: EditTab, astronaut_file: Path) -> None:
    inversions = tab.services.inversions
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    tab.on_begin(visitor, "fast")
    with OtherInversion(inversions, 40.0):
        updates = inverting(tab, visitor, "fast")
        next(updates)
        told = next(updates)[tab.side.status]
        assert "number 2 in the queue: 1 inversion is before yours, about 40 s" in told
    rest = list(updates)
    assert any("step" in str(update.get(tab.side.status)) for update in rest)
    assert visitor.subject is not None
    with OtherInversion(inversions) as other:
        assert other.began.wait(5)  # The place was left.


def test_who_stops_while_waiting_leaves_the_queue_and_all_as_it_was(tab: EditTab, astronaut_file: Path) -> None:
    inversions = tab.services.inversions
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    tab.on_begin(visitor, "fast")
    with OtherInversion(inversions):
        updates = inverting(tab, visitor, "fast")
        next(updates)
        next(updates)
        tab.on_stop(visitor)
        last = list(updates)[-1]
        with OtherInversion(inversions) as later:
            assert inversions.ahead(later.job)[0] == 1
    assert visitor.subject is None
    assert last[tab.photo.invert]["visible"] is True
    assert last[tab.side.area]["visible"] is False


def test_what_is_kept_does_not_wait_behind_others(keeping: Page, astronaut_file: Path) -> None:
    tab = keeping.edit
    invert(tab, astronaut_file)
    with OtherInversion(tab.services.inversions):
        visitor, updates = invert(tab, astronaut_file)
    assert visitor.subject.from_cache
    assert not any("queue" in str(update.get(tab.side.status)) for update in updates)


def test_a_full_queue_is_told(tab: EditTab, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inversions = InversionQueue(most_waiting=0)
    monkeypatch.setattr(tab.services, "inversions", inversions)
    with OtherInversion(inversions):
        visitor, updates = invert(tab, astronaut_file)
    assert "0 inversions are waiting already; come back" in updates[-2][tab.notice]
    assert tab.notice not in updates[-1]  # It stays to be read.
    assert visitor.subject is None


def test_each_has_its_turn_in_order() -> None:
    inversions, order = InversionQueue(), []
    with OtherInversion(inversions, 1.0) as first:
        jobs = [inversions.submit(partial(order.append, number), seconds) for number, seconds in ((1, 2.0), (2, 3.0))]
        assert [inversions.ahead(job) for job in (first.job, *jobs)] == [(0, 0.0), (1, 1.0), (2, 3.0)]
        kept = inversions.submit(partial(order.append, 3))
        jobs[0].cancel()
        assert inversions.ahead(kept) == (2, 4.0)
    kept.result(10)
    assert order == [2, 3]
    assert inversions.ahead(kept) == (0, 0.0)


@pytest.mark.slow
def test_the_time_of_a_whole_inversion_is_learned(tab: EditTab, services: Services, astronaut_file: Path) -> None:
    invert(tab, astronaut_file)
    visitor, _ = invert(tab, astronaut_file)
    assert services.models.timing.seconds(QUICK) == visitor.subject.inversion.seconds


@pytest.mark.parametrize(("distance", "said"), [
    (0.42, "same person by dlib: distance 0.42 (below 0.6)"), (0.599, "distance 0.5990 (below 0.6)"),
    (0.6, "a likeness, not the same person by dlib: distance 0.6000 (0.6 or more)"),
    (0.75, "distance 0.75 (0.6 or more)"),
])
def test_identity_is_told_in_words(distance: float, said: str) -> None:
    assert words.identity_in_words(distance).endswith(said)


