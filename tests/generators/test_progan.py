"""ProGAN: both published kinds of file draw what the equations say; then what every generator promises."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import directions
from generators import ProGAN, ProGANConfig, convert, load, load_mapped, write_mapped
from tests.generators.checkpoints.reader_files import SOURCE, fake_modules
from tests.generators.promises import shifted_draws_as_added
from weights.errors import InputError

CHANNELS, Z = (12, 10, 8, 6), 16


def variables(*, fused: bool = True) -> dict[str, Tensor]:
    """What NVIDIA's network of 32 pixels holds, by TensorFlow's names and shapes."""
    rng = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {"lod": torch.tensor(0.0)}

    def add(name: str, *shape: int, outputs: int) -> None:
        made[f"{name}/weight"] = torch.randn(shape, generator=rng)
        made[f"{name}/bias"] = torch.randn(outputs, generator=rng) * 0.3

    before = 0
    for index, channels in enumerate(CHANNELS):
        side = 4 * 2 ** index
        if side == 4:
            add("4x4/Dense", Z, 16 * channels, outputs=channels)
            add("4x4/Conv", 3, 3, channels, channels, outputs=channels)
        else:
            shape = (channels, before) if fused else (before, channels)
            add(f"{side}x{side}/Conv0{'_up' if fused else ''}", 3, 3, *shape, outputs=channels)
            add(f"{side}x{side}/Conv1", 3, 3, channels, channels, outputs=channels)
        add(f"ToRGB_lod{len(CHANNELS) - 1 - index}", 1, 1, channels, 3, outputs=3)
        before = channels
    return made


def unit(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def picture_of(of: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """The picture at z, as NVIDIA's G_paper has it, in float64: each layer is normalised after its activation."""
    def activated(x: Tensor, name: str) -> Tensor:
        return unit(F.leaky_relu(x + of[f"{name}/bias"].double()[:, None, None], 0.2))

    x = (unit(z.double()) @ of["4x4/Dense/weight"].double() * (sqrt(2) / 4 / sqrt(Z))).reshape(len(z), -1, 4, 4)
    x = activated(x, "4x4/Dense")
    for index in range(len(CHANNELS)):
        side = 4 * 2 ** index
        for part in ("Conv",) if side == 4 else ("Conv0_up", "Conv0", "Conv1"):
            name = f"{side}x{side}/{part}"
            if f"{name}/weight" not in of:
                continue
            weight = of[f"{name}/weight"].double() * sqrt(2 / (9 * x.shape[1]))
            if part == "Conv0_up":
                kernel = F.pad(weight.permute(3, 2, 0, 1), (1, 1, 1, 1))  # [in, out, 5, 5]
                kernel = kernel[..., 1:, 1:] + kernel[..., :-1, 1:] + kernel[..., 1:, :-1] + kernel[..., :-1, :-1]
                x = F.conv_transpose2d(x, kernel, stride=2, padding=1)
            else:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if part == "Conv0" else x
                x = F.conv2d(x, weight.permute(3, 2, 0, 1), padding=1)
            x = activated(x, name)
    weight = of["ToRGB_lod0/weight"].double().permute(3, 2, 0, 1) / sqrt(x.shape[1])
    return F.conv2d(x, weight, of["ToRGB_lod0/bias"].double())


def tensorflow_file(path: Path, of: Mapping[str, Tensor], **arguments: object) -> Path:
    """Three networks as NVIDIA's tfutil pickles them."""
    with fake_modules("tfutil") as (module,):

        class Network:
            def __init__(self, values: list[tuple[str, object]]) -> None:
                self.values = values

            def __getstate__(self) -> dict[str, Any]:
                return {"version": 2, "name": "G", "build_module_src": SOURCE, "build_func_name": "G_paper",
                        "static_kwargs": {"num_channels": 3, "resolution": 32, "label_size": 0, **arguments},
                        "variables": self.values}

        Network.__module__, Network.__qualname__ = "tfutil", "Network"
        module.Network = Network  # type: ignore[attr-defined]
        values = [(name, value.numpy()[()]) for name, value in of.items()]
        other = Network([])
        path.write_bytes(pickle.dumps((other, other, Network(values)), 2))
    return path


