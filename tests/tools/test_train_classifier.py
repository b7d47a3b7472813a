"""How the bundled image classifier is made: its network read, its heads learned."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from learning.scorers.bundled import FaceClassifier, MobileNet
from tools.train_classifier import Lessons, as_they_come, head_of, read_mobilenet, turn_of


def write_graph(folder: Path, network: MobileNet) -> None:
    """A network as TensorFlow.js has it: a factor after each depthwise convolution, half precision."""
    nodes, specs, data, before = [], [], b"", "image"
    for index, convolution in enumerate(network.convolutions):
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        deep = convolution.groups > 1
        weight = convolution.weight.detach()
        kernel = weight[:, 0].permute(1, 2, 0)[..., None] if deep else weight.permute(2, 3, 1, 0)
        constants = {"kernel": kernel / 2 if deep else kernel, "bias": convolution.bias.detach().reshape(1, 1, -1)}
        steps = [("conv", "DepthwiseConv2dNative" if deep else "Conv2D", "kernel"), ("sum", "Add", "bias")]
        if deep:
            constants["factor"] = torch.full([1, 1, len(weight), 1], 2.0)
            steps.insert(1, ("product", "Mul", "factor"))
        for name, op, constant in steps:
            nodes.append({"name": f"{name}{index}", "op": op, "input": [before, f"{constant}{index}"],
                          "attr": {"padding": {"s": base64.b64encode(b"SAME").decode()}}})
            before = f"{name}{index}"
        for name, value in constants.items():
            half = value.numpy().astype(np.float16)
            specs.append({"name": f"{name}{index}", "shape": list(half.shape), "dtype": "float32",
                          "quantization": {"dtype": "float16"}})
            data += half.tobytes()
    (folder / "faceres.bin").write_bytes(data)
    (folder / "faceres.json").write_text(json.dumps({
        "modelTopology": {"node": [{"name": "image", "op": "Placeholder"}, *nodes]},
        "weightsManifest": [{"paths": ["faceres.bin"], "weights": specs}]}))


def test_a_network_of_tensorflow_js_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MobileNet()
    write_graph(tmp_path, network)
    x = torch.rand(1, 3, 224, 224) * 255
    with torch.no_grad():
        expected, found = network(x), read_mobilenet(tmp_path)(x)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def samples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of which a hundred places tell one of three classes, and the classes."""
    width = FaceClassifier().heads.in_features
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(count) % 3
    features = torch.rand(count, width, generator=rng)
    features[:, 5000:20_000] += classes[:, None] * 0.2
    return features.half(), classes


def test_heads_tell_what_they_were_not_shown() -> None:
    features, classes = samples(90)
    lessons = Lessons(features)
    index = torch.arange(60)
    weights, bias, report = head_of(lessons, index, classes[:60].numpy(), features[60:75])
    said = (features.float() - lessons.centre) @ weights.T + bias
    assert report["out of fold"] > 0.9
    assert (said.argmax(dim=1) == classes).all()


def test_labelled_samples_stand_for_those_that_are_like_them() -> None:
    """Of the hard ones more were labelled than come; in the end both classes count the same."""
    labels = np.array([0] * 30 + [1] * 30)
    said = np.concatenate([np.full(20, -0.1), np.full(10, -5.0), np.full(20, 0.1), np.full(10, 5.0)])[:, None]
    drawn = np.concatenate([np.full(90, -5.0), np.full(5, -0.1), np.full(5, 0.1)])[:, None].astype(np.float32)
    counts = as_they_come(said, drawn, labels)
    assert counts[:30].sum() == pytest.approx(counts[30:].sum())
    assert counts[20:30].mean() > 10 * counts[:20].mean()


def test_heads_are_the_regressions_in_the_principal_axes() -> None:
    features, _ = samples(20)
    lessons = Lessons(features)
    index = torch.arange(20)
    x, back = lessons.axes(index)
    weights = lessons.weights(index, back.T)  # One row an axis: the samples' own coordinates.
    torch.testing.assert_close((features.float() - lessons.centre) @ weights.T, torch.from_numpy(x).float(),
                               rtol=1e-2, atol=1e-3)


def test_turns_are_told_in_their_units() -> None:
    features, classes = samples(60)
    lessons = Lessons(features)
    weights, bias = turn_of(lessons, torch.arange(45), 30.0 * classes[:45] - 20)
    said = ((features.float() - lessons.centre) @ weights.T + bias)[45:, 0]
    assert (said - (30 * classes[45:] - 20)).abs().mean() < 8
