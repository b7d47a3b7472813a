"""The command mix, and components that move several classes alike: GANSpace's figures 5 to 7, with BigGAN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generators import load, to_pixels
from tests.commands.running import made_by, refused
from tests.generators import test_biggan
from tests.generators.made_generators import make_generator


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("biggan") / "biggan.bin"
    torch.save(test_biggan.variables(), path)
    return path


def test_layers_are_taken_of_others(file: Path, tmp_path: Path) -> None:
    [path] = made_by("mix", "--seeds", "1-2", "--with", "7-9", "--layers", "8:16", "--class", 1, "--generator", file,
                     "--out", tmp_path)
    sheet = np.array(Image.open(path))
    generator = load(file).of_class(1)
    ws = generator.broadcast(generator.sample([1, 2], truncation=0.7)).clone()
    assert sheet.shape == (32, 64, 3)
    assert np.array_equal(sheet[16:, :16], to_pixels(generator.render(ws))[1])
    start, stop = generator.rows((8, 16))
    ws[:, start:stop] = generator.broadcast(generator.sample([8], truncation=0.7))[:, start:stop]
    mixed = to_pixels(generator.render(ws))
    assert np.abs(sheet[16:, 32:48].astype(int) - mixed[1]).max() <= 1
    assert not np.array_equal(sheet[16:, 32:48], sheet[16:, :16])
    [path] = made_by("mix", "--seeds", "1", "--with", "7", "--class", 1, "--with-class", 2, "--generator", file,
                     "--out", tmp_path / "other")
    whole = np.array(Image.open(path))[:, 16:]
    of_other = to_pixels(load(file).of_class(2).render(load(file).of_class(2).sample([7], truncation=0.7)))[0]
    assert np.abs(whole.astype(int) - of_other).max() <= 1  # All rows: it is the other one.
    refused("mix", "--seeds", "1", "--with", "7", "--layers", "900:999", "--generator", file, "--out", tmp_path / "a",
            words="holds none of this generator's layers")


def test_components_move_several_classes_alike(file: Path, tmp_path: Path) -> None:
    of = "--generator", file
    [found] = made_by("discover", "components", *of, "--layer", "gen_z", "--samples", 200, "--count", 3,
                      "--out", tmp_path / "z.safetensors")
    [path] = made_by("discover", "sheet", found, *of, "--components", "0", "--columns", 3, "--classes", "0,2",
                     "--seed", 4, "--out", tmp_path / "sheets")
    sheet = np.array(Image.open(path)).astype(int)
    generator = load(file)
    for row, index in enumerate((0, 2)):
        of_class = generator.of_class(index)
        middle = to_pixels(of_class.render(of_class.sample([4], truncation=0.7)))[0]
        found_rows = [np.abs(sheet[top:top + 16, left:left + 16] - middle).max()
                      for top in range(sheet.shape[0] - 15) for left in range(sheet.shape[1] - 15)]
        assert min(found_rows) <= 24, row  # A JPEG.
    refused("discover", "sheet", found, *of, "--components", "0", "--classes", "0,9", "--out", tmp_path / "b",
            words="choose one of 0 to 2")


def test_mixing_is_drawn_as_it_is_for_others_too() -> None:
    from editing.sheets import mixed_pictures

    generator = make_generator(32)
    w = generator.sample([1, 2, 3])
    pictures = mixed_pictures(generator, w[:1], w[1:], layers=(4, 8))
    assert pictures.shape == (1, 3, 32, 32, 3)
    assert np.array_equal(pictures[0, 0], to_pixels(generator.render(w[:1]))[0])
    assert not np.array_equal(pictures[0, 1], pictures[0, 2])
