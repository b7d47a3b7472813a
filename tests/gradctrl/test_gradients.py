"""Properties of directions, masks and trajectories, then the authors' algorithm as the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradctrl import Classifier, Move, direction, gradient, mask, trajectory, walk
from tests.gradctrl.made_classifiers import W_DIM, make_classifier


@pytest.fixture
def w() -> Tensor:
    return torch.randn(7, W_DIM, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def smile() -> Classifier:
    return make_classifier(seed=1, dtype=torch.float32)


@pytest.fixture
def hair() -> Classifier:
    return make_classifier(outputs=3, seed=2, dtype=torch.float32)


@pytest.fixture
def age() -> Classifier:
    return make_classifier(seed=3, dtype=torch.float32)


@pytest.mark.parametrize("outputs", [1, 2, 3, 8])
def test_gradient_is_that_of_the_score(w: Tensor, outputs: int) -> None:
    control = make_classifier(outputs=outputs, dtype=torch.float64)
    w = w.double().requires_grad_()
    for target in range(outputs):
        expected, = torch.autograd.grad(control.scores(w)[:, target].sum(), w)
        assert torch.allclose(gradient(control, w, target), expected, atol=1e-12)


def test_gradient_points_along_that_of_the_log_probability(w: Tensor, hair: Classifier) -> None:
    w = w.requires_grad_()
    for target in range(3):
        expected, = torch.autograd.grad(hair.logits(w).log_softmax(1)[:, target].sum(), w)
        ours = gradient(hair, w, target)
        assert torch.allclose(torch.cosine_similarity(ours, expected), torch.ones(len(w)), atol=1e-5)


def test_gradient_takes_a_target_for_each_latent(w: Tensor, hair: Classifier) -> None:
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected = torch.cat([gradient(hair, w[i:i + 1], int(t)) for i, t in enumerate(targets)])
    assert torch.allclose(gradient(hair, w, targets), expected, atol=1e-6)


def test_direction_has_unit_length_and_masked_channels_are_zero(w: Tensor, smile: Classifier, age: Classifier) -> None:
    n = direction(smile, w, keep=[(age, 20)])
    assert torch.allclose(n.norm(dim=1), torch.ones(len(w)))
    assert (n[mask(w, [(age, 20)])] == 0).all()
    assert ((n == 0).sum(dim=1) == 20).all()


def test_mask_covers_the_channels_with_the_largest_gradients(w: Tensor, age: Classifier, hair: Classifier) -> None:
    for control in (age, hair):
        now = 0 if control.binary else control.predict(w)
        size = gradient(control, w, now).abs()
        masked = mask(w, [(control, 10)])
        assert (masked.sum(dim=1) == 10).all()
        assert (size.masked_fill(~masked, torch.inf).amin(1) >= size.masked_fill(masked, 0).amax(1)).all()


def test_masks_of_several_attributes_are_joined(w: Tensor, age: Classifier, hair: Classifier) -> None:
    joined = mask(w, [(age, 10), (hair, 30)])
    assert torch.equal(joined, mask(w, [(age, 10)]) | mask(w, [(hair, 30)]))


def test_everything_masked_moves_nothing(w: Tensor, smile: Classifier, age: Classifier) -> None:
    path = trajectory(smile, w, steps=3, keep=[(age, W_DIM + 1)])
    assert torch.equal(path, w[:, None].expand(-1, 4, -1))


def test_direction_survives_a_saturated_classifier(w: Tensor, hair: Classifier) -> None:
    """Where the sigmoid's or softmax's own gradient is 0 in float32 (probability 1 to the last bit)."""
    for control in (make_classifier(dtype=torch.float32), hair):
        sure = replace(control, out_weight=control.out_weight * 1e4)
        n = direction(sure, w)
        assert n.isfinite().all()
        assert torch.allclose(n.norm(dim=1), torch.ones(len(w)))


def test_direction_survives_gradients_that_underflow_when_squared(w: Tensor, smile: Classifier) -> None:
    tiny = replace(smile, out_weight=smile.out_weight * 1e-25)
    assert torch.allclose(direction(tiny, w), direction(smile, w), atol=1e-6)


def test_trajectory_leaves_always_masked_channels_bit_for_bit(w: Tensor, smile: Classifier, age: Classifier) -> None:
    """A linear attribute's gradient is the same everywhere, so its top channels are masked at every step."""
    flat = torch.zeros(1, 16)
    flat[0, 0] = 1
    linear = Classifier(hidden_weight=age.hidden_weight, hidden_bias=torch.full([16], 1e3), out_weight=flat,
                        out_bias=torch.zeros(1))
    path = trajectory(smile, w, steps=9, step=4 / 9, keep=[(linear, 12)])
    top = mask(w, [(linear, 12)])
    for index in range(10):
        assert torch.equal(path[:, index][top], w[top])
        assert index == 0 or not torch.equal(path[:, index], w)


