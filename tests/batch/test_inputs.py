"""Which photos a batch finds, and what their results are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from batch.inputs import find_inverted, find_photos, natural, read_list
from batch.names import Names
from weights.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos in sub-folders, one without an ending, what is hidden, what is no photo, and results of a batch."""
    for name in ("a/10.png", "a/9.png", "b/9.png", "c", ".hidden/x.png", "a/.x.png", "out/pictures/9-edited.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, "PNG")
    for name in ("a/notes.md", "a/data.json"):
        (tmp_path / "in" / name).write_text("words")
    return tmp_path / "in"


def test_all_below_a_folder_is_found_in_natural_order_but_the_results(folder: Path) -> None:
    found = find_photos([folder], without=[folder / "out"])
    assert [photo.name for photo in found] == ["a/9.png", "a/10.png", "b/9.png", "c"]


def test_a_photo_that_is_named_twice_is_found_once(folder: Path) -> None:
    assert len(find_photos([folder / "a", folder / "a" / "9.png", f"{folder}/a/*.png"])) == 2


def test_two_folders_are_told_apart(folder: Path) -> None:
    assert [photo.name for photo in find_photos([folder / "a", folder / "b"])] == ["a/9.png", "a/10.png", "b/9.png"]


def test_links_to_folders_that_hold_them_end(folder: Path) -> None:
    (folder / "a" / "round").symlink_to(folder)
    assert len(find_photos([folder / "a"])) == 2


@pytest.mark.parametrize(("source", "words"), [
    ("nowhere", "nowhere: no such file"), ("in/*.gif", "no file is called so"), ("empty", "no photos to edit")])
def test_what_names_nothing_is_said(folder: Path, source: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "empty").mkdir()
    monkeypatch.chdir(folder.parent)
    with pytest.raises(InputError, match=words):
        find_photos([source])


def test_a_list_and_a_folder_without_latents(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(" a.png \n\nb c.png\n")
    assert read_list(tmp_path / "list.txt") == ["a.png", "b c.png"]
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match="empty list"):
        read_list(tmp_path / "list.txt")
    with pytest.raises(InputError, match="no latents in it"):
        find_inverted(tmp_path)


def test_numbers_sort_by_their_value() -> None:
    assert sorted(["f10", "f9", "F1", "g", "f010b", "²"], key=natural) == ["F1", "f9", "f10", "f010b", "g", "²"]


def test_names_stay_as_they_are_where_every_file_system_takes_them() -> None:
    names = Names()
    expected = {
        "a/me.jpg": "a/me", "a/me.png": "a/me-2", "A/ME.webp": "A/ME-3", "b/me.jpg": "b/me", "C:\\x\\b.jpg": "x/b",
        "../../etc/passwd": "etc/passwd", "a b.jpg": "a b", "..": "photo", "naïve.jpg": "naïve",
        "nai\u0308ve.jpg": "nai\u0308ve-2", "CON.jpg": "CON-", "what?.jpg": "what-", " .x .jpg": "x"}
    assert {name: names.claim(name) for name in expected} == expected
    assert len(names.claim("面" * 300 + ".jpg").encode()) <= 180


def test_a_name_is_never_that_of_another_photos_face() -> None:
    names = Names()
    assert [names.claim(name) for name in ("two.png", "two-face2.png", "other-face3.png", "other.png")] == [
        "two", "two-face2-2", "other-face3", "other-2"]
