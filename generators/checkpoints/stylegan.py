"""Checkpoints of StyleGAN: NVIDIA's TensorFlow pickles, and their conversion to PyTorch that GANSpace uses.

Both are brought to our names and scales. What NVIDIA's code multiplies by at run time is multiplied in here once: the
convolutions' scale, and 1 / sqrt(2) of the mapping network's biases, which our activation's gain takes back. Blocks of
less than 128 pixels repeat pixels and convolve, larger ones convolve transposed, which turns their kernels; here all
are transposed, and so the kernels of the former are turned by 180 degrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from generators.checkpoints.allow_list import Record
from generators.checkpoints.check import check_arguments, refusal
from generators.checkpoints.nvidia_tensorflow import variables_of
from generators.checkpoints.stylegan2_sizes import complete
from generators.checkpoints.stylegan_sizes import read_config
from generators.stylegan import StyleGAN, StyleGANConfig, smoothing

WORKS = "what works is an unconditional StyleGAN generator as NVIDIA published them"
VERSION = 3            # Of NVIDIA's format, which StyleGAN's pickles have.
LR_MULTIPLIER = 0.01   # Of the mapping network, in all that NVIDIA published and in GANSpace's code.
FUSED = 128            # Pixels from which on the convolution that doubles the side is a transposed one.
# Arguments of the network that must have these values, None standing for NVIDIA's default.
ONLY: Mapping[str, tuple[object, ...]] = {
    "label_size": (None, 0), "use_styles": (None, True), "const_input_layer": (None, True), "use_noise": (None, True),
    "use_pixel_norm": (None, False), "use_instance_norm": (None, True), "use_wscale": (None, True),
    "nonlinearity": (None, "lrelu"), "mapping_nonlinearity": (None, "lrelu"), "mapping_use_wscale": (None, True),
    "normalize_latents": (None, True), "num_channels": (None, 3), "fused_scale": (None, "auto"),
    "mapping_lrmul": (None, LR_MULTIPLIER)}

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
_PARTS = {"Const": "const", "Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1",
          "epi1": "const", "conv0_up": "conv0", "conv": "conv1", "conv1": "conv1"}


def read_stylegan_torch(path: Path, weights: Mapping[object, object]) -> tuple[StyleGANConfig, dict[str, Tensor]]:
    """Convert a state dict of GANSpace's StyleGAN (`g_mapping`, `g_synthesis.blocks`) to sizes and weights.

    Raises:
        InputError: a weight is none of such a generator, or they do not fit each other.
    """
    state: dict[str, Tensor] = {}
    for source, value in weights.items():
        if not isinstance(source, str) or not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            raise refusal(path, f"{source!r:.60} is no weight", WORKS)
        if not re.search(r"\.kernel$", source):  # The smoothing, which is the same in all.
            state |= _placed(path, source, _of_torch(source), value.detach().float())
    return _finished(path, state)


def read_stylegan_tensorflow(path: Path, network: Record) -> tuple[StyleGANConfig, dict[str, Tensor]]:
    """Convert the record of NVIDIA's TensorFlow network to sizes and weights.

    Raises:
        InputError: it is another kind of network, or its parts do not fit each other.
    """
    kwargs = network.state.get("static_kwargs")
    if not isinstance(kwargs, dict):
        raise refusal(path, "a TensorFlow network without its arguments", "download the file again")
    check_arguments(path, kwargs, ONLY, WORKS)
    state: dict[str, Tensor] = {}
    for source, array in variables_of(path, network):
        if source == "dlatent_avg" or re.match(r"(mapping|synthesis)/", source):
            if re.search(r"(/lod|/ToRGB_lod[1-9]\d?/(weight|bias))$", source):
                continue  # Of the growing during training.
            value = torch.from_numpy(np.array(array, np.float32, order="C"))
            if value.ndim == 4 and source.endswith("weight"):
                value = value.permute(3, 2, 0, 1)  # [H, W, in, out]
            elif value.ndim == 2:
                value = value.T
            state |= _placed(path, source, _of_tensorflow(source), value)
    return _finished(path, state)


def _of_torch(source: str) -> str:
    """Our name of a weight of GANSpace's; "" where there is none."""
    match = re.fullmatch(r"g_mapping\.dense(\d{1,2})\.(weight|bias)", source)
    if match:
        return f"mapping.fc{match[1]}.{match[2]}"
    match = re.fullmatch(r"g_synthesis\.torgb\.(weight|bias)", source)
    if match:
        return f"synthesis.torgb.{match[1]}"
    match = re.fullmatch(r"g_synthesis\.blocks\.(\d{1,4})x\d{1,4}\.(.+)", source)
    if not match:
        return "truncation" if re.fullmatch(r"truncation\.avg_latent", source) else ""
    side, rest = match[1], match[2]
    if rest in ("const", "bias"):
        return "synthesis.start" if rest == "const" else "synthesis.b4.const.bias"
    part = re.fullmatch(r"(conv0_up|conv1|conv)\.(weight|bias)", rest)
    if part:
        return f"synthesis.b{side}.{_PARTS[part[1]]}.{part[2]}"
    first = "const" if side == "4" else "conv0"
    part = re.fullmatch(r"epi([12])\.(top_epi\.noise\.weight|style_mod\.lin\.(weight|bias))", rest)
    if part:
        layer = first if part[1] == "1" else "conv1"
        return f"synthesis.b{side}.{layer}." + (f"affine.{part[3]}" if part[3] else "noise_strength")
    return ""


