"""Few-shot training, and control files that come back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from directions import Control, load_controls, save_controls
from gradctrl import TrainSettings, train_classifier
from weights.errors import InputError

HASH = "a" * 64


def examples(classes: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of 512 channels, in which 20 channels tell the classes apart."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.zeros(classes, 512)
    centres[:, :20] = torch.randn(classes, 20, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(classes).repeat(count)
    return centres[labels] + torch.randn(len(labels), 512, generator=rng) * 0.4, labels


@pytest.mark.parametrize("classes", [2, 3])
def test_thirty_examples_a_class_generalise(classes: int) -> None:
    classifier = train_classifier(*examples(classes, 30, seed=0), classes=classes)
    control = Control(name="x", classes=tuple("abc"[:classes]), classifier=classifier, layers=(0, 1),
                      units=(1.0,) * classifier.outputs)
    latents, labels = examples(classes, 500, seed=1)
    assert classifier.outputs == (1 if classes == 2 else 3)
    assert (control.predict(latents) == labels).float().mean() > 0.95


def test_training_is_the_same_for_the_same_seed_and_leaves_the_random_state_alone() -> None:
    latents, labels = examples(2, 30, seed=0)
    before = torch.get_rng_state()
    a, b = (train_classifier(latents, labels, settings=TrainSettings(epochs=5)) for _ in range(2))
    other = train_classifier(latents, labels, settings=TrainSettings(epochs=5, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.hidden_weight, b.hidden_weight)
    assert not torch.equal(a.hidden_weight, other.hidden_weight)


def test_settings_are_honoured() -> None:
    latents, labels = examples(2, 30, seed=0)
    assert train_classifier(latents, labels, settings=TrainSettings(hidden=5, epochs=1)).hidden_weight.shape[0] == 5


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(InputError, match="30"):
        train_classifier(torch.zeros(4, 8), torch.zeros(4, dtype=torch.long), classes=2)


def test_latents_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        train_classifier(torch.full([4, 8], torch.nan), torch.tensor([0, 1, 0, 1]))


@pytest.fixture
def control_file(tmp_path: Path) -> Path:
    latents, labels = examples(3, 5, seed=0)
    hair = Control(name="hair", classes=("black", "brown", "blond"), layers=(2, 8), keep={"smile": 50}, step=0.5,
                   classifier=train_classifier(latents, labels, classes=3, settings=TrainSettings(epochs=3)),
                   units=(1.0, 2.0, 3.0), limits=(0.0, 2.5), report={"accuracy": 0.9})
    save_controls(tmp_path / "c.safetensors", [hair], generator_hash=HASH)
    return tmp_path / "c.safetensors"


def test_a_control_file_comes_back_as_it_was(control_file: Path) -> None:
    controls = load_controls(control_file)
    save_controls(control_file.with_name("d.safetensors"), controls.values(), generator_hash=HASH)
    assert control_file.read_bytes() == control_file.with_name("d.safetensors").read_bytes()
    assert controls.generator_hash == HASH
    hair = controls.find("hair")
    assert hair.classes == ("black", "brown", "blond")
    assert (hair.layers, hair.step, hair.units, hair.limits) == ((2, 8), 0.5, (1.0, 2.0, 3.0), (0.0, 2.5))
    assert (dict(hair.keep), dict(hair.report)) == ({"smile": 50}, {"accuracy": 0.9})


def test_unknown_attributes_and_classes_are_named_with_the_choice(control_file: Path) -> None:
    controls = load_controls(control_file)
    with pytest.raises(InputError, match=r"beard.*hair"):
        controls.find("beard")
    with pytest.raises(InputError, match="hair:black, hair:brown, hair:blond"):
        controls["hair"].target("green")
    with pytest.raises(InputError, match="hair:black"):
        controls["hair"].target(None)


def test_damaged_control_files_are_refused(control_file: Path, tmp_path: Path) -> None:
    whole = control_file.read_bytes()
    control_file.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match=r"c\.safetensors.*again"):
        load_controls(control_file)
    control_file.write_bytes(b"")
    with pytest.raises(InputError, match=r"c\.safetensors"):
        load_controls(control_file)
    with pytest.raises(InputError, match="no such"):
        load_controls(tmp_path / "missing.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not a control file"):
        load_controls(tmp_path / "other.safetensors")


@pytest.mark.parametrize("damage", ["nan", "missing", "shape"])
def test_bad_weights_are_refused(control_file: Path, damage: str) -> None:
    from safetensors import safe_open

    with safe_open(control_file, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(control_file)
    if damage == "nan":
        tensors["hair.out_bias"][0] = torch.nan
    elif damage == "missing":
        del tensors["hair.out_bias"]
    else:
        tensors["hair.out_bias"] = torch.zeros(7)
    save_file(tensors, control_file, metadata)
    with pytest.raises(InputError, match=r"c\.safetensors: damaged"):
        load_controls(control_file)


def test_a_file_that_cannot_be_written_leaves_the_old_one(control_file: Path) -> None:
    before = control_file.read_bytes()
    with pytest.raises(InputError, match="cannot write"):
        save_controls(control_file.parent / "no" / "c.safetensors", [], generator_hash=HASH)
    assert control_file.read_bytes() == before
    assert sorted(p.name for p in control_file.parent.iterdir()) == ["c.safetensors"]
