"""Image classifiers of the user's own: a TorchScript or ONNX model, and a description of what goes in and comes out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from learning.scorers.description import Description, Output, read_description
from learning.scorers.models import Model, open_model
from weights.errors import InputError

GRAY = (0.299, 0.587, 0.114)  # Luma of red, green and blue (ITU-R BT.601).
SURE = 1e-6                   # Probabilities are taken to be at least this far from 0 and 1: logits up to 13.8.


class FileScorer:
    """Scores by a model with a description; `load_file_scorer` makes one.

    Args:
        description: What the model takes and gives.
        model: Prepared pictures to outputs.
        device: Where the model computes.
    """

    def __init__(self, description: Description, model: Model, *, device: torch.device | str = "cpu") -> None:
        self.description, self.model, self.device = description, model, device

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        return {output.attribute: output.classes for output in self.description.outputs}

    @property
    def ordered(self) -> frozenset[str]:
        return frozenset(output.attribute for output in self.description.outputs if output.ordered)

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be [N, 3, R, R], not {list(pictures.shape)}")
        outputs = self.model(prepare_pictures(pictures.to(self.device), self.description))
        return {output.attribute: self._logits(output, outputs, len(pictures)).to(pictures.device)
                for output in self.description.outputs}

    def _logits(self, output: Output, outputs: Sequence[tuple[str, Any]], count: int) -> Tensor:
        """Logits [N, C] of one attribute."""
        where = f"{self.description.file}: {output.attribute}"
        values = self._chosen(output, outputs)
        fits = isinstance(values, Tensor) and values.shape[:1] == (count,) and all(n == 1 for n in values.shape[2:])
        if not fits:
            shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise InputError(where,
                             f"output {output.output!r} of the model is {shape}, and [{count}, columns] is "
                             "needed", "name another \"output\", or export the model with such an output")
        values = values.float().reshape(count, -1)
        if max(output.columns) >= values.shape[1]:
            raise InputError(None,
                             f"{where} takes column {max(output.columns)}, and output {output.output!r} has "
                             f"{values.shape[1]} columns, counted from 0", "correct \"columns\"")
        values = values[:, list(output.columns)]
        if not values.isfinite().all():
            raise InputError(where, "the model gives NaN or infinite scores",
                             "check its preprocessing in the description")
        if output.kind == "probability" and (values.min() < -1e-3 or values.max() > 1 + 1e-3):
            raise InputError(where,
                             f"the model gives {values.min():g} to {values.max():g}, which are not probabilities",
                             "set \"kind\" to \"logit\"")
        return to_logits(values, probability=output.kind == "probability", binary=len(output.classes) == 2)

    def _chosen(self, output: Output, outputs: Sequence[tuple[str, Any]]) -> Any:
        for index, (name, values) in enumerate(outputs):
            if output.output in (index, name):
                return values
        names = ", ".join(f"{index} ({name})" if name else str(index) for index, (name, _) in enumerate(outputs))
        raise InputError(self.description.file, f"{output.attribute}: the model has no output {output.output!r}",
                         f"set \"output\" to one of {names}")


def to_logits(values: Tensor, *, probability: bool, binary: bool) -> Tensor:
    """Columns of a model [N, K] as logits [N, C], finite for probabilities of 0 and 1.

    Args:
        values: One column a class, or for a binary attribute the one of the positive class.
        probability: Whether they are probabilities, not logits.
        binary: Whether column 0 is to be 0 and column 1 the logit of the positive class.
    """
    single = values.shape[1] == 1
    if probability:
        values = values.double().clamp(SURE, 1 - SURE)
        values = values.logit() if single else values.log()
    if binary:
        positive = values if single else values[:, 1:] - values[:, :1]
        values = torch.cat([torch.zeros_like(positive), positive], dim=1)
    return values.float()


def prepare_pictures(pictures: Tensor, description: Description) -> Tensor:
    """Pictures [N, 3, R, R] in [-1, 1] as the model takes them: cropped, resized, in its channels, range and layout.

    Resizing is bilinear with antialiasing, as Pillow and torchvision do it.
    """
    x = pictures.float().clamp(-1, 1) / 2 + 0.5
    if description.crop < 1:
        height, width = (max(round(side * description.crop), 1) for side in x.shape[2:])
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        x = x[:, :, top:top + height, left:left + width]
    if description.size is not None and description.size != x.shape[2:]:
        x = F.interpolate(x, size=description.size, mode="bilinear", antialias=True, align_corners=False)
    if description.channels == "gray":
        x = (x * x.new_tensor(GRAY)[:, None, None]).sum(dim=1, keepdim=True)
    elif description.channels == "bgr":
        x = x.flip(1)
    low, high = description.range
    mean, std = (x.new_tensor(values)[:, None, None] for values in (description.mean, description.std))
    x = (x * (high - low) + low - mean) / std
    return (x if description.layout == "nchw" else x.permute(0, 2, 3, 1)).contiguous()


def load_file_scorer(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> FileScorer:
    """Load the classifier that a JSON file describes (docs/scorers.md).

    Args:
        path: The description.
        device: Where a TorchScript model computes; ONNX computes on the CPU.

    Raises:
        InputError: the description is wrong, the model is missing, damaged or not what its ending says, or
            onnxruntime is not installed.
    """
    description = read_description(path)
    model, device = open_model(description.model, device)
    return FileScorer(description, model, device=device)
