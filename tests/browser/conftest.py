"""A real Chromium, and the page to drive in it as a person would."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import app
import generators
from inversion import PRESETS, ProjectorSettings
from tests.small_models import bundle, write_linear_controls

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SLOWLY = 60_000  # Milliseconds that a machine with other work may take.


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, started once for each file of tests, with controls of another method.

    `faithful` never ends there, and files of 2 MB are the largest.
    """
    with pytest.MonkeyPatch.context() as patch:
        linear = tmp_path_factory.mktemp("method") / "ganspace.safetensors"
        write_linear_controls(linear, "ganspace", generators.load())
        bundle(patch, "ganspace", linear)
        patch.setitem(PRESETS, "fast", ProjectorSettings(steps=12, start="samples", samples=4))
        never_ending = ProjectorSettings(steps=100_000, plateau=0, start="samples", samples=4)
        patch.setitem(PRESETS, "faithful", never_ending)
        with socket.socket() as probe:  # Files of tests that begin at the same moment would look for the same port.
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        demo = app.launch(port=port, block=False, upload_limit="2mb")
        yield demo.local_url
        demo.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package chromium, or name one in CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[[], Page]]:
    """Opens the page as a new visitor, who must see no other host and no script error."""
    visitors, hosts, errors = [], set(), []

    def open_page() -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True,
                                      permissions=["camera", "clipboard-read", "clipboard-write"])
        visitors.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOWLY)
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".gradio-container button", state="visible")
        return page

    yield open_page
    for context in visitors:
        context.close()
    assert hosts <= {address.split("/")[2]}
    assert errors == []
