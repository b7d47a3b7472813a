"""Estimators against the singular value decomposition of all rows at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from directions.estimators import MAKERS, Estimator, IncrementalPCA, orthonormal, run
from weights.errors import InputError

SAMPLES, WIDTH, COUNT = 2000, 60, 6
STREAMED = ("exact", "incremental", "randomised")


@pytest.fixture(scope="module")
def rows() -> Tensor:
    """Rows [N, A] with a few wide axes, turned at random, far from the origin."""
    rng = torch.Generator().manual_seed(3)
    sizes = 0.7 ** torch.arange(WIDTH)
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=rng))[0]
    return torch.randn(SAMPLES, WIDTH, generator=rng) * sizes @ turn + 4


def fitted(name: str, rows: Tensor, *, chunk: int = 170, count: int = COUNT):  # type: ignore[no-untyped-def]
    return run(MAKERS[name](rows.shape[1], count, 0), lambda start, stop: rows[start:stop].clone(), samples=len(rows),
               chunk=chunk)


@pytest.mark.parametrize("name", STREAMED)
def test_chunks_give_the_components_of_all_rows(name: str, rows: Tensor) -> None:
    found = fitted(name, rows)
    centred = (rows - rows.mean(dim=0)).double()
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    cosines = (found.components.double() * axes[:COUNT]).sum(dim=1).abs()
    assert cosines.min() > 0.999
    torch.testing.assert_close(found.deviations.double(), sizes[:COUNT] / (SAMPLES - 1) ** 0.5, rtol=2e-3, atol=0)
    torch.testing.assert_close(found.mean, rows.mean(dim=0), rtol=1e-4, atol=1e-4)
    shares = sizes.square() / sizes.square().sum()
    torch.testing.assert_close(found.shares.double(), shares[:COUNT], rtol=5e-3, atol=0)


@pytest.mark.parametrize("name", MAKERS)
def test_components_are_unit_widest_first_and_have_a_sign(name: str, rows: Tensor) -> None:
    found = fitted(name, rows)
    torch.testing.assert_close(found.components.norm(dim=1), torch.ones(len(found.components)))
    assert (found.deviations.diff() <= 0).all()
    assert (found.components.gather(1, found.components.abs().argmax(dim=1, keepdim=True)) > 0).all()
    along = (rows - rows.mean(dim=0)) @ found.components.T
    torch.testing.assert_close(found.deviations, along.std(dim=0), rtol=5e-3, atol=0)


@pytest.mark.parametrize("name", STREAMED)
def test_one_resumed_equals_one_not_interrupted(name: str, rows: Tensor) -> None:
    class StoppedError(Exception):
        pass

    def make() -> Estimator:
        return MAKERS[name](WIDTH, COUNT, 0)

    def chunk_of(start: int, stop: int) -> Tensor:
        return rows[start:stop].clone()

    kept: dict[str, Tensor] = {}
    seen = 0

    def on_chunk(done: int) -> None:
        nonlocal seen
        if done > SAMPLES * (MAKERS[name].passes - 1) + 500:  # In the last pass.
            raise StoppedError
        kept.clear()
        kept.update({key: value.clone() for key, value in stopped.state.items()})
        seen = done

    stopped = make()
    with pytest.raises(StoppedError):
        run(stopped, chunk_of, samples=SAMPLES, chunk=170, on_chunk=on_chunk)
    resumed = make()
    resumed.state = kept
    again = run(resumed, chunk_of, samples=SAMPLES, chunk=170, start=seen)
    whole = run(make(), chunk_of, samples=SAMPLES, chunk=170)
    assert torch.equal(again.components, whole.components)
    assert torch.equal(again.deviations, whole.deviations)


def test_independent_components_are_found() -> None:
    """Two independent sources that are not normal come out of their mixture, which PCA cannot part."""
    rng = torch.Generator().manual_seed(0)
    sources = torch.rand(4000, 2, generator=rng) - 0.5
    mixture = torch.tensor([[1.0, 0.4], [0.4, 1.0], [0.2, -0.3]])
    found = fitted("fastica", sources @ mixture.T, count=2)
    coordinates = (sources @ mixture.T - found.mean) @ found.components.T
    both = torch.corrcoef(torch.cat([coordinates, sources], dim=1).T)[:2, 2:].abs()
    assert both.amax(dim=1).min() > 0.98


def test_slabs_change_nothing(rows: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted("incremental", rows)
    monkeypatch.setattr("directions.estimators.SLAB", 7)
    torch.testing.assert_close(fitted("incremental", rows).components, whole.components, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(orthonormal(rows[:4].clone()) @ orthonormal(rows[:4].clone()).T, torch.eye(4),
                               rtol=1e-4, atol=1e-4)


def test_fewer_rows_than_components(rows: Tensor) -> None:
    found = fitted("incremental", rows[:5], chunk=2)
    assert len(found.components) == 4
    with pytest.raises(InputError, match="all are the same"):
        fitted("exact", torch.ones(8, 3), count=2)


def test_incremental_memory_does_not_grow_with_samples() -> None:
    assert IncrementalPCA.memory(512 * 64 * 64, 80, 61, 10 ** 9) == IncrementalPCA.memory(512 * 64 * 64, 80, 61, 100)
    assert IncrementalPCA.memory(512 * 64 * 64, 80, 61, 100) < 1.5e9
