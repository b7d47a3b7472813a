"""A direction in a generator's weights, as edits use it; deformations as NaviGAN's authors saved them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from directions.control import Direction, KeepList
from directions.methods import MethodName
from generators import Deformation, Generator, StyleGAN2
from generators.checkpoints.unpickle import read_pickle
from weights.errors import InputError

UNIT_TOLERANCE = 0.02  # Of a direction's length, wide enough for bfloat16.
REMEDY = "give a deformation as NaviGAN's authors save it (a .pt with layer_ix and shift)"


@dataclass(frozen=True, kw_only=True)
class WeightDirection(Direction):
    """A shift of the weight of one convolution (NaviGAN, Cherepkov et al. 2021). It belongs to these weights alone."""

    deformation: Deformation  # Of unit length.
    weights: str              # `Generator.hash`.

    def __post_init__(self) -> None:
        shift = self.deformation.direction
        if shift.ndim != 4 or abs(float(shift.float().norm()) - 1) > UNIT_TOLERANCE:
            raise ValueError(f"{self.name}: a direction of weights must be [O, C, k, k] and of length 1, not "
                             f"{list(shift.shape)} of {float(shift.float().norm()):g}")
        super().__post_init__()

    @property
    def method(self) -> MethodName:
        return "navigan"

    @property
    def outputs(self) -> int:
        return 1

    @property
    def width(self) -> int:
        return self.deformation.direction.numel()

    def check(self, generator: Generator) -> None:
        """Refuse other weights.

        Raises:
            InputError: the message names both.
        """
        if generator.hash != self.weights:
            raise InputError(self.name, f"moves the weights of the generator {self.weights[:12]}, and the loaded one "
                             f"has others ({generator.hash[:12]})", "load that generator, or find directions of this "
                             "one (`gradctrl discover weights`)")

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        return self.deformation.direction.flatten().expand(len(x), -1)

    def tensors(self) -> dict[str, Tensor]:
        return {"shift": self.deformation.direction}

    def settings(self) -> dict[str, Any]:
        return {"convolution": self.deformation.layer, "weights": self.weights}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, deformation=self.deformation.to(device, dtype))


def weight_direction(shift: Tensor, *, layer: str, weights: str, name: str, length: float = 0.0,
                     report: Mapping[str, object] | None = None) -> WeightDirection:
    """A direction of weights of a shift of any length.

    Args:
        shift: [O, C, k, k]
        layer: The convolution that it is of.
        weights: `Generator.hash`.
        name: What it is to be called.
        length: Of strength 1; below 0: the other way; 0: the shift's own.
        report: What else is known of it.
    Raises:
        InputError: the shift is 0 everywhere, or not finite.
    """
    own = float(shift.double().norm())
    if not 0 < own < float("inf"):
        raise InputError(name, f"its shift has the length {own:g}, which is no direction", "give another")
    length = length or own
    unit = (shift.double() / own).float() * (1 if length > 0 else -1)
    return WeightDirection(name=name, deformation=Deformation(layer, unit), weights=weights, units=(abs(length),),
                           step=abs(length), report=dict(report or {}))


def import_deformation(path: str | os.PathLike[str], generator: Generator, *, name: str) -> WeightDirection:
    """A deformation that NaviGAN's authors saved, as a direction; strength 1 is its own length.

    Args:
        path: The .pt file; nothing in it is run.
        generator: A StyleGAN2: `layer_ix` counts its 3x3 convolutions after that of 4 pixels.
        name: What to call it.
    Raises:
        InputError: the file is hostile, damaged or no deformation, or it is of weights of another shape.
    """
    path = Path(path)
    saved = read_pickle(path)
    if not isinstance(saved, dict) or not {"layer_ix", "shift"} <= saved.keys():
        raise InputError(path, "is not a deformation", REMEDY)
    index, shift = saved["layer_ix"], saved["shift"]
    if not isinstance(index, int) or isinstance(index, bool) or not isinstance(shift, Tensor):
        raise InputError(path, "layer_ix is no index, or shift no tensor", REMEDY)
    if not isinstance(generator, StyleGAN2):
        raise InputError(path, "is of a StyleGAN2, and the loaded generator is none", "load that StyleGAN2 "
                         "(--generator)")
    layers = list(generator.convolutions().items())[1:]
    if not 0 <= index < len(layers):
        raise InputError(path, f"there is no convolution {index} in this generator", f"it has 0 to {len(layers) - 1}")
    layer, weight = layers[index]
    wanted = generator.get_parameter(weight).shape
    if shift.numel() != wanted.numel() or shift.squeeze().shape != torch.empty(wanted, device="meta").squeeze().shape:
        raise InputError(path, f"its shift has the shape {list(shift.shape)}, and the convolution {layer} has "
                         f"{list(wanted)}", "load the generator that it was made for")
    if not shift.is_floating_point():
        raise InputError(path, "its shift holds no numbers with a point", REMEDY)
    return weight_direction(shift.reshape(wanted), layer=layer, weights=generator.hash, name=name,
                            report={"imported from": "a deformation of NaviGAN's authors", "layer_ix": index})
