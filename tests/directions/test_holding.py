"""Directions that hold attributes still."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from directions import LinearControl
from directions.holding import held_still
from directions.linear import LinearDirection
from tests.directions.made_controls import make_control
from weights.errors import InputError

D = 12


def random(seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(1, D, generator=torch.Generator().manual_seed(seed)), dim=1)


def control(seed: int) -> LinearControl:
    return LinearControl(name=f"c{seed}", classes=("no", "yes"), found_by="interfacegan", directions=random(seed),
                         weights=3 * random(seed + 50), bias=torch.ones(1))


def direction() -> LinearDirection:
    return LinearDirection(name="nose", found_by="ganspace", directions=random(99), units=(4.0,), centre=0.5)


def test_linear_scores_do_not_move_at_all() -> None:
    kept = [control(0), control(1)]
    at = torch.randn(50, D, generator=torch.Generator().manual_seed(0))
    held = held_still(direction(), kept, at)
    moved = at + 5 * held.directions
    for each in kept:
        torch.testing.assert_close(each.scores(moved), each.scores(at), rtol=1e-4, atol=1e-4)
    share = float(direction().directions[0] @ held.directions[0])
    assert held.units[0] == pytest.approx(4.0 * share, rel=1e-4)
    assert held.report["holds still"] == "c0, c1"
    same = direction()
    assert held_still(same, [], at) is same


def test_curved_scores_move_less() -> None:
    kept = make_control("smile", dtype=torch.float32)
    width = kept.width
    made = replace(direction(), directions=F.normalize(torch.ones(1, width), dim=1))
    at = torch.randn(200, width, generator=torch.Generator().manual_seed(0))
    held = held_still(made, [kept], at)

    def moved(each: LinearDirection) -> float:
        return float((kept.scores(at + 0.1 * each.directions) - kept.scores(at)).mean().abs())

    assert moved(held) < 0.1 * moved(made)


def test_a_direction_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match="hold fewer"):
        held_still(replace(direction(), directions=random(50)), [control(0)], torch.zeros(2, D))
