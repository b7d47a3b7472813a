"""Control files that hold a metric, margins and a method; and files of before there were any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from directions import Control, Controls, load_controls, save_controls
from tests.directions.made_controls import latents, make_control, make_metric
from weights.errors import InputError

HASH = "b" * 64


@pytest.fixture
def made() -> Controls:
    metric = make_metric(20, dtype=torch.float32)
    return Controls([
        make_control("smile", seed=1, dtype=torch.float32, method="project", metric=metric, margins=(0.0, 0.75),
                     keep={"pose": 50}, step=0.25, units=(1.5,), limits=(-2.0, 2.5), layers=(1, 7)),
        make_control("pose", outputs=3, seed=2, dtype=torch.float32, method="project", metric=metric, ordered=True,
                     margins=(0.1, 0.2, 0.3), report={"held out": {"accuracy": 0.9, "confusion": [[1.0, 0.0]]}}),
        make_control("age", seed=3, dtype=torch.float32)], generator_hash=HASH)


@pytest.fixture
def path(made: Controls, tmp_path: Path) -> Path:
    save_controls(tmp_path / "c.safetensors", list(made.values()), generator_hash=HASH)  # type: ignore[arg-type]
    return tmp_path / "c.safetensors"


def rewrite(path: Path, change: Any) -> None:
    """Change a file's tensors and entries in place."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors, entries = load_file(path), json.loads(metadata["controls"])
    change(tensors, entries)
    save_file(tensors, path, {**metadata, "controls": json.dumps(entries)})


def test_everything_comes_back_with_the_same_hash(made: Controls, path: Path) -> None:
    found = load_controls(path)
    assert found.hash == made.hash
    assert found.generator_hash == HASH
    assert list(found) == list(made)
    for name, control in made.items():
        again = found[name]
        assert isinstance(control, Control)
        assert isinstance(again, Control)
        for field in ("classes", "layers", "keep", "step", "units", "limits", "margins", "ordered", "method", "report"):
            assert getattr(again, field) == getattr(control, field), field
        for part, tensor in control.tensors().items():
            assert torch.equal(again.tensors()[part], tensor)
    smile, pose, age = found.values()
    assert smile.metric is pose.metric  # type: ignore[attr-defined]
    assert age.metric is None  # type: ignore[attr-defined]


def test_directions_are_the_same_after_loading(made: Controls, path: Path) -> None:
    w = latents(5, dtype=torch.float32)
    found = load_controls(path)
    for name in made:
        keep_before, keep_after = ([(c["age"], 5), (c["smile"], 9)] for c in (made, found))
        before, after = made[name].direction(w, 0, keep_before), found[name].direction(w, 0, keep_after)
        assert torch.allclose(before, after, atol=1e-6)


def test_the_hash_tells_settings_of_directions_apart(made: Controls) -> None:
    smile = made["smile"]
    assert isinstance(smile, Control)
    assert smile.metric is not None
    others = [replace(smile, method="paper"), replace(smile, metric=None), replace(smile, keep={}),
              replace(smile, step=0.5), replace(smile, units=(2.0,)), replace(smile, layers=(0, 7)),
              replace(smile, metric=replace(smile.metric, axes=smile.metric.axes * 1.01))]
    hashes = {Controls([control]).hash for control in (smile, *others)}
    assert len(hashes) == len(others) + 1
    assert Controls([replace(smile, report={"note": 1})]).hash == Controls([smile]).hash


def test_a_file_of_before_there_were_methods_is_the_papers(path: Path) -> None:
    def older(tensors: dict[str, torch.Tensor], entries: list[dict[str, Any]]) -> None:
        for name in ("metric.mean", "metric.axes"):
            del tensors[name]
        for entry in entries:
            for field in ("margins", "ordered", "method", "metric"):
                del entry[field]

    rewrite(path, older)
    for control in load_controls(path).values():
        assert isinstance(control, Control)
        assert (control.method, control.metric, control.margins, control.ordered) == ("paper", None, (), False)
        assert [control.margin(index) for index in range(len(control.classes))] == [0.0] * len(control.classes)


def _set_nan(tensors: dict[str, torch.Tensor], _: Any) -> None:
    tensors["metric.axes"][0, 0] = torch.nan


def _drop_mean(tensors: dict[str, torch.Tensor], _: Any) -> None:
    del tensors["metric.mean"]


def _drop_axes(tensors: dict[str, torch.Tensor], _: Any) -> None:
    del tensors["metric.axes"]


def _narrow(tensors: dict[str, torch.Tensor], _: Any) -> None:
    tensors["metric.axes"] = tensors["metric.axes"][:, 1:].clone()


def _narrow_both(tensors: dict[str, torch.Tensor], _: Any) -> None:
    """A metric that is one in itself, but of another W."""
    tensors["metric.axes"] = tensors["metric.axes"][:, 1:].clone()
    tensors["metric.mean"] = tensors["metric.mean"][1:].clone()


def _method(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[0]["method"] = "guess"


def _margins(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[0]["margins"] = [1.0, 2.0, 3.0]


DAMAGES = [_set_nan, _drop_mean, _drop_axes, _narrow, _narrow_both, _method, _margins]


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_damage_is_refused(path: Path, damage: Any) -> None:
    rewrite(path, damage)
    with pytest.raises(InputError, match=r"c\.safetensors: damaged control file .*; get it again"):
        load_controls(path)


def test_controls_of_two_metrics_are_not_written_as_one(made: Controls, tmp_path: Path) -> None:
    other = replace(made["smile"], name="other", metric=make_metric(30, dtype=torch.float32))  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="share one metric"):
        save_controls(tmp_path / "d.safetensors", [made["smile"], other], generator_hash=HASH)  # type: ignore[list-item]
    assert not (tmp_path / "d.safetensors").exists()
