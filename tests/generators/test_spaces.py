"""Latent spaces: one for all roundings of a mapping network, another once it has been trained on."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from generators import Generator, Space, StyleGAN2, StyleGAN2Config, load
from tests.generators.made_generators import make_generator
from weights.manifest import BUNDLED

KINDS = ("w", "styles")


@pytest.fixture(scope="module", params=["bundled", "random"])
def generator(request: pytest.FixtureRequest) -> Generator:
    if request.param == "bundled":
        return load(BUNDLED / "generator.safetensors")
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(32,) * 4, z_dim=256, w_dim=256)
    return StyleGAN2(config).requires_grad_(False).eval()


def changed(generator: Generator, part: float, *, seed: int = 0) -> Generator:
    """A copy whose mapping network's weights moved at random, by this part of their size."""
    copied = deepcopy(generator)
    rng = torch.Generator().manual_seed(seed)
    for weight in copied.mapping.parameters():
        size = weight.square().mean().sqrt()
        weight += torch.randn(weight.shape, generator=rng) * part * size
    return fresh(copied)


def fresh(generator: Generator) -> Generator:
    for name in ("hash", "spaces"):
        generator.__dict__.pop(name, None)
    return generator


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rounded_copies_share_the_space(generator: Generator, kind: str, dtype: torch.dtype) -> None:
    copied = fresh(deepcopy(generator).to(dtype))
    assert copied.spaces[kind].matches(generator.spaces[kind])
    assert fresh(deepcopy(copied).float()).spaces[kind].matches(generator.spaces[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.01, 0.05])
def test_a_mapping_that_was_trained_on_is_another_space(generator: Generator, kind: str, part: float) -> None:
    for seed in range(3):
        other = changed(generator, part, seed=seed).spaces[kind]
        assert not other.matches(generator.spaces[kind])
        assert not generator.spaces[kind].matches(other)


def test_folded_multipliers_are_one_space() -> None:
    """The same network stored with another learning-rate multiplier, as other people's files have it."""
    generator = make_generator()
    folded = StyleGAN2(StyleGAN2Config(img_resolution=32, channels=(24, 16, 12, 8), z_dim=32, w_dim=20,
                                       mapping_layers=2, mapping_lr_multiplier=1.0))
    folded.load_state_dict({name: value * 0.01 if name.startswith("mapping.fc") else value
                            for name, value in generator.state_dict().items()})
    assert folded.hash != generator.hash
    assert folded.space.matches(generator.space)


def test_w_does_not_depend_on_what_draws_the_pictures() -> None:
    generator = make_generator(64)
    other = deepcopy(generator)
    other.get_parameter("synthesis.b4.conv1.affine.weight").mul_(2)
    fresh(other)
    assert other.space.matches(generator.space)
    assert not other.spaces["styles"].matches(generator.spaces["styles"])
    assert not generator.space.matches(generator.spaces["styles"])
    assert not make_generator(seed=1).space.matches(make_generator().space)


@pytest.mark.parametrize("kind", KINDS)
def test_text_comes_back(generator: Generator, kind: str) -> None:
    space = generator.spaces[kind]
    again = Space.from_text(space.to_text())
    assert again.to_text() == space.to_text()
    assert again.short == space.short
    assert len(space.short) == 8
    assert again.matches(space)
    assert torch.equal(again.probes, space.probes)
    assert (space.kind, space.width) == (kind, generator.w_dim if kind == "w" else generator.layers[-1].stop)


def test_damaged_texts_are_refused() -> None:
    text = make_generator().space.to_text()
    for damaged in ("", "w", text[:-20], text + "AAAA", text.replace("w 20", "q 20"), text.replace("w 20", "w 0"),
                    text.replace("w 20", "styles 20"), text[:30] + "é" + text[31:], "w 20 " + "AHwA" * 42 + "AHw="):
        with pytest.raises(ValueError, match="latent space"):
            Space.from_text(damaged)


def test_the_space_is_that_of_the_weights_as_loaded() -> None:
    generator = load(dtype=torch.bfloat16)
    assert torch.equal(generator.space.probes, load().space.probes)
