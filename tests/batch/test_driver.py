"""Batches: properties first, then what is written, then bad files, then ZIPs that are meant to harm."""

from __future__ import annotations

import csv
import errno
import gc
import json
import os
import shutil
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from batch import BatchJob, BatchPhoto, Models, Row, Serial, find_inverted, photo_work, run
from batch.driver import NOT_BEGUN, folder_beside, run_to_zip
from batch.edits import load_edit
from batch.photo_work import FAULT, THUMBNAIL_SIDE, Hooks
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
    describe,
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
CROPS = ("crop", "latent")


@pytest.fixture(scope="module")
def projector() -> Projector:
    return Projector(load("bundled"))


@pytest.fixture(scope="module")
def controls() -> Controls:
    return load_controls("bundled")


@pytest.fixture
def executor(projector: Projector, controls: Controls) -> Callable[..., Serial]:
    """Makes a serial executor of loaded models; hooks go to `Hooks`."""
    def made(cache: Any = None, **hooks: Any) -> Serial:
        return Serial(Models(Inverter(projector, cache), Editor(projector.generator, controls)), Hooks(**hooks))
    return made


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
def go(executor: Callable[..., Serial]) -> Callable[..., list[Row]]:
    """Runs a batch and gives its rows; options go to `BatchJob`."""
    def went(photos: Any, folder: Path, edit: Edit = EDIT, *, cache: Any = None, on_row: Any = None,
             should_stop: Callable[[], bool] = lambda: False, turn: Any = nullcontext, retry_failed: bool = False,
             **options: Any) -> list[Row]:
        job = BatchJob(**{"edit": edit, "settings": QUICK, "thumbnails": False, **options})
        return run(job, photos, folder, executor=executor(cache, should_stop=should_stop, turn=turn), on_row=on_row,
                   should_stop=should_stop, retry_failed=retry_failed).rows
    return went


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> InversionCache:
    """A cache that the tests of this file share, so that a face is inverted once."""
    return InversionCache(tmp_path_factory.mktemp("kept"))


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "batch.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder / "pictures").as_posix(): path.read_bytes()
            for path in sorted((folder / "pictures").rglob("*.*"))}


# ---- properties

def test_a_batch_equals_single_runs_bit_for_bit(go: Callable[..., list[Row]], photos: list[Path],
                                                tmp_path: Path) -> None:
    rows = go(photos[:2], tmp_path / "all")
    assert [row.state for row in rows] == ["done"] * 2
    single: dict[str, bytes] = {}
    for photo in photos[:2]:
        go([photo], tmp_path / photo.stem)
        single |= results(tmp_path / photo.stem)
        name = f"{photo.stem}.latent.safetensors"
        one, many = (load_inversion(tmp_path / folder / "latents" / name) for folder in (photo.stem, "all"))
        assert np.array_equal(one.latent, many.latent)
        assert (one.lpips, one.identity, one.warnings) == (many.lpips, many.identity, many.warnings)
    assert results(tmp_path / "all") == single


@pytest.mark.slow
def test_cancelled_then_run_again_equals_straight_through(go: Callable[..., list[Row]], photos: list[Path],
                                                          tmp_path: Path) -> None:
    photos = [*photos[:2], photos[0]]
    cache = InversionCache(tmp_path / "cache")
    told: dict[int, Row] = {}
    rows = go(photos, tmp_path / "first", cache=cache, on_row=lambda row: told.update({row.index: row}),
              should_stop=lambda: 1 in told and told[1].state == "inverting")
    assert [row.state for row in rows] == ["done", "cancelled", "cancelled"]
    assert list(results(tmp_path / "first")) == ["one-edited.png"]  # What is done is kept.
    assert cache.size()[0] == 1                                     # What was stopped is not.
    go(photos, tmp_path / "again", cache=cache)
    go(photos, tmp_path / "straight")
    assert results(tmp_path / "again") == results(tmp_path / "straight")


