"""Local fits of colours: exact where there is something to find, and nothing invented where there is not."""

from __future__ import annotations

import numpy as np
import pytest

from inversion.colours import ColourGuide, apply_colours, averaged, grey

SIDE = 48


@pytest.fixture
def guide() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def everywhere() -> np.ndarray:
    return np.ones((SIDE, SIDE), np.float32)


def test_an_affine_map_of_the_colours_is_found(guide: np.ndarray, everywhere: np.ndarray) -> None:
    gain, offset = np.array([[0.5, 0.1, 0.0], [-0.2, 1.0, 0.3], [0.0, 0.4, -0.7]]), np.array([10.0, -20.0, 5.0])
    target = (guide @ gain + offset).astype(np.float32)
    fits = ColourGuide.of(guide, everywhere, reach=3.0, noise=0.1).fit(target)
    assert fits.shape == (SIDE, SIDE, 12)
    assert fits.dtype == np.float32
    np.testing.assert_allclose(fits[..., :9], np.broadcast_to(gain.ravel(), (SIDE, SIDE, 9)), atol=2e-3)
    np.testing.assert_allclose(apply_colours(fits, guide), target, atol=0.2)


def test_each_side_of_an_edge_has_its_own_map(everywhere: np.ndarray) -> None:
    """A change that ends at the guide's edge is kept sharp, where an average would blur it."""
    guide = np.full((SIDE, SIDE, 3), 40, np.float32)
    guide[:, SIDE // 2:] = 190
    target = np.where(guide > 100, 0, 60).astype(np.float32)
    result = apply_colours(ColourGuide.of(guide, everywhere, reach=3.0, noise=5.0).fit(target), guide)
    assert np.abs(result - target).max() < 2
    assert np.abs(averaged(target, 3.0) - target).max() > 20


def test_a_target_takes_the_edges_of_a_larger_guide(everywhere: np.ndarray) -> None:
    large = np.full((4 * SIDE, 4 * SIDE, 3), 190, np.float32)
    large[:, :2 * SIDE + 2] = 40  # half a pixel of the small one
    small = large.reshape(SIDE, 4, SIDE, 4, 3).mean((1, 3))
    target = (190 - small) * 0.4
    result = apply_colours(ColourGuide.of(small, everywhere, reach=3.0, noise=5.0).fit(target), large)
    assert result.shape == large.shape
    assert np.abs(result - (190 - large) * 0.4).max() < 2


def test_without_contrast_the_fit_is_the_mean(everywhere: np.ndarray) -> None:
    guide = np.full((SIDE, SIDE, 3), 90, np.float32)
    target = np.random.default_rng(1).normal(20, 5, guide.shape).astype(np.float32)
    fits = ColourGuide.of(guide, everywhere, reach=6.0, noise=10.0).fit(target)
    assert np.abs(fits[..., :9]).max() < 1e-3
    assert np.abs(apply_colours(fits, guide) - 20).max() < 3


def test_what_is_not_trusted_counts_little_and_never_leaves_a_hole(guide: np.ndarray, everywhere: np.ndarray) -> None:
    target = guide * 0.5
    spoilt, trust = target.copy(), everywhere.copy()
    spoilt[20:24], trust[20:24] = 255, 0
    result = apply_colours(ColourGuide.of(guide, trust, reach=4.0, noise=1.0).fit(spoilt), guide)
    blind = apply_colours(ColourGuide.of(guide, everywhere, reach=4.0, noise=1.0).fit(spoilt), guide)
    assert np.abs(result - target)[20:24].mean() < 0.2 * np.abs(blind - target)[20:24].mean()
    assert np.isfinite(ColourGuide.of(guide, np.zeros_like(trust), reach=4.0, noise=1.0).fit(spoilt)).all()


def test_means_keep_their_shape_and_what_is_even() -> None:
    for shape in ((9, 9), (9, 9, 1), (9, 9, 15)):
        picture = np.full(shape, 7, np.float32)
        result = averaged(picture, 2.0)
        assert result.shape == shape
        np.testing.assert_allclose(result, picture, rtol=1e-5)
    np.testing.assert_allclose(grey(np.full((4, 4, 3), [1, 2, 6], np.float32)), 3, rtol=1e-5)
