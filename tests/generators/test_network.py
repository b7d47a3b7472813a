"""The generator: properties, then a plain re-computation of the paper's equations, then bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from generators import StyleGAN2Config, from_pixels, to_pixels
from generators.stylegan2_layers import SynthesisLayer, blur, fir_filter, upsample
from tests.generators.made_generators import make_generator


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_picture_and_latent_shapes(resolution: int) -> None:
    generator = make_generator(resolution)
    w = generator.sample([1, 2])
    assert w.shape == (2, 20)
    assert generator.broadcast(w).shape == (2, generator.num_ws, 20)
    assert generator.render(w).shape == (2, 3, resolution, resolution)
    assert generator.num_ws == {32: 8, 64: 10, 128: 12}[resolution]


def test_ffhq_has_18_rows() -> None:
    assert StyleGAN2Config(img_resolution=1024, channels=(512,) * 9).num_ws == 18


def test_batch_equals_singles() -> None:
    generator = make_generator(dtype=torch.float64)
    w = generator.sample(range(3))
    singles = torch.cat([generator.render(row[None]) for row in w])
    assert torch.allclose(generator.render(w), singles, atol=1e-12)


def test_a_seed_gives_the_same_w_in_every_batch() -> None:
    generator = make_generator()
    assert torch.allclose(generator.sample([7])[0], generator.sample([3, 7])[1], atol=1e-6)


def test_truncation_moves_w_towards_its_mean() -> None:
    generator = make_generator()
    w, half = generator.sample([1]), generator.sample([1], truncation=0.5)
    assert torch.allclose(half, (w + generator.neutral()) / 2, atol=1e-6)
    assert torch.allclose(generator.sample([1], truncation=0.0)[0], generator.neutral())


def test_each_row_of_w_plus_reaches_its_layers_alone() -> None:
    """A change in the last row is a change of colours alone; a change in the first row changes everything."""
    generator = make_generator()
    ws = generator.broadcast(generator.sample([1])).clone()
    before = generator.render(ws)
    for row in range(generator.num_ws):
        changed = ws.clone()
        changed[:, row] += 1
        assert not torch.allclose(generator.render(changed), before), row


def test_noise_modes() -> None:
    generator = make_generator()
    w = generator.sample([1])
    const, none, random = (generator.render(w, noise_mode=mode) for mode in ("const", "none", "random"))
    assert torch.equal(const, generator.render(w))
    assert not torch.allclose(const, none)
    assert not torch.allclose(random, generator.render(w, noise_mode="random"))
    for module in generator.modules():
        if isinstance(module, SynthesisLayer):
            module.noise_strength.zero_()
    assert torch.allclose(generator.render(w, noise_mode="random"), none)


def test_gradient_with_respect_to_w_plus() -> None:
    generator = make_generator(dtype=torch.float64)
    ws = generator.broadcast(generator.sample([1])).clone().requires_grad_()
    torch.manual_seed(0)
    direction, weights = torch.randn_like(ws), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    (generator.render(ws) * weights).sum().backward()
    with torch.no_grad():
        change = ((generator.render(ws + 1e-6 * direction) - generator.render(ws - 1e-6 * direction))
                  * weights).sum() / 2e-6
    assert torch.allclose(change, (ws.grad * direction).sum(), rtol=1e-5)


def test_a_changed_weight_is_seen() -> None:
    """What is computed once from frozen weights is computed again when they change."""
    generator = make_generator()
    w = generator.sample([1])
    before = generator.render(w)
    generator.synthesis.b8.conv1.weight[:, ::2] *= 3
    fresh = make_generator()
    fresh.load_state_dict(generator.state_dict())
    assert not torch.allclose(generator.render(w), before)
    assert torch.allclose(generator.render(w), fresh.render(w))


def test_weights_that_are_trained_get_gradients() -> None:
    generator = make_generator().requires_grad_(True)
    generator.render(generator.sample([1])).square().mean().backward()
    missing = [name for name, p in generator.synthesis.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def slow_modulated_conv(x: Tensor, layer: SynthesisLayer, w: Tensor) -> Tensor:
    """Equations 1 to 3 with one weight a sample, then noise, bias and leaky ReLU, all written out."""
    style = F.linear(w, layer.affine.weight / layer.affine.weight.shape[1] ** 0.5, layer.affine.bias)
    pictures = []
    for one, s in zip(x, style, strict=True):
        weight = layer.weight * s[None, :, None, None]
        weight = weight / (weight.square().sum(dim=[1, 2, 3], keepdim=True) + 1e-8).sqrt()
        if layer.up:
            stretched = torch.zeros(one.shape[0], one.shape[1] * 2, one.shape[2] * 2, dtype=x.dtype)
            stretched[:, ::2, ::2] = one
            # A convolution (not a correlation) of the zero-stuffed picture, then the FIR filter times 4.
            full = F.conv2d(F.pad(stretched[None], [2, 1, 2, 1]), weight.flip([2, 3]))
            full = F.pad(full, [0, 1, 0, 1])[:, :, :2 * one.shape[1] + 1, :2 * one.shape[2] + 1]
            y = slow_fir(full, layer.resample_filter * 4)
        else:
            y = F.conv2d(one[None], weight, padding=1)
        y = y + layer.noise_const * layer.noise_strength + layer.bias[None, :, None, None]
        pictures.append(torch.where(y > 0, y, 0.2 * y) * 2 ** 0.5)
    return torch.cat(pictures)


def slow_fir(x: Tensor, kernel: Tensor) -> Tensor:
    x = F.pad(x, [1, 1, 1, 1])
    height, width = x.shape[2] - 3, x.shape[3] - 3
    return sum(kernel[3 - i, 3 - j] * x[:, :, i:i + height, j:j + width] for i in range(4) for j in range(4))


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_equals_one_weight_a_sample(up: bool) -> None:
    generator = make_generator(dtype=torch.float64)
    layer = generator.synthesis.b16.conv0 if up else generator.synthesis.b16.conv1
    x = torch.randn(3, layer.weight.shape[1], 8 if up else 16, 8 if up else 16, dtype=torch.float64)
    w = generator.sample([1, 2, 3])
    assert torch.allclose(layer(x, w, "const"), slow_modulated_conv(x, layer, w), atol=1e-10)


def test_upsampling_keeps_a_flat_picture_and_doubles_its_sides() -> None:
    up = upsample(torch.ones(1, 3, 8, 8), fir_filter())
    assert up.shape == (1, 3, 16, 16)
    assert torch.allclose(up[:, :, 2:-2, 2:-2], torch.ones(1, 3, 12, 12))
    assert torch.allclose(blur(torch.ones(1, 3, 8, 8), fir_filter(), padding=0), torch.ones(1, 3, 5, 5))


def test_conv_clamp_bounds_the_colours() -> None:
    generator = make_generator(conv_clamp=0.01)
    assert generator.render(generator.sample([1])).abs().max() <= 0.01 * len(generator.config.resolutions) + 1e-6
    assert make_generator().render(make_generator().sample([1])).abs().max() > 0.1


def test_reduced_precision_is_close() -> None:
    generator = make_generator()
    w = generator.sample([1, 2])
    exact = generator.render(w)
    generator.compute_dtype = torch.bfloat16
    assert generator.render(w).dtype == torch.float32
    assert (generator.render(w) - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_hash_depends_on_the_weights_alone() -> None:
    a, b = make_generator(), make_generator()
    assert a.hash == b.hash
    c = make_generator()
    c.synthesis.b4.const[0, 0, 0] += 1e-3
    assert c.hash != a.hash


def test_bad_shapes_are_refused() -> None:
    generator = make_generator()
    for bad in (torch.zeros(20), torch.zeros(1, 21), torch.zeros(1, 7, 20)):
        with pytest.raises(ValueError, match="latent must be"):
            generator.render(bad)
    with pytest.raises(ValueError, match="noise_mode"):
        generator.render(torch.zeros(1, 20), noise_mode="loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN2Config(img_resolution=100, channels=(1,))


def test_pixels_come_back_as_they_were() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(to_pixels(from_pixels(pixels)), pixels)
    assert to_pixels(torch.tensor([-9.0, 9.0, 0.0]).reshape(1, 3, 1, 1)).tolist() == [[[[0, 255, 128]]]]
    with pytest.raises(ValueError, match="uint8"):
        from_pixels(np.zeros([2, 2, 3]))
