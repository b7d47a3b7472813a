"""Statistics of a latent space: axes are those of a made covariance, and standard scores come back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from generators import LatentStatistics, load
from weights.errors import InputError


def latents(count: int = 4000) -> Tensor:
    """Latents [count, 6] whose deviations along the coordinates are 4, 16, 1, 8, 0 and 2, around (1, ..., 1)."""
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    return x * torch.tensor([4.0, 16.0, 1.0, 8.0, 0.0, 2.0]) + 1


def test_axes_are_the_principal_components_widest_first() -> None:
    measured = LatentStatistics.of(latents().double(), share=1.0)
    assert torch.allclose(measured.deviations, torch.tensor([16, 8, 4, 2, 1]).double(), rtol=0.05)
    widest = measured.axes.abs().argmax(dim=1, keepdim=True)
    assert widest[:, 0].tolist() == [1, 3, 0, 5, 2]
    assert (measured.axes.gather(1, widest) > 0).all()
    assert torch.allclose(measured.components @ measured.components.T, torch.eye(5).double(), atol=1e-12)
    assert torch.allclose(measured.axes.T @ measured.axes, latents().double().T.cov(), atol=1e-10)


@pytest.mark.parametrize(("share", "kept"), [(1.0, 5), (0.5, 1), (0.93, 2)])
def test_as_many_axes_as_hold_the_share(share: float, kept: int) -> None:
    measured, whole = LatentStatistics.of(latents(), share=share), LatentStatistics.of(latents(), share=1.0)
    assert measured.axes.dtype == torch.float32
    assert torch.equal(measured.axes, whole.axes[:kept])


def test_few_latents_have_few_axes() -> None:
    assert len(LatentStatistics.of(latents(3), share=1.0).axes) == 2


def test_standard_scores_come_back_and_make_w_round() -> None:
    generator = load()
    measured = LatentStatistics.of_generator(generator)
    assert measured.axes.dtype == torch.float64
    measured = measured.to("cpu", torch.float32)
    scores = measured.standardise(generator.sample(range(500)))
    assert scores.square().mean() == pytest.approx(1, abs=0.2)
    w = generator.sample([5, 6])
    assert torch.allclose(measured.restore(measured.standardise(w)), w, atol=1e-3)
    assert torch.equal(measured.restore(torch.zeros(1, len(measured.axes)))[0], measured.mean)


def test_elsewhere_they_are_rounded_last() -> None:
    exact = LatentStatistics.of(latents().double())
    moved = exact.to("cpu", torch.float32)
    for name in ("mean", "axes", "reader"):
        assert torch.equal(getattr(moved, name), getattr(exact, name).float())
    assert moved.equals(exact.to("cpu", torch.float32))
    assert not moved.equals(LatentStatistics(mean=moved.mean + 1, axes=moved.axes))


def test_the_samples_are_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load()
    few = LatentStatistics.of_generator(generator, samples=600)
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    assert few.equals(LatentStatistics.of_generator(generator))


@pytest.mark.parametrize(("bad", "words"), [
    (latents(1), "not 1; sample more"), (torch.ones(9, 6), "all 9 are the same"), (latents() * torch.nan, "finite"),
])
def test_bad_latents_are_refused(bad: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LatentStatistics.of(bad)
    with pytest.raises(ValueError, match="axes must be"):
        LatentStatistics(mean=torch.zeros(3), axes=torch.zeros(2, 4))