def test_the_order_is_kept_and_names_are_unique(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                kept: InversionCache) -> None:
    names = ["b/me.jpg", "a/ME.png", "me-2.jpg", "ümlaut né.webp"]
    rows = go([BatchPhoto(name=name, path=photos[0]) for name in names], tmp_path / "out", cache=kept)
    assert [row.name for row in rows] == names
    assert [row["file"] for row in table(tmp_path / "out")] == names
    assert [row.picture.removeprefix("pictures/").removesuffix("-edited.png") for row in rows] == [
        "b/me", "a/ME", "me-2", "ümlaut né"]
    assert len(list((tmp_path / "out" / "latents").rglob("*.safetensors"))) == len(names)


def test_the_picture_is_what_editor_and_paste_back_make_and_its_recipe_makes_it_again(
        go: Callable[..., list[Row]], photos: list[Path], projector: Projector, controls: Controls, tmp_path: Path,
        kept: InversionCache) -> None:
    [row] = go(photos[:1], tmp_path / "out", cache=kept, mark=True)
    photo = open_photo(photos[0])
    face = find_faces(photo)[0]
    editor = Editor(projector.generator, controls)
    inversion = projector.invert(align(photo, face, projector.generator.img_resolution), settings=QUICK)
    editor.set_latent(inversion)
    edited = editor.edit({"smile": 2.0})
    written = np.asarray(Image.open(tmp_path / "out" / row.picture))
    assert np.array_equal(written, paste_back(photo, face, edited, original=inversion.picture))
    metadata = read_picture_metadata(tmp_path / "out" / row.picture)
    assert b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / "out" / row.picture).read_bytes()
    recipe = parse_recipe(metadata[RECIPE_KEY])
    assert np.array_equal(reproduce(recipe, editor, photo=photo, inverter=Inverter(projector)), edited)
    [crop] = go(photos[:1], tmp_path / "crop", cache=kept, outputs=CROPS)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "crop" / crop.picture)), edited)


def test_all_faces_of_a_photo_are_changed_in_one_picture_or_each_in_its_own(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path, kept: InversionCache) -> None:
    photo = open_photo(photos[2])
    faces = find_faces(photo)
    rows = go(photos[2:], tmp_path / "whole", cache=kept, faces="all")
    assert [(row.face, row.faces, row.state) for row in rows] == [(0, 2, "done"), (1, 2, "done")]
    assert rows[0].picture == rows[1].picture
    changed = (np.asarray(Image.open(tmp_path / "whole" / rows[0].picture)) != photo.pixels).any(axis=2)
    for face in faces:
        x, y = face.quad.mean(0).astype(int)
        assert changed[y - 30:y + 30, x - 30:x + 30].any()
    texts = read_picture_metadata(tmp_path / "whole" / rows[0].picture)
    assert [parse_recipe(texts[key]).source.face for key in (RECIPE_KEY, f"{RECIPE_KEY}-face2")] == [0, 1]
    crops = go(photos[2:], tmp_path / "crops", cache=kept, faces="all", outputs=CROPS)
    assert [row.picture for row in crops] == ["pictures/two-edited.png", "pictures/two-face2-edited.png"]
    assert [load_recipe(tmp_path / "crops" / row.picture).source.face for row in crops] == [0, 1]
    [largest] = go(photos[2:], tmp_path / "largest", cache=kept)
    assert (largest.face, largest.faces) == (0, 2)


@pytest.mark.slow
def test_never_more_than_one_photo_is_in_memory(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Photo]] = []
    alive = []

    def watched(*args: Any, **named: Any) -> Photo:
        gc.collect()
        alive.append(sum(one() is not None for one in opened))
        photo = open_photo(*args, **named)
        opened.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr(photo_work, "open_photo", watched)
    go([*photos[:2], *photos[:2]], tmp_path / "out", cache=kept)
    assert alive == [0] * 4


def test_states_are_told_in_their_order(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path) -> None:
    told: list[Row] = []
    go(photos[:1], tmp_path / "out", on_row=told.append)
    states = [row.state for n, row in enumerate(told) if n == 0 or told[n - 1].state != row.state]
    assert states == ["waiting", "finding", "waiting", "inverting", "editing", "done"]
    steps = [(row.step, row.steps) for row in told if row.state == "inverting" and row.step]
    assert steps[-1] == (2, 2)
    before, after = told[-1].thumbnails
    assert max(before.shape) <= THUMBNAIL_SIDE
    assert before.shape == after.shape
    assert (before != after).any()
    assert told[-1].lpips > 0


