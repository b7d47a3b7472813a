"""NVIDIA's PyTorch pickles (stylegan2-ada-pytorch and stylegan3 repositories), the networks of StyleGAN2.

Such a file is a dict of networks; G_ema is the one to render. Each module of a network was written by NVIDIA's
`torch_utils.persistence` as its class name, its Python source (dropped unread here) and its `__dict__`, in which the
parameters, buffers and submodules stand as in any torch module.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, sqrt
from pathlib import Path

import torch
from torch import Tensor

from generators.checkpoints.allow_list import Record
from generators.checkpoints.check import is_plain, refusal
from generators.checkpoints.stylegan2_sizes import complete, read_config
from generators.stylegan2 import StyleGAN2Config

DEEPEST = 8  # Modules within modules; StyleGAN2 has five.
CONSTANTS = ("c_dim", "architecture", "activation", "weight_gain", "bias_gain", "conv_clamp", "use_noise", "resolution")
WORKS = "what works is a StyleGAN2 generator with skip connections"


def read_nvidia_torch(path: Path, generator: Record) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    """Convert the record of a generator to its sizes and its weights.

    Raises:
        InputError: it is another kind of network, or its parts do not fit each other.
    """
    modules = dict(_walk(path, generator, ""))
    _check_kind(path, generator, modules)
    state = {f"{prefix}.{name}" if prefix else name: value for prefix, module in modules.items()
             for field in ("_parameters", "_buffers") for name, value in _members(path, module, field).items()
             if isinstance(value, Tensor)}
    for prefix, module in modules.items():
        if module.class_name == "SynthesisLayer" and module.state.get("use_noise") is False:
            _add_silent_noise(path, prefix, module, state)
    config = read_config(path, state, mapping_lr_multiplier=_lr_multiplier(path, modules),
                         conv_clamp=_conv_clamp(path, modules))
    return config, complete(path, config, state)


def _walk(path: Path, module: Record, prefix: str, depth: int = 0) -> Iterator[tuple[str, Record]]:
    if depth > DEEPEST:
        raise refusal(path, "modules nested without end", WORKS)
    yield prefix, module
    for name, child in _members(path, module, "_modules").items():
        if isinstance(child, Record):
            yield from _walk(path, child, f"{prefix}.{name}" if prefix else name, depth + 1)


def _members(path: Path, module: Record, field: str) -> dict[str, object]:
    members = module.state.get(field, {})
    if not isinstance(members, dict) or not all(isinstance(name, str) for name in members):
        raise refusal(path, f"{field} of {module.class_name} is not a dict of names", "download the file again")
    return members


def _check_kind(path: Path, generator: Record, modules: dict[str, Record]) -> None:
    for prefix, module in modules.items():
        for name in CONSTANTS:
            if not is_plain(module.state.get(name)):
                raise refusal(path, f"{name} of {prefix} is neither a number nor text", "download the file again")
    if generator.class_name != "Generator" or "synthesis" not in modules or "mapping" not in modules:
        raise refusal(path, f"a network of the class {generator.class_name}, not a StyleGAN2 generator", WORKS)
    if "synthesis.input" in modules or "layer_names" in modules["synthesis"].state:
        raise refusal(path, "a StyleGAN3 network", WORKS)
    if (generator.state.get("c_dim", 0) != 0) != ("mapping.embed" in modules):
        raise refusal(path, f"a network of c_dim {generator.state.get('c_dim')} with classes embedded otherwise", WORKS)
    for prefix, module in modules.items():
        architecture = module.state.get("architecture", "skip")
        if architecture != "skip":
            raise refusal(path, f"a network of the architecture {architecture!r}", WORKS)
        activation = module.state.get("activation", "lrelu")
        if activation != ("linear" if prefix.endswith((".affine", ".embed")) else "lrelu"):
            raise refusal(path, f"{prefix} has the activation {activation!r}", WORKS)


def _lr_multiplier(path: Path, modules: dict[str, Record]) -> float:
    """Read the learning-rate multiplier of the mapping network, and check the run-time gains of all linear layers."""
    gains = {prefix: (module.state.get("weight_gain"), module.state.get("bias_gain"), _inputs(path, module))
             for prefix, module in modules.items() if module.class_name == "FullyConnectedLayer"}
    multiplier = gains.get("mapping.fc0", (None, None, 0))[1]
    if not isinstance(multiplier, (int, float)) or multiplier <= 0:
        raise refusal(path, "mapping.fc0 does not tell its learning-rate multiplier (bias_gain)", WORKS)
    for prefix, (weight_gain, bias_gain, inputs) in gains.items():
        wanted = multiplier if prefix.startswith("mapping.fc") else 1.0
        fits = isinstance(weight_gain, (int, float)) and isclose(weight_gain * sqrt(inputs), wanted, rel_tol=1e-5)
        if bias_gain != wanted or not fits:
            raise refusal(path, f"{prefix} has the gains {weight_gain!r} and {bias_gain!r}, which StyleGAN2 does not",
                          WORKS)
    return float(multiplier)


def _inputs(path: Path, module: Record) -> int:
    for field in ("_parameters", "_buffers"):  # A frozen layer keeps its weight as a buffer.
        weight = _members(path, module, field).get("weight")
        if isinstance(weight, Tensor) and weight.ndim == 2:
            return int(weight.shape[1])
    return 0


def _conv_clamp(path: Path, modules: dict[str, Record]) -> float | None:
    values = {module.state.get("conv_clamp") for module in modules.values() if "conv_clamp" in module.state}
    if len(values) > 1 or not all(value is None or isinstance(value, (int, float)) for value in values):
        raise refusal(path, "its layers are clamped at different values", WORKS)
    value = values.pop() if values else None
    return float(value) if isinstance(value, (int, float)) else None


def _add_silent_noise(path: Path, prefix: str, module: Record, state: dict[str, Tensor]) -> None:
    """A layer trained without noise renders the same as one whose noise has the strength 0."""
    side = module.state.get("resolution")
    if not isinstance(side, int) or not 4 <= side <= 1024:
        raise refusal(path, f"{prefix} does not tell its resolution", WORKS)
    state[f"{prefix}.noise_const"] = torch.zeros(side, side)
    state[f"{prefix}.noise_strength"] = torch.zeros([])
