"""Style space: what the styles are, what is added to them, and bad input."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from generators import Generator
from tests.generators.made_generators import make_generator


@pytest.fixture
def generator() -> Generator:
    """A generator with random weights, biases and noise strengths, in float64."""
    return make_generator(seed=3, dtype=torch.float64)


def test_layers_cover_the_styles_in_the_order_of_use(generator: Generator) -> None:
    layers = generator.layers
    assert [layer.name for layer in layers] == [
        "b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb", "b16.conv0", "b16.conv1", "b16.torgb",
        "b32.conv0", "b32.conv1", "b32.torgb"]
    assert [layer.row for layer in layers] == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7]
    assert layers[0].start == 0
    assert all(a.stop == b.start for a, b in pairwise(layers))
    assert generator.styles(generator.sample([1])).shape == (1, layers[-1].stop)
    assert [layer.name for layer in layers if layer.colours] == ["b4.torgb", "b8.torgb", "b16.torgb", "b32.torgb"]


def test_styles_are_the_affine_layers_outputs(generator: Generator) -> None:
    w_plus = generator.broadcast(generator.sample([1, 2])) + torch.randn(2, generator.num_ws, 20).double()
    styles = generator.styles(w_plus)
    for layer in generator.layers:
        affine = generator.get_submodule(f"synthesis.{layer.name}.affine")
        expected = F.linear(w_plus[:, layer.row], affine.weight / 20 ** 0.5, affine.bias)
        assert torch.allclose(styles[:, layer.start:layer.stop], expected, atol=1e-12), layer


def test_each_row_reaches_the_layers_that_take_it_alone(generator: Generator) -> None:
    w_plus = generator.broadcast(generator.sample([1])).clone()
    before = generator.styles(w_plus)
    for row in range(generator.num_ws):
        changed = w_plus.clone()
        changed[:, row] += 1
        differs = (generator.styles(changed) != before)[0]
        for layer in generator.layers:
            assert bool(differs[layer.start:layer.stop].any()) == (layer.row == row), (row, layer)


def test_styles_of_w_are_those_of_the_w_plus_that_repeats_it(generator: Generator) -> None:
    w = generator.sample([1, 2])
    assert torch.equal(generator.styles(w), generator.styles(generator.broadcast(w)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_change_of_zeros_is_the_identity(generator: Generator, dtype: torch.dtype) -> None:
    generator.to(dtype)
    w = generator.sample([1, 2])
    unchanged = generator.render(w, style_change=torch.zeros_like(generator.styles(w)))
    assert torch.equal(unchanged, generator.render(w))


def test_the_difference_of_two_styles_leads_from_one_picture_to_the_other(generator: Generator) -> None:
    a, b = generator.sample([1, 2]), generator.sample([3, 4])
    assert not torch.allclose(generator.render(a), generator.render(b), atol=1e-2)
    moved = generator.render(a, style_change=generator.styles(b) - generator.styles(a))
    assert torch.allclose(moved, generator.render(b), atol=1e-10)


def test_the_difference_leads_there_in_reduced_precision_too(generator: Generator) -> None:
    generator.float()
    generator.compute_dtype = torch.bfloat16
    a, b = generator.sample([1, 2]), generator.sample([3, 4])
    moved = generator.render(a, style_change=generator.styles(b) - generator.styles(a))
    assert (moved - generator.render(b)).abs().mean() < 0.02 * generator.render(b).abs().mean()


def test_every_slice_reaches_its_own_layer(generator: Generator) -> None:
    """A change in one slice alone does what the same change of that layer's affine bias does."""
    w = generator.sample([5])
    for layer in generator.layers:
        change = torch.zeros_like(generator.styles(w))
        change[:, layer.start:layer.stop] = 0.5
        moved = generator.render(w, style_change=change)
        bias = generator.get_submodule(f"synthesis.{layer.name}.affine").bias
        bias += 0.5
        assert torch.allclose(moved, generator.render(w), atol=1e-12), layer
        bias -= 0.5
        assert not torch.allclose(moved, generator.render(w), atol=1e-6), layer


def test_batch_equals_singles(generator: Generator) -> None:
    w = generator.sample([1, 2, 3])
    styles = generator.styles(w)
    change = torch.randn(styles.shape, generator=torch.Generator().manual_seed(1)).double()
    whole = generator.render(w, style_change=change)
    singles = torch.cat([generator.render(w[i:i + 1], style_change=change[i:i + 1]) for i in range(3)])
    assert torch.allclose(whole, singles, atol=1e-12)
    assert torch.allclose(styles, torch.cat([generator.styles(row[None]) for row in w]), atol=1e-12)


def test_gradient_with_respect_to_the_change(generator: Generator) -> None:
    w = generator.sample([1])
    change = torch.zeros_like(generator.styles(w)).requires_grad_()
    torch.manual_seed(0)
    along, weights = torch.randn_like(change), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    (generator.render(w, style_change=change) * weights).sum().backward()
    there, back = (generator.render(w, style_change=sign * 1e-6 * along) for sign in (1, -1))
    assert torch.allclose(((there - back) * weights).sum() / 2e-6, (change.grad * along).sum(), rtol=1e-5)
    assert all(change.grad[:, layer.start:layer.stop].any() for layer in generator.layers)


def test_wrong_shapes_are_refused(generator: Generator) -> None:
    w = generator.sample([1, 2])
    size = generator.layers[-1].stop
    for bad in (torch.zeros(size), torch.zeros(1, size), torch.zeros(2, size - 1), torch.zeros(2, 1, size)):
        with pytest.raises(ValueError, match="style_change must be"):
            generator.render(w, style_change=bad)
    with pytest.raises(ValueError, match="latent must be"):
        generator.styles(torch.zeros(2, 21))
