"""The networks while they are trained: the same pictures as when rendered, filters, gradients of every order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2 import Generator, GeneratorConfig
from stylegan2.layers import fir_filter
from weights.errors import InputError
from weights.training.gan import losses
from weights.training.gan.chance import generator as chance
from weights.training.gan.discriminator import GROUP, Discriminator, with_spread
from weights.training.gan.filters import Filters, down_convolve, up_convolve
from weights.training.gan.precision import Precision, choose_precision
from weights.training.gan.synthesis import draw_noise, render

TINY = GeneratorConfig(img_resolution=32, channels=(6, 5, 4, 3), z_dim=8, w_dim=8, mapping_layers=2)
FULL = Precision()


@pytest.fixture
def tiny() -> Generator:
    torch.manual_seed(0)
    generator = Generator(TINY).double()
    for name, weight in generator.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            torch.nn.init.normal_(weight, mean=float(name.endswith("affine.bias")), std=0.3)
    return generator


def judge(config: GeneratorConfig = TINY) -> Discriminator:
    torch.manual_seed(1)
    discriminator = Discriminator(config).double()
    for name, weight in discriminator.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.3)
    return discriminator


# The generator.

@pytest.mark.parametrize("filters", ["separate", "fused"])
def test_the_picture_is_the_one_that_will_be_rendered(tiny: Generator, filters: Filters) -> None:
    ws = torch.randn(3, tiny.num_ws, 8, dtype=torch.float64)
    assert torch.allclose(render(tiny.synthesis, ws, precision=FULL, filters=filters),
                          tiny.render(ws, noise_mode="none"), atol=1e-12)
    half = GeneratorConfig(**{**vars(TINY), "conv_clamp": 0.5})
    clamped = Generator(half).double()
    clamped.load_state_dict(tiny.state_dict())
    assert torch.allclose(render(clamped.synthesis, ws, precision=FULL, filters=filters),
                          clamped.render(ws, noise_mode="none"), atol=1e-12)


def test_noise_is_added_as_when_rendering(tiny: Generator) -> None:
    ws = torch.randn(2, tiny.num_ws, 8, dtype=torch.float64)
    maps = [module.noise_const[None, None] for module in tiny.synthesis.modules() if hasattr(module, "noise_const")]
    assert torch.allclose(render(tiny.synthesis, ws, precision=FULL, noise=maps), tiny.render(ws), atol=1e-12)
    drawn = draw_noise(TINY, 2, chance("cpu", 0))
    assert [tuple(each.shape) for each in drawn] == [(2, 1, *each.shape[2:]) for each in maps]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_draws_nearly_the_same_picture(tiny: Generator, half: torch.dtype) -> None:
    tiny = tiny.float()
    ws = torch.randn(4, tiny.num_ws, 8)
    tiny.requires_grad_(False)
    exact = render(tiny.synthesis, ws, precision=FULL)
    halved = render(tiny.synthesis, ws, precision=Precision(half, 16))
    assert halved.dtype == torch.float32
    error = float((halved - exact).square().mean().sqrt() / exact.std())
    assert 0 < error < (0.02 if half == torch.bfloat16 else 0.003)


def test_float16_survives_large_weights_and_styles(tiny: Generator) -> None:
    with torch.no_grad():
        for name, weight in tiny.named_parameters():
            if name.endswith(("conv0.weight", "conv1.weight")):
                weight *= 3000
            if name.endswith(("conv0.affine.weight", "conv1.affine.weight")):
                weight *= 100
    tiny = tiny.float()
    ws = torch.randn(2, tiny.num_ws, 8)
    tiny.requires_grad_(False)
    exact = render(tiny.synthesis, ws, precision=FULL)
    halved = render(tiny.synthesis, ws, precision=Precision(torch.float16, 8))
    assert torch.isfinite(halved).all()
    assert float((halved - exact).square().mean().sqrt() / exact.std()) < 0.01


# Filters.

def shaped(kernel: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(4, 3, kernel, kernel, dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 3])
def test_both_ways_to_filter_before_halving_are_that_of_the_definition(kernel: int) -> None:
    x, weight = shaped(kernel)
    fir = fir_filter().double()
    padded = F.pad(x, [(kernel + 1) // 2] * 4)
    side = padded.shape[2] - 3
    smooth = sum(fir[i, j] * padded[:, :, i:i + side, j:j + side] for i in range(4) for j in range(4))
    expected = F.conv2d(smooth, weight)[:, :, ::2, ::2]
    for filters in ("separate", "fused"):
        result = down_convolve(x, weight, fir, filters)  # type: ignore[arg-type]
        assert result.shape == (2, 4, 4, 4)
        assert torch.allclose(result, expected, atol=1e-12)


def test_both_ways_to_filter_after_doubling_are_that_of_the_definition() -> None:
    x, weight = shaped(3)
    fir = fir_filter().double()
    spread = torch.zeros(2, 3, 17, 17, dtype=torch.float64)  # Zeros between the values, then a plain convolution.
    spread[:, :, :16:2, :16:2] = x
    raised = F.conv2d(F.pad(spread, [2, 0, 2, 0]), weight.flip([2, 3]))
    padded = F.pad(raised, [1, 1, 1, 1])
    expected = sum(4 * fir[i, j] * padded[:, :, i:i + 16, j:j + 16] for i in range(4) for j in range(4))
    for filters in ("separate", "fused"):
        assert torch.allclose(up_convolve(x, weight, fir, filters), expected, atol=1e-12)  # type: ignore[arg-type]


def test_halving_keeps_a_flat_picture_and_removes_what_is_too_fine() -> None:
    fir, keep = fir_filter(), torch.ones(1, 1, 1, 1)
    flat = down_convolve(torch.ones(1, 1, 16, 16), keep, fir, "separate")
    assert torch.allclose(flat[:, :, 1:-1, 1:-1], torch.ones(1, 1, 6, 6))
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float() * 2 - 1
    assert down_convolve(board[None, None], keep, fir, "separate")[:, :, 1:-1, 1:-1].abs().max() < 1e-6


# The discriminator.

@pytest.mark.parametrize("config", [TINY, GeneratorConfig(img_resolution=128, channels=(8, 8, 8, 6, 4, 2))])
def test_one_logit_for_each_picture(config: GeneratorConfig) -> None:
    side = config.img_resolution
    logits = Discriminator(config)(torch.randn(4, 3, side, side))
    assert logits.shape == (4,)
    assert logits.dtype == torch.float32
    with pytest.raises(ValueError, match="pictures must be"):
        Discriminator(config)(torch.randn(4, 3, 16, 16))


def test_its_parameters_are_of_unit_variance_and_its_activations_too() -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(img_resolution=64, channels=(64, 64, 64, 64, 64))
    discriminator = Discriminator(config)
    spreads = []
    for side in (64, 16, 8):
        block = getattr(discriminator, f"b{side}")
        block.register_forward_hook(lambda _, __, y: spreads.append(float(y.detach().std())))
    discriminator(torch.randn(4, 3, 64, 64))
    assert all(0.3 < spread < 2 for spread in spreads)
    stored = [float(weight.detach().std()) for name, weight in discriminator.named_parameters()
              if name.endswith("weight")]
    assert all(0.8 < std < 1.2 for std in stored)


def test_pictures_are_judged_in_groups_only_by_their_spread() -> None:
    discriminator = judge()
    pictures = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    whole = discriminator(pictures)
    # Groups are every second picture here: N / GROUP = 2.
    assert torch.allclose(whole[::2], discriminator(pictures[::2]), atol=1e-12)
    same = pictures[:1].expand(4, -1, -1, -1)
    assert torch.allclose(with_spread(same)[:, -1], torch.full([], 1e-4, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 3), (7, 1), (2, 2), (1, 1)])
def test_the_spread_is_the_mean_standard_deviation_of_a_group(count: int, size: int) -> None:
    x = torch.randn(count, 5, 4, 4)
    result = with_spread(x)
    assert result.shape == (count, 6, 4, 4)
    assert torch.equal(result[:, :5], x)
    assert size <= GROUP
    group = x[::count // size]
    expected = (group.var(0, correction=0) + 1e-8).sqrt().mean()
    assert torch.allclose(result[0, 5], expected.expand(4, 4), atol=1e-6)


def test_both_ways_to_filter_judge_alike_and_half_precision_nearly() -> None:
    discriminator = judge()
    pictures = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    assert torch.allclose(discriminator(pictures), discriminator(pictures, "fused"), atol=1e-12)
    halved = Discriminator(TINY, Precision(torch.bfloat16, 16))
    halved.load_state_dict(discriminator.state_dict())
    exact = discriminator.float()(pictures.float())
    logits = halved(pictures.float())
    assert logits.dtype == torch.float32
    assert 0 < float((logits - exact).abs().max()) < 0.1 * float(exact.abs().max() + 1)


# Losses and their gradients.

def test_losses_are_those_of_their_definition() -> None:
    logits = torch.tensor([0.5, -2.0])
    assert float(losses.loss_as_real(logits)) == pytest.approx(float(-logits.sigmoid().log().mean()))
    assert float(losses.loss_as_fake(logits)) == pytest.approx(float(-(1 - logits.sigmoid()).log().mean()))


def test_r1_of_a_known_function() -> None:
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    real = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    penalty, logits = losses.r1_penalty(lambda x: (x * weight).sum(dim=[1, 2, 3]) * 2, real)
    assert float(penalty) == pytest.approx(float(4 * weight.square().sum()))
    assert torch.allclose(logits, (real * weight).sum(dim=[1, 2, 3]).detach() * 2)
    [gradient] = torch.autograd.grad(penalty, [weight])
    assert torch.allclose(gradient, 8 * weight)


def check_gradient(penalty: Callable[[], Tensor], weights: list[Tensor], step: float = 1e-5) -> None:
    """Compare a penalty's gradient along random directions of the weights with central differences."""
    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    used = 0
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = torch.randn_like(weight)
        base = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(base + step * direction)
        above = float(penalty())
        with torch.no_grad():
            weight.copy_(base - step * direction)
        below = float(penalty())
        with torch.no_grad():
            weight.copy_(base)
        difference = (above - below) / (2 * step)
        analytic = 0.0 if gradient is None else float((gradient * direction).sum())
        assert analytic == pytest.approx(difference, rel=2e-3, abs=1e-5)
        used += abs(analytic) > 1e-6
    assert used > len(weights) / 2


