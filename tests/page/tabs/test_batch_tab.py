"""The handlers of the tab Batch, called as Gradio calls them: properties, the queue, privacy, then bad input."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from batch import Row
from editing import Edit, PhotoSource, Recipe, SampleSource, save_recipe
from inversion import PRESETS, InversionCache, Projector, ProjectorSettings, read_picture_metadata
from page import KEPT_SECONDS
from page.jobs.executors import MOST_WAITING
from page.jobs.forgetting import forget, tidy
from page.jobs.services import Services
from page.state import files
from page.state.visitor import EditSubject, Visitor
from page.style import CSS
from page.tabs import batch_words as words
from page.tabs.batch import OF_PAGE, OF_RECIPE, BatchTab
from tests.page.handling import OtherInversion

QUICK = ProjectorSettings(steps=3, start="samples", samples=2, plateau=0.0)
LONG = ProjectorSettings(steps=5000, start="samples", samples=2, plateau=0.0)
EDIT = Edit(strengths={"smile": 2.0, "hair:blond": 1.0})


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return Services(device="cpu", cache=InversionCache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def tab(services: Services) -> BatchTab:
    with gr.Blocks(analytics_enabled=False), gr.Tab("Batch") as selected:
        made = BatchTab(services, gr.State(Visitor()))
        made.follow(selected)
        return made


@pytest.fixture(autouse=True)
def _short_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "fast", QUICK)
    monkeypatch.setitem(PRESETS, "faithful", LONG)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    visitor = Visitor()
    visitor.begin_edits(EditSubject(name="sample-0", source=SampleSource(seed=0, truncation=0.7), generator="",
                                    latent=torch.zeros(1), picture=np.zeros((8, 8, 3), np.uint8), edit=EDIT))
    yield visitor
    files.forget(visitor.folder)


@pytest.fixture
def uploads() -> Callable[..., list[str]]:
    """Puts files where Gradio puts uploads."""
    def put(**contents: bytes) -> list[str]:
        paths = []
        for number, (name, data) in enumerate(contents.items()):
            path = files.private_dir() / f"upload-{number}-{time.time_ns()}" / name.replace("_", ".")
            path.parent.mkdir()
            path.write_bytes(data)
            paths.append(str(path))
        return paths
    return put


def chosen(tab: BatchTab, visitor: Visitor, paths: list[str]) -> list[str]:
    return tab.on_upload(visitor, [], paths)[tab.chosen]


def run(tab: BatchTab, visitor: Visitor, paths: list[str], preset: str = "fast", edit_from: str = OF_PAGE,
        recipe: Any = None) -> Iterator[dict[Any, Any]]:
    tab.on_begin(visitor, paths, edit_from, recipe)
    return tab.on_run(visitor, paths, edit_from, recipe, True, "largest", preset, "png")


def mine(visitor: Visitor, pattern: str = "*") -> list[Path]:
    return [path for path in (files.private_dir() / visitor.folder).rglob(pattern) if path.is_file()]


# ---- a batch

def test_from_photos_to_a_zip(tab: BatchTab, visitor: Visitor, uploads: Callable[..., list[str]],
                              astronaut_file: Path) -> None:
    uploaded = uploads(me_jpg=astronaut_file.read_bytes(), words_png=b"these are words")
    update = tab.on_upload(visitor, [], uploaded)
    assert "2 photos chosen" in update[tab.chosen_words]
    paths = update[tab.chosen]
    assert not any(Path(path).exists() for path in uploaded)  # Nobody else's upload of the same photo is theirs.
    begun = tab.on_begin(visitor, paths, OF_PAGE, None)
    assert begun[tab.cancel]["visible"] is True
    assert begun[tab.start]["visible"] is False
    updates = list(tab.on_run(visitor, paths, OF_PAGE, None, True, "largest", "fast", "png"))
    last = updates[-1]
    assert "1 of 2 done, 1 failed" in last[tab.status]
    assert "is not a JPEG, PNG or WebP" in last[tab.table]
    assert last[tab.table].count("<img") == 2
    assert last[tab.download]["visible"] is True
    assert last[tab.start]["visible"] is True
    assert last[tab.cancel]["visible"] is False
    assert any("inverting" in str(update.get(tab.table)) for update in updates)
    link = tab.on_download(last[tab.results])[tab.link]
    with zipfile.ZipFile(link) as archive:
        assert sorted(archive.namelist()) == ["batch.csv", "batch.jsonl", "edit.json",
                                              "latents/me.latent.safetensors", "pictures/me-edited.png"]
        archive.extract("pictures/me-edited.png", Path(link).parent)
    texts = read_picture_metadata(Path(link).parent / "pictures" / "me-edited.png")
    assert b"compositeWithTrainedAlgorithmicMedia" in (Path(link).parent / "pictures" / "me-edited.png").read_bytes()
    assert '"smile": 2.0' in texts["gradctrl"]
    kept = sorted(path.name for path in mine(visitor) if "pictures" not in path.parts)
    assert kept == ["0-0-after.jpg", "0-0-before.jpg", "edited-faces.zip"]  # No photo, no latent beside it.


def test_stored_latents_and_an_earlier_batchs_zip_need_no_inversion(
        tab: BatchTab, visitor: Visitor, uploads: Callable[..., list[str]], astronaut_file: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    *_, last = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=astronaut_file.read_bytes() + b"i")))
    zipped = Path(last[tab.results]).read_bytes()
    with zipfile.ZipFile(last[tab.results]) as archive:
        latent = archive.read("latents/me.latent.safetensors")
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted again"))
    [upload, other] = uploads(you=latent, batch_zip=zipped)
    Path(upload).rename(Path(upload).with_name("you.latent.safetensors"))
    update = tab.on_upload(visitor, [], [str(Path(upload).with_name("you.latent.safetensors")), other])
    assert "1 ZIP and 1 latent chosen" in update[tab.chosen_words]
    *_, last = run(tab, visitor, update[tab.chosen])
    assert "2 of 2 done" in last[tab.status]
    with zipfile.ZipFile(last[tab.results]) as archive:
        assert sorted(archive.namelist()) == ["batch.csv", "batch.jsonl", "edit.json", "pictures/me-edited.png",
                                              "pictures/you-edited.png"]


def test_what_cancel_leaves_can_be_downloaded(tab: BatchTab, visitor: Visitor, uploads: Callable[..., list[str]],
                                              astronaut_file: Path) -> None:
    paths = chosen(tab, visitor, uploads(bad_png=b"words", me_jpg=astronaut_file.read_bytes(),
                                         other_jpg=astronaut_file.read_bytes() + b"0"))
    last: dict[Any, Any] = {}
    for last in run(tab, visitor, paths, "faithful"):
        if "step" in str(last.get(tab.status)):
            assert tab.on_cancel(visitor)[tab.cancel]["interactive"] is False
    assert "Cancelled: 0 of 3 done, 1 failed" in last[tab.status]
    assert last[tab.download]["visible"] is False
    assert last[tab.results] == ""
    assert not [path for path in mine(visitor) if path.suffix == ".jpg"]  # The photos are gone all the same.


def test_closing_the_stream_ends_the_batch(tab: BatchTab, visitor: Visitor, uploads: Callable[..., list[str]],
                                           astronaut_file: Path) -> None:
    updates = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=astronaut_file.read_bytes())), "faithful")
    while "step" not in str(next(updates).get(tab.status)):
        pass
    updates.close()  # type: ignore[attr-defined]
    assert visitor.batch_stop.is_set()
    for thread in threading.enumerate():
        if thread.name == "batch":
            thread.join(20)
            assert not thread.is_alive()


def test_a_recipe_does_what_the_edit_it_was_made_of_does(tab: BatchTab, visitor: Visitor, services: Services,
                                                         uploads: Callable[..., list[str]], astronaut_file: Path,
                                                         tmp_path: Path) -> None:
    source = PhotoSource(photo="0" * 64, face=0, inversion=QUICK)
    recipe = Recipe.of(source, services.models.generator, services.models.controls, EDIT)
    save_recipe(tmp_path / "r.json", recipe)
    [upload] = uploads(r_json=(tmp_path / "r.json").read_bytes())
    update = tab.on_recipe(visitor, upload)
    assert not Path(upload).exists()
    assert "smile +2, hair: blond +1</b> <span>from r.json" in update[tab.edit_words]
    pictures = []
    for edit_from, given in ((OF_PAGE, None), (OF_RECIPE, update[tab.recipe])):
        paths = chosen(tab, visitor, uploads(me_jpg=astronaut_file.read_bytes()))
        *_, last = run(tab, visitor, paths, edit_from=edit_from, recipe=given)
        with zipfile.ZipFile(last[tab.results]) as archive:
            pictures.append(archive.read("pictures/me-edited.png"))
    assert pictures[0] == pictures[1]


# ---- the queue

def test_another_visitor_has_a_turn_between_two_photos(tab: BatchTab, visitor: Visitor, services: Services,
                                                       uploads: Callable[..., list[str]],
                                                       astronaut_file: Path) -> None:
    data = astronaut_file.read_bytes()
    paths = chosen(tab, visitor, uploads(one_jpg=data + b"1", two_jpg=data + b"2"))
    before = OtherInversion(services.inversions)
    said = []
    updates = run(tab, visitor, paths)
    for update in updates:
        said.append(str(update.get(tab.status)))
        if "waiting for 1 inversion of others" in said[-1]:
            break
    other = OtherInversion(services.inversions)
    before.end()
    assert other.began.wait(30)  # After the first photo, although a second one is there.
    update = next(updates)
    while "1 of 2 done" not in str(update.get(tab.status)):
        update = next(updates)
    while "waiting for 1 inversion of others" not in str(update.get(tab.status)):
        update = next(updates)
    other.end()
    *_, last = updates
    assert "2 of 2 done" in last[tab.status]


def test_a_kept_photo_needs_no_turn_and_a_full_queue_is_no_failure(tab: BatchTab, visitor: Visitor, services: Services,
                                                                  uploads: Callable[..., list[str]],
                                                                  astronaut_file: Path) -> None:
    data = astronaut_file.read_bytes()
    *_, last = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=data)))
    assert "1 of 1 done" in last[tab.status]
    others = [OtherInversion(services.inversions) for _ in range(MOST_WAITING + 1)]
    try:
        *_, last = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=data)))
        assert "1 of 1 done" in last[tab.status]
        updates = run(tab, visitor, chosen(tab, visitor, uploads(new_jpg=data + b"full")))
        while f"waiting for {MOST_WAITING} inversions of others" not in str(next(updates).get(tab.status)):
            pass
    finally:
        for other in reversed(others):
            other.end()
    *_, last = updates
    assert "1 of 1 done" in last[tab.status]


def test_cancel_reaches_a_batch_that_waits(tab: BatchTab, visitor: Visitor, services: Services,
                                           uploads: Callable[..., list[str]], astronaut_file: Path) -> None:
    with OtherInversion(services.inversions):
        updates = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=astronaut_file.read_bytes() + b"w")))
        while "waiting for 1" not in str(next(updates).get(tab.status)):
            pass
        tab.on_cancel(visitor)
        *_, last = updates
    assert "Cancelled: 0 of 1 done" in last[tab.status]


# ---- privacy

def test_forget_ends_the_batch_and_deletes_all(tab: BatchTab, visitor: Visitor, services: Services,
                                               uploads: Callable[..., list[str]], astronaut_file: Path) -> None:
    data = astronaut_file.read_bytes()
    *_, last = run(tab, visitor, chosen(tab, visitor, uploads(kept_jpg=data + b"k")))
    [key] = visitor.cache_keys
    assert services.cache.get(key, services.models.generator) is not None
    folder = files.private_dir() / visitor.folder
    updates = run(tab, visitor, chosen(tab, visitor, uploads(me_jpg=data + b"f")), "faithful")
    while "step" not in str(next(updates).get(tab.status)):
        pass
    forget(visitor, services.cache)
    *_, last = updates
    assert tab.table not in last or "<img" not in last[tab.table]
    assert not folder.exists()
    assert visitor.cache_keys == set()
    assert services.cache.get(key, services.models.generator) is None
    assert "begin again" in tab.on_download(str(folder / "edited-faces.zip"))[tab.notice]
    assert set(tab.on_forget()) <= set(tab.forgotten)


def test_two_visitors_with_the_same_photo_do_not_take_each_others(tab: BatchTab, uploads: Callable[..., list[str]],
                                                                  astronaut_file: Path) -> None:
    first, second = Visitor(), Visitor()
    [path] = uploads(me_jpg=astronaut_file.read_bytes())
    [mine] = files.take_chosen(first.folder, [path])
    Path(path).write_bytes(astronaut_file.read_bytes())  # Gradio gives the same file the same place.
    [theirs] = files.take_chosen(second.folder, [path])
    assert mine != theirs
    files.drop_chosen([mine])
    assert not Path(mine).exists()
    assert Path(theirs).exists()
    files.forget(first.folder)
    files.forget(second.folder)


def test_photos_and_results_are_deleted_after_an_hour(tab: BatchTab, visitor: Visitor,
                                                      uploads: Callable[..., list[str]]) -> None:
    [path] = chosen(tab, visitor, uploads(me_jpg=b"x"))
    folder = files.private_dir() / visitor.folder
    ended = folder / f"{files.BATCH}1" / "edited-faces.zip"
    ended.parent.mkdir()
    for file in (ended, ended.with_name("0-0-before.jpg")):
        file.write_bytes(b"x")
    for seconds, left in ((KEPT_SECONDS - 60, {"me.jpg", ended.name, "0-0-before.jpg"}),
                          (KEPT_SECONDS + 1, {ended.name, "0-0-before.jpg"})):
        for old in (Path(path), ended.parent, ended.with_name("0-0-before.jpg")):
            os.utime(old, (time.time() - seconds,) * 2)
        tidy(folder, KEPT_SECONDS)
        assert {file.name for file in mine(visitor)} == left  # A batch is kept for an hour from its end on.
    for old in (ended, ended.parent):
        os.utime(old, (0, 0))
    tidy(folder, KEPT_SECONDS)
    assert mine(visitor) == []


# ---- bad input, and words

def test_what_is_missing_is_said_and_nothing_runs(tab: BatchTab, visitor: Visitor, uploads: Callable[..., list[str]],
                                                  astronaut_file: Path) -> None:
    assert "no photos arrived" in tab.on_upload(visitor, [], [])[tab.notice]
    assert "the photos are gone" in tab.on_upload(visitor, [], ["/nowhere/me.jpg"])[tab.notice]
    assert "no photos are chosen" in tab.on_begin(visitor, [], OF_PAGE, None)[tab.notice]
    paths = chosen(tab, visitor, uploads(me_jpg=astronaut_file.read_bytes()))
    assert "no recipe yet" in tab.on_begin(visitor, paths, OF_RECIPE, None)[tab.notice]
    assert visitor.subject is not None
    visitor.subject.edit = Edit()
    assert "move one in the tab Edit" in tab.on_begin(visitor, paths, OF_PAGE, None)[tab.notice]
    assert [set(update) for update in tab.on_run(visitor, paths, OF_PAGE, None, True, "largest", "fast", "png")] == [
        {tab.cancel}]
    assert "Nothing yet" in tab.on_select(visitor, OF_PAGE, None)[tab.edit_words]
    visitor.subject.edit = EDIT
    tab.on_clear(paths)
    *_, last = run(tab, visitor, paths)
    assert "the photos are gone" in last[tab.notice]
    assert last[tab.start]["visible"] is True


def test_a_broken_zip_and_an_unknown_preset_are_said(tab: BatchTab, visitor: Visitor,
                                                     uploads: Callable[..., list[str]]) -> None:
    *_, last = run(tab, visitor, chosen(tab, visitor, uploads(all_zip=b"words")))
    assert "all.zip: this ZIP cannot be opened" in last[tab.notice]
    assert str(files.private_dir()) not in last[tab.notice]
    *_, last = run(tab, visitor, chosen(tab, visitor, uploads(all_zip=b"words")), preset="slow")
    assert "no such preset" in last[tab.notice]


def test_a_recipe_of_another_generator_is_refused_by_name(tab: BatchTab, visitor: Visitor, services: Services,
                                                          uploads: Callable[..., list[str]], tmp_path: Path) -> None:
    source = PhotoSource(photo="0" * 64, face=0, inversion=QUICK)
    recipe = replace(Recipe.of(source, services.models.generator, services.models.controls, EDIT), generator="f" * 64)
    save_recipe(tmp_path / "r.json", recipe)
    update = tab.on_recipe(visitor, uploads(r_json=(tmp_path / "r.json").read_bytes())[0])
    assert "r.json: this recipe was made with generator ffffffffffff" in update[tab.notice]
    assert tab.recipe not in update
    update = tab.on_recipe(visitor, uploads(r_json=b"{}")[0])
    assert "r.json: not a recipe" in update[tab.notice]
    assert str(files.private_dir()) not in update[tab.notice]


def test_more_photos_than_a_batch_takes_are_refused(tab: BatchTab, visitor: Visitor,
                                                    uploads: Callable[..., list[str]]) -> None:
    [path] = uploads(me_jpg=b"x")
    update = tab.on_upload(visitor, ["old"] * 500, [path])
    assert "501 files are more than the 500" in update[tab.notice]
    assert tab.chosen not in update
    assert mine(visitor) == []


def test_names_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>'\".jpg"
    row = Row(index=0, name=evil, state="failed", reason=evil)
    busy = Row(index=1, name=evil, state="inverting", step=2, steps=9)
    shown = (words.table([row, busy], {(0, 0): (Path("a'b"), Path("c"))}) + words.progress([row, busy], 3)
             + words.chosen_line([evil]) + words.edit_line(EDIT, recipe=evil))
    assert "<img src=x" not in shown
    assert "'\"" not in shown
    assert "file=a%27b" in shown


@pytest.mark.parametrize(("edit", "expected"), [
    (EDIT, "smile +2, hair: blond +1"), (Edit(strengths={"hair_colour:dark_red": -0.5, "age": 0.0}),
                                         "hair colour: dark red \N{MINUS SIGN}0.5"),
    (Edit(strengths={"smile": 1.25}, keep=("eyeglasses", "age")), "smile +1.25; keeping eyeglasses, age"),
])
def test_an_edit_in_words(edit: Edit, expected: str) -> None:
    assert words.edit_in_words(edit) == expected


def test_progress_in_words() -> None:
    rows = [Row(index=n, name=f"{n}.jpg", state="done" if n < 3 else "waiting") for n in range(11)]
    rows.append(Row(index=11, name="b.jpg", state="failed"))
    assert "3 of 12 done, 1 failed, about 4 min left" in words.progress(rows, 120)
    assert words.counts(rows) == (12, 3, 1, 0)
    assert words.time_in_words(3) == "about 5 s left"
    assert words.time_in_words(9000) == "about 2.5 h left"
    faces = [Row(index=0, name="a", face=0, faces=2, state="done"), Row(index=0, name="a", face=1, faces=2,
                                                                       state="failed", reason="too small")]
    assert words.counts(faces) == (1, 1, 0, 0)
    assert "face 2 of 2" in words.table(faces, {})


def test_the_style_sheet_has_no_comma_that_gradio_would_break() -> None:
    depth = 0
    for line in CSS.splitlines():
        for character in line.partition("{")[0] if "{" in line or not line.startswith(" ") else "":
            depth += (character == "(") - (character == ")")
            assert not (character == "," and depth), line
