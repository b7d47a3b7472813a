"""BigGAN-deep: the published weights draw what its equations say; then what every generator promises."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import directions
from generators import BigGAN, BigGANConfig, class_index, convert, load, load_mapped, write_mapped
from inversion import load_inversion
from tests.commands.running import made_by, refused
from tests.generators.made_generators import make_generator
from tests.generators.promises import shifted_draws_as_added
from weights.errors import InputError

CHANNELS, Z, EMBEDDING, CLASSES = (32, 32, 16, 16, 8), 6, 5, 3
ATTENTION = 2
CONDITION = Z + EMBEDDING


def variables(classes: int = CLASSES) -> dict[str, Tensor]:
    """A state dict as the package pytorch-pretrained-biggan writes it, of 16 pixels, with u and v of each weight."""
    rng = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {"embeddings.weight": torch.randn(EMBEDDING, classes, generator=rng)}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        made[f"generator.{name}"] = torch.randn(shape, generator=rng) * scale

    def spectral(name: str, *shape: int, bias: bool = True) -> None:
        add(f"{name}.weight_orig", *shape)
        left, _, right = torch.linalg.svd(made[f"generator.{name}.weight_orig"].flatten(1), full_matrices=False)
        made[f"generator.{name}.weight_u"], made[f"generator.{name}.weight_v"] = left[:, 0], right[0]
        if bias:
            add(f"{name}.bias", shape[0], scale=0.3)

    def norm(name: str, channels: int) -> None:
        add(f"{name}.running_means", 51, channels, scale=0.3)
        made[f"generator.{name}.running_vars"] = torch.rand(51, channels, generator=rng) + 0.5

    spectral("gen_z", 16 * CHANNELS[0], CONDITION)
    for block, (inputs, outputs) in enumerate(pairwise(CHANNELS)):
        inner, layer = inputs // 4, f"layers.{block + (block >= ATTENTION)}"
        for index, (before, after, side) in enumerate(((inputs, inner, 1), (inner, inner, 3), (inner, inner, 3),
                                                       (inner, outputs, 1))):
            norm(f"{layer}.bn_{index}", before)
            spectral(f"{layer}.bn_{index}.scale", before, CONDITION, bias=False)
            spectral(f"{layer}.bn_{index}.offset", before, CONDITION, bias=False)
            spectral(f"{layer}.conv_{index}", after, before, side, side)
    wide = CHANNELS[ATTENTION]
    made[f"generator.layers.{ATTENTION}.gamma"] = torch.tensor([0.7])
    for name, after, before in (("theta", wide // 8, wide), ("phi", wide // 8, wide), ("g", wide // 2, wide),
                                ("o_conv", wide, wide // 2)):
        spectral(f"layers.{ATTENTION}.snconv1x1_{name}", after, before, 1, 1, bias=False)
    norm("bn", CHANNELS[-1])
    add("bn.weight", CHANNELS[-1])
    add("bn.bias", CHANNELS[-1], scale=0.3)
    spectral("conv_to_rgb", CHANNELS[-1], CHANNELS[-1], 3, 3)
    return made


class Published:
    """The picture as the paper (appendix B, figure 16) and its published weights have it, in float64."""

    def __init__(self, of: Mapping[str, Tensor]) -> None:
        self.of = {name.removeprefix("generator."): value.double() for name, value in of.items()}

    def weight(self, name: str) -> Tensor:
        weight = self.of[f"{name}.weight_orig"]
        return weight / torch.linalg.matrix_norm(weight.flatten(1), 2)

    def normed(self, x: Tensor, name: str, step: int, scale: Tensor, offset: Tensor) -> Tensor:
        mean, variance = (self.of[f"{name}.running_{kind}"][step][:, None, None] for kind in ("means", "vars"))
        return F.relu((x - mean) / (variance + 1e-4).sqrt() * scale[..., None, None] + offset[..., None, None])

    def attended(self, x: Tensor) -> Tensor:
        theta, phi, g = (F.conv2d(x, self.weight(f"layers.{ATTENTION}.snconv1x1_{name}")) for name in
                         ("theta", "phi", "g"))
        phi, g = (F.max_pool2d(each, 2).flatten(2) for each in (phi, g))
        shares = torch.einsum("nca,ncb->nab", theta.flatten(2), phi).softmax(dim=2)
        seen = torch.einsum("nab,ncb->nca", shares, g).unflatten(2, x.shape[2:])
        out = F.conv2d(seen, self.weight(f"layers.{ATTENTION}.snconv1x1_o_conv"))
        return x + self.of[f"layers.{ATTENTION}.gamma"] * out

    def __call__(self, conditions: Tensor, step: int) -> Tensor:  # [N, L, CONDITION], index among the statistics
        x = F.linear(conditions[:, 0], self.weight("gen_z"), self.of["gen_z.bias"])
        x = x.reshape(len(x), 4, 4, CHANNELS[0]).permute(0, 3, 1, 2)
        for block in range(len(CHANNELS) - 1):
            x = self.attended(x) if block == ATTENTION else x
            layer, before = f"layers.{block + (block >= ATTENTION)}", x
            for index in range(4):
                name = f"{layer}.bn_{index}"
                scale, offset = (conditions[:, block + 1] @ self.weight(f"{name}.{part}").T
                                 for part in ("scale", "offset"))
                x = self.normed(x, name, step, 1 + scale, offset)
                if index == 1 and block % 2:
                    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = F.conv2d(x, self.weight(f"{layer}.conv_{index}"), self.of[f"{layer}.conv_{index}.bias"],
                             padding=int(index in (1, 2)))
            before = before[:, :x.shape[1]]
            x = x + (before.repeat_interleave(2, 2).repeat_interleave(2, 3) if block % 2 else before)
        x = self.normed(x, "bn", step, self.of["bn.weight"], self.of["bn.bias"])
        x = F.conv2d(x, self.weight("conv_to_rgb"), self.of["conv_to_rgb.bias"], padding=1)
        return x[:, :3].tanh()


@pytest.fixture(scope="module")
def of() -> dict[str, Tensor]:
    return variables()


@pytest.fixture(scope="module")
def file(of: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("biggan") / "biggan-deep-16-pytorch_model.bin"
    torch.save(of, path, _use_new_zipfile_serialization=False)  # The published ones are as old.
    return path


@pytest.fixture
def generator(file: Path) -> BigGAN:
    generator = load(file).double()
    assert isinstance(generator, BigGAN)
    return generator


@pytest.mark.parametrize(("truncation", "step"), [(1.0, 50), (0.4, 20), (0.02, 1)])
def test_the_published_weights_draw_what_the_equations_say(generator: BigGAN, of: dict[str, Tensor], truncation: float,
                                                          step: int) -> None:
    w = generator.mapping(generator.draw_z([1, 2]), truncation=truncation)
    assert torch.allclose(generator.render(w), Published(of)(generator.broadcast(w)[..., :-1], step), atol=1e-5)
    ws = torch.randn(2, generator.num_ws, CONDITION, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    whole = torch.cat([ws, torch.full_like(ws[..., :1], truncation)], dim=2)
    assert torch.allclose(generator.render(whole), Published(of)(ws, step), atol=1e-5)


def test_what_blocks_read_is_z_cut_off_the_class_and_the_truncation(generator: BigGAN, of: dict[str, Tensor]) -> None:
    z = torch.linspace(-9, 9, 60_000 * Z, dtype=torch.float64).reshape(-1, Z)
    w = generator.mapping(z)
    cut = w[:, :Z].flatten()
    assert bool((cut.diff() >= 0).all())
    assert float(cut.abs().max()) <= 2.0
    drawn = generator.mapping(torch.randn(50_000, Z, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert abs(float(drawn[:, :Z].var()) - 0.7737) < 0.01  # Of a normal distribution cut off at 2.
    assert torch.equal(w[0, Z:-1], of["embeddings.weight"][:, 0].double())
    assert torch.equal(w[:, -1], torch.ones(len(w), dtype=torch.float64))
    half = generator.mapping(z[:5], truncation=0.5)
    assert torch.allclose(half[:, :Z], w[:5, :Z] / 2)
    assert torch.equal(half[:, -1], torch.full([5], 0.5, dtype=torch.float64))
    assert float(generator.neutral()[:Z].abs().max()) == 0


def test_classes(generator: BigGAN, of: dict[str, Tensor]) -> None:
    second = generator.of_class(1)
    w = second.sample([1])
    assert torch.equal(w[0, Z:-1], of["embeddings.weight"][:, 1].double())
    one_hot = F.one_hot(torch.tensor([1]), CLASSES).double()
    assert torch.equal(generator.mapping(generator.draw_z([1]), one_hot), w)
    assert second.space.matches(generator.space)  # Directions of z hold for all classes.
    assert class_index(generator, "2") == 2
    for named in ("3", 7):
        with pytest.raises(InputError, match=r"no class .* 0 to 2"):
            class_index(generator, named)
    with pytest.raises(InputError, match="no names"):
        class_index(generator, "tabby")
    with pytest.raises(InputError, match="one class alone"):
        class_index(make_generator(32), "tabby")


def test_names_of_imagenets_classes() -> None:
    config = BigGANConfig(channels=(8, 8, 8, 8, 8), attention=0, z_dim=1, embedding=1)
    with torch.device("meta"):
        generator = BigGAN(config)
    assert class_index(generator, "Golden_retriever") == 207
    assert class_index(generator, "tench") == 0
    with pytest.raises(InputError, match=r"'husky'.*nearest are siberian husky"):
        class_index(generator, "husky")
    for wrong in ("", "-1"):
        with pytest.raises(InputError, match="choose a number from 0 to 999"):
            class_index(generator, wrong)
    with pytest.raises(InputError, match=r"golden retriever"):
        class_index(generator, "golden retreiver")


def test_what_every_generator_promises(generator: BigGAN, file: Path, tmp_path: Path) -> None:
    assert generator.row_positions == (4, 6, 8, 12, 16)
    w = torch.cat([generator.sample([1, 2]), generator.of_class(1).sample([3], truncation=0.37)])
    whole = generator.render(w)
    assert torch.allclose(whole, torch.cat([generator.render(row[None]) for row in w]), atol=1e-10)
    ws = generator.broadcast(w).clone()
    for row in range(generator.num_ws):
        changed = ws.clone()
        changed[:, row, :Z] += 1
        assert not torch.allclose(generator.render(changed), whole)
        moved = (generator.styles(changed) - generator.styles(ws)).abs().amax(dim=0) > 0
        read = [(layer.start, layer.stop) for layer in generator.layers if layer.row == row]
        assert int(moved.sum()) == sum(stop - start for start, stop in read)
        assert all(bool(moved[start:stop].all()) for start, stop in read)
    change = torch.zeros_like(generator.styles(w))
    assert torch.allclose(generator.render(w, style_change=change), whole)
    assert not torch.allclose(generator.render(w, style_change=change + 0.1), whole)
    for layer in generator.layers:
        assert generator.activations(w, layer.name).shape[2:] == (layer.side, layer.side)
    with generator.precision(torch.bfloat16):
        assert torch.allclose(generator.render(w), whole, atol=0.2)
    convert(file, tmp_path / "own.safetensors")
    own = load(tmp_path / "own.safetensors")
    assert own.hash == load(file).hash
    assert torch.allclose(own.double().render(w), whole, atol=1e-6)
    write_mapped(tmp_path / "mapped.safetensors", load(file))
    assert load_mapped(tmp_path / "mapped.safetensors").space.matches(generator.space)


def test_truncations_between_those_stored_are_between_them(generator: BigGAN) -> None:
    norm = generator.synthesis.norm
    one = torch.ones(1, CHANNELS[-1], dtype=torch.float64)
    _, added = norm(one, 0 * one, torch.tensor([0.405], dtype=torch.float64))
    gain, _ = norm(one, 0 * one, torch.tensor([0.405], dtype=torch.float64))
    mean = norm.mean[20] * 0.75 + norm.mean[21] * 0.25
    assert torch.allclose(-(added / gain)[0, :, 0, 0], mean)


@pytest.mark.parametrize("name", ["b0.conv0", "b1.conv1", "b3.conv3"])
def test_shifted_weights_draw_as_weights_that_were_added_to(name: str, generator: BigGAN) -> None:
    shifted_draws_as_added(generator, name)
    w = generator.sample([1, 2])
    tuned = generator.with_weights({name: torch.ones_like(value) for name, value in
                                    generator.tunable_weights(8).items()})
    assert torch.equal(tuned.styles(w), generator.styles(w))


def test_components_of_gen_z_move_z_alone(file: Path) -> None:
    generator = load(file)
    settings = directions.ComponentSettings(layer="gen_z", count=4, samples=200)
    found = directions.find_components(generator, settings)
    assert found.directions.shape == (4, generator.w_dim)
    assert float(found.directions[:, Z:].abs().max()) < 1e-3
    assert np.isclose(float(found.shares.sum()), 1.0, atol=0.5)


def test_the_command_line_draws_a_class(generator: BigGAN, file: Path, tmp_path: Path) -> None:
    common = ("sample", "--generator", file, "--count", 1, "--seed", 3)
    made_by(*common, "--class", 2, "--truncation", 0.4, "--out", tmp_path)
    latent = load_inversion(tmp_path / "sample3.latent.safetensors").latent.double()
    assert torch.allclose(latent, generator.of_class(2).sample([3], truncation=0.4)[0], atol=1e-6)
    refused(*common, "--class", 9, "--out", tmp_path / "b", words="choose one of 0 to 2")
    refused("discover", "weights", "--generator", file, "--layer", "b1.conv1", "--out", tmp_path / "w.safetensors",
            words="pictures of 16 x 16 pixels are too small to be compared")


def test_files_that_do_not_fit_are_refused(of: dict[str, Tensor], tmp_path: Path) -> None:
    def unreadable(told: str, changes: Mapping[str, Tensor | None]) -> None:
        state = {name: value for name, value in (of | changes).items() if value is not None}
        torch.save(state, tmp_path / "a.bin")
        with pytest.raises(InputError, match=rf"a\.bin.*{told}"):
            load(tmp_path / "a.bin")

    unreadable("missing", {"generator.layers.1.conv_1.weight_u": None})
    unreadable("missing", {"generator.layers.1.bn_1.offset.weight_orig": None})
    unreadable("missing", {"generator.bn.bias": None})
    unreadable("is none of a generator", {"generator.layers.1.other": torch.zeros(1)})
    unreadable("do not fit", {"generator.layers.1.conv_1.weight_v": torch.zeros(2)})
    unreadable("NaN", {"generator.bn.bias": torch.full([8], float("nan"))})
    unreadable("shape", {"generator.bn.bias": torch.zeros(9)})


def test_the_published_sizes() -> None:
    for side, channels, rows in ((128, (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1), 11),
                                 (256, (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1), 13),
                                 (512, (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1), 15)):
        config = BigGANConfig(channels=tuple(128 * each for each in channels), attention=8)
        assert (config.img_resolution, config.blocks + 1, config.w_dim) == (side, rows, 257)
    with pytest.raises(ValueError, match="even number of blocks"):
        BigGANConfig(channels=(8, 8, 8, 8), attention=0)
    with pytest.raises(ValueError, match="block 9 is none"):
        BigGANConfig(channels=(8, 8, 8, 8, 8), attention=9)
    with pytest.raises(ValueError, match="multiples of 8"):
        BigGANConfig(channels=(8, 8, 8, 4, 4), attention=0)
