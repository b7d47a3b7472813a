"""Reading the classifiers that the authors of GradCtrl published (Chen et al. 2022, repository zikuncshelly/GradCtrl).

A folder holds `model.pth` (a torch state dict) and `model_params.pkl` (a pickled dict of text and numbers). Both are
read by the allow-list importer, so nothing in them is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from directions.control import LIMITS, GradCtrlControl
from generators.checkpoints.unpickle import read_pickle
from gradctrl import Classifier
from weights.errors import InputError

REMEDY = "use a folder as the authors publish it, with model.pth and model_params.pkl"
PARTS = {"hidden_weight": "0.weight", "hidden_bias": "0.bias", "out_weight": "2.weight", "out_bias": "2.bias"}
DEMO_STEPS, DEMO_STEP = 9, 4 / 9  # The authors' demo walks this far in W.
UNTUNED_TOP = 100  # Channels masked for each attribute where the authors give no number; the paper's choice for all.

# The keep lists and layer ranges of the authors' FFHQ demo; it has none for pose, nor for other generators.
FFHQ = ("gender", "smile", "eyeglasses", "age", "pose")
FFHQ_KEEP: dict[str, dict[str, int]] = {
    "gender": {"smile": 250, "eyeglasses": 100, "age": 100},
    "smile": {"gender": 200, "eyeglasses": 50, "age": 100},
    "eyeglasses": {"gender": 200, "smile": 100, "age": 250},
    "age": {"gender": 100, "eyeglasses": 300},
    "pose": {"gender": UNTUNED_TOP, "smile": UNTUNED_TOP, "eyeglasses": UNTUNED_TOP, "age": UNTUNED_TOP},
}
# What a score below and above 0 means; theirs of age counts towards young, and is turned round.
FFHQ_CLASSES = {"gender": ("female", "male"), "smile": ("serious", "smiling"), "eyeglasses": ("without", "with"),
                "age": ("young", "old"), "pose": ("left", "right")}  # Of the picture, where the face is turned to.
FFHQ_TURNED = ("age",)
# Layer ranges in sides; in the authors' rows gender is 2 to 10, smile 2 to 8, eyeglasses 1 to 4, age 4 to 10.
FFHQ_LAYERS = {"gender": (12, 192), "smile": (12, 96), "eyeglasses": (8, 24), "age": (24, 192),
               "pose": (4, 24)}  # Pose: the coarse rows, where StyleGAN's pose is (Karras et al. 2019, section 3.1).
# Strengths between which twelve of the bundled generator's samples stayed faces of people, looked at.
FFHQ_LIMITS = {"gender": (-1.5, 1.25), "smile": (-1.5, 1.25), "eyeglasses": (-2.0, 1.5), "age": (-1.5, 1.5),
               "pose": (-1.0, 1.5)}
OTHER_LAYERS = (48, 768)  # Cats and cars in the authors' demo, rows 6 to 14, with an empty keep list.


@dataclass(frozen=True, kw_only=True)
class AuthorsClassifier:
    """One attribute's classifier as published: Linear(w_dim, H), LeakyReLU(0.1), Linear(H, C)."""

    name: str              # The authors' word for the attribute.
    hidden_weight: Tensor  # [H, w_dim]
    hidden_bias: Tensor    # [H]
    out_weight: Tensor     # [C, H]; C is 1 for a binary attribute.
    out_bias: Tensor       # [C]


def import_authors(folder: str | os.PathLike[str]) -> list[GradCtrlControl]:
    """Import a folder of the authors' classifiers as controls, with the settings of their demo.

    Args:
        folder: Holds model.pth and model_params.pkl.

    Raises:
        InputError: a file is missing, damaged, hostile, or of another kind; one line with the file and the remedy.
    """
    classifiers = read_authors(folder)
    ffhq = tuple(item.name for item in classifiers) == FFHQ
    controls = []
    for item in classifiers:
        outputs = item.out_weight.shape[0]
        classes = (FFHQ_CLASSES[item.name] if ffhq else (f"not {item.name}", item.name) if outputs == 1 else
                   tuple(f"class{j}" for j in range(outputs)))
        weights = {part: getattr(item, part) for part in PARTS}
        if ffhq and item.name in FFHQ_TURNED:
            weights |= {part: -weights[part] for part in ("out_weight", "out_bias")}
        controls.append(GradCtrlControl(
            name=item.name,
            classes=classes,
            classifier=Classifier(**weights),
            layers=FFHQ_LAYERS[item.name] if ffhq else OTHER_LAYERS,
            keep=FFHQ_KEEP[item.name] if ffhq else {},
            step=DEMO_STEP,
            units=(DEMO_STEPS * DEMO_STEP,) * outputs,
            limits=FFHQ_LIMITS[item.name] if ffhq else LIMITS,
        ))
    return controls


