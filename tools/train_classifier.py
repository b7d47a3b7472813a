"""Training the bundled image classifier, which scores samples and judges edits: heads on two networks' features.

    python -m tools.train_classifier BANK NETWORK OUT.safetensors

BANK has pictures of 256 pixels of the bundled generator's samples from seed 0 on (`gradctrl sample --bank`), all that
`labels.csv` names. NETWORK is the folder `models` of the npm package @vladmandic/human, whose `faceres.json` and
`faceres.bin` are the MobileNet. The heads are logistic regressions on the features of the samples that were labelled by
eye, every class counting the same; turns of the head follow dlib's landmarks. What the heads say is then set right by
what they said of samples that they were not fitted to, five times a fifth (Platt 1999): weighted as samples come, of
which those that were labelled are the harder part, since first models proposed them. The report that is printed, and
kept in the file, is about samples that nothing was learned from (from `HELD_OUT` on), labelled as they were drawn.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

import generators
from generators import from_pixels
from inversion import skin_tone
from inversion.alignment import Face, quad_of
from inversion.faces import crop_landmarks
from learning.accuracy import agreement
from learning.bank import SampleBank, open_bank
from learning.scorers.bundled import (
    CLASSES,
    TURNS,
    FaceClassifier,
    MobileNet,
    save_face_classifier,
    scores_of,
)
from tools.by_eye import HELD_OUT, read_labels

DRAWN = 32
TURNED = 2400          # Samples whose landmarks the turns are learned from.
FOLDS = 5
PENALTIES = (3.0, 30.0)  # C of the regressions; the better one out of fold is taken.
RIDGE = 0.05             # Of the turns.
DRAWN_AS_THEY_COME = 3000  # Samples that show how often is what the heads say.
BINS = 6                   # Of the lead of the likeliest class.
MOST = 20.0                # How many others a labelled sample can stand for.
LARGEST = 0.5              # Of a row of the heads, in half precision.


def read_mobilenet(folder: Path) -> MobileNet:
    """The MobileNet of a TensorFlow.js graph: what follows each convolution, a factor and a summand, folded into it."""
    graph = json.loads((folder / "faceres.json").read_text())
    data = b"".join((folder / path).read_bytes() for part in graph["weightsManifest"] for path in part["paths"])
    constants, start = {}, 0
    for spec in (spec for part in graph["weightsManifest"] for spec in part["weights"]):
        kind = np.dtype(np.float16 if spec.get("quantization") else spec["dtype"])
        count = int(np.prod(spec["shape"]))
        constants[spec["name"]] = np.frombuffer(data, kind, count, start).reshape(spec["shape"]).astype(np.float32)
        start += count * kind.itemsize
    nodes = [node for node in graph["modelTopology"]["node"] if node["op"] != "Const"]
    network = MobileNet()
    convolutions = iter(network.convolutions)
    with torch.no_grad():
        for node in (node for node in nodes if node["op"] in {"Conv2D", "DepthwiseConv2dNative"}):
            assert base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME", node["name"]
            kernel = torch.from_numpy(constants[node["input"][1]])
            deep = node["op"].startswith("Depthwise")
            weight = kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None] if deep else kernel.permute(3, 2, 0, 1)
            follower = _next(nodes, node)
            if follower["op"] == "Mul":
                weight = weight * torch.from_numpy(constants[follower["input"][1]]).reshape(-1, 1, 1, 1)
                follower = _next(nodes, follower)
            assert follower["op"] == "Add", follower["name"]
            convolution = next(convolutions)
            assert isinstance(convolution, nn.Conv2d)
            convolution.weight.copy_(weight)
            assert convolution.bias is not None
            convolution.bias.copy_(torch.from_numpy(constants[follower["input"][1]]).flatten())
    return network


def _next(nodes: Sequence[Mapping[str, object]], node: Mapping[str, object]) -> dict[str, Any]:
    return next(dict(other) for other in nodes if node["name"] in other.get("input", []))  # type: ignore[operator]


@torch.no_grad()
def features_of(classifier: FaceClassifier, bank: SampleBank, seeds: Sequence[int]) -> Tensor:
    """Features [N, D] of some samples of a bank, in half precision."""
    parts = []
    for start in tqdm(range(0, len(seeds), DRAWN), desc="looking"):
        pictures = np.concatenate([bank.pictures(seed, seed + 1) for seed in seeds[start:start + DRAWN]])
        parts.append(classifier.features(from_pixels(pictures)).half())
    return torch.cat(parts)


def turns_of(picture: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Yaw in degrees, positive to the picture's right, and how high the nose's tip is between eyes and mouth."""
    landmarks = crop_landmarks(picture)
    quad = quad_of(landmarks)
    face = Face((0, 0, 0, 0), 0.0, landmarks, quad)
    down = (quad[1] - quad[0]) / face.size
    eyes, nose, mouth = (float((landmarks[part] @ down).mean()) for part in (slice(36, 48), slice(30, 31),
                                                                             slice(48, 68)))
    return face.yaw, (mouth - nose) / (mouth - eyes)


