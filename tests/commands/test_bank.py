"""The commands sample --bank, score, gradients, prepare: they write what the library makes, mistakes are one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from generators import Generator, load
from gradctrl.prepare import load_examples, prepare
from inversion.photo import save_picture
from learning.bank import SampleBank, open_bank, write_bank
from learning.scorers import (
    BundledScorer,
    FaceClassifier,
    FileScorer,
    load_face_classifier,
    load_scorer,
    measure_gradients,
    save_face_classifier,
    score_bank,
)
from learning.scorers.bundled import CLASSES
from tests.commands.running import fine, refused, run

ROOT = Path(__file__).parents[2]
COUNT = 24


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load("bundled")


@pytest.fixture(scope="module")
def made(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> SampleBank:
    return write_bank(generator, tmp_path_factory.mktemp("made") / "bank", count=COUNT, seed=5)


@pytest.fixture
def bank(made: SampleBank) -> Iterator[SampleBank]:
    yield made
    for name in ("scores", "gradients"):
        (made.folder / f"{name}.safetensors").unlink(missing_ok=True)


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaceClassifier:
    """A random one in place of the bundled one."""
    torch.manual_seed(0)
    network = FaceClassifier()
    path = tmp_path / "classifier.safetensors"
    save_face_classifier(path, network)
    monkeypatch.setattr("learning.scorers.bundled.path_of", {"bundled-classifier": path}.__getitem__)
    return load_face_classifier(path)


class Brightness(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=[1, 2, 3], keepdim=True)[:, :, 0, 0]


def describe(folder: Path, attribute: str = "bright") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(Brightness()).save(str(folder / "model.pt"))
    path = folder / "mine.json"
    path.write_text(json.dumps({"format": "gradctrl-scorer-1", "model": "model.pt", "range": [-1, 1], "outputs": [
        {"attribute": attribute, "classes": ["dark", "bright"], "columns": [0], "kind": "logit"}]}))
    return path


def label(bank: SampleBank, path: Path, count: int = COUNT) -> Path:
    rows = [f"{bank.picture_path(index).name},{index % 2}" for index in range(count)]
    path.write_text("\n".join(["file,beard", *rows]))
    return path


# --- sample --bank ---


def test_a_bank_is_the_library_s(bank: SampleBank, tmp_path: Path) -> None:
    out = tmp_path / "people"
    written, _ = fine("sample", "--bank", out, "--count", COUNT, "--seed", 5)
    assert written == [out]
    mine, theirs = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
                    for folder in (out, bank.folder))
    assert mine == theirs
    (out / "pictures" / "000003.png").unlink()
    fine("sample", "--bank", out, "--count", COUNT, "--seed", 5)
    assert (out / "pictures" / "000003.png").read_bytes() == theirs[Path("pictures/000003.png")]


def test_settings_of_a_bank(tmp_path: Path) -> None:
    out = tmp_path / "bank"
    fine("sample", "--bank", out, "--count", 3, "--truncation", 0.5, "--format", "webp", "--batch", 2)
    bank = open_bank(out)
    assert (bank.count, bank.seed, bank.truncation, bank.ending) == (3, 0, 0.5, "webp")
    refused("sample", "--bank", out, "--count", 2, "--truncation", 0.5, "--format", "webp", words="--count")
    refused("sample", "--bank", tmp_path, "--count", 3, words="choose a new folder")


@pytest.mark.parametrize("arguments", [
    ["--bank", "x", "--sheet"], ["--bank", "x", "--out", "y"], ["--bank", "x", "--overwrite"], ["--format", "webp"],
    ["--batch", "4"],
])
def test_options_without_effect_are_refused(arguments: list[str]) -> None:
    refused("sample", *arguments, words="with --bank", code=2)


def test_a_bank_that_is_stopped_goes_on(bank: SampleBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "bank"

    def save_and_press(path: Path, pixels: np.ndarray) -> None:
        save_picture(path, pixels)
        if path.stem == "000011":
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # In the background it is ignored.
    with monkeypatch.context() as patch:
        patch.setattr("learning.bank.save_picture", save_and_press)
        result = run("sample", "--bank", out, "--count", COUNT, "--seed", 5)
    signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert f"8 of {COUNT} samples are in {out}; the same command again goes on" in result.stderr
    assert "Traceback" not in result.stderr
    refused("score", out, words=f"of {COUNT} samples are there")
    fine("sample", "--bank", out, "--count", COUNT, "--seed", 5)
    assert torch.equal(open_bank(out).latents(), bank.latents())
    assert (open_bank(out).pictures(0, COUNT) == bank.pictures(0, COUNT)).all()


# --- score ---


def test_the_bundled_classifier_scores_by_default(bank: SampleBank, classifier: FaceClassifier) -> None:
    written, told = fine("score", bank.folder)
    assert written == [bank.folder / "scores.safetensors"]
    expected = {item.attribute: item for item in score_bank(bank, BundledScorer(classifier))}
    found = bank.scores()
    assert list(found) == list(CLASSES)
    for name, item in found.items():
        torch.testing.assert_close(item.values, expected[name].values, rtol=1e-4, atol=1e-4)
    counts = found["beard"].labels.bincount(minlength=3).tolist()
    assert f"none {counts[0]}, stubble {counts[1]}, full {counts[2]}" in told


def test_one_s_own_classifier_and_labels_join_what_is_there(bank: SampleBank, tmp_path: Path) -> None:
    table = label(bank, tmp_path / "beards.csv", count=10)
    fine("score", bank.folder, "--with", describe(tmp_path))
    _, told = fine("score", bank.folder, "--with", table)
    found = bank.scores()
    assert list(found) == ["bright", "beard"]
    means = torch.from_numpy(bank.pictures(0, COUNT)).float().mean(dim=[1, 2, 3]) / 127.5 - 1
    torch.testing.assert_close(found["bright"].values[:, 1], means, rtol=0, atol=1e-4)
    assert (found["beard"].classes, int(found["beard"].mask.sum())) == (("not beard", "beard"), 10)
    assert "not beard 5, beard 5" in told
    fine("score", bank.folder, "--with", table, "--classes", "beard=no,yes")
    assert bank.scores()["beard"].classes == ("no", "yes")


def test_scores_are_written_whole_or_not_at_all(bank: SampleBank, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    table = label(bank, tmp_path / "beards.csv")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("learning.scorers.files.prepare_pictures", stop)
    assert run("score", bank.folder, "--with", table, "--with", describe(tmp_path)).exit_code == 1
    assert bank.scores() == {}


def test_what_cannot_be_scored_is_refused(bank: SampleBank, tmp_path: Path) -> None:
    table = label(bank, tmp_path / "beards.csv")
    refused("score", tmp_path / "nowhere", words="not a bank")
    refused("score", bank.folder, "--with", tmp_path / "model.onnx", words="docs/scorers.md")
    refused("score", bank.folder, "--with", tmp_path / "none.json", words="no such file")
    refused("score", bank.folder, "--with", tmp_path / "none.csv", words="no such file")
    refused("score", bank.folder, "--with", table, "--classes", "moustache=no,yes", words="no column 'moustache'")
    refused("score", bank.folder, "--with", table, "--with", describe(tmp_path, "beard"),
            words="beard: is scored by beards.csv and by mine")
    refused("score", bank.folder, "--classes", "beard=no,yes", words="one CSV", code=2)
    refused("score", bank.folder, "--with", table, "--classes", "beard", words="NAME=A,B", code=2)
    (bank.folder / "scores.safetensors").write_bytes(b"nonsense")
    refused("score", bank.folder, "--with", table, words="scores.safetensors")


# --- gradients ---


def test_gradients_are_how_scores_change_with_w(bank: SampleBank, generator: Generator, tmp_path: Path) -> None:
    scorer = describe(tmp_path)
    fine("score", bank.folder, "--with", scorer)
    written, _ = fine("gradients", bank.folder, "--with", scorer, "--count", 3)
    assert written == [bank.folder / "gradients.safetensors"]
    found = bank.gradients()["bright"]
    assert found.shape == (3, 2, generator.w_dim)
    assert not found[:, 0].any()  # The class that scores 0.
    w = bank.latents()[:3]
    way = 1e-2 * torch.nn.functional.normalize(found[:, 1], dim=1)
    sides = [load_scorer(scorer)(generator.render(w + sign * way, bank.resolution))["bright"][:, 1] for sign in (1, -1)]
    assert torch.allclose((sides[0] - sides[1]) / 0.02, found[:, 1].norm(dim=1), rtol=0.1)


def test_gradients_that_are_stopped_go_on_and_grow(bank: SampleBank, generator: Generator, tmp_path: Path) -> None:
    scorer = load_scorer(describe(tmp_path))
    bank.save_scores(score_bank(bank, scorer))
    drawn: list[int] = []

    def stop(done: int, total: int) -> None:
        drawn.append(done)
        if len(drawn) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_gradients(bank, generator, scorer, count=COUNT, batch=4, on_progress=stop)
    first = bank.gradients()["bright"]
    assert len(first) == 8
    measure_gradients(bank, generator, scorer, count=14, batch=4)
    measure_gradients(bank, generator, scorer, count=4 * COUNT, batch=4)  # As many as there are.
    went_on = bank.gradients()["bright"]
    assert torch.equal(went_on[:8], first)
    (bank.folder / "gradients.safetensors").unlink()
    measure_gradients(bank, generator, scorer, count=COUNT, batch=4)
    assert torch.equal(bank.gradients()["bright"], went_on)
    measure_gradients(bank, generator, scorer, count=8, batch=4)  # Fewer: all are kept.
    assert len(bank.gradients()["bright"]) == COUNT


def test_what_has_no_gradients_is_refused(bank: SampleBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = describe(tmp_path)
    refused("gradients", tmp_path / "nowhere", words="not a bank")
    refused("gradients", bank.folder, "--with", scorer, words="score it with that classifier first")
    refused("gradients", bank.folder, "--with", tmp_path / "none.json", words="no such file")
    fine("score", bank.folder, "--with", scorer)
    refused("gradients", bank.folder, "--with", scorer, "--attributes", "smile", words="no scores of smile by mine")
    refused("gradients", bank.folder, "--with", scorer, "--generator", tmp_path / "none.pkl", words="none.pkl")
    opaque = FileScorer.__call__

    def without_gradients(self: FileScorer, pictures: Tensor) -> dict[str, Tensor]:  # As ONNX gives.
        return {name: values.detach() for name, values in opaque(self, pictures).items()}

    monkeypatch.setattr(FileScorer, "__call__", without_gradients)
    refused("gradients", bank.folder, "--with", scorer, words="TorchScript, not as ONNX")
    assert not (bank.folder / "gradients.safetensors").exists()


# --- prepare ---


def test_examples_are_the_library_s(bank: SampleBank, tmp_path: Path) -> None:
    fine("score", bank.folder, "--with", describe(tmp_path), "--with", label(bank, tmp_path / "beards.csv"))
    out = tmp_path / "sets" / "examples.json"
    written, told = fine("prepare", bank.folder, "--out", out, "--attributes", "beard", "--count", 5, "--validation", 3,
                         "--seed", 2)
    assert written == [out]
    found = load_examples(out, samples=bank.settings)
    assert list(found) == ["beard"]
    expected = prepare(bank.scores()["beard"], count=5, validation=3, seed=2)
    assert torch.equal(found["beard"].train, expected.train)
    assert torch.equal(found["beard"].validation, expected.validation)
    assert "beard  10 to train on, 6 to validate" in told
    refused("prepare", bank.folder, "--out", out, words="--overwrite")
    fine("prepare", bank.folder, "--out", out, "--attributes", "beard", "--share", 0.1, "--validation", 0,
         "--overwrite")
    assert len(load_examples(out)["beard"].train) == 2 * 2  # A tenth of 24, of each class.


def test_attributes_without_enough_samples_are_left_out_unless_they_are_named(bank: SampleBank,
                                                                              tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("file,hat\n000000.png,yes\n000001.png,no\n000002.png,no\n")
    fine("score", bank.folder, "--with", few)
    out = tmp_path / "examples.json"
    refused("prepare", bank.folder, "--out", out, "--count", 5, "--validation", 3,
            words="8 samples of each class are needed (5 to train on, 3 to validate), and there are: not hat 2, hat 1")
    fine("score", bank.folder, "--with", label(bank, tmp_path / "beards.csv"))
    refused("prepare", bank.folder, "--out", out, "--count", 5, "--validation", 3, "--attributes", "beard,hat",
            words="not hat 2, hat 1")
    assert not out.exists()
    _, told = fine("prepare", bank.folder, "--out", out, "--count", 5, "--validation", 3)
    assert "left out: hat:" in told
    assert list(load_examples(out)) == ["beard"]


def test_what_cannot_be_prepared_is_refused(bank: SampleBank, tmp_path: Path) -> None:
    out = tmp_path / "examples.json"
    refused("prepare", bank.folder, "--out", out, words="gradctrl score")
    fine("score", bank.folder, "--with", label(bank, tmp_path / "beards.csv"))
    refused("prepare", bank.folder, "--out", out, "--attributes", "smile", words="no scores of 'smile', only of beard")
    refused("prepare", bank.folder, "--out", out, "--count", 3, "--share", 0.1, words="not both", code=2)
    refused("prepare", bank.folder, words="--out", code=2)
    refused("prepare", tmp_path / "nowhere", "--out", out, words="not a bank")
    assert not out.exists()


@pytest.mark.parametrize("command", ["sample", "score", "gradients", "prepare"])
def test_help_is_quick_and_has_an_example(command: str) -> None:
    code = (f"import sys, cli\ntry:\n    cli.main([{command!r}, '--help'])\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "Example:" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