def ganspace_weights(of: Mapping[str, Tensor], *, old: bool = False) -> dict[str, Tensor]:
    """The state dict that GANSpace makes of fused layers, by its names or its older ones."""
    state: dict[str, Tensor] = {}
    for name, value in of.items():
        layer, _, end = name.partition("/")[2].rpartition("/")
        if name == "lod" or name.startswith("ToRGB"):
            if name.startswith("ToRGB_lod0"):
                layer, end = "output" if old else "output_32x32", name.rpartition("/")[2]
                value = value.permute(3, 2, 0, 1) if end == "weight" else value
                state[f"{layer}.{'conv.weight' if end == 'weight' else 'wscale.b'}"] = value
            continue
        number = 2 * (int(name.partition("x")[0]).bit_length() - 3) + (1 if layer in ("Dense", "Conv0_up") else 2)
        if end == "weight":
            if layer == "Dense":
                value = value.reshape(Z, -1, 4, 4).permute(1, 0, 2, 3).flip(2, 3)
            else:
                value = value.permute(2, 3, 0, 1).flip(2, 3) if layer == "Conv0_up" else value.permute(3, 2, 0, 1)
        prefix = f"features.{number - 1}" if old else f"layer{number}"
        state[f"{prefix}.{'conv.weight' if end == 'weight' else 'wscale.b'}"] = value
    return state


@pytest.fixture(scope="module")
def of() -> dict[str, Tensor]:
    return variables()


