"""The tab Edit in a real Chromium, driven as a person would: photo to download, Stop, bad photos, two visitors."""

from __future__ import annotations

import base64
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from editing import load_recipe, load_session, parse_recipe
from inversion import Photo, read_picture_metadata
from page.state import files
from tests.browser.driving import (
    PICTURES,
    at_rest,
    download,
    move,
    pictures,
    prepare,
    surprise,
    unfold,
    until_changed,
    upload,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow


def test_from_a_photo_to_an_edited_download(visit: Callable[[], Page], astronaut_file: Path, astronaut: Photo,
                                            tmp_path: Path) -> None:
    page = visit()
    prepare(page, astronaut_file)
    page.wait_for_selector("#status >> text=Making it look more like you")
    page.click("#stop")
    page.wait_for_selector("#status summary >> text=Ready")
    move(page, "smile", 0.5)
    page.wait_for_selector("#effect .said >> text=Smile:")
    page.locator("#effect summary").click()
    page.wait_for_selector("table.effect >> text=Smile: smiling")
    assert "Identity distance" in page.inner_text("#effect")
    unfold(page, "#more")
    recipe = load_recipe(download(page, "#save-recipe", tmp_path))
    assert recipe.edit.strengths == {"smile": 0.5}
    assert recipe.source.photo == astronaut.sha256
    unfold(page, "#view")
    put_back = page.get_by_label("Put back into the photo")
    assert put_back.is_checked()
    for turn in (put_back.uncheck, put_back.check):
        before = pictures(page)
        turn()
        until_changed(page, before)
    picture = download(page, "#save-picture", tmp_path)
    assert picture.name == "astronaut-edited.jpg"
    assert parse_recipe(read_picture_metadata(picture)["gradctrl"]) == recipe
    assert load_recipe(picture) == recipe  # As the command line's --recipe reads it.
    before = pictures(page)
    page.click("#reset")
    until_changed(page, before)
    assert page.locator("#control-smile input[type=number]").input_value() == "0"


def test_dragging_a_slider_ends_with_the_picture_of_its_last_place(visit: Callable[[], Page]) -> None:
    page = visit()
    surprise(page)
    move(page, "smile", 1.5)
    wanted = at_rest(page)
    move(page, "smile", 0)
    slider = page.locator("#control-smile input[type=range]")
    slider.focus()
    for _ in range(30):  # Steps of 0.05, faster than pictures are made.
        slider.press("ArrowRight")
    page.wait_for_function(f"wanted => {PICTURES}.every((image, n) => image.src == wanted[n])", arg=wanted)


def test_another_method_makes_another_picture_and_reset_goes_back(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    surprise(page)
    move(page, "smile", 1)
    own = at_rest(page)
    unfold(page, "#advanced")
    unfold(page, "#more")
    page.locator("#method label").nth(1).click()  # The first of the other methods.
    until_changed(page, own)
    recipe = load_recipe(download(page, "#save-recipe", tmp_path))
    assert recipe.edit.method in ("interfacegan", "ganspace", "stylespace")
    before = pictures(page)
    page.click("#reset")
    until_changed(page, before)
    move(page, "smile", 1)
    assert at_rest(page) == own
    assert load_recipe(download(page, "#save-recipe", tmp_path)).edit.method is None


def test_a_bad_photo_is_named_and_the_last_one_stays(visit: Callable[[], Page], astronaut_file: Path,
                                                     tmp_path: Path) -> None:
    page = visit()
    surprise(page)
    before = pictures(page)
    page.click("#back")
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "wall.png")
    (tmp_path / "cut.jpg").write_bytes(astronaut_file.read_bytes()[:3000])
    (tmp_path / "words.png").write_bytes(b"these are words")
    for name, words in (("wall.png", "no face was found"), ("cut.jpg", "cut short or damaged"),
                        ("words.png", "is not a JPEG, PNG or WebP")):
        upload(page, tmp_path / name)
        page.wait_for_selector(f"#notice >> text={name}")
        assert words in page.inner_text("#notice")
        page.wait_for_selector("#upload input[type=file]", state="attached")  # Ready for another.
    assert pictures(page) == before
    assert "Traceback" not in page.content()
    upload(page, astronaut_file)
    page.wait_for_selector("#faces-words >> text=1 face found")
    page.wait_for_selector("#notice .problem", state="detached")


def test_another_visitor_is_ready_while_one_is_refined(visit: Callable[[], Page], astronaut_file: Path) -> None:
    refined, other = visit(), visit()
    prepare(refined, astronaut_file)
    refined.wait_for_selector("#status >> text=/about \\d+ s left/")
    prepare(other, astronaut_file)  # It does not wait until the first one is at its end, which never comes.
    move(other, "age", 0.5)
    move(refined, "smile", 0.5)
    assert set(pictures(refined)).isdisjoint(pictures(other))
    refined.click("#stop")
    refined.wait_for_selector("#status summary >> text=Ready")
    assert refined.locator("#control-smile input[type=number]").input_value() == "0.5"
    refined.close()
    other.close()


def test_the_picture_before_is_seen_as_long_as_something_is_held(visit: Callable[[], Page]) -> None:
    page = visit()
    surprise(page)
    move(page, "smile", 1)

    def opacity() -> str:
        return str(page.evaluate("getComputedStyle(document.querySelector('#before')).opacity"))

    box = page.locator("#whole").bounding_box()
    assert box is not None
    assert opacity() == "0"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    assert opacity() == "1"
    page.mouse.up()
    assert opacity() == "0"
    for key, focus in (("b", "#undo"), (" ", "#hold"), ("Enter", "#hold")):
        page.locator(focus).focus()
        page.keyboard.down(key)
        assert opacity() == "1", key
        page.keyboard.up(key)
        assert opacity() == "0", key


def test_full_size_opens_and_closes(visit: Callable[[], Page], astronaut_file: Path, astronaut: Photo) -> None:
    page = visit()
    prepare(page, astronaut_file)
    page.click("#full")
    page.wait_for_selector("#full-dialog[open] img.after")
    page.wait_for_function("document.querySelector('#full-dialog .after').naturalWidth")
    assert page.locator("#full-dialog .after").evaluate("image => image.naturalWidth") == astronaut.width
    page.locator("#full-dialog .zoom").click()
    assert "actual" in (page.locator("#full-dialog").get_attribute("class") or "")
    page.keyboard.press("Escape")
    page.wait_for_selector("#full-dialog[open]", state="detached")


def test_looks_ends_and_numbers_beyond_a_slider(visit: Callable[[], Page]) -> None:
    page = visit()
    surprise(page)
    page.wait_for_selector("#looks img")
    page.wait_for_function("getComputedStyle(document.querySelector('#control-smile'), '::after')"
                           ".backgroundImage.startsWith('url')")
    before = pictures(page)
    page.locator("#looks button").nth(1).click()
    until_changed(page, before)
    page.wait_for_function("Number(document.querySelector('#control-age input[type=number]').value) > 0")
    before = pictures(page)
    page.click("#surprise-edit")
    until_changed(page, before)
    page.click("#undo")
    page.wait_for_function("Number(document.querySelector('#control-age input[type=number]').value) > 0")
    box, slider = (page.locator(f"#control-smile input[type={kind}]") for kind in ("number", "range"))
    box.fill("99")
    assert box.input_value() == slider.get_attribute("max")


def test_a_tab_that_is_loaded_again_offers_what_was_there(visit: Callable[[], Page], astronaut_file: Path) -> None:
    page = visit()
    prepare(page, astronaut_file)
    move(page, "smile", 0.5)
    page.wait_for_selector("#effect .said >> text=Smile")
    page.reload()
    page.click("#again")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_function("document.querySelector('#control-smile input[type=number]')?.value == '0.5'")


def test_a_face_is_inverted_once_and_forgotten_when_asked(visit: Callable[[], Page], astronaut: Photo,
                                                          tmp_path: Path) -> None:
    page = visit()
    Image.fromarray(astronaut.pixels).save(tmp_path / "mine.png")  # Nobody else has brought it.
    prepare(page, tmp_path / "mine.png")
    unfold(page, "#advanced")
    page.locator("#preset label").first.click()  # `fast`: nothing better is to follow, now and afterwards.
    page.wait_for_selector("#status summary >> text=Ready")
    assert "kept from before" not in (page.locator("#status").text_content() or "")
    page.click("#back")
    page.wait_for_selector("#edit", state="hidden")
    prepare(page, tmp_path / "mine.png")
    page.wait_for_selector("#status summary >> text=Ready")
    assert "kept from before" in (page.locator("#status").text_content() or "")
    visitor_files = [path for path in files.private_dir().rglob("*") if path.is_file()]
    assert "mine.png" not in [path.name for path in visitor_files]  # The upload went once it was read.
    page.click("#forget")
    page.wait_for_selector("text=Forgotten: your photo")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.wait_for_selector("#after", state="detached")
    assert pictures(page) == []


def test_of_several_faces_one_is_chosen(visit: Callable[[], Page], astronaut: Photo, tmp_path: Path) -> None:
    image = Image.new("RGB", (900, 512), "grey")
    portrait = Image.fromarray(astronaut.pixels)
    image.paste(portrait.resize((358, 358)), (0, 0))
    image.paste(portrait, (388, 0))
    image.save(tmp_path / "two.png")
    page = visit()
    upload(page, tmp_path / "two.png")
    page.wait_for_selector("#faces-words >> text=2 faces found")
    page.wait_for_selector("#faces-words >> text=Face 1 is chosen")
    page.get_by_label("2", exact=True).check()
    page.wait_for_selector("#faces-words >> text=Face 2 is chosen")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_function("document.querySelector('#faces img').complete")  # A click is read in its size.
    outlined = page.locator("#faces img")
    shown = outlined.bounding_box()
    assert shown is not None
    left = (shown["width"] - shown["height"] * 900 / 512) / 2  # Of the picture within its frame.
    # The larger one. This waits until nothing moves any more, as a click of the mouse somewhere would not.
    outlined.click(position={"x": left + shown["height"] * 612 / 512, "y": shown["height"] * 0.25})
    page.wait_for_selector("#faces-words >> text=Face 1 is chosen")
    page.wait_for_selector("#edit", state="visible")


def test_a_session_is_opened_again_by_another_browser(visit: Callable[[], Page], astronaut_file: Path,
                                                      tmp_path: Path) -> None:
    page = visit()
    prepare(page, astronaut_file)
    move(page, "age", 0.5)
    page.wait_for_selector("#effect .said >> text=Age:")
    unfold(page, "#more")
    saved = download(page, "#save-session", tmp_path)
    assert saved.name == "astronaut.session.safetensors"
    assert load_session(saved).edit.strengths == {"age": 0.5}
    tomorrow = visit()
    unfold(tomorrow, "#resume-area")
    tomorrow.set_input_files("#session-file input[type=file]", str(saved))
    tomorrow.wait_for_selector("#edit", state="visible")
    assert tomorrow.locator("#control-age input[type=number]").input_value() == "0.5"
    tomorrow.wait_for_selector("#effect .said >> text=Age:")
    one, other = (download(visitor, "#save-picture", tmp_path / name).read_bytes()
                  for visitor, name in ((page, "today"), (tomorrow, "tomorrow")))
    assert one == other


def test_a_file_that_is_too_large_is_refused_with_a_message(visit: Callable[[], Page], address: str,
                                                            tmp_path: Path) -> None:
    page = visit()
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(3 * 2**20)
    upload(page, large)
    page.wait_for_selector("text=exceed the maximum allowed size")
    boundary = "limit"
    data = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"large.png\"\r\n\r\n".encode()
            + os.urandom(3 * 2**20) + f"\r\n--{boundary}--\r\n".encode())
    request = urllib.request.Request(f"{address}gradio_api/upload", data=data, headers={
        "Content-Type": f"multipart/form-data; boundary={boundary}"})
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request)
    assert not list(files.private_dir().rglob("large.png"))


