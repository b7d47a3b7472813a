"""NVIDIA's TensorFlow pickles (the family of stylegan2-ffhq-config-f.pkl).

Such a file holds three networks: generator, discriminator and the averaged generator Gs, which is the one to render.
Each knows its arguments (`static_kwargs`), its parts (`components`: mapping and synthesis) and its `variables`.

What differs from the PyTorch release: matrices are [in, out] and kernels [height, width, in, out]; the kernels of the
up-sampling convolutions are turned by 180 degrees; the bias of a style is stored without its initial 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from generators.checkpoints.allow_list import Record
from generators.checkpoints.check import expected_shapes, is_plain, refusal
from generators.checkpoints.stylegan2_sizes import complete, read_config
from generators.stylegan2 import StyleGAN2, StyleGAN2Config

WORKS = "what works is an unconditional StyleGAN2 generator with skip connections"
OLDEST = 4  # The version of NVIDIA's format that StyleGAN2 began with; StyleGAN's is older.
# Arguments that do not change what is rendered, or whose effect is in the shapes of the variables.
HARMLESS = {"latent_size", "dlatent_size", "resolution", "num_channels", "mapping_layers", "mapping_fmaps",
            "label_fmaps", "fmap_base", "fmap_max", "num_fp16_res", "w_avg_beta", "truncation_psi",
            "truncation_cutoff", "style_mixing_prob", "structure"}
# Arguments that do, with the values that can be rendered; None stands for NVIDIA's default.
ONLY = {"label_size": (None, 0), "mapping_nonlinearity": (None, "lrelu"), "nonlinearity": (None, "lrelu"),
        "architecture": (None, "skip"), "use_noise": (None, True, False)}
READ = {"mapping_lrmul", "conv_clamp", "resample_kernel"}

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
Convert = Callable[[Array], Array]


def read_nvidia_tensorflow(path: Path, network: Record) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    """Convert the record of a TensorFlow network to its sizes and its weights.

    Raises:
        InputError: it is another kind of network, or its parts do not fit each other.
    """
    kwargs = _arguments(path, network)
    variables = dict(variables_of(path, network))
    state = {name: torch.from_numpy(np.array(convert(variables[source]), np.float32, order="C"))
             for source, name, convert in _plan(path, variables)}
    if kwargs.get("use_noise") is False:
        for name in [name for name in state if name.endswith(".noise_strength")]:
            state[name] = torch.zeros([])
    config = read_config(path, state, mapping_lr_multiplier=_positive(path, kwargs, "mapping_lrmul", 0.01),
                         conv_clamp=_positive(path, kwargs, "conv_clamp") if kwargs.get("conv_clamp") else None)
    kernel = _filter(path, kwargs)
    state |= {name: kernel for name in expected_shapes(StyleGAN2, config) if name.endswith("resample_filter")}
    return config, complete(path, config, state)


def _arguments(path: Path, network: Record) -> dict[str, object]:
    version, kwargs = network.state.get("version"), network.state.get("static_kwargs")
    if not isinstance(version, int) or version < OLDEST:
        raise refusal(path, f"a TensorFlow network of version {version!r:.20}, older than StyleGAN2", WORKS)
    if not isinstance(kwargs, dict):
        raise refusal(path, "a TensorFlow network without its arguments", "download the file again")
    for name, value in kwargs.items():
        if name not in HARMLESS | ONLY.keys() | READ:
            raise refusal(path, f"the network has the unknown argument {name!r:.60}", WORKS)
        if not all(map(is_plain, value if isinstance(value, (list, tuple)) else [value])):
            raise refusal(path, f"the network's argument {name} is neither a number nor text", WORKS)
        if name in ONLY and not any(type(value) is type(allowed) and value == allowed for allowed in ONLY[name]):
            raise refusal(path, f"the network has {name} = {value!r:.60}", WORKS)
    return kwargs


def variables_of(path: Path, network: Record, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    """The variables of a network and its components, by name: "synthesis/4x4/Const/const".

    Raises:
        InputError: there are none, or one is not a name with numbers.
    """
    variables, components = network.state.get("variables"), network.state.get("components")
    if depth > 2 or not isinstance(variables, list) or not isinstance(components, dict):
        raise refusal(path, "a TensorFlow network without variables and components", "download the file again")
    for item in variables:
        match item:
            case (str(name), np.ndarray() | float() | int() as value):
                yield prefix + name, np.asarray(value)
            case _:
                raise refusal(path, "a variable without name and numbers", "download the file again")
    for name, component in components.items():
        if isinstance(component, Record):
            yield from variables_of(path, component, f"{prefix}{name}/", depth + 1)


def _plan(path: Path, variables: Mapping[str, Array]) -> Iterator[tuple[str, str, Convert]]:
    """For each variable that is a weight: its name here, NVIDIA's PyTorch name, and how to convert it."""
    for source, value in variables.items():
        for pattern, ndim, name, convert in _RULES:
            match = re.fullmatch(pattern, source)
            if match and value.ndim != ndim:
                raise refusal(path, f"the variable {source} has the shape {list(value.shape)}", "use another file")
            if match:
                yield source, name(*match.groups()), convert
                break
        else:
            if re.search(r"(weight|bias|const|noise_strength|/noise\d+)$", source):
                raise refusal(path, f"the variable {source!r:.100} is none of a generator that can be rendered", WORKS)


