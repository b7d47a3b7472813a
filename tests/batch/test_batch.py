"""Batches: properties first, then what is written, then bad files, then ZIPs that are meant to harm."""

from __future__ import annotations

import csv
import errno
import gc
import io
import json
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from batch import driver
from batch.driver import FAULT, NOT_BEGUN, Batch, BatchOptions, Row, run_to_zip
from batch.files import BatchPhoto, Names, gather, load_edit, pack, unpack_photos
from directions import Controls, Edit
from directions import load as load_controls
from editing import RECIPE_KEY, Editor, Inverter, load_recipe, parse_recipe, reproduce
from generators import load
from inversion import (
    Found,
    InversionCache,
    Photo,
    Projector,
    ProjectorSettings,
    align,
    find_faces,
    find_upright,
    load_inversion,
    open_photo,
    paste_back,
    read_picture_metadata,
)
from weights.errors import InputError

QUICK = ProjectorSettings(steps=2, start="samples", samples=2, plateau=0.0)
EDIT = Edit(strengths={"smile": 2.0})


@pytest.fixture(scope="module")
def projector() -> Projector:
    return Projector(load("bundled"))


@pytest.fixture(scope="module")
def controls() -> Controls:
    return load_controls("bundled")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: Photo) -> list[Path]:
    """Three photos: the astronaut, mirrored, and twice side by side."""
    folder = tmp_path_factory.mktemp("batch-photos")
    portrait = Image.fromarray(astronaut.pixels)
    both = Image.new("RGB", (900, 512), "grey")
    both.paste(portrait.resize((358, 358)), (0, 0))
    both.paste(portrait, (388, 0))
    pictures = {"one.png": portrait, "mirrored.png": portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                "two.png": both}
    for name, picture in pictures.items():
        picture.save(folder / name)
    return [folder / name for name in pictures]


@pytest.fixture
def make(projector: Projector, controls: Controls) -> Callable[..., Batch]:
    """Makes a batch; options go to `BatchOptions`."""
    def made(edit: Edit = EDIT, *, cache: Any = None, turn: Any = None, on_row: Any = None, should_stop: Any = None,
             **options: Any) -> Batch:
        turns = {"turn": turn} if turn else {}
        return Batch(projector, controls, edit, QUICK, options=BatchOptions(**options), cache=cache, on_row=on_row,
                     should_stop=should_stop, **turns)
    return made


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> InversionCache:
    """A cache that the tests of this file share, so that a face is inverted once."""
    return InversionCache(tmp_path_factory.mktemp("kept"))


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "batch.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "pictures").iterdir())}


# ---- properties

def test_a_batch_equals_single_runs_bit_for_bit(make: Callable[..., Batch], photos: list[Path], tmp_path: Path) -> None:
    rows = make().run(photos[:2], tmp_path / "all")
    assert [row.state for row in rows] == ["done"] * 2
    single: dict[str, bytes] = {}
    for photo in photos[:2]:
        make().run([photo], tmp_path / photo.stem)
        single |= results(tmp_path / photo.stem)
        name = f"{photo.stem}.latent.safetensors"
        one, many = (load_inversion(tmp_path / folder / "latents" / name) for folder in (photo.stem, "all"))
        assert np.array_equal(one.latent, many.latent)
        assert (one.lpips, one.identity, one.warnings) == (many.lpips, many.identity, many.warnings)
    assert results(tmp_path / "all") == single


@pytest.mark.slow
def test_cancelled_then_run_again_equals_straight_through(make: Callable[..., Batch], photos: list[Path],
                                                          tmp_path: Path) -> None:
    photos = [*photos[:2], photos[0]]
    cache = InversionCache(tmp_path / "cache")
    cancelled = make(cache=cache)
    cancelled.should_stop = lambda: any(row.state == "inverting" and row.index == 1 for row in cancelled.rows)
    rows = cancelled.run(photos, tmp_path / "first")
    assert [row.state for row in rows] == ["done", "cancelled", "cancelled"]
    assert list(results(tmp_path / "first")) == ["one-edited.png"]  # What is done is kept.
    assert cache.size()[0] == 1                                     # What was stopped is not.
    make(cache=cache).run(photos, tmp_path / "again")
    make().run(photos, tmp_path / "straight")
    assert results(tmp_path / "again") == results(tmp_path / "straight")