@pytest.fixture(scope="module")
def file(of: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensorflow_file(tmp_path_factory.mktemp("progan") / "karras2018iclr.pkl", of)


@pytest.fixture
def generator(file: Path) -> ProGAN:
    generator = load(file).double()
    assert isinstance(generator, ProGAN)
    return generator


@pytest.mark.parametrize("fused", [True, False])
def test_nvidias_file_draws_what_its_equations_say(fused: bool, tmp_path: Path) -> None:
    of = variables(fused=fused)
    generator = load(tensorflow_file(tmp_path / "a.pkl", of, fused_scale=fused)).double()
    z = torch.randn(3, Z, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(generator(z), picture_of(of, z), atol=1e-5)


@pytest.mark.parametrize("old", [False, True])
def test_ganspaces_file_of_the_same_weights_draws_the_same(old: bool, generator: ProGAN, of: dict[str, Tensor],
                                                          tmp_path: Path) -> None:
    state = ganspace_weights(of, old=old)
    torch.save({"state_dict": state} if old else state, tmp_path / "bedroom_lsun.pth")
    other = load(tmp_path / "bedroom_lsun.pth").double()
    z = generator.draw_z([1, 2])
    assert torch.allclose(other(z), generator(z), atol=1e-6)
    assert torch.allclose(other.activations(z, "layer5"), generator.activations(z, "layer5"), atol=1e-5)


def test_what_every_generator_promises(generator: ProGAN, file: Path, tmp_path: Path) -> None:
    z = generator.sample([1, 2, 3])
    whole = generator.render(z)
    assert torch.allclose(whole, torch.cat([generator.render(row[None]) for row in z]), atol=1e-10)
    assert torch.allclose(generator.render(3 * z), whole, atol=1e-6)
    assert generator.broadcast(z).shape == (3, 1, Z)
    assert torch.equal(z, generator.draw_z([1, 2, 3]))
    for layer in generator.layers:
        assert generator.activations(z, layer.name).shape[2:] == (layer.side, layer.side)
    with generator.precision(torch.bfloat16):
        assert float((generator.render(z) - whole).square().mean().sqrt()) < 0.05 * float(whole.std())
    convert(file, tmp_path / "own.safetensors")
    own = load(tmp_path / "own.safetensors")
    assert own.hash == load(file).hash
    assert torch.allclose(own.double().render(z), whole, atol=1e-6)
    write_mapped(tmp_path / "mapped.safetensors", load(file))
    assert load_mapped(tmp_path / "mapped.safetensors").space.matches(generator.space)


def test_what_it_lacks_it_says(generator: ProGAN) -> None:
    z = generator.sample([1])
    assert float(generator.neutral().abs().max()) == 0
    assert generator.rows((4, 2048)) == (0, 1)
    with pytest.raises(InputError, match="one latent feeds all layers"):
        generator.rows((4, 16))
    with pytest.raises(InputError, match="has no styles"):
        generator.styles(z)
    with pytest.raises(InputError, match="one class alone"):
        generator.of_class(0)
    other = generator.with_weights({"synthesis.layer1.weight": torch.ones(CHANNELS[0], Z, 4, 4)})
    assert not other.space.matches(generator.space)  # Though w is z in both.


@pytest.mark.parametrize("name", ["layer2", "layer3", "layer8"])
def test_shifted_weights_draw_as_weights_that_were_added_to(name: str, generator: ProGAN) -> None:
    shifted_draws_as_added(generator, name)
    assert "synthesis.layer4.weight" not in generator.tunable_weights(16)
    assert "synthesis.layer5.weight" in generator.tunable_weights(16)


def test_components_of_a_layer_move_z(file: Path) -> None:
    generator = load(file)
    found = directions.find_components(generator, directions.ComponentSettings(layer="layer3", count=4, samples=200))
    assert found.directions.shape == (4, Z)
    z = generator.sample([1])
    assert not torch.allclose(generator.render(z + found.directions[:1]), generator.render(z))


@pytest.mark.parametrize(("arguments", "told"), [
    ({"label_size": 3}, "label_size = 3"), ({"use_pixelnorm": False}, "use_pixelnorm = False"),
    ({"num_channels": 1}, "num_channels = 1"), ({"fused_scale": "auto"}, "fused_scale = 'auto'")])
def test_other_networks_are_refused(arguments: dict[str, object], told: str, of: dict[str, Tensor],
                                    tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        load(tensorflow_file(tmp_path / "a.pkl", of, **arguments))


def test_files_that_do_not_fit_are_refused(of: dict[str, Tensor], tmp_path: Path) -> None:
    def refused(told: str, changed: Mapping[str, Tensor | None]) -> None:
        kept = {name: value for name, value in (of | changed).items() if value is not None}
        with pytest.raises(InputError, match=rf"a\.pkl.*{told}"):
            load(tensorflow_file(tmp_path / "a.pkl", kept))

    refused("still growing", {"lod": torch.tensor(1.5)})
    refused("missing", {"16x16/Conv1/bias": None})
    refused("missing", {"16x16/Conv0_up/weight": None, "16x16/Conv0_up/bias": None})
    refused("'8x8/Other/weight' is none of a generator", {"8x8/Other/weight": torch.zeros(3, 3, 2, 2)})
    refused("shape", {"8x8/Conv1/weight": torch.zeros(3, 3, 2, 2)})
    refused("shape", {"4x4/Dense/weight": torch.zeros(5)})
    refused("NaN", {"4x4/Conv/bias": torch.full([12], float("nan"))})
    state = ganspace_weights(of) | {"layer3.other": torch.zeros(1)}
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"b\.pth.*'layer3\.other' is none of a generator"):
        load(tmp_path / "b.pth")


def test_the_published_sizes() -> None:
    config = ProGANConfig(channels=(512, 512, 512, 512, 256, 128, 64))
    assert config.img_resolution == 256
    assert [layer.name for layer in config.layers()][-1] == "layer14"
    assert ProGANConfig(channels=(512, 512, 512, 512, 256, 128, 64, 32, 16)).img_resolution == 1024
    with pytest.raises(ValueError, match="8 to 1024"):
        ProGANConfig(channels=(8,))
