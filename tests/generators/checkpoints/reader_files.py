"""Small checkpoints in other people's formats, written the way their own code writes them.

The numbers come from the weights' names, so that every file is the same on every machine.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import types
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generators.stylegan2 import StyleGAN2Config

CONFIG = StyleGAN2Config(img_resolution=32, channels=(24, 24, 16, 8), z_dim=20, w_dim=20, mapping_layers=2)
SOURCE = "raise SystemExit('the source in the file was run')"  # Where NVIDIA's files carry Python source.


def numbers(name: str, *shape: int) -> np.ndarray:
    """Numbers that depend on the name alone; biases are small and mapping weights large, as in real files."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith(("bias", "noise_strength", "noise.weight")):
        values *= np.float32(0.2)
    return values * np.float32(100) if name.startswith(("mapping.fc", "style.", "Dense")) else values


def fir() -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return taps.outer(taps) / 64


# --- NVIDIA, PyTorch ---


class Module:
    """Writes itself as torch_utils.persistence does: class name, source and `__dict__`."""

    def __init__(self, class_name: str, **state: object) -> None:
        self.class_name = class_name
        self.state: dict[str, Any] = {
            "training": False,
            "_parameters": OrderedDict(),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
            "_non_persistent_buffers_set": set(),
            "_init_args": (),
            "_forward_hooks": OrderedDict(),
            **state,
        }

    def add(self, name: str, *shape: int, prefix: str = "", buffer: bool = False) -> None:
        full = f"{prefix}.{name}"
        value = fir() if name == "resample_filter" else torch.from_numpy(np.array(numbers(full, *shape)))
        kind = "_buffers" if buffer else "_parameters"
        self.state[kind][name] = value if buffer else torch.nn.Parameter(value)

    def __reduce__(self) -> tuple[object, ...]:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


@contextmanager
def fake_modules(*names: str) -> Iterator[list[types.ModuleType]]:
    """Modules of these names, with their parents, for as long as a file is being written."""
    wanted = [".".join(name.split(".")[: i + 1]) for name in names for i in range(name.count(".") + 1)]
    before = {name: sys.modules.get(name) for name in wanted}
    sys.modules.update({name: types.ModuleType(name) for name in wanted})
    try:
        yield [sys.modules[name] for name in names]
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def nvidia_modules(config: StyleGAN2Config = CONFIG, *, use_noise: bool = True) -> Module:
    """The generator as records of NVIDIA's modules."""

    def linear(prefix: str, inputs: int, outputs: int, lr: float, activation: str) -> Module:
        module = Module(
            "FullyConnectedLayer", activation=activation, bias_gain=lr, weight_gain=np.float64(lr) / np.sqrt(inputs)
        )
        module.add("weight", outputs, inputs, prefix=prefix)
        module.add("bias", outputs, prefix=prefix)
        return module

    def layer(prefix: str, kind: str, inputs: int, outputs: int, kernel: int, side: int) -> Module:
        module = Module(kind, conv_clamp=config.conv_clamp)
        module.state["_modules"]["affine"] = linear(f"{prefix}.affine", config.w_dim, inputs, 1, "linear")
        module.add("weight", outputs, inputs, kernel, kernel, prefix=prefix)
        if kind == "SynthesisLayer":
            module.state |= {"activation": "lrelu", "use_noise": use_noise, "resolution": side}
            module.add("resample_filter", prefix=prefix, buffer=True)
            if use_noise:
                module.add("noise_const", side, side, prefix=prefix, buffer=True)
                module.add("noise_strength", prefix=prefix)
        module.add("bias", outputs, prefix=prefix)
        return module

    mapping = Module("MappingNetwork", num_layers=config.mapping_layers)
    embedded = config.w_dim if config.c_dim else 0
    if config.c_dim:
        mapping.state["_modules"]["embed"] = linear("mapping.embed", config.c_dim, config.w_dim, 1, "linear")
    for i in range(config.mapping_layers):
        mapping.state["_modules"][f"fc{i}"] = linear(
            f"mapping.fc{i}",
            config.z_dim + embedded if i == 0 else config.w_dim,
            config.w_dim,
            config.mapping_lr_multiplier,
            "lrelu",
        )
    mapping.add("w_avg", config.w_dim, prefix="mapping", buffer=True)
    synthesis = Module("SynthesisNetwork", img_resolution=config.img_resolution)
    before = 0
    for side, channels in zip(config.resolutions, config.channels, strict=True):
        prefix = f"synthesis.b{side}"
        block = Module("SynthesisBlock", architecture="skip", resolution=side, use_fp16=side > 16)
        block.add("resample_filter", prefix=prefix, buffer=True)
        parts = block.state["_modules"]
        if before:
            parts["conv0"] = layer(f"{prefix}.conv0", "SynthesisLayer", before, channels, 3, side)
        else:
            block.add("const", channels, 4, 4, prefix=prefix)
        parts["conv1"] = layer(f"{prefix}.conv1", "SynthesisLayer", channels, channels, 3, side)
        parts["torgb"] = layer(f"{prefix}.torgb", "ToRGBLayer", channels, 3, 1, side)
        synthesis.state["_modules"][f"b{side}"] = block
        before = channels
    generator = Module("Generator", z_dim=config.z_dim, c_dim=config.c_dim, w_dim=config.w_dim)
    generator.state["_modules"] |= {"synthesis": synthesis, "mapping": mapping}
    return generator


