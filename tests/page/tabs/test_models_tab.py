"""The tab Models: what is loaded is told, other files are taken or refused by name, and the tab Edit follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from directions import Control, Controls
from directions import save as save_directions
from editing import Edit
from page.jobs import library
from page.jobs.editing import edited_picture
from page.jobs.services import Services
from page.layout import Page
from page.state import files
from page.state.visitor import Visitor
from page.tabs.models import ALONE, BESIDE, ModelsTab, card_of
from tests.page.handling import asked, dragged, shown, sliders
from weights.errors import InputError
from weights.manifest import entry_of
from weights.store import path_of


@pytest.fixture
def tab(page: Page) -> ModelsTab:
    return page.models


@pytest.fixture
def uploaded() -> Callable[[Path, str], dict[str, Any]]:
    """Puts a file where Gradio puts uploads."""
    def put(path: Path, name: str) -> dict[str, Any]:
        place = files.download_path("upload", "uploads", "") .parent / name
        place.write_bytes(path.read_bytes())
        return {"path": str(place), "orig_name": name}
    return put


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of somebody's own: the bundled one with another mapping, and so another W."""
    from safetensors import safe_open

    source = path_of("bundled-generator")
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    weights = load_file(source)
    name = next(name for name in weights if name.startswith("mapping") and weights[name].ndim == 2)
    weights[name] = weights[name].flip(0)
    path = tmp_path_factory.mktemp("own") / "mine.safetensors"
    save_file(weights, path, metadata)
    return path


@pytest.fixture
def control_file(services: Services, tmp_path: Path) -> Path:
    """The bundled smile under another name."""
    smile = services.models.controls["smile"]
    assert isinstance(smile, Control)
    save_directions(tmp_path / "grin.safetensors", [replace(smile, name="grin", keep={"age": 10})],
                    spaces=services.models.generator.spaces)
    return tmp_path / "grin.safetensors"


def test_the_card_tells_what_is_loaded(tab: ModelsTab, services: Services) -> None:
    update = tab.on_show(Visitor())
    card = update[tab.card]
    for words in ("bundled-generator", "128 x 128 pixels", services.models.generator.hash[:12], "non-commercial use",
                  f"Licence of the controls: {entry_of('bundled-controls').licence}", "not measured"):
        assert words in card
    assert all(f"<th scope='row'>{name.capitalize()}</th>" in card for name in services.models.controls)
    known = {name: words for words, name in update[tab.known]["choices"]}
    assert known["bundled-generator"].endswith("(here)")
    assert "to fetch" in known["stylegan2-ffhq"]


@pytest.mark.slow
def test_ganspace_s_named_edits_come_beside_the_sliders(bundled_models: None) -> None:
    services, visitor = Services(device="cpu"), Visitor()
    with gr.Blocks(analytics_enabled=False):
        page = Page(services)
    update = page.models.on_named(visitor)
    assert "Ganspace" in update[page.models.card]
    assert "two controls have the same name" in page.models.on_named(visitor)[page.models.notice]
    page.edit.on_draw(visitor, 5, 0.7)
    edit = Edit(strengths={"ganspace:bald": 1.0, "smile": 0.5})
    values = sliders(page.edit, visitor, edit)
    assert page.edit.sliders.read(services.models_of(visitor), values) == edit
    assert visitor.subject is not None
    edited = edited_picture(services.models_of(visitor), visitor.subject, edit)
    assert np.abs(edited.astype(int) - visitor.subject.picture).mean() > 5


def test_the_named_edits_of_another_space_are_refused(tab: ModelsTab) -> None:
    visitor = Visitor()
    assert "ganspace" in tab.on_named(visitor)[tab.notice]
    assert "moves the weights of the generator" in tab.on_deformed(visitor)[tab.notice]
    assert visitor.own_models is None


@pytest.mark.slow
def test_directions_of_weights_come_beside_the_sliders(bundled_models: None) -> None:
    services, visitor = Services(device="cpu"), Visitor()
    with gr.Blocks(analytics_enabled=False):
        page = Page(services)
    assert "Navigan" in page.models.on_deformed(visitor)[page.models.card]
    page.edit.on_draw(visitor, 5, 0.7)
    edit = Edit(strengths={"navigan:short_nose": 1.0, "smile": 0.5})
    values = sliders(page.edit, visitor, edit)
    assert page.edit.sliders.read(services.models_of(visitor), values) == edit
    assert visitor.subject is not None
    edited = edited_picture(services.models_of(visitor), visitor.subject, edit)
    assert np.abs(edited.astype(int) - visitor.subject.picture).mean() > 2


def test_the_card_tells_what_a_control_is_worth(services: Services) -> None:
    smile = replace(services.models.controls["smile"], report={
        "trained on": "scores of 18000 samples", "held out": {"samples": 12000, "balanced accuracy": 0.942}})
    card = card_of(services.models.with_controls(Controls([smile], spaces=services.models.generator.spaces)))
    for words in ("scores of 18000 samples", "94% of 12000", "-3 to 3"):
        assert words in card


