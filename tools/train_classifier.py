"""Training the bundled image classifier, which scores generated samples and judges edits.

One small residual network, 64x64 pixels in, with a head for each attribute. It is trained on a folder of aligned faces
with a `labels.csv` (columns file, gender, smile, age, eyeglasses, hair, yaw), and on samples of the bundled generator
which its controls label: where their score is far from the boundary, for smile, gender and eyeglasses, and by the score
for age. Augmented by flips, shifts, colour and softness.

    python -m tools.train_classifier FOLDER OUT.safetensors [--samples 6000]
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

import directions
import generators
from generators import from_bytes, to_bytes
from learning.scorers.bundled import HAIR, OUTPUTS, SIDE, FaceClassifier, save_face_classifier, shrink

AVERAGE = 0.995  # Decay of the running mean of the weights, which is what is kept.
WEIGHT = {"smile": 2.0, "gender": 1.0, "eyeglasses": 2.0}  # Of the losses; the noisy labels of smile are learned late.
FIRST, DRAWN = 10 ** 8, 16  # The first sample's seed, and how many are drawn at once.
UNSURE = 0.3                # Share of the samples that are nearest to a control's boundary, which it does not label.
UNKNOWN = -100              # In place of hair.
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


@torch.no_grad()
def read_samples(count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Samples of the bundled generator as `read_folder` gives faces; NaN, or for hair UNKNOWN, is what nobody says."""
    generator, controls = generators.load(), directions.load()
    pictures, latents = [], []
    for start in tqdm(range(0, count, DRAWN), desc="drawing"):
        w = generator.sample(range(FIRST + start, FIRST + min(start + DRAWN, count)))
        pictures.append(to_bytes(F.interpolate(generator.render(w, 128), size=(96, 96), mode="area")))
        latents.append(w)
    w = torch.cat(latents)
    scores = {name: controls.control(name).scores(w)[:, 0] for name in ("smile", "gender", "eyeglasses", "age")}
    targets = {name: torch.where(scores[name].abs() > scores[name].abs().quantile(UNSURE),
                                 (scores[name] > 0).float(), torch.nan) for name in ("smile", "gender", "eyeglasses")}
    targets["age"] = (scores["age"] - scores["age"].mean()) / scores["age"].std()
    targets["yaw"] = torch.full([count], torch.nan)
    targets["hair"] = torch.full([count], UNKNOWN)
    return torch.cat(pictures), targets


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
    total = F.cross_entropy(scores["hair"], targets["hair"], weight=torch.tensor([1.0, 1.0, 3.0]), label_smoothing=0.05,
                            ignore_index=UNKNOWN)
    known = {name: value.isfinite() for name, value in targets.items()}
    for name, weight in WEIGHT.items():
        soft = targets[name][known[name]] * 0.96 + 0.02
        total = total + weight * F.binary_cross_entropy_with_logits(scores[name][known[name], 0], soft)
    for name in ("age", "yaw"):
        total = total + F.smooth_l1_loss(scores[name][known[name], 0], targets[name][known[name]])
    return total


@torch.no_grad()
def measure(judge: nn.Module, pictures: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy by attribute (balanced over the classes), and correlation for age and yaw."""
    judge.eval()
    scores = judge(shrink(from_bytes(pictures)))
    result = {}
    for name in ("smile", "gender", "eyeglasses"):
        known = targets[name].isfinite()
        positive = targets[name][known] > 0.5
        hit = (scores[name][known, 0] > 0) == positive
        result[name] = float((hit[positive].float().mean() + hit[~positive].float().mean()) / 2)
    if (targets["hair"] != UNKNOWN).any():
        hair = scores["hair"].argmax(1)
        result["hair"] = float(np.mean([float((hair[targets["hair"] == c] == c).float().mean()) for c in range(3)]))
    for name in ("age", "yaw"):
        known = targets[name].isfinite()
        if known.any():
            both = torch.stack([scores[name][known, 0], targets[name][known]])
            result[f"{name} correlation"] = float(torch.corrcoef(both)[0, 1])
    return {name: round(value, 3) for name, value in result.items()}


def train(folder: Path, out: Path, *, samples: int, epochs: int = 20, batch: int = 64, seed: int = 0) -> None:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    pictures, targets = read_folder(folder)
    faces = len(pictures)
    if samples:
        drawn, labels = read_samples(samples)
        pictures, targets = torch.cat([pictures, drawn]), {name: torch.cat([value, labels[name]])
                                                           for name, value in targets.items()}
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
        print(f"epoch {epoch + 1}: {_reports(averaged.module, pictures, targets, held, faces)}", flush=True)
    kept = FaceClassifier()
    kept.load_state_dict(averaged.module.state_dict())
    finish(kept.eval(), pictures, targets, used, held, faces, out)


@torch.no_grad()
def finish(judge: FaceClassifier, pictures: Tensor, targets: dict[str, Tensor], used: Tensor, held: Tensor,
           faces: int, out: Path) -> None:
    """Move the boundaries to where both classes count the same, measure, and write the file.

    Of the training pictures most smile and most are women. The logit of a classifier says how likely a class is among
    pictures like them; less the logarithm of the classes' ratio, it says so where both classes are equally frequent.
    """
    start = 0
    for name, outputs in OUTPUTS.items():
        if name in WEIGHT:
            known = targets[name][used][targets[name][used].isfinite()]
            share = (known > 0.5).float().mean()
            judge.head.bias[start] -= torch.log(share / (1 - share))
        start += outputs
    report = _reports(judge, pictures, targets, held, faces)
    print(report)
    save_face_classifier(out, judge, {"held_out": json.dumps(report)})


def _reports(judge: nn.Module, pictures: Tensor, targets: dict[str, Tensor], held: Tensor,
             faces: int) -> dict[str, dict[str, float]]:
    """What `measure` says of the faces that were held out, the first ones, and of the samples."""
    parts = {"faces": held[held < faces], "samples": held[held >= faces]}
    return {name: measure(judge, pictures[part], _select(targets, part)) for name, part in parts.items() if len(part)}


def _select(targets: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: value[index] for name, value in targets.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=20)
    train(**vars(parser.parse_args()))
