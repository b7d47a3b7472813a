"""Inversions as the page shows them: streaming, waiting, stopped, overtaken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editing import Edit
from inversion import Inversion, Progress, Projector, ProjectorSettings, paste_back
from page.jobs import inverting as inverting_module
from page.jobs.editing import edited_picture
from page.jobs.executors import InversionQueue
from page.jobs.inverting import invert as invert_face
from page.jobs.services import Services
from page.jobs.views import VIEW_SIDE, pasted_pictures
from page.layout import Page
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.edit import EditTab
from page.tabs.result import BEFORE, FILM, WHOLE
from tests.page.handling import (
    QUICK,
    OtherInversion,
    addresses,
    asked,
    invert,
    inverting,
    opened,
    refining,
    settled,
    shown,
    slot_of,
)


def test_a_face_is_ready_quickly_and_then_better_with_its_edit_kept(tab: EditTab, astronaut_file: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    make = inverting_module.make

    def slowly(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, should_stop: Callable[[], bool],
               on_step: Callable[[Progress], None], *more: Any) -> Inversion:
        """Each report is heard before the next one comes."""
        return make(projector, crop, settings, should_stop,
                    lambda progress: (on_step(progress), time.sleep(0.2))[0], *more)

    monkeypatch.setattr(inverting_module, "make", slowly)
    visitor = opened(tab, astronaut_file, "balanced")
    updates = list(tab.on_quick_inversion(visitor))
    assert all("Getting your face ready" in update[tab.side.status] for update in updates[:-1])
    assert len(updates) >= 3
    assert updates[-1][tab.edit_area]["visible"] is True
    assert updates[-1][tab.side.veil]["visible"] is False
    assert all(updates[-1][slider]["value"] == 0 for slider in tab.sliders.strengths)
    quick = visitor.subject
    assert (quick.preset, quick.inversion.steps) == ("fast", 12)
    assert quick.inversion.photo_hash == visitor.photo.sha256
    edit = Edit(strengths={"smile": 1.0})
    settled(tab, visitor, asked(tab, visitor, strengths=edit.strengths, pasted=True))
    quick.inversion = replace(quick.inversion, lpips=9.0)  # The other one is sure to come nearer.
    limits, refined, on_the_way = quick.limits, [], []
    for update in tab.on_better_inversion(visitor):
        refined.append(update)
        if tab.side.status not in update:
            on_the_way.append(visitor.subject)
            assert tab.side.after in update
    assert any("while you edit" in update.get(tab.side.status, "") for update in refined[:-1])
    assert on_the_way
    assert quick not in on_the_way
    for part in on_the_way:  # It is no nearer by name, and goes on as the one before did.
        assert (part.preset, part.edit, part.inversion.stopped) == ("fast", edit, True)
        assert part.limits is limits
    better = visitor.subject
    assert (better.preset, better.inversion.steps, better.edit) == ("balanced", 11, edit)
    assert better.history.can_undo
    assert visitor.subjects == {0: better}
    assert refined[-1][tab.side.stop]["visible"] is False
    assert not set(tab.sliders.strengths) & refined[-1].keys()  # A slider that moves just now is left alone.
    assert "LPIPS" in refined[-1][tab.side.status]
    expected = pasted_pictures(better, edited_picture(tab.services.models, better, edit), side=VIEW_SIDE)[1]
    assert np.abs(shown(refined[-1], tab)[1].astype(int) - expected).mean() < 2  # JPEG.
    assert list(tab.on_better_inversion(visitor)) == []  # It has come as near as was asked for.


def test_a_better_inversion_that_comes_while_the_picture_is_drawn_is_the_one_that_is_shown(
        tab: EditTab, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of the one before must not replace its picture."""
    visitor = opened(tab, astronaut_file)
    list(tab.on_quick_inversion(visitor))
    quick, draw = visitor.subject, tab._settled
    better = replace(quick, picture=255 - quick.picture)

    def overtaken(*args: Any) -> dict[Any, Any]:
        drawn = draw(*args)
        if visitor.subject is quick:
            visitor.improve(quick, better)
        return drawn

    monkeypatch.setattr(tab, "_settled", overtaken)
    update = settled(tab, visitor, asked(tab, visitor, pasted=False))
    assert np.abs(shown(update, tab)[1].astype(int) - better.picture).mean() < 3  # JPEG.
    assert visitor.settled == visitor.wanted


