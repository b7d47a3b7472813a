"""Lanczos and power iteration: against the exact eigenvectors, stopped anywhere, with products that are not finite."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from directions.navigan.eigenvectors import Lanczos, Power, Solver

A, K = 60, 5
MAKERS = {"lanczos": partial(Lanczos, tolerance=1e-3), "power": partial(Power, rounds=60)}


def operator(seed: int = 0) -> Tensor:
    """Symmetric [A, A], with eigenvalues 2^-i."""
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(A, A, generator=rng))[0]
    return turn @ torch.diag(2.0 ** -torch.arange(A).float()) @ turn.T


def solve(solver: Solver, of: Tensor, most: int = 10_000) -> Solver:
    while not solver.done and most:
        solver.tell(of @ solver.vector)
        most -= 1
    return solver


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> partial[Solver]:
    made: partial[Solver] = MAKERS[request.param]
    return made


def test_they_find_the_leading_eigenvectors(maker: partial[Solver]) -> None:
    values, vectors = solve(maker(A, K), operator()).result()
    exact, turn = torch.linalg.eigh(operator())
    torch.testing.assert_close(values, exact.flip(0)[:K], rtol=1e-2, atol=0)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(K), atol=1e-4, rtol=0)
    assert float((vectors * turn.T.flip(0)[:K]).sum(dim=1).abs().min()) > 0.99


def test_lanczos_makes_fewer_products() -> None:
    lanczos, power = (solve(MAKERS[name](A, K), operator()).products for name in ("lanczos", "power"))
    assert lanczos < power / 5


@pytest.mark.parametrize("after", [0, 1, 7, 18, 23])
def test_what_was_stopped_goes_on_bit_for_bit(maker: partial[Solver], after: int) -> None:
    whole = solve(maker(A, K), operator()).result()
    stopped = solve(maker(A, K), operator(), after)
    again = maker(A, K)
    again.state = {name: each.clone() for name, each in stopped.state.items()}
    for one, other in zip(whole, solve(again, operator()).result(), strict=True):
        assert torch.equal(one, other)


def test_restarts_keep_memory_bounded() -> None:
    """Of a spectrum without gaps, which takes more products than there are rows."""
    rng = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(400, 400, generator=rng))[0]
    values = 1 - torch.arange(400) / 400
    solver = Lanczos(400, 4, tolerance=3e-3, most=400)
    solve(solver, turn @ torch.diag(values) @ turn.T)
    assert solver.state["rows"].shape == (4 + 16 + 1, 400)
    assert solver.products > 21
    torch.testing.assert_close(solver.result()[0], values[:4], rtol=1e-2, atol=0)


def test_operators_of_low_rank_and_of_few_numbers(maker: partial[Solver]) -> None:
    flat = torch.zeros(A, A)
    flat[0, 0], flat[1, 1] = 3.0, 2.0
    values, vectors = solve(maker(A, 4), flat).result()
    torch.testing.assert_close(values, torch.tensor([3.0, 2.0, 0.0, 0.0]), atol=1e-3, rtol=0)
    assert bool(vectors.isfinite().all())
    values, _ = solve(maker(3, 3), torch.diag(torch.tensor([1.0, 4.0, 2.0]))).result()
    torch.testing.assert_close(values, torch.tensor([4.0, 2.0, 1.0]), rtol=1e-2, atol=0)


def test_what_is_known_early_can_be_had(maker: partial[Solver]) -> None:
    assert len(maker(A, K).result()[0]) <= 1
    values, vectors = solve(maker(A, K), operator(), 3).result()
    assert 1 <= len(values) == len(vectors) <= 3


def test_counts_that_do_not_fit_are_refused(maker: partial[Solver]) -> None:
    with pytest.raises(ValueError, match="1 to 60 eigenvectors"):
        maker(A, A + 1)
    with pytest.raises(ValueError, match="1 to 60 eigenvectors"):
        maker(A, 0)