def test_a_turn_is_taken_for_each_inversion_and_none_for_one_that_is_kept(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path) -> None:
    taken: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        taken.append("begin")
        yield
        taken.append("end")

    cache = InversionCache(tmp_path / "cache")
    rows = go(photos[:2], tmp_path / "first", cache=cache, turn=turn)
    assert taken == ["begin", "end"] * 2
    assert [row.kept for row in rows] == [False, False]
    rows = go(photos[:2], tmp_path / "second", cache=cache, turn=turn)
    assert len(taken) == 4
    assert [row.kept for row in rows] == [True, True]


# ---- what is written

def test_the_table_and_the_edit_are_written(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                            kept: InversionCache, projector: Projector, controls: Controls) -> None:
    edit = Edit(strengths={"smile": 1.0}, keep=("age",), layers=(12, 48))
    bad = BatchPhoto(name="=HYPERLINK(1).jpg", reason="is a link")
    [done, _] = go([photos[0], bad], tmp_path / "out", edit, cache=kept, ending="webp")
    first, second = table(tmp_path / "out")
    assert first["picture"] == "pictures/one-edited.webp"
    assert first["latent"] == "latents/one.latent.safetensors"
    assert (tmp_path / "out" / first["latent"]).exists()
    assert float(first["lpips"]) == pytest.approx(done.lpips, abs=1e-4)
    assert (second["state"], second["error"], second["picture"]) == ("failed", "is a link", "")
    assert second["file"] == "'=HYPERLINK(1).jpg"  # No spreadsheet runs it.
    recipe = load_edit(tmp_path / "out" / "edit.json")
    assert recipe.edit == edit
    recipe.check(Editor(projector.generator, controls))
    assert load_edit(tmp_path / "out" / done.picture).edit == edit
    assert json.loads((tmp_path / "out" / "edit.json").read_text())["inversion"]["steps"] == 2


def test_one_call_from_files_to_a_zip(executor: Callable[..., Serial], photos: list[Path], tmp_path: Path,
                                      kept: InversionCache) -> None:
    copy = tmp_path / "mine.png"
    copy.write_bytes(photos[0].read_bytes())
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(photos[1], "beach/mirrored.png")
        archive.writestr("beach/readme.txt", "hello")
    rows = run_to_zip(BatchJob(edit=EDIT, settings=QUICK, thumbnails=False), [copy, tmp_path / "some.zip"],
                      tmp_path / "work", tmp_path / "out.zip", executor=executor(kept), own=True).rows
    assert [(row.name, row.state) for row in rows] == [("mine.png", "done"), ("beach/mirrored.png", "done"),
                                                       ("beach/readme.txt", "failed")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip"]  # Copies and what was made on the way: gone.
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "batch.csv", "batch.jsonl", "edit.json", "latents/beach/mirrored.latent.safetensors",
            "latents/mine.latent.safetensors", "pictures/beach/mirrored-edited.png", "pictures/mine-edited.png"]
        how = {member.filename: member.compress_type for member in archive.infolist()}
    assert how["pictures/mine-edited.png"] == zipfile.ZIP_STORED
    assert how["batch.csv"] == zipfile.ZIP_DEFLATED


def test_photos_that_are_not_the_batchs_own_stay(executor: Callable[..., Serial], photos: list[Path], tmp_path: Path,
                                                 kept: InversionCache) -> None:
    before = [path.read_bytes() for path in photos]
    run_to_zip(BatchJob(edit=EDIT, settings=QUICK), photos[:2], tmp_path / "work", tmp_path / "out.zip",
               executor=executor(kept))
    assert [path.read_bytes() for path in photos] == before


# ---- bad input

def test_one_bad_file_stops_nothing(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                    kept: InversionCache) -> None:
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "wall.png")
    (tmp_path / "words.jpg").write_bytes(b"these are words")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    bad = [tmp_path / name for name in ("wall.png", "words.jpg", "cut.jpg", "nowhere.jpg")]
    rows = go([*bad[:2], photos[0], *bad[2:]], tmp_path / "out", cache=kept)
    assert [row.state for row in rows] == ["failed", "failed", "done", "failed", "failed"]
    for row, words in zip(rows, ("no face was found", "is not a JPEG", "", "cut short", "no such file"), strict=True):
        assert words in row.reason
        assert str(tmp_path) not in row.reason
        assert "\n" not in row.reason
    assert [row["state"] for row in table(tmp_path / "out")] == [row.state for row in rows]


