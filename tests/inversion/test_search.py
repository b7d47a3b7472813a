"""The search: plateaus, time budgets, numbers that are none, precision, and where it starts."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import Tensor

from generators import Generator, load, to_pixels
from inversion import PRESETS, PerceptualDistance, Progress, Projector, ProjectorSettings, preset
from inversion.search import face_window
from tests.generators.made_generators import make_generator
from weights.errors import InputError


class FailingDistance(PerceptualDistance):
    """LPIPS whose numbers are none after so many calls."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    def features(self, pictures: Tensor) -> list[Tensor]:
        self.good -= 1
        return [layer * (1 if self.good >= 0 else torch.nan) for layer in super().features(pictures)]


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load("bundled")


@pytest.fixture(scope="module")
def projector(generator: Generator) -> Projector:
    return Projector(generator)


@pytest.fixture(scope="module")
def crops(generator: Generator) -> list[np.ndarray]:
    """Two pictures of the generator's own."""
    return list(to_pixels(generator.render(generator.sample([1001, 1002], truncation=0.8))))


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inversion.search.LOOK", 4)


@pytest.mark.usefixtures("looks_often")
def test_a_plateau_ends_the_search(projector: Projector, crops: list[np.ndarray]) -> None:
    settings = ProjectorSettings(start="mean", steps=12, plateau=1.0)  # Nothing lowers a loss by all of it.
    result = projector.invert(crops[0], settings=settings)
    assert result.steps == 4
    assert not result.stopped
    on = projector.invert(crops[0], settings=ProjectorSettings(start="mean", steps=5, plateau=0.0))
    assert on.steps == 5


@pytest.mark.usefixtures("looks_often")
def test_a_face_on_a_plateau_waits_for_its_neighbours_unchanged(projector: Projector, crops: list[np.ndarray]) -> None:
    """One face reaches its plateau earlier than the other: both get what they get alone."""
    settings = ProjectorSettings(start="mean", steps=13, plateau=0.1)
    alone = [projector.invert(crop, settings=settings) for crop in crops]
    together = projector.invert_batch(crops, settings=settings)
    assert [single.steps for single in alone] == [13, 12]
    for single, batched in zip(alone, together, strict=True):
        assert batched.lpips == pytest.approx(single.lpips, abs=2e-3)


