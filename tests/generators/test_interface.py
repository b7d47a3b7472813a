"""What every generator answers: layers and ranges of them, sides, features, tuned copies, precision, noise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from generators import ALL_LAYERS, Generator, StyleGAN2Config, layers_of_rows, load
from generators.base import MissingPart
from generators.stylegan2_layers import fir_filter, upsample
from tests.generators.made_generators import make_generator
from weights.errors import InputError


@pytest.fixture(scope="module")
def generator() -> Generator:
    return make_generator(64, dtype=torch.float64)


def test_positions_of_rows() -> None:
    assert make_generator(64).row_positions == (4, 8, 12, 16, 24, 32, 48, 64, 96, 112)


@pytest.mark.parametrize(("layers", "rows"), [
    (ALL_LAYERS, (0, 10)), ((4, 8), (0, 1)), ((8, 16), (1, 3)), ((12, 16), (2, 3)), ((8.1, 17), (2, 4)),
    ((64, 2048), (7, 10)), ((100, 200), (9, 10)), ((4, 97), (0, 9)),
])
def test_rows_of_a_layer_range(generator: Generator, layers: tuple[float, float], rows: tuple[int, int]) -> None:
    assert generator.rows(layers) == rows


@pytest.mark.parametrize("layers", [(128, 2048), (4, 4), (64, 8), (5, 7)])
def test_a_range_without_layers_is_refused(generator: Generator, layers: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"holds none of this generator's layers; their sides are 4, 8, 16, 32, 64$"):
        generator.rows(layers)


def test_published_rows_become_layer_ranges() -> None:
    assert layers_of_rows(2, 10) == (12, 192)
    assert layers_of_rows(1, 4) == (8, 24)
    assert layers_of_rows(0, 18) == ALL_LAYERS
    assert layers_of_rows(17, 18) == (1792, 2048)
    for bad in ((3, 3), (-1, 4), (18, 19), (5, 2)):
        with pytest.raises(ValueError, match="no rows"):
            layers_of_rows(*bad)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_every_range_of_rows_comes_back(resolution: int) -> None:
    generator = make_generator(resolution)
    for start in range(generator.num_ws):
        for stop in range(start + 1, generator.num_ws + 1):
            assert generator.rows(layers_of_rows(start, stop, resolution)) == (start, stop)


def test_layers_tell_side_and_columns(generator: Generator) -> None:
    config = StyleGAN2Config(img_resolution=1024, channels=(512,) * 9)
    assert [layer.position for layer in config.layers()][:6] == [4, 7, 8, 12, 14, 16]
    w = generator.sample([1])
    for layer in generator.layers:
        features = generator.activations(w, layer.name)
        assert features.shape[2:] == (layer.side, layer.side)
        assert features.shape[1] == (3 if layer.colours else generator.get_parameter(
            f"synthesis.{layer.name}.weight").shape[0])


def test_the_colours_add_up_to_the_picture(generator: Generator) -> None:
    w = generator.sample([1, 2])
    first, *others = (generator.activations(w, layer.name) for layer in generator.layers if layer.colours)
    for colours in others:
        first = upsample(first, fir_filter().double()) + colours
    assert torch.equal(first, generator.render(w))
    with pytest.raises(ValueError, match=r"no layer 'b5'.*b4\.conv1"):
        generator.activations(w, "b5")


def test_pictures_at_several_sides() -> None:
    generator = load()
    w = generator.sample([1, 2], truncation=0.7)
    whole = generator.render(w)
    assert generator.sides == (16, 32, 64, 128)
    assert torch.equal(generator.render(w, 128), whole)
    for side in generator.sides:
        picture = generator.render(w, side)
        assert picture.shape == (2, 3, side, side)
        error = (picture - F.interpolate(whole, size=side, mode="area")).square().mean().sqrt()
        assert error < 0.5, side  # The colours of higher sides are missing.
    with pytest.raises(ValueError, match=r"sides \(16, 32, 64, 128\), not 100"):
        generator.render(w, 100)


def test_precision_is_for_a_while(generator: Generator) -> None:
    generator = make_generator()
    w = generator.sample([1])
    exact = generator.render(w)
    with generator.precision(torch.bfloat16):
        rounded = generator.render(w)
        assert not torch.equal(rounded, exact)
    assert torch.equal(generator.render(w), exact)
    other = generator.in_precision(torch.bfloat16)
    assert torch.equal(other.render(w), rounded)
    assert torch.equal(generator.render(w), exact)
    assert all(one is same for one, same in zip(other.parameters(), generator.parameters(), strict=True))


def test_noise_can_be_set() -> None:
    generator = make_generator()
    w, before = generator.sample([1]), generator.noise
    exact = generator.render(w)
    assert [len(noise) for noise in before] == [4, 8, 8, 16, 16, 32, 32]
    generator.noise = [torch.zeros_like(noise).requires_grad_() for noise in before]
    assert torch.allclose(generator.render(w), generator.render(w, noise_mode="none"))
    generator.render(w).sum().backward()
    assert all(noise.grad is not None for noise in generator.noise)
    generator.noise = before
    assert torch.equal(generator.render(w), exact)


def test_tunable_weights_leave_the_styles_alone(generator: Generator) -> None:
    weights = generator.tunable_weights(16)
    assert list(weights) == [f"synthesis.b{side}.{layer}.weight" for side in (16, 32, 64)
                             for layer in ("conv0", "conv1", "torgb")]
    w = generator.sample([1])
    tuned = generator.with_weights({name: torch.full_like(weight, 0.1) for name, weight in weights.items()})
    assert torch.equal(tuned.styles(w), generator.styles(w))
    assert not torch.allclose(tuned.render(w), generator.render(w))
    assert tuned.hash != generator.hash
    assert tuned.space.matches(generator.space)
    with pytest.raises(ValueError, match="no such weight"):
        generator.with_weights({"synthesis.b4.odd": torch.zeros(1)})


def test_what_is_missing_says_so() -> None:
    class Plain(Generator):
        architecture = "plain"

        def _draw(self, *_: object) -> torch.Tensor:
            return torch.zeros(1, 3, 32, 32)

    plain = Plain(img_resolution=32, sides=[32])
    for call, words in ((lambda: plain.mapping(torch.zeros(1, 1)), "mapping"), (plain.neutral, "W"),
                        (lambda: plain.styles(torch.zeros(1, 1)), "styles"),
                        (lambda: plain.tunable_weights(32), "tuned")):
        with pytest.raises(InputError, match=f"this generator has no .*{words}.*; use"):
            call()
    assert plain.noise == []
    assert isinstance(plain.mapping, MissingPart)
