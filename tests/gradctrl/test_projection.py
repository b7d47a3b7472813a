"""Projected directions and the metric of W: properties, then the closed form, then bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from directions import Control
from gradctrl import Metric, direction, fit_metric, gradient, projected_direction
from tests.directions.made_controls import W_DIM, latents, make_control, make_metric
from weights.errors import InputError

METRICS = {"plain": None, "metric": make_metric(), "few axes": make_metric(40)}


@pytest.fixture
def w() -> Tensor:
    return latents()


@pytest.fixture
def smile() -> Control:
    return make_control("smile", seed=1)


@pytest.fixture
def age() -> Control:
    return make_control("age", seed=2)


@pytest.fixture
def hair() -> Control:
    return make_control("hair", outputs=3, seed=3)


@pytest.fixture
def pose() -> Control:
    return make_control("pose", outputs=5, seed=4)


def rates(function: Callable[[Tensor], Tensor], w: Tensor, n: Tensor) -> Tensor:
    """How fast each output [N, C] of a function of w changes along n, by autograd."""
    w = w.clone().requires_grad_()
    out = function(w)
    gradients = [torch.autograd.grad(out[:, j].sum(), w, retain_graph=True)[0] for j in range(out.shape[1])]
    return torch.stack([(g * n).sum(dim=1) for g in gradients], dim=1)


def slopes(control: Control, w: Tensor, n: Tensor) -> Tensor:
    """How fast each of a control's logits [N, C] changes along n; of several classes, against their mean."""
    change = rates(control.classifier.logits, w, n)
    return change if control.binary else change - change.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_directions_have_unit_length_and_raise_the_score(w: Tensor, smile: Control, age: Control, hair: Control,
                                                         pose: Control, metric: Metric | None) -> None:
    for control, keep in ((smile, [age, hair, pose]), (hair, [smile, age]), (pose, [hair])):
        for target in range(control.outputs):
            n = projected_direction(control, w, target=target, keep=keep, metric=metric)
            assert torch.allclose(n.norm(dim=1), torch.ones_like(w[:, 0]))
            assert (rates(control.scores, w, n)[:, target] > 0).all()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_kept_scores_do_not_change_to_first_order(w: Tensor, smile: Control, age: Control, hair: Control,
                                                  pose: Control, metric: Metric | None) -> None:
    """Binary ones, and of several classes every logit against the others: the answer and its probability stay."""
    for control, keep in ((smile, [age]), (smile, [hair]), (smile, [age, hair, pose]), (hair, [smile, age, pose])):
        n = projected_direction(control, w, target=0, keep=keep, metric=metric)
        freely = projected_direction(control, w, target=0, metric=metric)
        for other in keep:
            assert slopes(other, w, freely).abs().max() > 1e-2
            assert slopes(other, w, n).abs().max() < 1e-4 * slopes(other, w, freely).abs().max()


def test_a_step_changes_kept_scores_less_than_masks_do(w: Tensor, smile: Control, age: Control, hair: Control) -> None:
    def change(n: Tensor) -> Tensor:
        return torch.cat([(other.scores(w + 0.1 * n) - other.scores(w)).abs() for other in (age, hair)], dim=1).mean()

    projected = projected_direction(smile, w, keep=[age, hair])
    assert change(projected) < 0.2 * change(direction(smile, w, keep=[(age, 10), (hair, 10)]))


def test_without_keep_and_metric_it_is_the_gradient(w: Tensor, smile: Control, hair: Control) -> None:
    for control in (smile, hair):
        for target in range(control.outputs):
            g = gradient(control, w, target)
            assert torch.allclose(projected_direction(control, w, target=target), g / g.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("axes", [W_DIM, 40])
def test_with_a_metric_it_is_the_natural_gradient(w: Tensor, hair: Control, axes: int) -> None:
    """C g, scaled to length 1, with C the covariance of w."""
    metric = make_metric(axes)
    covariance = metric.axes.T @ metric.axes
    expected = gradient(hair, w, 1) @ covariance
    n = projected_direction(hair, w, target=1, metric=metric)
    assert torch.allclose(n, expected / expected.norm(dim=1, keepdim=True))


def test_it_is_the_closed_form_of_the_constrained_ascent(w: Tensor, smile: Control, age: Control) -> None:
    """C (g - G^T l) with G C (g - G^T l) = 0, for one kept attribute: l = (k C g) / (k C k)."""
    metric = make_metric()
    covariance = metric.axes.T @ metric.axes
    g, k = gradient(smile, w), gradient(age, w)
    share = ((k @ covariance) * g).sum(1, keepdim=True) / ((k @ covariance) * k).sum(1, keepdim=True)
    expected = (g - share * k) @ covariance
    n = projected_direction(smile, w, keep=[age], metric=metric)
    assert torch.allclose(n, expected / expected.norm(dim=1, keepdim=True), atol=1e-5)


def test_nothing_else_that_keeps_the_others_raises_the_score_faster(w: Tensor, smile: Control, age: Control) -> None:
    """Of all ways of the same length in standard scores; checked against random ones that keep age too."""
    metric = make_metric()
    inside = metric.reader  # Columns: standard scores.

    def slope_by_length(n: Tensor) -> Tensor:
        return slopes(smile, w, n)[:, 0] / (n @ inside).norm(dim=1)

    best = slope_by_length(projected_direction(smile, w, keep=[age], metric=metric))
    k = gradient(age, w) @ metric.axes.T
    rng = torch.Generator().manual_seed(0)
    own = projected_direction(smile, w, keep=[age], metric=metric) @ inside
    own = own / own.norm(dim=1, keepdim=True)
    for size in (0.1, 0.5, 3.0):
        p = own + size * torch.randn(own.shape, generator=rng, dtype=own.dtype)
        p = p - (p * k).sum(1, keepdim=True) / (k * k).sum(1, keepdim=True) * k
        assert (slope_by_length(p @ metric.axes) < best).all()


def test_batch_equals_singles(w: Tensor, smile: Control, age: Control, hair: Control) -> None:
    for control, keep in ((smile, [age, hair]), (hair, [smile, age])):
        whole = projected_direction(control, w, target=control.outputs - 1, keep=keep, metric=make_metric())
        singles = [projected_direction(control, row[None], target=control.outputs - 1, keep=keep, metric=make_metric())
                   for row in w]
        assert torch.allclose(whole, torch.cat(singles), atol=1e-8)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_nothing_is_left_where_the_target_is_kept_too(w: Tensor, smile: Control, age: Control, hair: Control,
                                                      metric: Metric | None) -> None:
    for control in (smile, hair):
        again = replace(control, name="again")
        for keep in ([again], [again, age], [age, again, again]):
            n = projected_direction(control, w, keep=keep, metric=metric)
            assert torch.equal(n, torch.zeros_like(w))


def test_it_survives_kept_attributes_that_are_almost_the_same(w: Tensor, smile: Control, age: Control) -> None:
    part = age.classifier
    almost = replace(age, name="almost", classifier=replace(part, out_weight=part.out_weight * (1 + 1e-9)))
    n = projected_direction(smile, w, keep=[age, almost])
    assert torch.allclose(n, projected_direction(smile, w, keep=[age]), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_it_comes_in_the_dtype_given(w: Tensor, dtype: torch.dtype) -> None:
    smile, hair = make_control("smile", seed=1, dtype=dtype), make_control("hair", outputs=3, seed=3, dtype=dtype)
    w, metric = w.to(dtype), make_metric(dtype=dtype)
    n = projected_direction(smile, w, keep=[hair], metric=metric)
    assert n.dtype == dtype
    exactly = ("cpu", torch.float64)
    expected = projected_direction(smile.to(*exactly), w.double(), keep=[hair.to(*exactly)], metric=metric.to(*exactly))
    rounding = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 2e-2}[dtype]
    assert (torch.cosine_similarity(n.double(), expected) > 1 - rounding).all()


def test_a_control_steers_by_its_method(w: Tensor, smile: Control, age: Control) -> None:
    metric = make_metric()
    keep = [(age, 10)]
    assert smile.method == "paper"
    assert torch.equal(smile.direction(w, 0, keep), direction(smile, w, keep=keep))
    projecting = replace(smile, method="project", metric=metric)
    assert torch.equal(projecting.direction(w, 0, keep), projected_direction(smile, w, keep=[age], metric=metric))
    with pytest.raises(ValueError, match="project, paper"):
        replace(smile, method="guess")


# ---- the metric

@pytest.fixture(scope="module")
def samples() -> Tensor:
    metric = make_metric()
    rng = torch.Generator().manual_seed(8)
    return metric.mean + torch.randn(4000, W_DIM, generator=rng, dtype=torch.float64) @ metric.axes


def test_standard_scores_and_axes_are_inverse(w: Tensor) -> None:
    metric = make_metric()
    p = metric.standardise(w)
    assert torch.allclose(metric.mean + p @ metric.axes, w)
    few = make_metric(40)
    assert torch.allclose(few.standardise(few.mean + p[:, :40] @ few.axes), p[:, :40])


def test_samples_have_independent_standard_scores_of_unit_deviation(samples: Tensor) -> None:
    p = fit_metric(samples, share=1.0).standardise(samples)
    assert p.shape == samples.shape
    assert torch.allclose(p.T.cov(), torch.eye(W_DIM, dtype=p.dtype), atol=1e-6)
    assert p.mean(dim=0).abs().max() < 1e-9


def test_axes_hold_the_covariance_the_widest_first(samples: Tensor) -> None:
    metric = fit_metric(samples, share=1.0)
    assert torch.allclose(metric.axes.T @ metric.axes, samples.T.cov(), atol=1e-9)
    lengths = metric.axes.norm(dim=1)
    assert (lengths.diff() <= 0).all()
    assert torch.allclose(metric.mean, samples.mean(dim=0))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97, 1.0])