def test_trajectory_begins_with_w_and_takes_steps_of_the_given_length(w: Tensor, smile: Classifier) -> None:
    path = trajectory(smile, w, steps=5, step=0.6)
    assert torch.equal(path[:, 0], w)
    assert torch.allclose(path.diff(dim=1).norm(dim=2), torch.full([len(w), 5], 0.6), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_trajectory_raises_or_lowers_the_score(w: Tensor, smile: Classifier, hair: Classifier, sign: int) -> None:
    for control, target in ((smile, 0), (hair, 2)):
        path = trajectory(control, w, steps=4, step=0.1, sign=sign, target=target)
        scores = torch.stack([control.scores(path[:, index])[:, target] for index in range(5)], dim=1)
        assert (scores.diff(dim=1) * sign > 0).all()


def test_batch_equals_singles(w: Tensor, smile: Classifier, hair: Classifier, age: Classifier) -> None:
    for control in (smile, hair):
        keep = [(age, 9), (hair, 5)] if control is smile else [(age, 9)]
        whole = trajectory(control, w, steps=6, keep=keep)
        singles = torch.cat([trajectory(control, w[i:i + 1], steps=6, keep=keep) for i in range(len(w))])
        assert torch.allclose(whole, singles, atol=1e-5)


def test_directions_are_taken_afresh(w: Tensor, smile: Classifier) -> None:
    path = trajectory(smile, w, steps=20)
    first, last = path[:, 1] - path[:, 0], path[:, -1] - path[:, -2]
    assert (torch.cosine_similarity(first, last) < 0.9999).any()


def test_walk_length_zero_is_the_identity(w: Tensor, smile: Classifier) -> None:
    move = Move(direction=lambda here: direction(smile, here), length=0.0, step=0.6)
    added, = walk(w, [move])
    assert torch.equal(added, torch.zeros_like(w))


def test_walk_of_a_fraction_lies_on_the_trajectory(w: Tensor, smile: Classifier) -> None:
    path = trajectory(smile, w, steps=3, step=0.6)
    added, = walk(w, [Move(direction=lambda here: direction(smile, here), length=1.5, step=0.6)])
    assert torch.allclose(w + added, path[:, 2].lerp(path[:, 3], 0.5), atol=1e-5)


def test_walk_does_not_depend_on_the_order_of_moves(w: Tensor, smile: Classifier, age: Classifier) -> None:
    a = Move(direction=lambda here: direction(smile, here, keep=[(age, 5)]), length=2.0, step=0.6)
    b = Move(direction=lambda here: direction(age, here, keep=[(smile, 5)]), length=-1.0, step=0.3)
    for x, y in zip(walk(w, [a, b]), reversed(walk(w, [b, a])), strict=True):
        assert torch.allclose(x, y, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_results_come_in_the_dtype_given(w: Tensor, dtype: torch.dtype) -> None:
    control = make_classifier(outputs=3).to("cpu", dtype)
    path = trajectory(control, w.to(dtype), steps=2, keep=[(control, 3)])
    assert path.dtype == dtype
    assert path.isfinite().all()


def authors_trajectory(control: Classifier, others: list[tuple[Classifier, int]], w: Tensor, steps: int, step: float,
                       sign: int) -> Tensor:
    """Algorithm 1 on one latent, in the plainest form: autograd of the probability, argsort, normalise, step."""
    here, path = w.clone(), [w.clone()]
    for _ in range(steps):
        here = here.detach().requires_grad_()
        n, = torch.autograd.grad(control.logits(here[None])[0, 0].sigmoid(), here)
        for other, count in others:
            size, = torch.autograd.grad(other.logits(here[None])[0, 0].sigmoid(), here)
            n[size.abs().argsort()[-count:]] = 0
        here = here.detach() + sign * step * n / n.norm()
        path.append(here)
    return torch.stack(path)


@pytest.mark.parametrize("sign", [1, -1])
def test_trajectory_equals_the_authors_algorithm(w: Tensor, smile: Classifier, age: Classifier, sign: int) -> None:
    other = make_classifier(seed=9, dtype=torch.float32)
    keep = [(age, 10), (other, 25)]
    ours = trajectory(smile, w, steps=9, step=4 / 9, sign=sign, keep=keep)
    theirs = torch.stack([authors_trajectory(smile, keep, row, 9, 4 / 9, sign) for row in w])
    assert (ours - theirs).abs().max() < 1e-5


def test_bad_arguments_are_refused(w: Tensor, smile: Classifier) -> None:
    with pytest.raises(ValueError, match="sign"):
        trajectory(smile, w, steps=1, sign=2)
    with pytest.raises(ValueError, match="steps"):
        trajectory(smile, w, steps=-1)
    with pytest.raises(ValueError, match="negative"):
        mask(w, [(smile, -1)])
