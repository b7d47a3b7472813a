"""MobileStyleGAN: properties of its pictures at every side, and a plain re-computation of its Haar transform."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from generators import MobileStyleGAN, MobileStyleGANConfig, load
from generators.checkpoints import write
from generators.mobilestylegan_layers import inverse_haar
from tests.generators.made_generators import make_student
from weights.errors import InputError

SIDES = (8, 16, 32)


@pytest.fixture(scope="module")
def generator() -> MobileStyleGAN:
    return make_student(dtype=torch.float64)


def test_rows_are_stylegan2s_by_side() -> None:
    config = MobileStyleGANConfig(img_resolution=1024, channels=(512,) * 5 + (256, 128, 64), readouts={})
    assert config.num_ws == 16
    generator = make_student(64)
    assert generator.row_positions == (4, 8, 12, 16, 24, 32, 48, 64)
    assert generator.rows((12, 48)) == (2, 6)
    assert generator.sides == (16, 32, 64)


@pytest.mark.parametrize("side", SIDES)
def test_batch_equals_singles(generator: MobileStyleGAN, side: int) -> None:
    w = generator.sample(range(3))
    singles = torch.cat([generator.render(row[None], side) for row in w])
    assert singles.shape == (3, 3, side, side)
    assert torch.allclose(generator.render(w, side), singles, atol=1e-12)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_strips_make_the_whole_picture(resolution: int) -> None:
    generator = make_student(resolution, dtype=torch.float64)
    w = generator.sample(range(2))
    with torch.no_grad():
        strips = generator.render(w)
    assert torch.allclose(strips, generator.render(w), atol=1e-12)
    *_, (last, picture) = generator.synthesis.features(generator.synthesis.styles(generator.broadcast(w)),
                                                       generator.synthesis.noise_maps("const", 2))
    assert last.name == "to_img"
    assert torch.allclose(strips, picture, atol=1e-12)


@pytest.mark.parametrize("window", [(0, 0, 64, 64), (0, 0, 5, 7), (13, 22, 30, 19), (40, 41, 24, 23), (63, 0, 1, 64)])
@pytest.mark.parametrize("side", [16, 32, 64, 8])
def test_a_window_is_a_part_of_the_whole_picture(side: int, window: tuple[int, int, int, int]) -> None:
    generator = make_student(64, dtype=torch.float64)
    ws = generator.broadcast(generator.sample(range(2)))
    whole = generator.render(ws)
    top, left, height, width = window
    small, part = generator.render_with_window(ws, side, window)
    assert torch.allclose(part, whole[:, :, top:top + height, left:left + width], atol=1e-12)
    drawn = generator.render(ws, side) if side in generator.sides else F.adaptive_avg_pool2d(whole, side)
    assert torch.allclose(small, drawn, atol=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_each_row_reaches_its_layers_alone(generator: MobileStyleGAN, side: int) -> None:
    ws = generator.broadcast(generator.sample([1])).clone()
    for row in range(generator.num_ws):
        changed = ws.clone()
        changed[:, row] += 1
        assert not torch.allclose(generator.render(changed, side), generator.render(ws, side)), row
        for layer in generator.layers:
            same = torch.equal(generator.activations(changed, layer.name), generator.activations(ws, layer.name))
            assert same == (layer.row < row), (row, layer.name)


@pytest.mark.parametrize("side", SIDES)
def test_gradient_with_respect_to_w_plus(generator: MobileStyleGAN, side: int) -> None:
    ws = generator.broadcast(generator.sample([1, 2])).clone().requires_grad_()
    torch.manual_seed(0)
    direction, weights = torch.randn_like(ws), torch.randn(2, 3, side, side, dtype=torch.float64)
    (generator.render(ws, side) * weights).sum().backward()
    with torch.no_grad():
        change = ((generator.render(ws + 1e-7 * direction, side) - generator.render(ws - 1e-7 * direction, side))
                  * weights).sum() / 2e-7
    assert torch.allclose(change, (ws.grad * direction).sum(), rtol=1e-5)


def test_inverse_haar() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 12, 3, 5, dtype=torch.float64, requires_grad=True)
    low, horizontal, vertical, diagonal = x.split(3, dim=1)
    picture = inverse_haar(x)
    assert torch.allclose(picture[:, :, 0::2, 0::2], low + vertical + horizontal + diagonal)
    assert torch.allclose(picture[:, :, 0::2, 1::2], low + vertical - horizontal - diagonal)
    assert torch.allclose(picture[:, :, 1::2, 0::2], low - vertical + horizontal - diagonal)
    assert torch.allclose(picture[:, :, 1::2, 1::2], low - vertical - horizontal + diagonal)
    assert torch.autograd.gradcheck(inverse_haar, x)


def test_untrained_readouts_are_exact_where_there_is_no_detail(generator: MobileStyleGAN) -> None:
    """Depthwise kernels of one number, and Haar transforms of low bands alone: nothing is left out."""
    generator = make_student(dtype=torch.float64)
    for block in generator.synthesis.layers:
        for modulation in (block.up.modulation.weight, block.up.modulation.bias):
            modulation[len(modulation) // 4:] = 0
        for layer in (block.conv1, block.conv2):
            layer.depthwise[:, :, 1, 1] = layer.depthwise.sum(dim=[2, 3])
            layer.depthwise[:, :, (0, 0, 0, 1, 1, 2, 2, 2), (0, 1, 2, 0, 2, 0, 1, 2)] = 0
    generator.synthesis.start_readouts()
    w = generator.sample([1, 2])
    whole = generator.render(w, noise_mode="none")
    for side in SIDES[:2]:
        averaged = F.interpolate(F.avg_pool2d(whole, 64 // side), scale_factor=2)
        assert torch.allclose(generator.render(w, side, noise_mode="none"), averaged, atol=1e-10)


@pytest.mark.parametrize("side", SIDES)
def test_noise_can_be_set(side: int) -> None:
    generator = make_student()
    w, before = generator.sample([1]), generator.noise
    const, none, random = (generator.render(w, side, noise_mode=mode) for mode in ("const", "none", "random"))
    assert not torch.allclose(const, none)
    assert not torch.allclose(const, random)
    assert [len(noise) for noise in before] == [4, 8, 8, 16, 16]
    generator.noise = [torch.zeros_like(noise).requires_grad_() for noise in before]
    assert torch.allclose(generator.render(w, side), none)
    generator.render(w, side).sum().backward()
    assert all(noise.grad is not None for noise in generator.noise)
    generator.noise = before
    assert torch.equal(generator.render(w, side), const)


@pytest.mark.parametrize("side", SIDES)
def test_changed_styles_are_those_of_a_changed_latent(generator: MobileStyleGAN, side: int) -> None:
    a, b = generator.sample([1]), generator.sample([2])
    change = generator.styles(b) - generator.styles(a)
    assert change.shape == (1, generator.layers[-1].stop)
    changed = generator.render(a, side, style_change=change)
    assert torch.allclose(changed, generator.render(b, side), atol=1e-10)


def test_layers_tell_their_side(generator: MobileStyleGAN) -> None:
    w = generator.sample([1])
    for layer in generator.layers:
        assert generator.activations(w, layer.name).shape[2:] == (layer.side, layer.side)
    assert torch.allclose(generator.activations(w, "to_img"), generator.render(w))
    with pytest.raises(ValueError, match=r"no layer 'b4'.*layers\.0\.conv1"):
        generator.activations(w, "b4")


def test_tunable_weights_leave_the_styles_alone(generator: MobileStyleGAN) -> None:
    weights = generator.tunable_weights(16)
    assert list(weights) == [f"synthesis.{name}" for name in (
        "layers.1.conv1.depthwise", "layers.1.conv1.weight", "layers.1.conv2.depthwise", "layers.1.conv2.weight",
        "to_img.weight")]
    w = generator.sample([1])
    tuned = generator.with_weights({name: torch.full_like(weight, 0.1) for name, weight in weights.items()})
    assert torch.equal(tuned.styles(w), generator.styles(w))
    assert not torch.allclose(tuned.render(w), generator.render(w))
    assert tuned.space.matches(generator.space)


def test_reduced_precision_is_close(generator: MobileStyleGAN) -> None:
    generator = make_student()
    w = generator.sample([1, 2])
    for side in SIDES:
        exact = generator.render(w, side)
        with generator.precision(torch.bfloat16):
            reduced = generator.render(w, side)
        assert reduced.dtype == torch.float32
        assert 0 < (reduced - exact).abs().mean() < 0.02 * exact.abs().mean(), side


@pytest.mark.parametrize("half", [False, True])
def test_a_file_gives_the_generator_back(half: bool, tmp_path: Path) -> None:
    generator = make_student()
    write(tmp_path / "a.safetensors", generator.config, generator.state_dict(), half=half)
    again = load(tmp_path / "a.safetensors")
    assert again.config == generator.config
    expected = {name: value.half().float() if half else value for name, value in generator.state_dict().items()}
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert again.space.matches(generator.space)
    if not half:
        assert torch.allclose(again.render(again.sample([1])), generator.render(generator.sample([1])), atol=1e-5)


def test_files_with_other_weights_are_refused(tmp_path: Path) -> None:
    generator = make_student()
    state = generator.state_dict()
    del state["synthesis.layers.1.conv1.depthwise"]
    with pytest.raises(InputError, match=r"synthesis\.layers\.1\.conv1\.depthwise is missing"):
        write(tmp_path / "a.safetensors", generator.config, state)


def test_impossible_sizes_are_refused() -> None:
    sizes = {"img_resolution": 32, "channels": (16, 8, 8), "readouts": {8: 4}}
    MobileStyleGANConfig(**sizes)
    for bad, words in (({"img_resolution": 48}, "power of two"), ({"channels": (16, 8)}, "3 channel counts"),
                       ({"channels": (16, 8, 6)}, "multiples of 4"), ({"readouts": {4: 4}}, "no features .* 4 pixels")):
        with pytest.raises(ValueError, match=words):
            MobileStyleGANConfig(**{**sizes, **bad})  # type: ignore[arg-type]
