"""The projector: properties on the bundled generator, with few steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from generators import Generator, from_pixels, load, to_pixels
from inversion import Inversion, PerceptualDistance, Progress, Projector, ProjectorSettings, preset
from inversion.search import learning_rate
from weights.errors import InputError

SHORT = ProjectorSettings(steps=12, start="samples", samples=16)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load("bundled")


@pytest.fixture(scope="module")
def projector(generator: Generator) -> Projector:
    return Projector(generator, SHORT)


@pytest.fixture(scope="module")
def crops(generator: Generator) -> list[np.ndarray]:
    """Pictures of the generator's own, of seeds that the warm start does not try."""
    return list(to_pixels(generator.render(generator.sample([1001, 1002], truncation=0.8))))


@pytest.fixture(scope="module")
def short(projector: Projector, crops: list[np.ndarray]) -> Inversion:
    return projector.invert(crops[0])


def test_the_picture_is_that_of_the_latent(generator: Generator, short: Inversion) -> None:
    again = to_pixels(generator.render(short.latent[None]))[0]
    assert np.abs(again.astype(int) - short.picture).max() <= 1
    assert short.latent.shape == (generator.w_dim,)
    assert short.space.matches(generator.space)
    short.check(generator)


def test_the_numbers_are_those_of_the_picture(short: Inversion, projector: Projector) -> None:
    a, b = projector.generator.render(short.latent[None]), from_pixels(short.crop)
    assert float(projector.distance(a, b)) == pytest.approx(short.lpips, abs=2e-3)
    assert float((a - b).square().mean()) == pytest.approx(short.mse, abs=2e-3)
    assert 0 < short.identity < 1
    assert short.steps == 12


@pytest.mark.slow
def test_more_steps_come_nearer_and_find_the_person(projector: Projector, crops: list[np.ndarray],
                                                    short: Inversion) -> None:
    longer = projector.invert(crops[0], settings=ProjectorSettings(steps=50, start="samples", samples=16))
    assert longer.lpips < short.lpips
    assert longer.identity < 0.6


def test_the_same_seed_gives_the_same_latent(projector: Projector, crops: list[np.ndarray], short: Inversion) -> None:
    assert torch.equal(projector.invert(crops[0]).latent, short.latent)
    other = projector.invert(crops[0], settings=ProjectorSettings(steps=12, start="samples", samples=16, seed=1))
    assert not torch.equal(other.latent, short.latent)


def test_a_batch_equals_singles(projector: Projector, crops: list[np.ndarray], short: Inversion) -> None:
    first, second = projector.invert_batch(crops)
    single = projector.invert(crops[1])
    assert np.array_equal(first.crop, crops[0])
    # Optimisation magnifies rounding; the pictures agree far below what can be seen.
    for batched, alone in ((first, short), (second, single)):
        assert np.abs(batched.picture.astype(int) - alone.picture).mean() < 1.0
        assert batched.lpips == pytest.approx(alone.lpips, abs=5e-3)


def test_the_callback_sees_the_best_so_far(projector: Projector, crops: list[np.ndarray]) -> None:
    seen: list[Progress] = []
    result = projector.invert(crops[0], every=5, on_step=seen.append)
    assert [progress.step for progress in seen] == [1, 5, 10, 12]
    assert seen[0].pictures.shape == (1, 128, 128, 3)
    assert seen[-1].seconds_left == 0
    assert np.array_equal(seen[-1].pictures[0], result.picture)


def test_later_steps_count_as_more_work(projector: Projector, crops: list[np.ndarray]) -> None:
    seen: list[Progress] = []
    settings = ProjectorSettings(steps=8, coarse=0.5, plateau=0, tuning_steps=4, start="mean")
    projector.invert(crops[0], settings=settings, every=4, on_step=seen.append)
    # Four of 1, four of 2 and four of 3.
    assert [progress.part for progress in seen] == pytest.approx([1 / 24, 4 / 24, 12 / 24, 1])
    assert [progress.step for progress in seen] == [1, 4, 8, 12]


