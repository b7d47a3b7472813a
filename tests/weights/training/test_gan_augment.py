"""Adaptive augmentation: what it must leave alone, what it can undo, and how its probability moves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from weights.training.gan.augment import (
    LARGEST,
    SYMLET,
    Adaptive,
    augment,
    draw_colours,
    draw_geometry,
    flip_some,
    recolour,
    warp,
)
from weights.training.gan.chance import generator


def smooth(count: int, side: int = 32) -> Tensor:
    """Soft random pictures in [-1, 1], which resampling can reproduce."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True).clamp(-1, 1)


def inner(pictures: Tensor, margin: int) -> Tensor:
    return pictures[:, :, margin:-margin, margin:-margin]


def test_with_p_0_every_picture_stays_bit_for_bit() -> None:
    pictures = torch.randn(6, 3, 32, 32)
    assert torch.equal(augment(pictures, 0.0, generator("cpu", 1)), pictures)
    assert torch.equal(augment(pictures, torch.zeros([]), generator("cpu", 1)), pictures)


def test_a_picture_for_which_nothing_is_drawn_stays_bit_for_bit() -> None:
    pictures = torch.randn(64, 3, 32, 32)
    matrix, colours = (draw_geometry(64, 32, 0.1, generator("cpu", 2)), draw_colours(64, 0.1, generator("cpu", 3)))
    still = (matrix == torch.eye(3)).flatten(1).all(1)
    kept = (colours == torch.eye(4)).flatten(1).all(1)
    assert 8 < still.sum() < 60
    assert 8 < kept.sum() < 60
    assert torch.equal(warp(pictures, matrix)[still], pictures[still])
    assert torch.equal(recolour(pictures, colours)[kept], pictures[kept])
    assert (warp(pictures, matrix) - pictures)[~still].abs().flatten(1).amax(1).min() > 0.1


def test_with_p_1_every_picture_changes() -> None:
    pictures = smooth(16)
    changed = augment(pictures, 1.0, generator("cpu", 4))
    assert changed.shape == pictures.shape
    assert (changed - pictures).abs().flatten(1).mean(1).min() > 0.05


def test_the_filter_gives_back_what_it_enlarged() -> None:
    taps = torch.tensor(SYMLET, dtype=torch.float64)
    for shift in range(0, len(taps), 2):
        overlap = float((taps[shift:] * taps[:len(taps) - shift]).sum())
        assert overlap == pytest.approx(float(shift == 0), abs=1e-9)
    assert float(taps.sum()) == pytest.approx(2 ** 0.5, abs=1e-9)


def shift_by(x: float, y: float) -> Tensor:
    return torch.tensor([[[1.0, 0, x], [0, 1, y], [0, 0, 1]]])


def test_a_shift_by_whole_pixels_moves_pixels() -> None:
    pictures = torch.rand(1, 3, 32, 32) * 2 - 1
    moved = warp(pictures, shift_by(3, -2))  # The new picture's (0, 0) is the old one's (3, -2).
    assert torch.allclose(moved[:, :, 8:24, 8:24], pictures[:, :, 6:22, 11:27], atol=1e-5)


def test_a_flip_and_a_quarter_turn_are_those_of_the_pixels() -> None:
    pictures = smooth(1)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))[None]
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    assert (warp(pictures, flip) - pictures.flip(3)).abs().max() < 0.05
    assert (warp(pictures, turn) - pictures.rot90(1, [2, 3])).abs().max() < 0.05


def test_beyond_its_edges_a_picture_is_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    moved = warp(ramp, shift_by(8, 0))  # Pixel x is the old x + 8, and 31 + d is 31 - d.
    assert torch.allclose(moved[0, 0, 16, 26:30], ramp[0, 0, 16, [28, 27, 26, 25]], atol=0.01)


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_a_change_is_undone_by_its_inverse(p: float) -> None:
    pictures = smooth(12)
    matrix = draw_geometry(12, 32, p, generator("cpu", 5))
    matrix[:, :2, 2] *= 0.3  # So that the middle stays inside.
    scale = torch.linalg.svdvals(matrix[:, :2, :2])
    kept = (scale.amax(1) < 1.3) & (scale.amin(1) > 0.7)
    assert kept.sum() >= 3
    back = warp(warp(pictures, matrix), matrix.inverse())
    assert inner(back - pictures, 12)[kept].abs().mean() < 0.02


def test_colours_are_undone_by_the_inverse() -> None:
    pictures = smooth(12).double()
    matrix = draw_colours(12, 1.0, generator("cpu", 6)).double()
    back = recolour(recolour(pictures, matrix), matrix.inverse())
    assert torch.allclose(back, pictures, atol=1e-6)
    assert torch.allclose(matrix[:, 3], torch.tensor([0.0, 0, 0, 1]).double().expand(12, 4), atol=1e-6)


def test_resampling_stays_in_the_range_of_the_picture() -> None:
    pictures = smooth(16)
    warped = warp(pictures, draw_geometry(16, 32, 1.0, generator("cpu", 7)))
    assert warped.abs().max() <= pictures.abs().max() + 0.15  # The filter may overshoot a little.
    assert torch.isfinite(warped).all()


def test_greys_stay_grey_under_changes_of_hue_and_saturation() -> None:
    grey = torch.rand(8, 1, 4, 4).expand(8, 3, 4, 4)
    changed = recolour(grey, draw_colours(8, 1.0, generator("cpu", 8)))
    assert torch.allclose(changed, changed.mean(1, keepdim=True).expand_as(changed), atol=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    pictures = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def changed(pictures: Tensor) -> Tensor:
        return augment(pictures, 0.9, generator("cpu", 9))

    weight = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    [gradient] = torch.autograd.grad((changed(pictures) * weight).sum(), [pictures])
    direction = torch.randn_like(pictures)
    with torch.no_grad():  # The changes are linear in the picture but for a constant.
        difference = ((changed(pictures + direction) - changed(pictures)) * weight).sum()
    assert float((gradient * direction).sum()) == pytest.approx(float(difference), rel=1e-9)


def test_each_change_is_drawn_with_probability_p() -> None:
    matrix = draw_geometry(4000, 32, 0.2, generator("cpu", 10))
    still = (matrix == torch.eye(3)).flatten(1).all(1).float().mean()
    # A flip or quarter turn drawn may be none, and turns are drawn twice, which together make p.
    expected = (1 - 0.2 / 2) * (1 - 0.2 * 3 / 4) * (1 - 0.2) ** 5
    assert float(still) == pytest.approx(expected, abs=0.03)
    colours = draw_colours(4000, 0.2, generator("cpu", 11))
    kept = (colours == torch.eye(4)).flatten(1).all(1).float().mean()
    assert float(kept) == pytest.approx((1 - 0.2 / 2) * 0.8 ** 4, abs=0.03)


def test_p_rises_while_the_discriminator_is_too_sure_and_falls_while_it_is_not() -> None:
    adaptive = Adaptive("cpu", kimg=1)
    adaptive.note(torch.ones(50))
    assert float(adaptive.move()) == 1
    assert float(adaptive.p) == pytest.approx(0.05)
    adaptive.note(torch.tensor([1.0, -1.0, 1.0, -1.0] * 5))
    assert float(adaptive.move()) == 0
    assert float(adaptive.p) == pytest.approx(0.03)
    for _ in range(4):
        adaptive.note(-torch.ones(50))
        adaptive.move()
    assert float(adaptive.p) == 0
    for _ in range(40):
        adaptive.note(torch.ones(50))
        adaptive.move()
    assert float(adaptive.p) == pytest.approx(LARGEST)


def test_a_fixed_p_stays() -> None:
    adaptive = Adaptive("cpu", fixed=0.25, kimg=1)
    adaptive.note(torch.ones(50))
    assert float(adaptive.move()) == 1
    assert float(adaptive.p) == 0.25


def test_about_half_of_the_pictures_are_mirrored() -> None:
    pictures = torch.randn(200, 3, 4, 4)
    flipped = flip_some(pictures, 0, 1)
    mirrored = (flipped == pictures.flip(3)).flatten(1).all(1)
    assert 70 < mirrored.sum() < 130
    assert torch.equal(flipped[~mirrored], pictures[~mirrored])
    assert torch.equal(flipped, flip_some(pictures, 0, 1))
    assert not torch.equal(flipped, flip_some(pictures, 0, 2))