def test_a_fault_of_the_program_costs_one_file_and_is_logged(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path, kept: InversionCache,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find(photo: Photo) -> Any:
        if photo.name == "one.png":
            raise RuntimeError("a secret detail")
        return find_upright(photo)

    monkeypatch.setattr(photo_work, "find_upright", find)
    rows = go(photos[:2], tmp_path / "out", cache=kept)
    assert [(row.state, row.reason) for row in rows] == [("failed", FAULT), ("done", "")]
    assert "RuntimeError: a secret detail" in capsys.readouterr().err


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("place", ["find_upright", "paste_back"])
def test_too_little_memory_costs_one_photo_and_says_what_helps(
        place: str, error: Exception, go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
        kept: InversionCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    original, calls = getattr(photo_work, place), []

    def fails_once(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(photo_work, place, fails_once)
    rows = go(photos[:2], tmp_path / "out", cache=kept)
    assert [row.state for row in rows] == ["failed", "done"]
    assert rows[0].reason.startswith("out of memory (")
    assert "smaller photos" in rows[0].reason
    assert "Traceback" not in capsys.readouterr().err


def test_a_face_that_is_too_small_does_not_cost_the_others(go: Callable[..., list[Row]], photos: list[Path],
                                                           tmp_path: Path, kept: InversionCache,
                                                           face_at: Callable[..., Any],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_work, "find_upright",
                        lambda photo: Found(photo, [find_faces(photo)[0], face_at((50, 50), 20)], 0))
    rows = go(photos[2:], tmp_path / "out", cache=kept, faces="all")
    assert [row.state for row in rows] == ["done", "failed"]
    assert "too small" in rows[1].reason
    assert (tmp_path / "out" / rows[0].picture).exists()


def test_with_no_room_left_the_rest_is_not_begun(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                 kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise InputError("x.png", "could not be written (disk full)",
                         "free some space") from OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(photo_work, "save_picture", full)
    rows = go(photos[:2], tmp_path / "out", cache=kept)
    assert [row.state for row in rows] == ["failed", "failed"]
    assert "could not be written" in rows[0].reason
    assert rows[1].reason == NOT_BEGUN


def test_what_cannot_be_done_is_refused_before_the_work(go: Callable[..., list[Row]], photos: list[Path],
                                                        tmp_path: Path) -> None:
    for edit, words in ((Edit(), "changes nothing"), (Edit(strengths={"wings": 1.0}), "no such attribute"),
                        (Edit(strengths={"smile": 1.0}, layers=(1, 3)), "layer range")):
        with pytest.raises(InputError, match=words):
            go(photos, tmp_path / "out", edit)
        assert not (tmp_path / "out").exists()  # Another edit may go there.
    for options, words in (({"ending": "gif"}, "gif"), ({"faces": "none"}, "none"), ({"faces": "like"}, "no reference"),
                           ({"only": "invert", "outputs": ("crop",)}, "latents"),
                           ({"share_pivot": True, "faces": "all"}, "shared pivot")):
        with pytest.raises(InputError, match=words):
            go(photos, tmp_path / "out", **options)
    with pytest.raises(InputError, match="no photos"):
        go([], tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        go(photos, tmp_path / "full")
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


# ---- again, and the stages apart

def test_what_is_done_is_not_done_again(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                        kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    before = go(photos[:2], tmp_path / "out", cache=kept)
    opened: list[str] = []
    monkeypatch.setattr(photo_work, "open_photo",
                        lambda path, name: opened.append(name) or open_photo(path))
    told: list[Row] = []
    rows = go(photos, tmp_path / "out", cache=kept, on_row=told.append)
    assert opened == ["two.png"]
    assert [row.state for row in rows] == ["done"] * 3
    assert [row.picture for row in rows[:2]] == [row.picture for row in before]
    assert [(row["file"], float(row["likeness"])) for row in table(tmp_path / "out")[:2]] == [
        (row.name, round(1 - row.identity, 4)) for row in before]


def test_a_changed_photo_is_done_again_beside_and_one_that_was_moved_is_not(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path, kept: InversionCache) -> None:
    mine = tmp_path / "mine.png"
    shutil.copy(photos[0], mine)
    [first] = go([mine], tmp_path / "out", cache=kept)
    os.utime(mine, (1, 1))
    [again] = go([mine], tmp_path / "out", cache=kept)
    assert again.picture == first.picture
    shutil.copy(photos[1], mine)
    [other] = go([mine], tmp_path / "out", cache=kept)
    assert (first.picture, other.picture) == ("pictures/mine-edited.png", "pictures/mine-2-edited.png")
    (tmp_path / "out" / other.picture).unlink()
    [back] = go([mine], tmp_path / "out", cache=kept)
    assert back.picture == other.picture
    assert (tmp_path / "out" / back.picture).exists()


def test_failures_stay_unless_they_are_tried_again(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                   kept: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(photo_work, "find_upright", lambda photo: 1 / 0)
        assert [row.state for row in go(photos[:1], tmp_path / "out", cache=kept)] == ["failed"]
    assert [row.reason for row in go(photos[:1], tmp_path / "out", cache=kept)] == [FAULT]
    assert [row.state for row in go(photos[:1], tmp_path / "out", cache=kept, retry_failed=True)] == ["done"]


def test_other_settings_are_refused_by_name_or_go_beside(go: Callable[..., list[Row]], photos: list[Path],
                                                         tmp_path: Path, kept: InversionCache) -> None:
    go(photos[:1], tmp_path / "out", cache=kept)
    with pytest.raises(InputError, match=r"other settings \(edit, ending\)"):
        go(photos[:1], tmp_path / "out", Edit(strengths={"smile": 1.0}), cache=kept, ending="jpg")
    other = BatchJob(edit=Edit(strengths={"smile": 1.0}), settings=QUICK)
    assert folder_beside(tmp_path / "out", other) == tmp_path / "out-2"
    assert folder_beside(tmp_path / "out", BatchJob(edit=EDIT, settings=QUICK)) == tmp_path / "out"
    assert folder_beside(tmp_path / "new", other) == tmp_path / "new"


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not_stopped(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path, kept: InversionCache) -> None:
    go(photos, tmp_path / "straight", cache=kept)
    done: list[Row] = []
    rows = go(photos, tmp_path / "out", cache=kept, should_stop=lambda: len(done) > 0,
              on_row=lambda row: done.append(row) if row.state == "done" else None)
    assert [row.state for row in rows] == ["done", "cancelled", "cancelled"]
    assert [row["state"] for row in table(tmp_path / "out")] == ["done", "cancelled", "cancelled"]
    go(photos, tmp_path / "out", cache=kept)
    assert results(tmp_path / "out") == results(tmp_path / "straight")
    assert (tmp_path / "out" / "batch.csv").read_text() == (tmp_path / "straight" / "batch.csv").read_text()


def test_the_stages_apart_give_what_both_together_give(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                       kept: InversionCache) -> None:
    go(photos, tmp_path / "together", faces="all", cache=kept)
    inverted = go(photos, tmp_path / "inverted", Edit(), only="invert", faces="all", cache=kept)
    assert {row.state for row in inverted} == {"done"}
    assert not (tmp_path / "inverted" / "pictures").exists()
    pasted = go(find_inverted(tmp_path / "inverted", photos[0].parent), tmp_path / "apart", only="edit")
    assert {row.state for row in pasted} == {"done"}
    assert results(tmp_path / "apart") == results(tmp_path / "together")
    assert not (tmp_path / "apart" / "latents").exists()  # They are where they were.
    crops = go(find_inverted(tmp_path / "inverted"), tmp_path / "crops", only="edit")
    assert [row.picture for row in crops] == ["pictures/mirrored-edited.png", "pictures/one-edited.png",
                                              "pictures/two-edited.png", "pictures/two-face2-edited.png"]


def test_another_photo_than_was_inverted_is_refused(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                    kept: InversionCache) -> None:
    go(photos[:1], tmp_path / "inverted", Edit(), only="invert", cache=kept)
    (tmp_path / "photos").mkdir()
    shutil.copy(photos[1], tmp_path / "photos" / photos[0].name)
    [row] = go(find_inverted(tmp_path / "inverted", tmp_path / "photos"), tmp_path / "out", only="edit")
    assert (row.state, "not the photo that was inverted" in row.reason) == ("failed", True)


def test_the_face_like_a_reference_is_edited(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                             kept: InversionCache, face_at: Callable[..., Any]) -> None:
    photo = open_photo(photos[2])
    second = describe(photo, find_faces(photo)[1])
    [row] = go(photos[2:], tmp_path / "out", faces="like", reference=tuple(map(float, second)), cache=kept)
    assert (row.state, row.face, row.faces) == ("done", 1, 2)
    strange = go(photos[2:], tmp_path / "none", faces="like", reference=(0.5,) * 128, cache=kept)
    assert "nobody in it looks like the reference" in strange[0].reason


def test_faces_together_are_as_faces_alone(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path) -> None:
    alone = go(photos, tmp_path / "alone", faces="all")
    together = go(photos, tmp_path / "together", faces="all", at_once=3)
    assert [row.state for row in together] == ["done"] * 4
    for one, other in zip(alone, together, strict=True):
        assert other.lpips == pytest.approx(one.lpips, abs=5e-3)


def test_too_little_memory_for_faces_together_is_enough_for_half_of_them(
        go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, sizes = Projector.invert_batch, []

    def small(self: Projector, crops: Any, **named: Any) -> Any:
        sizes.append(len(crops))
        if len(crops) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, crops, **named)

    monkeypatch.setattr(Projector, "invert_batch", small)
    assert [row.state for row in go(photos, tmp_path / "out", at_once=3)] == ["done"] * 3
    assert sizes == [3, 1, 2, 1, 1]


def test_scores_and_identity_are_told_before_and_after(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                                       kept: InversionCache) -> None:
    edit = Edit(strengths={"smile": 2.0, "hair:blond": 1.0})
    [row] = go(photos[:1], tmp_path / "out", edit, cache=kept)
    assert row.after["smile"] > row.before["smile"]
    [line] = [json.loads(line) for line in (tmp_path / "out" / "batch.jsonl").read_text().splitlines()]
    assert line["hair:blond after"] == round(row.after["hair:blond"], 3)
    assert 0 <= line["identity_of_edit"] == round(row.edited_identity, 4)
    assert list(line) == list(table(tmp_path / "out")[0])


def test_contact_sheets_show_all_that_is_done(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path,
                                              kept: InversionCache) -> None:
    go(photos[:1], tmp_path / "out", cache=kept, thumbnails=True)
    go(photos, tmp_path / "out", cache=kept, thumbnails=True)
    [sheet] = (tmp_path / "out" / "sheets").iterdir()
    pixels = np.asarray(Image.open(sheet))
    for column in range(3):
        assert pixels[:128, column * 264:column * 264 + 256].std() > 10
    assert pixels[:, 3 * 264:].min() > 250


def test_frames_share_the_first_ones_pivot(go: Callable[..., list[Row]], photos: list[Path], tmp_path: Path) -> None:
    frames = [BatchPhoto(name=f"film/{number}.png", path=path) for number, path in ((9, photos[0]), (10, photos[1]))]
    Image.new("RGB", (300, 300), "teal").save(tmp_path / "wall.png")
    frames.insert(0, BatchPhoto(name="film/1.png", path=tmp_path / "wall.png"))
    settings = replace(QUICK, space="w+", tuning_steps=2)
    rows = go(frames[:2], tmp_path / "out", share_pivot=True, settings=settings)
    rows = go(frames, tmp_path / "out", share_pivot=True, settings=settings)
    assert [(row.state, row.pivot) for row in rows] == [
        ("failed", ""), *[("done", "latents/film/9.latent.safetensors")] * 2]
    pivot, frame = (load_inversion(tmp_path / "out" / row.latent) for row in rows[1:])
    assert frame.settings.start == f"pivot {pivot.name}"
    assert pivot.tuning.keys() == frame.tuning.keys()
    assert all(torch.equal(change, frame.tuning[name]) for name, change in pivot.tuning.items())
    assert not torch.equal(pivot.latent, frame.latent)
    with pytest.raises(InputError, match="began at another one"):
        reproduce(load_recipe(tmp_path / "out" / rows[2].picture), Editor(load("bundled"), load_controls("bundled")),
                  photo=open_photo(photos[1]))
