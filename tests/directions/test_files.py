"""Files of directions: what is saved comes back, whatever it is; and what is damaged is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from directions import Controls, Direction, GradCtrlControl, LinearControl, LinearDirection, load, save
from generators import Space
from tests.directions.made_controls import make_control
from tests.gradctrl.made_classifiers import W_DIM, latents, make_statistics
from weights.errors import InputError

SPACES = {"w": Space.of("w", torch.randn(4, W_DIM, generator=torch.Generator().manual_seed(0))),
          "styles": Space.of("styles", torch.randn(4, W_DIM, generator=torch.Generator().manual_seed(1)))}


def linear(name: str = "blond", method: str = "ganspace") -> LinearControl:
    return LinearControl(name=name, classes=("no", "yes"), directions=torch.eye(W_DIM)[:1], found_by=method,
                         weights=torch.ones(1, W_DIM), bias=torch.zeros(1), margins=(0.5, 1.0))  # type: ignore[arg-type]


@pytest.fixture
def controls() -> Controls:
    """Some of each kind."""
    statistics = make_statistics(20, dtype=torch.float32)
    return Controls([
        make_control("smile", seed=1, dtype=torch.float32, keeping="projection", statistics=statistics,
                     sensitivity=torch.randn(3, W_DIM, generator=torch.Generator().manual_seed(2)) / 8,
                     margins=(0.0, 0.75), keep={"pose": 50}, step=0.25, units=(1.5,), limits=(-2.0, 2.5), layers=(8,
                                                                                                                  96)),
        make_control("pose", outputs=3, seed=2, dtype=torch.float32, keeping="projection", statistics=statistics,
                     ordered=True, margins=(0.1, 0.2, 0.3), radius=0.0, shell=False,
                     holds=torch.randn(2, W_DIM, generator=torch.Generator().manual_seed(7)) / 8,
                     report={"held out": {"accuracy": 0.9, "confusion": [[1.0, 0.0]]}}),
        make_control("age", seed=3, dtype=torch.float32), linear(), linear("channel", "stylespace"),
        LinearDirection(name="component3", found_by="ganspace", directions=torch.eye(W_DIM)[3:4], units=(2.5,))],
        spaces=SPACES)


@pytest.fixture
def path(controls: Controls, tmp_path: Path) -> Path:
    save(tmp_path / "c.safetensors", controls.values(), spaces=SPACES)
    return tmp_path / "c.safetensors"


def rewrite(path: Path, change: Any) -> None:
    """Change a file's tensors and entries in place."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors, entries = load_file(path), json.loads(metadata["controls"])
    change(tensors, entries)
    save_file(tensors, path, {**metadata, "controls": json.dumps(entries)})


def test_everything_comes_back(controls: Controls, path: Path) -> None:
    again = load(path)
    assert (list(again), again.hash, again.source) == (list(controls), controls.hash, "c.safetensors")
    assert all(again.spaces[kind].matches(space) for kind, space in SPACES.items())
    assert not again.spaces["w"].matches(again.spaces["styles"])
    for name, control in controls.items():
        other = again[name]
        assert type(other) is type(control)
        for field in fields(Direction):
            assert getattr(other, field.name) == getattr(control, field.name), field.name
        for part, tensor in control.tensors().items():
            assert torch.equal(other.tensors()[part], tensor)
    smile, pose, age = (again[name] for name in ("smile", "pose", "age"))
    assert isinstance(smile, GradCtrlControl)
    assert isinstance(pose, GradCtrlControl)
    assert isinstance(age, GradCtrlControl)
    assert smile.statistics is pose.statistics
    assert age.statistics is None
    save(path.with_name("d.safetensors"), again.values(), spaces=again.spaces)
    assert path.read_bytes() == path.with_name("d.safetensors").read_bytes()


def test_directions_are_the_same_after_loading(controls: Controls, path: Path) -> None:
    w, again = latents(5, dtype=torch.float32), load(path)
    for name, control in controls.items():
        keep_before, keep_after = ([(c["age"], 5), (c["smile"], 9)] if isinstance(control, GradCtrlControl) else []
                                   for c in (controls, again))
        assert torch.allclose(control.direction(w, 0, keep_before), again[name].direction(w, 0, keep_after), atol=1e-6)


def test_half_precision_keeps_directions_of_length_1(tmp_path: Path) -> None:
    slanted = replace(linear(), directions=torch.nn.functional.normalize(torch.randn(1, W_DIM), dim=1))
    save(tmp_path / "half.safetensors", [slanted], spaces=SPACES, dtype=torch.float16)
    again = load(tmp_path / "half.safetensors")["blond"]
    assert isinstance(again, LinearControl)
    assert float(again.directions.norm()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match=r"big\.safetensors: blond\.weights holds values that torch\.float16 cannot"):
        save(tmp_path / "big.safetensors", [replace(slanted, weights=slanted.weights * 1e6)], spaces=SPACES,
             dtype=torch.float16)


def test_directions_may_be_the_normals_themselves(tmp_path: Path) -> None:
    """One tensor in memory, two in the file."""
    control = linear()
    save(tmp_path / "n.safetensors", [replace(control, weights=control.directions)], spaces=SPACES)
    assert torch.equal(load(tmp_path / "n.safetensors")["blond"].tensors()["weights"], control.directions)


def test_the_hash_tells_what_steers_apart(controls: Controls) -> None:
    smile = controls["smile"]
    assert isinstance(smile, GradCtrlControl)
    others = [replace(smile, keeping="masks"), replace(smile, statistics=None), replace(smile, keep={}),
              replace(smile, step=0.5), replace(smile, units=(2.0,)), replace(smile, layers=(4, 96)),
              replace(smile, radius=0.1), replace(smile, shell=False)]
    assert len({Controls([control]).hash for control in (smile, *others)}) == len(others) + 1
    assert Controls([replace(smile, report={"note": 1})]).hash == Controls([smile]).hash


