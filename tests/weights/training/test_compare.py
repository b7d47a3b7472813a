"""The comparison of two generators: what is kept, what is shown, and what the report concludes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from editing.evaluation import TuneSettings
from editing.scorers import load_scorer
from gradctrl import load_controls
from inversion import Projector, ProjectorSettings
from stylegan2 import Generator, GeneratorConfig, load, to_pixels
from stylegan2.readers.own import write
from weights.errors import InputError
from weights.training.compare import controls as controls_module
from weights.training.compare.__main__ import main
from weights.training.compare.controls import compare_controls, evaluation_settings, measured_on, wanted_samples
from weights.training.compare.photos import PhotoComparison, means, projector_settings, spread
from weights.training.compare.record import Pair, Record
from weights.training.compare.report import verdicts, write_report
from weights.training.compare.seeds import compare_seeds
from weights.training.compare.sheets import CAPTION, GAP, SHOWN, Group, brought, sheet
from weights.training.frechet import NAME

sys.path.append(str(Path(__file__).parents[2] / "editing" / "evaluation"))
from glass import Glass, Reader, along, binary

FACTS = {"old": {"hash": "a" * 64, "resolution": 32, "numbers": 1}, "new": {"hash": "b" * 64, "resolution": 64,
                                                                         "numbers": 2}}


def made_generator(resolution: int) -> Generator:
    torch.manual_seed(resolution)
    channels = (8,) * (resolution.bit_length() - 2)
    config = GeneratorConfig(img_resolution=resolution, channels=channels, z_dim=16, w_dim=16, mapping_layers=2)
    return Generator(config).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(made_generator(32), made_generator(64))


@pytest.fixture
def files(pair: Pair, tmp_path: Path) -> list[str]:
    paths = [str(tmp_path / f"{which}.safetensors") for which, _ in pair]
    for path, (_, generator) in zip(paths, pair, strict=True):
        write(path, generator.config, generator.state_dict())
    return paths


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


# The record.

def test_a_part_is_made_once_and_kept(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"value": 1.5}

    for _ in range(2):
        assert Record(tmp_path / "out", FACTS).part("seeds", {"count": 4}, make) == {"value": 1.5}
    assert made == [1]
    record = Record(tmp_path / "out", FACTS)
    assert record.results == {"seeds": {"value": 1.5}}
    assert record.settings == {"seeds": {"count": 4}}


def test_a_part_that_fails_is_not_kept(tmp_path: Path) -> None:
    def fail() -> dict[str, object]:
        raise KeyboardInterrupt

    record = Record(tmp_path, FACTS)
    record.part("frechet", {}, lambda: {"value": 1})
    with pytest.raises(KeyboardInterrupt):
        record.part("seeds", {}, fail)
    assert set(Record(tmp_path, FACTS).results) == {"frechet"}


def test_other_settings_generators_and_files_are_refused_by_name(tmp_path: Path) -> None:
    record = Record(tmp_path / "out", FACTS)
    record.part("seeds", {"count": 4, "first": 0}, dict)
    with pytest.raises(InputError, match=r"another count \(4, not 8\)"):
        record.part("seeds", {"count": 8, "first": 0}, dict)
    with pytest.raises(InputError, match="another new generator"):
        Record(tmp_path / "out", {**FACTS, "new": {**FACTS["new"], "hash": "c" * 64}})
    (tmp_path / "out" / "compare.json").write_text('{"format": "something else"}')
    with pytest.raises(InputError, match=r"compare\.json: no comparison"):
        Record(tmp_path / "out", FACTS)
    (tmp_path / "out" / "compare.json").write_text("{")
    with pytest.raises(InputError, match=r"compare\.json: not readable"):
        Record(tmp_path / "out", FACTS)
    with pytest.raises(InputError, match="choose another --out"):
        Record(tmp_path / "out" / "compare.json" / "folder", FACTS)


# Sheets.

def test_a_sheet_shows_each_picture_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    groups = [Group([rng.integers(0, 256, [64, 64, 3], np.uint8) for _ in range(2)], ("left", "right"))
              for _ in range(3)]
    shown = sheet(groups, columns=2)
    assert shown.shape == (GAP + 2 * (64 + CAPTION + GAP), GAP + 2 * (128 + GAP), 3)
    for index, group in enumerate(groups):
        top = GAP + (64 + CAPTION + GAP) * (index // 2) + CAPTION
        left = GAP + (128 + GAP) * (index % 2)
        assert np.array_equal(shown[top:top + 64, left:left + 128], np.concatenate(group.pictures, axis=1))
    assert (shown[GAP:GAP + CAPTION, GAP:GAP + 64] < 128).any()  # A caption is written.


def test_a_caption_keeps_to_its_picture() -> None:
    picture = np.full([64, 64, 3], 255, np.uint8)
    short, long = (sheet([Group([picture, picture], (first, ""))], columns=1) for first in ("caption", "caption " * 20))
    assert (short < 128).any()
    assert (long[:, GAP:GAP + 64] < 128).any()
    assert (long[:, GAP + 64:] == 255).all()


def test_groups_that_differ_are_refused() -> None:
    small, large = np.zeros([32, 32, 3], np.uint8), np.zeros([64, 64, 3], np.uint8)
    for groups in ([], [Group([small], ("a",)), Group([large], ("b",))], [Group([small], ("a", "b"))]):
        with pytest.raises(ValueError, match="equal pictures"):
            sheet(groups, columns=2)


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
    assert np.array_equal(brought(picture, 32), picture)
    assert brought(picture, 48).shape == (48, 48, 3)


# Seeds.

def test_sheets_show_both_generators_by_the_same_seeds(pair: Pair, tmp_path: Path) -> None:
    found = compare_seeds(pair, tmp_path, count=18, first=5, truncation=0.7, on_progress=quiet)
    assert found == {"sheets": ["seeds-1.png", "seeds-2.png"]}
    with Image.open(tmp_path / "seeds-2.png") as image:
        shown = np.asarray(image)
    for which, (_, generator) in enumerate(pair):
        expected = to_pixels(generator.render(generator.sample([22], truncation=0.7)))[0]
        left = GAP + (2 * SHOWN + GAP) + which * SHOWN  # The second group of the sheet is seed 5 + 17.
        part = shown[GAP + CAPTION:GAP + CAPTION + SHOWN, left:left + SHOWN].astype(int)
        assert abs(part - brought(expected, SHOWN)).max() <= 2  # Batches round together.


# Photos.

def test_photos_are_spread_over_the_folder() -> None:
    paths = [Path(str(index)) for index in range(10)]
    assert [path.name for path in spread(paths, 4)] == ["0", "2", "5", "7"]
    assert spread(paths, 20) == paths


def test_inversions_are_measured_at_the_larger_size_and_kept(
        pair: Pair, astronaut_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = tmp_path / "nobody.png"
    Image.fromarray(np.full([200, 200, 3], 128, np.uint8)).save(nobody)
    settings = ProjectorSettings(steps=2, start="mean")
    out = tmp_path / "out"
    out.mkdir()
    found = PhotoComparison(pair, out, settings, quiet).run([astronaut_file, nobody])
    assert [row["photo"] for row in found["photos"]] == ["astronaut"]
    assert list(found["left out"]) == ["nobody.png"]
    assert found["sheets"] == ["photos-1.png"]
    for which, _ in pair:
        row = found["photos"][0][which]
        assert row["lpips"] > 0.05
        assert 0.3 < row["identity"] < 2  # Of noise, and not of one person with itself.

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("it was kept")

    monkeypatch.setattr(Projector, "invert", fail)
    assert PhotoComparison(pair, out, settings, quiet).run([astronaut_file, nobody]) == found
    with pytest.raises(InputError, match="no photo in it has a face"):
        PhotoComparison(pair, out, settings, quiet).run([nobody])


def test_means_and_who_is_nearer() -> None:
    def row(lpips: float, identity: float, seconds: float) -> dict[str, float]:
        return {"lpips": lpips, "identity": identity, "seconds": seconds}

    rows = [{"old": row(0.3, 0.6, 1), "new": row(0.1, 0.7, 3)}, {"old": row(0.2, 0.6, 2), "new": row(0.3, 0.6, 3)}]
    found = means(rows)
    assert found["old"] == {"lpips": 0.25, "identity": 0.6, "seconds": 1.5}
    assert found["new"] == {"lpips": 0.2, "identity": 0.65, "seconds": 3}
    assert found["new is nearer"] == {"lpips": 1, "identity": 0}


def test_both_generators_begin_the_same_way() -> None:
    assert projector_settings("balanced", "samples").start == "samples"
    assert projector_settings("balanced", "samples").steps == 140


# Controls.

@pytest.fixture(scope="module")
def glasses() -> tuple[Pair, Reader]:
    """Two generators whose pictures show w+, and a classifier that reads it."""
    old, new = Glass(), Glass()
    new.mapping.fc1.bias.data += 1e-4  # Another generator, of another hash, that draws the same people.
    w = old.sample(range(500))
    centre, deviation = w.mean(dim=0), w.std(dim=0)

    def logit(*channels: int) -> Callable[[Tensor], Tensor]:
        return binary(lambda w_plus: ((w_plus.mean(dim=1) - centre) / deviation) @ along(*channels))

    return Pair(old, new), Reader({"smile": logit(0, 1, 2), "age": logit(8, 9)})


@pytest.mark.slow
def test_controls_are_made_for_both_and_cut_ones_go_on(glasses: tuple[Pair, Reader], tmp_path: Path) -> None:
    pair, reader = glasses
    settings = replace(evaluation_settings(quick=True), trials=20, edits=4, tune=TuneSettings(
        samples=4, margins=(0.3,), search_margins=(0.3,), margin_samples=4, layer_parts=((0, 1),)))

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("new: dependency"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_controls(pair, tmp_path, reader, count=400, settings=settings, on_progress=stop)
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors") if "measured" not in path.parts}
    found = compare_controls(pair, tmp_path, reader, count=400, settings=settings,
                             on_progress=lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    for which, generator in pair:
        assert set(found[which]["attributes"]) == {"smile", "age"}
        assert all(0 <= row["accuracy"] <= 1 and row["edits"] > 0 for row in found[which]["attributes"].values())
        made = load_controls(tmp_path / found[which]["controls"])
        assert made.generator_hash == generator.hash
        # What the file records is what was found, so that a later comparison can take it from there.
        assert measured_on(made, wanted_samples(generator, 400)) == found[which]["attributes"]
        assert measured_on(made, wanted_samples(generator, 401)) is None
    old = load_controls(tmp_path / found["old"]["controls"])
    again = compare_controls(pair, tmp_path, reader, count=400, settings=settings, recorded=old,
                             on_progress=lambda *_: None)
    assert again["old"] == {"attributes": found["old"]["attributes"], "controls": "as recorded in its controls"}


def test_what_the_old_controls_record_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was measured on as many samples; else controls are made for the old generator too."""
    made: list[str] = []

    def make(generator: Generator, folder: Path, which: str, *_: object) -> dict[str, object]:
        made.append(which)
        return {"attributes": {}, "controls": which}

    monkeypatch.setattr(controls_module, "_made", make)
    bundled, quiet_pair = load_controls("bundled"), Pair(load("bundled"), made_generator(32))
    for count, expected in ((30_000, ["new"]), (20_000, ["old", "new"])):
        made.clear()
        found = compare_controls(quiet_pair, tmp_path, load_scorer("bundled"), count=count, recorded=bundled,
                                 settings=evaluation_settings(quick=False), on_progress=quiet)
        assert made == expected
        assert (found["old"]["controls"] == "as recorded in its controls") == (expected == ["new"])


