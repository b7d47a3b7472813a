"""Components of generators: of W held against the published ones, of layers against what a linear layer must give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import generators
from directions import finding
from directions.components import ComponentSettings, load_components, save_components
from directions.estimators import MAKERS
from directions.finding import Activations, cached_components, closed_form, find_components
from tests.generators.made_generators import make_generator, make_student
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

SMALL = ComponentSettings(samples=3000, count=5)
PUBLISHED = Path(__file__).parents[3] / "shared" / "directions" / "stylegan2-ffhq.safetensors"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer samples for the regression, which the small generators have enough of."""
    monkeypatch.setattr(finding, "REGRESSION", 1000)


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published components are not on this machine")
@pytest.mark.usefixtures("bundled_models")
def test_components_of_w_are_the_published_ones() -> None:
    """Of few samples; neighbours of nearly one width are still turned within their plane."""
    from safetensors.torch import load_file

    published = load_file(PUBLISHED)
    found = find_components(generators.load(), ComponentSettings(samples=60_000))
    cosines = found.directions @ published["ganspace.comp"].T
    for number in range(30):
        assert cosines[number, max(number - 2, 0):number + 3].norm() > 0.97
    assert (cosines.diagonal()[:5].abs() > 0.97).all()
    assert (found.deviations[:30] / published["ganspace.std"].flatten()[:30] - 1).abs().max() < 0.04


def test_w_has_the_axes_of_its_covariance() -> None:
    generator = make_generator()
    found = find_components(generator, replace(SMALL, samples=20_000))
    w = generator.mapping(torch.randn(20_000, generator.z_dim, generator=torch.Generator().manual_seed(1)))
    axes = torch.linalg.eigh(torch.cov(w.T))[1].flip(1).T
    assert ((found.directions * axes[:5]).sum(dim=1).abs() > 0.97).all()
    torch.testing.assert_close(found.deviations, ((w - w.mean(0)) @ found.directions.T).std(0), rtol=0.03, atol=0)
    torch.testing.assert_close(found.mean, w.mean(dim=0), rtol=0.2, atol=0.05)


@pytest.mark.parametrize("make", [make_generator, make_student])
def test_directions_of_a_layer_move_its_activations_along_its_components(make) -> None:  # type: ignore[no-untyped-def]
    """A latent moved along direction k moves the activations along component k more than along any other."""
    generator = make(32)
    layer = generator.layers[1].name
    settings = replace(SMALL, layer=layer, analysis="incremental", samples=1500, count=3)
    found = find_components(generator, settings)
    source = Activations(generator, settings)
    fitted = finding._fit(source, settings, None, lambda done, total: None)
    w = generator.sample(range(200))
    moved = found.moved(w, 0, [-1.0, 1.0])
    activations = [generator.activations(moved[:, side], layer).flatten(1) for side in (0, 1)]
    change = ((activations[1] - activations[0]).mean(dim=0) @ fitted.components.T) / fitted.deviations
    assert change[0] > 0
    assert change[0] > 2 * change[1:].abs().max()


def test_z_is_regressed_on_w() -> None:
    generator = make_generator()
    found = find_components(generator, replace(SMALL, latent="z"))
    assert found.directions.shape == (5, generator.z_dim)
    torch.testing.assert_close(found.deviations, torch.ones(5), rtol=0.05, atol=0)  # Of z ~ N(0, I), along anything.
    z = generator.draw_z(range(500))
    w = find_components(generator, SMALL)
    low, high = (generator.mapping(part) for part in found.moved(z, 0, [-1, 1]).unbind(dim=1))
    change = (high - low).mean(dim=0) @ w.directions.T / w.deviations
    assert change.abs().argmax() == 0
    with pytest.raises(InputError, match="--latent w"):
        found.direction(0, name="nose")


