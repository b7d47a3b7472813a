"""The tab Discover: directions move a face, and what they find becomes a slider; other programs' nonsense does not."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from directions import LinearDirection, load
from directions.components import ComponentSettings, save_components
from directions.finding import cached_components, components_of
from directions.named import DirectionSet
from editing import Edit
from generators import Space
from page.jobs import discovering
from page.jobs.discovering import FILE, LAYER, NEAREST, SEFA, follow_link, link_of
from page.jobs.services import Services
from page.layout import Page
from page.state import files
from page.state.discovery import MEAN, OWN, SAMPLE, SHOWN, Collection, Discovery
from page.state.visitor import Visitor
from page.tabs.discover import SETTLED, DiscoverTab
from tests.page.handling import OtherInversion
from weights.errors import InputError


@pytest.fixture
def discover(page: Page) -> DiscoverTab:
    return page.discover


@pytest.fixture
def visitor(discover: DiscoverTab) -> Visitor:
    """Somebody who has come to the tab, without a face."""
    visitor = Visitor()
    assert discover.on_show(visitor)[discover.notice] == gr.skip()
    return visitor


def picture(discover: DiscoverTab, update: dict[Any, Any]) -> np.ndarray:
    return np.asarray(Image.open(update[discover.picture]))


def moved(discover: DiscoverTab, visitor: Visitor, place: int, value: Any) -> dict[Any, Any]:
    """What comes of a slider's move once it rests."""
    update = discover.on_move(place, visitor, value)
    return update if update[discover.notice] else discover.on_rest(visitor)


def test_a_slider_moves_the_face_and_back_at_0_it_is_as_before(discover: DiscoverTab, visitor: Visitor) -> None:
    first = picture(discover, moved(discover, visitor, 0, 0.0))
    there = picture(discover, moved(discover, visitor, 0, 2.0))
    assert np.abs(first.astype(int) - there).mean() > 1
    assert np.array_equal(picture(discover, moved(discover, visitor, 0, 0.0)), first)
    small = picture(discover, discover.on_move(0, visitor, 2.0))
    assert np.abs(small.astype(int) - there).mean() < 20 if small.shape == there.shape else len(small) < len(there)


def test_a_face_is_not_drawn_in_full_while_it_moves_on(discover: DiscoverTab, visitor: Visitor) -> None:
    discover.on_move(0, visitor, 1.0)
    later = threading.Timer(SETTLED / 2, lambda: discover.on_move(0, visitor, 2.0))
    later.start()
    assert discover.picture not in discover.on_rest(visitor)
    later.join()
    assert discover.picture in discover.on_rest(visitor)


def test_pages_keep_what_was_moved(discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 2, 3.0)
    update = discover.on_more(visitor)
    assert update[discover.sliders[0]]["label"] == f"Component {SHOWN}"
    assert update[discover.sliders[0]]["info"] == ""  # With None, Gradio leaves what another collection's slider said.
    assert "1 moved" in update[discover.place]
    moved(discover, visitor, 0, -2.0)
    assert discover.on_back(visitor)[discover.sliders[2]]["value"] == 3.0
    assert visitor.discovery.edit.strengths == {"sefa:component_2": 3.0, f"sefa:component_{SHOWN}": -2.0}
    for _ in range(visitor.discovery.pages):
        discover.on_more(visitor)
    assert visitor.discovery.page == 0
    assert not discover.on_reset(visitor)[discover.sliders[2]]["value"]
    assert not visitor.discovery.edit.changes


def test_by_chance_moves_those_in_sight_within_their_ends(discover: DiscoverTab, visitor: Visitor) -> None:
    discover.on_random(visitor)
    assert set(visitor.discovery.amounts) == set(range(SHOWN))
    assert any(visitor.discovery.amounts.values())
    collection = visitor.discovery.collection
    assert collection is not None
    assert all(collection.reach(number)[0] <= amount <= collection.reach(number)[1]
               for number, amount in visitor.discovery.amounts.items())


