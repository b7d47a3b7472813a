"""The option --class: what a class-conditional StyleGAN2 draws, by every command that makes or edits pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import directions
import gradctrl
from directions import GradCtrlControl
from editing import load_recipe
from evaluation import Evaluation, EvaluationSettings
from generators import StyleGAN2, StyleGAN2Config, load, load_mapped, write_mapped
from generators import checkpoints as readers
from inversion import load_inversion
from inversion.settings import PRESETS
from learning.bank import as_it_drew, open_bank
from learning.scorers import load_scorer
from tests.commands.running import fine, made_by, refused
from tests.generators import test_biggan
from weights.errors import InputError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hardly any steps, and a folder of fetched files of the test's own."""
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name, settings in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(settings, steps=2, tuning_steps=0))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of three classes with random weights, 32 x 32."""
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(16, 16, 12, 8), z_dim=8, w_dim=8, mapping_layers=2, c_dim=3)
    path = tmp_path_factory.mktemp("generators") / "three.safetensors"
    readers.write(path, config, StyleGAN2(config).state_dict())
    return path


@pytest.fixture
def controls_of_the_third(file: Path, tmp_path: Path) -> Path:
    generator = load(file).of_class(2)
    torch.manual_seed(1)
    classifier = gradctrl.Classifier(hidden_weight=torch.randn(4, 8), hidden_bias=torch.randn(4),
                                     out_weight=torch.randn(1, 4), out_bias=torch.randn(1))
    control = GradCtrlControl(name="smile", classes=("no", "yes"), classifier=classifier, keep={}, layers=(4, 64))
    directions.save(tmp_path / "third.safetensors", [control], spaces=generator.spaces)
    return tmp_path / "third.safetensors"


def test_samples_and_banks(file: Path, tmp_path: Path) -> None:
    made_by("sample", "--generator", file, "--count", 1, "--seed", 3, "--class", 2, "--out", tmp_path)
    drawn = load_inversion(tmp_path / "sample3.latent.safetensors")
    third = load(file).of_class(2)
    assert torch.allclose(drawn.latent, third.sample([3], truncation=0.7)[0], atol=1e-6)
    assert drawn.space.matches(third.space)
    assert not drawn.space.matches(load(file).space)
    bank = "sample", "--generator", file, "--bank", tmp_path / "bank", "--count", 3
    made_by(*bank, "--class", 2)
    assert torch.allclose(open_bank(tmp_path / "bank").latents(), third.sample([0, 1, 2]), atol=1e-6)
    refused(*bank, "--class", 1, words="class 2, not")
    refused("sample", "--generator", file, "--class", 7, "--out", tmp_path / "a", words="no class 7")
    refused("sample", "--generator", file, "--class", "tabby", "--out", tmp_path / "a", words="have no names")
    refused("sample", "--class", 0, "--out", tmp_path / "a", words="it draws one class alone")


def test_what_learns_from_a_bank_draws_its_class(file: Path, tmp_path: Path) -> None:
    """Nobody needs to name it again."""
    bank = tmp_path / "bank"
    made_by("sample", "--generator", file, "--bank", bank, "--count", 260, "--class", 2, "--format", "jpg")
    made_by("score", bank, "--with", "paper")
    made_by("gradients", bank, "--with", "paper", "--generator", file, "--count", 2, "--attributes", "smile")
    assert len(open_bank(bank).gradients()["smile"]) == 2
    scorer, settings = load_scorer("paper"), EvaluationSettings(methods=())
    Evaluation(as_it_drew(bank, load(file)), scorer, open_bank(bank), tmp_path / "evaluation", settings)
    with pytest.raises(InputError, match="load that generator"):
        Evaluation(load(file), scorer, open_bank(bank), tmp_path / "other", settings)
    smiles = tmp_path / "smiles.csv"
    names = [open_bank(bank).picture_path(number).name for number in range(260)]
    smiles.write_text("file,smile\n" + "".join(f"{name},{number % 2}\n" for number, name in enumerate(names)))
    made_by("score", bank, "--with", smiles, "--classes", "smile=0,1")
    [found] = made_by("train", bank, "--method", "interfacegan", "--attributes", "smile", "--generator", file,
                      "--out", tmp_path / "linear.safetensors")
    assert directions.load(found).spaces["w"].matches(load(file).of_class(2).space)
    refused("train", bank, "--method", "interfacegan", "--out", tmp_path / "other.safetensors", words="space")


def test_inversions_are_of_the_class(file: Path, astronaut_file: Path, tmp_path: Path) -> None:
    """Also in the cache: that of one class is not taken for another's."""
    of = "invert", astronaut_file, "--generator", file, "--preset", "fast", "--cache"
    made_by(*of, "--class", 2, "--out", tmp_path / "third")
    made_by(*of, "--out", tmp_path / "first")
    third, first = (load_inversion(tmp_path / name / "astronaut.latent.safetensors") for name in ("third", "first"))
    assert third.space.matches(load(file).of_class(2).space)
    assert first.space.matches(load(file).space)
    _, told = fine(*of, "--class", 2, "--out", tmp_path / "again")
    assert "from the cache" in told


