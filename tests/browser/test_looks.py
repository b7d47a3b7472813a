"""How the page looks: texts that can be read, and nothing wider than the screen, light and dark, large and small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.driving import move, prepare, surprise, unfold

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8").partition("\n")[2]
# Pictures in sight that are cut off by the component that shows them, or by the screen's sides; but those of a row that
# a finger scrolls may go on beyond its sides.
CUT_OFF = """() => [...document.querySelectorAll('img')].filter(image => image.checkVisibility()).filter(image => {
  const frame = (image.closest('.block') || document.body).getBoundingClientRect(), box = image.getBoundingClientRect();
  const row = image.closest('.grid-container');
  const scrolls = row && getComputedStyle(row).overflowX == 'auto' && row.scrollWidth > row.clientWidth;
  return !scrolls && (box.left < frame.left - 1 || box.right > frame.right + 1) || box.top < frame.top - 1
    || box.bottom > frame.bottom + 1;
}).map(image => image.closest('.block')?.id + ' ' + image.alt)"""
TABS = ("Edit", "Discover", "Teach", "Batch", "Models")


@pytest.fixture(params=[(1440, 900, "light"), (1024, 768, "dark"), (390, 844, "light"), (390, 844, "dark")],
                ids=lambda shape: "-".join(map(str, shape)))
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, height, theme = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_selector("#examples img")
    yield page
    context.close()


def check(page: Page, where: str) -> None:
    page.wait_for_timeout(500)  # What fades in has done so.
    assert page.evaluate(CONTRAST) == [], where
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{where}: wider than the screen"
    assert page.evaluate(CUT_OFF) == [], where


def test_all_can_be_read_and_nothing_is_wider_than_the_screen(page: Page, astronaut_file: Path) -> None:
    check(page, "start")
    prepare(page, astronaut_file)
    check(page, "photo")
    page.click("#stop")
    page.click("#back")
    surprise(page)
    move(page, "smile", -0.5)
    page.wait_for_selector("#effect .said >> text=Smile:")
    page.locator("#effect summary").click()
    for area in ("#advanced", "#view", "#more"):
        unfold(page, area)
    check(page, "edit")
    page.locator("#look label", has_text="Side by side").click()
    page.wait_for_selector("#pair img")
    check(page, "side by side")
    for tab in TABS[1:]:
        page.get_by_role("tab", name=tab).click()
        if tab == "Discover":
            page.wait_for_function("document.querySelector('#discover-picture img')?.naturalWidth")
        if tab == "Models":
            page.wait_for_selector("#models-card summary")
            unfold(page, "#models-generators")
        check(page, tab)
    page.get_by_role("tab", name="Teach").click()
    page.click("#teach-begin")
    page.wait_for_selector("#teach-notice >> text=no name")
    check(page, "an error")


def test_before_and_after_lie_upon_each_other(page: Page, astronaut_file: Path) -> None:
    """Whatever the screen's size, a point of the face is at the same place in both."""
    from playwright.sync_api import expect

    def boxes() -> list[dict[str, float]]:
        page.wait_for_timeout(500)
        images = page.locator("#before img, #after img") if whole else page.locator("#result img")
        expect(images).to_have_count(2)  # They are put there anew when the picture in full arrives.
        return [images.nth(number).bounding_box() for number in range(2)]

    surprise(page)
    move(page, "smile", 0.5)
    whole = True
    before, after = boxes()
    assert before == after
    page.locator("#look label", has_text="Split").click()
    page.wait_for_function("[...document.querySelectorAll('#result img')].filter(i => i.naturalWidth).length == 2")
    whole = False
    before, after = boxes()
    frame = page.locator("#result").bounding_box()
    assert before == after
    assert frame["y"] <= before["y"] < before["y"] + before["height"] <= frame["y"] + frame["height"]
    page.click("#back")
    prepare(page, astronaut_file)
    whole = True
    before, after = boxes()
    assert before == after


def test_the_picture_stays_in_sight_while_the_last_slider_is_moved(page: Page) -> None:
    surprise(page)
    page.locator("#control-pose input[type=range]").scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    box = page.locator("#after img").bounding_box()
    height = page.viewport_size["height"] if page.viewport_size else 0
    assert box is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= height
