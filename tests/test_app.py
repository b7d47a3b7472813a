"""The page's handlers, called as Gradio calls them: properties first, then bad input, then privacy."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

import app
from editing import Editor, parse_recipe, reproduce
from editing.families import LinearControl, save_family
from gradctrl import Controls
from inversion import Face, Photo, ProjectorSettings, read_picture_metadata
from page import KEPT_SECONDS, layout, showing
from page.layout import Page
from page.models import OWN, Models
from page.visitor import VIEW_SIDE, Visitor, around
from weights.errors import InputError

ROOT = Path(app.__file__).parent
QUICK = ProjectorSettings(steps=10, start="samples", samples=4, tuning_steps=2)
LONG = ProjectorSettings(steps=5000, start="samples", samples=4, plateau=0.0)


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(device="cpu")


@pytest.fixture(scope="module")
def page(models: Models) -> Page:
    with gr.Blocks(analytics_enabled=False):
        return Page(models)


@pytest.fixture(autouse=True)
def _short_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layout.PRESETS, "fast", QUICK)
    monkeypatch.setitem(layout.PRESETS, "faithful", LONG)


@pytest.fixture(scope="module")
def inverted(page: Page, astronaut_file: Path) -> Visitor:
    """A visitor with an inversion; tests do not change it."""
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    list(visitor.invert(page.models.projector, QUICK))
    return visitor


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory, astronaut: Photo) -> Path:
    """The astronaut, and beside her herself at 70%."""
    image = Image.new("RGB", (900, 512), "grey")
    portrait = Image.fromarray(astronaut.pixels)
    image.paste(portrait.resize((358, 358)), (0, 0))
    image.paste(portrait, (388, 0))
    path = tmp_path_factory.mktemp("photos") / "two.png"
    image.save(path)
    return path


def settings(page: Page, compare: str = "crop", pasted: bool = False, own_keep: bool = True,
             keep: tuple[str, ...] = (), method: str = OWN, classes: dict[str, str] | None = None,
             **strengths: float) -> list[Any]:
    """The inputs of a repaint after the visitor, in the page's order."""
    targets = [(classes or {}).get(name, page.models.controls[name].classes[0]) for name in page.targets]
    sliders = [strengths.get(name, 0) for name in page.strengths]
    return [compare, pasted, own_keep, list(keep), method, *sliders, *targets]


def shown(update: dict[Any, Any], page: Page) -> tuple[np.ndarray, np.ndarray]:
    before, after = update[page.result]
    return np.asarray(Image.open(before)), np.asarray(Image.open(after))


# ---- photo and faces

def test_a_photo_is_shown_with_its_face_outlined(page: Page, astronaut_file: Path, astronaut: Photo) -> None:
    visitor = Visitor()
    update = page.on_upload(visitor, {"path": str(astronaut_file)})
    assert update[page.notice] == ""
    assert visitor.chosen == 0
    assert visitor.photo.sha256 == astronaut.sha256  # The very bytes: nothing decoded them on the way.
    picture = np.asarray(Image.open(update[page.outlined])).astype(int)
    changed = np.abs(picture - astronaut.pixels).max(axis=2) > 60
    left, top, right, bottom = visitor.faces[0].box
    assert changed.any()
    assert not changed[top + 5:bottom - 5, left + 5:right - 5].any()  # The face itself stays to be seen.
    assert update[page.invert]["interactive"] is True
    assert update[page.face]["visible"] is False


def test_of_several_faces_the_largest_is_chosen_visibly_and_another_can_be(page: Page, two_faces: Path) -> None:
    visitor = Visitor()
    update = page.on_upload(visitor, {"path": str(two_faces)})
    assert update[page.face]["choices"] == [("1", 0), ("2", 1)]
    assert update[page.face]["value"] == 0
    assert update[page.face]["visible"] is True
    assert "2 faces found" in update[page.faces_words]
    assert "Face 1 is chosen" in update[page.faces_words]
    middle = visitor.faces[1].quad.mean(axis=0)
    event = gr.SelectData(None, {"index": middle.tolist(), "value": None})
    again = page.on_click(visitor, event)
    assert visitor.chosen == 1
    assert again[page.face]["value"] == 1
    assert again[page.outlined] != update[page.outlined]
    assert page.on_click(visitor, gr.SelectData(None, {"index": [899, 511], "value": None})) == {}
    assert visitor.chosen == 1


