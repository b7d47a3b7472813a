"""The command discover."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import generators
from directions import Edit, load
from directions.components import load_components
from editing import Editor, load_recipe
from tests.commands.running import fine, refused, run
from tests.directions.test_saved_edits import saved, write
from tests.generators.checkpoints import reader_files as files


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and fewer samples for regressions."""
    monkeypatch.setattr("directions.finding.REGRESSION", 500)
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_components_are_found_once_and_kept(tmp_path: Path, cache: Path) -> None:
    command = ("discover", "components", "--samples", 500, "--count", 4)
    [path], told = fine(*command)
    assert path.parent == cache / "components"
    assert "4 components of w hold" in told
    written = path.stat().st_mtime_ns
    [copy], _ = fine(*command, "--out", tmp_path / "mine.safetensors")
    assert path.stat().st_mtime_ns == written
    assert len(load_components(copy)) == 4
    refused(*command, "--out", tmp_path / "mine.safetensors", words="--overwrite")
    [layer], _ = fine("discover", "components", "--layer", "b8.conv0", "--samples", 60, "--count", 4)
    assert load_components(layer).settings.analysis == "incremental"


def test_what_cannot_be_found_is_refused(tmp_path: Path) -> None:
    refused("discover", "components", "--layer", "b9.conv0", words="name one of w, b4.conv1")
    refused("discover", "components", "--samples", 10, words="more samples")
    refused("discover", "components", "--out", tmp_path / "x.npz", words=".safetensors")
    refused("discover", "components", "--analysis", "tsne", words="Invalid value", code=2)


