"""Training the bundled image classifier, which scores generated samples and judges edits.

One small residual network, 64x64 pixels in, with a head for each attribute. It is trained on a folder of aligned faces
with a `labels.csv` (columns file, gender, smile, age, eyeglasses, hair, yaw), augmented by flips, shifts, colour and
softness, because generated pictures are softer than the training pictures.

    python -m tools.train_classifier FOLDER OUT.safetensors
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from generators import from_bytes
from learning.scorers.bundled import HAIR, OUTPUTS, SIDE, FaceClassifier, save_face_classifier, shrink

AVERAGE = 0.995  # Decay of the running mean of the weights, which is what is kept.
WEIGHT = {"smile": 2.0, "gender": 1.0}  # Of the losses; the noisy labels of smile are learned late.
HELD_OUT = 8  # Every eighth file is never trained on (the folder is sorted by gender).


def read_folder(folder: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures uint8 [N, 3, 96, 96] (larger than the input, for crops) and targets by attribute."""
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = np.stack([_read(folder / "images" / row["file"]) for row in tqdm(rows, desc="reading")])
    column = {name: np.array([float(row[name]) for row in rows], np.float32)
              for name in ("smile", "eyeglasses", "age", "yaw")}
    age, yaw = column["age"], column["yaw"]
    targets = {
        "smile": column["smile"], "eyeglasses": column["eyeglasses"],
        "gender": np.array([row["gender"] == "male" for row in rows], np.float32),
        "age": (age - age.mean()) / age.std(), "yaw": yaw / yaw.std(),
        "hair": np.array([HAIR.index(row["hair"]) for row in rows]),
    }
    tensors = {name: torch.from_numpy(value) for name, value in targets.items()}
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), tensors


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.BOX))


def augment(pictures: Tensor, targets: dict[str, Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Random flip, shift, zoom, colour and softness; the sign of yaw follows the flip."""
    n = len(pictures)
    x = from_bytes(pictures)
    flip = torch.rand(n, generator=rng) < 0.5
    scale = 0.94 + 0.1 * torch.rand(n, generator=rng)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(flip, -scale, scale)
    theta[:, 1, 1] = scale
    theta[:, :, 2] = (torch.rand(n, 2, generator=rng) - 0.5) * 0.12
    grid = F.affine_grid(theta, [n, 3, 96, 96], align_corners=False)
    x = shrink(F.grid_sample(x, grid, padding_mode="reflection", align_corners=False))
    side = int(torch.randint(28, SIDE + 1, [], generator=rng))
    x = F.interpolate(F.interpolate(x, size=(side, side), mode="area"), size=(SIDE, SIDE), mode="bilinear")
    x = x * (0.85 + 0.3 * torch.rand(n, 1, 1, 1, generator=rng)) + 0.2 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)
    return x, {**targets, "yaw": torch.where(flip, -targets["yaw"], targets["yaw"])}


def loss_of(scores: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    total = F.cross_entropy(scores["hair"], targets["hair"], weight=torch.tensor([1.0, 1.0, 3.0]), label_smoothing=0.05)
    for name, weight in WEIGHT.items():
        soft = targets[name] * 0.96 + 0.02
        total = total + weight * F.binary_cross_entropy_with_logits(scores[name][:, 0], soft)
    total = total + F.binary_cross_entropy_with_logits(scores["eyeglasses"][:, 0], targets["eyeglasses"],
                                                       pos_weight=torch.tensor(20.0))
    for name in ("age", "yaw"):
        total = total + F.smooth_l1_loss(scores[name][:, 0], targets[name])
    return total


@torch.no_grad()
def measure(judge: nn.Module, pictures: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy by attribute (balanced over the classes), and correlation for age and yaw."""
    judge.eval()
    scores = judge(shrink(from_bytes(pictures)))
    result = {}
    for name in ("smile", "gender", "eyeglasses"):
        hit, positive = (scores[name][:, 0] > 0) == (targets[name] > 0.5), targets[name] > 0.5
        result[name] = float((hit[positive].float().mean() + hit[~positive].float().mean()) / 2)
    hair = scores["hair"].argmax(1)
    result["hair"] = float(np.mean([float((hair[targets["hair"] == c] == c).float().mean()) for c in range(3)]))
    for name in ("age", "yaw"):
        result[f"{name} correlation"] = float(torch.corrcoef(torch.stack([scores[name][:, 0], targets[name]]))[0, 1])
    return {name: round(value, 3) for name, value in result.items()}


def train(folder: Path, out: Path, *, epochs: int = 20, batch: int = 64, seed: int = 0) -> None:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    pictures, targets = read_folder(folder)
    everything = torch.arange(len(pictures))
    held, used = everything[everything % HELD_OUT == 0], everything[everything % HELD_OUT != 0]
    count = len(used)
    judge = FaceClassifier().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    averaged = AveragedModel(judge, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    for epoch in range(epochs):
        judge.train()
        order = used[torch.randperm(count, generator=rng)]
        for start in tqdm(range(0, count - batch + 1, batch), desc=f"epoch {epoch + 1}/{epochs}", leave=False):
            index = order[start:start + batch]
            x, y = augment(pictures[index], _select(targets, index), rng)
            loss = loss_of(judge(x.contiguous(memory_format=torch.channels_last)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            averaged.update_parameters(judge)
        tqdm.write(f"epoch {epoch + 1}: {measure(averaged.module, pictures[held], _select(targets, held))}")
    kept = FaceClassifier()
    kept.load_state_dict(averaged.module.state_dict())
    finish(kept.eval(), pictures, targets, used, held, out)


@torch.no_grad()
def finish(judge: FaceClassifier, pictures: Tensor, targets: dict[str, Tensor], used: Tensor, held: Tensor,
           out: Path) -> None:
    """Move the boundaries to where both classes count the same, measure, and write the file.

    Of the training pictures most smile and most are women. The logit of a classifier says how likely a class is among
    pictures like them; less the logarithm of the classes' ratio, it says so where both classes are equally frequent.
    """
    start = 0
    for name, outputs in OUTPUTS.items():
        if name in WEIGHT:
            share = (targets[name][used] > 0.5).float().mean()
            judge.head.bias[start] -= torch.log(share / (1 - share))
        start += outputs
    report = measure(judge, pictures[held], _select(targets, held))
    print(report)
    save_face_classifier(out, judge, {"held_out": json.dumps(report)})


def _select(targets: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: value[index] for name, value in targets.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    train(arguments.folder, arguments.out, epochs=arguments.epochs)
