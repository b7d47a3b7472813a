"""Edits: what the sliders ask for is what the Editor does, shown, measured, undone and saved."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from editing import Edit, Editor, load_session, parse_recipe, reproduce
from generators import from_pixels
from inversion import Photo, made_smaller, paste_back, read_picture_metadata
from inversion.metadata import MARK
from learning.scorers import load_scorer
from page.jobs.editing import edited_picture, editor_of, preview_picture
from page.jobs.measuring import Effect, Measure, effect_of
from page.jobs.opening import draw_sample, resume
from page.jobs.services import Services
from page.jobs.views import PREVIEW_SIDE, VIEW_SIDE, around, pasted_pictures, scaled
from page.state.visitor import EditSubject, History, Visitor
from page.tabs.edit import EditTab
from page.tabs.groups import grouped
from page.tabs.outputs import WAY, strip_of
from page.tabs.result import BEFORE, BESIDE, FILM, INVERSION, PINNED, SPLIT, STRIP, WHOLE
from page.tabs.sliders import own_keep
from page.tabs.words import effect_in_words
from tests.page.handling import addresses, asked, dragged, resting, settled, shown, slid, sliders, slot_of, within
from weights.errors import InputError


@pytest.fixture
def drawn(tab: EditTab) -> Visitor:
    """A visitor who edits a sample."""
    visitor = Visitor()
    tab.on_draw(visitor, 5, 0.7)
    return visitor


@pytest.fixture
def at_hand(inverted: Visitor) -> Visitor:
    """A visitor who edits the inverted photo, and has done nothing yet."""
    visitor = Visitor()
    visitor.photo, visitor.faces, visitor.chosen = inverted.photo, inverted.faces, inverted.chosen
    visitor.begin_edits(replace(subject_of(inverted), edit=Edit(), history=History(), pins=[], limits={}))
    return visitor


def subject_of(visitor: Visitor) -> EditSubject:
    assert visitor.subject is not None
    return visitor.subject


# ---- sliders

@pytest.mark.parametrize("edit", [
    Edit(), Edit(strengths={"smile": 2.0}), Edit(strengths={"smile": -1.5, "hair:blond": 0.5}, layers=(12, 32)),
    Edit(strengths={"age": 1.0}, keep=("gender",), step=0.3), Edit(strengths={"age": 1.0}, keep=()),
    Edit(strengths={"pose:right": 1.0}, keep={"smile": 40, "age": 40}),
])
def test_sliders_show_an_edit_and_ask_for_the_same(tab: EditTab, drawn: Visitor, edit: Edit) -> None:
    assert tab.sliders.read(tab.services.models_of(drawn), sliders(tab, drawn, edit)) == edit


def test_each_control_has_a_slider_that_ends_where_pictures_stay_good_and_marks_zero(tab: EditTab) -> None:
    update = tab.sliders.show(tab.services.models, Edit(), {"smile": (-0.5, 1.0)})
    names = [name for name, _ in grouped(list(tab.services.models.controls))]
    assert sorted(names) == sorted(tab.services.models.controls)
    for number, name in enumerate(names):
        control, slider = tab.services.models.controls[name], update[tab.sliders.strengths[number]]
        low, high = slider["minimum"], slider["maximum"]
        assert (low, high) == ((-0.5, 1.0) if name == "smile" else control.limits)
        [zero] = [int(mark.removeprefix("zero-at-")) for mark in slider["elem_classes"] if "zero" in mark]
        assert low + (high - low) * zero / 100 == pytest.approx(0, abs=(high - low) / 100)
        assert slider["elem_id"] == f"control-{name}"
        assert update[tab.sliders.targets[number]]["visible"] is not control.binary
        assert ("ends" in slider["elem_classes"]) is control.binary  # Pictures of several classes are not made.
    assert update[tab.sliders.rows[len(names)]]["visible"] is False


def test_the_class_that_is_offered_first_is_not_to_have_none(tab: EditTab) -> None:
    hair, part = tab.services.models.controls["hair"], tab.sliders.targets[0]
    first, *others = hair.classes  # type: ignore[attr-defined]
    assert tab.sliders._slot(0, hair, (0, 1), Edit())[part]["value"] == first
    hats = replace(hair, classes=("none", *others))
    offered = tab.sliders._slot(0, hats, (0, 1), Edit())[part]
    assert (offered["value"], offered["choices"]) == (others[0], ["none", *others])
    assert tab.sliders._slot(0, hats, (0, 1), Edit(strengths={"hair:none": 1.0}))[part]["value"] == "none"


def test_a_strength_from_elsewhere_widens_its_slider(tab: EditTab, drawn: Visitor) -> None:
    slider = tab.sliders.strengths[slot_of(tab, drawn, "smile")]
    update = tab.sliders.show(tab.services.models, Edit(strengths={"smile": 9.0}), {})[slider]
    assert (update["maximum"], update["value"]) == (9.0, 9.0)


def test_a_number_beyond_a_slider_is_its_end(tab: EditTab, at_hand: Visitor) -> None:
    tab.show_subject(at_hand)
    high = tab.services.models.controls["smile"].limits[1]
    asyncio.run(slid(tab, at_hand, "smile", 99.0))
    assert at_hand.wanted[0].strengths == {"smile": high}


def test_a_slider_is_narrowed_but_not_before_where_it_stands(tab: EditTab, at_hand: Visitor) -> None:
    tab.show_subject(at_hand)
    asyncio.run(slid(tab, at_hand, "smile", 0.75))
    part = tab.sliders.strengths[slot_of(tab, at_hand, "smile")]
    update = tab.sliders.narrowed(at_hand, tab.services.models, "smile", (-0.5, 0.5))[part]
    assert (update["minimum"], update["maximum"]) == (-0.5, 0.75)


@pytest.mark.parametrize(("layers", "step", "words"), [
    ("two to four", None, "is no layer range"), ("64:8", None, "layer range 64-8"),
    ("300:900", None, "layer range 300-900"), ("12:32", -1.0, "-1 is no length"),
])
def test_settings_that_cannot_be_are_told(tab: EditTab, drawn: Visitor, layers: str, step: float | None,
                                          words: str) -> None:
    values = asked(tab, drawn, strengths={"smile": 1.0})
    values[3 + tab.sliders.inputs.index(tab.sliders.layers)] = layers
    values[3 + tab.sliders.inputs.index(tab.sliders.step)] = step
    update = dragged(tab, drawn, *values)
    assert words in update[tab.notice]
    assert tab.side.after not in update


# ---- pictures

def test_no_strength_is_the_inversion_and_a_strength_is_the_editors_edit(tab: EditTab, at_hand: Visitor) -> None:
    subject, models = subject_of(at_hand), tab.services.models
    still, moved = (edited_picture(models, subject, edit) for edit in (Edit(), Edit(strengths={"smile": 1.5})))
    editor = Editor(models.generator, models.controls)
    editor.set_latent(subject.inversion)
    assert np.array_equal(still, editor.edit({}))
    assert np.array_equal(moved, editor.edit({"smile": 1.5}))
    crop, picture = shown(dragged(tab, at_hand, *asked(tab, at_hand, strengths={"smile": 1.5})), tab)
    assert np.abs(picture.astype(int) - moved).mean() < 2  # JPEG.
    assert np.abs(crop.astype(int) - subject.inversion.crop).mean() < 2
    base, _ = shown(dragged(tab, at_hand, *asked(tab, at_hand, compare=INVERSION, strengths={"smile": 1.5})), tab)
    assert np.abs(base.astype(int) - subject.picture).mean() < 2
    assert np.abs(picture.astype(int) - base).mean() > 1


def test_every_slider_repaints_and_every_class_differs(tab: EditTab, at_hand: Visitor) -> None:
    seen = {addresses(dragged(tab, at_hand, *asked(tab, at_hand)), tab)[1]}
    count = 1
    for name, control in tab.services.models.controls.items():
        for key in [name] if control.binary else [f"{name}:{target}" for target in control.classes]:
            update = dragged(tab, at_hand, *asked(tab, at_hand, strengths={key: control.limits[1]}))
            assert update[tab.notice] == ""
            seen.add(addresses(update, tab)[1])
            count += 1
    assert len(seen) == count


def test_the_keep_list_is_the_controls_own_while_all_is_ticked(tab: EditTab, at_hand: Visitor) -> None:
    models = tab.services.models
    editor = editor_of(models, subject_of(at_hand))
    for keep, ticked in ((None, list(own_keep(models.controls))), (("gender",), ["gender"])):
        values = asked(tab, at_hand, strengths={"smile": 2.0}, keep=keep)
        assert values[3] == ticked
        _, subject, edit = tab.read(at_hand, *values[3:])
        assert edit.keep == keep
        assert np.array_equal(edited_picture(models, subject, edit), editor.edit({"smile": 2.0}, keep=keep))


def test_a_dragged_picture_is_small_and_a_settled_one_in_full(tab: EditTab, at_hand: Visitor,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("page.tabs.edit.PREVIEW_SIDE", 128)  # Of this photo the part that is shown has 260.
    values = asked(tab, at_hand, pasted=True, strengths={"smile": 2.0})
    first, rested = dragged(tab, at_hand, *values), settled(tab, at_hand, values)
    small, full = shown(first, tab)[1], shown(rested, tab)[1]
    assert max(small.shape) == 128
    assert 128 < max(full.shape) <= VIEW_SIDE
    assert at_hand.edit.strengths == {"smile": 2.0}
    late = dragged(tab, at_hand, *values)  # Its turn comes after the full one: it must not take its place.
    assert late == gr.skip()


def test_a_dragged_picture_is_a_preview(tab: EditTab, at_hand: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tab.services.models
    monkeypatch.setattr(models.timing, "preview_side", 64)
    values = asked(tab, at_hand, strengths={"smile": 2.0})
    small, full = (shown(update, tab) for update in (dragged(tab, at_hand, *values), settled(tab, at_hand, values)))
    assert [len(picture) for picture in (*small, *full)] == [64, 64, 128, 128]
    preview = preview_picture(models, subject_of(at_hand), Edit(strengths={"smile": 2.0}))
    assert np.abs(small[1].astype(int) - preview).mean() < 3  # JPEG.


def test_a_preview_of_no_edit_leaves_the_photo_alone(inverted: Visitor) -> None:
    subject = subject_of(inverted)
    still = made_smaller(subject.picture, 64)
    before, after = pasted_pictures(subject, still, side=PREVIEW_SIDE)
    assert np.array_equal(before, after)
    assert not np.array_equal(before, pasted_pictures(subject, 255 - still, side=PREVIEW_SIDE)[1])


def test_one_slider_is_sent_and_the_others_are_known(tab: EditTab, at_hand: Visitor) -> None:
    values = asked(tab, at_hand, strengths={"smile": 2.0, "gender": -1.0})
    full = shown(dragged(tab, at_hand, *values), tab)
    expected = at_hand.wanted
    dragged(tab, at_hand, *asked(tab, at_hand, strengths={"gender": -1.0}))
    update = asyncio.run(slid(tab, at_hand, "smile", 2.0))
    assert at_hand.wanted == expected
    before, after = update[tab.side.before], update[tab.side.after]
    assert Path(before["path"]).exists()
    assert "path" not in after  # Nothing is written of a picture that lasts for a moment.
    picture = within(after)
    assert picture.shape == full[1].shape
    assert np.abs(picture.astype(int) - full[1]).mean() < 3  # JPEG.
    again = asyncio.run(slid(tab, at_hand, "smile", 1.0))
    assert again[tab.moved] > update[tab.moved]  # Each one begins the rest anew.


def test_an_older_picture_of_another_slider_is_not_shown(tab: EditTab, at_hand: Visitor) -> None:
    dragged(tab, at_hand, *asked(tab, at_hand))

    async def both() -> list[Any]:
        return await asyncio.gather(slid(tab, at_hand, "smile", 2.0), slid(tab, at_hand, "gender", -1.0))

    earlier, later = asyncio.run(both())
    assert earlier == gr.skip()
    assert later[tab.side.after]
    assert at_hand.wanted is not None
    assert at_hand.wanted[0].strengths == {"smile": 2.0, "gender": -1.0}


def test_side_by_side_a_moving_slider_paints_the_pair(tab: EditTab, at_hand: Visitor) -> None:
    dragged(tab, at_hand, *asked(tab, at_hand, look=BESIDE))
    update = asyncio.run(slid(tab, at_hand, "smile", 1.0, look=BESIDE))
    assert update[tab.side.after] is update[tab.side.split] is None
    assert within(update[tab.side.pair]).shape[1] > 2 * within(update[tab.side.pair]).shape[0]


def test_only_the_last_of_several_moves_settles(tab: EditTab, at_hand: Visitor) -> None:
    async def moves() -> list[Any]:
        found = await asyncio.gather(*(resting(tab, at_hand, asked(tab, at_hand, strengths={"smile": value}))
                                       for value in (0.5, 1.0, 1.5)))
        return [*found, await tab.on_measured(at_hand)]

    *earlier, last, numbers = asyncio.run(moves())
    assert earlier == [gr.skip(), gr.skip()]
    assert "smile +1.5" in {**numbers, **last}[tab.side.effect]
    assert subject_of(at_hand).history.undo() == Edit()  # The moves on the way are no edits.


def test_a_click_while_a_move_comes_to_rest_is_not_lost(tab: EditTab, at_hand: Visitor) -> None:
    values = asked(tab, at_hand, compare=INVERSION, strengths={"smile": 1.0})
    dragged(tab, at_hand, *values)

    async def both() -> list[Any]:  # The rest was asked for before the click, and comes to the server after it.
        return await asyncio.gather(tab.on_drag(at_hand, BEFORE, *values[1:]), tab.on_settle(at_hand))

    moved, rested = asyncio.run(both())
    crop = subject_of(at_hand).inversion.crop
    for update in (moved, rested):
        if tab.side.before in update:
            assert np.abs(shown(update, tab)[0].astype(int) - crop).mean() < 2  # JPEG.
    assert tab.side.before in rested
    assert at_hand.settled is not None
    assert at_hand.settled[1] == BEFORE


def test_a_click_that_lets_go_of_a_slider_is_not_lost(tab: EditTab, at_hand: Visitor) -> None:
    values = asked(tab, at_hand, compare=INVERSION, strengths={"smile": 1.0})
    settled(tab, at_hand, values)
    dragged(tab, at_hand, BEFORE, *values[1:])
    late = asyncio.run(slid(tab, at_hand, "smile", 1.0, compare=INVERSION))  # Sent before the click, it comes after it.
    assert late == gr.skip()
    assert at_hand.wanted is not None
    assert at_hand.wanted[1] == BEFORE


def test_a_pin_is_what_a_late_rest_shows(tab: EditTab, at_hand: Visitor) -> None:
    values = asked(tab, at_hand, strengths={"smile": 1.0})
    dragged(tab, at_hand, *values)
    tab.on_pin(at_hand, *values)
    asyncio.run(tab.on_settle(at_hand))
    assert at_hand.settled is not None
    assert at_hand.settled[1] == f"{PINNED}0"


def test_a_split_has_both_pictures_and_a_strip_shows_the_way(tab: EditTab, drawn: Visitor) -> None:
    values = asked(tab, drawn, strengths={"smile": 2.0}, look=SPLIT)
    split = settled(tab, drawn, values)
    before, after = split[tab.side.split]["value"]
    assert split[tab.side.whole]["visible"] is False
    assert Path(before).read_bytes() != Path(after).read_bytes()
    said = tab.on_look(drawn, WAY, BEFORE, False, STRIP)
    assert said[tab.side.strip]["label"] == "The way to smile +2"
    assert said[tab.side.split]["visible"] is False
    film = tab.on_look(drawn, WAY, BEFORE, False, FILM)[tab.side.film]
    assert Path(film["value"]).read_bytes()[4:8] == b"ftyp"
    visible = {part: update.get("visible") for part, update in tab.on_undo(drawn, BEFORE, False, FILM).items()
               if part in (tab.side.whole, tab.side.film)}
    assert visible == {tab.side.whole: True, tab.side.film: False}  # It shows another edit than what is set now.
    tab.on_reset(drawn, BEFORE, False, WHOLE)
    assert "nothing is changed yet" in tab.on_look(drawn, WAY, BEFORE, False, FILM)[tab.notice]


def test_full_size_is_the_whole_photo_with_all_its_pixels(tab: EditTab, at_hand: Visitor, astronaut: Photo) -> None:
    settled(tab, at_hand, asked(tab, at_hand, pasted=True, strengths={"smile": 2.0}))
    html = tab.on_full(at_hand, True)[tab.side.dialog]
    after, before = (Path(unquote(path)) for path in re.findall("file=([^']*)'", html))
    assert np.abs(np.asarray(Image.open(before)).astype(int) - astronaut.pixels).mean() < 2
    assert Image.open(after).size == (astronaut.width, astronaut.height)
    assert after.read_bytes() != before.read_bytes()


def test_two_edits_are_compared_side_by_side(tab: EditTab, at_hand: Visitor) -> None:
    tab.on_pin(at_hand, *asked(tab, at_hand, strengths={"smile": 2.0}))
    update = tab.on_pin(at_hand, *asked(tab, at_hand, strengths={"gender": 2.0}))
    assert subject_of(at_hand).pins == [Edit(strengths={"smile": 2.0}), Edit(strengths={"gender": 2.0})]
    assert update[tab.side.compare]["value"] == f"{PINNED}1"
    assert ("pinned: smile +2", f"{PINNED}0") in update[tab.side.compare]["choices"]
    values = asked(tab, at_hand, compare=f"{PINNED}0", strengths={"age": 2.0})
    pinned, now = shown(dragged(tab, at_hand, *values), tab)
    for picture, name in ((pinned, "smile"), (now, "age")):
        expected = edited_picture(tab.services.models, subject_of(at_hand), Edit(strengths={name: 2.0}))
        assert np.abs(picture.astype(int) - expected).mean() < 2
    values[2] = BESIDE
    beside = dragged(tab, at_hand, *values)
    pair = np.asarray(Image.open(beside[tab.side.pair]["value"]))
    assert beside[tab.side.whole]["visible"] is False
    assert pair.shape[1] == pinned.shape[1] + now.shape[1] + 8
    assert np.abs(pair[:, :pinned.shape[1]].astype(int) - pinned).mean() < 3


def test_the_part_around_a_face_is_pasted_as_in_the_whole_photo(inverted: Visitor) -> None:
    """What the page shows of a photo is the same as what is saved of it."""
    subject = subject_of(inverted)
    edited = np.clip(subject.picture.astype(int) + 40, 0, 255).astype(np.uint8)
    before, after = pasted_pictures(subject, edited, side=VIEW_SIDE)
    _, whole = pasted_pictures(subject, edited)
    part, [face] = around(subject.photo, subject.face)
    start = (subject.face.quad - face.quad)[0].round().astype(int)
    height, width = part.pixels.shape[:2]
    assert max(height, width) <= VIEW_SIDE
    assert np.array_equal(before, subject.photo.pixels[start[1]:start[1] + height, start[0]:start[0] + width])
    difference = after.astype(int) - whole[start[1]:start[1] + height, start[0]:start[0] + width]
    assert np.abs(difference).max() <= 1
    assert np.abs(after.astype(int) - before).max() > 20


def test_a_preview_is_what_paste_back_makes_of_each_edit(inverted: Visitor) -> None:
    subject = subject_of(inverted)
    photo, [face] = scaled(*around(subject.photo, subject.face), PREVIEW_SIDE)
    for change in (40, -40):
        edited = np.clip(subject.picture.astype(int) + change, 0, 255).astype(np.uint8)
        before, after = pasted_pictures(subject, edited, side=PREVIEW_SIDE)
        assert np.array_equal(before, photo.pixels)
        assert np.array_equal(after, paste_back(photo, face, edited, original=subject.picture))


# ---- what an edit did

def test_an_edit_is_told_in_numbers(tab: EditTab, drawn: Visitor) -> None:
    models, subject = tab.services.models, subject_of(drawn)
    edit = Edit(strengths={"smile": -3.0})
    effect = effect_of(models, subject, edit, edited_picture(models, subject, edit))
    assert [measure.attribute for measure in effect.measures] == sorted(models.controls)
    smile = next(measure for measure in effect.measures if measure.attribute == "smile")
    assert smile.asked
    pictures = np.stack([subject.picture, edited_picture(models, subject, edit)])
    seen = load_scorer("bundled")(from_pixels(pictures))["smile"].softmax(dim=1)[:, 1]
    assert [smile.before[1], smile.after[1]] == pytest.approx(seen.tolist(), abs=1e-4)
    assert 0 < effect.identity < 1
    nothing = effect_of(models, subject, Edit(), subject.picture)
    assert nothing.identity == pytest.approx(0, abs=1e-6)
    assert not any(measure.changed for measure in nothing.measures)
    told = settled(tab, drawn, asked(tab, drawn, strengths={"smile": -3.0}))[tab.side.effect]
    assert "smile \N{MINUS SIGN}3" in told
    assert f"Identity distance {effect.identity:.2f}" in told
    assert "below 20 points a difference says little" in told


@pytest.mark.parametrize(("after", "said"), [
    ((0.9, 0.1, 0.0), "Glasses (none): yes."), ((0.4, 0.5, 0.1), "Glasses (none): a little."),
    ((0.1, 0.9, 0.0), "Glasses (none): no change that can be told."),
])
def test_of_several_classes_the_one_that_was_asked_for_is_named(after: tuple[float, ...], said: str) -> None:
    measure = Measure("glasses", ("none", "clear", "dark"), (0.1, 0.9, 0.0), after, asked=True)
    assert said in effect_in_words(Effect((measure,), 0.1), Edit(strengths={"glasses:none": 1.0}))


def test_what_the_classifier_does_not_know_is_measured_by_its_own_control(
        tab: EditTab, drawn: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("page.jobs.measuring.is_told", lambda name, classes: name == "gender")
    models, subject = tab.services.models, subject_of(drawn)
    edit = Edit(strengths={"smile": -3.0})
    effect = effect_of(models, subject, edit, edited_picture(models, subject, edit))
    smile = next(measure for measure in effect.measures if measure.attribute == "smile")
    editor = editor_of(models, subject)
    scores = [editor.scores(latent)["smile"][0, 0] for latent in (editor.latent, editor.displace(edit).latent)]
    assert [smile.before[1], smile.after[1]] == pytest.approx([float(score.sigmoid()) for score in scores], abs=1e-5)
    assert smile.after[1] < smile.before[1]


def test_before_an_edit_it_is_said_how_to_begin(tab: EditTab, drawn: Visitor, inverted: Visitor) -> None:
    for visitor in (drawn, inverted):
        assert "move a slider" in tab.show_subject(visitor)[tab.side.effect]


def test_an_unwanted_change_is_seen(tab: EditTab, drawn: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"smile": ((0.9, 0.1), (0.6, 0.4)), "gender": ((0.5, 0.5), (0.4, 0.6))}
    monkeypatch.setattr("page.jobs.measuring._seen", lambda *_: found)
    monkeypatch.setattr("page.jobs.measuring._probabilities", lambda *_: {})
    models, subject = tab.services.models, subject_of(drawn)
    for asked_for, seen in (("age", ["smile"]), ("smile", [])):
        effect = effect_of(models, subject, Edit(strengths={asked_for: 0.1}), subject.picture)
        assert [measure.attribute for measure in effect.unwanted] == seen


@pytest.mark.slow
def test_a_real_face_smiles_when_asked(bundled_models: None) -> None:
    models, visitor = Services(device="cpu").models, Visitor()
    draw_sample(visitor, models.generator, 5, 0.7)
    edit = Edit(strengths={"smile": 1.0})
    effect = effect_of(models, subject_of(visitor), edit, edited_picture(models, subject_of(visitor), edit))
    smile = next(measure for measure in effect.measures if measure.attribute == "smile")
    assert smile.after[1] > smile.before[1] + 0.4
    assert effect.identity < 0.6


# ---- undo

def test_undo_and_redo_go_through_the_edits(tab: EditTab, drawn: Visitor) -> None:
    edits = [Edit(strengths={"smile": 1.0}), Edit(strengths={"smile": 1.0, "age": 1.0})]
    pictures = []
    for edit in edits:
        update = settled(tab, drawn, asked(tab, drawn, strengths=edit.strengths))
        pictures.append(addresses(update, tab)[1])
    assert (update[tab.side.undo]["interactive"], update[tab.side.redo]["interactive"]) == (True, False)
    view = (BEFORE, False, WHOLE)
    back = tab.on_undo(drawn, *view)
    assert addresses(back, tab)[1] == pictures[0]
    assert drawn.edit == edits[0]
    values = [back.get(part, {}).get("value") for part in tab.sliders.inputs]
    assert tab.sliders.read(tab.services.models, values) == edits[0]  # The sliders follow.
    start = tab.on_undo(drawn, *view)
    assert start[tab.side.undo]["interactive"] is False
    assert tab.on_undo(drawn, *view)[tab.side.undo]["interactive"] is False  # There is nothing before it.
    tab.on_redo(drawn, *view)
    assert addresses(tab.on_redo(drawn, *view), tab)[1] == pictures[1]
    assert tab.on_reset(drawn, *view)[tab.side.undo]["interactive"] is True  # Reset can be undone, too.
    assert drawn.edit == Edit()
    assert addresses(tab.on_undo(drawn, *view), tab)[1] == pictures[1]


def test_another_subject_begins_anew(tab: EditTab, drawn: Visitor) -> None:
    settled(tab, drawn, asked(tab, drawn, strengths={"smile": 1.0}))
    update = tab.on_draw(drawn, 6, 0.7)
    assert drawn.edit == Edit()
    assert not subject_of(drawn).history.can_undo
    assert update[tab.side.undo]["interactive"] is False
    assert update[tab.edit_area]["visible"] is True
    assert all(update[slider]["value"] == 0 for slider in tab.sliders.strengths)


# ---- downloads

def link_of(update: dict[Any, Any], tab: EditTab, name: str) -> Path:
    return Path(update[tab.outputs.links[name]])


def save(tab: EditTab, visitor: Visitor, *, pasted: bool = False, ending: str = ".png", mark: bool = True,
         **edit: Any) -> Path:
    values = asked(tab, visitor, **edit)[3:]
    return link_of(tab.outputs.on_picture(visitor, pasted, ending, mark, *values), tab, "picture")


def test_the_downloaded_photo_changes_in_the_face_alone_and_names_its_recipe(tab: EditTab, at_hand: Visitor,
                                                                            astronaut: Photo) -> None:
    path = save(tab, at_hand, pasted=True, strengths={"smile": 2.0})
    assert path.name == "astronaut-edited.png"
    changed = (np.asarray(Image.open(path)) != astronaut.pixels).any(axis=2)
    corners = at_hand.faces[0].quad
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    assert changed.any()
    changed[max(top, 0):bottom + 1, max(left, 0):right + 1] = False
    assert not changed.any()
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    recipe.check(editor_of(tab.services.models, subject_of(at_hand)))
    assert recipe.edit.strengths == {"smile": 2.0}
    assert recipe.source.photo == astronaut.sha256
    values = asked(tab, at_hand, strengths={"smile": 2.0})[3:]
    stored = link_of(tab.outputs.on_recipe(at_hand, *values), tab, "recipe")
    assert parse_recipe(stored.read_text()) == recipe


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_the_mark_says_that_a_generator_edited_the_picture(tab: EditTab, drawn: Visitor, ending: str) -> None:
    for mark in (True, False):
        path = save(tab, drawn, ending=ending, mark=mark, strengths={"smile": 1.0})
        assert (b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes()) is mark
        assert "gradctrl" in read_picture_metadata(path)
        if mark:
            found = Image.open(path).info.get("xmp", Image.open(path).info.get("XML:com.adobe.xmp"))
            assert (found.decode() if isinstance(found, bytes) else found) == MARK


def test_a_sample_is_edited_and_its_recipe_reproduces_the_download(tab: EditTab) -> None:
    visitor = Visitor()
    update = tab.on_surprise(visitor, 0.7)
    assert update[tab.edit_area]["visible"] is True
    assert update[tab.side.pasted]["visible"] is False
    hair = tab.services.models.controls["hair"]
    path = save(tab, visitor, strengths={"smile": -1.0, "hair:blond": hair.limits[1]})
    assert path.name == f"sample-{update[tab.photo.seed]}-edited.png"
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    editor = Editor(tab.services.models.generator, tab.services.models.controls)
    assert np.array_equal(reproduce(recipe, editor), np.asarray(Image.open(path)))


def test_a_strip_goes_the_way_to_the_edit_or_through_an_attribute(tab: EditTab, drawn: Visitor) -> None:
    models, subject, edit = tab.services.models, subject_of(drawn), Edit(strengths={"smile": 2.0})
    way, said = strip_of(models, subject, edit, WAY)
    side = subject.picture.shape[0]
    assert (way.shape, said) == ((side, 7 * side, 3), "The way to smile +2")
    for part, picture in ((way[:, :side], subject.picture), (way[:, -side:], edited_picture(models, subject, edit))):
        assert np.abs(part.astype(int) - picture).max() <= 1
    assert strip_of(models, subject, edit, "hair:blond")[1].startswith("hair: blond at +0, ")
    with pytest.raises(InputError, match="nothing is changed yet"):
        strip_of(models, subject, Edit(), WAY)


@pytest.mark.parametrize(("ending", "start"), [(".gif", b"GIF8"), (".mp4", b"\0\0\0 ftyp")])
def test_a_film_of_the_path(tab: EditTab, at_hand: Visitor, ending: str, start: bytes) -> None:
    values = asked(tab, at_hand, strengths={"smile": 2.0})[3:]
    path = link_of(tab.outputs.on_film(at_hand, True, WAY, ending, *values), tab, "film")
    assert path.read_bytes()[:len(start)] == start
    assert path.name == f"astronaut-film{ending}"


def test_a_session_goes_on_where_it_was(tab: EditTab, at_hand: Visitor, tmp_path: Path) -> None:
    wanted = {"smile": 2.0, "hair:blond": 0.5}
    for with_photo in (True, False):
        values = asked(tab, at_hand, strengths=wanted)[3:]
        path = link_of(tab.outputs.on_session(at_hand, with_photo, *values), tab, "session")
        assert path.name == "astronaut.session.safetensors"
        assert (load_session(path).photo is not None) is with_photo
        copied = tmp_path / "tomorrow.safetensors"  # The page deletes what it was given.
        copied.write_bytes(path.read_bytes())
        another = Visitor()
        update = tab.on_resume(another, {"path": str(copied), "orig_name": "tomorrow.safetensors"})
        assert ("was saved without its photo" in update[tab.notice]) is not with_photo
        assert another.edit.strengths == wanted
        assert update[tab.side.pasted]["visible"] is with_photo
        models = tab.services.models
        assert np.array_equal(edited_picture(models, subject_of(another), another.edit),
                              edited_picture(models, subject_of(at_hand), Edit(strengths=wanted)))
        if with_photo:
            original = save(tab, at_hand, pasted=True, strengths=wanted)
            again = save(tab, another, pasted=True, strengths=wanted)
            assert again.read_bytes() == original.read_bytes()


def test_a_session_of_a_sample_is_a_few_kilobytes(tab: EditTab, drawn: Visitor) -> None:
    values = asked(tab, drawn, strengths={"age": 1.0})[3:]
    path = link_of(tab.outputs.on_session(drawn, False, *values), tab, "session")
    assert path.stat().st_size < 4000
    another = Visitor()
    resume(another, load_session(path), tab.services.models.generator)
    assert np.array_equal(subject_of(another).picture, subject_of(drawn).picture)


def test_what_is_no_session_is_named_and_changes_nothing(tab: EditTab, drawn: Visitor, tmp_path: Path) -> None:
    (tmp_path / "words.safetensors").write_bytes(b"these are words")
    before = dict(vars(drawn))
    for file, said in (({"path": str(tmp_path / "words.safetensors"), "orig_name": "<i>mine"}, "&lt;i&gt;mine"),
                       (None, "no session file arrived")):
        assert said in tab.on_resume(drawn, file)[tab.notice]
    after = dict(vars(drawn))
    assert {**before, "seen": 0} == {**after, "seen": 0}


# ---- nothing there

def test_a_visitor_whose_time_is_over_is_told_so(tab: EditTab) -> None:
    values = asked(tab, Visitor(), strengths={"smile": 1.0})
    assert "choose the photo again" in dragged(tab, Visitor(), *values)[tab.notice]
    assert asyncio.run(tab.on_settle(Visitor())) == gr.skip()
    for handler, own in ((tab.outputs.on_picture, (False, ".png", True)), (tab.outputs.on_recipe, ()),
                         (tab.outputs.on_film, (False, WAY, ".gif")), (tab.outputs.on_session, (False,))):
        with pytest.raises(gr.Error, match="choose the photo again"):  # So that no link is followed.
            handler(Visitor(), *own, *values[3:])
    assert "choose it again" in tab.on_choose(Visitor(), 1)[tab.notice]
    assert "no photo arrived" in tab.on_upload(Visitor(), None)[tab.notice]
