"""What is deleted by itself, in a real browser: when somebody leaves, and when the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inversion import PRESETS, InversionCache, ProjectorSettings
from page import launching, layout
from page.jobs import forgetting
from page.state import files
from tests.browser.driving import move, prepare, surprise

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
SOON = 4.0  # Seconds in place of an hour.


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that forgets quickly."""
    cache = InversionCache(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.5")  # How soon Gradio sees that somebody has left.
        patch.setitem(PRESETS, "fast", ProjectorSettings(steps=4, start="samples", samples=4))
        patch.setattr(forgetting, "GRACE", 0.5)
        patch.setattr(layout, "KEPT_SECONDS", SOON)
        patch.setattr(layout, "SWEEP_SECONDS", 1)
        patch.setattr(forgetting, "page_cache", lambda: cache)
        demo = launching.launch(port=None, block=False)
        yield demo.local_url
        demo.close()


def visitors_files() -> set[Path]:
    """Files that belong to one visitor: their folders have names of 32 digits."""
    return {path for folder in files.private_dir().iterdir() if len(folder.name) == 32
            for path in folder.rglob("*") if path.is_file()}


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()


def test_who_closes_the_page_leaves_nothing(visit: Callable[[], Page], astronaut_file: Path) -> None:
    before = visitors_files()
    page = visit()
    prepare(page, astronaut_file)
    mine = visitors_files() - before
    assert mine
    page.close()
    assert until(lambda: not any(path.exists() for path in mine))


def test_when_the_time_is_over_all_is_deleted_and_said_so(visit: Callable[[], Page]) -> None:
    before = visitors_files()  # Of other pages in this process, whose time is not over.
    page = visit()
    surprise(page)
    move(page, "smile", 1)
    assert visitors_files() - before
    page.wait_for_timeout(1000 * SOON + 3000)
    box = page.locator("#control-smile input[type=number]")
    box.fill("0.5")
    box.press("Enter")
    page.wait_for_selector("#notice >> text=there is nothing to edit any more")

    def is_tidy() -> bool:
        forgetting.tidy(files.private_dir(), 2)
        return not visitors_files() - before

    assert until(is_tidy)  # The last small picture of what may be tried was being made just then.
