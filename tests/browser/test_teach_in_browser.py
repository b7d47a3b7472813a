"""Teaching a control in a real Chromium: keys and buttons, training, saving, the downloaded file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from directions import load as load_controls
from tests.browser.driving import download, move, surprise

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
SAMPLE = "#teach-picture img"


def until_next(page: Page, do: Callable[[], None]) -> None:
    """Do something, and wait until another sample is shown."""
    before = page.locator(SAMPLE).get_attribute("src")
    do()
    page.wait_for_function(
        "([css, before]) => { const image = document.querySelector(css);"
        " return image && image.src && image.getAttribute('src') != before && image.complete && image.naturalWidth }",
        arg=[SAMPLE, before])


def numbers(page: Page) -> list[int]:
    """How many samples each class has."""
    return [int(text.split()[0]) for text in page.locator("#teach-counts .number").all_inner_texts()]


def begin(page: Page) -> None:
    page.get_by_role("tab", name="Teach").click()
    page.get_by_label("Name of the new slider").fill("Warm light")
    page.get_by_label("Its classes").fill("cold, warm")
    page.get_by_label("Its classes").press("Enter")
    page.wait_for_selector(SAMPLE, state="visible")


def test_a_control_is_taught_with_keys_and_buttons(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Teach").click()
    page.click("#teach-begin")
    page.wait_for_selector("#teach-notice >> text=no name")
    begin(page)
    page.wait_for_selector("#teach-notice .problem", state="detached")
    for number in range(1, 20):
        key = 1 + number % 2
        until_next(page, partial(page.keyboard.press, str(key)) if number % 4 else
                   page.locator(f"#teach-class-{key}").click)
    assert numbers(page) == [9, 10]
    page.click("#teach-train")
    page.wait_for_selector("#teach-notice >> text=at least 10 samples of each class")
    until_next(page, lambda: page.keyboard.press("1"))
    assert numbers(page) == [10, 10]
    assert "primary" in (page.locator("#teach-train").get_attribute("class") or "")
    page.click("#teach-train")
    page.wait_for_selector("#teach-strip img", state="visible")
    assert "of your 20 faces" in page.inner_text("#teach-accuracy")
    before = page.locator("#teach-strip img").get_attribute("src")
    page.locator("#teach-keep input").first.uncheck()
    page.wait_for_function("before => document.querySelector('#teach-strip img').getAttribute('src') != before",
                           arg=before)
    file = download(page, "#teach-download", tmp_path)
    assert file.name == "warm_light.control.safetensors"
    [control] = load_controls(file).values()
    assert (control.classes, "smile" in control.keep) == (("cold", "warm"), False)
    page.click("#teach-save")
    page.wait_for_selector("#teach-said >> text=Saved: the slider Warm light")
    page.get_by_role("tab", name="Edit").click()  # The slider is there at once, and moves the picture.
    surprise(page)
    assert move(page, "warm_light", 1.0) > 0
    page.wait_for_selector("#effect .said >> text=Warm light")
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector("#models-card >> text=Warm light")
    page.click("#models-restore")
    page.wait_for_selector("#models-card >> text=Warm light", state="detached")
    page.set_input_files("#models-control-file input[type=file]", str(file))
    page.wait_for_selector("#models-card >> text=Warm light")


def test_keys_are_for_the_lesson_alone(visit: Callable[[], Page]) -> None:
    page = visit()
    page.get_by_role("tab", name="Teach").click()
    page.get_by_label("Name of the new slider").press_sequentially("s1u ")
    assert page.get_by_label("Name of the new slider").input_value() == "s1u "
    begin(page)
    first = page.locator(SAMPLE).get_attribute("alt")
    assert first == "Sample 1 of nobody"
    until_next(page, lambda: page.keyboard.press("s"))
    until_next(page, lambda: page.keyboard.press("Space"))
    assert numbers(page) == [0, 0]
    until_next(page, lambda: page.keyboard.press("2"))
    assert numbers(page) == [0, 1]
    until_next(page, lambda: page.keyboard.press("u"))
    assert numbers(page) == [0, 0]
    page.keyboard.press("3")  # There is no third class.
    page.locator("#teach-class-1").focus()
    until_next(page, lambda: page.keyboard.press("Space"))  # A button that has the focus is pressed, not skipped.
    assert numbers(page) == [1, 0]
    page.get_by_role("tab", name="Edit").click()
    page.wait_for_selector("#upload", state="visible")
    page.evaluate("document.activeElement.blur()")
    for key in "12su":
        page.keyboard.press(key)
    page.get_by_role("tab", name="Teach").click()
    page.wait_for_selector(SAMPLE, state="visible")
    assert numbers(page) == [1, 0]
    assert page.locator(SAMPLE).get_attribute("alt") == "Sample 4 of nobody"
    until_next(page, lambda: page.keyboard.press("1"))
    assert numbers(page) == [2, 0]


def test_two_visitors_have_lessons_of_their_own(visit: Callable[[], Page]) -> None:
    one, other = visit(), visit()
    begin(one)
    begin(other)
    until_next(one, lambda: one.keyboard.press("1"))
    until_next(other, lambda: other.keyboard.press("2"))
    assert (numbers(one), numbers(other)) == ([1, 0], [0, 1])
    assert one.locator(SAMPLE).get_attribute("src") != other.locator(SAMPLE).get_attribute("src")
