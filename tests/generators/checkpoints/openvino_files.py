"""Small networks as MobileStyleGAN's author exports them, and a plain re-computation of what they mean."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = (16, 8, 8)  # At 4, 8 and 16 pixels; the picture has 32.
W_DIM, LAYERS = 12, 2
SLOPE = torch.tensor([0.2])

Constants = list[tuple[str, str, Tensor]]  # Name, type of the layer that reads it, value.


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape)


def mapping_constants() -> Constants:
    result: Constants = []
    for index in range(LAYERS):
        result += [(f"{173 + index}", "MatMul", numbers(W_DIM, W_DIM) / W_DIM ** 0.5),
                   (f"{274 + index}", "Reshape", numbers(W_DIM)), (f"slope{index}", "PReLU", SLOPE),
                   (f"gain{index}", "Multiply", torch.full([1, 1], 2 ** 0.5))]
    return result


def synthesis_constants() -> Constants:
    """In the order of the export: modulations from the last to the first, then layer by layer."""
    blocks = len(CHANNELS) - 1
    widths = {"m.conv1.conv": CHANNELS[0], f"m.layers.{blocks - 1}.to_img.conv": CHANNELS[-1]}
    rest: Constants = [("m.input.input", "Broadcast", numbers(1, CHANNELS[0], 4, 4)),
                       ("Mul_39_copy", "Convolution", numbers(CHANNELS[0], CHANNELS[0], 3, 3)),
                       ("1531", "Add", numbers(1, 1, 4, 4)), ("m.conv1.bias", "Add", numbers(1, CHANNELS[0], 1, 1)),
                       ("slope", "PReLU", SLOPE)]
    for i in range(blocks):
        inputs, outputs, side = CHANNELS[i], CHANNELS[i + 1], 8 * 2 ** i
        widths[f"m.layers.{i}.up"] = inputs
        for conv, width in (("conv1", inputs // 4), ("conv2", outputs)):
            widths[f"m.layers.{i}.{conv}.conv"] = width
            rest += [(f"haar{i}{conv}", "GroupConvolutionBackpropData", torch.ones(width, 1, 1, 2, 1)),
                     (f"m.layers.{i}.{conv}.conv.weight_dw", "GroupConvolution", numbers(width, 1, 1, 3, 3)),
                     (f"Mul_{i}{conv}_copy", "Convolution", numbers(outputs, width, 1, 1)),
                     (f"noise{i}{conv}", "Add", numbers(1, 1, side, side)),
                     (f"m.layers.{i}.{conv}.bias", "Add", numbers(1, outputs, 1, 1)),
                     (f"slope{i}{conv}", "PReLU", SLOPE)]
    last = f"m.layers.{blocks - 1}.to_img"
    rest += [(f"{last}.conv.weight", "Convolution", numbers(12, CHANNELS[-1], 1, 1)),
             (f"{last}.bias", "Add", numbers(1, 12, 1, 1))]
    modulations: Constants = []
    for name, width in reversed(widths.items()):
        modulations += [(f"{name}.modulation.weight", "MatMul", numbers(width, W_DIM) / W_DIM ** 0.5),
                        (f"{name}.modulation.bias", "Add", numbers(1, width))]
    return modulations + rest


def write_graph(path: Path, constants: Constants, *, head: str = "") -> Path:
    """Write a graph and its numbers, an integer constant between them as in real ones."""
    data, layers, edges = b"\0" * 8, [], []
    for index, (name, user, value) in enumerate([("axis", "Gather", torch.zeros([], dtype=torch.int64)), *constants]):
        kind = "i64" if name == "axis" else "f32"
        content = value.numpy().tobytes()
        shape = ", ".join(map(str, value.shape))
        layers.append(f'<layer id="{2 * index}" name={quoteattr(name)} type="Const"><data element_type="{kind}" '
                      f'shape="{shape}" offset="{len(data)}" size="{len(content)}"/></layer>'
                      f'<layer id="{2 * index + 1}" name="user{index}" type="{user}"/>')
        edges.append(f'<edge from-layer="{2 * index}" from-port="0" to-layer="{2 * index + 1}" to-port="1"/>')
        data += content
    path.write_text(f'<?xml version="1.0" ?>\n{head}<net name="Network" version="10"><layers>{"".join(layers)}</layers>'
                    f'<edges>{"".join(edges)}</edges></net>')
    path.with_suffix(".bin").write_bytes(data)
    return path


def write_export(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Write both networks; their constants by name."""
    torch.manual_seed(0)
    mapping, synthesis = mapping_constants(), synthesis_constants()
    write_graph(folder / "MappingNetwork.xml", mapping)
    write_graph(folder / "SynthesisNetwork.xml", synthesis)
    return ({name: value for name, _, value in mapping}, {name: value for name, _, value in synthesis})


def map_z(constants: dict[str, Tensor], z: Tensor) -> Tensor:
    w = z / z.square().mean(dim=1, keepdim=True).sqrt()
    for index in range(LAYERS):
        w = F.leaky_relu(w @ constants[f"{173 + index}"].T + constants[f"{274 + index}"], 0.2) * 2 ** 0.5
    return w


def draw(constants: dict[str, Tensor], w: Tensor) -> Tensor:
    """The picture [1, 3, 32, 32] of w [1, W_DIM], by the order of maps that the export has."""
    def style(name: str) -> Tensor:
        made = w @ constants[f"{name}.modulation.weight"].T + constants[f"{name}.modulation.bias"]
        return made[:, :, None, None]

    x = constants["m.input.input"] * style("m.conv1.conv") / (CHANNELS[0] * 9) ** 0.5
    x = F.conv2d(x, constants["Mul_39_copy"], padding=1) + constants["1531"] + constants["m.conv1.bias"]
    x = F.leaky_relu(x, 0.2)
    for i in range(len(CHANNELS) - 1):
        x = haar(x * style(f"m.layers.{i}.up"))
        for conv in ("conv1", "conv2"):
            name, width = f"m.layers.{i}.{conv}", x.shape[1]
            x = x * style(f"{name}.conv") / (9 * width) ** 0.5
            x = F.conv2d(x, constants[f"{name}.conv.weight_dw"].squeeze(1), padding=1, groups=width)
            x = F.conv2d(x, constants[f"Mul_{i}{conv}_copy"]) + constants[f"noise{i}{conv}"] + constants[f"{name}.bias"]
            x = F.leaky_relu(x, 0.2)
    last = f"m.layers.{len(CHANNELS) - 2}.to_img"
    x = F.conv2d(x * style(f"{last}.conv") / CHANNELS[-1] ** 0.5, constants[f"{last}.conv.weight"])
    return haar(x + constants[f"{last}.bias"])


def haar(x: Tensor) -> Tensor:
    """Low bands first, then three details a map: vertical, horizontal, diagonal."""
    maps = x.shape[1] // 4
    low, (vertical, horizontal, diagonal) = x[:, :maps], x[:, maps:].unflatten(1, (maps, 3)).unbind(dim=2)
    out = x.new_empty(x.shape[0], maps, 2 * x.shape[2], 2 * x.shape[3])
    signs = np.array([[(1, 1, 1), (1, -1, -1)], [(-1, 1, -1), (-1, -1, 1)]])
    for row in range(2):
        for column in range(2):
            v, h, d = signs[row, column]
            out[:, :, row::2, column::2] = (low + int(v) * vertical + int(h) * horizontal + int(d) * diagonal) / 2
    return out