def test_edits_and_recipes(file: Path, controls_of_the_third: Path, tmp_path: Path) -> None:
    of = "--generator", file, "--controls", controls_of_the_third
    edit = "edit", "--seed", 1, "--set", "smile=1", *of
    [picture, recipe] = made_by(*edit, "--class", 2, "--out", tmp_path)
    again = made_by("edit", "--recipe", recipe, *of, "--class", 2, "--out", tmp_path / "again")
    assert Image.open(picture).tobytes() == Image.open(again[0]).tobytes()
    assert load_recipe(recipe).generator == f"{load(file).hash} class 2"
    for drawn, other in ((0, ()), (1, ("--class", 1))):
        refused("edit", "--recipe", recipe, *of, *other, "--out", tmp_path / "b",
                words=f"made with class 2 of this generator, and class {drawn} is drawn; choose class 2")
    refused(*edit, "--out", tmp_path / "c", words="draw the class that they are of (--class)")


def batch_of(astronaut_file: Path, file: Path, controls: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("batch", astronaut_file, "--generator", file, "--controls", controls, "--set", "smile=1",
            "--preset", "fast", "--out", out, *more)


def test_a_batch_is_of_one_class(astronaut_file: Path, file: Path, controls_of_the_third: Path,
                                 tmp_path: Path) -> None:
    """Its folder goes on with the same class, and refuses another."""
    command = batch_of(astronaut_file, file, controls_of_the_third, tmp_path / "out", "--workers", 1)
    made_by(*command, "--class", 2)
    [latent] = (tmp_path / "out" / "latents").iterdir()
    assert load_inversion(latent).space.matches(load(file).of_class(2).space)
    [picture] = (tmp_path / "out" / "pictures").iterdir()
    assert load_recipe(picture).generator == f"{load(file).hash} class 2"
    _, told = fine(*command, "--class", 2)
    assert "1 were already" in told
    refused(*command, "--class", 1, words="holds results of other settings (class_name)")
    refused(*command, words="holds results of other settings (class_name)")


def test_classes_that_a_batch_cannot_draw(astronaut_file: Path, file: Path, controls_of_the_third: Path,
                                          tmp_path: Path) -> None:
    command = batch_of(astronaut_file, file, controls_of_the_third, tmp_path / "out", "--workers", 1)
    for named, words in ((7, "no class 7"), ("tabby", "have no names"), (1, "space")):  # The controls' is 2.
        refused(*command, "--class", named, words=words)
    refused("batch", astronaut_file, "--set", "smile=1", "--class", 0, "--workers", 1, "--out", tmp_path / "out",
            words="it draws one class alone")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_workers_elsewhere_draw_the_class(executor: str, astronaut_file: Path, file: Path,
                                          controls_of_the_third: Path, tmp_path: Path) -> None:
    if executor == "ray":
        pytest.importorskip("ray")
    out = tmp_path / "out"
    made_by(*batch_of(astronaut_file, file, controls_of_the_third, out, "--class", 2, "--executor", executor,
                      "--workers", 1))
    assert load_inversion(out / "latents" / "astronaut.latent.safetensors").space.matches(load(file).of_class(2).space)
    assert load_recipe(out / "pictures" / "astronaut-edited.png").generator == f"{load(file).hash} class 2"
    refused(*batch_of(astronaut_file, file, controls_of_the_third, tmp_path / "b", "--class", 7), words="no class 7")


def test_a_batch_by_a_generator_that_cannot_invert_is_refused(astronaut_file: Path, tmp_path: Path) -> None:
    torch.save(test_biggan.variables(), tmp_path / "biggan.bin")
    refused("batch", astronaut_file, "--only", "invert", "--generator", tmp_path / "biggan.bin", "--class", 1,
            "--workers", 1, "--out", tmp_path / "out", words="photos cannot be inverted with this generator: it draws")
    assert not (tmp_path / "out").exists()


def test_discovery(file: Path, tmp_path: Path) -> None:
    of = "--generator", file, "--class", 2
    [found] = made_by("discover", "components", *of, "--samples", 500, "--count", 4,
                      "--out", tmp_path / "c.safetensors")
    made_by("discover", "sheet", found, *of, "--components", "0-1", "--columns", 3, "--out", tmp_path)
    refused("discover", "save", found, "--component", 1, "--name", "one", "--generator", file,
            "--out", tmp_path / "one.safetensors", words="space")
    [basis] = made_by("discover", "weights", *of, "--layer", "b16.conv1", "--basis", "svd", "--count", 2,
                      "--out", tmp_path / "svd.safetensors")
    made_by("discover", "save", basis, "--component", 1, "--name", "one", "--generator", file, "--class", 1,
            "--out", tmp_path / "one.safetensors")  # Weights are those of all classes.


def test_a_mapped_generator_keeps_its_class(file: Path, tmp_path: Path) -> None:
    generator = load(file).of_class(1)
    write_mapped(tmp_path / "mapped.safetensors", generator)
    mapped = load_mapped(tmp_path / "mapped.safetensors")
    assert mapped.identity == generator.identity == f"{load(file).hash} class 1"
    assert torch.equal(mapped.sample([4]), generator.sample([4]))
