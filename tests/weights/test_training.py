"""The tool that trains the bundled image classifier, on small data of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from editing.scorers.bundled import OUTPUTS, load_face_classifier
from weights.training.classifier import augment, read_folder, train


def write_folder(folder: Path, count: int = 40) -> None:
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "gender", "smile", "age", "eyeglasses", "hair", "yaw"])
        for index in range(count):
            name = f"{index:04}.png"
            Image.fromarray(rng.integers(0, 256, [32, 32, 3], np.uint8)).save(folder / "images" / name)
            writer.writerow([name, ("male", "female")[index % 2], index % 2, 20 + index, int(index % 5 == 0),
                             ("black", "brown", "blond")[index % 3], (index - 20) / 100])


def test_the_image_classifier_trains_and_comes_back(tmp_path: Path) -> None:
    write_folder(tmp_path)
    train(tmp_path, tmp_path / "judge.safetensors", epochs=1, batch=8)
    judge = load_face_classifier(tmp_path / "judge.safetensors")
    scores = judge(torch.zeros(2, 3, 64, 64))
    assert {name: value.shape[1] for name, value in scores.items()} == OUTPUTS
    assert torch.equal(scores["hair"][0], scores["hair"][1])


def test_a_flip_turns_the_head_the_other_way(tmp_path: Path) -> None:
    write_folder(tmp_path)
    pictures, targets = read_folder(tmp_path)
    ramp = torch.arange(96, dtype=torch.uint8).expand(40, 3, 96, 96)  # Brighter to the right.
    x, turned = augment(ramp, targets, torch.Generator().manual_seed(0))
    flipped = x[:, :, :, :16].mean(dim=[1, 2, 3]) > x[:, :, :, -16:].mean(dim=[1, 2, 3])
    assert 5 < flipped.sum() < 35
    assert torch.equal(turned["yaw"], torch.where(flipped, -targets["yaw"], targets["yaw"]))
    assert pictures.shape == (40, 3, 96, 96)
