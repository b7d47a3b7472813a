"""The bundled image classifier: what aligned faces look like.

Two networks look at a picture. A MobileNet (Howard et al. 2017, arXiv 1704.04861) that learned to tell people, their
age and their gender apart (Savchenko 2019, PeerJ CS 197) looks at the face, and LPIPS's AlexNet at the whole crop. A
linear head on what they see tells each attribute; `tools.train_classifier` learned the heads from labels by eye.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradctrl.scores import Scores
from inversion import PerceptualDistance
from weights.errors import InputError
from weights.store import path_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-face-classifier-2"
SIDE = 128        # Pixels a side that pictures are averaged down to, so that the same is seen at every resolution,
INPUT = 224       # and that both networks are shown.
FACE = (24, 20, 112, 108)   # Top, left, bottom and right of the face in a crop of 128 pixels.
CELLS, WHOLE_CELLS = 7, 6   # Feature maps of the face, and of the whole crop, are averaged over so many cells a side.
WHOLE_LAYERS, WHOLE_WIDTHS = (1, 2, 4), (192, 384, 256)  # Of LPIPS's five, and their channels.

CLASSES: Mapping[str, tuple[str, ...]] = {
    "smile": ("serious", "smiling"), "gender": ("female", "male"), "age": ("child", "young", "middle", "old"),
    "eyeglasses": ("none", "eyeglasses", "sunglasses"), "hair": ("black", "brown", "blond", "grey", "red"),
    "pose": ("left", "front", "right"), "pitch": ("down", "level", "up"), "beard": ("none", "stubble", "full"),
    "bangs": ("without", "with"), "bald": ("hair", "bald"), "mouth": ("closed", "open"), "eyes": ("open", "closed"),
    "makeup": ("without", "with"), "hat": ("without", "with"),
}
TURNS = {"pose": 25.0, "pitch": 1.4}  # One number each: degrees, and standard scores; so far from 0 the outer classes.
SHARPNESS = 4.0                       # Logits from one class of a turn to the next.
ORDERED = frozenset({"age", "pose", "pitch", "beard"})

COARSER: Mapping[str, Mapping[tuple[str, ...], tuple[tuple[int, ...], ...]]] = {
    "age": {("young", "old"): ((0, 1), (2, 3))},
    "eyeglasses": {("without", "with"): ((0,), (1, 2))},
    "beard": {("without", "with"): ((0,), (1, 2))},
    "pose": {("left", "right"): ((0,), (2,))},
}
"""Which classes make up those of controls that tell fewer apart."""

_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # Of the first convolution and the thirteen depthwise ones.
_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_SEEN = (5, 11)  # After which pairs of convolutions the feature maps are looked at, beside the last one's mean.


class MobileNet(nn.Module):
    """Faces [N, 3, 224, 224] in 0..255 to features [N, 38656]; normalisations are folded into the convolutions."""

    blocks = (*((_WIDTHS[pair], CELLS ** 2) for pair in _SEEN), (_WIDTHS[-1], 1))  # Channels, and cells of each.
    width = sum(channels * cells for channels, cells in blocks)

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(3, _WIDTHS[0], 3, _STRIDES[0])]
        for before, after, stride in zip(_WIDTHS, _WIDTHS[1:], _STRIDES[1:], strict=False):
            convolutions += [nn.Conv2d(before, before, 3, stride, groups=before), nn.Conv2d(before, after, 1)]
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for index, convolution in enumerate(self.convolutions):
            if index % 2 or not index:  # As TensorFlow pads: on the far sides alone where every other place is left.
                x = F.pad(x, (0, 1, 0, 1) if _STRIDES[(index + 1) // 2] == 2 else (1, 1, 1, 1))
            x = convolution(x).clamp_(0, 6)
            if index in (2 * pair for pair in _SEEN):
                seen.append(F.adaptive_avg_pool2d(x, CELLS).flatten(1))
        return torch.cat([*seen, x.mean(dim=[2, 3])], dim=1)


class FaceClassifier(nn.Module):
    """Aligned pictures to what is told of them: one number for two classes or a turn, else one for each class."""

    blocks = (*MobileNet.blocks, *((channels, WHOLE_CELLS ** 2) for channels in WHOLE_WIDTHS))

    def __init__(self) -> None:
        super().__init__()
        self.mobilenet = MobileNet()
        features = sum(channels * cells for channels, cells in self.blocks)
        self.centre = nn.Buffer(torch.zeros(features))
        self.heads = nn.Linear(features, sum(outputs_of(name) for name in CLASSES))
        self.scale = nn.Buffer(torch.ones(self.heads.out_features))  # Rows of `heads` stay well inside half precision.
        self._whole: PerceptualDistance | None = None

    def features(self, pictures: Tensor) -> Tensor:
        """Features [N, D] of pictures [N, 3, R, R] in [-1, 1]."""
        small = F.interpolate(pictures.float(), size=(SIDE, SIDE), mode="area")
        top, left, bottom, right = FACE
        face, whole = (F.interpolate(part, size=(INPUT, INPUT), mode="bilinear", align_corners=False)
                       for part in (small[:, :, top:bottom, left:right], small))
        if self._whole is None:
            self._whole = PerceptualDistance(device=small.device)
        layers = self._whole.features(whole)
        return torch.cat([
            self.mobilenet(((face + 1) * 127.5).contiguous(memory_format=torch.channels_last)),
            *(F.adaptive_avg_pool2d(layers[index], WHOLE_CELLS).flatten(1) for index in WHOLE_LAYERS)], dim=1)

    def told(self, features: Tensor) -> dict[str, Tensor]:
        """What the heads say [N, outputs] of features [N, D], by attribute."""
        values = self.heads(features - self.centre) * self.scale
        return dict(zip(CLASSES, values.split([outputs_of(name) for name in CLASSES], dim=1), strict=True))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        return self.told(self.features(pictures))


def outputs_of(name: str) -> int:
    """How many numbers tell an attribute."""
    return 1 if name in TURNS or len(CLASSES[name]) == 2 else len(CLASSES[name])


class BundledScorer:
    """Scores of the attributes of `CLASSES`, or of some of them in fewer classes.

    Args:
        network: The classifier.
        attributes: The classes wanted of each attribute, those of `CLASSES` or of `COARSER`; None: all as they are.
        device: Where it computes.
    """

    def __init__(self, network: FaceClassifier, attributes: Mapping[str, tuple[str, ...]] | None = None, *,
                 device: torch.device | str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.attributes = dict(CLASSES if attributes is None else attributes)
        self.ordered = frozenset(name for name in ORDERED if len(self.attributes.get(name, ())) > 2)
        self.name = "bundled image classifier" + ("" if attributes is None else f" ({', '.join(self.attributes)})")

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be [N, 3, R, R], not {list(pictures.shape)}")
        told = self.network(pictures.to(self.network.heads.weight.device).clamp(-1, 1))
        return {name: values.to(pictures.device) for name, values in scores_of(told, self.attributes).items()}


def is_told(name: str, classes: tuple[str, ...]) -> bool:
    """Whether the classifier tells an attribute in these classes."""
    return classes == CLASSES.get(name) or classes in COARSER.get(name, {})


def scores_of(told: Mapping[str, Tensor], attributes: Mapping[str, tuple[str, ...]] = CLASSES) -> dict[str, Tensor]:
    """Logits [N, C] by attribute, in the classes that are wanted, of what a `FaceClassifier` tells [N, outputs]."""
    return {name: merged(name, _logits(name, told[name]), classes) for name, classes in attributes.items()}


def merged(name: str, logits: Tensor, classes: tuple[str, ...]) -> Tensor:
    """Logits [N, C] of the classifier's classes of an attribute as fewer classes'.

    Raises:
        KeyError: it has no such classes.
    """
    if classes == CLASSES.get(name):
        return logits
    parts = [logits[:, list(group)].logsumexp(dim=1) for group in COARSER[name][classes]]
    together = torch.stack(parts, dim=1)
    return together - together[:, :1] if len(classes) == 2 else together


def regrouped(item: Scores, classes: tuple[str, ...] | None) -> Scores:
    """The classifier's scores in fewer classes; others, and those that cannot be had so, as they are."""
    if classes is None or classes == item.classes or item.classes != CLASSES.get(item.attribute) or (
            not is_told(item.attribute, classes)):
        return item
    return replace(item, classes=classes, values=merged(item.attribute, item.values, classes),
                   ordered=item.ordered and len(classes) > 2)


