"""Readers of other people's checkpoints: what NVIDIA's and rosinality's own code renders, we render too."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from generators import MobileStyleGANConfig, load
from generators.checkpoints import read, write
from generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.generators.checkpoints import reader_files as files
from weights.errors import InputError

# Mean, spread and nine values of the pictures that each repository's own code renders from these very weights:
# stylegan2-ada-pytorch's Generator, its legacy.convert_tf_generator, and rosinality's Generator (float32, CPU),
# for z = numbers("z", 2, 20), stored noise, truncation 1 and 0.5.
REFERENCE = {
    ("nvidia_torch", 1.0): [
        0.699991,
        1.424947,
        -0.877673,
        1.591951,
        -0.166878,
        -0.244964,
        1.566085,
        -0.335108,
        -0.002685,
        0.216099,
        -0.602958,
    ],
    ("nvidia_torch", 0.5): [
        0.715828,
        0.67068,
        0.588218,
        0.918267,
        0.174479,
        0.575616,
        0.806052,
        0.089912,
        -0.038252,
        0.056738,
        -0.128027,
    ],
    ("nvidia_tensorflow", 1.0): [
        -0.138595,
        1.253418,
        0.285973,
        0.593733,
        0.112618,
        -0.070508,
        -0.458466,
        -1.375134,
        1.244122,
        -0.676458,
        -0.851885,
    ],
    ("nvidia_tensorflow", 0.5): [
        -0.061902,
        1.023878,
        0.08273,
        0.386949,
        0.276951,
        0.395506,
        -0.427747,
        -0.931787,
        1.279622,
        -0.64999,
        -0.403342,
    ],
    ("rosinality", 1.0): [
        0.755815,
        0.981006,
        0.597954,
        2.623511,
        -0.152725,
        1.601985,
        0.175816,
        0.04118,
        -0.046336,
        -0.002796,
        0.738561,
    ],
    ("rosinality", 0.5): [
        1.583295,
        1.540733,
        1.025683,
        3.572721,
        1.890008,
        1.558436,
        3.185954,
        -0.597858,
        1.767545,
        0.315366,
        -0.26962,
    ],
}
# The same for the first kind, with conv_clamp 0.5 and truncation 1.
CLAMPED_REFERENCE = [
    0.38412,
    0.581903,
    -0.215705,
    0.870402,
    0.026736,
    -0.095717,
    1.089594,
    0.243546,
    0.059757,
    0.147451,
    -0.427354,
]
WRITERS = {
    "nvidia_torch": files.write_nvidia_torch,
    "nvidia_tensorflow": files.write_nvidia_tensorflow,
    "rosinality": files.write_rosinality,
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A generator in our own format, and beside it the other kinds."""
    config, state = read(files.write_nvidia_torch(tmp_path / "source.pkl"))
    write(tmp_path / "own.safetensors", config, state)
    return tmp_path / "own.safetensors"


@pytest.mark.parametrize(("kind", "truncation"), REFERENCE)
def test_pictures_equal_the_references(kind: str, truncation: float, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "file")
    assert read(path)[0] == files.CONFIG
    np.testing.assert_allclose(summary(path, truncation), REFERENCE[kind, truncation], atol=1e-4)


def summary(path: Path, truncation: float = 1.0) -> list[float]:
    """Render the two pictures of the references, and take the same eleven numbers."""
    config, state = read(path)
    generator = StyleGAN2(config)
    generator.load_state_dict(state)
    with torch.no_grad():
        pictures = generator(torch.from_numpy(files.numbers("z", 2, 20)), truncation=truncation)
    values = [pictures.mean(), pictures.std(), *pictures[0, :, 5, 7], *pictures[1, :, 16, 3], *pictures[1, :, 31, 31]]
    return [float(value) for value in values]