def test_stopping_keeps_the_best_so_far(projector: Projector, crops: list[np.ndarray]) -> None:
    seen: list[Progress] = []
    result = projector.invert(crops[0], every=1, on_step=seen.append, should_stop=lambda: len(seen) >= 4)
    assert result.steps == 4
    rounding = np.abs(result.picture.astype(int) - seen[-1].pictures[0])  # The search may use bfloat16.
    assert rounding.mean() < 1
    assert result.identity is not None


@pytest.mark.parametrize("side", [32, 64, 100, 256])
def test_a_search_compares_pictures_of_its_side_and_gives_whole_ones(projector: Projector, crops: list[np.ndarray],
                                                                     side: int) -> None:
    seen: list[Progress] = []
    settings = ProjectorSettings(steps=6, start="mean", side=side)
    result = projector.invert(crops[0], settings=settings, on_step=seen.append)
    shown = {32: 32, 64: 64}.get(side, 128)
    assert seen[-1].pictures.shape == (1, shown, shown, 3)
    assert result.picture.shape == (128, 128, 3)
    whole = projector.generator.render(result.latent[None])
    assert np.array_equal(to_pixels(whole)[0], result.picture)
    wanted = F.adaptive_avg_pool2d(from_pixels(crops[0]), shown)
    assert float((F.adaptive_avg_pool2d(whole, shown) - wanted).square().mean()) == pytest.approx(result.mse, rel=1e-3)


def test_w_plus_has_a_row_for_each_layer(projector: Projector, crops: list[np.ndarray], generator: Generator) -> None:
    settings = ProjectorSettings(steps=12, start="samples", samples=16, space="w+", spread_from=0.0, spread=0.0)
    result = projector.invert(crops[0], settings=settings)
    assert result.latent.shape == (generator.num_ws, generator.w_dim)
    assert result.latent.std(dim=0).max() > 0.01


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(ProjectorSettings(learning_rate=0.5), step / 100) for step in range(101)]
    assert 0 < rates[0] < rates[3] < rates[6] <= 0.5
    assert rates[-1] == pytest.approx(0)


def test_bad_crops_and_settings_are_refused(projector: Projector) -> None:
    with pytest.raises(ValueError, match="crops must be"):
        projector.invert(np.zeros([64, 64, 3], np.uint8))
    with pytest.raises(ValueError, match="crops must be"):
        projector.invert_batch([])
    with pytest.raises(InputError, match="fast, balanced, faithful"):
        preset("best")
    with pytest.raises(InputError, match="w or w"):
        ProjectorSettings(space="z")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="use 32 or more"):
        ProjectorSettings(side=16)
    with pytest.raises(InputError, match="at least 1"):
        ProjectorSettings(steps=0)


def test_lpips_properties() -> None:
    distance = PerceptualDistance()
    a, b = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(distance(a, a), torch.zeros(2))
    assert torch.allclose(distance(a, b), distance(b, a))
    assert torch.allclose(distance(a, b)[1], distance(a[1:], b[1:])[0], atol=1e-6)
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(flat, a[:1]).sum().backward()
    assert flat.grad.isfinite().all()
    with pytest.raises(ValueError, match="at least 32"):
        distance(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))


def test_lpips_equals_the_packages_own_code() -> None:
    """The package's forward pass with the same backbone, on noise and on flat pictures."""
    import lpips

    ours = PerceptualDistance()
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, pretrained=True, verbose=False)
    theirs.net.load_state_dict(ours._net.state_dict())
    torch.manual_seed(0)
    a, b = torch.rand(3, 3, 96, 96) * 2 - 1, torch.rand(3, 3, 96, 96) * 0.5
    b[2] = 0.3
    with torch.no_grad():
        # Ours has the weights in half precision.
        assert torch.allclose(ours(a, b), theirs(a, b).flatten(), atol=2e-4)


def test_stopping_while_the_start_is_found_still_gives_a_picture(projector: Projector, crops: list[np.ndarray]) -> None:
    asked: list[int] = []
    seen: list[Progress] = []
    settings = ProjectorSettings(steps=9, start="samples", samples=64)
    result = projector.invert(crops[0], settings=settings, on_step=seen.append,
                              should_stop=lambda: bool(asked.append(1)) or True)
    assert result.steps == 1
    assert len(asked) == 2  # Once in the first of four parts of the warm start, once after the step.
    assert seen[-1].seconds_left == pytest.approx(8 * (seen[-1].seconds - seen[-1].warm_seconds))
