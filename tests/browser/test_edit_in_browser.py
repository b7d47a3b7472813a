"""The page in a real Chromium, driven as a person would: photo to download, Stop, bad photos, two visitors."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import app
from editing import load_recipe, parse_recipe
from inversion import PRESETS, Photo, ProjectorSettings, read_picture_metadata
from page import showing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
           "--disable-sync"]
SLOWLY = 60_000  # Milliseconds that a machine with other work may take.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "fast", ProjectorSettings(steps=12, start="samples", samples=4))
        never_ending = ProjectorSettings(steps=100_000, plateau=0, start="samples", samples=4)
        patch.setitem(PRESETS, "faithful", never_ending)
        demo = app.launch(port=None, block=False)
        yield demo.local_url
        demo.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[[], Page]]:
    """Opens the page as a new visitor, who must see no other host and no script error."""
    visitors, hosts, errors = [], set(), []

    def open_page() -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        visitors.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOWLY)
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "://" in request.url else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#upload input[type=file]", state="attached")
        return page

    yield open_page
    for context in visitors:
        context.close()
    assert hosts <= {address.split("/")[2]}
    assert errors == []


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", str(path))


def pictures(page: Page) -> list[str]:
    return page.locator("#result img").evaluate_all("images => images.map(image => image.src)")


def until_changed(page: Page, before: list[str]) -> float:
    """Wait for the result to change and be loaded; seconds that it took."""
    start = time.perf_counter()
    page.wait_for_function(
        """before => { const images = [...document.querySelectorAll('#result img')];
           return images.length == 2 && images.some((image, n) => image.src != before[n])
                  && images.every(image => image.complete && image.naturalWidth) }""", arg=before)
    return time.perf_counter() - start


def move(page: Page, control: str, value: float) -> float:
    """Type a strength beside its slider; seconds until the picture shows it."""
    before = pictures(page)
    box = page.locator(f"#control-{control} input[type=number]")
    box.fill(str(value))
    box.press("Enter")
    return until_changed(page, before)


def invert(page: Page, preset: str) -> None:
    page.locator("#preset label", has_text=preset).click()
    page.click("#invert")


def download(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as event:
        page.click(button)
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def test_from_a_photo_to_an_edited_download(visit: Callable[[], Page], astronaut_file: Path, astronaut: Photo,
                                            tmp_path: Path) -> None:
    page = visit()
    upload(page, astronaut_file)
    page.wait_for_selector("#faces-words >> text=1 face found")
    invert(page, "fast")
    page.wait_for_selector("#edit", state="visible")
    assert "by dlib: distance" in page.inner_text("#status")
    move(page, "smile", 2)
    recipe = load_recipe(download(page, "#save-recipe", tmp_path))
    assert recipe.strengths == {"smile": 2.0}
    assert recipe.source.photo == astronaut.sha256
    put_back = page.get_by_label("Put back into the photo")
    assert put_back.is_checked()
    for turn in (put_back.uncheck, put_back.check):
        before = pictures(page)
        turn()
        until_changed(page, before)
    picture = download(page, "#save-picture", tmp_path)
    assert picture.name == "astronaut-edited.png"
    assert parse_recipe(read_picture_metadata(picture)["gradctrl"]) == recipe
    assert load_recipe(picture) == recipe  # As the command line's --recipe reads it.
    before = pictures(page)
    page.click("#reset")
    until_changed(page, before)
    assert page.locator("#control-smile input[type=number]").input_value() == "0"


def test_dragging_a_slider_ends_with_the_picture_of_its_last_place(visit: Callable[[], Page]) -> None:
    page = visit()
    page.get_by_role("tab", name="Surprise me").click()
    page.click("#draw")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_selector("#result img")
    move(page, "smile", 1.5)
    wanted = pictures(page)
    move(page, "smile", 0)
    slider = page.locator("#control-smile input[type=range]")
    slider.focus()
    for _ in range(30):  # Steps of 0.05, faster than pictures are made.
        slider.press("ArrowRight")
    page.wait_for_function(
        "wanted => [...document.querySelectorAll('#result img')].every((image, n) => image.src == wanted[n])",
        arg=wanted)


def test_another_method_makes_another_picture_and_reset_goes_back(visit: Callable[[], Page], tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Surprise me").click()
    page.click("#draw")
    page.wait_for_selector("#edit", state="visible")
    page.wait_for_selector("#result img")
    move(page, "smile", 1)
    own = pictures(page)
    page.locator("#advanced button").first.click()
    page.locator("#method label").nth(1).click()  # The way to keep attributes that is not the controls' own.
    until_changed(page, own)
    assert load_recipe(download(page, "#save-recipe", tmp_path)).method in ("paper", "project")
    before = pictures(page)
    page.click("#reset")
    until_changed(page, before)
    move(page, "smile", 1)
    assert pictures(page) == own
    assert load_recipe(download(page, "#save-recipe", tmp_path)).method is None


def test_a_bad_photo_is_named_and_the_last_one_stays(visit: Callable[[], Page], astronaut_file: Path,
                                                     tmp_path: Path) -> None:
    from PIL import Image

    page = visit()
    page.get_by_role("tab", name="Surprise me").click()
    page.click("#draw")
    page.wait_for_selector("#edit", state="visible")
    before = pictures(page)
    page.get_by_role("tab", name="Your photo").click()
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "wall.png")
    (tmp_path / "cut.jpg").write_bytes(astronaut_file.read_bytes()[:3000])
    (tmp_path / "words.png").write_bytes(b"these are words")
    for name, words in (("wall.png", "no face was found"), ("cut.jpg", "cut short or damaged"),
                        ("words.png", "not a JPEG, PNG or WebP")):
        upload(page, tmp_path / name)
        page.wait_for_selector(f"#notice >> text={name}")
        assert words in page.inner_text("#notice")
        page.wait_for_selector("#upload input[type=file]", state="attached")  # Ready for another.
    assert pictures(page) == before
    assert "Traceback" not in page.content()
    upload(page, astronaut_file)
    page.wait_for_selector("#faces-words >> text=1 face found")
    page.wait_for_selector("#notice .problem", state="detached")


def test_stop_keeps_a_picture_and_another_visitor_edits_meanwhile(visit: Callable[[], Page],
                                                                  astronaut_file: Path) -> None:
    inverting, editing = visit(), visit()
    upload(inverting, astronaut_file)
    inverting.wait_for_selector("#invert", state="visible")
    invert(inverting, "faithful")
    inverting.wait_for_selector("#status >> text=/step \\d+ of 100000/")
    editing.get_by_role("tab", name="Surprise me").click()
    editing.click("#draw")
    editing.wait_for_selector("#edit", state="visible")
    editing.wait_for_selector("#result img")
    move(editing, "age", 1)
    before = pictures(inverting)
    until_changed(inverting, before)  # Still streaming, and it is not the other's picture.
    assert set(pictures(inverting)).isdisjoint(pictures(editing))
    inverting.click("#stop")
    inverting.wait_for_selector("#edit", state="visible")
    assert "stopped at step" in inverting.inner_text("#status")
    assert len(pictures(inverting)) == 2
    inverting.wait_for_selector("#invert", state="visible")
    move(inverting, "smile", 2)


def test_leaving_ends_the_inversion(visit: Callable[[], Page], astronaut_file: Path) -> None:
    import threading

    def running() -> bool:
        return any(thread.name == "inversion" for thread in threading.enumerate())

    page: Any = visit()
    upload(page, astronaut_file)
    page.wait_for_selector("#invert", state="visible")
    invert(page, "faithful")
    page.wait_for_selector("#status >> text=/step \\d+ of 100000/")
    assert running()
    page.close()
    deadline = time.monotonic() + 60
    while running() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running()


def test_a_face_is_inverted_once_and_forgotten_when_asked(visit: Callable[[], Page], astronaut_file: Path) -> None:
    page = visit()
    upload(page, astronaut_file)
    page.wait_for_selector("#faces-words >> text=1 face found")
    for _ in range(2):
        invert(page, "fast")
        page.wait_for_selector("#invert", state="visible")
        page.wait_for_selector("#status >> text=/Inversion: .*(kept from before|[0-9] s)/")
    page.wait_for_selector("#status >> text=kept from before")
    visitor_files = [path for path in showing.private_dir().rglob("*") if path.is_file()]
    assert astronaut_file.name not in [path.name for path in visitor_files]  # The upload went once it was read.
    page.click("#forget")
    page.wait_for_selector("text=Forgotten: your photo")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.wait_for_selector("#edit", state="hidden")
    assert pictures(page) == []
    upload(page, astronaut_file)
    page.wait_for_selector("#faces-words >> text=1 face found")
    invert(page, "fast")
    page.wait_for_selector("#status >> text=/Inversion: .*LPIPS/")
    assert "kept from before" not in page.inner_text("#status")
