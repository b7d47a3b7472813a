"""The length of a path to a class: where it ends, how it is walked, and what is out of reach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from directions import GradCtrlControl, LinearControl, lengths_to
from gradctrl import Classifier, Move, walk
from tests.directions.made_controls import make_control
from tests.gradctrl.made_classifiers import W_DIM, latents, make_statistics

STEP = 0.3


@pytest.fixture
def w() -> Tensor:
    return latents(24)


def make_linear(outputs: int, *, ordered: bool = False) -> LinearControl:
    rng = torch.Generator().manual_seed(7)
    weights = torch.randn(outputs, W_DIM, generator=rng, dtype=torch.float64)
    bias = torch.zeros(outputs, dtype=torch.float64)
    if ordered:  # Cuts of one scale at -2 and 2.
        weights = weights[:1] * torch.tensor([[-1.0], [1.0], [1.0]], dtype=torch.float64)
        bias = torch.tensor([-2.0, 2.0, -2.0], dtype=torch.float64)
    classes = ("no", "yes") if outputs == 1 else ("left", "front", "right")
    return LinearControl(name="linear", classes=classes, layers=(0, 2), units=(1.0,) * outputs, step=STEP,
                         found_by="interfacegan", directions=weights / weights.norm(dim=1, keepdim=True),
                         weights=weights, bias=bias, ordered=ordered)


CONTROLS: dict[str, GradCtrlControl] = {
    "binary": make_control("smile", seed=1, step=STEP),
    "classes": make_control("hair", outputs=3, seed=3, step=STEP),
    "projection": make_control("smile", seed=1, step=STEP, keeping="projection", statistics=make_statistics()),
    "linear": make_linear(1), "linear classes": make_linear(3), "linear scale": make_linear(3, ordered=True)}
KEPT = [(make_control("age", seed=2), 8)]


def targets(control: GradCtrlControl, count: int) -> Tensor:
    return torch.arange(count) % len(control.classes)


def keep_of(control: GradCtrlControl) -> list[tuple[GradCtrlControl, int]]:
    return KEPT if isinstance(control, GradCtrlControl) else []


def score_of(control: GradCtrlControl, x: Tensor, classes: Tensor) -> Tensor:
    """Score [N] of each latent's own class."""
    return torch.stack([control.score_of(x, index) for index in range(len(control.classes))], dim=1).gather(
        1, classes[:, None])[:, 0]


def walked(control: GradCtrlControl, w: Tensor, classes: Tensor, lengths: Tensor) -> Tensor:
    """Where each latent [N, D] gets to on its own, with its length as a plain number."""
    ends = []
    for row, index, length in zip(w, classes, lengths, strict=True):
        output, _ = control.heading(int(index))
        move = Move(direction=lambda x, j=output: control.direction(x, j, keep_of(control)), length=float(length),
                    step=STEP)
        ends.append(row + walk(row[None], [move])[0][0])
    return torch.stack(ends)


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("name", CONTROLS)
def test_walking_the_length_ends_with_the_score_at_the_margin(w: Tensor, name: str, margin: float) -> None:
    """Within what ten halvings of a step leave, and never short of it but for rounding."""
    control = replace(CONTROLS[name], margins=(margin,) * len(CONTROLS[name].classes))
    classes = targets(control, len(w))
    lengths = lengths_to(control, w, classes, keep=keep_of(control))
    away = lengths.isfinite() & (lengths != 0)
    assert away.sum() > 5
    ends = walked(control, w[away], classes[away], lengths[away])
    over = score_of(control, ends, classes[away]) - margin
    assert over.min() > -1e-9
    beyond = walked(control, w[away], classes[away], lengths[away] - lengths[away].sign() * STEP / 1000)
    assert (score_of(control, beyond, classes[away]) < margin).all()  # A thousandth of a step less is not enough.


@pytest.mark.parametrize("name", CONTROLS)
def test_what_has_arrived_goes_nowhere_and_all_else_goes_the_way_of_its_class(w: Tensor, name: str) -> None:
    control = CONTROLS[name]
    classes = targets(control, len(w))
    there = score_of(control, w, classes) >= 0
    lengths = lengths_to(control, w, classes, keep=keep_of(control))
    assert there.any()
    assert not there.all()
    assert (lengths[there] == 0).all()
    signs = torch.tensor([control.heading(int(index))[1] for index in classes], dtype=w.dtype)
    assert torch.equal(lengths[~there].sign(), signs[~there])
    assert set(signs.tolist()) == ({1.0, -1.0} if control.binary else {1.0})


