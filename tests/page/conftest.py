"""The page, and visitors of it, as Gradio would call and keep them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from inversion import PRESETS, InversionCache, Photo
from page.jobs.inverting import invert
from page.jobs.services import Services
from page.layout import Page
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from tests.page.handling import LONG, OTHER, QUICK


@pytest.fixture(scope="session")
def services() -> Services:
    return Services(device="cpu")


@pytest.fixture(scope="session")
def page(services: Services) -> Page:
    with gr.Blocks(analytics_enabled=False):
        return Page(services)


@pytest.fixture(scope="session")
def tab(page: Page) -> EditTab:
    return page.edit


@pytest.fixture
def keeping(services: Services, tmp_path: Path) -> Page:
    """A page that keeps inversions."""
    shared = Services(services.models.generator, services.models.controls, cache=InversionCache(tmp_path / "kept"))
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
def inverted(tab: EditTab, services: Services, astronaut_file: Path) -> Visitor:
    """A visitor with an inversion; tests do not change it."""
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(astronaut_file)})
    with pytest.MonkeyPatch.context() as patch:  # This is made before each test's own presets are.
        patch.setitem(PRESETS, "fast", QUICK)
        list(invert(visitor, services.models, "fast", services.inversions))
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