def test_undo_redo_and_a_double_click_to_zero(visit: Callable[[], Page]) -> None:
    page = visit()
    surprise(page)
    first = pictures(page)
    move(page, "smile", 1)
    page.wait_for_selector("#undo:not([disabled])")
    smiling = at_rest(page)
    page.click("#undo")
    until_changed(page, smiling)
    assert pictures(page) == first
    assert page.locator("#control-smile input[type=number]").input_value() == "0"
    page.click("#redo")
    until_changed(page, first)
    assert pictures(page) == smiling
    page.locator("#control-smile input[type=range]").dblclick(position={"x": 4, "y": 4})
    page.wait_for_function("document.querySelector('#control-smile input[type=number]').value == '0'")
    page.wait_for_function(f"first => {PICTURES}[1].src == first[1]", arg=first)


def test_an_example_strip_film_and_comparison(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    page.locator("#examples button").nth(2).click()
    page.wait_for_selector("#edit", state="visible")
    move(page, "smile", -0.5)
    page.wait_for_selector("#effect .said >> text=Smile:")
    page.click("#pin")
    unfold(page, "#view")
    page.wait_for_selector("#compare >> text=pinned: smile")
    move(page, "age", 0.5)
    before = at_rest(page)
    page.locator("#compare label", has_text="unedited").click()
    until_changed(page, before)
    assert at_rest(page)[0] != before[0]
    page.locator("#look label", has_text="Side by side").click()
    page.wait_for_selector("#pair img")
    size = page.locator("#pair img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert size[0] == 2 * size[1] + 8
    page.locator("#look label", has_text="Strip").click()
    page.wait_for_selector("#strip img")
    assert page.locator("#strip img").evaluate("image => image.naturalWidth / image.naturalHeight") == 7
    page.locator("#look label", has_text="Split").click()
    page.wait_for_function("document.querySelectorAll('#result img').length == 2")
    page.locator("#look label", has_text="Film").click()
    page.wait_for_selector("#film video", state="attached")
    move(page, "age", 0.25)
    page.wait_for_selector("#film", state="detached")  # It showed the edit before.
    assert page.locator("#look input[value=whole]").is_checked()
    unfold(page, "#more")
    film = download(page, "#save-film", tmp_path)
    assert film.read_bytes()[4:8] == b"ftyp"


def test_a_click_is_not_lost_to_the_slider_that_it_lets_go_of(visit: Callable[[], Page]) -> None:
    """A click elsewhere lets go of the box of a strength too; what that sends may come after what the click sends."""
    page = visit()
    surprise(page)
    move(page, "smile", -0.5)
    page.click("#pin")
    unfold(page, "#view")
    page.wait_for_selector("#compare >> text=pinned: smile")
    move(page, "age", 0.5)
    pinned = at_rest(page)
    late: list[Route] = []

    def hold(route: Route) -> None:
        if "pinned" in (route.request.post_data or ""):
            late.append(route)
        else:
            route.continue_()

    page.route("**/run/predict", hold)
    page.locator("#compare label", has_text="unedited").click()
    until_changed(page, pinned)
    unedited = at_rest(page)
    assert unedited[0] != pinned[0]
    [route] = late
    with page.expect_response("**/run/predict"):
        route.continue_()
    page.wait_for_timeout(2000)  # Within which it would be painted, and come to rest.
    assert pictures(page) == unedited


def test_everything_has_a_name_and_can_be_reached_by_keyboard(visit: Callable[[], Page]) -> None:
    page = visit()
    surprise(page)
    for area in ("#advanced", "#view", "#more"):
        unfold(page, area)
    nameless = page.evaluate("""() => [...document.querySelectorAll('input, button, select, textarea')].filter(part => {
        if (!part.checkVisibility() || part.type == 'file') return false;
        const labels = [...(part.labels || [])].map(label => label.innerText).join('');
        const picture = part.querySelector('img')?.alt;
        return !(part.ariaLabel || part.title || part.innerText || labels || picture
                 || part.getAttribute('aria-labelledby'));
    }).map(part => part.outerHTML.slice(0, 200))""")
    assert nameless == []
    seen = set()
    page.locator("#back").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
    assert {"control-smile", "undo", "reset", "pin", "save-picture", "look", "save-session"} & seen
    slider = page.locator("#control-smile input[type=range]")
    before = pictures(page)
    slider.focus()
    page.keyboard.press("ArrowRight")
    until_changed(page, before)


def test_a_photo_comes_from_the_clipboard_or_the_webcam_too(visit: Callable[[], Page], astronaut: Photo) -> None:
    data = io.BytesIO()
    Image.fromarray(astronaut.pixels).save(data, "PNG")
    page = visit()
    page.evaluate("""async data => {
        const picture = await (await fetch('data:image/png;base64,' + data)).blob();
        await navigator.clipboard.write([new ClipboardItem({'image/png': picture})]);
    }""", base64.b64encode(data.getvalue()).decode())
    page.get_by_label("Paste from clipboard").click()
    page.wait_for_selector("#faces-words >> text=1 face found")
    filmed = visit()  # By Chromium's own camera, which shows no face.
    filmed.get_by_label("Capture from camera").click()
    filmed.get_by_title("grant webcam access").click()
    filmed.wait_for_function("[...document.querySelectorAll('#upload video')].some(video => video.videoWidth)")
    filmed.wait_for_timeout(500)
    filmed.get_by_title("capture photo").click()
    filmed.wait_for_selector("#notice >> text=no face was found")
