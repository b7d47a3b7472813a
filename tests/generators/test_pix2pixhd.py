"""pix2pixHD: the published weights draw what its layers say; label maps; directions of weights, before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from directions.navigan.basis import load_basis
from generators import Pix2PixHD, WeightShift, convert, load, read_label_maps
from generators.label_maps import COLOURS
from inversion import Projector
from tests.commands.running import made_by, refused
from tests.generators.made_generators import make_generator
from weights.errors import InputError

DOWN, BLOCKS, CHANNELS = 2, 2, 8


def variables(*, enhanced: bool, inputs: int = 36) -> dict[str, Tensor]:
    """A state dict of netG, "global" or "local", by the places in its sequences."""
    rng = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {}

    def conv(name: str, into: int, out: int, kernel: int, *, up: bool = False) -> None:
        made[f"{name}.weight"] = torch.randn(*((into, out) if up else (out, into)), kernel, kernel, generator=rng) * 0.2
        made[f"{name}.bias"] = torch.randn(out, generator=rng)

    def sequence(part: str, begin: int, channels: int, levels: int, blocks: int) -> None:
        wide = channels * 2 ** levels
        for block in range(begin, begin + blocks):
            conv(f"{part}.{block}.conv_block.1", wide, wide, 3)
            conv(f"{part}.{block}.conv_block.5", wide, wide, 3)
        for level in range(levels):
            into = wide // 2 ** level
            conv(f"{part}.{begin + blocks + 3 * level}", into, into // 2, 3, up=True)

    conv("model.1", inputs, CHANNELS, 7)
    for level in range(DOWN):
        conv(f"model.{4 + 3 * level}", CHANNELS * 2 ** level, CHANNELS * 2 ** (level + 1), 3)
    sequence("model", 4 + 3 * DOWN, CHANNELS, DOWN, BLOCKS)
    if not enhanced:
        conv(f"model.{5 + 6 * DOWN + BLOCKS}", CHANNELS, 3, 7)
        return made
    conv("model1_1.1", inputs, CHANNELS // 2, 7)
    conv("model1_1.4", CHANNELS // 2, CHANNELS, 3)
    sequence("model1_2", 0, CHANNELS // 2, 1, 1)
    conv("model1_2.5", CHANNELS // 2, 3, 7)
    return made


class Published:
    """The picture as the paper's figure 3 and its published weights have it, in float64, with every bias."""

    def __init__(self, of: dict[str, Tensor]) -> None:
        self.of = {name: value.double() for name, value in of.items()}

    def wide(self, x: Tensor, name: str) -> Tensor:  # A convolution that sees mirrored pixels beyond the edges.
        weight = self.of[f"{name}.weight"]
        reach = weight.shape[-1] // 2
        rows = [*range(reach, 0, -1), *range(x.shape[2]), *range(x.shape[2] - 2, x.shape[2] - 2 - reach, -1)]
        columns = [*range(reach, 0, -1), *range(x.shape[3]), *range(x.shape[3] - 2, x.shape[3] - 2 - reach, -1)]
        return F.conv2d(x[:, :, rows][:, :, :, columns], weight, self.of[f"{name}.bias"])

    def evened(self, x: Tensor) -> Tensor:
        deviation = ((x - x.mean(dim=(2, 3), keepdim=True)) ** 2).mean(dim=(2, 3), keepdim=True)
        return (x - x.mean(dim=(2, 3), keepdim=True)) / (deviation + 1e-5).sqrt()

    def encoder(self, x: Tensor, part: str, levels: int) -> Tensor:
        x = self.evened(self.wide(x, f"{part}.1")).relu()
        for level in range(levels):
            name = f"{part}.{4 + 3 * level}"
            x = self.evened(F.conv2d(F.pad(x, [1] * 4), self.of[f"{name}.weight"], self.of[f"{name}.bias"], 2)).relu()
        return x

    def decoder(self, x: Tensor, part: str, begin: int, levels: int, blocks: int) -> Tensor:
        for block in range(begin, begin + blocks):
            inner = self.evened(self.wide(x, f"{part}.{block}.conv_block.1")).relu()
            x = x + self.evened(self.wide(inner, f"{part}.{block}.conv_block.5"))
        for level in range(levels):
            name = f"{part}.{begin + blocks + 3 * level}"
            spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])  # Each second pixel, zeros between.
            spread[:, :, ::2, ::2] = x
            kernel = self.of[f"{name}.weight"].transpose(0, 1).flip(2, 3)
            x = self.evened(F.conv2d(spread, kernel, self.of[f"{name}.bias"], padding=1)).relu()
        return x

    def __call__(self, maps: Tensor) -> Tensor:
        x = torch.stack([(maps[:, 0] == number).double() for number in range(35)] + [maps[:, 1].double()], dim=1)
        begin = 4 + 3 * DOWN
        if "model1_1.1.weight" not in self.of:
            features = self.decoder(self.encoder(x, "model", DOWN), "model", begin, DOWN, BLOCKS)
            return self.wide(features, f"model.{5 + 6 * DOWN + BLOCKS}").tanh()
        seen = F.avg_pool2d(torch.ones_like(x), 3, 2, 1)  # A mean over the pixels that are there.
        coarse = self.encoder(F.avg_pool2d(x, 3, 2, 1) / seen, "model", DOWN)
        features = self.encoder(x, "model1_1", 1) + self.decoder(coarse, "model", begin, DOWN, BLOCKS)
        return self.wide(self.decoder(features, "model1_2", 0, 1, 1), "model1_2.5").tanh()