def test_clamped_pictures_equal_the_reference(tmp_path: Path) -> None:
    config = dataclasses.replace(files.CONFIG, conv_clamp=0.5)
    path = files.write_nvidia_torch(tmp_path / "a.pkl", files.nvidia_modules(config))
    np.testing.assert_allclose(summary(path), CLAMPED_REFERENCE, atol=1e-4)


@pytest.mark.parametrize("kind", WRITERS)
def test_weights_are_complete_float32_with_memory_of_their_own(kind: str, tmp_path: Path) -> None:
    config, state = read(WRITERS[kind](tmp_path / "file"))
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in StyleGAN2(config).state_dict().items()}
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in state.values())
    assert len({value.data_ptr() for value in state.values()}) == len(state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_reads_the_same(protocol: int, tmp_path: Path) -> None:
    expected = files.state_of(files.nvidia_modules())
    _, state = read(files.write_nvidia_torch(tmp_path / "a.pkl", protocol=protocol))
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    one = read(files.write_nvidia_tensorflow(tmp_path / "b.pkl", protocol=protocol))[1]
    other = read(files.write_nvidia_tensorflow(tmp_path / "c.pkl", protocol=4))[1]
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_constants_come_from_the_file(tmp_path: Path) -> None:
    config = StyleGAN2Config(
        img_resolution=64,
        channels=(16, 16, 8, 8, 4),
        z_dim=12,
        w_dim=20,
        mapping_layers=3,
        mapping_lr_multiplier=0.02,
        conv_clamp=256,
    )
    got, _ = read(files.write_nvidia_torch(tmp_path / "a.pkl", files.nvidia_modules(config)))
    assert got == config
    got, _ = read(files.write_nvidia_tensorflow(tmp_path / "b.pkl", mapping_lrmul=0.02, conv_clamp=64))
    assert (got.mapping_lr_multiplier, got.conv_clamp) == (0.02, 64)


def test_nothing_in_the_files_is_imported_or_run(tmp_path: Path) -> None:
    paths = [writer(tmp_path / kind) for kind, writer in WRITERS.items()]  # NVIDIA's carry source that would exit.
    before = set(sys.modules)
    for path in paths:
        read(path)
    assert {
        name for name in set(sys.modules) - before if name.startswith(("dnnlib", "torch_utils", "_imported"))
    } == set()


def test_network_without_noise_gets_silent_noise(tmp_path: Path) -> None:
    config, state = read(files.write_nvidia_torch(tmp_path / "a.pkl", files.nvidia_modules(use_noise=False)))
    strengths = [value for name, value in state.items() if name.endswith("noise_strength")]
    assert len(strengths) == 2 * len(config.channels) - 1
    assert not any(strengths)
    assert not read(files.write_nvidia_tensorflow(tmp_path / "b.pkl", use_noise=False))[1][
        "synthesis.b8.conv0.noise_strength"
    ]


@pytest.mark.parametrize("zip_file", [True, False])
def test_rosinality_in_both_forms_of_torch_files(zip_file: bool, tmp_path: Path) -> None:
    _, state = read(files.write_rosinality(tmp_path / "a.pt", zip_file=zip_file))
    weights = files.rosinality_weights()
    assert torch.equal(state["synthesis.b16.conv0.weight"], weights["convs.2.conv.weight"][0])
    assert torch.equal(state["synthesis.b32.torgb.bias"], weights["to_rgbs.2.bias"].flatten())


def test_rosinality_without_average_gets_the_mean_w(tmp_path: Path) -> None:
    path = files.write_rosinality(tmp_path / "a.pt", latent_avg=False)
    config, state = read(path)
    generator = StyleGAN2(config)
    generator.load_state_dict(state)
    w = generator.sample(range(4000)).detach()
    error = (state["mapping.w_avg"] - w.mean(dim=0)).norm()
    assert error < 3 * (w.std(dim=0).norm() / 4000**0.5)
    assert torch.equal(state["mapping.w_avg"], read(path)[1]["mapping.w_avg"])


def test_rosinality_from_several_devices(tmp_path: Path) -> None:
    weights = {f"module.{name}": value for name, value in files.rosinality_weights().items()}
    assert read(files.write_rosinality(tmp_path / "a.pt", weights))[0] == files.CONFIG


def test_own_format_returns_what_was_written(own: Path, tmp_path: Path) -> None:
    config, state = read(own.with_name("source.pkl"))
    again, values = read(own)
    assert again == config
    assert all(torch.equal(values[name], state[name]) for name in state)
    write(tmp_path / "again.safetensors", again, values)
    assert own.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_half_precision_halves_the_file_and_reads_as_float32(own: Path, tmp_path: Path) -> None:
    config, state = read(own)
    write(tmp_path / "half.safetensors", config, state, half=True, metadata={"name": "x", "z_dim": "wrong"})
    _, values = read(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * own.stat().st_size
    assert all(torch.equal(values[name], state[name].half().float()) for name in state)


def test_bundled_generator_is_read() -> None:
    config, state = read(Path(__file__).parents[3] / "weights" / "bundled" / "generator.safetensors")
    assert isinstance(config, MobileStyleGANConfig)
    assert (config.img_resolution, config.num_ws, [*config.readouts]) == (1024, 16, [128, 256, 512])
    assert sum(value.numel() for value in state.values()) < 11e6


# --- what must be refused, with a message of one line that names the file ---


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, message


def test_a_class_conditional_network(tmp_path: Path) -> None:
    """w is what the mapping of stylegan2-ada-pytorch makes of z and of the class's embedding, both at unit length."""
    config = dataclasses.replace(files.CONFIG, c_dim=3)
    path = files.write_nvidia_torch(tmp_path / "a.pkl", files.nvidia_modules(config))
    generator = load(path)
    assert (generator.c_dim, generator.z_dim, generator.w_dim) == (3, config.z_dim, config.w_dim)
    z = torch.from_numpy(files.numbers("z", 2, config.z_dim))
    state = read(path)[1]

    def unit(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    def theirs(index: int) -> torch.Tensor:
        embedded = state["mapping.embed.weight"][:, index] / 3 ** 0.5 + state["mapping.embed.bias"]
        x = torch.cat([unit(z), unit(embedded[None]).expand(2, -1)], dim=1)
        for layer in range(config.mapping_layers):
            gain = config.mapping_lr_multiplier
            x = torch.nn.functional.linear(x, state[f"mapping.fc{layer}.weight"] * gain / x.shape[1] ** 0.5,
                                           state[f"mapping.fc{layer}.bias"] * gain)
            x = torch.nn.functional.leaky_relu(x, 0.2) * 2 ** 0.5
        return x

    for index in range(3):
        of_class = generator.of_class(index)
        torch.testing.assert_close(of_class.mapping(z), theirs(index), rtol=1e-4, atol=1e-5)
        one_hot = torch.eye(3)[[index, index]]
        torch.testing.assert_close(generator.mapping(z, one_hot), theirs(index), rtol=1e-4, atol=1e-5)
        assert of_class.space.matches(generator.space) == (index == 0)
    assert generator.of_class(2).hash == generator.hash
    with pytest.raises(InputError, match="choose one of 0 to 2"):
        generator.of_class(3)
    with pytest.raises(InputError, match="one class alone"):
        load(files.write_nvidia_torch(tmp_path / "b.pkl")).of_class(0)
    write(tmp_path / "own.safetensors", *read(path), half=False)
    assert load(tmp_path / "own.safetensors").of_class(1).space.matches(generator.of_class(1).space)


def test_other_kinds_of_nvidia_networks(tmp_path: Path) -> None:
    conditional, resnet, third, relu = (files.nvidia_modules() for _ in range(4))
    conditional.state["c_dim"] = 10
    parts = resnet.state["_modules"]["synthesis"].state["_modules"]  # type: ignore[index]
    parts["b8"].state["architecture"] = "resnet"
    third.state["_modules"]["synthesis"].state["_modules"]["input"] = files.Module("SynthesisInput")  # type: ignore[index]
    relu.state["_modules"]["mapping"].state["_modules"]["fc1"].state["activation"] = "relu"  # type: ignore[index]
    for generator, word in (
        (conditional, "c_dim 10"),
        (resnet, "'resnet'"),
        (third, "StyleGAN3"),
        (relu, "'relu'"),
        (files.Module("Discriminator"), "Discriminator"),
    ):
        refused(files.write_nvidia_torch(tmp_path / "a.pkl", generator), word, "what works is")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"architecture": "resnet"}, "architecture = 'resnet'"),
        ({"label_size": 5}, "label_size = 5"),
        ({"new_idea": 1}, "unknown argument 'new_idea'"),
        ({"version": 1}, "version 1"),
        ({"resample_kernel": [1, 2, 1]}, "resample_kernel"),
        ({"mapping_lrmul": "x"}, "mapping_lrmul"),
    ],
)
def test_other_kinds_of_tensorflow_networks(arguments: dict[str, object], word: str, tmp_path: Path) -> None:
    refused(files.write_nvidia_tensorflow(tmp_path / "a.pkl", **arguments), word)  # type: ignore[arg-type]