def test_what_was_found_becomes_a_slider_that_does_the_same(discover: DiscoverTab, visitor: Visitor,
                                                            services: Services) -> None:
    moved(discover, visitor, 0, 4.0)
    moved(discover, visitor, 3, -3.0)
    before = discovering.moved_picture(visitor, services.models_of(visitor), quick=False)
    update = discover.on_save(visitor, "Wide eyes", [])
    assert "Wide eyes is a slider" in update[discover.effect]
    models = services.models_of(visitor)
    assert [*models.controls][-1] == "wide_eyes"
    assert set(services.models.controls) < set(models.controls)  # Everybody else's sliders stay.
    assert "wide_eyes" not in services.models.controls
    from page.jobs.editing import edited_picture
    subject = discovering.subject_of(visitor, models)
    after = edited_picture(models, subject, Edit(strengths={"wide_eyes": 1.0}))
    assert np.abs(before.astype(int) - after).max() <= 2


def test_what_is_held_still_keeps_its_score(discover: DiscoverTab, visitor: Visitor, services: Services,
                                            tmp_path: Path) -> None:
    moved(discover, visitor, 0, 4.0)
    models = services.models_of(visitor)
    held = discovering.found_direction(visitor.discovery, "held", ["smile"], models)
    free = discovering.found_direction(visitor.discovery, "free", [], models)
    assert isinstance(held, LinearDirection)
    assert isinstance(free, LinearDirection)
    at = models.generator.sample(range(50)).float()
    smile = models.controls.control("smile")

    def change(direction: LinearDirection) -> float:
        step = direction.units[0] * direction.directions[0]
        return float((smile.scores(at + 0.05 * step) - smile.scores(at)).mean().abs())

    assert change(held) < 0.2 * change(free)


def test_a_download_is_a_file_of_directions(discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 1, 2.0)
    path = discover.on_export(visitor, "other ears", [])[discover.export_link]
    assert [*load(path)] == ["other_ears"]
    assert Path(path).name == "other-ears.safetensors"


def test_components_of_ones_own(discover: DiscoverTab, visitor: Visitor, services: Services, tmp_path: Path) -> None:
    generator = services.models.generator
    save_components(tmp_path / "mine.safetensors", components_of(generator.sample(range(50)), generator.space, 12))
    place = files.download_path("upload", "uploads", "").parent / "mine.safetensors"
    place.write_bytes((tmp_path / "mine.safetensors").read_bytes())
    update = discover.on_file(visitor, {"path": str(place), "orig_name": "mine.safetensors"})
    assert update[discover.what]["value"] == FILE
    assert len(visitor.discovery.collection or ()) == 12
    assert not place.exists()
    place.write_bytes(b"nonsense")
    update = discover.on_file(visitor, {"path": str(place), "orig_name": "other.safetensors"})
    assert "other.safetensors" in update[discover.notice]
    assert visitor.discovery.own is not None


def test_layers_and_the_mean(discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 0, 2.0)
    everywhere = picture(discover, moved(discover, visitor, 0, 2.0))
    coarse = picture(discover, discover.on_how(visitor, {"ends": [4, 8]}, False))
    assert visitor.discovery.edit.layers == (4, 16)
    assert np.abs(everywhere.astype(int) - coarse).mean() > 1
    discover.on_how(visitor, {"ends": [4, 128]}, True)
    assert visitor.discovery.edit.layers is None
    assert visitor.discovery.edit.centred
    for ends in ([64, 8], [4], None, "4:8", [4, 8.5]):
        assert "is no range" in discover.on_how(visitor, {"ends": ends}, False)[discover.notice]
    assert "is no range" in discover.on_how(visitor, None, False)[discover.notice]


def test_whose_face(discover: DiscoverTab, visitor: Visitor, inverted: Visitor) -> None:
    sample = picture(discover, discover.on_who(visitor, SAMPLE))
    mean = picture(discover, discover.on_who(visitor, MEAN))
    other = picture(discover, discover.on_other(visitor))
    assert not np.array_equal(sample, mean)
    assert not np.array_equal(sample, other)
    assert "bring a photo" in discover.on_who(visitor, OWN)[discover.notice]
    update = discover.on_show(inverted)
    assert update[discover.who]["value"] == OWN
    assert inverted.subject is not None
    assert np.abs(picture(discover, update).astype(int) - inverted.subject.picture).mean() < 4  # But for JPEG.