def write_nvidia_torch(path: Path, generator: Module | None = None, protocol: int = 4) -> Path:
    """A file as stylegan2-ada-pytorch and stylegan3 write it."""
    with fake_modules("torch_utils.persistence", "dnnlib.util") as (persistence, util):

        def _reconstruct_persistent_obj(meta: object) -> None:
            raise AssertionError

        class EasyDict(dict):
            pass

        for module, thing in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
            thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
            setattr(module, thing.__name__, thing)
        data = {
            "G": None,
            "D": Module("Discriminator"),
            "G_ema": generator or nvidia_modules(),
            "augment_pipe": None,
            "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", xflip=True),
        }
        path.write_bytes(pickle.dumps(data, protocol))
    return path


def state_of(module: Module, prefix: str = "") -> dict[str, Tensor]:
    """The weights within the records, by their full names."""
    state = {
        prefix + name: value.detach()
        for kind in ("_parameters", "_buffers")
        for name, value in module.state[kind].items()
    }
    for name, child in module.state["_modules"].items():
        state |= state_of(child, f"{prefix}{name}.")
    return state


# --- NVIDIA, TensorFlow ---


def tensorflow_variables(config: StyleGAN2Config = CONFIG) -> dict[str, list[tuple[str, object]]]:
    """Variables of the network itself and of its two components, shaped as TensorFlow has them."""
    mapping = [
        (f"Dense{i}/{end}", numbers(f"Dense{i}/{end}", *shape))
        for i in range(config.mapping_layers)
        for end, shape in (("weight", (config.w_dim, config.w_dim)), ("bias", (config.w_dim,)))
    ]
    synthesis: list[tuple[str, object]] = []
    for i in range(2 * int(log2(config.img_resolution)) - 3):
        side = 2 ** ((i + 5) // 2)
        synthesis.append((f"noise{i}", numbers(f"noise{i}", 1, 1, side, side)))

    def layer(name: str, inputs: int, outputs: int, kernel: int) -> None:
        for end, shape in (
            ("weight", (kernel, kernel, inputs, outputs)),
            ("mod_weight", (config.w_dim, inputs)),
            ("mod_bias", (inputs,)),
            ("bias", (outputs,)),
        ):
            synthesis.append((f"{name}/{end}", numbers(f"{name}/{end}", *shape)))
        if kernel == 3:
            synthesis.append((f"{name}/noise_strength", np.float32(numbers(f"{name}/noise_strength"))))

    before = 0
    for side, channels in zip(config.resolutions, config.channels, strict=True):
        if before:
            layer(f"{side}x{side}/Conv0_up", before, channels, 3)
        else:
            synthesis.append(("4x4/Const/const", numbers("4x4/Const/const", 1, channels, 4, 4)))
        layer(f"{side}x{side}/{'Conv1' if before else 'Conv'}", channels, channels, 3)
        layer(f"{side}x{side}/ToRGB", channels, 3, 1)
        before = channels
    return {
        "": [("lod", np.float32(0)), ("dlatent_avg", numbers("dlatent_avg", config.w_dim))],
        "mapping": mapping,
        "synthesis": synthesis,
    }


TENSORFLOW_ARGUMENTS = {
    "num_channels": 3,
    "resolution": 32,
    "label_size": 0,
    "latent_size": 20,
    "dlatent_size": 20,
    "mapping_layers": 2,
    "fmap_base": 128,
    "fmap_max": 24,
    "truncation_psi": None,
}


def write_nvidia_tensorflow(
    path: Path,
    variables: dict[str, list[tuple[str, object]]] | None = None,
    *,
    version: int = 4,
    protocol: int = 4,
    **arguments: object,
) -> Path:
    """A file as the TensorFlow release of StyleGAN2 writes it: three networks, of which the last counts."""
    variables = variables or tensorflow_variables()
    with fake_modules("dnnlib.tflib.network") as (module,):

        class Network:
            def __init__(self, name: str, variables: object, components: object, arguments: object = None) -> None:
                self.state: dict[str, Any] = {
                    "version": version,
                    "name": name,
                    "static_kwargs": arguments or {},
                    "variables": variables,
                    "components": components,
                    "build_module_src": SOURCE,
                    "build_func_name": name,
                }

            def __getstate__(self) -> dict[str, object]:
                return self.state

            def __setstate__(self, state: object) -> None:
                raise AssertionError

        Network.__module__, Network.__qualname__ = module.__name__, "Network"
        module.Network = Network  # type: ignore[attr-defined]
        parts = {name: Network(f"G_{name}", variables[name], {}) for name in ("mapping", "synthesis")}
        averaged = Network("Gs", variables[""], parts, {**TENSORFLOW_ARGUMENTS, **arguments})
        other = Network("D", [], {})
        path.write_bytes(pickle.dumps((other, other, averaged), protocol))
    return path


# --- rosinality ---


def rosinality_weights(config: StyleGAN2Config = CONFIG) -> dict[str, Tensor]:
    """The state dict of rosinality's generator."""
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.from_numpy(np.array(numbers(name, *shape)))
        if name.endswith("modulation.bias"):
            state[name] += 1

    def conv(name: str, inputs: int, outputs: int, kernel: int, end: Callable[[], None]) -> None:
        add(f"{name}.conv.weight", 1, outputs, inputs, kernel, kernel)
        add(f"{name}.conv.modulation.weight", inputs, config.w_dim)
        add(f"{name}.conv.modulation.bias", inputs)
        end()

    def styled(name: str, inputs: int, outputs: int) -> None:
        def end() -> None:
            add(f"{name}.noise.weight", 1)
            add(f"{name}.activate.bias", outputs)

        conv(name, inputs, outputs, 3, end)

    for i in range(config.mapping_layers):
        add(f"style.{i + 1}.weight", config.w_dim, config.w_dim)
        add(f"style.{i + 1}.bias", config.w_dim)
    add("input.input", 1, config.channels[0], 4, 4)
    styled("conv1", config.channels[0], config.channels[0])
    conv("to_rgb1", config.channels[0], 3, 1, lambda: add("to_rgb1.bias", 1, 3, 1, 1))
    for i in range(2 * len(config.channels) - 1):
        side = 2 ** ((i + 5) // 2)
        add(f"noises.noise_{i}", 1, 1, side, side)
    for i, (inputs, outputs) in enumerate(pairwise(config.channels)):
        state[f"convs.{2 * i}.conv.blur.kernel"] = fir() * 4
        styled(f"convs.{2 * i}", inputs, outputs)
        styled(f"convs.{2 * i + 1}", outputs, outputs)
        state[f"to_rgbs.{i}.upsample.kernel"] = fir() * 4
        conv(f"to_rgbs.{i}", outputs, 3, 1, lambda name=f"to_rgbs.{i}": add(f"{name}.bias", 1, 3, 1, 1))  # type: ignore[misc]
    return state


def write_rosinality(
    path: Path, weights: dict[str, Tensor] | None = None, *, zip_file: bool = True, latent_avg: bool = True
) -> Path:
    """A file as rosinality's train.py or convert_weight.py writes it."""
    weights = rosinality_weights() if weights is None else weights
    data: dict[str, object] = {"g": weights, "g_ema": OrderedDict(weights), "args": argparse.Namespace(size=32)}
    if latent_avg:
        data["latent_avg"] = torch.from_numpy(numbers("latent_avg", 20))
    torch.save(data, path, _use_new_zipfile_serialization=zip_file)
    return path