class Lessons:
    """Features of labelled samples in their principal axes, in which regressions on them are the same and quick.

    Every channel of the feature maps counts the same, and so does each map, and the last layer's mean.
    """

    def __init__(self, features: Tensor) -> None:
        blocks = features.split([channels * cells for channels, cells in FaceClassifier.blocks], dim=1)
        scales = []
        self.gram = torch.zeros(len(features), len(features), dtype=torch.float64)
        for block, (_, count) in zip(blocks, FaceClassifier.blocks, strict=True):
            maps = block.float().unflatten(1, (-1, count))
            deviation = maps.std(dim=(0, 2)) + 1e-3 * maps.std()
            x = ((maps - maps.mean(dim=0)) / deviation[:, None]).flatten(1)
            size = x.square().sum(dim=1).mean().sqrt() * len(blocks) ** 0.5
            self.gram += (x @ x.T / size ** 2).double()
            scales.append((deviation * size).repeat_interleave(count))
        self.scale = torch.cat(scales)
        self.centre = features.float().mean(dim=0)
        self.features = features

    def axes(self, index: Tensor) -> tuple[npt.NDArray[np.float64], Tensor]:
        """Coordinates [n, K] of some samples, and what makes weights [K] on them weights on those samples [n, K]."""
        values, vectors = torch.linalg.eigh(self.gram[index][:, index])
        kept = values > 1e-6 * values.max()
        roots = values[kept].sqrt()
        return (vectors[:, kept] * roots).numpy(), vectors[:, kept] / roots

    def weights(self, index: Tensor, rows: Tensor) -> Tensor:
        """Weights [R, D] on features that are the sum of rows [R, n] times the samples' features."""
        total = torch.zeros(len(rows), self.features.shape[1])
        for start in range(0, len(index), 500):
            part = index[start:start + 500]
            total += rows[:, start:start + 500].float() @ (self.features[part].float() - self.centre)
        return total / self.scale.square()


def head_of(lessons: Lessons, index: Tensor, labels: npt.NDArray[np.int64],
            others: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Weights [outputs, D] and bias [outputs] that tell classes, and how well out of fold.

    Args:
        lessons: Features of labelled samples.
        index: Which of them are labelled with this attribute [n].
        labels: Their classes [n].
        others: Features [M, D] of samples as they come, none of them labelled.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    x, back = lessons.axes(index)
    best: tuple[float, float, npt.NDArray[np.float64]] | None = None
    for penalty in PENALTIES:
        outside = None
        for fitted, left in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, labels):
            said = _fit(x[fitted], labels[fitted], penalty).decision_function(x[left]).reshape(len(left), -1)
            outside = np.zeros((len(x), said.shape[1])) if outside is None else outside
            outside[left] = said
        assert outside is not None
        answers = outside.argmax(axis=1) if outside.shape[1] > 1 else (outside[:, 0] > 0).astype(int)
        agreed = _balanced(answers, labels)
        if best is None or agreed > best[0]:
            best = (agreed, penalty, outside)
    assert best is not None
    agreed, penalty, outside = best
    model = _fit(x, labels, penalty)
    own, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    weights = lessons.weights(index, own @ back.T)
    drawn = (others.float() - lessons.centre) @ weights.T + bias.float()
    correction = LogisticRegression(C=1.0, class_weight=None, max_iter=500)
    correction.fit(outside, labels, sample_weight=as_they_come(outside, drawn.numpy(), labels))
    after, shift = torch.from_numpy(correction.coef_), torch.from_numpy(correction.intercept_)
    return ((after.float() @ weights), (after @ bias + shift).float(),
            {"samples": len(labels), "out of fold": round(agreed, 3)})


