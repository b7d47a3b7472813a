"""The tab Batch in a real Chromium: a broken file among the good, Cancel, and what is said if something is missing."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.driving import download, move, surprise, unfold

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, astronaut_file: Path) -> Path:
    """A good photo, one that was cut short, and a ZIP with a good one and a text."""
    data = astronaut_file.read_bytes()
    (tmp_path / "good.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:3000])
    with zipfile.ZipFile(tmp_path / "holiday.zip", "w") as archive:
        archive.writestr("beach/good.jpg", data + b"2")
        archive.writestr("beach/readme.txt", "words")
    return tmp_path


def go(page: Page) -> None:
    """Set an edit on the tab Edit, and the quick preset on this one."""
    surprise(page)
    move(page, "smile", 2)
    page.wait_for_selector("#effect .said >> text=Smile:")
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_selector("#batch-edit >> text=smile +2")
    unfold(page, "#batch-more")
    page.locator("#batch-preset label", has_text="fast").click()


def choose(page: Page, *paths: Path) -> None:
    page.set_input_files("#batch-files input[type=file]", [str(path) for path in paths])
    page.wait_for_selector("#batch-chosen >> text=chosen")


def lines(page: Page) -> list[str]:
    return page.locator("#batch-table tbody tr").all_inner_texts()


def test_a_broken_file_among_the_good(visit: Callable[[], Page], folder: Path, tmp_path: Path) -> None:
    page = visit()
    go(page)
    choose(page, folder / "good.jpg", folder / "cut.jpg", folder / "holiday.zip")
    page.click("#batch-start")
    page.wait_for_selector("#batch-status >> text=2 of 4 done, 2 failed")
    good, cut, from_zip, text = lines(page)
    assert "good.jpg" in good
    assert "done" in good
    assert "beach/good.jpg" in from_zip
    assert "done" in from_zip
    assert "the file is cut short or damaged" in cut
    assert "is not a JPEG, PNG or WebP" in text
    page.wait_for_function("[...document.querySelectorAll('#batch-table img')].filter(one => one.naturalWidth).length"
                           " == 4")
    assert page.get_by_alt_text("After the edit: good.jpg").count() == 1
    with zipfile.ZipFile(download(page, "#batch-download", tmp_path)) as archive:
        pictures = [name for name in archive.namelist() if name.startswith("pictures/")]
        assert pictures == ["pictures/beach/good-edited.png", "pictures/good-edited.png"]
        rows = list(csv.DictReader(io.StringIO(archive.read("batch.csv").decode())))
    assert [row["state"] for row in rows] == ["done", "failed", "done", "failed"]


def test_cancel_keeps_what_is_done_and_another_batch_can_be_started(visit: Callable[[], Page],
                                                                    folder: Path) -> None:
    page = visit()
    go(page)
    page.locator("#batch-preset label", has_text="faithful").click()
    choose(page, folder / "cut.jpg", folder / "good.jpg")
    page.click("#batch-start")
    page.wait_for_selector("#batch-status >> text=/step \\d+ of 100000/")
    assert page.locator("#batch-start").count() == 0
    page.click("#batch-cancel")
    page.wait_for_selector("#batch-status >> text=Cancelled: 0 of 2 done, 1 failed")
    page.locator("#batch-preset label", has_text="fast").click()
    choose(page, folder / "good.jpg")
    page.locator("#batch-start").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#batch-status >> text=1 of 1 done")


def test_what_is_missing_is_said(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Batch").click()
    page.click("#batch-start")
    page.wait_for_selector("#batch-notice >> text=no photos are chosen")
    page.locator("#batch-edit-from label", has_text="A recipe").click()
    page.wait_for_selector("#batch-edit >> text=Choose a recipe")
    recipe = tmp_path / "mine.json"
    recipe.write_text("{}")
    with page.expect_file_chooser() as chooser:
        page.click("#batch-recipe")
    chooser.value.set_files(str(recipe))
    page.wait_for_selector("#batch-notice >> text=mine.json: not a recipe")
    assert "Traceback" not in page.content()
