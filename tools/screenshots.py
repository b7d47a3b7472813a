"""The pictures of docs/page.md: the page in a real Chromium, with NASA's portrait of Eileen Collins (public domain).

    python -m tools.screenshots      needs Playwright and a Chromium (Debian's package, or the file that CHROMIUM names)
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import app
from page.tabs.examples import PHOTO

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parents[1] / "docs" / "page"
QUALITY = 82
LARGE, TABLET, PHONE = (1440, 900), (1024, 768), (390, 844)
LONG = 180_000  # Milliseconds that an inversion may take.


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    demo = app.launch(port=None, block=False)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
                                                 args=["--no-sandbox", "--disable-gpu"])
            address = str(demo.local_url)
            _large(browser, address)
            _phone(browser, address)
            browser.close()
    finally:
        demo.close()


def _large(browser: Browser, address: str) -> None:
    page = _open(browser, address, LARGE, "light")
    _take(page, "start")
    page.set_input_files("#upload input[type=file]", str(PHOTO))
    page.wait_for_selector("#veil img")
    _take(page, "preparing")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_selector("#stop")
    page.wait_for_selector("#stop", state="hidden")  # The better inversion has come.
    page.wait_for_function("getComputedStyle(document.querySelector('#control-hat'), '::after').backgroundImage"
                           ".startsWith('url')")
    _edit(page)
    _take(page, "edit")
    _discover(page)
    _take(page, "discover")
    _teach(page)
    _take(page, "teach")
    _batch(page)
    _take(page, "batch")
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector("#models-card summary")
    _take(page, "models")
    page.context.close()


def _phone(browser: Browser, address: str) -> None:
    pictures = []
    for size, theme in ((PHONE, "light"), (PHONE, "dark")):
        page = _open(browser, address, size, theme)
        page.locator("#examples button").nth(3).click()
        page.wait_for_selector("#edit", state="visible")
        _edit(page)
        pictures.append(Image.open(io.BytesIO(page.screenshot())))
        page.context.close()
    both = Image.new("RGB", (2 * PHONE[0] + 10, PHONE[1]), "white")
    for number, picture in enumerate(pictures):
        both.paste(picture, (number * (PHONE[0] + 10), 0))
    both.save(FOLDER / "phone.jpg", quality=QUALITY)
    page = _open(browser, address, TABLET, "dark")
    page.locator("#examples button").nth(4).click()
    page.wait_for_selector("#edit", state="visible")
    _edit(page)
    _take(page, "dark")
    page.context.close()


def _open(browser: Browser, address: str, size: tuple[int, int], theme: str) -> Page:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.set_default_timeout(LONG)
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_function("document.querySelectorAll('#examples img').length == 6")
    page.wait_for_timeout(1500)
    return page


def _edit(page: Page) -> None:
    """A little more serious, with glasses."""
    for control, strength in (("smile", -0.5), ("eyeglasses", 1)):
        box = page.locator(f"#control-{control} input[type=number]")
        box.fill(str(strength))
        box.press("Enter")
    page.wait_for_selector("#effect .said >> text=Eyeglasses (eyeglasses):")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)


def _discover(page: Page) -> None:
    """Hair by two components, on the face that is there."""
    page.get_by_role("tab", name="Discover").click()
    page.wait_for_selector("#discover-picture img")
    for place, amount in ((0, 1.5), (5, 1)):
        box = page.locator(f"#discover-{place} input[type=number]")
        box.fill(str(amount))
        box.press("Enter")
    page.wait_for_selector("#discover-place >> text=2 moved")
    page.wait_for_selector("#discover-effect >> text=component 5", state="attached")  # It is folded away.
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)


def _teach(page: Page) -> None:
    page.get_by_role("tab", name="Teach").click()
    page.get_by_label("Name of the new slider").fill("Long hair")
    page.get_by_label("Its classes").fill("short, long")
    page.click("#teach-begin")
    for number in range(17):
        page.wait_for_selector(f"#teach-picture img[alt='Sample {number + 1} of nobody']")
        page.keyboard.press("12"[number % 2])
    page.wait_for_selector("#teach-picture img[alt='Sample 18 of nobody']")


def _batch(page: Page) -> None:
    page.get_by_role("tab", name="Batch").click()
    with tempfile.TemporaryDirectory() as folder:
        mirrored, broken = Path(folder) / "mirrored.png", Path(folder) / "broken.jpg"
        Image.open(PHOTO).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)
        broken.write_bytes(PHOTO.read_bytes()[:5000])
        page.set_input_files("#batch-files input[type=file]", [str(PHOTO), str(broken), str(mirrored)])
        page.wait_for_selector("#batch-chosen >> text=chosen")
    page.locator("#batch-more > button").first.click()
    page.locator("#batch-preset label", has_text="fast").click()
    page.locator("#batch-more > button").first.click()
    page.click("#batch-start")
    page.wait_for_selector("#batch-status >> text=2 of 3 done, 1 failed")
    page.locator("#batch-table").scroll_into_view_if_needed()
    page.wait_for_timeout(800)


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(900)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(FOLDER / f"{name}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
