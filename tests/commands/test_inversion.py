"""The command encoder, the options of inversions, and tuned inversions on their way through invert and edit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from editing import load_recipe
from generators import StyleGAN2, StyleGAN2Config, load
from generators import checkpoints as readers
from inversion import load_inversion
from inversion.encoder import load_encoder, own_path
from inversion.settings import PRESETS
from tests.commands.running import made_by, run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hardly any steps, and a folder of fetched files of the test's own."""
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name, settings in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(settings, steps=3, tuning_steps=min(settings.tuning_steps, 4)))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with random weights, 32 x 32."""
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(16, 16, 12, 8), z_dim=8, w_dim=8, mapping_layers=1)
    path = tmp_path_factory.mktemp("generators") / "small.safetensors"
    readers.write(path, config, StyleGAN2(config).state_dict())
    return path


def test_an_encoder_is_trained_where_it_is_found(small_file: Path, tmp_path: Path) -> None:
    [path] = made_by("encoder", "--generator", small_file, "--count", 1000, "--steps", 20)
    generator = load(small_file)
    assert path == own_path(generator)
    again = run("encoder", "--generator", small_file, "--count", 1000)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    other = run("encoder", "--generator", small_file, "--count", 1000, "--steps", 20, "--out", tmp_path / "mine.pt")
    assert other.exit_code == 1
    assert "mine.pt" in other.stderr
    assert ".safetensors" in other.stderr


def test_an_encoder_learns_from_a_bank_and_from_faces(small_file: Path, astronaut_file: Path, tmp_path: Path) -> None:
    of = ("--generator", small_file)
    run("sample", "--bank", tmp_path / "bank", "--count", 1300, "--batch", 100, "--format", "jpg", *of)
    faces = tmp_path / "faces"
    faces.mkdir()
    Image.open(astronaut_file).resize((300, 300)).save(faces / "a.png")
    begin = ("encoder", *of, "--count", 1000, "--steps", 5)
    [path] = made_by(*begin, "--bank", tmp_path / "bank", "--faces", faces, "--out", tmp_path / "e.safetensors")
    assert not path.with_suffix(".checkpoint").exists()
    assert load_encoder(path, generator=load(small_file)).hash
    more = run("encoder", *of, "--count", 1200, "--bank", tmp_path / "bank", "--out", tmp_path / "f.safetensors")
    assert more.exit_code == 1
    assert "1300 samples" in more.stderr
    Image.new("RGB", (40, 30)).save(faces / "b.png")
    odd = run(*begin, "--faces", faces, "--out", tmp_path / "f.safetensors")
    assert odd.exit_code == 1
    assert "b.png: not an aligned face" in odd.stderr
    none = run(*begin, "--faces", tmp_path / "none", "--out", tmp_path / "f.safetensors")
    assert none.exit_code == 1
    assert "none: no such file or folder" in none.stderr


def test_a_tuned_inversion_is_edited_like_any_other(astronaut_file: Path, tmp_path: Path) -> None:
    """From the photo, or from the latent that `invert` wrote: the same pictures, and a recipe that makes them again."""
    [latent, _] = made_by("invert", astronaut_file, "--out", tmp_path)
    record = load_inversion(latent)
    assert record.tuning
    assert record.settings.tuning_steps == 4
    [direct, recipe] = made_by("edit", astronaut_file, "--set", "smile=1", "--out", tmp_path / "a")
    [edited, *_] = made_by("edit", latent, "--photo", astronaut_file, "--set", "smile=1", "--out", tmp_path / "b")
    assert np.array_equal(Image.open(direct), Image.open(edited))
    assert load_recipe(recipe).source.inversion == record.settings
    [again] = made_by("edit", astronaut_file, "--recipe", recipe, "--out", tmp_path / "c")
    assert np.array_equal(Image.open(direct), Image.open(again))
    [unedited, *_] = made_by("edit", latent, "--photo", astronaut_file, "--set", "smile=0", "--out",
                          tmp_path / "d")
    assert np.array_equal(Image.open(unedited), Image.open(astronaut_file))  # Strength 0 is the photo itself.


def test_options_change_the_preset(astronaut_file: Path, tmp_path: Path) -> None:
    [latent, _] = made_by("invert", astronaut_file, "--tuning", 0, "--space", "w", "--start", "mean", "--steps", 2,
                       "--out", tmp_path)
    record = load_inversion(latent)
    assert not record.tuning
    settings = record.settings
    assert (settings.tuning_steps, settings.space, settings.start, settings.steps) == (0, "w", "mean", 2)


def test_a_time_budget_is_told_and_gives_no_recipe(astronaut_file: Path, tmp_path: Path) -> None:
    result = run("edit", astronaut_file, "--set", "smile=1", "--steps", 50_000, "--seconds", 0.5, "--out", tmp_path)
    assert result.exit_code == 0
    assert "stopped after" in result.stderr
    assert "no recipe" in result.stderr
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("wrong", [["--tuning", "-1"], ["--start", "nowhere"], ["--seconds", "0"]])
def test_wrong_options_are_refused(astronaut_file: Path, wrong: list[str]) -> None:
    result = run("invert", astronaut_file, *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr
