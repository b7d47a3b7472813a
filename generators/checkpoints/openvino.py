"""MobileStyleGAN as its author exported it: OpenVINO's intermediate representation, version 10, read without OpenVINO.

A network is two files: a graph as XML, and the numbers that its constants point into (offset, size, shape and type).
The graph is read as data, and its constants are taken by name and place; what such a graph computes is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod, sqrt
from pathlib import Path
from xml.parsers import expat

import numpy as np
import torch
from torch import Tensor

from generators.checkpoints.check import check_state, refusal, set_mean_w
from generators.checkpoints.mobilestylegan_sizes import read_config
from generators.mobilestylegan import MobileStyleGAN, MobileStyleGANConfig
from generators.stylegan2_layers import LRELU_SLOPE
from weights.errors import InputError

LARGEST_GRAPH = 4_000_000      # Bytes of XML; MobileStyleGAN's graphs have 60,000 and 430,000.
LARGEST_NUMBERS = 200_000_000  # Bytes of numbers; 8 and 32 million.
WHOLE = "MappingNetwork and SynthesisNetwork of MobileStyleGAN, .xml and .bin each, are needed in one folder"
SMALLER_SIDES = 3  # Sides below the whole picture's at which pictures are given.
DETAIL = 64        # Feature maps of their detail.


def read_openvino(path: Path) -> tuple[MobileStyleGANConfig, dict[str, Tensor]]:
    """Read MappingNetwork and SynthesisNetwork, .xml and .bin, in a folder, or in the folder of the XML file given.

    What the export lacks is made of it: the mean w of 20,000 seeded w, and readouts for three smaller sides, which are
    not trained (`Readout.start`).

    Raises:
        InputError: a file is missing, damaged or hostile, or another network's.
    """
    folder = path if path.is_dir() else path.parent
    try:
        state = {**_mapping(read_constants(folder / "MappingNetwork.xml")),
                 **_synthesis(read_constants(folder / "SynthesisNetwork.xml"))}
    except (ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise refusal(folder, f"not MobileStyleGAN ({str(error).splitlines()[0][:100]})", WHOLE) from error
    config = read_config(folder, state)
    state["mapping.w_avg"] = torch.zeros(config.w_dim)
    state = check_state(folder, MobileStyleGAN, config, state)
    config = replace(config, readouts=dict.fromkeys(config.resolutions[1:][-SMALLER_SIDES:], DETAIL))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = MobileStyleGAN(config)
    generator.load_state_dict({**generator.state_dict(), **state})
    generator.synthesis.start_readouts()
    state = generator.state_dict()
    set_mean_w(generator.mapping, state)
    return config, state


@dataclass
class Constant:
    """A float32 tensor of a graph."""

    name: str
    users: set[str]  # Types of the layers that read it.
    value: Tensor


@dataclass
class _Layer:
    name: str
    type: str
    data: dict[str, str] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)


def read_constants(path: Path) -> list[Constant]:
    """The float32 constants of a graph, in its order; their numbers lie in the .bin file of the same name.

    Raises:
        InputError: one of the two files cannot be read, or does not hold what it promises.
    """
    numbers = _read(path.with_suffix(".bin"), LARGEST_NUMBERS)
    found, budget = [], LARGEST_NUMBERS
    for layer in _read_graph(path):
        kind = layer.data.get("element_type", "")
        if layer.type != "Const" or not kind.startswith("f"):
            continue
        if kind != "f32":
            raise refusal(path, f"numbers of the type {kind[:20]!r}", "use the export in float32")
        offset, size = (_whole_number(path, layer, name) for name in ("offset", "size"))
        shape = _shape(path, layer)
        budget -= size
        if size != 4 * prod(shape) or offset + size > len(numbers) or budget < 0:
            raise refusal(path, f"the constant {layer.name[:60]!r} does not lie within the .bin file as it says",
                          "take both files from one export, or download them again")
        value = np.frombuffer(numbers, "<f4", prod(shape), offset).reshape(shape).astype(np.float32)
        found.append(Constant(layer.name, layer.users, torch.from_numpy(value)))
    return found


def _whole_number(path: Path, layer: _Layer, name: str) -> int:
    text = layer.data.get(name, "")
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise refusal(path, f"the constant {layer.name[:60]!r} has the {name} {text[:20]!r}", "download it again")
    return int(text)


def _shape(path: Path, layer: _Layer) -> tuple[int, ...]:
    text = layer.data.get("shape", "")
    if not re.fullmatch(r"([1-9][0-9]{0,8}(, ?[1-9][0-9]{0,8}){0,7})?", text):
        raise refusal(path, f"the constant {layer.name[:60]!r} has the shape {text[:40]!r}", "download it again")
    return tuple(map(int, re.findall(r"[0-9]+", text)))


def _read(path: Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise refusal(path, f"cannot be read ({error.strerror or error})", WHOLE) from error
    if len(content) > most:
        raise refusal(path, f"larger than {most} bytes", WHOLE)
    return content


def _read_graph(path: Path) -> list[_Layer]:
    """The layers of a graph, each with the types of those that read it; no entity is declared or expanded."""
    layers: dict[str, _Layer] = {}
    edges: list[tuple[str, str]] = []
    parents: list[str] = []
    opened = _Layer("", "")  # The layer that <data> belongs to.

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal opened
        place = "/".join([*parents[:4], tag])
        if place == "net/layers/layer":
            opened = _Layer(attributes.get("name", ""), attributes.get("type", ""))
            if layers.setdefault(attributes.get("id", ""), opened) is not opened:
                raise refusal(path, "two layers of one id", "download it again")
        elif place == "net/layers/layer/data":
            opened.data = attributes
        elif place == "net/edges/edge":
            edges.append((attributes.get("from-layer", ""), attributes.get("to-layer", "")))
        parents.append(tag)

    def refuse(*_: object) -> None:
        raise refusal(path, "an XML file that declares a document type", "use the export as it was made")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: parents.pop() and None
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(_read(path, LARGEST_GRAPH), True)
    except expat.ExpatError as error:
        raise refusal(path, f"damaged XML ({error})", "download it again") from error
    for source, target in edges:
        if source not in layers or target not in layers:
            raise refusal(path, "an edge between layers that are not there", "download it again")
        layers[source].users.add(layers[target].type)
    return list(layers.values())


def _mapping(constants: Sequence[Constant]) -> dict[str, Tensor]:
    """Eight times a matrix, a bias and a leaky ReLU; the learning-rate multiplier is folded in."""
    weights = [each.value for each in constants if "MatMul" in each.users]
    biases = [each.value for each in constants if "Reshape" in each.users]
    _check_slopes(constants, len(weights))
    state = {}
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        state[f"mapping.fc{index}.weight"] = weight * sqrt(weight.shape[-1])  # Divided by it at run time.
        state[f"mapping.fc{index}.bias"] = bias
    return state


def _synthesis(constants: Sequence[Constant]) -> dict[str, Tensor]:
    """Most constants have the names of the author's class; of the others, kernel and noise stand before their bias."""
    state: dict[str, Tensor] = {}
    kernel = noise = torch.empty(0)
    for constant in constants:
        value = constant.value
        if constant.name == "m.input.input":
            state["synthesis.const"] = value.squeeze(0)
        elif match := re.fullmatch(r"m\.(.+?)(?:\.conv)?\.(modulation\.weight|modulation\.bias|weight_dw|weight|bias)",
                                   constant.name):
            layer, part = match.groups()
            layer = "to_img" if layer.endswith(".to_img") else layer
            name = f"synthesis.{layer}.{part.replace('weight_dw', 'depthwise')}"
            if name in state:
                raise ValueError(f"two weights {name[:60]}")
            state[name] = value.squeeze(1) if part == "weight_dw" else value
            if part.endswith("bias"):
                state[name] = value.flatten()
            if part == "bias" and layer != "to_img":
                state[f"synthesis.{layer}.weight"], state[f"synthesis.{layer}.noise"] = kernel, noise
                kernel = noise = torch.empty(0)
        elif "Convolution" in constant.users:
            kernel = value
        elif "Add" in constant.users and value.ndim == 4:
            noise = value[0, 0]
    _check_slopes(constants, sum(name.endswith(".noise") for name in state))
    return _order_bands(state)


def _order_bands(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Order by bands whatever makes or scales maps that a Haar transform puts together: all but the last features."""
    last = max((name for name in state if name.endswith(".conv2.bias")), default="").removesuffix(".bias")
    result = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        makes = part in ("weight", "bias") and layer.endswith(("s.conv1", ".conv2", ".to_img")) and layer != last
        result[name] = by_bands(value) if makes or layer.endswith(".up.modulation") else value
    return result


def by_bands(value: Tensor) -> Tensor:
    """Order the maps (axis 0) of an export by bands: it has the low ones, then the details by threes."""
    if len(value) % 4:
        raise ValueError(f"{len(value)} feature maps, which are not four bands")
    low, details = value.split([len(value) // 4, len(value) - len(value) // 4])
    vertical, horizontal, diagonal = details.unflatten(0, (-1, 3)).unbind(dim=1)
    return torch.cat([low, horizontal, vertical, diagonal])


def _check_slopes(constants: Sequence[Constant], count: int) -> None:
    slopes = [float(each.value.flatten()[0]) for each in constants if "PReLU" in each.users]
    if len(slopes) != count or any(abs(slope - LRELU_SLOPE) > 1e-6 for slope in slopes):
        raise ValueError(f"{count} layers, and leaky ReLUs of the slopes {slopes[:3]}")
