"""What a generator's weights must look like, and the check that every reader's result passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from generators.stylegan2 import StyleGAN2Config
from weights.errors import InputError

LARGEST_SIDE = 1024


def refusal(path: Path, what: str, remedy: str) -> InputError:
    """The one-line error for a checkpoint that cannot be used, to be raised."""
    return InputError(path, what, remedy)


def is_plain(value: object) -> bool:
    """Whether a value from a file is a number, text or nothing: then comparing and showing it is quick and safe."""
    return value is None or isinstance(value, (bool, int, float, str))


def expected_shapes(config: StyleGAN2Config) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter and buffer of the generator, by NVIDIA's names."""
    shapes: dict[str, tuple[int, ...]] = {"mapping.w_avg": (config.w_dim,)}
    for index in range(config.mapping_layers):
        _linear(shapes, f"mapping.fc{index}", config.z_dim if index == 0 else config.w_dim, config.w_dim)
    before = 0
    for side, channels in zip(config.resolutions, config.channels, strict=True):
        block = f"synthesis.b{side}"
        shapes[f"{block}.resample_filter"] = (4, 4)
        if before == 0:
            shapes[f"{block}.const"] = (channels, side, side)
        else:
            _convolution(shapes, f"{block}.conv0", before, channels, side, config.w_dim)
        _convolution(shapes, f"{block}.conv1", channels, channels, side, config.w_dim)
        _linear(shapes, f"{block}.torgb.affine", config.w_dim, channels)
        shapes[f"{block}.torgb.weight"] = (config.img_channels, channels, 1, 1)
        shapes[f"{block}.torgb.bias"] = (config.img_channels,)
        before = channels
    return shapes


def _linear(shapes: dict[str, tuple[int, ...]], name: str, inputs: int, outputs: int) -> None:
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)


def _convolution(shapes: dict[str, tuple[int, ...]], name: str, inputs: int, outputs: int, side: int,
                 w_dim: int) -> None:
    _linear(shapes, f"{name}.affine", w_dim, inputs)
    shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, 3, 3), (outputs,)
    shapes[f"{name}.noise_const"], shapes[f"{name}.noise_strength"] = (side, side), ()
    shapes[f"{name}.resample_filter"] = (4, 4)


def read_config(path: Path, state: Mapping[str, Tensor], *, mapping_lr_multiplier: float,
                conv_clamp: float | None = None) -> StyleGAN2Config:
    """Derive all sizes from the shapes of the weights, named as NVIDIA names them.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    sides = sorted(int(name[11:-13]) for name in state if re.fullmatch(r"synthesis\.b\d{1,5}\.conv1\.weight", name))
    layers = sum(re.fullmatch(r"mapping\.fc\d{1,3}\.weight", name) is not None for name in state)
    if not sides or sides[-1] > LARGEST_SIDE:
        raise refusal(path, f"synthesis of {sides[-1] if sides else 0} pixels",
                      "use a StyleGAN2 generator of 32 to 1024 pixels")
    if not 1 <= layers <= 64:
        raise refusal(path, f"{layers} layers in the mapping network", "use a whole StyleGAN2 generator")

    def size(name: str, axis: int) -> int:
        if name not in state:
            raise refusal(path, f"the weight {name} is missing", "download the file again or use another one")
        if state[name].ndim <= axis:
            raise refusal(path, f"the weight {name} has the shape {list(state[name].shape)}", "use another file")
        return int(state[name].shape[axis])

    resolutions = [4 * 2 ** i for i in range((sides[-1] // 4).bit_length())]
    try:
        return StyleGAN2Config(
            img_resolution=sides[-1],
            channels=tuple(size(f"synthesis.b{side}.conv1.weight", 0) for side in resolutions),
            z_dim=size("mapping.fc0.weight", 1),
            w_dim=size("mapping.fc0.weight", 0),
            img_channels=size("synthesis.b4.torgb.weight", 0),
            mapping_layers=layers,
            mapping_lr_multiplier=mapping_lr_multiplier,
            conv_clamp=conv_clamp,
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def check_state(path: Path, config: StyleGAN2Config, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as float32, each with memory of its own, after checking names, shapes and numbers.

    Raises:
        InputError: names the first weight that is missing, unexpected, of a wrong shape or not finite.
    """
    shapes = expected_shapes(config)
    for name in shapes.keys() - state.keys():
        raise refusal(path, f"the weight {name} is missing", "download the file again or use another one")
    for name in sorted(state.keys() - shapes.keys()):
        raise refusal(path, f"there is a weight {name[:100]!r} that a StyleGAN2 generator does not have",
                      "use another file")
    result = {}
    for name, shape in shapes.items():
        value = state[name]
        if tuple(value.shape) != shape:
            raise refusal(path, f"the weight {name} has the shape {list(value.shape)} where {list(shape)} is needed",
                          "use another file")
        if not value.dtype.is_floating_point:
            raise refusal(path, f"the weight {name} holds {value.dtype} numbers", "use another file")
        result[name] = value.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        if not bool(torch.isfinite(result[name]).all()):
            raise refusal(path, f"the weight {name} holds NaN or infinity",
                          "download the file again or use another one")
    return result
