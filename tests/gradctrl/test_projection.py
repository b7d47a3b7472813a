"""Projected directions and the metric of W: properties, then the closed form, then bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from generators import LatentStatistics
from gradctrl import Classifier, direction, gradient, projected_direction
from gradctrl.gradients import SOFTNESS
from tests.gradctrl.made_classifiers import W_DIM, latents, make_classifier, make_statistics

METRICS = {"plain": None, "metric": make_statistics(), "few axes": make_statistics(40)}


@pytest.fixture
def w() -> Tensor:
    return latents()


@pytest.fixture
def smile() -> Classifier:
    return make_classifier(seed=1)


@pytest.fixture
def age() -> Classifier:
    return make_classifier(seed=2)


@pytest.fixture
def hair() -> Classifier:
    return make_classifier(outputs=3, seed=3)


@pytest.fixture
def pose() -> Classifier:
    return make_classifier(outputs=5, seed=4)


def rates(function: Callable[[Tensor], Tensor], w: Tensor, n: Tensor) -> Tensor:
    """How fast each output [N, C] of a function of w changes along n, by autograd."""
    w = w.clone().requires_grad_()
    out = function(w)
    gradients = [torch.autograd.grad(out[:, j].sum(), w, retain_graph=True)[0] for j in range(out.shape[1])]
    return torch.stack([(g * n).sum(dim=1) for g in gradients], dim=1)


def slopes(control: Classifier, w: Tensor, n: Tensor) -> Tensor:
    """How fast each of a control's logits [N, C] changes along n; of several classes, against their mean."""
    change = rates(control.logits, w, n)
    return change if control.binary else change - change.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_directions_have_unit_length_and_raise_the_score(w: Tensor, smile: Classifier, age: Classifier,
                                                         hair: Classifier,
                                                         pose: Classifier, metric: LatentStatistics | None) -> None:
    for control, keep in ((smile, [age, hair, pose]), (hair, [smile, age]), (pose, [hair])):
        for target in range(control.outputs):
            n = projected_direction(control, w, target=target, keep=keep, statistics=metric)
            assert torch.allclose(n.norm(dim=1), torch.ones_like(w[:, 0]))
            assert (rates(control.scores, w, n)[:, target] > 0).all()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_kept_scores_do_not_change_to_first_order(w: Tensor, smile: Classifier, age: Classifier, hair: Classifier,
                                                  pose: Classifier, metric: LatentStatistics | None) -> None:
    """Binary ones, and of several classes every logit against the others: the answer and its probability stay."""
    for control, keep in ((smile, [age]), (smile, [hair]), (smile, [age, hair, pose]), (hair, [smile, age, pose])):
        n = projected_direction(control, w, target=0, keep=keep, statistics=metric)
        freely = projected_direction(control, w, target=0, statistics=metric)
        for other in keep:
            assert slopes(other, w, freely).abs().max() > 1e-2
            assert slopes(other, w, n).abs().max() < 1e-4 * slopes(other, w, freely).abs().max()


def test_a_step_changes_kept_scores_less_than_masks_do(w: Tensor, smile: Classifier, age: Classifier,
                                                       hair: Classifier) -> None:
    def change(n: Tensor) -> Tensor:
        return torch.cat([(other.scores(w + 0.1 * n) - other.scores(w)).abs() for other in (age, hair)], dim=1).mean()

    projected = projected_direction(smile, w, keep=[age, hair])
    assert change(projected) < 0.2 * change(direction(smile, w, keep=[(age, 10), (hair, 10)]))