def _same(value: Array) -> Array:
    return value


def _kernel(value: Array) -> Array:  # [H, W, in, out] -> [out, in, H, W]
    return value.transpose(3, 2, 0, 1)


def _turned_kernel(value: Array) -> Array:
    return value[::-1, ::-1].transpose(3, 2, 0, 1)


def _noise_name(index: str) -> str:
    """noise0 is that of 4 pixels; then two for each block, of its conv0 and conv1."""
    block, layer = divmod(int(index) + 1, 2)
    return f"synthesis.b{4 * 2 ** min(block, 16)}.conv{layer}.noise_const"


_LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
_LAYER = r"synthesis/(\d{1,5})x\d{1,5}/(Conv|Conv0_up|Conv1|ToRGB)/"


def _layer(end: str) -> Callable[[str, str], str]:
    return lambda side, layer: f"synthesis.b{side}.{_LAYERS[layer]}.{end}"


# Pattern of the variable's name, its number of dimensions, its PyTorch name, and the conversion; the first fit counts.
_RULES: list[tuple[str, int, Callable[..., str], Convert]] = [
    (r"dlatent_avg", 1, lambda: "mapping.w_avg", _same),
    (r"mapping/Dense(\d{1,3})/weight", 2, lambda i: f"mapping.fc{i}.weight", np.transpose),
    (r"mapping/Dense(\d{1,3})/bias", 1, lambda i: f"mapping.fc{i}.bias", _same),
    (r"synthesis/4x4/Const/const", 4, lambda: "synthesis.b4.const", lambda value: value[0]),
    (r"synthesis/noise(\d{1,3})", 4, _noise_name, lambda value: value[0, 0]),
    (r"synthesis/(\d{1,5})x\d{1,5}/(Conv0_up)/weight", 4, _layer("weight"), _turned_kernel),
    (_LAYER + "weight", 4, _layer("weight"), _kernel),
    (_LAYER + "bias", 1, _layer("bias"), _same),
    (_LAYER + "noise_strength", 0, _layer("noise_strength"), _same),
    (_LAYER + "mod_weight", 2, _layer("affine.weight"), np.transpose),
    (_LAYER + "mod_bias", 1, _layer("affine.bias"), lambda value: value + 1),
]


def _positive(path: Path, kwargs: Mapping[str, object], name: str, default: float | None = None) -> float:
    value = kwargs.get(name)
    value = default if value is None else value
    if not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise refusal(path, f"the network has {name} = {value!r:.60}", WORKS)
    return float(value)


def _filter(path: Path, kwargs: Mapping[str, object]) -> Tensor:
    taps = kwargs.get("resample_kernel") or [1, 3, 3, 1]
    if not isinstance(taps, (list, tuple)) or len(taps) != 4 or not all(isinstance(tap, (int, float)) for tap in taps):
        raise refusal(path, f"the network has resample_kernel = {taps!r:.60}", WORKS)
    row = torch.tensor([float(tap) for tap in taps])
    return row.outer(row) / row.sum() ** 2
