"""From torchvision's file of VGG16 to the one that is stored: safetensors, always the same bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from generators.checkpoints.unpickle import read_pickle
from weights.errors import InputError
from weights.tensors import write_tensors

# The 13 convolutions of VGG16: their index among torchvision's `features`, and their numbers of channels.
VGG16 = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
                 ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), (512, 512),
                  (512, 512), (512, 512), (512, 512), (512, 512)), strict=True))


def convert_vgg16(source: Path, out: Path) -> None:
    """Write the convolutions of torchvision's own file as `features.N.weight` [out, in, 3, 3] and `.bias` [out].

    Raises:
        InputError: the source is damaged or is another file.
    """
    state = read_pickle(source)
    tensors = state if isinstance(state, dict) else {}
    result = {}
    for index, (inputs, outputs) in VGG16.items():
        for part, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
            value = tensors.get(f"features.{index}.{part}")
            if not isinstance(value, Tensor) or value.shape != shape or not bool(torch.isfinite(value).all()):
                raise InputError(source, f"not the weights of VGG16 (features.{index}.{part})", "download it again")
            result[f"features.{index}.{part}"] = value.float().contiguous()
    write_tensors(out, result, {"what": "the convolutions of torchvision's ImageNet VGG16 (BSD-3-Clause)"})
