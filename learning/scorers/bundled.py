"""The bundled image classifier: what the faces of the bundled generator look like.

A small residual network in the manner of He et al. (arXiv 1603.05027), trained by `weights/training/classifier.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weights.errors import InputError
from weights.store import path_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-face-classifier-1"
SIDE = 64                         # Pixels a side that the network sees.
HAIR = ("black", "brown", "blond")
OUTPUTS = {"smile": 1, "gender": 1, "eyeglasses": 1, "age": 1, "yaw": 1, "hair": 3}  # age and yaw: standard scores
POSES = (-1.4, 0.0, 1.4)          # Yaw (standard scores) of a face that looks to the left of the picture, ahead, right.
SHARPNESS = 3.0                   # Logits of a standard score of age or yaw.


class FaceClassifier(nn.Module):
    """Pictures [N, 3, 64, 64] in [-1, 1] to a dict of scores [N, C], by the names of `OUTPUTS`."""

    def __init__(self) -> None:
        super().__init__()
        widths = [32, 64, 128, 192]
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], sum(OUTPUTS.values()))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = F.dropout(x.mean(dim=[2, 3]), 0.3, self.training)
        return dict(zip(OUTPUTS, self.head(x).split(list(OUTPUTS.values()), dim=1), strict=True))


class _Block(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(a), nn.BatchNorm2d(b)
        self.conv1, self.conv2 = nn.Conv2d(a, b, 3, stride=2, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.skip = nn.Conv2d(a, b, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return y + self.skip(F.avg_pool2d(x, 2))


def shrink(pictures: Tensor) -> Tensor:
    """Pictures [N, 3, R, R] to the classifier's side by area averaging."""
    return F.interpolate(pictures.float(), size=(SIDE, SIDE), mode="area")


class BundledScorer:
    """Scores of smile, gender, age, eyeglasses, hair and pose, each the mean over a picture and its mirror image.

    Age is young or old by the standard score of the years among the training pictures, times 3 as a logit. Pose is
    the nearest of three yaws: -3 |yaw - centre| for each.
    """

    name = "bundled image classifier"
    attributes: Mapping[str, tuple[str, ...]] = {
        "smile": ("serious", "smiling"), "gender": ("female", "male"), "age": ("young", "old"),
        "eyeglasses": ("without", "with"), "hair": HAIR, "pose": ("left", "front", "right"),
    }
    ordered = frozenset({"hair", "pose"})  # Hair from dark to light.

    def __init__(self, network: FaceClassifier, *, device: torch.device | str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be [N, 3, R, R], not {list(pictures.shape)}")
        device = self.network.head.weight.device
        x = shrink(pictures.to(device).clamp(-1, 1))
        both = torch.cat([x, x.flip(3)]).contiguous(memory_format=torch.channels_last)
        halves = {name: value.chunk(2) for name, value in self.network(both).items()}
        score = {name: (here - mirrored if name == "yaw" else here + mirrored) / 2
                 for name, (here, mirrored) in halves.items()}
        centres = torch.tensor(POSES, device=device)
        logits = {**{name: _binary(score[name]) for name in ("smile", "gender", "eyeglasses")},
                  "age": _binary(SHARPNESS * score["age"]), "hair": score["hair"],
                  "pose": -SHARPNESS * (score["yaw"] - centres).abs()}
        return {name: logits[name].to(pictures.device) for name in self.attributes}


def _binary(logit: Tensor) -> Tensor:
    """Logit [N, 1] of the positive class to [N, 2]."""
    return torch.cat([torch.zeros_like(logit), logit], dim=1)


def save_face_classifier(path: str | os.PathLike[str], network: FaceClassifier,
                         metadata: Mapping[str, str] | None = None) -> None:
    """Write a classifier in half precision, with metadata of its training.

    Raises:
        InputError: the file cannot be written.
    """
    state = {name: tensor.half() if tensor.is_floating_point() else tensor
             for name, tensor in network.state_dict().items()}
    write_tensors(path, state, {**(metadata or {}), "format": FORMAT})


def load_face_classifier(path: str | os.PathLike[str] = "bundled") -> FaceClassifier:
    """Read a classifier, in float32 and ready for use; "bundled" is the one of the bundled generator's faces.

    Raises:
        InputError: no such file, not a face classifier, truncated, or with weights that are missing, of the wrong
            shape or not finite; the message names the file and the remedy.
    """
    bundled = os.fspath(path) == "bundled"
    file = path_of("bundled-classifier") if bundled else path
    remedy = "install the program again" if bundled else "copy it or train it again"
    state, _ = read_tensors(file, format=FORMAT, what="a face classifier", remedy=remedy)
    network = FaceClassifier()
    expected = network.state_dict()
    wrong = sorted(set(expected) ^ set(state)) or [name for name in expected
                                                   if state[name].shape != expected[name].shape
                                                   or not state[name].isfinite().all()]
    if wrong:
        raise InputError(file, f"{wrong[0]} is missing, unknown, of another shape or not finite", remedy)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def load_bundled_scorer(path: str | os.PathLike[str] = "bundled", *,
                        device: torch.device | str = "cpu") -> BundledScorer:
    """Read the classifier (see `load_face_classifier`) and make a scorer of it."""
    return BundledScorer(load_face_classifier(path), device=device)
