"""What the tests in the browser do again and again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def upload(page: Page, path: Path) -> None:
    """Give the tab Edit a photo."""
    page.set_input_files("#upload input[type=file]", str(path))


PICTURES = "['#before img', '#after img'].map(part => document.querySelector(part))"


def pictures(page: Page) -> list[str]:
    """The addresses of the picture before and the picture after."""
    return page.evaluate(f"{PICTURES}.filter(image => image).map(image => image.src)")  # type: ignore[no-any-return]


def until_changed(page: Page, before: list[str]) -> float:
    """Wait for the result to change and be loaded; seconds that it took."""
    start = time.perf_counter()
    page.wait_for_function(
        f"""before => {{ const images = {PICTURES};
           return images.every(image => image?.complete && image.naturalWidth)
                  && images.some((image, n) => image.src != before[n]) }}""", arg=before)
    return time.perf_counter() - start


def surprise(page: Page) -> None:
    """Begin to edit a face of nobody."""
    page.click("#surprise")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_function(f"{PICTURES}.every(image => image?.naturalWidth)")


def prepare(page: Page, path: Path) -> None:
    """Give the tab Edit a photo, and wait until its face can be edited."""
    upload(page, path)
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_function(f"{PICTURES}.every(image => image?.naturalWidth)")


def move(page: Page, control: str, value: float) -> float:
    """Type a strength beside its slider; seconds until the picture shows it."""
    before = pictures(page)
    box = page.locator(f"#control-{control} input[type=number]")
    box.fill(str(value))
    box.press("Enter")
    return until_changed(page, before)


def at_rest(page: Page) -> list[str]:
    """The pictures once they are there in full, not as previews, which come within the message."""
    page.wait_for_function(f"{PICTURES}.every(image => image?.naturalWidth && !image.src.startsWith('data:'))")
    return pictures(page)


def unfold(page: Page, area: str) -> None:
    """Open what is folded."""
    page.locator(f"{area} > button").first.click()


def download(page: Page, button: str, folder: Path) -> Path:
    """Click a button that makes a file, and save the file under the name that it is offered by."""
    with page.expect_download() as event:
        page.click(button)
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path
