"""The commands of discover for directions of weights."""

from __future__ import annotations

import csv
import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import generators
from directions import Edit, load
from directions.navigan.basis import load_basis
from editing import Editor, load_recipe
from tests.commands.running import fine, made_by, refused, run

SMALL = ("--count", 3, "--samples", 2, "--side", 32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Directions of the small generator."""
    command = ("discover", "weights", "--layer", "b16.conv1", "--basis", "svd", "--count", 4)
    return fine(*command, "--out", tmp_path / "svd.safetensors")[0][0]


def test_directions_are_found_once_and_kept(tmp_path: Path, cache: Path) -> None:
    command = ("discover", "weights", "--layer", "b16.conv1", *SMALL)
    [path], told = fine(*command)
    assert path.parent == cache / "weight-directions"
    assert "3 directions of b16.conv1 in" in told
    written = path.stat().st_mtime_ns
    [copy], _ = fine(*command, "--out", tmp_path / "mine.safetensors")
    assert path.stat().st_mtime_ns == written
    assert len(load_basis(copy).lengths) == 3
    refused(*command, "--out", tmp_path / "mine.safetensors", words="--overwrite")
    refused("discover", "weights", "--layer", "b9.conv0", words="name one of b4.conv1, b8.conv0")
    refused("discover", "weights", "--layer", "b8.conv0", "--basis", "qr", words="Invalid value", code=2)


def test_what_is_not_finite_is_told_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from directions.navigan.hessian import PerceptualHessian

    gradient, calls = PerceptualHessian.gradient, []

    def broken(self: PerceptualHessian, shift: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient(self, shift) * (float("nan") if len(calls) > 8 else 1.0)

    monkeypatch.setattr(PerceptualHessian, "gradient", broken)
    refused("discover", "weights", "--layer", "b16.conv1", *SMALL, words="what was found until then is in")
    [partly] = (cache / "weight-directions").glob("*-partly.safetensors")
    assert len(load_basis(partly)) == 3
    monkeypatch.setattr(PerceptualHessian, "gradient", gradient)
    fine("discover", "weights", "--layer", "b16.conv1", *SMALL)


def test_directions_are_named_and_edit_samples_and_faces(found: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.safetensors"
    fine("discover", "save", found, "--component", 1, "--lengths", -2, "--name", "odd", "--out", odd)
    both = f"bundled+{odd}"
    (picture, recipe, *_), _ = fine("edit", "--seed", 3, "--controls", both, "--set", "odd=0.5", "--set", "smile=1",
                                    "--strip", "--out", tmp_path)
    assert load_recipe(recipe).edit == Edit(strengths={"odd": 0.5, "smile": 1.0})
    editor = Editor(generators.load("bundled"), load(both))
    editor.set_latent(editor.generator.sample([3], truncation=0.7)[0])
    assert np.array_equal(np.asarray(Image.open(picture)), editor.edit({"odd": 0.5, "smile": 1.0}))
    assert not np.array_equal(np.asarray(Image.open(picture)), editor.edit({"smile": 1.0}))
    for option in (("--sigmas", 2), ("--rows", "2:4"), ("--hold-still", "smile")):
        refused("discover", "save", found, "--component", 1, "--name", "x", *option, words="have --lengths", code=2)
    refused("discover", "save", found, "--component", 9, "--name", "x", words="there is no direction 9")


def test_a_survey_ranks_draws_and_films(found: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (table, sheet, *films), told = fine("discover", "survey", found, "--samples", 2, "--directions", "0,2-3",
                                        "--video", "gif", "--out", out)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert {row["direction"] for row in rows} == {"0", "2", "3"}
    assert {"smile", "hair:blond", "change", "identity", "length"} <= rows[0].keys()
    assert all(row["suggested name"].endswith(f"_{row['direction']}") for row in rows)
    assert [float(row["rank"]) for row in rows] == sorted((float(row["rank"]) for row in rows), reverse=True)
    assert Image.open(sheet).size == (190 + 6 * 128, 3 * 128)
    assert [film.name for film in films] == ["svd-0.gif", "svd-2.gif", "svd-3.gif"]
    assert "suggested name" in told
    assert not any("component" in row["suggested name"] for row in rows)
    (_, latent), _ = fine("sample", "--count", 1, "--out", tmp_path)
    (_, sheet), _ = fine("discover", "survey", found, "--samples", 2, "--directions", "1", "--latent", latent,
                         "--out", tmp_path / "face")
    assert Image.open(sheet).size == (190 + 3 * 128, 128)
    refused("discover", "survey", found, "--directions", "7", "--out", out, words="name some of 0 to 3")


def test_rectified_directions(found: Path, tmp_path: Path) -> None:
    command = ("discover", "rectify", found, "--count", 2, "--steps", 3, "--batch", 2, "--side", 32, "--out",
               tmp_path / "r.safetensors")
    (made, curves), told = fine(*command)
    assert len(load_basis(made)) == len(load_basis(made).lengths) == 2
    assert len(list(csv.DictReader(curves.open(encoding="utf-8")))) == 3
    assert "the predictor names" in told
    assert not (tmp_path / "r.checkpoint").exists()
    refused(*command, words="--overwrite")
    refused("discover", "rectify", tmp_path / "none.safetensors", "--out", tmp_path / "x.safetensors", words="no such")
    refused("discover", "rectify", found, "--scale", 1, "--least", 2, "--out", tmp_path / "x.safetensors",
            words="below the --scale")


def fill_disk(patch: pytest.MonkeyPatch, ending: str) -> None:
    """There is no room for files whose names end so."""
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).suffix == ending:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    patch.setattr(Path, "replace", full)


def test_a_full_disk_while_training_loses_nothing(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("discover", "rectify", found, "--count", 2, "--steps", 4, "--batch", 2, "--side", 32, "--out")
    [whole, _] = made_by(*command, tmp_path / "whole.safetensors")
    monkeypatch.setattr("directions.navigan.rectifying.CHECKPOINT_SECONDS", 0.0)
    out = tmp_path / "out"
    for ending, left in ((".checkpoint", []), (".safetensors", ["r.checkpoint"]),
                         (".csv", ["r.checkpoint", "r.safetensors"])):
        with monkeypatch.context() as patch:
            fill_disk(patch, ending)
            result = run(*command, out / "r.safetensors")
        assert result.exit_code == 1
        assert "(No space left on device); free some space" in result.stderr
        assert sorted(path.name for path in out.iterdir()) == left  # None half-made, none hidden.
    [made, _] = made_by(*command, out / "r.safetensors", "--overwrite")
    assert torch.equal(load_basis(made).directions, load_basis(whole).directions)


def test_a_full_disk_while_surveying_keeps_what_was_measured(found: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("discover", "survey", found, "--samples", 2, "--directions", "0", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        fill_disk(patch, ".jpg")
        result = run(*command)
    assert result.exit_code == 1
    assert "(No space left on device); free some space" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["svd-survey.csv"]
    fine(*command, "--overwrite")


@pytest.mark.parametrize(("command", "work", "said"), [
    ("rectify", "directions.navigan.rectifying.Rectifying.train_step", "goes on where it was"),
    ("survey", "editing.weight_sheets.deformed_pictures", "files that were written stay"),
])
def test_ctrl_c_says_how_to_go_on(command: str, work: str, said: str, found: Path, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupted)
    out = tmp_path / "out"
    more = ("--out", out / "r.safetensors") if command == "rectify" else ("--samples", 2, "--out", out)
    result = run("discover", command, found, *more)
    assert result.exit_code == 1
    assert said in result.stderr
    assert [path.name for path in out.iterdir()] == [
        "r.checkpoint" if command == "rectify" else "svd-survey.csv"]


def test_deformations_of_the_authors_are_imported(tmp_path: Path) -> None:
    generator = generators.load("bundled")
    shape = generator.get_parameter("synthesis.b16.conv1.weight").shape
    shift = torch.randn(1, *shape)
    torch.save({"layer_ix": 3, "shift": shift}, tmp_path / "nose length.pt")
    [made], told = fine("discover", "import", tmp_path / "nose length.pt", "--out", tmp_path / "n.safetensors")
    assert "nose_length: the weight of b16.conv1" in told
    direction = load(made)["nose_length"]
    assert direction.units[0] == pytest.approx(float(shift.norm()))
    torch.save({"layer_ix": 5, "shift": shift}, tmp_path / "other.pt")
    refused("discover", "import", tmp_path / "other.pt", "--out", tmp_path / "o.safetensors", words="has the shape")


def test_the_list_of_named_edits_has_both_sets() -> None:
    told = run("discover", "edits").stdout
    assert "ganspace:bald" in told
    assert "navigan:short_nose" in told
