"""Generators of other families in the tabs: classes are chosen where there are any; what cannot be is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from editing import ChosenFace, Inverter
from generators import StyleGAN2, StyleGAN2Config
from generators import checkpoints as readers
from inversion import PRESETS, Face
from inversion.photo import Photo
from page.jobs.services import Services
from page.layout import Page
from page.state import files
from page.state.visitor import Visitor
from tests.generators import test_biggan, test_pix2pixhd
from weights.errors import InputError


@pytest.fixture
def upload(page: Page) -> Callable[[Visitor, Path], dict[Any, Any]]:
    """Gives a file to the tab Models as a browser does."""
    def give(visitor: Visitor, path: Path) -> dict[Any, Any]:
        place = files.download_path("upload", "uploads", "").parent / path.name
        place.write_bytes(path.read_bytes())
        update: dict[Any, Any] = page.models.on_file(visitor, {"path": str(place), "orig_name": path.name})
        return update
    return give


@pytest.fixture
def biggan_file(tmp_path: Path) -> Path:
    torch.save(test_biggan.variables(), tmp_path / "biggan.bin")
    return tmp_path / "biggan.bin"


def test_a_class_is_chosen_where_there_are_classes(page: Page, services: Services, tmp_path: Path,
                                                   upload: Callable[..., dict[Any, Any]]) -> None:
    config = StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=8, w_dim=8, mapping_layers=1, c_dim=3)
    readers.write(tmp_path / "three.safetensors", config, StyleGAN2(config).state_dict())
    tab, visitor = page.models, Visitor()
    assert tab.on_show(visitor)[tab.classes]["visible"] is False  # The bundled one draws one class.
    assert tab.on_class(visitor, "1")[tab.notice].find("one class alone") > 0
    update = upload(visitor, tmp_path / "three.safetensors")
    assert update[tab.classes]["visible"] is True
    assert update[tab.class_name]["choices"] == [("0", "0"), ("1", "1"), ("2", "2")]  # They have no names.
    page.edit.on_draw(visitor, 5, 0.7)
    first = visitor.present_subject
    update = tab.on_class(visitor, "2")
    assert "Class 2 of 3" in update[tab.card]
    update = page.edit.on_models(visitor)
    assert visitor.subject is None  # One of another class's W.
    assert update[page.edit.photo.upload]["visible"] is True
    page.edit.on_draw(visitor, 5, 0.7)
    third = services.models_of(visitor).generator
    assert third.class_index == 2
    assert torch.allclose(visitor.present_subject.latent, third.sample([5], truncation=0.7)[0], atol=1e-6)
    assert not torch.allclose(visitor.present_subject.latent, first.latent)
    assert "choose one of 0 to 2" in tab.on_class(visitor, "9")[tab.notice]
    assert "choose a class first" in tab.on_class(visitor, None)[tab.notice]


def test_classes_with_names_are_a_list_that_can_be_searched(page: Page, services: Services, tmp_path: Path,
                                                            upload: Callable[..., dict[Any, Any]]) -> None:
    torch.save(test_biggan.variables(classes=1000), tmp_path / "biggan.bin")
    tab, visitor = page.models, Visitor()
    choices = upload(visitor, tmp_path / "biggan.bin")[tab.class_name]["choices"]
    assert len(choices) == 1000
    [chosen] = [number for label, number in choices if "golden retriever" in label]
    assert tab.class_name.filterable  # Typing leaves the labels that hold what is typed.
    update = tab.on_class(visitor, chosen)
    assert update[tab.class_name]["value"] is None  # So that one can type at once.
    assert "Class 207 (golden retriever) of 1000" in update[tab.card]
    tab.on_class(visitor, "Tabby")  # Typed, and not chosen.
    assert services.models_of(visitor).generator.class_index == 281
    assert "nearest are golden retriever" in tab.on_class(visitor, "golden retreiver")[tab.notice]


def test_where_photos_cannot_be_inverted_none_is_asked_for(page: Page, services: Services, biggan_file: Path,
                                                           upload: Callable[..., dict[Any, Any]],
                                                           astronaut: Photo, astronaut_faces: list[Face]) -> None:
    visitor, stage = Visitor(), page.edit.photo
    update = upload(visitor, biggan_file)
    assert "Photos cannot be inverted: it draws ImageNet" in update[page.models.card]
    update = page.edit.on_models(visitor)
    assert update[stage.upload]["visible"] is False
    assert update[stage.faces]["visible"] is False  # The examples are a photo, and faces of another generator.
    assert "face" not in update[stage.surprise]
    for told in (update[stage.no_photos], update[page.edit.side.empty]):
        assert "Begin with a sample" in told["value"]
    page.edit.on_draw(visitor, 5, 0.7)
    assert visitor.present_subject.picture.shape == (16, 16, 3)
    inverter = Inverter(services.models_of(visitor).projector)
    with pytest.raises(InputError, match="photos cannot be inverted with this generator"):
        inverter.invert([ChosenFace(astronaut, astronaut_faces, 0)], PRESETS["fast"])
    page.models.on_restore(visitor)
    update = page.edit.on_models(visitor)
    assert update[stage.upload]["visible"] is True
    assert update[stage.faces]["visible"] is True


def test_a_generator_without_a_latent_is_refused_in_a_sentence(page: Page, tmp_path: Path,
                                                               upload: Callable[..., dict[Any, Any]]) -> None:
    torch.save(test_pix2pixhd.variables(enhanced=False), tmp_path / "netG.pth")
    visitor = Visitor()
    told = upload(visitor, tmp_path / "netG.pth")[page.models.notice]
    assert "netG.pth" in told
    assert "it draws label maps, and has no latent" in told
    assert visitor.own_models is None