def test_the_first_steps_may_compare_smaller_pictures(projector: Projector, crops: list[np.ndarray]) -> None:
    seen: list[Progress] = []
    settings = ProjectorSettings(start="mean", space="w+", steps=8, coarse=0.5, spread_from=0.25)
    result = projector.invert(crops[0], settings=settings, every=1, on_step=seen.append)
    assert [progress.pictures.shape[1] for progress in seen] == [64] * 4 + [128] * 4
    assert result.steps == 8
    assert seen[-1].lpips[0] < seen[0].lpips[0]
    rows = result.latent - result.latent.mean(dim=0)
    assert rows.abs().max() > 0  # The rows of the coarse steps are gone on with.
    seen.clear()
    early = projector.invert(crops[0], settings=settings, every=1, on_step=seen.append,
                             should_stop=lambda: len(seen) >= 2)
    assert (early.steps, early.stopped) == (2, True)
    assert early.picture.shape == crops[0].shape
    with pytest.raises(InputError, match="not a part of the steps"):
        ProjectorSettings(coarse=1.0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_work_where_there_is_no_smaller_picture(name: str) -> None:
    generator = make_generator(32, seed=1)
    seen: list[Progress] = []
    settings = preset(name, start="mean", steps=5, tuning_steps=min(PRESETS[name].tuning_steps, 2))
    crop = to_pixels(generator.render(generator.sample([3])))[0]
    result = Projector(generator).invert(crop, settings=settings, every=1, on_step=seen.append)
    assert {progress.pictures.shape[1] for progress in seen} == {32}
    assert result.steps == settings.all_steps


def test_a_time_budget_keeps_the_best_so_far(projector: Projector, crops: list[np.ndarray]) -> None:
    settings = ProjectorSettings(start="mean", steps=100_000, seconds=0.5)
    start = time.perf_counter()
    result = projector.invert(crops[0], settings=settings)
    assert result.stopped
    assert 0 < result.steps < 1000
    assert time.perf_counter() - start < 30  # 100,000 steps take an hour.
    assert result.settings == projector.resolve(settings)
    enough = projector.invert(crops[0], settings=ProjectorSettings(start="mean", steps=1, seconds=600))
    assert not enough.stopped
    assert enough.settings.seconds == 0  # Or a slower machine could not repeat it.


@pytest.mark.parametrize("good", [1, 4])
def test_numbers_that_are_none_leave_the_best_so_far(generator: Generator, crops: list[np.ndarray], good: int) -> None:
    """After the target's features, and after three steps more: nothing finite at all, and the best of three."""
    projector = Projector(generator, distance=FailingDistance(good))
    settings = ProjectorSettings(start="mean", steps=8, plateau=0.0, tuning_steps=3)
    if good == 1:
        with pytest.raises(InputError, match="no finite picture"):
            projector.invert(crops[0], settings=settings)
        return
    result = projector.invert(crops[0], settings=settings)
    assert result.latent.isfinite().all()
    assert result.picture.std() > 10
    assert all(change.isfinite().all() for change in result.tuning.values())


def test_an_encoder_that_is_not_there_is_named(generator: Generator, crops: list[np.ndarray]) -> None:
    projector = Projector(generator)
    projector.__dict__["encoder"] = None
    assert projector.resolve(ProjectorSettings()).start == "samples"
    with pytest.raises(InputError, match="gradctrl encoder"):
        projector.invert(crops[0], settings=ProjectorSettings(start="encoder"))
    for wrong in ("nowhere", "encoder", "encoder xyz"):
        if wrong != "encoder":
            with pytest.raises(InputError, match="no such start"):
                ProjectorSettings(start=wrong)


@pytest.mark.slow
def test_reduced_precision_finds_about_the_same(projector: Projector, crops: list[np.ndarray]) -> None:
    """The picture and its numbers are in full precision whatever the search was made in."""
    exact, reduced = (projector.invert(crops[0], settings=ProjectorSettings(start="mean", steps=15, precision=name))
                      for name in ("float32", "bfloat16"))
    assert reduced.lpips == pytest.approx(exact.lpips, rel=0.2)
    again = to_pixels(projector.generator.render(reduced.latent[None]))[0]
    assert np.array_equal(again, reduced.picture)
    assert projector.generator.compute_dtype is None


def test_the_window_is_highest_on_the_face() -> None:
    for inner in (0.0, 4.0):
        window = face_window(64, 0.1, inner)
        assert window.mean() == pytest.approx(1)
        assert window[40, 32] > 2 * window[2, 2]
        assert torch.allclose(window, window.flip(1), atol=1e-6)
    assert torch.allclose(face_window(64, 1.0), torch.ones(64, 64))
    plain, inner = face_window(64, 0.1), face_window(64, 0.1, 4.0)
    assert inner[40, 32] / inner[8, 32] > 2 * plain[40, 32] / plain[8, 32]


@pytest.mark.parametrize("space", ["w", "w+"])
def test_latents_that_do_not_vary_in_some_directions_are_found_too(space: str) -> None:
    generator = make_generator()
    generator.get_parameter("mapping.fc1.weight")[12:] = 0
    projector = Projector(generator)
    assert projector.statistics.axes.shape == (12, 20)
    crop = to_pixels(generator.render(generator.sample([1])))[0]
    settings = ProjectorSettings(start="mean", steps=4, space=space, spread_from=0.0)  # type: ignore[arg-type]
    latent = projector.invert(crop, settings=settings).latent
    assert latent.shape == ((20,) if space == "w" else (8, 20))
    assert torch.allclose(latent[..., 12:], generator.sample([1])[0, 12:], atol=1e-4)
