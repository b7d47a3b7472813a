"""Kept inversions in the page: a face is inverted once, and whoever asks to be forgotten leaves nothing."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inversion import Photo, Projector
from page import KEPT_SECONDS, SWEEP_SECONDS, launching
from page.jobs import forgetting
from page.jobs.forgetting import Visitors
from page.jobs.inverting import invert as invert_face
from page.layout import Page
from page.state import files
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import asked, dragged, invert, inverting, opened, refining, settled


@pytest.fixture
def tab(keeping: Page) -> EditTab:
    """The tab Edit of a page that keeps inversions."""
    return keeping.edit


@pytest.fixture
def mirrored(tmp_path: Path, astronaut: Photo) -> Path:
    """Another photo."""
    Image.fromarray(np.ascontiguousarray(astronaut.pixels[:, ::-1])).save(tmp_path / "mirrored.png")
    return tmp_path / "mirrored.png"


def save(tab: EditTab, visitor: Visitor) -> Path:
    values = asked(tab, visitor, strengths={"smile": 1.5})[3:]
    return Path(tab.outputs.on_picture(visitor, True, ".png", True, *values)[tab.outputs.links["picture"]])


def shown_to(visitor: Visitor) -> list[Path]:
    folder = files.private_dir() / visitor.folder
    return [path for path in folder.rglob("*") if path.is_file()] if visitor.folder else []


def test_the_same_face_is_inverted_once(tab: EditTab, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, updates = invert(tab, astronaut_file)
    assert tab.services.cache.size()[0] == 1
    assert "kept from before" not in updates[-1][tab.side.status]
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted again"))
    second, updates = invert(tab, astronaut_file)
    assert not any("value=" in str(update.get(tab.side.status)) for update in updates)
    assert "kept from before" in updates[-1][tab.side.status]
    assert updates[-1][tab.edit_area]["visible"] is True
    assert torch.equal(second.subject.latent, first.subject.latent)
    assert np.array_equal(second.subject.picture, first.subject.picture)
    saved = [save(tab, visitor) for visitor in (first, second)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_other_settings_are_another_inversion(tab: EditTab, astronaut_file: Path) -> None:
    invert(tab, astronaut_file)
    second = opened(tab, astronaut_file, "balanced")
    list(invert_face(second, tab.services.models, "balanced", tab.services.inversions, tab.services.cache))
    assert not second.subject.from_cache
    assert second.subject.inversion.steps == 11
    assert tab.services.cache.size()[0] == 2
    third, updates = invert(tab, astronaut_file, "balanced")
    assert len(updates) == 1  # What comes nearest is there: nothing is done quickly first.
    assert third.subject.preset == "balanced"


def test_what_was_stopped_is_not_kept(tab: EditTab, astronaut_file: Path) -> None:
    visitor, updates = refining(tab, astronaut_file)
    tab.on_stop(visitor)
    list(updates)
    assert tab.services.cache.size()[0] == 1  # The one that was made quickly, whole.


def test_a_visitor_who_is_forgotten_leaves_nothing_and_takes_nothing_of_others(keeping: Page, tab: EditTab,
                                                                               astronaut_file: Path,
                                                                               mirrored: Path) -> None:
    other, _ = invert(tab, mirrored)
    visitor, _ = invert(tab, astronaut_file)
    save(tab, visitor)
    tab.outputs.on_session(visitor, True, *asked(tab, visitor)[3:])
    files, others = shown_to(visitor), shown_to(other)
    assert {path.name for path in files} == {"picture.jpg", "astronaut-edited.png", "astronaut.session.safetensors"}
    assert tab.services.cache.size()[0] == 2
    update = keeping.on_forget(visitor)
    assert not any(path.exists() for path in files)
    assert all(path.exists() for path in others)
    assert (visitor.photo, visitor.faces, visitor.chosen, visitor.subject) == (None, [], None, None)
    assert tab.services.cache.size()[0] == 1
    assert "Forgotten" in update[tab.side.empty]["value"]
    gone = (*tab.side.shown, tab.photo.outlined, *tab.outputs.links.values())
    assert [update[part] for part in gone] == [None] * len(gone)
    assert (update[tab.side.status], update[tab.notice]) == ("", "")
    assert update[tab.photo.drop_area]["visible"] is True
    assert not any(update[area]["visible"] for area in (tab.photo.photo_area, tab.side.area, tab.edit_area))
    assert "choose the photo again" in dragged(tab, visitor, *asked(tab, visitor))[tab.notice]
    again, _ = invert(tab, mirrored)
    assert again.subject.from_cache  # The other's.
    once_more, _ = invert(tab, astronaut_file)
    assert not once_more.subject.from_cache
    keeping.on_forget(Visitor())  # Of whom there is nothing yet.


def test_an_inversion_that_runs_or_waits_is_forgotten_too(keeping: Page, tab: EditTab, astronaut_file: Path) -> None:
    visitor, updates = refining(tab, astronaut_file)
    files = shown_to(visitor)
    assert files
    keeping.on_forget(visitor)
    assert not any(tab.notice in update for update in updates)
    assert visitor.subject is None
    assert not any(path.exists() for path in files)
    assert shown_to(visitor) == []
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    keeping.on_forget(visitor)
    assert list(inverting(tab, visitor)) == []
    assert visitor.subject is None
    assert tab.services.cache.size()[0] == 0


def test_an_inversion_that_ends_while_it_is_forgotten_is_not_kept(keeping: Page, tab: EditTab, astronaut_file: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    cache, visitor = tab.services.cache, Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    put = cache.put

    def slow_put(key: str, inversion: Any) -> bool:
        keeping.on_forget(visitor)
        return put(key, inversion)

    monkeypatch.setattr(cache, "put", slow_put)
    list(invert_face(visitor, tab.services.models, "fast", tab.services.inversions, cache))
    assert visitor.subject is None
    assert cache.size()[0] == 0


def test_visitors_share_no_directory(tab: EditTab, astronaut_file: Path) -> None:
    copies = [copy.deepcopy(tab.visitor.value) for _ in range(2)]  # As Gradio makes them.
    assert len({one.folder for one in copies}) == 2
    assert len(copies[0].folder) == 32
    pictures = [tab.on_upload(visitor, {"path": str(astronaut_file)})[tab.photo.outlined]["value"]
                for visitor in copies]
    assert Path(pictures[0]).read_bytes() == Path(pictures[1]).read_bytes()
    assert pictures[0] != pictures[1]


def test_an_upload_is_removed_once_it_is_read_and_nobody_else_s_file(tab: EditTab, astronaut_file: Path,
                                                                     tmp_path: Path) -> None:
    folder = files.private_dir() / "upload"
    folder.mkdir(exist_ok=True)
    for name, content, words in (("me.jpg", astronaut_file.read_bytes(), ""), ("bad.jpg", b"x", "bad.jpg")):
        (folder / name).write_bytes(content)
        assert words in tab.on_upload(Visitor(), {"path": str(folder / name)})[tab.notice]
        assert not (folder / name).exists()
    (folder / "link").symlink_to(astronaut_file)
    tab.on_upload(Visitor(), {"path": str(folder / "link")})
    assert astronaut_file.exists()


def test_the_page_s_cache_promises_what_the_page_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = launching.build_demo().services.cache
    assert cache is not None
    assert cache.folder.parent == files.private_dir()
    assert cache.max_age == KEPT_SECONDS
    assert launching.build_demo().services.cache is cache
    assert launching.build_demo(cache=False).services.cache is None
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 2:
            raise KeyboardInterrupt

    tidied: list[object] = []
    monkeypatch.setattr("page.jobs.forgetting.time.sleep", sleep)
    monkeypatch.setattr("page.jobs.forgetting.tidy", lambda folder, seconds: tidied.append((folder, seconds)))
    monkeypatch.setattr(cache, "tidy", lambda: tidied.append(1))
    with pytest.raises(KeyboardInterrupt):
        forgetting.sweep_for_ever()
    assert (waits, tidied) == ([SWEEP_SECONDS] * 3, [1, (files.private_dir(), KEPT_SECONDS)] * 2)


def test_what_was_written_an_hour_ago_is_deleted_and_nothing_newer(tmp_path: Path) -> None:
    looked_after = ("inversions/a.safetensors", "one/batch-1/pictures/me.png")  # By themselves.
    for name in ("old/picture.jpg", "mixed/old.png", "mixed/new.png", *looked_after):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "just begun").mkdir()
    long_ago = time.time() - KEPT_SECONDS - 1
    for name in ("old/picture.jpg", "mixed/old.png", *looked_after):
        os.utime(tmp_path / name, (long_ago, long_ago))
    forgetting.tidy(tmp_path, KEPT_SECONDS)
    assert not (tmp_path / "old" / "picture.jpg").exists()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        "mixed/new.png", *looked_after}
    assert (tmp_path / "just begun").is_dir()
    os.utime(tmp_path / "old", (long_ago, long_ago))
    forgetting.tidy(tmp_path, KEPT_SECONDS)
    assert not (tmp_path / "old").exists()


def test_who_leaves_is_forgotten_unless_they_come_back(keeping: Page, tab: EditTab, astronaut_file: Path) -> None:
    visitors = Visitors(tab.services.cache, grace=0.2)
    for returns in (True, False):
        visitor, _ = invert(tab, astronaut_file)
        visitors.came(visitor, "one")
        visitors.left("one")
        if returns:
            dragged(tab, visitor, *asked(tab, visitor, strengths={"smile": 1.0}))
        time.sleep(0.6)
        assert (visitor.subject is not None) is returns
        assert bool(shown_to(visitor)) is returns
        assert tab.services.cache.size()[0] == (1 if returns else 0)
    visitors.left("nobody")  # Of whom nothing is known.


def test_whoever_loads_the_tab_again_is_offered_what_they_had(keeping: Page, tab: EditTab,
                                                              astronaut_file: Path) -> None:
    class Request:
        def __init__(self, session: str) -> None:
            self.session_hash = session

    visitor, _ = invert(tab, astronaut_file)
    token = keeping.on_load(visitor, "", Request("first"))[keeping.token]
    edit = asked(tab, visitor, strengths={"smile": 1.0})
    settled(tab, visitor, edit)
    after = Visitor()
    update = keeping.on_load(after, token, Request("second"))
    assert update[tab.photo.again]["visible"] is True
    after_token = update[keeping.token]
    assert after_token != token
    again = keeping.on_again(after, Request("second"))
    assert again[keeping.visitor] is visitor
    assert visitor.edit.strengths == {"smile": 1.0}
    assert again[tab.edit_area]["visible"] is True
    once, twice = Visitor(), Visitor()  # Loaded twice, without going on in between.
    between = keeping.on_load(once, after_token, Request("fourth"))[keeping.token]
    assert keeping.on_load(twice, between, Request("fifth"))[tab.photo.again]["visible"] is True
    files = shown_to(visitor)
    assert files
    keeping.on_forget(twice)  # Also who this was before.
    assert visitor.subject is None
    assert not any(path.exists() for path in files)
    stranger = Visitor()
    assert keeping.on_load(stranger, "guessed", Request("third"))[tab.photo.again]["visible"] is False
    assert "it is gone" in keeping.on_again(stranger, Request("third"))[tab.notice]


def test_forgetting_is_private_and_waits_for_nothing() -> None:
    functions = [function for function in launching.build_demo().fns.values() if function.name == "on_forget"]
    assert [(function.queue, function.api_visibility) for function in functions] == [(False, "private")]