@pytest.mark.parametrize("filters", ["separate", "fused"])
def test_the_gradient_of_r1_is_that_of_finite_differences(filters: Filters) -> None:
    discriminator = judge()
    real = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    check_gradient(lambda: losses.r1_penalty(lambda x: discriminator(x, filters), real)[0],
                   list(discriminator.parameters()))


@pytest.mark.parametrize("filters", ["separate", "fused"])
def test_the_gradient_of_path_lengths_is_that_of_finite_differences(tiny: Generator, filters: Filters) -> None:
    z, noise = torch.randn(3, 8, dtype=torch.float64), torch.randn(3, 3, 32, 32, dtype=torch.float64)

    def penalty() -> Tensor:
        ws = tiny.broadcast(tiny.mapping(z))
        lengths = losses.path_lengths(lambda ws: render(tiny.synthesis, ws, precision=FULL, filters=filters), ws, noise)
        return (lengths - 0.3).square().mean()

    check_gradient(penalty, [weight for name, weight in tiny.named_parameters() if "noise" not in name])


def test_a_path_length_is_how_far_the_picture_moves() -> None:
    torch.manual_seed(0)
    jacobian = torch.randn(3 * 4 * 4, 8, dtype=torch.float64)
    ws = torch.randn(2, 1, 8, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    lengths = losses.path_lengths(lambda ws: (ws[:, 0] @ jacobian.T).reshape(2, 3, 4, 4), ws, y)
    expected = (y.reshape(2, -1) @ jacobian).norm(dim=1) / 4  # The picture's side is 4.
    assert torch.allclose(lengths, expected)


def test_the_mean_of_path_lengths_begins_with_the_first_ones() -> None:
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = losses.path_penalty(lengths, None)
    assert (float(penalty), float(mean)) == (1, 2)
    penalty, mean = losses.path_penalty(lengths, torch.tensor(1.0))
    assert float(mean) == pytest.approx(1.01)
    assert float(penalty) == pytest.approx((0.01 ** 2 + 1.99 ** 2) / 2)
    assert not mean.requires_grad


def test_precisions_are_chosen_by_the_device() -> None:
    assert choose_precision("auto", torch.device("cpu")) == "float32"
    assert choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    with pytest.raises(InputError, match="float16"):
        choose_precision("float16", torch.device("cpu"))
    precision = Precision.named("bfloat16", 256)
    assert [precision.at(side, torch.float32) for side in (16, 32, 256)] == [torch.float32, *[torch.bfloat16] * 2]
    assert Precision.named("float16", 32).at(4, torch.float32) == torch.float32