def regrouped_gradients(item: Scores, gradients: Tensor, classes: tuple[str, ...] | None) -> Tensor:
    """Gradients of scores [M, C, w_dim], of the first M samples, as those of the scores that `regrouped` makes."""
    regroup = regrouped(item, classes)
    if regroup is item:
        return gradients
    with torch.enable_grad():
        values = item.values[:len(gradients)].clone().requires_grad_()
        columns = merged(item.attribute, values, regroup.classes).unbind(dim=1)
        by_values = [torch.autograd.grad(column.sum(), values, retain_graph=True)[0] for column in columns]
    return torch.stack(by_values, dim=1) @ gradients  # The chain rule: [M, outputs, C] @ [M, C, w_dim].


def _logits(name: str, told: Tensor) -> Tensor:
    if name in TURNS:
        return -SHARPNESS * (told / TURNS[name] - torch.tensor([-1.0, 0.0, 1.0], device=told.device)).abs()
    return torch.cat([torch.zeros_like(told), told], dim=1) if told.shape[1] == 1 else told


def save_face_classifier(path: str | os.PathLike[str], network: FaceClassifier,
                         metadata: Mapping[str, str] | None = None) -> None:
    """Write a classifier, its convolutions and heads in half precision, with metadata of its training.

    Raises:
        InputError: the file cannot be written.
    """
    state = {name: tensor.half() if name.endswith("weight") else tensor.float()
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


def load_bundled_scorer(attributes: Mapping[str, tuple[str, ...]] | None = None, *,
                        device: torch.device | str = "cpu") -> BundledScorer:
    """A scorer of the bundled classifier (see `BundledScorer`)."""
    return BundledScorer(load_face_classifier(), attributes, device=device)


PAPER: Mapping[str, tuple[str, ...]] = {"gender": ("female", "male"), "smile": ("serious", "smiling"),
                                        "eyeglasses": ("without", "with"), "age": ("young", "old")}
"""What table 1 of Chen et al. 2022 tells apart, in its order."""

CONTROLLED: Mapping[str, tuple[str, ...]] = {
    **PAPER, "eyeglasses": CLASSES["eyeglasses"],
    **{name: next(iter(COARSER.get(name, {})), classes) for name, classes in CLASSES.items()
       if name not in PAPER and name != "pitch"}}
"""The attributes of the bundled controls, in their classes."""
