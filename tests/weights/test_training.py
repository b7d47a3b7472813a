"""The tools that make the bundled controls, on small data of their own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from editing.scorers.bundled import OUTPUTS, load_face_classifier
from weights.training.controls import PLANS, class_scores, most_confident
from weights.training.judge import augment, load_judge, read_folder, train


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
    assert torch.equal(load_judge(tmp_path / "judge.safetensors").head.bias,
                       load_face_classifier(tmp_path / "judge.safetensors").head.bias)
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


def test_the_most_confident_samples_of_each_class_are_taken() -> None:
    values = torch.tensor([[5.0, 0, 0], [1, 0, 0], [0, 3, 2.9], [0, 2, 0], [0, 0, 9], [0, 0, 1]])
    index, labels = most_confident(values, 1)
    assert index.tolist() == [0, 3, 4]
    assert labels.tolist() == [0, 1, 2]


def test_every_plan_scores_each_of_its_classes() -> None:
    scores = {"smile": torch.tensor([[-2.0], [2.0]]), "gender": torch.tensor([[-1.0], [1.0]]),
              "age": torch.tensor([[-1.0], [1.0]]), "hair": torch.eye(3)[:2], "yaw": torch.tensor([[-2.0], [0.1]])}
    found = {name: class_scores(plan, scores).argmax(dim=1).tolist() for name, plan in PLANS.items()}
    assert found == {"smile": [0, 1], "gender": [0, 1], "age": [0, 1], "hair": [0, 1], "pose": [0, 1]}
    for plan in PLANS.values():
        assert class_scores(plan, scores).shape[1] == len(plan.classes)
