"""The tab Teach, its handlers called as the page calls them: a whole lesson first, then what goes wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from directions import Controls, GradCtrlControl
from directions import load as load_directions
from generators import StyleGAN2, StyleGAN2Config
from gradctrl import Classifier
from learning.lesson import FEWEST
from page.jobs.services import Services
from page.state import files
from page.state.models import LazyGenerator
from page.state.visitor import Visitor
from page.tabs.teach import KEYS, TeachTab, attribute_of, enlarged


def made(name: str, seed: int) -> GradCtrlControl:
    rng = torch.Generator().manual_seed(seed)
    classifier = Classifier(
        hidden_weight=torch.randn(8, 16, generator=rng), hidden_bias=torch.randn(8, generator=rng) / 4,
        out_weight=torch.randn(1, 8, generator=rng), out_bias=torch.zeros(1))
    return GradCtrlControl(name=name, classes=("no", "yes"), classifier=classifier, layers=(4, 12), units=(1.0,))


@pytest.fixture(scope="module")
def services() -> Services:
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    generator = StyleGAN2(config).requires_grad_(False).eval()
    controls = Controls([made("smile", 1), made("age", 2)], spaces=generator.spaces, source="made")
    return Services(generator, controls)


@pytest.fixture(scope="module")
def tab(services: Services) -> TeachTab:
    with gr.Blocks():
        return TeachTab(services, gr.State(Visitor()))


@pytest.fixture
def visitor() -> Visitor:
    return Visitor()


def begin(tab: TeachTab, visitor: Visitor, name: str = "Long beard", classes: str = "no beard, beard") -> Any:
    return tab.on_begin(visitor, name, classes)


def sort(tab: TeachTab, visitor: Visitor, each: int) -> Any:
    """Sort by the first channel of w until each class has so many."""
    update: Any = {}
    while visitor.lesson and min(visitor.lesson.counts.values()) < each:
        sample = visitor.lesson.current
        assert sample is not None
        first = visitor.lesson.pool.latents[:, 0]
        update = tab.on_sort(int(first[sample.index] > first.mean()), visitor, sample.seed)
        tab.on_prepare(visitor)
    return update


def told(tab: TeachTab, update: Any) -> str:
    """The error that an update shows; empty: none."""
    return str(update.get(tab.notice, ""))


def test_a_lesson_from_beginning_to_download(tab: TeachTab, visitor: Visitor, services: Services) -> None:
    update = begin(tab, visitor)
    assert told(tab, update) == ""
    assert [update[button]["visible"] for button in tab.sorts] == [True, True, False, False, False, False]
    assert update[tab.sorts[1]]["value"] == "2 · beard"
    assert update[tab.picture]["alt_text"] == "Sample 1 of nobody"
    assert "come at random" in update[tab.counts]
    update = sort(tab, visitor, FEWEST)
    assert update[tab.train]["variant"] == "primary"
    assert "least sure of" in update[tab.counts] or "looked for" in update[tab.counts]
    assert "sorted faces" in tab.on_announce(visitor)[tab.accuracy]
    update = tab.on_train(visitor)
    assert "told right by classifiers that had not seen them" in update[tab.accuracy]
    assert update[tab.keep]["value"] == ["smile", "age"]
    assert "long beard at" in update[tab.strip]["alt_text"]
    update = tab.on_adjust(visitor, ["age"], "shapes")
    assert told(tab, update) == ""
    update = tab.on_save(visitor)
    assert "Saved: the slider Long beard" in update[tab.said]
    saved = services.models_of(visitor).controls
    assert list(saved) == ["smile", "age", "long_beard"]
    assert (saved.source, list(saved["long_beard"].keep), saved["long_beard"].layers) == (
        "made + long_beard", ["age"], (4, 32))
    assert list(services.models.controls) == ["smile", "age"]  # Nobody else's.
    path = Path(tab.on_download(visitor)[tab.link])
    assert path.name == "long_beard.control.safetensors"
    assert files.private_dir() / visitor.folder in path.parents
    assert list(load_directions(path)) == ["long_beard"]


def test_a_lesson_goes_on_and_a_taught_control_is_replaced(tab: TeachTab, visitor: Visitor, services: Services) -> None:
    begin(tab, visitor)
    sort(tab, visitor, FEWEST)
    tab.on_train(visitor)
    tab.on_save(visitor)
    first = services.models_of(visitor).controls["long_beard"]
    assert sort(tab, visitor, FEWEST + 3)[tab.train]["value"] == "Train again"
    assert tab.on_train(visitor)[tab.save]["interactive"]
    tab.on_save(visitor)
    again = services.models_of(visitor).controls
    assert list(again) == ["smile", "age", "long_beard"]
    assert again.source == "made + long_beard"
    assert again["long_beard"].report["examples"] != first.report["examples"]
    assert told(tab, begin(tab, visitor)) == ""  # Another lesson of this name is the visitor's own affair.


def test_undo_and_skip(tab: TeachTab, visitor: Visitor) -> None:
    first = begin(tab, visitor)
    assert first[tab.undo] == gr.update(interactive=False)
    after = tab.on_sort(0, visitor, first[tab.shown])
    assert after[tab.shown] != first[tab.shown]
    assert after[tab.undo] == gr.update(interactive=True)
    undone = tab.on_undo(visitor)
    assert {part: first[part] for part in undone} == undone
    skipped = tab.on_skip(visitor, first[tab.shown])
    assert skipped[tab.shown] == after[tab.shown]
    assert visitor.lesson is not None
    assert visitor.lesson.labels == {}


def test_what_is_sorted_is_what_the_browser_shows(tab: TeachTab, visitor: Visitor) -> None:
    first = begin(tab, visitor)
    tab.on_sort(0, visitor, first[tab.shown])
    stale = tab.on_sort(1, visitor, first[tab.shown])  # A second key, before the next picture came.
    assert stale == {tab.notice: ""}
    assert visitor.lesson is not None
    assert list(visitor.lesson.labels.values()) == ["no beard"]
    assert tab.on_skip(visitor, None) == {tab.notice: ""}
    assert visitor.lesson.shown == 1


def test_the_next_picture_is_there_at_once(tab: TeachTab, visitor: Visitor) -> None:
    begin(tab, visitor)
    times = []
    for _ in range(15):
        tab.on_prepare(visitor)
        assert visitor.lesson is not None
        assert visitor.lesson.current is not None
        start = time.perf_counter()
        tab.on_sort(0, visitor, visitor.lesson.current.seed)
        times.append(time.perf_counter() - start)
    assert sorted(times)[7] < 0.05


def test_one_can_go_back_from_the_choice_of_another_lesson(tab: TeachTab, visitor: Visitor) -> None:
    begin(tab, visitor)
    last = sort(tab, visitor, 3)
    away = tab.on_another(visitor)
    assert away[tab.back]["value"] == "Go on with Long beard"
    back = tab.on_back(visitor)
    assert (back[tab.shown], back[tab.counts]) == (last[tab.shown], last[tab.counts])
    visitor.forget()
    assert tab.on_another(visitor)[tab.back] == gr.update(visible=False)


def test_forgetting_ends_the_lesson(tab: TeachTab, visitor: Visitor) -> None:
    begin(tab, visitor)
    visitor.forget()
    assert "begin another" in told(tab, tab.on_sort(0, visitor, 1))
    tab.on_prepare(visitor)


def test_a_lesson_about_another_generator_ends(tab: TeachTab, visitor: Visitor, services: Services) -> None:
    from page.state.models import EditingModels

    begin(tab, visitor)
    torch.manual_seed(1)
    config = StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    other = StyleGAN2(config).requires_grad_(False).eval()
    visitor.own_models = EditingModels(LazyGenerator(other), Controls([made("smile", 1)], spaces=other.spaces))
    assert "another generator" in told(tab, tab.on_train(visitor))
    assert visitor.lesson is None


@pytest.mark.parametrize(("name", "classes", "words"), [
    ("", "no beard, beard", "no name"), (None, None, "no name"), ("3 <b>", "a, b", "cannot be an attribute"),
    ("beard", "beard", "there is 1"), ("beard", "a, a", "a is there twice"), ("Smile", "no, yes", "already"),
    ("beard", "a, b, c, d, e, f, g", "there are 7")])
def test_a_lesson_that_cannot_begin_says_why(tab: TeachTab, visitor: Visitor, name: str, classes: str,
                                             words: str) -> None:
    update = begin(tab, visitor, name, classes)
    assert words in told(tab, update)
    assert "<b>" not in told(tab, update)
    assert visitor.lesson is None


def test_training_too_early_says_how_many_there_are(tab: TeachTab, visitor: Visitor) -> None:
    begin(tab, visitor)
    sort(tab, visitor, 2)
    assert tab.accuracy not in tab.on_announce(visitor)
    assert f"at least {FEWEST} samples of each class" in told(tab, tab.on_train(visitor))
    assert "train first" in told(tab, tab.on_save(visitor))
    assert "train first" in told(tab, tab.on_adjust(visitor, [], "all"))
    download = tab.on_download(visitor)
    assert "train first" in told(tab, download)
    assert download[tab.link] is None


def test_names_as_people_write_them() -> None:
    assert [attribute_of(words) for words in ("beard", " Long  Hair ", "Grey-haired", "Länge", "眼鏡", "")] == [
        "beard", "long_hair", "grey_haired", "länge", "眼鏡", ""]


def test_class_names_are_escaped(tab: TeachTab, visitor: Visitor) -> None:
    update = begin(tab, visitor, "beard", "<i>no</i>, \"yes\"")
    assert "<i>" not in update[tab.counts]
    assert "&lt;i&gt;" in update[tab.counts]


def test_small_samples_are_enlarged_and_large_ones_left() -> None:
    assert enlarged(np.zeros((128, 128, 3), np.uint8)).shape == (512, 512, 3)
    assert enlarged(np.zeros((1024, 1024, 3), np.uint8)).shape == (1024, 1024, 3)


def test_the_keys_are_those_of_the_buttons(tab: TeachTab) -> None:
    ids = [button.elem_id for button in tab.sorts]
    assert ids == [f"teach-class-{number}" for number in range(1, 7)]
    assert "'teach-class-' + key" in KEYS
    assert all(str(part.elem_id) in KEYS for part in (tab.skip, tab.undo))
