"""Too little memory, met by a visitor in a real Chromium: a sentence, and the page goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inversion import open_photo
from tests.browser.driving import at_rest, download, move, surprise
from tests.small_models import SIDE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_download_for_which_memory_does_not_suffice(visit: Callable[[], Page], tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    page = visit()
    surprise(page)
    move(page, "smile", 1)
    at_rest(page)
    with monkeypatch.context() as patch:
        patch.setattr("inversion.photo.metadata_options", fails)
        page.click("#save-picture")
        page.wait_for_selector("text=/out of memory .of this machine.; end other programs/")
    assert open_photo(download(page, "#save-picture", tmp_path)).width == SIDE