@pytest.fixture(scope="module")
def label_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    numbers = np.random.default_rng(0).choice([7, 11, 23, 26], size=(4, 8)).astype(np.uint8)
    path = tmp_path_factory.mktemp("maps") / "map.png"
    Image.fromarray(numbers.repeat(8, axis=0).repeat(8, axis=1)).save(path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pix2pixhd") / "latest_net_G.pth"
    torch.save(variables(enhanced=True), path)
    return path


@pytest.mark.parametrize("enhanced", [False, True])
def test_published_weights_draw_what_the_paper_says(enhanced: bool, label_file: Path, tmp_path: Path) -> None:
    of = variables(enhanced=enhanced)
    torch.save({**of, "model.2.running_mean": torch.zeros(CHANNELS)}, tmp_path / "net.pth")  # As old files have.
    generator = load(tmp_path / "net.pth", dtype=torch.float64)
    assert isinstance(generator, Pix2PixHD)
    maps = torch.cat([read_label_maps(label_file), read_label_maps(label_file).flip(3)])
    drawn = generator.render(maps)
    assert drawn.shape == (2, 3, 32, 64)
    assert float(drawn.std()) > 0.1
    assert torch.allclose(drawn, Published(of)(maps), atol=1e-8)
    assert torch.allclose(drawn, torch.cat([generator.render(each[None]) for each in maps]), atol=1e-12)
    convert(tmp_path / "net.pth", tmp_path / "own.safetensors")
    own = load(tmp_path / "own.safetensors", dtype=torch.float64)
    assert own.hash == generator.hash
    assert torch.equal(own.render(maps), drawn)


@pytest.mark.parametrize("name", ["coarse.encoder.first", "coarse.decoder.b1.conv0", "fine.decoder.up0", "last"])
def test_shifted_weights_draw_as_weights_that_were_added_to(name: str, file: Path, label_file: Path) -> None:
    generator = load(file, dtype=torch.float64)
    maps = read_label_maps(label_file).repeat(2, 1, 1, 1)
    weight = generator.convolutions()[name]
    shift = torch.randn_like(generator.get_parameter(weight)) * 0.1
    added = generator.with_weights({weight: shift}).render(maps)
    shifted = generator.shifted({name: WeightShift(shift[None], maps.new_tensor([[1.0], [0.0]]).double())}).render(maps)
    assert torch.allclose(shifted[0], added[0], atol=1e-9)
    assert torch.allclose(shifted[1], generator.render(maps)[1], atol=1e-9)
    assert not torch.allclose(shifted[0], shifted[1])


def test_what_it_lacks_it_says(file: Path, label_file: Path) -> None:
    generator = load(file)
    for lacking in (lambda: generator.sample([1]), generator.neutral, lambda: generator.space,
                    lambda: generator.styles(torch.zeros(1, 8)), lambda: generator.broadcast(torch.zeros(1, 8)),
                    lambda: generator.of_class(0),
                    lambda: Projector(generator).invert(np.zeros((64, 64, 3), np.uint8))):
        with pytest.raises(InputError, match=r"has no |one class alone"):
            lacking()
    maps = read_label_maps(label_file)
    for wrong, told in ((maps + 30, "no classes"), (maps[..., :-3], "make it 64 x 32")):
        with pytest.raises(InputError, match=told):
            generator.render(wrong)
    with pytest.raises(ValueError, match=r"\[N, 2, H, W\]"):
        generator.render(maps[0])


def test_label_maps_of_numbers_and_of_colours(label_file: Path, tmp_path: Path) -> None:
    numbers = np.array(Image.open(label_file))
    coloured = np.array([COLOURS.get(number, (0, 0, 0)) for number in range(35)], np.uint8)[numbers]
    Image.fromarray(coloured).save(tmp_path / "colours.png")
    maps = read_label_maps(label_file)
    assert torch.equal(maps[0, 0], torch.from_numpy(numbers).float())
    assert torch.equal(read_label_maps(tmp_path / "colours.png"), maps)
    instances = np.zeros((32, 64), np.uint16)
    instances[5:9, 10:20] = 26001
    Image.fromarray(instances).save(tmp_path / "instances.png")
    edges = read_label_maps(label_file, tmp_path / "instances.png")[0, 1]
    expected = torch.zeros(32, 64)  # Both sides of each border, and no corners.
    expected[4:10, 10:20], expected[5:9, 9:21], expected[6:8, 11:19] = 1, 1, 0
    assert torch.equal(edges, expected)
    for wrong, told in ((numbers + 20, "46, which is no class"), (coloured + 1, "none of Cityscapes' classes")):
        Image.fromarray(wrong).save(tmp_path / "wrong.png")
        with pytest.raises(InputError, match=rf"wrong\.png.*{told}"):
            read_label_maps(tmp_path / "wrong.png")
    Image.fromarray(instances[:-1]).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="and the label map 64 x 32"):
        read_label_maps(label_file, tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png.*cannot be read"):
        read_label_maps(tmp_path / "text.png")


def test_directions_of_weights_before_and_after(file: Path, label_file: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    Image.fromarray(np.array(Image.open(label_file)).repeat(2, 0).repeat(2, 1)).save(tmp_path / "map.png")
    of = "--generator", file
    find = "discover", "weights", *of, "--layer", "coarse.decoder.b0.conv0", "--count", 2
    [basis] = made_by(*find, "--labels", tmp_path / "map.png", "--rounds", 2, "--batch", 1)
    assert bool((load_basis(basis).lengths > 0).all())
    drawn = made_by("street", tmp_path / "map.png", *of, "--along", basis, "--directions", "1",
                    "--out", tmp_path / "out")
    before, moved = (np.array(Image.open(each)) for each in drawn)
    expected = load(file).render(read_label_maps(tmp_path / "map.png"))[0].permute(1, 2, 0)
    assert np.abs(before - (expected.numpy() + 1) * 127.5).max() <= 0.51
    one, middle, other = np.split(moved, 3, axis=1)
    assert np.array_equal(middle, before)
    assert not np.array_equal(one, before)
    assert not np.array_equal(one, other)
    refused(*find, words="draws label maps, not samples")
    refused("street", label_file, "--out", tmp_path / "a", words="draws none")
    refused("sample", *of, "--out", tmp_path / "a", words="this generator has no latent; it draws label maps")
    refused("edit", "--seed", 1, "--set", "smile=1", *of, words="this generator has no W; it draws label maps")
    for only in ((), ("--only", "invert")):
        job = (label_file, *([] if only else ["--set", "smile=1"]), *only, "--executor", "serial")
        refused("batch", *job, *of, "--out", tmp_path / "batch", words="this generator has no W; it draws label maps")
    refused("street", tmp_path / "map.png", *of, "--along", basis, "--directions", "5", "--out", tmp_path / "a",
            words="no direction 5")


def test_too_little_memory_is_told_before(file: Path, label_file: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.array(Image.open(label_file)).repeat(2, 0).repeat(2, 1)).save(tmp_path / "map.png")
    of = "street", tmp_path / "map.png", "--generator", file, "--out", tmp_path / "out"
    monkeypatch.setattr("directions.finding.free_memory", lambda: 2 * 10**6)
    refused(*of, words="map.png: a street of 128 x 64 pixels needs about 0.0 GB of memory, and 0.0 are free")
    monkeypatch.setattr("directions.finding.free_memory", lambda: None)  # Where the system does not tell.
    made_by(*of)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def unreadable(told: str, changes: dict[str, Tensor | None], inputs: int = 36) -> None:
        state = {**variables(enhanced=True, inputs=inputs), **changes}
        torch.save({name: value for name, value in state.items() if value is not None}, tmp_path / "a.pth")
        with pytest.raises(InputError, match=rf"a\.pth.*{told}"):
            load(tmp_path / "a.pth")

    unreadable("missing", {"model.4.weight": None})
    unreadable("is none of a generator", {"model1_2.9.weight": torch.zeros(1)})
    unreadable("shape", {"model.7.weight": torch.zeros(8, 8, 3, 3)})
    unreadable("NaN", {"model.7.weight": torch.full([32, 16, 3, 3], float("nan"))})
    unreadable("reads 39 channels", {}, inputs=39)
    unreadable("not in one row", {"model.30.conv_block.1.weight": torch.zeros(1)})
    assert make_generator(32).class_index is None