def test_the_bundled_controls_record_the_full_recipe() -> None:
    controls = load_controls("bundled")
    samples = next(iter(controls.values())).report["samples"]
    found = measured_on(controls, samples)
    assert found is not None
    assert set(found) == set(controls)
    assert all(row["accuracy"] > 0.8 and row["error"] < 0.02 for row in found.values())
    assert evaluation_settings(quick=False).trials == 3000


# The report.

def results(better: bool) -> dict[str, dict]:
    low, high = (1.0, 2.0) if better else (2.0, 1.0)
    measured = {"samples": 4, "seed": 0, "truncation": 1.0, "pictures": 5, "two halves of the pictures": 0.5}
    rows = [{"photo": "somebody", "old": {"lpips": high, "identity": high, "seconds": 1.0},
             "new": {"lpips": low, "identity": low, "seconds": 1.0}}]
    row = {"held-out accuracy": 0.9, "reached": 1.0, "edits": 100, "error": 0.01}
    return {"seeds": {"sheets": ["seeds-1.png"]},
            "frechet": {"old": {NAME: high, **measured}, "new": {NAME: low, **measured}},
            "photos": {"photos": rows, "left out": {"x.jpg": "x.jpg: no face"}, "means": means(rows),
                       "sheets": ["photos-1.png"]},
            "controls": {"old": {"attributes": {"smile": {**row, "accuracy": 0.9}}, "controls": "recorded"},
                         "new": {"attributes": {"smile": {**row, "accuracy": 0.9 + (low < high) / 100 - 0.005},
                                                "hat": {**row, "accuracy": 0.5}},
                                 "left out": {"age": "hardly varies"}, "controls": "file"}}}