def read_authors(folder: str | os.PathLike[str]) -> list[AuthorsClassifier]:
    """Read a folder of the authors' classifiers; float32, in the authors' order of attributes.

    Raises:
        InputError: as for `import_authors`.
    """
    parameters_path, weights_path = Path(folder) / "model_params.pkl", Path(folder) / "model.pth"
    for path in (parameters_path, weights_path):
        if not path.is_file():
            raise InputError(path, "no such file", REMEDY)
    names, outputs = _read_parameters(parameters_path)
    state = read_pickle(weights_path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(weights_path, "not a dict of weights", REMEDY)
    expected = {f"classifiers.{i}.classifier.{part}" for i in range(len(names)) for part in PARTS.values()}
    for name in sorted(expected - state.keys()):
        raise InputError(weights_path, f"the weight {name} is missing", REMEDY)
    for name in sorted(map(str, state.keys() - expected)):
        raise InputError(weights_path,
                         f"there is a weight {name[:100]!r} that does not belong to the attributes "
                         f"{', '.join(names)}", REMEDY)
    return [_classifier(weights_path, state, index, name, count)
            for index, (name, count) in enumerate(zip(names, outputs, strict=True))]


def _read_parameters(path: Path) -> tuple[list[str], list[int | None]]:
    """Names of the attributes, and how many outputs each has (None: the file does not say)."""
    parameters = read_pickle(path)
    if not isinstance(parameters, dict) or not isinstance(parameters.get("attributes"), str):
        raise InputError(path, "not a dict that names attributes", REMEDY)
    names = parameters["attributes"].split(",")
    if len(set(names)) != len(names) or not all(re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name) for name in names):
        raise InputError(path, "its attributes are not distinct lower-case words", REMEDY)
    if parameters.get("n_attributes", len(names)) != len(names):
        raise InputError(path, f"n_attributes does not fit the {len(names)} names of attributes", REMEDY)
    if parameters.get("n_shared_layers", 0) != 0:
        raise InputError(path, "its classifiers share layers, which cannot be imported", "use n_shared_layers 0")
    if not isinstance(parameters.get("hidden_size"), int):
        raise InputError(path, "its classifiers have no hidden layer and cannot be imported", "use a hidden_size")
    text = parameters.get("multiclass_classes")
    if text is None:
        return names, [None] * len(names)
    counts = text.split(",") if isinstance(text, str) else []
    if len(counts) != len(names) or not all(re.fullmatch(r"[1-9]\d{0,3}", count) for count in counts):
        raise InputError(path, f"multiclass_classes {text!r:.40} does not fit {len(names)} attributes", REMEDY)
    return names, [int(count) for count in counts]


def _classifier(path: Path, state: Mapping[object, Tensor], index: int, name: str,
                count: int | None) -> AuthorsClassifier:
    tensors = {part: state[f"classifiers.{index}.classifier.{source}"] for part, source in PARTS.items()}
    hidden, out = tensors["hidden_weight"].shape, tensors["out_weight"].shape
    fits = (len(hidden) == 2 and len(out) == 2 and out[1] == hidden[0] and min(*hidden, *out) > 0
            and tensors["hidden_bias"].shape == hidden[:1] and tensors["out_bias"].shape == out[:1]
            and out[0] == (count if count is not None else 1))
    if not fits:
        shapes = [list(value.shape) for value in tensors.values()]
        raise InputError(path, f"the weights of {name} have the shapes {shapes}, which do not fit {count or 1} outputs",
                         REMEDY)
    for part, value in tensors.items():
        if not value.dtype.is_floating_point or not bool(torch.isfinite(value).all()):
            raise InputError(path, f"{part} of {name} holds NaN, infinity or whole numbers", "download it again")
    return AuthorsClassifier(name=name, **{part: value.float().clone() for part, value in tensors.items()})
