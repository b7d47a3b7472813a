"""Centred edits: strengths that say where along a direction, in the edited rows of w+ alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from directions import Controls, Edit, EditedLatents, displace, load, save
from directions.components import Components, ComponentSettings
from directions.finding import find_components
from generators import Generator
from tests.generators.made_generators import make_generator


@pytest.fixture(scope="module")
def generator() -> Generator:
    return make_generator()


@pytest.fixture(scope="module")
def components(generator: Generator) -> Components:
    return find_components(generator, ComponentSettings(samples=2000, count=6))


def latents(generator: Generator) -> EditedLatents:
    """w+ whose rows differ."""
    w = generator.sample(range(3 * generator.num_ws))
    return EditedLatents(w.reshape(3, generator.num_ws, -1))


def coordinates(components: Components, latent: torch.Tensor, number: int) -> torch.Tensor:
    """Of each row along a component, in sigmas."""
    return (latent - components.mean) @ components.directions[number] / components.deviations[number]


@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.5])
def test_centred_rows_go_to_the_strength(generator: Generator, components: Components, strength: float) -> None:
    controls = Controls([components.direction(2, name="nose", sigmas=-4.0, layers=(8, 16))])
    given = latents(generator)
    edited = displace(generator, controls, given, Edit(strengths={"nose": strength}, centred=True)).latent
    start, stop = generator.rows((8, 16))
    torch.testing.assert_close(coordinates(components, edited[:, start:stop], 2),
                               torch.full([3, stop - start], -4.0 * strength), rtol=1e-3, atol=1e-3)
    outside = [row for row in range(generator.num_ws) if not start <= row < stop]
    assert torch.equal(edited[:, outside], given.latent[:, outside])
    for other in (0, 1, 3):
        torch.testing.assert_close(coordinates(components, edited, other), coordinates(components, given.latent, other),
                                   rtol=1e-3, atol=1e-3)


def test_an_edit_that_is_not_centred_shifts_by_sigmas(generator: Generator, components: Components) -> None:
    controls = Controls([components.direction(1, name="nose", sigmas=2.5)])
    given = latents(generator)
    edited = displace(generator, controls, given, Edit(strengths={"nose": 2.0})).latent
    shift = coordinates(components, edited, 1) - coordinates(components, given.latent, 1)
    torch.testing.assert_close(shift, torch.full_like(shift, 5.0), rtol=1e-3, atol=1e-3)
    assert torch.equal(displace(generator, controls, given, Edit(strengths={"nose": 0.0})).latent, given.latent)
    assert torch.equal(displace(generator, controls, given, Edit(strengths={"horns": 0.0})).latent, given.latent)


@pytest.mark.parametrize("centred", [True, False])
def test_truncation_after_the_edit_is_the_edit_scaled(generator: Generator, components: Components,
                                                      centred: bool) -> None:
    """The authors' w_avg + psi (w + d - w_avg), where the mean that is centred about is w_avg."""
    generator = generator.with_weights({})
    generator.neutral().copy_(components.mean)
    controls = Controls([components.direction(0, name="nose", sigmas=3.0)])
    edit, psi = Edit(strengths={"nose": 1.0}, centred=centred), 0.6
    w = generator.sample(range(2))
    whole = displace(generator, controls, EditedLatents(generator.broadcast(w)), edit).latent
    theirs = components.mean + psi * (whole - components.mean)
    truncated = EditedLatents(generator.broadcast(generator.sample(range(2), truncation=psi)))
    ours = displace(generator, controls, truncated, edit.after_truncation(psi)).latent
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_edits_and_files_keep_it(generator: Generator, components: Components, tmp_path: Path) -> None:
    edit = Edit(strengths={"nose": 1.0}, centred=True)
    assert Edit.from_json(edit.to_json()) == edit
    assert "centred" not in Edit(strengths={"nose": 1.0}).to_json()  # Files of former versions stay as they were.
    assert Edit(strengths={"nose": 0.0}, centred=True).changes
    with pytest.raises(ValueError, match="centred"):
        Edit.from_json(edit.to_json() | {"centred": 1})
    made = components.direction(3, name="nose", sigmas=-2.0, layers=(8, 16))
    save(tmp_path / "nose.safetensors", [made], spaces=generator.spaces)
    read = load(tmp_path / "nose.safetensors")["nose"]
    assert (read.centre_of(), read.layers, read.units) == (made.centre, made.layers, made.units)
    assert read.report["component"] == 3