def test_a_film_that_is_watched_is_not_taken_away_by_a_better_inversion_on_the_way(tab: EditTab, astronaut_file: Path
                                                                                   ) -> None:
    visitor = opened(tab, astronaut_file)
    list(tab.on_quick_inversion(visitor))
    for look, stays in ((FILM, True), (WHOLE, False)):
        visitor.wanted = Edit(strengths={"smile": 1.0}), BEFORE, False, look
        assert (tab.side.after not in tab.better_on_the_way(visitor)) is stays
        assert tab.side.after in tab.improved(visitor)  # The last one is shown in any case.


def test_what_is_no_better_does_not_take_its_place(tab: EditTab, astronaut_file: Path) -> None:
    visitor = opened(tab, astronaut_file, "balanced")
    list(tab.on_quick_inversion(visitor))
    quick = visitor.subject
    quick.inversion = replace(quick.inversion, lpips=0.0)
    list(tab.on_better_inversion(visitor))
    assert visitor.subject is quick


def test_stop_reaches_the_running_inversion_and_keeps_the_best_so_far(tab: EditTab, astronaut_file: Path) -> None:
    visitor, updates = refining(tab, astronaut_file)
    quick = visitor.subject
    quick.inversion = replace(quick.inversion, lpips=9.0)
    next(updates)
    tab.on_stop(visitor)
    last = list(updates)[-1]
    assert 1 < visitor.subject.inversion.steps < 200
    assert visitor.subject.inversion.stopped
    assert "stopped at step" in last[tab.side.status]
    assert last[tab.side.stop]["visible"] is False
    before, after = (Path(shown).read_bytes() for shown in addresses(last, tab))
    assert before == after  # Unedited, the photo with the face put back is the photo itself.


def test_another_photo_is_not_overwritten_by_an_inversion_of_the_last(tab: EditTab, astronaut_file: Path,
                                                                      two_faces: Path) -> None:
    visitor, updates = refining(tab, astronaut_file)
    tab.on_upload(visitor, {"path": str(two_faces)})  # Ends it.
    assert tab.edit_area not in list(updates)[-1:]
    assert visitor.subjects == {}
    assert visitor.photo.name == "two.png"


def test_faces_have_their_own_edits_and_go_into_one_picture(tab: EditTab, two_faces: Path) -> None:
    visitor, _ = invert(tab, two_faces)
    smile, age = Edit(strengths={"smile": 2.0}), Edit(strengths={"age": 2.0})
    settled(tab, visitor, asked(tab, visitor, strengths=smile.strengths, pasted=True))
    tab.on_choose(visitor, 1)
    list(inverting(tab, visitor))
    assert visitor.edit == Edit()
    settled(tab, visitor, asked(tab, visitor, strengths=age.strengths, pasted=True))
    models, first, second = tab.services.models, visitor.subjects[0], visitor.subjects[1]
    assert (first.edit, second.edit) == (smile, age)
    expected = visitor.photo
    for subject in (first, second):
        picture = edited_picture(models, subject, subject.edit)
        expected = replace(expected, pixels=paste_back(expected, subject.face, picture, original=subject.picture))
    _, whole = pasted_pictures(second, edited_picture(models, second, age))
    assert np.array_equal(whole, expected.pixels)
    tab.on_choose(visitor, 0)
    [again] = list(inverting(tab, visitor))  # It is there already.
    assert again[tab.sliders.strengths[slot_of(tab, visitor, "smile")]]["value"] == 2.0
    _, whole = pasted_pictures(first, edited_picture(models, first, smile))
    changed = (whole != visitor.photo.pixels).any(axis=2)
    assert changed[:, :358].any()
    assert changed[:, 388:].any()


