"""Discovering a direction in a real Chromium: moving, naming, and finding it again as a slider and by a link."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from directions import load as load_controls
from tests.browser.driving import download, move, surprise, unfold

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
SHOWN = "#discover-picture img"
NUMBER = "#discover-{} input[type=number]"


def until_other(page: Page, do: Callable[[], None]) -> None:
    """Do something, and wait until another picture is shown."""
    before = page.locator(SHOWN).get_attribute("src")
    do()
    page.wait_for_function(
        "([css, before]) => { const image = document.querySelector(css);"
        " return image?.src && image.getAttribute('src') != before && image.complete && image.naturalWidth }",
        arg=[SHOWN, before])


def put(page: Page, place: int, value: float) -> None:
    box = page.locator(NUMBER.format(place))
    box.fill(str(value))
    box.press("Enter")


def test_what_is_found_becomes_a_slider(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    surprise(page)
    page.get_by_role("tab", name="Discover").click()
    page.wait_for_selector(SHOWN, state="visible")
    assert page.get_by_label("Your face").is_checked()
    page.click("#discover-save")
    page.wait_for_selector("#discover-notice >> text=is missing")
    until_other(page, lambda: put(page, 0, 2))
    page.wait_for_selector("#discover-effect >> text=Details")
    page.wait_for_selector("#discover-place >> text=1 moved")
    everywhere = page.locator(SHOWN).get_attribute("src")
    until_other(page, lambda: page.get_by_label("Layers to").press("Home"))
    assert page.locator("#discover-layers output").inner_text() == "4 to 4"
    until_other(page, lambda: page.get_by_label("Layers from").press("End"))  # It pushes the other end before it.
    first, last = page.locator("#discover-layers output").inner_text().split(" to ")
    assert first == last != "4"
    until_other(page, lambda: page.get_by_label("Layers from").press("Home"))
    assert page.get_by_label("Layers from").get_attribute("aria-valuetext") == "4 pixels"
    assert page.locator(SHOWN).get_attribute("src") == everywhere
    until_other(page, lambda: page.click("#discover-other"))
    page.get_by_label("Name", exact=True).fill("Wide eyes")
    page.click("#discover-export")
    assert [*load_controls(download(page, "#discover-export", tmp_path))] == ["wide_eyes"]
    unfold(page, "#discover-search")
    page.click("#discover-find")
    page.wait_for_selector("#discover-notice >> text=none is chosen")
    page.locator("#discover-layer input").click()
    page.get_by_role("option").nth(1).click()
    page.click("#discover-find")
    page.wait_for_selector("#discover-searching >> text=samples")
    page.click("#discover-stop")
    page.wait_for_selector("#discover-searching .running", state="detached")
    page.click("#discover-share")
    page.wait_for_selector("#discover-link", state="visible")
    link = page.locator("#discover-link").locator("input, textarea").input_value()
    page.click("#discover-save")
    page.wait_for_selector("#discover-effect >> text=is a slider of the tab Edit")
    page.get_by_role("tab", name="Edit").click()
    page.wait_for_selector("#control-wide_eyes", state="visible")
    assert move(page, "wide_eyes", 1) > 0

    page.goto(link)
    page.wait_for_selector(SHOWN, state="visible")
    assert page.locator(NUMBER.format(0)).input_value() == "2"
    page.goto(link.split("?")[0] + "?discover=nonsense")
    page.wait_for_selector("#discover-notice >> text=cannot be read")