def test_as_many_axes_as_the_share_takes_and_no_more(samples: Tensor, share: float) -> None:
    variance = fit_metric(samples, share=share).axes.square().sum(dim=1)
    total = samples.var(dim=0).sum()
    assert variance.sum() / total >= share - 1e-12
    assert variance[:-1].sum() / total < share


def test_samples_in_a_plane_have_two_axes(samples: Tensor) -> None:
    plane = torch.randn(500, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) @ samples[:2]
    assert fit_metric(plane, share=1.0).axes.shape == (2, W_DIM)
    assert fit_metric(samples[:3], share=1.0).axes.shape == (2, W_DIM)  # Three points lie in a plane.


def test_the_sign_of_an_axis_is_that_of_its_largest_entry(samples: Tensor) -> None:
    for some in (samples, -samples, samples[:200]):
        axes = fit_metric(some).axes
        assert (axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)) > 0).all()
    assert torch.allclose(fit_metric(samples).axes, fit_metric(-samples).axes, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_metric_comes_in_the_dtype_of_the_latents(samples: Tensor, dtype: torch.dtype) -> None:
    metric = fit_metric(samples.to(dtype))
    assert metric.mean.dtype == metric.axes.dtype == dtype
    assert metric.to("cpu", torch.bfloat16).axes.dtype == torch.bfloat16


def test_samples_without_a_shape_are_refused() -> None:
    with pytest.raises(InputError, match="two latents"):
        fit_metric(torch.zeros(1, 4))
    with pytest.raises(InputError, match="finite"):
        fit_metric(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]))
    with pytest.raises(InputError, match="all 10 are the same"):
        fit_metric(torch.full([10, 4], 0.1))
    with pytest.raises(ValueError, match="axes must be"):
        Metric(mean=torch.zeros(3), axes=torch.zeros(2, 4))
