"""Kept inversions in the page: a face is inverted once, and whoever asks to be forgotten leaves nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

import app
from inversion import InversionCache, Photo, Projector, ProjectorSettings
from page import KEPT_SECONDS, kept, layout, showing
from page.layout import Page
from page.models import OWN, Models
from page.visitor import Visitor

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = ProjectorSettings(steps=12, start="samples", samples=4)
OTHER = replace(QUICK, steps=11)
LONG = replace(QUICK, steps=5000, plateau=0)


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(device="cpu")


@pytest.fixture
def page(models: Models, tmp_path: Path) -> Page:
    """A page that keeps inversions."""
    with gr.Blocks(analytics_enabled=False):
        return Page(Models(models.generator, models.controls, cache=InversionCache(tmp_path / "kept")))


@pytest.fixture(autouse=True)
def _short_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in (("fast", QUICK), ("balanced", OTHER), ("faithful", LONG)):
        monkeypatch.setitem(layout.PRESETS, name, settings)


@pytest.fixture
def mirrored(tmp_path: Path, astronaut: Photo) -> Path:
    """Another photo."""
    Image.fromarray(np.ascontiguousarray(astronaut.pixels[:, ::-1])).save(tmp_path / "mirrored.png")
    return tmp_path / "mirrored.png"


def edit(page: Page, smile: float) -> list[Any]:
    """The inputs of a repaint after the visitor, in the page's order."""
    classes = [page.models.controls[name].classes[0] for name in page.targets]
    return ["crop", True, True, [], OWN, *(smile if name == "smile" else 0 for name in page.strengths), *classes]


def invert(page: Page, photo: Path, preset: str = "fast") -> tuple[Visitor, list[dict[Any, Any]]]:
    """A new visitor who inverts a photo, and what is shown meanwhile."""
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(photo)})
    page.on_begin(visitor)
    return visitor, list(page.on_invert(visitor, preset))


def shown_to(visitor: Visitor) -> list[Path]:
    folder = showing.private_dir() / visitor.folder
    return [path for path in folder.rglob("*") if path.is_file()] if visitor.folder else []


