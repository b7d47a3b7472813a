"""Every file of the corpus opens with the right pixels, or is refused with the true reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inversion.photo import open_photo, save_picture
from tests.inversion.corpus import Case, cases
from weights.errors import InputError

CASES = cases()
pytestmark = [pytest.mark.filterwarnings("ignore:Corrupt EXIF"), pytest.mark.filterwarnings("ignore:Truncated File")]


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_outcome(case: Case, tmp_path: Path) -> None:
    if case.refused:
        with pytest.raises(InputError) as caught:
            open_photo(io.BytesIO(case.data), name="me.jpg")
        assert str(caught.value).startswith("me.jpg: ")
        assert case.refused in str(caught.value)
        return
    photo = open_photo(io.BytesIO(case.data), name="me.jpg")
    assert case.pixels is not None
    assert photo.pixels.shape == case.pixels.shape
    assert np.abs(photo.pixels.astype(int) - case.pixels).max() <= case.levels
    assert [text for text in photo.warnings if case.warning not in text] == []
    assert bool(photo.warnings) == bool(case.warning)
    save_picture(tmp_path / "copy.png", photo.pixels, like=photo)
    with Image.open(tmp_path / "copy.png") as copy:
        assert copy.mode == case.mode
    again = open_photo(tmp_path / "copy.png")
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 1