def test_the_same_settings_find_the_same_whatever_the_batch() -> None:
    generator = make_generator()
    settings = replace(SMALL, samples=200, layer="b8.conv0", analysis="incremental")
    found = find_components(generator, settings)
    again = find_components(generator, replace(settings, batch=3))
    torch.testing.assert_close(again.directions, found.directions, rtol=1e-3, atol=1e-3)
    assert not torch.equal(find_components(generator, replace(settings, seed=1)).directions, found.directions)
    source = Activations(generator, settings)
    assert torch.equal(source.z(range(9_999, 10_003))[1:], source.z(range(10_000, 10_003)))
    assert not torch.equal(source.z(range(10_000, 10_001)), source.z(range(1)))


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = make_generator()
    settings = replace(SMALL, analysis="randomised")
    monkeypatch.setattr(finding, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(finding, "monotonic", lambda: 0.0)  # A checkpoint after each chunk.
    monkeypatch.setattr(finding, "W_CHUNK", 700)
    whole = find_components(generator, settings)
    checkpoint = tmp_path / "search.checkpoint"
    steps = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done > 5000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_components(generator, settings, checkpoint=checkpoint, on_step=stop)
    with pytest.raises(InputError, match="another search"):
        find_components(generator, replace(settings, seed=1), checkpoint=checkpoint)
    begun = len(steps)
    resumed = find_components(generator, settings, checkpoint=checkpoint, on_step=lambda done, _: steps.append(done))
    assert steps[begun] > 4000
    assert torch.equal(resumed.directions, whole.directions)
    assert not checkpoint.exists()


def test_components_are_kept_by_space_or_weights_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path))
    generator = make_generator(dtype=torch.float64)
    found, path = cached_components(generator, SMALL)
    searched: list[int] = []
    again, same = cached_components(generator, SMALL, on_step=lambda done, total: searched.append(done))
    assert same == path
    assert searched == []
    assert torch.equal(again.directions, found.directions)
    assert again.settings == SMALL
    other = generator.with_weights({"synthesis.b4.const": torch.ones(24, 4, 4)})
    assert cached_components(other, SMALL)[1] == path  # W is the same.
    layer = replace(SMALL, layer="b8.conv0", analysis="incremental", samples=50)
    assert cached_components(other, layer)[1] != cached_components(generator, layer)[1]


def test_files(tmp_path: Path) -> None:
    found = find_components(make_generator(), SMALL)
    save_components(tmp_path / "a.safetensors", found, dtype=torch.float16)
    read = load_components(tmp_path / "a.safetensors")
    torch.testing.assert_close(read.directions, found.directions, rtol=2e-3, atol=1e-3)
    assert (read.settings, read.weights) == (SMALL, "")
    read.check(make_generator())
    with pytest.raises(InputError, match="find them again"):
        read.check(make_generator(seed=1))
    tensors, metadata = read_tensors(tmp_path / "a.safetensors", format="gradctrl-components-1", what="", remedy="")
    write_tensors(tmp_path / "b.safetensors", tensors | {"mean": torch.zeros(3)}, metadata)
    with pytest.raises(InputError, match=r"b\.safetensors.*damaged"):
        load_components(tmp_path / "b.safetensors")


def test_closed_form_changes_styles_most() -> None:
    generator = make_generator()
    rows = closed_form(generator, 3, (8, 16))
    torch.testing.assert_close(rows @ rows.T, torch.eye(3), rtol=1e-4, atol=1e-4)
    start, stop = generator.rows((8, 16))
    used = [layer for layer in generator.layers if start <= layer.row < stop]

    def change(direction: torch.Tensor) -> float:
        styles = generator.styles(direction[None]) - generator.styles(torch.zeros(1, generator.w_dim))
        affine = generator.styles(torch.eye(generator.w_dim)) - generator.styles(torch.zeros(1, generator.w_dim))
        return sum(float((styles / affine.norm(dim=0))[:, layer.start:layer.stop].square().sum()) for layer in used)

    rng = torch.Generator().manual_seed(0)
    others = [change(torch.nn.functional.normalize(torch.randn(generator.w_dim, generator=rng), dim=0))
              for _ in range(30)]
    assert change(rows[0]) > change(rows[1]) > change(rows[2]) > max(others) * 0.9


def test_random_directions_are_a_baseline() -> None:
    generator = make_generator()
    found, random = (find_components(generator, replace(SMALL, analysis=name)) for name in ("exact", "random"))
    assert random.deviations.mean() < found.deviations[:2].mean()
    with pytest.raises(InputError, match="directions are of w"):
        ComponentSettings(analysis="random", layer="b8.conv0")


def test_what_cannot_be_searched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = make_generator()
    with pytest.raises(InputError, match=r"name one of w, b4\.conv1"):
        find_components(generator, replace(SMALL, layer="b9.conv0"))
    with pytest.raises(InputError, match="more samples"):
        ComponentSettings(samples=80, count=80)
    monkeypatch.setattr(finding, "free_memory", lambda: 3 << 30)
    wide = 512 * 64 * 64
    with pytest.raises(InputError, match=r"exact.*need.*GB.*--analysis incremental.*2\.\d GB"):
        finding.check_memory(replace(SMALL, analysis="exact", layer="x", count=80), wide)
    finding.check_memory(replace(SMALL, analysis="incremental", layer="x", count=80), wide)
    assert finding.memory_of(replace(SMALL, analysis="incremental", layer="x", count=80), wide) < 2.6e9
    assert set(MAKERS) == {"exact", "incremental", "randomised", "fastica", "sparse"}