def _of_tensorflow(source: str) -> str:
    """Our name of NVIDIA's variable; "" where there is none."""
    for pattern, name in _VARIABLES:
        match = re.fullmatch(pattern, source)
        if match:
            return name(*match.groups())
    return ""


def _noise(index: str) -> str:
    block, part = divmod(int(index), 2)
    side = 4 * 2 ** min(block, 16)
    return f"synthesis.b{side}.{'conv1' if part else 'const' if side == 4 else 'conv0'}.noise_const"


_LAYER = r"synthesis/(\d{1,4})x\d{1,4}/(Const|Conv0_up|Conv1|Conv)/"
_VARIABLES: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"dlatent_avg", lambda: "mapping.w_avg"),
    (r"mapping/Dense(\d{1,2})/(weight|bias)", lambda i, end: f"mapping.fc{i}.{end}"),
    (r"synthesis/4x4/Const/const", lambda: "synthesis.start"),
    (r"synthesis/noise(\d{1,2})", _noise),
    (r"synthesis/ToRGB_lod0/(weight|bias)", lambda end: f"synthesis.torgb.{end}"),
    (_LAYER + "(weight|bias)", lambda side, part, end: f"synthesis.b{side}.{_PARTS[part]}.{end}"),
    (_LAYER + "Noise/weight", lambda side, part: f"synthesis.b{side}.{_PARTS[part]}.noise_strength"),
    (_LAYER + "StyleMod/(weight|bias)", lambda side, part, end: f"synthesis.b{side}.{_PARTS[part]}.affine.{end}"),
)


def _placed(path: Path, source: str, name: str, value: Tensor) -> dict[str, Tensor]:
    """A weight by our name and at our scale, linear ones as [out, in] and kernels as [out, in, k, k]."""
    if name == "truncation":
        return {"mapping.w_avg": value.reshape(-1)}
    if not name:
        raise refusal(path, f"the weight {source!r:.100} is none of a generator that can be rendered", WORKS)
    try:
        if re.fullmatch(r"mapping\.fc\d+\.bias", name):
            value = value / sqrt(2)
        elif name.endswith("noise_const"):
            value = value[0, 0]
        elif name == "synthesis.start":
            value = value[0]
        elif value.ndim == 4:
            gain = 1.0 if name.startswith("synthesis.torgb") else sqrt(2)
            value = value * (gain / sqrt(value[0].numel()))
            up = re.fullmatch(r"synthesis\.b(\d+)\.conv0\.weight", name)
            if up and int(up[1]) < FUSED:
                value = value.flip([2, 3])
    except (IndexError, RuntimeError, ZeroDivisionError) as error:
        raise refusal(path, f"the weight {source:.100} has the shape {list(value.shape)}",
                      "use another file") from error
    return {name: value}


def _finished(path: Path, state: dict[str, Tensor]) -> tuple[StyleGANConfig, dict[str, Tensor]]:
    config = read_config(path, state, mapping_lr_multiplier=LR_MULTIPLIER)
    return config, complete(path, config, state, StyleGAN, smoothing)
