"""The photo and its faces: shown, chosen, described, refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from inversion import PRESETS, Face, Photo
from page.jobs.services import Services, measured_pace
from page.jobs.views import VIEW_SIDE
from page.layout import Page
from page.state.models import Timing
from page.state.visitor import Visitor
from page.tabs import examples, words
from page.tabs.edit import EditTab
from page.tabs.words import presets_in_words
from tests.page.handling import state_of


def test_a_photo_is_shown_with_its_face_outlined(tab: EditTab, astronaut_file: Path, astronaut: Photo) -> None:
    visitor = Visitor()
    update = tab.on_upload(visitor, {"path": str(astronaut_file)})
    assert update[tab.notice] == ""
    assert visitor.chosen == 0
    assert visitor.photo.sha256 == astronaut.sha256  # The very bytes: nothing decoded them on the way.
    picture = np.asarray(Image.open(update[tab.photo.outlined]["value"])).astype(int)
    changed = np.abs(picture - astronaut.pixels).max(axis=2) > 60
    left, top, right, bottom = visitor.faces[0].box
    assert changed.any()
    assert not changed[top + 5:bottom - 5, left + 5:right - 5].any()  # The face itself stays to be seen.
    assert update[tab.photo.outlined]["visible"] is update[tab.photo.face]["visible"] is False  # There is one alone.
    assert update[tab.side.veil]["visible"] is True
    assert visitor.preparing


def test_of_several_faces_the_largest_is_chosen_visibly_and_another_can_be(tab: EditTab, two_faces: Path) -> None:
    visitor = Visitor()
    update = tab.on_upload(visitor, {"path": str(two_faces)})
    assert update[tab.photo.face]["choices"] == [("1", 0), ("2", 1)]
    assert update[tab.photo.face]["value"] == 0
    assert update[tab.photo.face]["visible"] is True
    assert "2 faces found" in update[tab.photo.about]
    assert "Face 1 is chosen" in update[tab.photo.about]
    middle = visitor.faces[1].quad.mean(axis=0)
    event = gr.SelectData(None, {"index": middle.tolist(), "value": None})
    again = tab.on_click(visitor, event)
    assert visitor.chosen == 1
    assert again[tab.photo.face]["value"] == 1
    assert again[tab.photo.outlined]["value"] != update[tab.photo.outlined]["value"]
    assert tab.on_click(visitor, gr.SelectData(None, {"index": [899, 511], "value": None})) == gr.skip()
    assert visitor.chosen == 1


def test_a_click_is_read_in_the_scale_of_the_view(tab: EditTab, two_faces: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    image = Image.open(two_faces)
    image.resize((image.width * 2, image.height * 2)).save(large)
    visitor = Visitor()
    update = tab.on_upload(visitor, {"path": str(large)})
    assert Image.open(update[tab.photo.outlined]["value"]).width == VIEW_SIDE
    point = visitor.faces[1].quad.mean(axis=0) * VIEW_SIDE / visitor.photo.width
    tab.on_click(visitor, gr.SelectData(None, {"index": point.tolist(), "value": None}))
    assert visitor.chosen == 1


def test_a_face_that_is_too_small_is_named_and_not_inverted(tab: EditTab, two_faces: Path,
                                                            face_at: Callable[..., Face]) -> None:
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(two_faces)})
    visitor.faces[1] = face_at((50, 50), 20)
    update = tab.on_choose(visitor, 1)
    assert "two.png: the face is too small (20 pixels across" in update[tab.notice]
    assert visitor.chosen is None
    assert list(tab.on_quick_inversion(visitor)) == []
    assert update[tab.photo.outlined]["visible"] is True
    assert tab.on_choose(visitor, 0)[tab.side.veil]["visible"] is True


# ---- bad input

def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels, and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


BAD = {
    "empty.jpg": b"", "notes.jpg": b"these are words", "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "huge.png": png_of(20_000, 10_000),
    "cut.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_named_and_changes_nothing(tab: EditTab, inverted: Visitor, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    before = state_of(inverted)
    update = tab.on_upload(inverted, {"path": str(tmp_path / name)})
    assert name in update[tab.notice]
    assert update == {tab.notice: update[tab.notice], tab.photo.upload: None, tab.photo.turn: gr.update(visible=False)}
    assert state_of(inverted) == before


def test_a_photo_without_a_face_says_so(tab: EditTab, inverted: Visitor, tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "teal").save(tmp_path / "<b>wall.png")
    before = state_of(inverted)
    update = tab.on_upload(inverted, {"path": str(tmp_path / "<b>wall.png")})
    assert "no face" in update[tab.notice]
    assert "&lt;b&gt;wall.png" in update[tab.notice]  # A file's name is text, never markup.
    assert "<b>" not in update[tab.notice]
    assert update[tab.photo.turn]["visible"] is True
    assert "no face" in tab.on_turn(inverted)[tab.notice]
    assert inverted.faceless is not None
    inverted.faceless = None
    assert state_of(inverted) == before


def test_a_photo_is_turned_by_hand_where_that_shows_a_face(tab: EditTab, astronaut: Photo) -> None:
    visitor = Visitor()
    visitor.faceless = astronaut.turned(270)
    update = tab.on_turn(visitor)
    assert update[tab.notice] == ""
    assert visitor.chosen == 0
    assert np.array_equal(visitor.photo.pixels, astronaut.pixels)


def test_a_photo_on_its_side_is_turned_by_itself(tab: EditTab, astronaut: Photo, tmp_path: Path) -> None:
    Image.fromarray(astronaut.turned(90).pixels).save(tmp_path / "side.png")
    visitor = Visitor()
    tab.on_upload(visitor, {"path": str(tmp_path / "side.png")})
    assert np.array_equal(visitor.photo.pixels, astronaut.pixels)


# ---- in words

def test_a_face_is_described_with_what_that_means(tab: EditTab, tmp_path: Path, astronaut: Photo) -> None:
    small = Image.fromarray(astronaut.pixels).resize((230, 230)).rotate(-12, fillcolor="grey")
    small.save(tmp_path / "small.png")
    visitor = Visitor()
    told = tab.on_upload(visitor, {"path": str(tmp_path / "small.png")})[tab.photo.about]
    assert f"It is {visitor.faces[0].size:.0f} pixels across" in told
    assert "tilted" in told
    assert "detail that the photo does not have is invented" in told  # What that means for the result.
    assert "warnings" not in tab.on_upload(Visitor(), {"path": str(_saved(astronaut, tmp_path))})[tab.photo.about]


def _saved(photo: Photo, folder: Path) -> Path:
    Image.fromarray(photo.pixels).save(folder / "plain.png")
    return folder / "plain.png"


def test_presets_tell_their_time_once_it_is_known(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = Timing()
    monkeypatch.setattr(services.models.lazy_generator, "timing", timing)
    assert [text for text, _ in presets_in_words(services.models)] == list(words.PRESETS.values())
    timing.pace = measured_pace(services.models.projector)
    told = {name: text for text, name in presets_in_words(services.models)}
    assert all("about" in text for text in told.values())
    seconds = [timing.seconds(PRESETS[name]) for name in ("fast", "faithful")]
    assert 0 < seconds[0] < seconds[1]
    timing.learn(PRESETS["fast"], 200.0)
    assert {name: text for text, name in presets_in_words(services.models)}["fast"].endswith("(about 3 min)")


def test_examples_are_a_photo_and_faces_of_nobody(page: Page, tab: EditTab) -> None:
    pictures = examples.gallery(page.services.models)
    assert len({Path(path).read_bytes() for path, _ in pictures}) == len(pictures) == 1 + len(examples.SEEDS)
    visitor = Visitor()
    update = tab.on_example(visitor, gr.SelectData(None, {"index": 0, "value": None}))
    assert "1 face found" in update[tab.photo.about]
    update = tab.on_example(visitor, gr.SelectData(None, {"index": 2, "value": None}))
    assert visitor.subject is not None
    assert visitor.subject.name == f"sample-{examples.SEEDS[1]}"
    assert update[tab.edit_area]["visible"] is True
