"""Edits by other methods than the controls' own."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from directions import Controls
from editing import Edit, parse_recipe, reproduce
from generators import Space
from inversion import read_picture_metadata
from page.jobs.editing import editor_of
from page.jobs.services import Services
from page.layout import Page
from page.state.models import OWN
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import addresses, asked, dragged, shown, slot_of
from tests.small_models import bundle, write_linear_controls

OTHERS = ("interfacegan", "ganspace", "stylespace")


@pytest.fixture(scope="module")
def method_files(services: Services, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of controls by their methods; InterFaceGAN's are another generator's."""
    folder, generator = tmp_path_factory.mktemp("methods"), services.models.generator
    for method in OTHERS:
        space = Space.of("w", torch.randn(4, generator.w_dim)) if method == "interfacegan" else None
        write_linear_controls(folder / f"{method}.safetensors", method, generator, space)
    return {method: folder / f"{method}.safetensors" for method in OTHERS}


@pytest.fixture
def methodical(services: Services, method_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> EditTab:
    """The tab Edit on a machine that has these files."""
    for method, path in method_files.items():
        bundle(monkeypatch, method, path)
    with gr.Blocks(analytics_enabled=False):
        tab = Page(Services(services.models.generator, services.models.controls)).edit
    assert "ganspace" in tab.services.models.methods  # Looked for now.
    return tab


@pytest.fixture
def visitor(methodical: EditTab) -> Visitor:
    one = Visitor()
    methodical.on_draw(one, 5, 0.7)
    return one


def test_the_methods_are_those_that_can_be_used(services: Services, methodical: EditTab,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    models = methodical.services.models
    assert models.methods == (OWN, "ganspace", "stylespace")
    shown = methodical.sliders.show(models, Edit(), {})[methodical.sliders.method]
    assert shown["choices"] == [("GradCtrl", OWN), ("GANSpace", "ganspace"), ("StyleSpace", "stylespace")]
    assert shown["value"] == OWN
    for method in OTHERS:
        bundle(monkeypatch, method, Path("nowhere.safetensors"))
    assert Services(services.models.generator, services.models.controls).models.methods == (OWN,)
    smile = next(iter(models.controls_of("ganspace").values()))
    linear = Services(services.models.generator, Controls([smile])).models
    assert (linear.controls.method, linear.methods) == ("ganspace", (OWN, "gradctrl"))


@pytest.mark.parametrize("method", ["ganspace", "stylespace"])
def test_a_method_edits_as_the_editor_does_and_its_recipe_reproduces_the_download(
        methodical: EditTab, visitor: Visitor, method: str) -> None:
    tab, models = methodical, methodical.services.models
    assert visitor.subject is not None
    editor = editor_of(models, visitor.subject, method)
    expected = editor.edit({"smile": 1.0}, method=method)
    values = asked(tab, visitor, strengths={"smile": 1.0}, method=method)
    _, picture = shown(dragged(tab, visitor, *values), tab)
    assert np.abs(picture.astype(int) - expected).mean() < 2  # JPEG.
    path = Path(tab.outputs.on_picture(visitor, False, ".png", True, *values[3:])[tab.outputs.links["picture"]])
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    assert recipe.edit.method == method
    assert recipe.controls == models.controls_of(method).hash
    assert np.array_equal(reproduce(recipe, editor), np.asarray(Image.open(path)))
    assert np.array_equal(np.asarray(Image.open(path)), expected)


def test_methods_differ_in_what_they_do(methodical: EditTab, visitor: Visitor) -> None:
    pictures = {addresses(dragged(methodical, visitor, *asked(methodical, visitor, strengths={"smile": 1.0},
                                                             method=method)), methodical)[1]
                for method in methodical.services.models.methods}
    assert len(pictures) == 3


def test_sliders_take_the_ranges_of_the_method(methodical: EditTab, visitor: Visitor) -> None:
    models = methodical.services.models
    own = {name: control.limits for name, control in models.controls.items()}
    values = asked(methodical, visitor, strengths={"smile": 1.0}, method="ganspace")
    update = methodical.on_method(visitor, *values)
    for name in own:
        slider = update[methodical.sliders.strengths[slot_of(methodical, visitor, name)]]
        low, high = (-1.0, 1.5) if name in ("smile", "age") else own[name]
        assert (slider["minimum"], slider["maximum"]) == (low, high)
        assert slider["value"] == (1.0 if name == "smile" else 0)


def test_what_a_method_cannot_keep_is_not_offered(methodical: EditTab, visitor: Visitor) -> None:
    values = asked(methodical, visitor, strengths={"smile": 1.0}, method="stylespace")
    update = methodical.on_method(visitor, *values)
    assert update[methodical.sliders.keep_area]["visible"] is False
    assert update[methodical.sliders.keep]["value"] == []
    assert methodical.read(visitor, *values[3:])[2].keep is None


def test_an_attribute_that_a_method_lacks_is_refused_in_words(methodical: EditTab, visitor: Visitor) -> None:
    values = asked(methodical, visitor, strengths={"gender": 1.0}, method="ganspace")
    said = "gender: no such attribute in ganspace.safetensors; there are smile, age"
    assert said in dragged(methodical, visitor, *values)[methodical.notice]
    with pytest.raises(gr.Error, match=said):
        methodical.outputs.on_picture(visitor, False, ".png", True, *values[3:])