def test_the_same_face_is_inverted_once(page: Page, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, updates = invert(page, astronaut_file)
    assert page.models.cache.size()[0] == 1
    assert "kept from before" not in updates[-1][page.status]
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted again"))
    second, updates = invert(page, astronaut_file)
    assert not any("value=" in str(update.get(page.status)) for update in updates)
    assert "kept from before" in updates[-1][page.status]
    assert updates[-1][page.edit_area]["visible"] is True
    assert updates[-1][page.invert]["visible"] is True
    assert torch.equal(second.subject.latent, first.subject.latent)
    assert np.array_equal(second.subject.picture, first.subject.picture)
    recipes = [page._recipe(visitor.subject, {"smile": 1.0}, None, OWN) for visitor in (first, second)]
    assert recipes[0] == recipes[1]
    saved = [Path(page.on_save_picture(visitor, *edit(page, 1.5))[page.picture_link])
             for visitor in (first, second)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


def test_other_settings_are_another_inversion(page: Page, astronaut_file: Path) -> None:
    invert(page, astronaut_file)
    second, _ = invert(page, astronaut_file, "balanced")
    assert not second.subject.kept
    assert second.subject.inversion.steps == 11
    assert page.models.cache.size()[0] == 2


def test_what_was_stopped_is_not_kept(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    page.on_stop(visitor)
    list(page.on_invert(visitor, "faithful"))
    assert visitor.subject.inversion.steps == 1
    assert page.models.cache.size()[0] == 0


def test_a_visitor_who_is_forgotten_leaves_nothing_and_takes_nothing_of_others(page: Page, astronaut_file: Path,
                                                                               mirrored: Path) -> None:
    other, _ = invert(page, mirrored)
    visitor, _ = invert(page, astronaut_file)
    page.on_save_picture(visitor, *edit(page, 1.0))
    page.on_save_recipe(visitor, *edit(page, 1.0))
    files, others = shown_to(visitor), shown_to(other)
    assert {path.name for path in files} == {"picture.jpg", "astronaut-edited.png", "astronaut-edited.json"}
    assert page.models.cache.size()[0] == 2
    update = page.on_forget(visitor)
    assert not any(path.exists() for path in files)
    assert all(path.exists() for path in others)
    assert (visitor.photo, visitor.faces, visitor.chosen, visitor.subject) == (None, [], None, None)
    assert page.models.cache.size()[0] == 1
    assert "Forgotten" in update[page.empty]["value"]
    assert [update[part] for part in (page.result, page.outlined, page.picture_link, page.recipe_link)] == [None] * 4
    assert (update[page.status], update[page.notice]) == ("", "")
    assert update[page.drop_area]["visible"] is True
    assert not any(update[area]["visible"] for area in (page.photo_area, page.result_area, page.edit_area))
    assert "choose the photo again" in page.on_paint(visitor, *edit(page, 1.0))[page.notice]
    again, _ = invert(page, mirrored)
    assert again.subject.kept  # The other's.
    once_more, _ = invert(page, astronaut_file)
    assert not once_more.subject.kept
    page.on_forget(Visitor())  # Of whom there is nothing yet.


def test_an_inversion_that_runs_or_waits_is_forgotten_too(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    updates = page.on_invert(visitor, "faithful")
    while "step" not in next(updates)[page.status]:
        pass
    files = shown_to(visitor)
    assert files
    page.on_forget(visitor)
    last = list(updates)[-1]
    assert last[page.stop]["visible"] is False
    assert last.get(page.notice, "") == ""
    assert visitor.subject is None
    assert not any(path.exists() for path in files)
    assert shown_to(visitor) == []
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    page.on_forget(visitor)
    assert list(page.on_invert(visitor, "fast")) == [{page.invert: gr.update(visible=True),
                                                      page.stop: gr.update(visible=False)}]
    assert visitor.subject is None
    assert page.models.cache.size()[0] == 0


def test_an_inversion_that_ends_while_it_is_forgotten_is_not_kept(page: Page, astronaut_file: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    cache, visitor = page.models.cache, Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    put = cache.put

    def slow_put(key: str, inversion: Any) -> bool:
        page.on_forget(visitor)
        return put(key, inversion)

    monkeypatch.setattr(cache, "put", slow_put)
    list(visitor.invert(page.models.projector, QUICK, cache))
    assert visitor.subject is None
    assert cache.size()[0] == 0


def test_visitors_share_no_directory(page: Page, astronaut_file: Path) -> None:
    copies = [copy.deepcopy(page.visitor.value) for _ in range(2)]  # As Gradio makes them.
    assert len({one.folder for one in copies}) == 2
    assert len(copies[0].folder) == 32
    pictures = [page.on_upload(visitor, {"path": str(astronaut_file)})[page.outlined] for visitor in copies]
    assert Path(pictures[0]).read_bytes() == Path(pictures[1]).read_bytes()
    assert pictures[0] != pictures[1]


def test_an_upload_is_removed_once_it_is_read_and_nobody_else_s_file(page: Page, astronaut_file: Path,
                                                                     tmp_path: Path) -> None:
    folder = showing.private_dir() / "upload"
    folder.mkdir(exist_ok=True)
    for name, content, words in (("me.jpg", astronaut_file.read_bytes(), ""), ("bad.jpg", b"x", "bad.jpg")):
        (folder / name).write_bytes(content)
        assert words in page.on_upload(Visitor(), {"path": str(folder / name)})[page.notice]
        assert not (folder / name).exists()
    (folder / "link").symlink_to(astronaut_file)
    page.on_upload(Visitor(), {"path": str(folder / "link")})
    assert astronaut_file.exists()


def test_the_page_s_cache_promises_what_the_page_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cache = app._models("bundled", "bundled", "cpu", True)
    cache = with_cache.cache
    assert cache.folder.parent == showing.private_dir()
    assert cache.max_age == KEPT_SECONDS
    assert app._models("bundled", "bundled", "cpu", True).cache is cache  # One sweeper for all.
    assert app._models("bundled", "bundled", "cpu", False).cache is None
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 2:
            raise KeyboardInterrupt

    tidied: list[int] = []
    monkeypatch.setattr("page.kept.time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        kept._sweep(type("Cache", (), {"tidy": lambda self: tidied.append(1)})())
    assert (waits, tidied) == ([app.SWEEP_SECONDS] * 3, [1, 1])


def test_forgetting_is_private_and_waits_for_nothing() -> None:
    functions = [function for function in app.build_demo().fns.values() if function.name == "on_forget"]
    assert [(function.queue, function.api_visibility) for function in functions] == [(False, "private")]