def test_a_link_opens_what_was_moved(discover: DiscoverTab, visitor: Visitor, services: Services) -> None:
    moved(discover, visitor, 1, 2.5)
    discover.on_how(visitor, {"ends": [8, 32]}, True)
    discover.on_other(visitor)
    other = Discovery()
    follow_link(other, link_of(visitor.discovery), services.models)
    assert other.edit == visitor.discovery.edit
    assert (other.who, other.seed) == (SAMPLE, 1)
    fresh = Visitor()
    update = discover.follow(fresh, link_of(visitor.discovery))
    assert update[discover.sliders[1]]["value"] == 2.5


@pytest.mark.parametrize("link", ["", "sefa", "sefa;0=1e999;;0;sample", f"{SEFA};900=1;;0;sample0", "nothing;;;0;mean",
                                  f"{SEFA};0=1;64:8;0;sample0", f"{SEFA};0=1.2.3;;0;mean", "<script>;;;0;mean"])
def test_a_link_of_nonsense_is_refused(link: str, services: Services) -> None:
    with pytest.raises((InputError, ValueError)):
        follow_link(Discovery(), link, services.models)


def test_a_generator_without_known_directions(discover: DiscoverTab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovering, "collections", lambda models: [])
    assert "choose their file below" in discover.on_show(Visitor())[discover.notice]


def test_numbers_of_other_programs(discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 0, 1e9)
    assert visitor.discovery.amounts[0] == NEAREST
    for nonsense in (math.nan, math.inf, None, "3"):
        assert moved(discover, visitor, 0, nonsense)[discover.notice]  # type: ignore[arg-type]
    assert visitor.discovery.amounts[0] == NEAREST
    assert discover.on_what(visitor, "../../etc")[discover.notice]
    assert discover.on_who(visitor, "another")[discover.notice]
    assert "nothing" in discover.on_move(0, Visitor(), 1.0)[discover.notice]


@pytest.mark.parametrize(("name", "told"), [("", "is missing"), ("3 eyes!", "cannot be the name"),
                                            ("smile", "is there already"), ("ganspace", "is there already"),
                                            ("layer", "is there already")])
def test_names_that_cannot_be(name: str, told: str, discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 0, 2.0)
    assert told in discover.on_save(visitor, name, [])[discover.notice]
    assert visitor.own_models is None


def test_nothing_moved_is_nothing_to_keep(discover: DiscoverTab, visitor: Visitor) -> None:
    assert "nothing is moved" in discover.on_save(visitor, "eyes", [])[discover.notice]
    assert "move a slider" in discover.on_measured(visitor)[discover.effect]


def test_a_direction_that_is_called_as_a_control_is(discover: DiscoverTab, visitor: Visitor,
                                                    services: Services) -> None:
    """GANSpace's authors have a "bald" of their own beside ours."""
    own = visitor.discovery.collection
    assert own is not None
    member = own.directions[0]
    assert isinstance(member, LinearDirection)
    smile = replace(member, name="smile")
    alone = DirectionSet(name="sefa", members={"smile": smile}, sha256="")
    visitor.discovery.collection = Collection(alone, ("",), 0.1)
    before = picture(discover, moved(discover, visitor, 0, 0.0))
    assert np.abs(picture(discover, moved(discover, visitor, 0, 2.0)).astype(int) - before).mean() > 1
    update = discover.on_measured(visitor)
    assert update[discover.notice] == ""
    assert "Identity distance" in update[discover.effect]


def test_the_whole_picture_is_drawn_once(discover: DiscoverTab, visitor: Visitor, services: Services) -> None:
    """It is shown, and then measured."""
    moved(discover, visitor, 0, 2.0)
    models = services.models_of(visitor)
    shown = discovering.moved_picture(visitor, models, quick=False)
    assert discovering.moved_picture(visitor, models, quick=False) is shown