def test_tensorflow_network_with_other_variables(tmp_path: Path) -> None:
    variables = files.tensorflow_variables()
    variables["synthesis"].append(("8x8/Skip/weight", np.zeros([1, 1, 24, 24], np.float32)))
    refused(files.write_nvidia_tensorflow(tmp_path / "a.pkl", variables), "8x8/Skip/weight")
    del variables["synthesis"][-1], variables["mapping"][0]
    refused(files.write_nvidia_tensorflow(tmp_path / "a.pkl", variables), "mapping.fc0.weight is missing")


def test_rosinality_with_other_weights(tmp_path: Path) -> None:
    weights = files.rosinality_weights()
    del weights["convs.1.activate.bias"]
    refused(files.write_rosinality(tmp_path / "a.pt", weights), "synthesis.b8.conv1.bias is missing")
    weights["convs.1.activate.bias"] = torch.zeros(7)
    refused(files.write_rosinality(tmp_path / "a.pt", weights), "synthesis.b8.conv1.bias", "[7]", "[24]")
    weights["attention.weight"] = torch.zeros(7)
    refused(files.write_rosinality(tmp_path / "a.pt", weights), "attention.weight")
    weights = files.rosinality_weights()
    weights["noises.noise_0"] = torch.zeros([])
    refused(files.write_rosinality(tmp_path / "a.pt", weights), "noises.noise_0")
    weights = files.rosinality_weights()
    weights["convs.0.conv.weight"][0, 3, 1, 2, 2] = float("nan")
    refused(files.write_rosinality(tmp_path / "a.pt", weights), "synthesis.b8.conv0.weight", "NaN")