def test_a_better_inversion_gives_way_to_one_for_which_sliders_wait(tab: EditTab, astronaut_file: Path) -> None:
    visitor, updates = refining(tab, astronaut_file)
    with OtherInversion(tab.services.quick_inversions) as other:
        assert other.began.wait(20)  # At once, beside the one that runs.
        threading.Timer(1.0, other.end).start()
        started = time.monotonic()
        for _ in range(3):  # One may have been made already.
            next(updates)
        assert time.monotonic() - started > 0.8
    tab.on_stop(visitor)
    list(updates)


def test_who_has_nothing_to_edit_yet_gives_way_less(tab: EditTab, astronaut_file: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []

    def giving_way(should_stop: Callable[[], bool], way: float) -> Callable[[], bool]:
        ways.append(way)
        return should_stop

    monkeypatch.setattr("page.jobs.inverting.giving_way", giving_way)
    invert(tab, astronaut_file, "balanced")
    first, better = ways
    assert first <= better / 4


def test_closing_the_stream_ends_the_inversion(tab: EditTab, astronaut_file: Path) -> None:
    visitor, inversions = Visitor(), tab.services.inversions
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    visitor.begin_inversion()
    stream = invert_face(visitor, tab.services.models, "faithful", inversions)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    with OtherInversion(inversions) as other:
        assert other.began.wait(20)


def test_closing_the_queue_ends_what_runs_and_what_waits(tab: EditTab, astronaut_file: Path) -> None:
    inversions, visitors, updates = InversionQueue(), [Visitor(), Visitor()], []
    for visitor in visitors:
        tab.on_upload(visitor, {"path": str(astronaut_file)})
        updates.append(invert_face(visitor, tab.services.models, "faithful", inversions))
        next(updates[-1])
    inversions.close()
    for stream in updates:
        list(stream)
    running, waiting = visitors
    assert running.subject is not None
    assert running.subject.inversion.stopped
    assert waiting.subject is None


def test_inversions_wait_in_a_queue_and_tell_their_place(tab: EditTab, astronaut_file: Path) -> None:
    inversions = tab.services.quick_inversions
    visitor = opened(tab, astronaut_file)
    with OtherInversion(inversions, 40.0):
        updates = inverting(tab, visitor)
        assert "1 other face is before yours, about 40 s" in next(updates)[tab.side.status]
    rest = list(updates)
    assert any("value=" in str(update.get(tab.side.status)) for update in rest)
    assert visitor.subject is not None
    with OtherInversion(inversions) as other:
        assert other.began.wait(5)  # The place was left.


def test_who_chooses_another_photo_while_waiting_leaves_the_queue(tab: EditTab, astronaut_file: Path) -> None:
    inversions = tab.services.quick_inversions
    visitor = opened(tab, astronaut_file)
    with OtherInversion(inversions):
        updates = inverting(tab, visitor)
        next(updates)
        tab.on_another(visitor)
        last = list(updates)[-1]
        with OtherInversion(inversions) as later:
            assert inversions.ahead(later.job)[0] == 1
    assert visitor.subject is None
    assert last[tab.side.veil]["visible"] is False


def test_what_is_kept_does_not_wait_behind_others(keeping: Page, astronaut_file: Path) -> None:
    tab = keeping.edit
    invert(tab, astronaut_file)
    with OtherInversion(tab.services.inversions):
        visitor, updates = invert(tab, astronaut_file)
    assert visitor.subject.from_cache
    assert len(updates) == 1


def test_a_full_queue_is_told(tab: EditTab, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inversions = InversionQueue(most_waiting=0)
    monkeypatch.setattr(tab.services, "quick_inversions", inversions)
    with OtherInversion(inversions):
        visitor, updates = invert(tab, astronaut_file)
    assert "0 inversions are waiting already; come back" in updates[-1][tab.notice]
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