@pytest.mark.parametrize(("command", "work", "said"), [
    (("components", "--samples", 100), "directions.finding.find_components", "goes on where it was"),
    (("sheet", "ganspace"), "directions.named.ganspace_components", "begins again"),
])
def test_ctrl_c_says_how_to_go_on(command: tuple[object, ...], work: str, said: str,
                                  monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupted)
    result = run("discover", *command)
    assert result.exit_code == 1
    assert said in result.stderr


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Components of the small generator."""
    return fine("discover", "components", "--samples", 800, "--count", 6, "--out", tmp_path / "w.safetensors")[0][0]


def test_sheets_of_the_mean_samples_and_random_directions(found: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made, _ = fine("discover", "sheet", found, "--components", "0-1,4", "--columns", 3, "--random", "--out", out)
    assert {path.name for path in made} == {"w-sheet.jpg", "w-random-sheet.jpg"}
    assert Image.open(made[0]).size == (150 + 3 * 128, 3 * 128)
    made, _ = fine("discover", "sheet", found, "--components", 2, "--columns", 2, "--samples", 2, "--rows", "0:4",
                   "--truncate", "after", "--centred", "--video", "gif", "--out", out)
    assert {path.name for path in made} == {"w-2.jpg", "w-2.gif"}
    assert Image.open(made[0]).size == (150 + 2 * 128, 2 * 128)
    refused("discover", "sheet", found, "--components", "6", "--out", out, words="name some of 0 to 5")
    refused("discover", "sheet", found, "--components", "a-b", words="write numbers", code=2)
    refused("discover", "sheet", found, "--rows", "5:19", words="rows of 0 to 18", code=2)


def test_sheets_of_z_and_of_a_face(tmp_path: Path) -> None:
    small = ("--samples", 300, "--count", 2, "--out")
    [z], _ = fine("discover", "components", "--latent", "z", *small, tmp_path / "z.safetensors")
    (_, latent), _ = fine("sample", "--count", 1, "--out", tmp_path)
    out = tmp_path / "out"
    fine("discover", "sheet", z, "--components", "0", "--columns", 2, "--samples", 1, "--out", out)
    refused("discover", "sheet", z, "--components", "0", "--latent", latent, "--out", out, "--overwrite", words="no z")
    [w], _ = fine("discover", "components", *small, tmp_path / "w.safetensors")
    fine("discover", "sheet", w, "--components", "0-1", "--columns", 2, "--latent", latent, "--out", out)


def test_explore_ranks_and_names(found: Path, tmp_path: Path) -> None:
    (table, sheet), told = fine("discover", "explore", found, "--samples", 4, "--top", 3, "--out", tmp_path / "out")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert {row["component"] for row in rows} == set("012345")
    assert {"smile", "hair:blond", "alone", "sigma"} <= rows[0].keys()
    assert "suggested name" in told
    assert Image.open(sheet).size == (190 + 6 * 128, 3 * 128)


def test_saved_directions_are_controls_like_others(found: Path, tmp_path: Path) -> None:
    nose = tmp_path / "nose.safetensors"
    fine("discover", "save", found, "--component", 3, "--rows", "2:4", "--sigmas", -2, "--name", "nose", "--out", nose)
    made = load(nose)["nose"]
    assert (made.layers, made.report["component"]) == ((12, 24), 3)
    both = f"bundled+{nose}"
    assert list(load(both)) == [*load("bundled"), "nose"]
    (_, recipe), _ = fine("edit", "--seed", 3, "--controls", both, "--set", "nose=1", "--set", "smile=1",
                          "--out", tmp_path)
    assert Edit.from_json(json.loads(recipe.read_text())["edit"]).strengths == {"nose": 1.0, "smile": 1.0}
    (picture, recipe, *_), _ = fine("edit", "--seed", 3, "--controls", both, "--set", "nose=0", "--centred",
                                    "--video", "gif", "--out", tmp_path / "centred")
    assert load_recipe(recipe).edit == Edit(strengths={"nose": 0.0}, centred=True)
    editor = Editor(generators.load("bundled"), load(both))
    editor.set_latent(editor.generator.sample([3], truncation=0.7)[0])
    assert np.array_equal(np.asarray(Image.open(picture)), editor.edit({"nose": 0.0}, centred=True))
    assert not np.array_equal(np.asarray(Image.open(picture)), editor.edit({}))
    centred = ("edit", "--seed", 3, "--controls", both, "--centred", "--out", tmp_path / "none")
    refused(*centred, "--set", "smile=1", words="--centred: changes nothing here")
    refused(*centred, "--to", "smile", words="--centred: changes nothing here")
    refused(*centred, "--through", "pose", words="leave out --centred", code=2)
    refused(*centred, "--like", recipe, words="leave out --centred", code=2)
    refused("discover", "save", found, "--component", 9, "--name", "x", "--out", tmp_path / "x.safetensors",
            words="there is no component 9")
    refused("discover", "save", found, "--component", 1, "--name", "A b", words="cannot be a direction's name")
    refused("discover", "save", found, "--component", 1, "--name", "x", "--layers", "4:8", "--rows", "0:1",
            words="not both", code=2)


def test_what_is_held_still_does_not_move(found: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.safetensors"
    _, told = fine("discover", "save", found, "--component", 0, "--name", "still", "--hold-still", "smile,age",
                   "--out", still)
    assert "of it is left" in told
    assert load(still)["still"].report["holds still"] == "smile, age"
    refused("discover", "save", found, "--component", 0, "--name", "x", "--hold-still", "horns",
            "--out", tmp_path / "x.safetensors", words="no such attribute")


def test_saved_edits_of_the_viewer_are_imported(found: Path, tmp_path: Path) -> None:
    components = load_components(found)
    fitting = saved(lat_comp=components.directions[2].numpy()[None], lat_stdev=float(components.deviations[2]))
    [made], told = fine("discover", "import", write(tmp_path / "a.pkl", fitting), "--out", tmp_path / "b.safetensors")
    assert "nose_length: layers 24:32" in told
    assert load(made)["nose_length"].method == "ganspace"
    refused("discover", "import", write(tmp_path / "c.pkl", fitting | {"lat_stdev": 99.0}), "--out",
            tmp_path / "d.safetensors", words="another network")


def test_a_bank_has_components(tmp_path: Path) -> None:
    fine("sample", "--bank", tmp_path / "bank", "--count", 30, "--seed", 5)
    [sheet], _ = fine("discover", "sheet", tmp_path / "bank", "--components", "0", "--columns", 2, "--out", tmp_path)
    assert sheet.name == "bank-sheet.jpg"


def test_classes_have_components_of_their_own(tmp_path: Path) -> None:
    generator = files.write_nvidia_torch(tmp_path / "a.pkl", files.nvidia_modules(replace(files.CONFIG, c_dim=3)))
    small = ("--samples", 300, "--count", 2, "--generator", generator)
    first, second = (load_components(fine("discover", "components", *small, "--class", each)[0][0]) for each in (0, 1))
    assert not first.space.matches(second.space)
    refused("discover", "components", *small, "--class", 3, words="choose one of 0 to 2")
    refused("discover", "components", "--class", 0, words="one class alone")
