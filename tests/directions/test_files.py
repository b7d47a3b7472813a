"""Control files of any family are read by what they say that they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from directions import Control, Controls, LinearControl, Steerable, load_controls, save_controls, save_family
from directions.files import check_generator, load_any, save_any
from gradctrl import Classifier
from weights.errors import InputError


def classifier(name: str = "smile") -> Control:
    rng = torch.Generator().manual_seed(0)
    return Control(name=name, classes=("no", "yes"), layers=(0, 4), margins=(0.5, 1.0), report={"scorer": "me"},
                   classifier=Classifier(hidden_weight=torch.randn(3, 8, generator=rng), hidden_bias=torch.zeros(3),
                                         out_weight=torch.ones(1, 3), out_bias=torch.zeros(1)))


def linear(name: str = "smile", family: str = "ganspace") -> LinearControl:
    return LinearControl(name=name, classes=("no", "yes"), layers=(0, 4), directions=torch.eye(8)[:1],
                         weights=torch.ones(1, 8), bias=torch.zeros(1), family=family)  # type: ignore[arg-type]


@pytest.mark.parametrize("control", [classifier(), linear(), linear(family="stylespace")])
def test_what_is_saved_comes_back(control: Steerable, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_any(path, [control], generator_hash="a" * 64)
    found = load_any(path)
    assert found.hash == Controls([control]).hash
    assert (found.generator_hash, found.source) == ("a" * 64, "c.safetensors")
    assert (found["smile"].margins, dict(found["smile"].report)) == (control.margins, dict(control.report))


def test_the_files_are_those_of_each_family(tmp_path: Path) -> None:
    for write, control in ((save_controls, classifier()), (save_family, linear())):
        write(tmp_path / "a.safetensors", [control], generator_hash="a" * 64)  # type: ignore[operator]
        save_any(tmp_path / "b.safetensors", [control], generator_hash="a" * 64)
        assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_names_of_the_bundled_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_any("bundled").hash == load_controls("bundled").hash
    path = tmp_path / "f.safetensors"
    save_family(path, [linear()], generator_hash="a" * 64)
    monkeypatch.setattr("directions.linear_files.path_of", {"bundled-ganspace": path}.__getitem__)
    assert load_any("ganspace")["smile"].settings()["family"] == "ganspace"


def test_controls_of_different_families_are_refused(tmp_path: Path) -> None:
    for other in (linear("age"), classifier("age")):
        with pytest.raises(InputError, match="different families"):
            save_any(tmp_path / "c.safetensors", [linear(family="interfacegan"), other], generator_hash="a" * 64)
    assert not list(tmp_path.iterdir())


def test_what_is_no_control_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    for name in ("none.safetensors", "bad.safetensors", "."):
        with pytest.raises(InputError, match=str(tmp_path)):
            load_any(tmp_path / name)


def test_another_generator_is_refused_with_both_hashes() -> None:
    check_generator(Controls([classifier()], generator_hash="a" * 64), "a" * 64, what="x")
    check_generator(Controls([classifier()]), "a" * 64, what="x")
    with pytest.raises(InputError, match=r"mine: .*generator aaaaaaaaaaaa.*samples of bank.*generator bbbbbbbbbbbb"):
        check_generator(Controls([classifier()], generator_hash="a" * 64, source="mine"), "b" * 64,
                        what="the samples of bank are")