@pytest.mark.parametrize("name", CONTROLS)
def test_batch_equals_singles(w: Tensor, name: str) -> None:
    control = CONTROLS[name]
    classes = targets(control, len(w))
    whole = lengths_to(control, w, classes, keep=keep_of(control))
    singles = [lengths_to(control, w[i:i + 1], classes[i:i + 1], keep=keep_of(control)) for i in range(len(w))]
    assert torch.allclose(whole, torch.cat(singles), atol=1e-9)


def test_the_length_to_a_plane_is_the_distance_over_the_slope(w: Tensor) -> None:
    control = CONTROLS["linear"]
    assert isinstance(control, LinearControl)
    classes = (control.scores(w)[:, 0] < 0).long()  # Each to the other side.
    distance = -(w @ control.weights[0]) / control.weights[0].norm()
    lengths = lengths_to(control, w, classes)
    assert (lengths - distance).abs().max() < STEP / 1000
    control = replace(control, margins=(2.0, 2.0))
    farther = distance + distance.sign() * 2 / control.weights[0].norm()
    assert (lengths_to(control, w, classes) - farther).abs().max() < STEP / 1000


def test_a_shorter_step_and_a_nearer_end_are_honoured(w: Tensor) -> None:
    control = CONTROLS["linear"]
    classes = (control.scores(w)[:, 0] < 0).long()
    exact = lengths_to(control, w, classes, step=0.01, longest=20.0)
    assert exact.isfinite().all()
    near = lengths_to(control, w, classes, longest=2 * STEP)
    reached = exact.abs() < 2 * STEP - 1e-3
    assert reached.any()
    assert not reached.all()
    assert torch.equal(near.isfinite(), reached)


def test_what_cannot_be_reached_is_infinite_with_the_sign_of_its_way(w: Tensor) -> None:
    """A score that is the same everywhere, and one all of whose channels are masked."""
    flat = Classifier(hidden_weight=torch.eye(1, W_DIM, dtype=torch.float64), hidden_bias=torch.zeros(1),
                      out_weight=torch.zeros(1, 1, dtype=torch.float64), out_bias=torch.tensor([-1.0]))
    flat = flat.to("cpu", torch.float64)
    never = GradCtrlControl(name="never", classes=("no", "yes"), classifier=flat, layers=(0, 1), margins=(5.0, 0.0))
    classes = targets(never, len(w))
    lengths = lengths_to(never, w, classes)
    assert torch.equal(lengths, torch.where(classes == 1, torch.inf, -torch.inf).to(w.dtype))
    everything = [(make_control("age", seed=2), W_DIM)]
    smile = CONTROLS["binary"]
    lengths = lengths_to(smile, w, classes, keep=everything)
    away = score_of(smile, w, classes) < 0
    assert lengths[away].isinf().all()
    assert (lengths[~away] == 0).all()


def test_no_latents_have_no_lengths(w: Tensor) -> None:
    assert lengths_to(CONTROLS["classes"], w[:0], torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_walk_with_a_length_for_each_equals_walks_with_one_length(w: Tensor, name: str) -> None:
    """Whole steps, parts of steps, both signs and none at all, in one batch."""
    control = CONTROLS[name]
    lengths = torch.linspace(-4.2, 4.2, len(w), dtype=w.dtype) * STEP
    lengths[::7] = 0
    move = Move(direction=lambda x: control.direction(x, 0, keep_of(control)), length=lengths, step=STEP)
    visited: list[Tensor] = []
    added, = walk(w, [move], on_step=visited.append)
    assert len(visited) == 5
    first = 0 if control.outputs > 1 else 1  # The class that output 0 leads to.
    expected = walked(control, w, torch.full([len(w)], first), lengths)
    assert torch.allclose(w + added, expected, atol=1e-12)
    assert torch.equal(added[::7], torch.zeros_like(added[::7]))
    assert torch.allclose(visited[-1], w + added, atol=1e-12)


def test_moves_of_all_and_of_each_can_be_walked_together(w: Tensor) -> None:
    control, age = CONTROLS["binary"], KEPT[0][0]
    for_all = Move(direction=lambda x: control.direction(x), length=0.7, step=STEP)
    for_each = replace(for_all, length=torch.full([len(w)], 0.7, dtype=w.dtype))
    other = Move(direction=lambda x: age.direction(x), length=-0.5, step=0.2)
    for a, b in zip(walk(w, [for_all, other]), walk(w, [for_each, other]), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