def test_names_of_the_bundled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = load("bundled")
    assert {control.method for control in controls.values()} == {"gradctrl"}
    assert controls.spaces.keys() == {"w"}
    assert controls.hash == load("gradctrl").hash == load("bundled-controls").hash
    with pytest.raises(InputError, match=r"stylespace: no controls of this method are bundled"):
        load("stylespace")
    save(tmp_path / "f.safetensors", [linear()], spaces=SPACES)
    monkeypatch.setattr("directions.files.is_known", {"bundled-ganspace"}.__contains__)
    monkeypatch.setattr("directions.files.path_of", {"bundled-ganspace": tmp_path / "f.safetensors"}.__getitem__)
    assert list(load("ganspace")) == ["blond"]


def _nan(tensors: dict[str, torch.Tensor], _: Any) -> None:
    tensors["statistics.axes"][0, 0] = torch.nan


def _no_mean(tensors: dict[str, torch.Tensor], _: Any) -> None:
    del tensors["statistics.mean"]


def _no_statistics(tensors: dict[str, torch.Tensor], _: Any) -> None:
    del tensors["statistics.mean"], tensors["statistics.axes"]


def _narrow(tensors: dict[str, torch.Tensor], _: Any) -> None:
    """Statistics that are some in themselves, but of another W."""
    tensors["statistics.axes"] = tensors["statistics.axes"][:, 1:].clone()
    tensors["statistics.mean"] = tensors["statistics.mean"][1:].clone()


def _no_weight(tensors: dict[str, torch.Tensor], _: Any) -> None:
    del tensors["pose.out_bias"]


def _other_shape(tensors: dict[str, torch.Tensor], _: Any) -> None:
    tensors["blond.bias"] = torch.zeros(7)


def _keeping(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[0]["keeping"] = "guess"


def _margins(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[0]["margins"] = [1.0, 2.0, 3.0]


def _method(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[3]["method"] = "guess"


def _kind(_: Any, entries: list[dict[str, Any]]) -> None:
    entries[3]["kind"] = "guess"


DAMAGES = [_nan, _no_mean, _no_statistics, _narrow, _no_weight, _other_shape, _keeping, _margins, _method, _kind]


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_damage_is_refused(path: Path, damage: Any) -> None:
    rewrite(path, damage)
    with pytest.raises(InputError, match=r"c\.safetensors: damaged file of directions .*; get the file again"):
        load(path)


def test_what_is_no_file_of_directions_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    for content in (whole[:len(whole) // 2], b"", b"x"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"c\.safetensors: not readable as a file of directions.*again"):
            load(path)
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        load(tmp_path / "none.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a file of directions"):
        load(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"model\.pth|model_params\.pkl"):  # A folder is what the authors publish.
        load(tmp_path)


@pytest.mark.parametrize("form", ["gradctrl-controls-1", "gradctrl-family-1"])
def test_files_of_former_versions_are_told_apart(form: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "old.safetensors", {"format": form})
    with pytest.raises(InputError,
                       match=rf"old\.safetensors: .* made by a former version .*\({form}\); get the file again"):
        load(tmp_path / "old.safetensors")


def test_what_cannot_be_written_leaves_the_old_file(controls: Controls, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match="cannot write"):
        save(path.parent / "no" / "c.safetensors", [], spaces=SPACES)
    with pytest.raises(InputError, match="two controls have the same name"):
        save(path, [controls["age"], controls["age"]], spaces=SPACES)
    other = replace(controls["smile"], name="other",
                    statistics=make_statistics(30, dtype=torch.float32))  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="share their statistics"):
        save(path, [controls["smile"], other], spaces=SPACES)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_unknown_attributes_and_classes_are_named_with_the_choice(controls: Controls) -> None:
    with pytest.raises(InputError, match=r"beard.*smile"):
        controls.find("beard")
    for class_name in ("green", None):
        with pytest.raises(InputError, match="pose:c0, pose:c1, pose:c2"):
            controls["pose"].target(class_name)
    with pytest.raises(InputError, match="component3:x"):
        controls["component3"].target("x")
    with pytest.raises(InputError, match="component3: is a direction without classes"):
        controls.control("component3")


def test_a_control_of_gradctrl_steers_by_its_way_of_keeping() -> None:
    from gradctrl import direction, projected_direction

    w, statistics = latents(), make_statistics()
    smile, age = make_control("smile", seed=1), make_control("age", seed=2)
    keep = [(age, 10)]
    assert torch.equal(smile.direction(w, 0, keep), direction(smile.classifier, w, keep=[(age.classifier, 10)]))
    projecting = replace(smile, keeping="projection", statistics=statistics, radius=0.0, shell=False)
    assert torch.equal(projecting.direction(w, 0, keep), projected_direction(
        smile.classifier, w, keep=[age.classifier], statistics=statistics))
    held = torch.randn(2, W_DIM, generator=torch.Generator().manual_seed(3)).to(w)
    holding = replace(projecting, holds=held)  # Whatever is kept beside it.
    for keep in ([], [(age, 10)]):
        assert torch.equal(holding.direction(w, 0, keep), projected_direction(
            smile.classifier, w, keep=[other.classifier for other, _ in keep], soft=[held], statistics=statistics))
    assert (holding.direction(w) @ held.T).norm() < 0.5 * (projecting.direction(w) @ held.T).norm()
    with pytest.raises(ValueError, match="projection or masks"):
        replace(smile, keeping="guess")  # type: ignore[arg-type]
