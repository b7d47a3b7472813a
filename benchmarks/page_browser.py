"""One visitor in a real Chromium: from a slider's move to the picture on the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MOVES = 40
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
# Moves the slider as a hand would, and waits until the second picture of the result is another one, is decoded and has
# had a frame in which to be painted. Milliseconds.
MOVE = """async ([selector, value]) => {
  const slider = document.querySelector(selector), picture = () => [...document.querySelectorAll('#result img')].at(-1);
  const before = [...document.querySelectorAll('#result img')].map(image => image.src).join();
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const start = performance.now();
  set.call(slider, value);
  slider.dispatchEvent(new Event('input', {bubbles: true}));
  while (true) {
    const images = [...document.querySelectorAll('#result img')];
    if (images.map(image => image.src).join() != before && images.every(image => image.complete && image.naturalWidth))
      break;
    if (performance.now() - start > 30000) throw new Error('no picture within 30 s');
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  await picture().decode().catch(() => null);
  await new Promise(resolve => requestAnimationFrame(resolve));
  return performance.now() - start;
}"""


def in_chromium(address: str, photos: Sequence[Path], moves: int = MOVES) -> str:
    """Measure a sample, and photos put back; a Markdown table."""
    from playwright.sync_api import sync_playwright

    lines = ["| in Chromium, one visitor alone | moves | slider to picture, ms: p50 / p95 / most |", "|---|---|---|"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        try:
            for photo in (None, *photos):
                taken = _measure(browser, address, photo, moves)
                p50, p95 = np.percentile(taken, [50, 95])
                what = "a sample" if photo is None else f"{photo.name}, put back into the photo"
                lines.append(f"| {what} | {len(taken)} | {p50:.0f} / {p95:.0f} / {max(taken):.0f} |")
        finally:
            browser.close()
    return "\n".join(lines)


def _measure(browser: Any, address: str, photo: Path | None, moves: int) -> list[float]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(180_000)
    page.goto(address)
    if photo is None:
        page.click("#surprise")
    else:
        page.wait_for_selector("#upload input[type=file]", state="attached")
        page.set_input_files("#upload input[type=file]", str(photo))
        page.locator("#preset label").first.click()  # The quickest: an edit of it takes the same time.
        page.click("#invert")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_timeout(3000)
    values = np.random.default_rng(0).uniform(-2, 2, moves).round(2)
    taken = []
    for value in values:
        taken.append(float(page.evaluate(MOVE, ["#control-smile input[type=range]", str(value)])))
        page.wait_for_timeout(1000)  # A rest, in which the picture in full comes, and the numbers.
    page.context.close()
    return taken
