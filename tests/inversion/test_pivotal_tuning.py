"""Pivotal tuning: properties on the bundled generator, with few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generators import Generator, load, to_pixels
from inversion import Inversion, Progress, Projector, ProjectorSettings, load_inversion, save_inversion
from inversion.tuning import PERIOD, REPEATS, grid
from tests.generators.made_generators import make_student
from weights.errors import InputError

SEARCH = ProjectorSettings(start="samples", samples=8, steps=8)
TUNED = ProjectorSettings(start="samples", samples=8, steps=8, tuning_steps=12, tuning_rate=0.02,
                          tuning_mse=0.2)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load("bundled")


@pytest.fixture(scope="module")
def projector(generator: Generator) -> Projector:
    return Projector(generator, TUNED)


@pytest.fixture(scope="module")
def tuned(projector: Projector, astronaut_crop: np.ndarray) -> Inversion:
    return projector.invert(astronaut_crop)


def drawn(generator: Generator, record: Inversion) -> np.ndarray:
    with torch.no_grad():
        return to_pixels(generator.render(record.latent[None]))[0]


def test_tuning_comes_nearer_than_the_search(projector: Projector, astronaut_crop: np.ndarray,
                                             tuned: Inversion) -> None:
    searched = projector.invert(astronaut_crop, settings=SEARCH)
    assert torch.equal(searched.latent, tuned.latent)  # The pivot stays where it is.
    assert tuned.lpips < searched.lpips
    assert tuned.mse < 0.98 * searched.mse
    assert not searched.tuning
    assert (searched.steps, tuned.steps) == (8, 20)


def test_the_picture_is_that_of_the_tuned_generator(generator: Generator, tuned: Inversion) -> None:
    assert np.array_equal(drawn(tuned.generator_of(generator), tuned), tuned.picture)
    assert not np.array_equal(drawn(generator, tuned), tuned.picture)  # Without its tuning it is the generator's own.


def test_the_generator_itself_is_left_alone(generator: Generator, tuned: Inversion) -> None:
    fresh = load("bundled")
    for (name, weight), own in zip(generator.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(weight, own), name
        assert not weight.requires_grad
        assert weight.grad is None
    assert tuned.generator_hash == generator.hash == fresh.hash


def test_a_tuned_generator_shares_what_is_not_tuned_and_keeps_the_styles(generator: Generator,
                                                                         tuned: Inversion) -> None:
    copied = tuned.generator_of(generator)
    w = generator.sample([3])
    assert torch.equal(copied.styles(w), generator.styles(w))
    assert set(tuned.tuning) == set(generator.tunable_weights(32))
    own = dict(generator.named_parameters())
    for name, weight in copied.named_parameters():
        assert (weight.data_ptr() == own[name].data_ptr()) == (name not in tuned.tuning), name
    assert copied.hash != generator.hash


def test_its_file_is_small_and_comes_back(tuned: Inversion, tmp_path: Path, generator: Generator) -> None:
    path = tmp_path / "me.latent.safetensors"
    save_inversion(path, tuned)
    assert path.stat().st_size < 2e6  # The aim for this generator: under 8 MB.
    again = load_inversion(path, generator=generator)
    assert again.tuning.keys() == tuned.tuning.keys()
    assert all(torch.equal(again.tuning[name], change) for name, change in tuned.tuning.items())
    assert (again.stopped, again.warnings, again.settings) == (tuned.stopped, tuned.warnings, tuned.settings)


def test_a_tuning_of_another_shape_is_refused(generator: Generator, tuned: Inversion) -> None:
    name = "synthesis.b32.torgb.weight"
    odd = Inversion(**{**vars(tuned), "tuning": {name: tuned.tuning[name][:1]}})
    with pytest.raises(InputError, match="damaged"):
        odd.generator_of(generator)
    unknown = Inversion(**{**vars(tuned), "tuning": {"synthesis.b4.odd": torch.zeros(1)}})
    with pytest.raises(InputError, match=r"synthesis\.b4\.odd"):
        unknown.generator_of(generator)


@pytest.mark.slow
def test_a_batch_of_tunings_equals_singles(generator: Generator, astronaut_crop: np.ndarray) -> None:
    projector = Projector(generator, replace(TUNED, precision="float32"))  # Tuning magnifies what rounding there is.
    crops = [astronaut_crop, np.ascontiguousarray(astronaut_crop[:, ::-1])]
    for together, crop in zip(projector.invert_batch(crops), crops, strict=True):
        alone = projector.invert(crop)
        assert together.lpips == pytest.approx(alone.lpips, abs=5e-3)
        assert np.abs(together.picture.astype(int) - alone.picture).mean() < 1.5


def test_the_callback_sees_search_and_tuning(projector: Projector, astronaut_crop: np.ndarray) -> None:
    seen: list[Progress] = []
    result = projector.invert(astronaut_crop, every=4, on_step=seen.append)
    assert [progress.step for progress in seen] == [1, 4, 8, 12, 16, 20]
    assert {progress.steps for progress in seen} == {20}
    assert seen[-1].lpips[0] < seen[2].lpips[0]
    assert np.abs(seen[-1].pictures[0].astype(int) - result.picture).mean() < 3


@pytest.mark.parametrize("stop_at", [3, 11])
def test_stopping_keeps_what_is_there(projector: Projector, astronaut_crop: np.ndarray, generator: Generator,
                                      stop_at: int) -> None:
    seen: list[Progress] = []
    result = projector.invert(astronaut_crop, every=1, on_step=seen.append, should_stop=lambda: len(seen) >= stop_at)
    assert (result.steps, result.stopped) == (stop_at, True)
    assert bool(result.tuning) == (stop_at > 8)
    assert np.array_equal(drawn(result.generator_of(generator), result), result.picture)


def test_records_on_the_way_are_what_stopping_there_gives(projector: Projector, astronaut_crop: np.ndarray,
                                                          tuned: Inversion) -> None:
    records: list[Inversion] = []
    result = projector.invert(astronaut_crop, on_record=records.append)
    assert torch.equal(result.latent, tuned.latent)  # Telling them changes nothing.
    assert np.array_equal(result.picture, tuned.picture)
    assert [record.steps for record in records] == [7, 12, 16]  # Of the search, and of the tuning.
    assert all(record.stopped and record.lpips > result.lpips for record in records[:2])
    for record in (records[0], records[2]):
        seen: list[Progress] = []
        stopped = projector.invert(astronaut_crop, every=1, on_step=seen.append,
                                   should_stop=lambda at=record.steps, seen=seen: len(seen) >= at)
        assert np.array_equal(record.picture, stopped.picture)
        assert (record.lpips, record.tuning.keys()) == (stopped.lpips, stopped.tuning.keys())


def test_the_grid_of_a_picture_is_what_repeats_in_it() -> None:
    rng = torch.Generator().manual_seed(0)
    side = PERIOD * REPEATS
    pattern = torch.randn(1, 3, PERIOD, PERIOD, generator=rng)
    pattern -= pattern.mean(dim=[2, 3], keepdim=True)
    repeated = pattern.repeat(1, 1, 3 * REPEATS, 2 * REPEATS)
    expected = pattern.square().mean()
    assert grid(repeated)[0] == pytest.approx(float(expected), rel=1e-5)
    assert grid(repeated + 5)[0] == pytest.approx(float(expected), rel=1e-4)  # Light is no pattern.
    assert grid(repeated[:, :, :side + 3, :side + 7])[0] == pytest.approx(float(expected), rel=1e-5)
    noise = torch.randn(1, 3, 4 * side, 4 * side, generator=rng)  # Nor are pores.
    assert grid(noise)[0] < 2 * noise.square().mean() / REPEATS ** 2
    half = repeated[:, :, :side // 2, :side // 2]
    assert grid(half)[0] == pytest.approx(float(expected), rel=1e-5)  # Of a small generator.
    both = torch.cat([repeated, 2 * repeated])
    assert torch.allclose(grid(both), torch.stack([expected, 4 * expected]), rtol=1e-4)


@pytest.mark.slow
def test_locality_holds_pictures_at_a_distance(generator: Generator, astronaut_crop: np.ndarray,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inversion.tuning.EVERY", 1)
    changes = []
    for locality in (0.0, 10.0):
        settings = ProjectorSettings(start="mean", steps=2, tuning_steps=10, locality=locality)
        record = Projector(generator, settings).invert(astronaut_crop)
        latents = record.latent.lerp(generator.sample(range(4)), 0.4)
        change = record.generator_of(generator).render(latents) - generator.render(latents)
        changes.append(float(change.square().mean()))
    assert changes[1] < 0.8 * changes[0]


def test_a_search_from_a_pivot_stays_where_the_pivots_own_picture_is(astronaut_crop: np.ndarray) -> None:
    """Small pictures that are drawn by themselves are not tuned: they are compared as the whole ones are."""
    generator = make_student(128)
    tuned = Projector(generator, TUNED).invert(astronaut_crop)
    assert tuned.tuning
    settings = ProjectorSettings(space="w+", steps=6, coarse=0.5, side=64, prior=0.0, spread=0.0, spread_from=0.0)
    again = Projector(generator, settings, pivot=tuned).invert(tuned.picture)
    assert np.abs(again.picture.astype(int) - tuned.picture).mean() < 0.5
