"""The commands train and tune: what they write is the library's, and settings are honoured. On a small generator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from directions import ALL_LAYERS, Controls, GradCtrlControl, LinearControl
from directions import load as load_controls
from directions import save as save_controls
from generators import Generator, Space, StyleGAN2, StyleGAN2Config, load
from generators import checkpoints as readers
from gradctrl import FitExamplesSettings, FitScoresSettings, Scores, save_examples
from learning.accuracy import accuracy_report
from learning.bank import SampleBank, open_bank, write_bank
from learning.calibration import Tuner, TuneSettings
from learning.contenders import fit_contender, split_bank
from learning.from_bank import choose_examples, choose_fit, fit_from_bank, make_tuner, renders
from learning.scorers import load_scorer, score_bank
from tests.commands.running import fine, refused
from tests.commands.scoring import write_scorer
from weights.errors import InputError

COUNT = 500
QUICK = partial(TuneSettings, margins=(0.0, 1.0), search_margins=(0.0,), margin_samples=5,
                layer_ranges=((4, 2048), (12, 2048)), counts=(0, 50))


@dataclass(frozen=True)
class World:
    """A small generator with a bank that a classifier has scored, and people too."""

    generator: Generator
    generator_file: Path
    bank: SampleBank
    scorer_file: Path


def make_generator(path: Path, seed: int) -> Generator:
    torch.manual_seed(seed)
    config = StyleGAN2Config(img_resolution=32, channels=(32, 24, 16, 8), z_dim=64, w_dim=64, mapping_layers=2,
                             mapping_lr_multiplier=1.0)
    readers.write(path, config, StyleGAN2(config).state_dict(), half=False)
    return load(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    generator = make_generator(folder / "generator.safetensors", 0)
    bank = write_bank(generator, folder / "bank", count=COUNT, seed=3, batch=60)
    scorer = write_scorer(folder, bank)
    bank.save_scores(score_bank(bank, load_scorer(scorer), batch=120))
    return World(generator, folder / "generator.safetensors", bank, scorer)


def by_people(name: str, positive: Tensor) -> Scores:
    return Scores(attribute=name, classes=("no", "yes"), scorer="people.csv", graded=False,
                  values=torch.nn.functional.one_hot(positive.long(), 2).float())


@pytest.fixture
def bank(world: World) -> Iterator[SampleBank]:
    path = world.bank.folder / "scores.safetensors"
    before = path.read_bytes()
    yield world.bank
    path.write_bytes(before)


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "mine.safetensors"
    fine("train", world.bank.folder, "--out", path)
    return path


def classifier(path: Path, name: str) -> GradCtrlControl:
    control = load_controls(path)[name]
    assert isinstance(control, GradCtrlControl)
    return control


# --- train ---


def test_controls_are_the_library_s_and_know_their_bank(world: World, trained: Path) -> None:
    found = load_controls(trained)
    assert found.spaces
    assert all(space.matches(world.generator.spaces[kind]) for kind, space in found.spaces.items())
    assert list(found) == ["bright", "red"]
    assert found.hash == Controls(fit_from_bank(world.bank, list(world.bank.scores().values()), {})).hash
    split = split_bank(COUNT)
    for name, other in (("bright", "red"), ("red", "bright")):
        control = classifier(trained, name)
        report = dict(control.report)
        assert (report["trained on"], report["scorer"]) == (f"scores of {len(split.fit)} samples", "colours")
        assert report["samples"] == world.bank.settings
        held_out = accuracy_report(control, world.bank.latents()[split.tune],
                                   world.bank.scores()[name].labels[split.tune])
        assert report["held out"] == held_out
        assert held_out["balanced accuracy"] > 0.65  # type: ignore[operator]
        assert (control.keeping, control.layers, dict(control.keep)) == ("projection", ALL_LAYERS, {other: 100})


def test_gradients_of_the_scores_teach_as_well(world: World, bank: SampleBank, trained: Path, tmp_path: Path) -> None:
    settings = ("--generator", world.generator_file, "--with", world.scorer_file, "--count", 32)
    fine("gradients", bank.folder, *settings, "--attributes", "red")
    try:
        fine("train", bank.folder, "--out", tmp_path / "mine.safetensors")
        red, bright = (classifier(tmp_path / "mine.safetensors", name) for name in ("red", "bright"))
        assert red.report["trained on"] == f"scores of {len(split_bank(COUNT).fit)} samples, gradients of 32"
        assert red.sensitivity is not None
        assert bright.sensitivity is None
        assert torch.equal(bright.classifier.hidden_weight, classifier(trained, "bright").classifier.hidden_weight)
        made = red.report["held out"]
        assert made["balanced accuracy"] > classifier(trained, "red").report["held out"]["balanced accuracy"]  # type: ignore[index]
        fine("edit", "--seed", 3, "--set", "bright=0.5", "--controls", tmp_path / "mine.safetensors", "--generator",
             world.generator_file, "--out", tmp_path)
    finally:
        (bank.folder / "gradients.safetensors").unlink()


def test_the_table_tells_what_was_trained_on_what(bank: SampleBank, tmp_path: Path) -> None:
    way = bank.latents() @ bank.latents().std(dim=0)
    people = by_people("beard", way > way.median())
    chance = torch.rand(COUNT, generator=torch.Generator().manual_seed(0)) > 0.5
    rare = by_people("hat", torch.arange(COUNT) < 3)
    noise = Scores(attribute="noise", classes=("a", "b"), scorer="dice",
                   values=torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(1)))
    bank.save_scores([people, by_people("coin", chance), rare, noise])
    [path], told = fine("train", bank.folder, "--out", tmp_path / "c.safetensors")
    assert "trained on the scores of all samples: bright, red, noise" in told
    assert "trained on examples of each class: beard, coin" in told
    assert "left out: hat: 60 samples of each class are needed (30 to train on, 30 to validate)" in told
    assert [line.split(":")[1].strip() for line in told.splitlines() if line.startswith("Warning")] == ["coin", "noise"]
    found = load_controls(path)
    assert {control.settings()["keeping"] for name, control in found.items() if name in ("beard", "coin")} == {"masks"}
    rows = {line.split()[0]: line for line in told.splitlines()}
    for name, control in found.items():
        held_out: dict[str, float] = control.report["held out"]  # type: ignore[assignment]
        assert rows[name].split()[-2:] == [str(held_out["accuracy"]), str(held_out["balanced accuracy"])]
    assert set(found["beard"].keep) == {"bright", "red", "noise", "coin"}
    refused("train", bank.folder, "--out", tmp_path / "d.safetensors", "--attributes", "bright,hat",
            words="hat: 60 samples of each class")
    assert not (tmp_path / "d.safetensors").exists()


def test_training_on_scores_tells_how_far_it_is(world: World) -> None:
    told: list[tuple[int, int]] = []
    scores = list(world.bank.scores().values())
    fit_from_bank(world.bank, scores, {}, fit=FitScoresSettings(epochs=3), on_step=lambda *at: told.append(at))
    assert told == [(epoch, 6) for epoch in range(1, 7)]


def test_a_class_that_is_rare_by_scores_is_left_out_unless_it_is_named(bank: SampleBank, tmp_path: Path) -> None:
    bright = bank.scores()["bright"]
    values = bright.values.clone()
    values[:, 1] -= values[:, 1].sort().values[-41]
    few = replace(bright, attribute="glare", values=values)
    none = replace(bright, attribute="glow", values=values - torch.tensor([[0.0, 100.0]]))
    bank.save_scores([few, none])
    out = tmp_path / "c.safetensors"
    [path], told = fine("train", bank.folder, "--out", out)
    assert list(load_controls(path)) == ["bright", "red"]
    assert "left out: glare: 60 samples of each class are needed to train on, and there are: dark" in told
    fine("train", bank.folder, "--out", out, "--attributes", "glare", "--overwrite")
    assert list(load_controls(path)) == ["glare"]
    refused("train", bank.folder, "--out", tmp_path / "d.safetensors", "--attributes", "glow", words="bright 0")


@pytest.mark.parametrize("fit", ["scores", "examples"])
def test_settings_are_honoured(fit: str, world: World, tmp_path: Path) -> None:
    def weights(number: int, *flags: object) -> tuple[GradCtrlControl, Tensor]:
        path = tmp_path / f"{number}.safetensors"
        fine("train", world.bank.folder, "--out", path, "--fit", fit, "--attributes", "red", *flags)
        control = classifier(path, "red")
        return control, control.classifier.hidden_weight

    base, first = weights(0)
    assert len(first) == (FitScoresSettings().hidden * FitScoresSettings().networks
                          if fit == "scores" else FitExamplesSettings().hidden)
    assert base.keeping == ("projection" if fit == "scores" else "masks")
    assert torch.equal(weights(1)[1], first)
    assert len(weights(2, "--hidden", 8)[1]) == (8 * FitScoresSettings().networks if fit == "scores" else 8)
    own = [["--networks", 2, "--hidden", 64]] if fit == "scores" else [["--shaping", 0]]
    for number, flags in enumerate([["--epochs", 5], ["--lr", 0.001], ["--seed", 4], *own], start=3):
        found = weights(number, *flags)[1]
        assert found.shape == first.shape
        assert not torch.equal(found, first), flags
    other = "masks" if fit == "scores" else "projection"
    assert weights(9, "--keeping", other)[0].keeping == other


def test_examples_from_a_file(bank: SampleBank, tmp_path: Path) -> None:
    fine("prepare", bank.folder, "--out", tmp_path / "e.json", "--count", 20, "--validation", 10, "--attributes", "red")
    [path], _ = fine("train", bank.folder, "--out", tmp_path / "c.safetensors", "--examples", tmp_path / "e.json")
    control = classifier(path, "red")
    assert control.report["trained on"] == "examples a class: 20, 20"
    held_out: dict[str, int] = control.report["held out"]  # type: ignore[assignment]
    assert held_out["samples"] <= len(split_bank(COUNT).tune)
    refused("train", bank.folder, "--out", tmp_path / "d.safetensors", "--examples", tmp_path / "e.json",
            "--attributes", "bright", words="bright: has no examples")
    item = bank.scores()["red"]
    found = choose_examples(item, split_bank(COUNT))
    for words, examples, samples in (
            ("another bank", found, {**bank.settings, "seed": 77}),
            ("of the classes no, yes", replace(found, classes=("no", "yes")), bank.settings),
            (f"name sample {COUNT}", replace(found, train=torch.cat([found.train[:-1], torch.tensor([COUNT])])),
             bank.settings)):
        save_examples(tmp_path / "bad.json", [examples], samples=samples)
        refused("train", bank.folder, "--out", tmp_path / "d.safetensors", "--examples", tmp_path / "bad.json",
                words=words)
    refused("train", bank.folder, "--out", tmp_path / "d.safetensors", "--examples", tmp_path / "e.json",
            "--test-share", 0.5, words="are to be left alone")


def test_what_is_held_back_is_not_trained_on(world: World) -> None:
    """Other scores of the held-back samples change nothing but the accuracy."""
    split = split_bank(COUNT, test_share=0.5)
    scores = world.bank.scores()["red"]
    values = scores.values.clone()
    outside = torch.cat([split.tune, split.test])
    values[outside] = -values[outside]
    for examples in (False, True):
        made = []
        for item in (scores, replace(scores, values=values)):
            chosen = {"red": choose_examples(item, split)} if examples else {}
            made.append(fit_from_bank(world.bank, [item], chosen, split=split)[0])
        if examples:
            assert torch.isin(choose_examples(scores, split).train, split.fit).all()
        assert all(torch.equal(a, b) for a, b in zip(made[0].tensors().values(), made[1].tensors().values(),
                                                     strict=True))
        assert made[0].report["held out"] != made[1].report["held out"]


@pytest.mark.parametrize("method", ["interfacegan", "ganspace", "stylespace"])
def test_other_methods(method: str, world: World, tmp_path: Path) -> None:
    [path], told = fine("train", world.bank.folder, "--out", tmp_path / "f.safetensors", "--method", method,
                        "--generator", world.generator_file, "--with", world.scorer_file)
    found = load_controls(path)
    assert found.spaces
    assert all(space.matches(world.generator.spaces[kind]) for kind, space in found.spaces.items())
    split, latents = split_bank(COUNT), world.bank.latents()
    expected = fit_contender(method, world.generator, load_scorer(world.scorer_file), latents,  # type: ignore[arg-type]
                            world.bank.scores(), split)
    for name, control in found.items():
        assert isinstance(control, LinearControl)
        first = expected[name][0]
        for part, tensor in control.tensors().items():
            assert torch.allclose(tensor, first.tensors()[part], atol=1e-5)
        assert control.report["samples"] == world.bank.settings
        assert control.report["trained on"] == f"scores of {len(split.fit)} samples"
        x = latents[split.tune] if control.moves == "w" else world.generator.styles(latents[split.tune])
        assert control.report["held out"] == accuracy_report(control, x, world.bank.scores()[name].labels[split.tune])
        assert f"{control.report['held out']['balanced accuracy']}" in told  # type: ignore[index]
    refused("train", world.bank.folder, "--out", tmp_path / "g.safetensors", "--method", method,
            words=world.generator.space.short)  # The bundled generator's is another.


def test_methods_leave_out_what_nobody_judges(world: World, bank: SampleBank, tmp_path: Path) -> None:
    way = bank.latents() @ bank.latents().std(dim=0)
    bank.save_scores([by_people("beard", way > way.median())])
    flags = ["--generator", world.generator_file, "--with", world.scorer_file]
    [path], told = fine("train", bank.folder, "--out", tmp_path / "f.safetensors", "--method", "ganspace", *flags)
    assert list(load_controls(path)) == ["bright", "red"]
    assert "left out: beard: colours does not judge" in told
    refused("train", bank.folder, "--out", tmp_path / "g.safetensors", "--method", "ganspace", "--attributes", "beard",
            *flags, words="does not judge")
    [path], _ = fine("train", bank.folder, "--out", tmp_path / "h.safetensors", "--method", "interfacegan",
                     "--attributes", "beard", *flags)
    assert list(load_controls(path)) == ["beard"]


@pytest.mark.parametrize("flags", [
    ["--fit", "scores", "--shaping", "1"], ["--fit", "scores", "--examples", "e.json"], ["--fit", "magic"],
    ["--fit", "examples", "--networks", "2"], ["--examples", "e.json", "--networks", "2"], ["--with", "x.json"],
    ["--generator", "bundled"], ["--method", "ganspace", "--epochs", "3"], ["--method", "ganspace", "--seed", "3"],
    ["--method", "interfacegan", "--keeping", "masks"], ["--epochs", "0"], ["--lr", "0"], ["--hidden", "0"],
    ["--test-share", "1"],
])
def test_wrong_usage_of_train(flags: list[str], world: World, tmp_path: Path) -> None:
    refused("train", world.bank.folder, "--out", tmp_path / "c.safetensors", *flags, words="Error", code=2)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_trained(bank: SampleBank, tmp_path: Path) -> None:
    out = tmp_path / "c.safetensors"
    refused("train", bank.folder, "--out", tmp_path / "c.pt", words="end the name in .safetensors")
    refused("train", tmp_path, "--out", out, words="not a bank")
    refused("train", bank.folder, "--out", out, "--attributes", "beard", words="no scores of 'beard'")
    out.write_bytes(b"mine")
    refused("train", bank.folder, "--out", out, words="--overwrite")
    assert out.read_bytes() == b"mine"
    (bank.folder / "scores.safetensors").unlink()
    refused("train", bank.folder, "--out", tmp_path / "d.safetensors", words="gradctrl score")
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_how_an_attribute_is_trained_by_default(world: World) -> None:
    scores, split = world.bank.scores()["red"], split_bank(COUNT)
    assert choose_fit(scores, split) == "scores"
    assert choose_fit(replace(scores, graded=False), split) == "examples"
    assert choose_fit(replace(scores, known=torch.arange(COUNT) < 199), split) == "examples"
    assert choose_fit(replace(scores, known=torch.arange(COUNT) < 200), split) == "scores"


# --- tune ---


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.calibration.TuneSettings", QUICK)


def test_tuned_controls_are_the_library_s(world: World, trained: Path, tmp_path: Path, quick: None) -> None:
    [path], told = fine("tune", trained, "--bank", world.bank.folder, "--out", tmp_path / "t.safetensors", "--samples",
                        4, "--with", world.scorer_file, "--generator", world.generator_file)
    counted: list[int] = []
    tuner = Tuner(world.generator, load_scorer(world.scorer_file), world.bank.latents(), world.bank.scores(),
                  split_bank(COUNT).tune, QUICK(samples=4), on_render=counted.append)
    before = load_controls(trained)
    expected = tuner.tune(before)
    found = load_controls(path)
    assert found.spaces
    assert all(space.matches(world.generator.spaces[kind]) for kind, space in found.spaces.items())
    assert [dict(found[name].report) for name in found] == [dict(expected[name].report) for name in found]
    assert found.hash == expected.hash
    assert sum(counted) == renders(tuner, before, list(before))
    assert found["red"].units != (1.0,)
    assert found["red"].report["samples"] == world.bank.settings
    rows = {line.split()[0]: line for line in told.splitlines()}
    for name, control in found.items():
        assert f"{control.layers[0]}:{control.layers[1]}" in rows[name]
        told: Any = control.report["meta-validation"]
        rates = f"{told['accuracy']:.0%} of {told['samples']} {told['expected']:.0%}"
        assert rates in re.sub(" +", " ", rows[name])
        assert f"{control.limits[0]:g} to {control.limits[1]:g}" in rows[name]


def test_only_what_is_named_is_tuned(world: World, trained: Path, tmp_path: Path, quick: None) -> None:
    flags = ["--with", world.scorer_file, "--generator", world.generator_file, "--samples", 3]
    [path], _ = fine("tune", trained, "--bank", world.bank.folder, "--out", tmp_path / "t.safetensors", "--attributes",
                     "red", *flags)
    before, after = load_controls(trained), load_controls(path)
    assert list(after) == list(before)
    assert after["bright"].report == before["bright"].report
    assert after["bright"].units == before["bright"].units
    assert "meta-validation" in after["red"].report
    for name, words in (("beard", "beard: no such attribute"), ("red,beard", "beard")):
        refused("tune", trained, "--bank", world.bank.folder, "--out", tmp_path / "u.safetensors", "--attributes", name,
                *flags, words=words)
    refused("tune", path, "--bank", world.bank.folder, "--out", path, "--overwrite", *flags, words="is an input")


def test_the_paper_s_counts_are_tuned(world: World, tmp_path: Path, quick: None) -> None:
    few, out = tmp_path / "few.safetensors", tmp_path / "t.safetensors"
    fine("train", world.bank.folder, "--out", few, "--fit", "examples")
    _, told = fine("tune", few, "--bank", world.bank.folder, "--out", out, "--samples", 3, "--with", world.scorer_file,
                   "--generator", world.generator_file)
    for name, control in load_controls(out).items():
        assert set(control.keep.values()) <= {0, 50}
        row = next(line for line in told.splitlines() if line.startswith(name))
        assert row.endswith(", ".join(f"{other} {count}" for other, count in control.keep.items()))
    tuner, names = make_tuner(world.bank, load_controls(few), None, world.generator, load_scorer(world.scorer_file),
                              settings=QUICK(samples=3))
    assert names == ["bright", "red"]
    assert renders(tuner, load_controls(few), names) == 2 * ((2 + 2) * 3 + 2 * 5 + 3 + 5)


def test_methods_are_tuned_too(world: World, tmp_path: Path, quick: None) -> None:
    flags = ["--with", world.scorer_file, "--generator", world.generator_file]
    few, out = tmp_path / "f.safetensors", tmp_path / "t.safetensors"
    fine("train", world.bank.folder, "--out", few, "--method", "stylespace", "--attributes", "red", *flags)
    fine("tune", few, "--bank", world.bank.folder, "--out", out, "--samples", 3, *flags)
    [control] = load_controls(out).values()
    assert isinstance(control, LinearControl)
    assert "meta-validation" in control.report
    assert control.report["trained on"] == load_controls(few)["red"].report["trained on"]


def test_what_cannot_be_tuned(world: World, bank: SampleBank, trained: Path, tmp_path: Path, quick: None) -> None:
    flags = ["--out", tmp_path / "t.safetensors", "--with", world.scorer_file, "--generator", world.generator_file]
    alien = tmp_path / "alien.safetensors"
    space = Space.of("w", torch.randn(4, world.generator.w_dim))
    save_controls(alien, load_controls(trained).values(), spaces={"w": space})
    for words in (space.short, world.generator.space.short, "alien.safetensors"):
        refused("tune", alien, "--bank", bank.folder, *flags, words=words)
    refused("tune", trained, "--bank", bank.folder, "--out", tmp_path / "t.safetensors", "--with", world.scorer_file,
            words="load a generator of that space")  # The bundled one is of another.
    refused("tune", trained, "--bank", bank.folder, "--out", tmp_path / "t.safetensors", "--generator",
            world.generator_file, words="none of its attributes")  # The bundled classifier knows neither colour.
    refused("tune", trained, "--bank", bank.folder, "--out", tmp_path / "t.safetensors", "--generator",
            world.generator_file, "--attributes", "red", words="does not judge")
    refused("tune", tmp_path / "no.safetensors", "--bank", bank.folder, *flags, words="no.safetensors: no such file")
    refused("tune", trained, "--bank", tmp_path, *flags, words="not a bank")
    (bank.folder / "scores.safetensors").unlink()
    refused("tune", trained, "--bank", bank.folder, *flags, words="gradctrl score")
    assert [path.name for path in tmp_path.iterdir()] == ["alien.safetensors"]


def test_a_bank_without_samples_to_tune_on_is_refused(world: World, trained: Path, tmp_path: Path) -> None:
    small = write_bank(world.generator, tmp_path / "small", count=4)
    small.save_scores(score_bank(small, load_scorer(world.scorer_file)))
    tuner, names = make_tuner(open_bank(small.folder), load_controls(trained), ["red"], world.generator,
                              load_scorer(world.scorer_file))
    with pytest.raises(InputError, match="sample and score more"):
        renders(tuner, load_controls(trained), names)