@pytest.mark.parametrize("better", [True, False])
def test_a_verdict_follows_the_numbers(better: bool) -> None:
    assert verdicts(results(better)) == {"frechet": better, "photos": better, "controls": better}


def test_no_better_is_not_better_and_a_lost_attribute_does_not_pass() -> None:
    found = results(True)
    found["frechet"]["new"] = found["frechet"]["old"]
    del found["controls"]["new"]["attributes"]["smile"]
    assert verdicts(found) == {"frechet": False, "photos": True, "controls": False}
    assert verdicts({}) == verdicts({"seeds": {"sheets": []}}) == {}


def test_the_report_says_what_was_compared_and_what_was_not(tmp_path: Path) -> None:
    settings = {"seeds": {"count": 16, "first": 0, "truncation": 1.0}, "frechet": {"faces": "faces", "samples": 4},
                "photos": {"photos": "photos", "count": 1, "preset": "balanced", "start": "samples"},
                "controls": {"count": 30_000, "quick": False}}
    record = Record(tmp_path, FACTS)
    write_report(record)
    assert (tmp_path / "report.md").read_text().count("not compared") == 4
    for name, result in results(False).items():
        record.part(name, settings[name], lambda result=result: result)
    write_report(record)
    text = (tmp_path / "report.md").read_text()
    assert text.count("**no**") == 3
    for expected in ("| smile | 0.900 | 0.900 | 0.900 ± 0.010 | 0.895 ± 0.010 | 1.000 | 1.000 |",
                     "| hat | none | 0.900 |", "| somebody | 1.000 | 2.000 |", "![photos-1](photos-1.png)",
                     "left out: x.jpg: no face", "age is not judged: hardly varies"):
        assert expected in text
    assert "not compared" not in text