def test_a_click_is_read_in_the_scale_of_the_view(page: Page, two_faces: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    image = Image.open(two_faces)
    image.resize((image.width * 2, image.height * 2)).save(large)
    visitor = Visitor()
    update = page.on_upload(visitor, {"path": str(large)})
    assert Image.open(update[page.outlined]).width == VIEW_SIDE
    point = visitor.faces[1].quad.mean(axis=0) * VIEW_SIDE / visitor.photo.width
    page.on_click(visitor, gr.SelectData(None, {"index": point.tolist(), "value": None}))
    assert visitor.chosen == 1


def test_a_face_that_is_too_small_is_named_and_not_inverted(page: Page, two_faces: Path,
                                                            face_at: Callable[..., Face]) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(two_faces)})
    visitor.faces[1] = face_at((50, 50), 20)
    update = page.on_choose(visitor, 1)
    assert "two.png: the face is too small (20 pixels across" in update[page.notice]
    assert update[page.invert]["interactive"] is False
    assert "no face to invert" in list(page.on_invert(visitor, "fast"))[-1][page.notice]
    assert page.on_choose(visitor, 0)[page.invert]["interactive"] is True


# ---- inversion

def test_an_inversion_streams_and_opens_the_sliders(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    begun = page.on_begin(visitor)
    assert begun[page.stop]["visible"] is True
    updates = list(page.on_invert(visitor, "fast"))
    steps = [update[page.status] for update in updates if "value=" in str(update.get(page.status))]
    assert len(steps) >= 3
    assert "step 12 of 12" in steps[-1]
    last = updates[-1]
    assert last[page.edit_area]["visible"] is True
    assert last[page.invert]["visible"] is True
    assert last[page.stop]["visible"] is False
    assert "by dlib: distance" in last[page.status]
    assert "LPIPS" in last[page.status]
    assert "stopped" not in last[page.status]
    assert visitor.subject.inversion.steps == 12
    assert visitor.subject.inversion.photo_hash == visitor.photo.sha256
    assert all(slider in last and last[slider]["value"] == 0 for slider in page.strengths.values())


def test_stop_reaches_the_running_inversion_and_keeps_the_best_so_far(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    updates = page.on_invert(visitor, "faithful")
    while "step" not in next(updates)[page.status]:
        pass
    next(updates)
    page.on_stop(visitor)
    last = list(updates)[-1]
    assert visitor.subject is not None
    assert 1 < visitor.subject.inversion.steps < 200
    assert visitor.subject.stopped
    assert "stopped at step" in last[page.status]
    assert last[page.pasted] is True
    before, after = (Path(shown).read_bytes() for shown in last[page.result])
    assert before == after  # Unedited, the photo with the face put back is the photo itself.
    assert last[page.edit_area]["visible"] is True


def test_stop_reaches_an_inversion_that_still_waits(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    page.on_stop(visitor)
    list(page.on_invert(visitor, "faithful"))
    assert visitor.subject.inversion.steps == 1


def test_another_photo_is_not_overwritten_by_an_inversion_of_the_last(page: Page, astronaut_file: Path,
                                                                      two_faces: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    page.on_begin(visitor)
    updates = page.on_invert(visitor, "faithful")
    while "step" not in next(updates)[page.status]:
        pass
    page.on_upload(visitor, {"path": str(two_faces)})  # Ends it.
    last = list(updates)[-1]
    assert visitor.subject is None
    assert visitor.photo.name == "two.png"
    assert last[page.stop]["visible"] is False


def test_closing_the_stream_ends_the_inversion(page: Page, astronaut_file: Path) -> None:
    visitor = Visitor()
    page.on_upload(visitor, {"path": str(astronaut_file)})
    stop = visitor.begin()
    stream = visitor.invert(page.models.projector, LONG)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert stop.is_set()


@pytest.mark.parametrize(("distance", "words"), [
    (0.42, "same person by dlib: distance 0.42 (below 0.6)"), (0.599, "distance 0.5990 (below 0.6)"),
    (0.6, "a likeness, not the same person by dlib: distance 0.6000 (0.6 or more)"),
    (0.75, "distance 0.75 (0.6 or more)"),
])
def test_identity_is_told_in_words(distance: float, words: str) -> None:
    assert showing.identity_in_words(distance).endswith(words)


# ---- edits

def test_no_strength_is_the_inversion_and_a_strength_is_the_editors_edit(page: Page, inverted: Visitor) -> None:
    subject, models = inverted.subject, page.models
    still, moved = models.edit(subject, {}, None), models.edit(subject, {"smile": 1.5}, None)
    editor = Editor(models.generator, models.controls)
    editor.set_latent(subject.inversion)
    assert np.array_equal(still, editor.edit({}))
    assert np.array_equal(moved, editor.edit({"smile": 1.5}))
    crop, picture = shown(page.on_paint(inverted, *settings(page, smile=1.5)), page)
    assert np.abs(picture.astype(int) - moved).mean() < 2  # JPEG.
    assert np.abs(crop.astype(int) - subject.inversion.crop).mean() < 2
    base, _ = shown(page.on_paint(inverted, *settings(page, compare="inversion", smile=1.5)), page)
    assert np.abs(base.astype(int) - subject.picture).mean() < 2
    assert np.abs(picture.astype(int) - base).mean() > 1


def test_every_slider_repaints_and_every_class_differs(page: Page, inverted: Visitor) -> None:
    seen = {page.on_paint(inverted, *settings(page))[page.result][1]}
    count = 1
    for name, control in page.models.controls.items():
        for target in control.classes[:1] if control.binary else control.classes:
            update = page.on_paint(inverted, *settings(page, classes={name: target}, **{name: control.limits[1]}))
            assert update[page.notice] == ""
            seen.add(update[page.result][1])
            count += 1
    assert len(seen) == count


def test_the_keep_list_is_the_controls_own_until_ticks_are_chosen(page: Page, inverted: Visitor) -> None:
    subject = inverted.subject
    editor = page.models.editor(subject)
    for own, expected in ((True, None), (False, ("gender",))):
        found, strengths, keep = page._edit(inverted, own, ["gender"], tuple(settings(page, smile=2.0)[5:]))
        assert (found, strengths, keep) == (subject, {"smile": 2.0}, expected)
        assert np.array_equal(page.models.edit(found, strengths, keep), editor.edit({"smile": 2.0}, keep=expected))


def test_the_downloaded_photo_changes_in_the_face_alone_and_names_its_recipe(page: Page, inverted: Visitor,
                                                                            astronaut: Photo) -> None:
    update = page.on_save_picture(inverted, *settings(page, pasted=True, smile=2.0))
    path = Path(update[page.picture_link])
    assert path.name == "astronaut-edited.png"
    changed = (np.asarray(Image.open(path)) != astronaut.pixels).any(axis=2)
    corners = inverted.faces[0].quad
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    assert changed.any()
    changed[max(top, 0):bottom + 1, max(left, 0):right + 1] = False
    assert not changed.any()
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    recipe.check(page.models.editor(inverted.subject))
    assert recipe.strengths == {"smile": 2.0}
    assert recipe.source.photo == astronaut.sha256
    link = page.on_save_recipe(inverted, *settings(page, smile=2.0))[page.recipe_link]
    assert parse_recipe(Path(link).read_text()) == recipe


def test_a_sample_is_edited_and_its_recipe_reproduces_the_download(page: Page) -> None:
    visitor = Visitor()
    update = page.on_surprise(visitor, 0.7)
    assert update[page.edit_area]["visible"] is True
    assert update[page.photo_views]["visible"] is False
    hair = page.models.controls["hair"]
    saved = page.on_save_picture(visitor, *settings(page, classes={"hair": "blond"}, hair=hair.limits[1], smile=-1.0))
    path = Path(saved[page.picture_link])
    assert path.name == f"sample-{update[page.seed]}-edited.png"
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    editor = Editor(page.models.generator, page.models.controls)
    assert np.array_equal(reproduce(recipe, editor), np.asarray(Image.open(path)))


# ---- methods

@pytest.fixture(scope="module")
def family_files(models: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Families of directions, by the names of the bundled ones; InterFaceGAN's is another generator's."""
    folder, generator = tmp_path_factory.mktemp("families"), models.generator
    files = {}
    for family, width in (("interfacegan", generator.w_dim), ("ganspace", generator.w_dim),
                          ("stylespace", generator.style_slices[-1].stop)):
        n = torch.nn.functional.normalize(torch.randn(1, width, generator=torch.Generator().manual_seed(1)), dim=1)
        made = [LinearControl(name=name, classes=("no", "yes"), layers=(0, generator.num_ws), directions=n, weights=n,
                              family=family, bias=torch.zeros(1), units=(6.0,), limits=(-1.0, 1.5))
                for name in ("smile", "age")]
        files[f"bundled-{family}"] = folder / f"{family}.safetensors"
        save_family(files[f"bundled-{family}"], made,
                    generator_hash="0" * 64 if family == "interfacegan" else generator.hash)
    return files


@pytest.fixture
def methodical(models: Models, family_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page on a machine that has these files."""
    monkeypatch.setattr("editing.families.files.path_of", family_files.__getitem__)
    with gr.Blocks(analytics_enabled=False):
        return Page(Models(models.generator, models.controls))


def test_the_methods_are_those_that_can_be_used(models: Models, methodical: Page,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    other = "project" if methodical.models.own_method == "paper" else "paper"
    assert methodical.models.methods == (OWN, other, "ganspace", "stylespace")
    words = {"project": "projection", "paper": "paper (masks)"}
    assert methodical.method.choices == [(words[str(methodical.models.own_method)], OWN), (words[other], other),
                                         ("GANSpace", "ganspace"), ("StyleSpace", "stylespace")]
    assert methodical.method.value == OWN

    def nowhere(name: str) -> Path:
        raise InputError(f"{name}: not on this machine")

    monkeypatch.setattr("editing.families.files.path_of", nowhere)
    assert Models(models.generator, models.controls).methods == (OWN, other)
    smile = next(iter(methodical.models.controls_of("ganspace").values()))
    linear = Models(models.generator, Controls([smile]))
    assert (linear.own_method, linear.methods) == ("ganspace", (OWN,))


@pytest.mark.parametrize("method", ["project", "paper", "ganspace", "stylespace"])
def test_a_method_edits_as_the_editor_does_and_its_recipe_reproduces_the_download(methodical: Page,
                                                                                  method: str) -> None:
    page, visitor = methodical, Visitor()
    page.on_draw(visitor, 5, 0.7)
    editor = page.models.editor(visitor.subject, method)
    expected = editor.edit({"smile": 1.0}, method=method)
    _, picture = shown(page.on_paint(visitor, *settings(page, method=method, smile=1.0)), page)
    assert np.abs(picture.astype(int) - expected).mean() < 2  # JPEG.
    path = Path(page.on_save_picture(visitor, *settings(page, method=method, smile=1.0))[page.picture_link])
    recipe = parse_recipe(read_picture_metadata(path)["gradctrl"])
    assert recipe.method == method
    assert recipe.controls == page.models.controls_of(method).hash
    assert np.array_equal(reproduce(recipe, editor), np.asarray(Image.open(path)))
    assert np.array_equal(np.asarray(Image.open(path)), expected)
    link = page.on_save_recipe(visitor, *settings(page, method=method, smile=1.0))[page.recipe_link]
    assert parse_recipe(Path(link).read_text()) == recipe


def test_methods_differ_in_what_they_do(methodical: Page) -> None:
    visitor = Visitor()
    methodical.on_draw(visitor, 5, 0.7)
    pictures = {methodical.on_paint(visitor, *settings(methodical, method=method, smile=1.0))[methodical.result][1]
                for method in methodical.models.methods}
    assert len(pictures) == 4


def test_sliders_take_the_ranges_of_the_method(methodical: Page) -> None:
    page = methodical
    own = {name: control.limits for name, control in page.models.controls.items()}
    update = page.on_method("ganspace", *(high for _, high in own.values()))
    for name, slider in page.strengths.items():
        low, high = (-1.0, 1.5) if name in ("smile", "age") else own[name]
        assert (update[slider]["minimum"], update[slider]["maximum"]) == (low, high)
        assert update[slider]["value"] == min(own[name][1], high)  # Beyond the end is at the end.
        assert update[slider]["elem_classes"] == ("signed" if low == -high else "")
    back = page.on_reset()
    assert back[page.method] == OWN
    for name, slider in page.strengths.items():
        assert (back[slider]["minimum"], back[slider]["maximum"], back[slider]["value"]) == (*own[name], 0)


def test_an_attribute_that_a_family_lacks_is_refused_in_words(methodical: Page) -> None:
    page, visitor = methodical, Visitor()
    page.on_draw(visitor, 5, 0.7)
    for handler, link in ((page.on_paint, None), (page.on_save_picture, page.picture_link)):
        update = handler(visitor, *settings(page, method="ganspace", gender=1.0))
        assert "gender: no such attribute in ganspace.safetensors; there are smile, age" in update[page.notice]
        assert link is None or update[link] is None
    update = page.on_paint(visitor, *settings(page, method="stylespace", own_keep=False, keep=("gender",), smile=1.0))
    assert "gender: no such attribute in stylespace.safetensors" in update[page.notice]


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
def test_a_bad_upload_is_named_and_changes_nothing(page: Page, inverted: Visitor, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    before = dict(vars(inverted))
    update = page.on_upload(inverted, {"path": str(tmp_path / name)})
    assert name in update[page.notice]
    assert update == {page.notice: update[page.notice], page.upload: None}
    assert vars(inverted) == before


def test_a_photo_without_a_face_says_so(page: Page, inverted: Visitor, tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "teal").save(tmp_path / "<b>wall.png")
    before = dict(vars(inverted))
    update = page.on_upload(inverted, {"path": str(tmp_path / "<b>wall.png")})
    assert "no face" in update[page.notice]
    assert "&lt;b&gt;wall.png" in update[page.notice]  # A file's name is text, never markup.
    assert "<b>" not in update[page.notice]
    assert vars(inverted) == before


def test_a_visitor_whose_time_is_over_is_told_so(page: Page) -> None:
    for update, link in ((page.on_paint(Visitor(), *settings(page, smile=1.0)), None),
                         (page.on_save_picture(Visitor(), *settings(page)), page.picture_link),
                         (page.on_save_recipe(Visitor(), *settings(page)), page.recipe_link)):
        assert "choose the photo again" in update[page.notice]
        assert link is None or update[link] is None  # No link to an earlier file.
    assert "choose it again" in page.on_choose(Visitor(), 1)[page.notice]
    assert "no photo arrived" in page.on_upload(Visitor(), None)[page.notice]


# ---- the house

def test_edits_never_wait_behind_inversions() -> None:
    demo = app.build_demo()
    lanes: dict[str, set[str | None]] = {}
    for function in demo.fns.values():
        lanes.setdefault(function.name, set()).add(function.concurrency_id)
        if function.name == "on_invert":
            assert function.concurrency_limit == 1
    assert lanes["on_invert"] == {"inversion"}
    assert all("inversion" not in ids for name, ids in lanes.items() if name != "on_invert")
    assert not any(function.queue for function in demo.fns.values() if function.name in ("on_stop", "on_begin"))


def test_the_page_reports_nothing_and_deletes_what_it_was_given() -> None:
    demo = app.build_demo()
    assert demo.analytics_enabled is False
    assert demo.delete_cache == (app.SWEEP_SECONDS, KEPT_SECONDS)
    assert [block.time_to_live for block in demo.blocks.values() if isinstance(block, gr.State)] == [KEPT_SECONDS]
    assert os.environ["GRADIO_TEMP_DIR"] == str(showing.private_dir())
    assert showing.private_dir().stat().st_mode & 0o777 == 0o700
    assert all(function.api_visibility == "private" for function in demo.fns.values())


def test_the_private_directory_ends_with_the_program() -> None:
    code = ("import numpy as np; from page import showing\n"
            "print(showing.for_browser(np.zeros((8, 8, 3), np.uint8)))\nassert showing.private_dir().is_dir()")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip().endswith("picture.jpg")
    assert not Path(result.stdout.strip()).parents[2].exists()


@pytest.mark.slow
def test_the_private_directory_ends_with_a_page_that_is_terminated(tmp_path: Path) -> None:
    code = "import app; app.launch(port=None)"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}) as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        assert len(list(tmp_path.glob("gradctrl-page-*"))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list(tmp_path.glob("gradctrl-page-*")) == []


def test_a_port_that_is_taken_is_named(models: Models) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}.*choose another port"):
            app.launch(port=port, generator=models.generator, controls=models.controls, block=False)


def test_the_part_around_a_face_is_pasted_as_in_the_whole_photo(inverted: Visitor) -> None:
    """What the page shows of a photo is the same as what is saved of it."""
    subject = inverted.subject
    edited = np.clip(subject.picture.astype(int) + 40, 0, 255).astype(np.uint8)
    before, after = subject.pasted(edited, whole=False)
    _, whole = subject.pasted(edited, whole=True)
    part, [face] = around(subject.photo, subject.face)
    start = (subject.face.quad - face.quad)[0].round().astype(int)
    height, width = part.pixels.shape[:2]
    assert max(height, width) <= VIEW_SIDE
    assert np.array_equal(before, subject.photo.pixels[start[1]:start[1] + height, start[0]:start[0] + width])
    difference = after.astype(int) - whole[start[1]:start[1] + height, start[0]:start[0] + width]
    assert np.abs(difference).max() <= 1
    assert np.abs(after.astype(int) - before).max() > 20