def as_they_come(labelled: npt.NDArray[np.float64], drawn: npt.NDArray[np.float32],
                 labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How much each labelled sample counts [n], so that its like counts as it does among samples as they come.

    Alike are those of which the head says the same class, with about the same lead [n or M, outputs]. In the end all
    classes count the same.
    """
    def likeliest(said: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        said = np.concatenate([np.zeros_like(said), said], axis=1) if said.shape[1] == 1 else said
        ordered = np.sort(said, axis=1)
        return said.argmax(axis=1), ordered[:, -1] - ordered[:, -2]

    (mine, lead), (theirs, their_lead) = likeliest(labelled), likeliest(drawn)
    counts = np.ones(len(labels))
    for answer in np.unique(mine):
        edges = np.quantile(lead[mine == answer], np.linspace(0, 1, BINS + 1)[1:-1])
        cells, their_cells = np.digitize(lead, edges), np.digitize(their_lead, edges)
        for cell in range(BINS):
            inside = (mine == answer) & (cells == cell)
            there = ((theirs == answer) & (their_cells == cell)).mean()
            counts[inside] = np.clip(there / max(inside.mean(), 1e-9), 1 / MOST, MOST)
    for label in np.unique(labels):
        counts[labels == label] /= counts[labels == label].sum()
    return counts * len(labels) / len(np.unique(labels))


def _fit(x: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=300).fit(x, labels)


def _balanced(answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean([(answers[labels == label] == label).mean() for label in np.unique(labels)]))


def turn_of(lessons: Lessons, index: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [1, D] and bias [1] that tell a turn [n], by ridge regression."""
    gram = lessons.gram[index][:, index]
    mean = turns.mean()
    rows = torch.linalg.solve(gram + RIDGE * torch.eye(len(gram), dtype=gram.dtype), (turns - mean).double())
    weights = lessons.weights(index, rows[None])
    return weights, mean[None].float()


def train(classifier: FaceClassifier, bank: SampleBank, labels: Mapping[int, Mapping[str, str]],
          features: Tensor, others: Tensor) -> dict[str, dict[str, Any]]:
    """Set the heads of a classifier, from the features [N, D] of the labelled samples in the order of their seeds.

    `others` are features [M, D] of samples as they come.
    """
    seeds = [seed for seed in sorted(labels) if seed < HELD_OUT]
    lessons = Lessons(features[:len(seeds)])
    turns = torch.tensor([turns_of(bank.pictures(seed, seed + 1)[0])
                          for seed in tqdm(seeds[:TURNED], desc="landmarks")])
    turns[:, 1] = (turns[:, 1] - turns[:, 1].mean()) / turns[:, 1].std()
    weights, biases, report = [], [], {}
    for name, classes in CLASSES.items():
        if name in TURNS:
            weight, bias = turn_of(lessons, torch.arange(len(turns)), turns[:, list(TURNS).index(name)])
            report[name] = {"samples": len(turns)}
        else:
            known = {place: classes.index(labels[seed][name]) for place, seed in enumerate(seeds)
                     if name in labels[seed]}
            weight, bias, report[name] = head_of(lessons, torch.tensor(list(known)),
                                                  np.array(list(known.values())), others)
        weights.append(weight)
        biases.append(bias)
    rows = torch.cat(weights)
    with torch.no_grad():
        classifier.centre.copy_(lessons.centre)
        classifier.scale.copy_(rows.abs().amax(dim=1) / LARGEST)
        classifier.heads.weight.copy_(rows / classifier.scale[:, None])
        classifier.heads.bias.copy_(torch.cat(biases) / classifier.scale)
    return report


@torch.no_grad()
def hold(classifier: FaceClassifier, bank: SampleBank, labels: Mapping[int, Mapping[str, str]],
         features: Tensor) -> dict[str, dict[str, Any]]:
    """Agreement with labels that nothing was learned from, in all and by the skin's lightness and by age."""
    seeds = sorted(labels)
    said = scores_of(classifier.told(features.float()))
    lightness = torch.tensor([float(skin_tone(bank.pictures(seed, seed + 1)[0])[0]) for seed in seeds])
    darker, lighter = lightness.quantile(1 / 3), lightness.quantile(2 / 3)
    groups = {
        "dark third": lightness < darker, "middle third": (lightness >= darker) & (lightness < lighter),
        "light third": lightness >= lighter,
        **{age: torch.tensor([labels[seed].get("age") == age for seed in seeds]) for age in CLASSES["age"]},
    }
    result = {}
    for name, classes in CLASSES.items():
        if name in TURNS:
            continue
        truth = torch.tensor([classes.index(labels[seed][name]) if name in labels[seed] else -1 for seed in seeds])
        answers = said[name].argmax(dim=1)
        known = truth >= 0
        result[name] = agreement(answers[known], truth[known], len(classes))
        result[name]["by group"] = {
            group: [round(float((answers[part] == truth[part]).float().mean()), 3), int(part.sum())]
            for group, inside in groups.items() if (part := inside & known).any()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    bank, labels = open_bank(given.bank, generator=generators.load()), read_labels()
    classifier = FaceClassifier().eval()
    classifier.mobilenet.load_state_dict(read_mobilenet(given.network).state_dict())
    features = features_of(classifier, bank, sorted(labels))
    unlabelled = [seed for seed in range(HELD_OUT) if seed not in labels][:DRAWN_AS_THEY_COME]
    learned = train(classifier, bank, labels, features, features_of(classifier, bank, unlabelled))
    first = sum(seed < HELD_OUT for seed in labels)
    held = hold(classifier, bank, {seed: row for seed, row in labels.items() if seed >= HELD_OUT}, features[first:])
    for name in CLASSES:
        print(name, learned[name], held.get(name, ""))
    save_face_classifier(given.out, classifier, {"learned": json.dumps(learned), "held_out": json.dumps(held)})


if __name__ == "__main__":
    main()