def test_a_control_file_gives_another_slider_that_works(tab: ModelsTab, page: Page, control_file: Path,
                                                        uploaded: Callable[..., dict[str, Any]]) -> None:
    visitor, other = Visitor(), Visitor()
    page.edit.on_draw(visitor, 5, 0.7)
    file = uploaded(control_file, "grin.safetensors")
    update = tab.on_controls(visitor, file, BESIDE)
    assert update[tab.notice] == ""
    assert "Grin" in update[tab.card]
    assert not Path(file["path"]).exists()
    followed = page.edit.on_models(visitor)
    number = list(tab.services.models_of(visitor).controls).index("grin")
    assert followed[page.edit.sliders.strengths[number]]["elem_id"] == "control-grin"
    still, moved = (shown(dragged(page.edit, visitor, *asked(page.edit, visitor, strengths=strengths)), page.edit)[1]
                    for strengths in ({}, {"grin": 2.0}))
    assert (still != moved).any()
    assert "grin" not in tab.services.models_of(other).controls  # Another visitor's page is as it was.
    again = tab.on_controls(visitor, uploaded(control_file, "grin.safetensors"), BESIDE)
    assert "grin.safetensors: grin is there already" in again[tab.notice]
    tab.on_controls(visitor, uploaded(control_file, "grin.safetensors"), ALONE)
    assert list(tab.services.models_of(visitor).controls) == ["grin"]
    tab.on_restore(visitor)
    assert tab.services.models_of(visitor) is tab.services.models


def test_a_generator_of_one_s_own_is_read_and_the_face_of_another_is_let_go(
        tab: ModelsTab, page: Page, services: Services, other_file: Path, control_file: Path,
        uploaded: Callable[..., dict[str, Any]]) -> None:
    visitor = Visitor()
    page.edit.on_draw(visitor, 5, 0.7)
    update = tab.on_file(visitor, uploaded(other_file, "mine.safetensors"))
    assert "mine.safetensors" in update[tab.card]
    assert "There are no controls for it yet" in update[tab.card]
    assert services.models_of(visitor).generator.hash != services.models.generator.hash
    followed = page.edit.on_models(visitor)
    assert visitor.subject is None
    assert followed[page.edit.photo.drop_area]["visible"] is True
    page.edit.on_draw(visitor, 5, 0.7)  # It draws.
    wrong = tab.on_controls(visitor, uploaded(control_file, "grin.safetensors"), BESIDE)
    assert "are for the space" in wrong[tab.notice]
    same = tab.on_file(visitor, uploaded(path_of("bundled-generator"), "copy.safetensors"))
    assert "Smile" in same[tab.card]  # The page's controls are for it.


@pytest.mark.parametrize(("name", "content", "words"), [
    ("evil.pkl", b"cos\nsystem\n(S'true'\ntR.", "evil.pkl"), ("words.safetensors", b"these are words", "words"),
    ("notes.txt", b"x", "notes.txt: a generator is a file that ends in"),
])
def test_what_is_no_generator_is_named_and_changes_nothing(tab: ModelsTab, tmp_path: Path, name: str, content: bytes,
                                                           words: str,
                                                           uploaded: Callable[..., dict[str, Any]]) -> None:
    (tmp_path / name).write_bytes(content)
    visitor = Visitor()
    file = uploaded(tmp_path / name, name)
    update = tab.on_file(visitor, file)
    assert words in update[tab.notice]
    assert str(files.private_dir()) not in update[tab.notice]
    assert visitor.own_models is None
    assert not Path(file["path"]).exists()


def test_few_generators_of_visitors_are_in_memory_at_once(page: Page, other_file: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MOST_OWN", 1)
    first, second = (page.models.library.own(other_file, "mine.safetensors", "library-test") for _ in range(2))
    assert not first.lazy_generator.is_built
    assert second.lazy_generator.is_built
    assert first.generator.hash == second.generator.hash  # Built again when it is needed,
    assert not first.lazy_generator.is_built  # and then the one makes room for the other.
    files.forget("library-test")


def test_fetching_tells_how_far_it_is(tab: ModelsTab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[str] = []

    def fetch(name: str, *, on_progress: Callable[[int, int], None]) -> None:
        asked_for.append(name)
        on_progress(1_000_000, 4_000_000)
        time.sleep(0.2)

    monkeypatch.setattr(library, "fetch", fetch)
    updates = list(tab.on_fetch(Visitor(), "stylegan2-ffhq"))
    assert asked_for == ["stylegan2-ffhq", "gradctrl-ffhq"]  # With the controls that were published for it.
    assert any("1 of 4 MB" in update[tab.fetching] for update in updates)
    assert "is here; use it" in updates[-1][tab.fetching]

    def fail(name: str, **_: Any) -> None:
        raise InputError(name, "could not be fetched", "check the network")

    monkeypatch.setattr(library, "fetch", fail)
    assert "check the network" in list(tab.on_fetch(Visitor(), "stylegan2-ffhq"))[-1][tab.notice]
    assert "choose one of the known" in list(tab.on_fetch(Visitor(), None))[-1][tab.notice]
    assert "is not here yet; fetch it first" in tab.on_use(Visitor(), "stylegan2-ffhq")[tab.notice]
    assert "no such generator" in tab.on_use(Visitor(), "../../etc")[tab.notice]
    visitor = Visitor()
    assert tab.on_use(visitor, "bundled-generator")[tab.notice] == ""
    assert list(tab.services.models_of(visitor).controls) == list(tab.services.models.controls)


def test_a_page_that_others_use_takes_no_generators(services: Services, other_file: Path,
                                                    uploaded: Callable[..., dict[str, Any]]) -> None:
    closed = Services(services.models.generator, services.models.controls, own_models=False)
    with gr.Blocks(analytics_enabled=False):
        tab = Page(closed).models
    visitor, words = Visitor(), "cannot be loaded on this page, since others use it too"
    assert words in tab.on_file(visitor, uploaded(other_file, "mine.safetensors"))[tab.notice]
    assert words in tab.on_use(visitor, "bundled-generator")[tab.notice]
    assert words in list(tab.on_fetch(visitor, "stylegan2-ffhq"))[-1][tab.notice]
    assert visitor.own_models is None