def test_the_order_is_kept_and_names_are_unique(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                                kept: InversionCache) -> None:
    names = ["b/me.jpg", "a/ME.png", "me-2.jpg", "ümlaut né.webp"]
    rows = make(cache=kept).run([BatchPhoto(name=name, path=photos[0]) for name in names], tmp_path / "out")
    assert [row.name for row in rows] == names
    assert [row["file"] for row in table(tmp_path / "out")] == names
    paths = [row.picture.name.casefold() for row in rows if row.picture]
    assert len(set(paths)) == len(names)
    assert paths[:2] == ["me-edited.png", "me-2-edited.png"]
    assert len(list((tmp_path / "out" / "latents").iterdir())) == len(names)


def test_the_picture_is_what_editor_and_paste_back_make_and_its_recipe_makes_it_again(
        make: Callable[..., Batch], photos: list[Path], projector: Projector, controls: Controls, tmp_path: Path,
        kept: InversionCache) -> None:
    [row] = make(cache=kept, mark=True).run(photos[:1], tmp_path / "out")
    photo = open_photo(photos[0])
    face = find_faces(photo)[0]
    editor = Editor(projector.generator, controls)
    inversion = projector.invert(align(photo, face, projector.generator.img_resolution), settings=QUICK)
    editor.set_latent(inversion)
    edited = editor.edit({"smile": 2.0})
    written = np.asarray(Image.open(row.picture))
    assert np.array_equal(written, paste_back(photo, face, edited, original=inversion.picture))
    metadata = read_picture_metadata(row.picture)
    assert b"compositeWithTrainedAlgorithmicMedia" in row.picture.read_bytes()
    recipe = parse_recipe(metadata[RECIPE_KEY])
    assert np.array_equal(reproduce(recipe, editor, photo=photo, inverter=Inverter(projector)), edited)
    [crop] = make(cache=kept, paste=False).run(photos[:1], tmp_path / "crop")
    assert np.array_equal(np.asarray(Image.open(crop.picture)), edited)


def test_all_faces_of_a_photo_are_changed_in_one_picture_or_each_in_its_own(
        make: Callable[..., Batch], photos: list[Path], tmp_path: Path, kept: InversionCache) -> None:
    photo = open_photo(photos[2])
    faces = find_faces(photo)
    rows = make(cache=kept, faces="all").run(photos[2:], tmp_path / "whole")
    assert [(row.face, row.faces, row.state) for row in rows] == [(0, 2, "done"), (1, 2, "done")]
    assert rows[0].picture == rows[1].picture
    changed = (np.asarray(Image.open(rows[0].picture)) != photo.pixels).any(axis=2)
    for face in faces:
        x, y = face.quad.mean(0).astype(int)
        assert changed[y - 30:y + 30, x - 30:x + 30].any()
    texts = read_picture_metadata(rows[0].picture)
    assert [parse_recipe(texts[key]).source.face for key in (RECIPE_KEY, f"{RECIPE_KEY}-face2")] == [0, 1]
    crops = make(cache=kept, faces="all", paste=False).run(photos[2:], tmp_path / "crops")
    assert [row.picture.name for row in crops] == ["two-edited.png", "two-face2-edited.png"]
    assert [load_recipe(row.picture).source.face for row in crops] == [0, 1]
    [largest] = make(cache=kept).run(photos[2:], tmp_path / "largest")
    assert (largest.face, largest.faces) == (0, 2)


@pytest.mark.slow
def test_never_more_than_one_photo_is_in_memory(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                                kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Photo]] = []
    alive = []

    def watched(*args: Any, **named: Any) -> Photo:
        gc.collect()
        alive.append(sum(one() is not None for one in opened))
        photo = open_photo(*args, **named)
        opened.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr(driver, "open_photo", watched)
    make(cache=kept).run([*photos[:2], *photos[:2]], tmp_path / "out")
    assert alive == [0] * 4