def test_what_it_did_is_measured(discover: DiscoverTab, visitor: Visitor) -> None:
    moved(discover, visitor, 0, 6.0)
    told = discover.on_measured(visitor)[discover.effect]
    assert "Identity distance" in told
    assert torch.is_grad_enabled()


# ---- searching a layer

@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(discovering, "LAYER_SAMPLES", 40)
    monkeypatch.setattr(discovering, "LAYER_COUNT", 10)
    monkeypatch.setattr("directions.finding.REGRESSION", 40)


@pytest.mark.usefixtures("few_samples")
def test_a_layer_is_searched_and_its_components_move_the_face(discover: DiscoverTab, visitor: Visitor) -> None:
    layer = discover.services.models.generator.layers[1].name
    *before, last = discover.on_search(visitor, layer)
    assert any("samples" in update[discover.searching] for update in before)
    assert last[discover.notice] == last[discover.searching] == ""
    assert last[discover.what]["value"] == LAYER
    collection = visitor.discovery.collection
    assert collection is not None
    assert len(collection) == 10
    still = picture(discover, last)
    assert not np.array_equal(picture(discover, moved(discover, visitor, 0, 3.0)), still)
    assert "cannot hold" in discover.on_share(visitor, None)[discover.notice]
    discover.on_what(visitor, SEFA)
    assert discover.on_what(visitor, LAYER)[discover.what]["value"] == LAYER  # It is not searched again.
    settings = ComponentSettings(layer=layer, analysis="incremental", samples=40, count=10)
    known, _ = cached_components(discover.services.models.generator, settings)
    assert torch.equal(known.directions[0], collection.directions[0].directions[0])


@pytest.mark.usefixtures("few_samples")
def test_what_was_found_in_another_generator_is_not_moved(discover: DiscoverTab, visitor: Visitor) -> None:
    generator = discover.services.models.generator
    list(discover.on_search(visitor, generator.layers[1].name))
    assert visitor.discovery.searched is not None
    other = Space.of("w", torch.randn(4, generator.w_dim, generator=torch.Generator().manual_seed(1)))
    visitor.discovery.collection = visitor.discovery.searched = replace(visitor.discovery.searched, space=other)
    update = discover.on_show(visitor)
    assert LAYER not in [name for _, name in update[discover.what]["choices"]]
    assert visitor.discovery.collection.name != LAYER


@pytest.mark.usefixtures("few_samples")
def test_a_search_gives_way_to_whoever_waits_for_sliders(discover: DiscoverTab, visitor: Visitor) -> None:
    with OtherInversion(discover.services.quick_inversions) as other:
        assert other.began.wait(20)
        updates = discover.on_search(visitor, discover.services.models.generator.layers[1].name)
        next(updates)  # The first samples are in, and the next ones wait.
        started = time.monotonic()
        threading.Timer(1.0, other.end).start()
        assert list(updates)[-1][discover.what]["value"] == LAYER
        assert time.monotonic() - started > 0.8


@pytest.mark.usefixtures("few_samples")
def test_a_search_is_stopped_and_leaves_everything_as_it_was(discover: DiscoverTab, visitor: Visitor) -> None:
    before = visitor.discovery.collection
    updates = discover.on_search(visitor, discover.services.models.generator.layers[-1].name)
    next(updates)
    assert discover.on_stop(visitor)[discover.stop]["interactive"] is False
    last = list(updates)[-1]
    assert last[discover.stop]["visible"] is False
    assert visitor.discovery.collection is before
    assert visitor.discovery.searched is None


def test_a_layer_that_does_not_exist_is_named(discover: DiscoverTab, visitor: Visitor) -> None:
    for layer, said in ((None, "none is chosen"), ("b9.conv9", "b9.conv9: there is no such layer")):
        [*_, last] = discover.on_search(visitor, layer)
        assert said in last[discover.notice]