def test_without_keep_and_metric_it_is_the_gradient(w: Tensor, smile: Classifier, hair: Classifier) -> None:
    for control in (smile, hair):
        for target in range(control.outputs):
            g = gradient(control, w, target)
            assert torch.allclose(projected_direction(control, w, target=target), g / g.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("axes", [W_DIM, 40])
def test_with_a_metric_it_is_the_natural_gradient(w: Tensor, hair: Classifier, axes: int) -> None:
    """C g, scaled to length 1, with C the covariance of w."""
    metric = make_statistics(axes)
    covariance = metric.axes.T @ metric.axes
    expected = gradient(hair, w, 1) @ covariance
    n = projected_direction(hair, w, target=1, statistics=metric)
    assert torch.allclose(n, expected / expected.norm(dim=1, keepdim=True))


def test_it_is_the_closed_form_of_the_constrained_ascent(w: Tensor, smile: Classifier, age: Classifier) -> None:
    """C (g - G^T l) with G C (g - G^T l) = 0, for one kept attribute: l = (k C g) / (k C k)."""
    metric = make_statistics()
    covariance = metric.axes.T @ metric.axes
    g, k = gradient(smile, w), gradient(age, w)
    share = ((k @ covariance) * g).sum(1, keepdim=True) / ((k @ covariance) * k).sum(1, keepdim=True)
    expected = (g - share * k) @ covariance
    n = projected_direction(smile, w, keep=[age], statistics=metric)
    assert torch.allclose(n, expected / expected.norm(dim=1, keepdim=True), atol=1e-5)


def test_nothing_else_that_keeps_the_others_raises_the_score_faster(w: Tensor, smile: Classifier,
                                                                    age: Classifier) -> None:
    """Of all ways of the same length in standard scores; checked against random ones that keep age too."""
    metric = make_statistics()
    inside = metric.reader  # Columns: standard scores.

    def slope_by_length(n: Tensor) -> Tensor:
        return slopes(smile, w, n)[:, 0] / (n @ inside).norm(dim=1)

    best = slope_by_length(projected_direction(smile, w, keep=[age], statistics=metric))
    k = gradient(age, w) @ metric.axes.T
    rng = torch.Generator().manual_seed(0)
    own = projected_direction(smile, w, keep=[age], statistics=metric) @ inside
    own = own / own.norm(dim=1, keepdim=True)
    for size in (0.1, 0.5, 3.0):
        p = own + size * torch.randn(own.shape, generator=rng, dtype=own.dtype)
        p = p - (p * k).sum(1, keepdim=True) / (k * k).sum(1, keepdim=True) * k
        assert (slope_by_length(p @ metric.axes) < best).all()


def make_sensitivity(seed: int = 5, rows: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, W_DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_what_is_kept_softly_makes_directions_longer(w: Tensor, smile: Classifier) -> None:
    """(C^-1 + 30 S^T S)^-1 g."""
    metric, (one, two) = make_statistics(), (make_sensitivity(seed) for seed in (5, 6))
    longer = torch.linalg.inv(metric.axes.T @ metric.axes) + SOFTNESS * (one.T @ one + two.T @ two)
    expected = torch.linalg.solve(longer, gradient(smile, w).T).T
    n = projected_direction(smile, w, statistics=metric, soft=[one, two])
    assert torch.allclose(n, expected / expected.norm(dim=1, keepdim=True), atol=1e-6)


def test_softly_kept_scores_change_less_for_the_same_gain(w: Tensor, smile: Classifier) -> None:
    metric, sensitivity = make_statistics(), make_sensitivity()

    def change_by_gain(soft: list[Tensor]) -> Tensor:
        n = projected_direction(smile, w, statistics=metric, soft=soft)
        return (n @ sensitivity.T).norm(dim=1) / slopes(smile, w, n)[:, 0]

    assert (change_by_gain([sensitivity]) < change_by_gain([]) / 2).all()


def test_what_is_kept_exactly_stays_so_beside_the_rest(w: Tensor, smile: Classifier, age: Classifier) -> None:
    metric = make_statistics()
    n = projected_direction(smile, w, keep=[age], statistics=metric, shell=True, soft=[make_sensitivity()])
    assert slopes(age, w, n).abs().max() < 1e-5 * slopes(age, w, gradient(age, w)).abs().max()
    standing, way = (w - metric.mean) @ metric.reader, n @ metric.reader
    assert (standing * way).sum(dim=1).abs().max() < 1e-5 * (standing.norm(dim=1) * way.norm(dim=1)).max()
    assert (slopes(smile, w, n) > 0).all()


def test_batch_equals_singles(w: Tensor, smile: Classifier, age: Classifier, hair: Classifier) -> None:
    for control, keep in ((smile, [age, hair]), (hair, [smile, age])):
        whole = projected_direction(control, w, target=control.outputs - 1, keep=keep, statistics=make_statistics())
        singles = [projected_direction(control, row[None], target=control.outputs - 1, keep=keep,
                                       statistics=make_statistics())
                   for row in w]
        assert torch.allclose(whole, torch.cat(singles), atol=1e-8)
    soft = [make_sensitivity()]
    whole = projected_direction(smile, w, keep=[age], statistics=make_statistics(), shell=True, soft=soft)
    singles = [projected_direction(smile, row[None], keep=[age], statistics=make_statistics(), shell=True, soft=soft)
               for row in w]
    assert torch.allclose(whole, torch.cat(singles), atol=1e-8)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_nothing_is_left_where_the_target_is_kept_too(w: Tensor, smile: Classifier, age: Classifier, hair: Classifier,
                                                      metric: LatentStatistics | None) -> None:
    for control in (smile, hair):
        again = replace(control)
        for keep in ([again], [again, age], [age, again, again]):
            n = projected_direction(control, w, keep=keep, statistics=metric)
            assert torch.equal(n, torch.zeros_like(w))


def test_it_survives_kept_attributes_that_are_almost_the_same(w: Tensor, smile: Classifier, age: Classifier) -> None:
    almost = replace(age, out_weight=age.out_weight * (1 + 1e-9))
    n = projected_direction(smile, w, keep=[age, almost])
    assert torch.allclose(n, projected_direction(smile, w, keep=[age]), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_it_comes_in_the_dtype_given(w: Tensor, dtype: torch.dtype) -> None:
    smile, hair = make_classifier(seed=1, dtype=dtype), make_classifier(outputs=3, seed=3, dtype=dtype)
    w, metric = w.to(dtype), make_statistics(dtype=dtype)
    n = projected_direction(smile, w, keep=[hair], statistics=metric)
    assert n.dtype == dtype
    exactly = ("cpu", torch.float64)
    expected = projected_direction(smile.to(*exactly), w.double(), keep=[hair.to(*exactly)],
                                   statistics=metric.to(*exactly))
    rounding = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 2e-2}[dtype]
    assert (torch.cosine_similarity(n.double(), expected) > 1 - rounding).all()