def test_states_are_told_in_their_order(make: Callable[..., Batch], photos: list[Path], tmp_path: Path) -> None:
    told: list[Row] = []
    make(on_row=told.append).run(photos[:1], tmp_path / "out")
    states = [row.state for n, row in enumerate(told) if n == 0 or told[n - 1].state != row.state]
    assert states == ["waiting", "finding", "waiting", "inverting", "editing", "done"]
    steps = [(row.step, row.steps) for row in told if row.state == "inverting" and row.step]
    assert steps[-1] == (2, 2)
    before, after = told[-1].thumbnails
    assert max(before.shape) <= driver.THUMBNAIL_SIDE
    assert before.shape == after.shape
    assert (before != after).any()
    assert told[-1].lpips > 0


def test_a_turn_is_taken_for_each_inversion_and_none_for_one_that_is_kept(
        make: Callable[..., Batch], photos: list[Path], tmp_path: Path) -> None:
    taken: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        taken.append("begin")
        yield
        taken.append("end")

    cache = InversionCache(tmp_path / "cache")
    rows = make(cache=cache, turn=turn).run(photos[:2], tmp_path / "first")
    assert taken == ["begin", "end"] * 2
    assert [row.kept for row in rows] == [False, False]
    rows = make(cache=cache, turn=turn).run(photos[:2], tmp_path / "second")
    assert len(taken) == 4
    assert [row.kept for row in rows] == [True, True]


# ---- what is written

def test_the_table_and_the_edit_are_written(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                            kept: InversionCache, projector: Projector, controls: Controls) -> None:
    edit = Edit(strengths={"smile": 1.0}, keep=("age",), layers=(12, 48))
    bad = BatchPhoto(name="=HYPERLINK(1).jpg", reason="is a link")
    [done, _] = make(edit, cache=kept, ending="webp").run([photos[0], bad], tmp_path / "out")
    first, second = table(tmp_path / "out")
    assert first["picture"] == "pictures/one-edited.webp"
    assert first["latent"] == "latents/one.latent.safetensors"
    assert (tmp_path / "out" / first["latent"]).exists()
    assert float(first["lpips"]) == pytest.approx(done.lpips, abs=1e-4)
    assert (second["state"], second["reason"], second["picture"]) == ("failed", "is a link", "")
    assert second["file"] == "'=HYPERLINK(1).jpg"  # No spreadsheet runs it.
    recipe = load_edit(tmp_path / "out" / "edit.json")
    assert recipe.edit == edit
    recipe.check(Editor(projector.generator, controls))
    assert load_edit(done.picture).edit == edit
    assert json.loads((tmp_path / "out" / "edit.json").read_text())["inversion"]["steps"] == 2