def change(
    path: Path, out: Path, *, without: str = "", metadata: dict[str, str | None] | None = None, **tensors: torch.Tensor
) -> Path:
    state = {name: value for name, value in load_file(path).items() if name != without}
    header = path.read_bytes()
    kept = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    kept |= metadata or {}
    save_file(state | tensors, out, {name: value for name, value in kept.items() if value is not None})
    return out


def test_a_file_names_its_architecture(own: Path, tmp_path: Path) -> None:
    with safe_open(own, "pt") as file:
        assert file.metadata()["architecture"] == "stylegan2"
    for former in ("skip", None):  # Files of former versions.
        path = change(own, tmp_path / "former.safetensors", metadata={"architecture": former})
        assert read(path)[0] == read(own)[0]


def test_own_format_with_errors(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "bad.safetensors"
    name = "synthesis.b8.conv1.bias"
    refused(change(own, out, without=name), f"{name} is missing")
    refused(change(own, out, **{name: torch.zeros(5)}), name, "[5]", "[24]")
    refused(change(own, out, **{name: torch.full([24], float("inf"))}), name, "infinity")
    refused(change(own, out, **{name: torch.zeros(24, dtype=torch.int32)}), name, "int32")
    refused(change(own, out, more=torch.zeros(2)), "'more'")
    for shape in ([0, 24, 3, 3], [10 ** 15, 0, 3, 3]):
        refused(change(own, out, **{"synthesis.b8.conv1.weight": torch.zeros(shape)}), "b8.conv1.weight has the shape")
    refused(change(own, out, metadata={"mapping_lr_multiplier": None}), "without the metadata")
    refused(change(own, out, metadata={"mapping_lr_multiplier": "much"}), "mapping_lr_multiplier", "'much'")
    refused(change(own, out, metadata={"mapping_lr_multiplier": "nan"}), "mapping_lr_multiplier", "'nan'")
    refused(change(own, out, metadata={"img_resolution": "64"}), "img_resolution 64", "32")
    refused(change(own, out, metadata={"architecture": "resnet"}), "'resnet'", "are stylegan2")
    refused(change(own, out, metadata={"c_dim": "3"}), "c_dim 3", "0")


def test_files_that_are_no_checkpoint(own: Path, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    refused(path, "cannot be read")
    refused(tmp_path, "cannot be read")
    for content, word in (
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n <html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a checkpoint"),
        (own.read_bytes()[:-9], "truncated"),
        (own.read_bytes()[:50], "truncated"),
    ):
        path.write_bytes(content)
        refused(path, word)
    torch.save({"state_dict": OrderedDict(a=torch.zeros(1))}, path)
    refused(path, "without a generator", "state_dict")
    torch.save([1, 2], path)
    refused(path, "a pickle of list")


@pytest.mark.parametrize("kind", WRITERS)
def test_truncated_files(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "file")
    data = path.read_bytes()
    for part in (0.01, 0.3, 0.7, 0.99):
        path.write_bytes(data[: int(part * len(data))])
        refused(path, "truncated")


@pytest.mark.parametrize("kind", WRITERS)
def test_altered_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / "file")
    data = path.read_bytes()
    rng = random.Random(1)
    spots = [i for i in range(len(data) - 8) if data[i : i + 3].isalpha()]  # Among the names, where the structure is.
    for _ in range(60):
        altered = bytearray(data)
        for _ in range(rng.choice([1, 3])):
            altered[rng.choice(spots) + rng.randrange(8)] = rng.randrange(256)
        path.write_bytes(altered)
        with contextlib.suppress(InputError):  # Any other exception fails the test.
            read(path)


def test_constants_that_are_no_constants(tmp_path: Path) -> None:
    for name, value in (
        ("conv_clamp", []),
        ("c_dim", np.zeros(3)),
        ("architecture", torch.zeros(2)),
        ("activation", {}),
    ):
        generator = files.nvidia_modules()
        generator.state["_modules"]["synthesis"].state["_modules"]["b8"].state[name] = value  # type: ignore[index]
        refused(files.write_nvidia_torch(tmp_path / "a.pkl", generator), name, "neither a number nor text")
    for name in ("resample_kernel", "conv_clamp", "label_size", "architecture"):
        refused(files.write_nvidia_tensorflow(tmp_path / "a.pkl", **{name: np.zeros(3)}), name)  # type: ignore[arg-type]


def test_writing_refuses_what_does_not_fit(own: Path, tmp_path: Path) -> None:
    config, state = read(own)
    before = own.read_bytes()
    with pytest.raises(InputError, match="const is missing"):
        write(own, config, {name: value for name, value in state.items() if name != "synthesis.b4.const"})
    with pytest.raises(InputError, match="half precision"):
        write(own, config, {**state, "mapping.w_avg": torch.full([20], 1e6)}, half=True)
    with pytest.raises(InputError, match="another output folder"):
        write(tmp_path / "missing" / "a.safetensors", config, state)
    assert own.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["own.safetensors", "source.pkl"]
