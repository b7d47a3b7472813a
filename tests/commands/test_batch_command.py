"""The command batch: folders in and out, going on, the stages apart, and what it refuses."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from inversion.photo import Photo
from tests.commands.running import fine, made_by, refused, run

SMILE = ("--set", "smile=2", "--preset", "fast", "--workers", "1")


@pytest.fixture
def holiday(tmp_path: Path, astronaut: Photo) -> Path:
    """A folder with one photo in two sub-folders, under one name, and a text."""
    folder = tmp_path / "holiday"
    for day in ("monday", "tuesday"):
        (folder / day).mkdir(parents=True)
        Image.fromarray(astronaut.pixels).save(folder / day / "me.png")
    (folder / "notes.txt").write_text("words")
    return folder


def pictures(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder / "pictures").as_posix() for path in (folder / "pictures").rglob("*.*"))


def test_a_folder_keeps_its_sub_folders_and_goes_on_where_it_was(holiday: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths, words = fine("batch", holiday, *SMILE, "--out", out, "--zip")
    assert paths == [out / "batch.csv", out / "batch.jsonl", tmp_path / "out.zip"]
    assert pictures(out) == ["monday/me-edited.png", "tuesday/me-edited.png"]
    assert (out / "sheets" / "sheet-0001.jpg").is_file()
    assert "2 done (0 were already), 0 failed" in words
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert "pictures/monday/me-edited.png" in archive.namelist()
        assert "journal.jsonl" not in archive.namelist()
    before = (out / "pictures" / "monday" / "me-edited.png").stat().st_mtime_ns
    shutil.copytree(holiday / "monday", holiday / "sunday")
    _, words = fine("batch", holiday, *SMILE, "--out", out)
    assert "3 done (2 were already), 0 failed" in words
    assert (out / "pictures" / "monday" / "me-edited.png").stat().st_mtime_ns == before
    refused("batch", holiday, *SMILE, "--out", out, "--no-resume", words="holds results already")
    refused("batch", holiday, *SMILE, "--out", out, "--crop", words="other settings (outputs)")
    [table, _] = made_by("batch", holiday / "monday", *SMILE, "--out", out, "--crop", "--beside")
    assert table == tmp_path / "out-2" / "batch.csv"


def test_patterns_lists_and_zips(holiday: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{holiday / 'monday' / 'me.png'}\n\n")
    shutil.make_archive(str(tmp_path / "days"), "zip", holiday)
    (tmp_path / "days.zip").rename(tmp_path / "z.zip")
    out = tmp_path / "out"
    result = run("batch", f"{holiday}/t*/**/*.png", tmp_path / "z.zip", "--list", listed, *SMILE, "--out", out)
    assert result.exit_code == 1  # The text in the ZIP is no photo.
    assert "Error: notes.txt: is not a JPEG" in result.stderr
    rows = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    assert [(row["file"], row["state"]) for row in rows] == [
        ("monday/me.png", "done"), ("monday/me.png (2)", "done"), ("notes.txt", "failed"), ("tuesday/me.png", "done"),
        ("tuesday/me.png (2)", "done")]
    assert len(set(pictures(out))) == 4


def test_the_stages_apart(holiday: Path, tmp_path: Path) -> None:
    made_by("batch", holiday, "--only", "invert", "--preset", "fast", "--workers", "1", "--zip", "--out",
            tmp_path / "inverted")
    edit = ("--only", "edit", "--set", "smile=2", "--workers", "1")
    made_by("batch", tmp_path / "inverted", *edit, "--out", tmp_path / "crops")
    made_by("batch", tmp_path / "inverted", *edit, "--photos", holiday, "--out", tmp_path / "photos")
    made_by("batch", holiday, *SMILE, "--out", tmp_path / "together")
    name = Path("pictures") / "monday" / "me-edited.png"
    assert Image.open(tmp_path / "crops" / name).size == (128, 128)
    made_by("batch", tmp_path / "inverted.zip", *edit, "--out", tmp_path / "zipped")
    assert pictures(tmp_path / "zipped") == pictures(tmp_path / "crops")
    assert (tmp_path / "zipped" / name).read_bytes() == (tmp_path / "crops" / name).read_bytes()
    refused("batch", tmp_path / "inverted.zip", *edit, "--photos", holiday, "--out", tmp_path / "z",
            words="no such folder")
    assert (tmp_path / "photos" / name).read_bytes() == (tmp_path / "together" / name).read_bytes()


def test_the_face_like_another_photos(holiday: Path, tmp_path: Path) -> None:
    made_by("batch", holiday, *SMILE, "--like-face", holiday / "monday" / "me.png", "--no-latents", "--out",
            tmp_path / "out")
    assert len(pictures(tmp_path / "out")) == 2
    assert not (tmp_path / "out" / "latents").exists()


def test_what_does_not_go_together_is_said(holiday: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    for arguments, words in (
            ((), "give a folder"), ((holiday,), "say what to change"),
            ((holiday, "--only", "invert", "--set", "smile=1"), "leave out --set"),
            ((holiday, "--only", "edit", "--set", "smile=1", "--preset", "fast"), "leave out --preset"),
            ((holiday, "--only", "edit", "--set", "smile=1", "--paste"), "give them with --photos"),
            ((holiday, "--set", "smile=1", "--set", "smile=2"), "set twice"),
            ((holiday, "--set", "smile=1", "--address", "auto", "--executor", "serial"), "is Ray's")):
        refused("batch", *arguments, *out, words=words, code=2)
    refused("batch", tmp_path / "nowhere", *SMILE, *out, words="nowhere: no such file or folder")
    refused("batch", holiday, "--set", "wings=1", *out, words="wings: no such attribute")
    refused("batch", holiday / "notes.txt", "--only", "edit", "--set", "smile=1", *out, words="no such folder")
    refused("batch", holiday, *SMILE, "--layers", "1:3", *out, words="layer range")
    assert not (tmp_path / "out").exists()
