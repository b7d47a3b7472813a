"""The command controls show: everything that a control file knows is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from directions import GradCtrlControl, LinearControl
from directions import load as load_controls
from directions import save as save_controls
from generators import Space
from gradctrl import Classifier
from tests.commands.running import run
from tests.small_models import bundle

SAMPLES = {"space": "w 8 x", "generator_hash": "a" * 64, "truncation": 1.0, "seed": 5, "count": 9000, "ending": "png",
           "resolution": 32,
           "w_dim": 8}

SPACES = {"w": Space.of("w", torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))}


def shown(source: object) -> str:
    result = run("controls", "show", source)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = torch.Generator().manual_seed(0)

    def weights(outputs: int) -> Classifier:
        return Classifier(hidden_weight=torch.randn(3, 8, generator=rng), hidden_bias=torch.zeros(3),
                          out_weight=torch.randn(outputs, 3, generator=rng), out_bias=torch.zeros(outputs))

    report = {"trained on": "scores of 8100 samples", "scorer": "me", "samples": SAMPLES,
              "held out": {"samples": 900, "accuracy": 0.912, "balanced accuracy": 0.895,
                           "confusion": [[0.93, 0.07], [0.14, 0.86]], "calibration error": 0.021},
              "meta-validation": {"samples": 30, "accuracy": 0.867, "margin in deviations": 0.5},
              "measured": {"edits": 512, "accuracy": 0.953, "stayed": {"age": 0.98}, "dependency": {"0.5": 0.11}},
              "something new": [1, 2.5]}
    smile = GradCtrlControl(name="smile", classes=("serious", "smiling"), layers=(12, 96), keep={"pose": 150},
                            step=0.45,
                    units=(2.25,), limits=(-1.5, 2.5), margins=(0.3, 0.4), classifier=weights(1), report=report)
    pose = GradCtrlControl(name="pose", classes=("left", "front", "right"), layers=(4, 24), ordered=True,
                           units=(1.0, 2.0, 3.0),
                   classifier=weights(3))
    save_controls(tmp_path / "mine.safetensors", [smile, pose], spaces=SPACES)
    return tmp_path / "mine.safetensors"


def test_everything_is_shown(file: Path) -> None:
    text = shown(file)
    assert text.splitlines()[0] == f"space {SPACES['w'].short}"
    assert text.splitlines()[1] == f"controls {load_controls(file).hash}"
    for told in ("smile: serious (-) to smiling (+)", "scores of 8100 samples", "me", "9000 samples, seeds from 5",
                 "truncation 1.0", "aaaaaaaaaaaa", "samples 900, accuracy 0.912, balanced accuracy 0.895, calibration "
                 "error 0.021", "for serious 93%, for smiling 7%", "for serious 14%, for smiling 86%", "masks", "12:96",
                 "pose 150", "0.45", "2.25", "serious 0.3, smiling 0.4", "-1.5 to 2.5", "samples 30, accuracy 0.867, "
                 "margin in deviations 0.5", "edits 512, accuracy 0.953", "age 0.98", "0.5 0.11", "[1, 2.5]"):
        assert told in text.split("\n\n")[1], told
    assert "pose: left, front, right (in order)" in text
    pose = text.split("\n\n")[2]
    for told in ("left 1, front 2, right 3", "nothing", "4:24", "-3 to 3"):
        assert told in pose, told


def test_other_methods_and_the_bundled_ones_are_shown(file: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    control = LinearControl(name="age", classes=("young", "old"), found_by="ganspace",
                            directions=torch.eye(8)[:1], weights=torch.ones(1, 8), bias=torch.zeros(1),
                            report={"samples": 700, "outputs": [{"class": "old", "component": 3, "rank": 0.8123}]})
    path = tmp_path / "other.safetensors"
    save_controls(path, [control], spaces=SPACES)
    bundle(monkeypatch, "ganspace", path)
    assert shown(path) == shown("ganspace")
    for told in (SPACES["w"].short, "ganspace", "700", "class old, component 3, rank 0.8123"):
        assert told in shown(path)
    bundled = shown("bundled")
    assert {line.split(":")[0] for line in bundled.splitlines()[3:] if line and line[0] != " "} == set(load_controls())
    assert load_controls().spaces["w"].short in bundled


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    for name in ("none.safetensors", ""):
        result = run("controls", "show", tmp_path / name)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
        assert str(tmp_path) in result.stderr
    assert run("controls", "show").exit_code == 2