def test_one_call_from_files_to_a_zip(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                      kept: InversionCache) -> None:
    copy = tmp_path / "mine.png"
    copy.write_bytes(photos[0].read_bytes())
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(photos[1], "beach/mirrored.png")
        archive.writestr("beach/readme.txt", "hello")
    rows = run_to_zip(make(cache=kept), [copy, tmp_path / "some.zip"], tmp_path / "work", tmp_path / "out.zip",
                      own=True)
    assert [(row.name, row.state) for row in rows] == [("mine.png", "done"), ("beach/mirrored.png", "done"),
                                                       ("beach/readme.txt", "failed")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip"]  # Copies and what was made on the way: gone.
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["batch.csv", "edit.json", "latents/mine.latent.safetensors",
                                              "latents/mirrored.latent.safetensors", "pictures/mine-edited.png",
                                              "pictures/mirrored-edited.png"]
        how = {member.filename: member.compress_type for member in archive.infolist()}
    assert how["pictures/mine-edited.png"] == zipfile.ZIP_STORED
    assert how["batch.csv"] == zipfile.ZIP_DEFLATED


def test_photos_that_are_not_the_batchs_own_stay(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                                 kept: InversionCache) -> None:
    before = [path.read_bytes() for path in photos]
    run_to_zip(make(cache=kept), photos[:2], tmp_path / "work", tmp_path / "out.zip")
    assert [path.read_bytes() for path in photos] == before


def test_packing_leaves_nothing_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    (tmp_path / "in" / ".hidden").write_bytes(b"b")
    assert zipfile.ZipFile(pack(tmp_path / "in", tmp_path / "a.zip")).namelist() == ["a.png"]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("batch.files.shutil.copyfileobj", full)
    with pytest.raises(InputError, match="No space left"):
        pack(tmp_path / "in", tmp_path / "b.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "in"]


# ---- bad input

def test_one_bad_file_stops_nothing(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                    kept: InversionCache) -> None:
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "wall.png")
    (tmp_path / "words.jpg").write_bytes(b"these are words")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    bad = [tmp_path / name for name in ("wall.png", "words.jpg", "cut.jpg", "nowhere.jpg")]
    rows = make(cache=kept).run([*bad[:2], photos[0], *bad[2:]], tmp_path / "out")
    assert [row.state for row in rows] == ["failed", "failed", "done", "failed", "failed"]
    for row, words in zip(rows, ("no face was found", "is not a JPEG", "", "cut short", "no such file"), strict=True):
        assert words in row.reason
        assert str(tmp_path) not in row.reason
        assert "\n" not in row.reason
    assert [row["state"] for row in table(tmp_path / "out")] == [row.state for row in rows]


def test_a_fault_of_the_program_costs_one_file_and_is_logged(
        make: Callable[..., Batch], photos: list[Path], tmp_path: Path, kept: InversionCache,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find(photo: Photo) -> Any:
        if photo.name == "one.png":
            raise RuntimeError("a secret detail")
        return find_upright(photo)

    monkeypatch.setattr(driver, "find_upright", find)
    rows = make(cache=kept).run(photos[:2], tmp_path / "out")
    assert [(row.state, row.reason) for row in rows] == [("failed", FAULT), ("done", "")]
    assert "RuntimeError: a secret detail" in capsys.readouterr().err


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("place", ["find_upright", "paste_back"])
def test_too_little_memory_costs_one_photo_and_says_what_helps(
        place: str, error: Exception, make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
        kept: InversionCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    original, calls = getattr(driver, place), []

    def fails_once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(driver, place, fails_once)
    rows = make(cache=kept).run(photos[:2], tmp_path / "out")
    assert [row.state for row in rows] == ["failed", "done"]
    assert rows[0].reason.startswith("out of memory (")
    assert "smaller photos" in rows[0].reason
    assert "Traceback" not in capsys.readouterr().err


def test_a_face_that_is_too_small_does_not_cost_the_others(make: Callable[..., Batch], photos: list[Path],
                                                           tmp_path: Path, kept: InversionCache,
                                                           face_at: Callable[..., Any],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "find_upright",
                        lambda photo: Found(photo, [find_faces(photo)[0], face_at((50, 50), 20)], 0))
    rows = make(cache=kept, faces="all").run(photos[2:], tmp_path / "out")
    assert [row.state for row in rows] == ["done", "failed"]
    assert "too small" in rows[1].reason
    assert rows[0].picture.exists()


def test_with_no_room_left_the_rest_is_not_begun(make: Callable[..., Batch], photos: list[Path], tmp_path: Path,
                                                 kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise InputError("x.png", "could not be written (disk full)",
                         "free some space") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(driver, "save_picture", full)
    rows = make(cache=kept).run(photos[:2], tmp_path / "out")
    assert [row.state for row in rows] == ["failed", "failed"]
    assert "could not be written" in rows[0].reason
    assert rows[1].reason == NOT_BEGUN


def test_what_cannot_be_done_is_refused_before_the_work(make: Callable[..., Batch], photos: list[Path],
                                                        tmp_path: Path) -> None:
    for edit, words in ((Edit(), "changes nothing"), (Edit(strengths={"wings": 1.0}), "no such attribute"),
                        (Edit(strengths={"smile": 1.0}, layers=(1, 3)), "layer range")):
        with pytest.raises(InputError, match=words):
            make(edit)
    for options, words in (({"ending": "gif"}, "gif"), ({"faces": "none"}, "none")):
        with pytest.raises(InputError, match=words):
            make(**options)
    with pytest.raises(InputError, match="no photos"):
        make().run([], tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make().run(photos, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("text", "words"), [
    ("{}", "not a recipe"), ('{"format": "gradctrl-edit-2"}', "damaged"), ("words", "damaged"),
])
def test_a_bad_recipe_is_named_without_its_folder(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_edit(path)
    assert str(caught.value).startswith("mine.json: ")


def test_names_are_safe() -> None:
    names = Names()
    made = [names.claim(name) for name in ("../../etc/passwd", "C:\\a\\b.jpg", "a b.jpg", "..", "x" * 300, "x" * 300)]
    assert made == ["passwd", "b", "a-b", "photo", "x" * 60, "x" * 60 + "-2"]


# ---- ZIPs

def zipped(path: Path, members: dict[str, bytes], **named: Any) -> Path:
    with zipfile.ZipFile(path, "w", **named) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, "PNG")
    return stream.getvalue()


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_photos_come_out_in_their_order_bit_for_bit(tmp_path: Path, photos: list[Path]) -> None:
    members = {f"album/{path.name}": path.read_bytes() for path in reversed(photos)}
    sources = unpack_photos(zipped(tmp_path / "a.zip", members, compression=zipfile.ZIP_DEFLATED), tmp_path / "out")
    assert {source.name: source.path.read_bytes() for source in sources} == members
    assert [source.name for source in sources] == list(members)


def test_what_computers_add_is_left_out_and_what_is_no_photo_is_named(tmp_path: Path, png: bytes) -> None:
    sources = unpack_photos(zipped(tmp_path / "a.zip", {
        "__MACOSX/._a.png": b"x", "a.png": png, ".DS_Store": b"x", "b/": b"", "b/Thumbs.db": b"x", "b/c.txt": b"words",
        "b/d.heic": b"\0\0\0\x18ftypheic" + b"\0" * 99, "b/d.pdf": b"%PDF-1.7", "e.jpg": b"", "f.zip": b"PK\3\4",
    }), tmp_path / "out")
    assert [(source.name, source.path is not None) for source in sources] == [
        ("a.png", True), ("b/c.txt", False), ("b/d.heic", True), ("b/d.pdf", False), ("e.jpg", False), ("f.zip", False)]
    assert "a PDF" in sources[3].reason
    assert "empty" in sources[4].reason
    assert len(everything(tmp_path / "out")) == 2


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\..\\evil.png",
                                  "a/../../evil.png", "..", "\x1b[31mevil.png"])
def test_no_member_leaves_the_folder(tmp_path: Path, png: bytes, name: str) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    sources = unpack_photos(zipped(tmp_path / "a.zip", {name: png}), outer / "in" / "out")
    assert len(everything(outer)) == 1
    assert (outer / "in" / "out") in everything(outer)[0].parents
    assert [source.path for source in sources] == everything(outer)
    assert ".." not in sources[0].name
    assert sources[0].name.isprintable()


def test_links_and_devices_are_refused_by_name(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO), ("good.png", stat.S_IFREG)):
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (kind | 0o644) << 16
            archive.writestr(member, "/etc/passwd" if kind == stat.S_IFLNK else png)
    sources = unpack_photos(path, tmp_path / "out")
    assert [(source.name, source.path is None) for source in sources] == [("link.png", True), ("pipe.png", True),
                                                                          ("good.png", False)]
    assert "is a link" in sources[0].reason


def test_a_password_and_unusual_compression_are_refused_by_name(tmp_path: Path, png: bytes) -> None:
    path = zipped(tmp_path / "a.zip", {"secret.png": png})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    [source] = unpack_photos(path, tmp_path / "out")
    assert "has a password" in source.reason
    path = zipped(tmp_path / "b.zip", {"a.png": png * 9}, compression=zipfile.ZIP_LZMA)
    [source] = unpack_photos(path, tmp_path / "out")
    assert "unusual way" in source.reason
    assert everything(tmp_path / "out") == []


def test_a_member_that_is_too_large_is_named_whatever_its_header_says(tmp_path: Path, png: bytes) -> None:
    bomb = png + b"\0" * 3_000_000
    path = zipped(tmp_path / "a.zip", {"bomb.png": bomb, "good.png": png}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    assert len(data) < 10_000
    sources = unpack_photos(path, tmp_path / "out", most_bytes=1_000_000)
    assert [source.path is None for source in sources] == [True, False]
    assert "larger than 1 MB" in sources[0].reason
    small = struct.pack("<I", len(png))  # A header that lies: unpacked it is as small as the good one.
    path.write_bytes(data.replace(struct.pack("<I", len(bomb)), small))
    [source, _] = unpack_photos(path, tmp_path / "lie", most_bytes=1_000_000)
    assert source.path is None or source.path.stat().st_size <= 1_000_000
    assert all(file.stat().st_size <= 1_000_000 for file in everything(tmp_path))


def test_too_many_bytes_in_all_are_refused_and_nothing_stays(tmp_path: Path, png: bytes) -> None:
    members = {f"{n}.png": png + b"\0" * 400_000 for n in range(5)}
    path = zipped(tmp_path / "a.zip", members, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"a\.zip: unpacks to more than 1 MB"):
        unpack_photos(path, tmp_path / "out", most_unpacked=1_000_000)
    assert everything(tmp_path / "out") == []
    assert len(unpack_photos(path, tmp_path / "out", most_unpacked=3_000_000)) == 5


def test_too_many_files_are_refused_before_they_are_read(tmp_path: Path, png: bytes,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {f"{n}.png": png for n in range(6)})
    assert len(unpack_photos(path, tmp_path / "out", most=6)) == 6
    with pytest.raises(InputError, match="holds 6 files, and a batch is of up to 5"):
        unpack_photos(path, tmp_path / "out", most=5)
    many = zipped(tmp_path / "b.zip", {f"{n:0100}.png": b"" for n in range(8000)})
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the list of files was read"))
    with pytest.raises(InputError, match="far more than 5 files"):
        unpack_photos(many, tmp_path / "out", most=5)


def test_what_is_no_zip_is_said_so(tmp_path: Path, png: bytes) -> None:
    good = zipped(tmp_path / "a.zip", {"a.png": png}).read_bytes()
    for name, data in (("words.zip", b"these are words"), ("empty.zip", b""), ("cut.zip", good[:-30]),
                       ("list.zip", good[:good.index(b"PK\1\2")] + b"\0" * 46 + good[-22:])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name}: this ZIP cannot be opened"):
            unpack_photos(tmp_path / name, tmp_path / "out")
    with pytest.raises(InputError, match="there are no files in this ZIP"):
        unpack_photos(zipped(tmp_path / "folders.zip", {"a/": b""}), tmp_path / "out")
    with pytest.raises(InputError, match="nowhere"):
        unpack_photos(tmp_path / "nowhere.zip", tmp_path / "out")


def test_a_damaged_member_is_named_and_the_others_come_out(tmp_path: Path, png: bytes) -> None:
    path = zipped(tmp_path / "a.zip", {"bad.png": png + b"A" * 99, "good.png": png})
    data = path.read_bytes().replace(b"A" * 99, b"B" * 99, 1)
    assert zlib.crc32(png + b"B" * 99) != zlib.crc32(png + b"A" * 99)
    path.write_bytes(data)
    bad, good = unpack_photos(path, tmp_path / "out")
    assert "damaged within the ZIP" in bad.reason
    assert good.path.read_bytes() == png
    assert everything(tmp_path / "out") == [good.path]


def test_two_members_of_one_name_are_two_photos(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png + b"2")
    sources = unpack_photos(path, tmp_path / "out")
    assert [source.path.read_bytes() for source in sources] == [png, png + b"2"]


def test_a_broken_zip_among_photos_is_a_row_and_alone_an_error(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "broken.zip").write_bytes(b"words")
    (tmp_path / "a.png").write_bytes(png)
    sources = gather([tmp_path / "broken.zip", tmp_path / "a.png"], tmp_path / "out")
    assert [(source.name, source.path is None) for source in sources] == [("broken.zip", True), ("a.png", False)]
    with pytest.raises(InputError, match=r"broken\.zip: this ZIP cannot be opened"):
        gather([tmp_path / "broken.zip"], tmp_path / "out")
    with pytest.raises(InputError, match="3 photos are more than the 2"):
        gather([tmp_path / "a.png"] * 3, tmp_path / "out", most=2)
