"""The page, and visitors of it, as Gradio would call and keep them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from inversion import PRESETS, InversionCache, Photo
from page.layout import Page
from page.state.models import Models
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import LONG, OTHER, QUICK


@pytest.fixture(scope="session")
def models() -> Models:
    return Models(device="cpu")


@pytest.fixture(scope="session")
def page(models: Models) -> Page:
    with gr.Blocks(analytics_enabled=False):
        return Page(models)


@pytest.fixture(scope="session")
def tab(page: Page) -> EditTab:
    return page.edit


@pytest.fixture
def keeping(models: Models, tmp_path: Path) -> Page:
    """A page that keeps inversions."""
    shared = Models(models.bench.generator, models.bench.controls, cache=InversionCache(tmp_path / "kept"))
    with gr.Blocks(analytics_enabled=False):
        return Page(shared)


@pytest.fixture(autouse=True)
def _short_presets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, settings in (("fast", QUICK), ("balanced", OTHER), ("faithful", LONG)):
            patch.setitem(PRESETS, name, settings)
        patch.setattr("page.tabs.edit.NUMBERS", 60.0)  # Numbers come with their picture, however slow the machine is.
        yield


@pytest.fixture(scope="session")
def inverted(tab: EditTab, models: Models, astronaut_file: Path) -> Visitor:
    """A visitor with an inversion; tests do not change it."""
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    list(visitor.invert(models.bench.projector, QUICK))
    return visitor


@pytest.fixture(scope="session")
def two_faces(tmp_path_factory: pytest.TempPathFactory, astronaut: Photo) -> Path:
    """The astronaut, and beside her herself at 70%."""
    image = Image.new("RGB", (900, 512), "grey")
    portrait = Image.fromarray(astronaut.pixels)
    image.paste(portrait.resize((358, 358)), (0, 0))
    image.paste(portrait, (388, 0))
    path = tmp_path_factory.mktemp("photos") / "two.png"
    image.save(path)
    return path