# The command.

def test_the_command_goes_on_with_the_parts_that_are_not_done(files: list[str], tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, [32, 32, 3], np.uint8)
        Image.fromarray(pixels).save(faces / f"{index}.png")
    out = tmp_path / "out"
    common = [*files, "--out", str(out), "--device", "cpu", "--threads", "1", "--seeds", "2", "--samples", "3"]
    assert main([*common, "--parts", "seeds"]) == 0
    before = (out / "seeds-1.png").stat().st_mtime_ns
    assert main([*common, "--parts", "frechet,seeds", "--faces", str(faces)]) == 0
    assert (out / "seeds-1.png").stat().st_mtime_ns == before
    found = json.loads((out / "compare.json").read_text())["parts"]
    assert set(found) == {"seeds", "frechet"}
    assert found["frechet"]["result"]["new"][NAME] > 0
    assert f"## {NAME}" in (out / "report.md").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--parts", "seeds,looks"], "give some of seeds, frechet, photos, controls"),
    (["--parts", ""], "give some of"),
    (["--parts", "frechet"], "needs --faces FOLDER"),
    (["--parts", "photos", "--photos", "nowhere"], "nowhere: no such folder"),
    (["--parts", "seeds", "--seeds", "0"], "--seeds must be 1 or more"),
    (["--parts", "controls", "--old-controls", "bundled"], "not of OLD"),
])
def test_the_command_ends_with_one_line_where_it_cannot(
        files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
        message: str) -> None:
    assert main([*files, "--out", str(tmp_path / "out"), "--device", "cpu", "--threads", "1", *arguments]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if message in line]
    assert len(lines) == 1
