"""Linear controls: properties of directions and scores, conditional manipulation, recombining, files, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from directions import LinearControl, recombine
from gradctrl import Move, walk
from weights.errors import InputError

D = 24


def make(name: str, *, outputs: int = 1, seed: int = 0, method: str = "interfacegan", ordered: bool = False,
         **settings: Any) -> LinearControl:
    """A control whose score rises along its directions: they are the normals of its boundaries."""
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(outputs, D, generator=rng)
    if ordered:  # Cuts of one scale: each row a little different, row 0 the opposite of row 1.
        weights = torch.randn(1, D, generator=rng) + 0.1 * weights
        weights[0] = -weights[1]
    bias = torch.linspace(0.5, -0.5, outputs) * (2.0 if ordered else 0.1)
    bias[0] = -bias[1] if ordered else bias[0]
    classes = ("no", "yes") if outputs == 1 else tuple(f"c{index}" for index in range(outputs))
    return LinearControl(name=name, classes=classes, units=(1.0,) * outputs, found_by=method,
                         directions=weights / weights.norm(dim=1, keepdim=True), weights=weights, bias=bias,
                         ordered=ordered, **settings)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(9, D, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def smile() -> LinearControl:
    return make("smile", seed=1)


@pytest.fixture
def hair() -> LinearControl:
    return make("hair", outputs=3, seed=2)


@pytest.fixture
def pose() -> LinearControl:
    return make("pose", outputs=4, seed=3, ordered=True)


def test_directions_have_unit_length_and_batch_equals_singles(
        x: Tensor, smile: LinearControl, hair: LinearControl, pose: LinearControl) -> None:
    for control in (smile, hair, pose):
        keep = [(other, 100) for other in (smile, hair, pose) if other is not control]
        for target in range(control.outputs):
            for kept in ([], keep):
                n = control.direction(x, target, kept)
                assert torch.allclose(n.norm(dim=1), torch.ones(len(x)), atol=1e-5)
                singles = torch.cat([control.direction(row[None], target, kept) for row in x])
                assert torch.equal(n, singles)


def test_scores_rise_along_directions(x: Tensor, smile: LinearControl, hair: LinearControl,
                                      pose: LinearControl) -> None:
    for control in (smile, hair, pose):
        for target in range(control.outputs):
            n = control.direction(x, target)
            assert (control.scores(x + 1e-2 * n)[:, target] > control.scores(x)[:, target]).all(), (control, target)


def test_scores_are_linear_where_classes_have_no_order(x: Tensor, hair: LinearControl) -> None:
    assert torch.allclose(hair.scores(x), x @ hair.weights.T + hair.bias, atol=1e-6)
    assert torch.equal(hair.predict(x), hair.scores(x).argmax(dim=1))


def test_each_place_on_an_ordered_scale_is_one_class(pose: LinearControl) -> None:
    """From one end to the other the classes come in order, and each has a score above 0 where it is predicted."""
    along = pose.directions[1] * torch.linspace(-3, 3, 301)[:, None]
    predicted = pose.predict(along)
    assert predicted.unique().tolist() == [0, 1, 2, 3]
    assert (predicted.diff() >= 0).all()
    assert (pose.scores(along).amax(dim=1) > -1e-5).all()
    assert ((pose.scores(along) > 0).sum(dim=1) <= 1).all()


def test_a_middle_class_is_reached_from_both_sides(x: Tensor, pose: LinearControl) -> None:
    for target in (1, 2):
        for start in (-3.0, 3.0):
            here = start * pose.directions[1:2] + 0.1 * x
            for _ in range(200):
                here = here + 0.02 * pose.direction(here, target)
            assert (pose.predict(here) == target).all()


def test_conditional_direction_leaves_kept_scores_alone(
        x: Tensor, smile: LinearControl, hair: LinearControl, pose: LinearControl) -> None:
    for keep in ([smile], [hair], [smile, pose], [smile, hair, pose]):
        age = make("age", seed=8)
        n = age.direction(x, 0, [(other, 1) for other in keep])
        for other in keep:
            assert torch.allclose(n @ other.weights.T, torch.zeros(len(x), other.outputs), atol=1e-5)
        assert (n @ age.weights.T > 0.1).all()


def test_conditional_walk_leaves_kept_scores_alone(x: Tensor, smile: LinearControl, hair: LinearControl) -> None:
    move = Move(direction=lambda here: smile.direction(here, 0, [(hair, 1)]), length=5.0, step=0.5)
    added, = walk(x.double(), [Move(direction=lambda here: move.direction(here).double(), length=5.0, step=0.5)])
    assert torch.allclose(hair.scores((x + added).float()), hair.scores(x), atol=1e-4)
    assert (smile.scores((x + added).float()) > smile.scores(x) + 1).all()


def test_conditional_direction_for_one_attribute_is_the_papers(x: Tensor, smile: LinearControl) -> None:
    """n1 - (n1 . n2) n2, scaled to length 1 (Shen et al. 2020, equation 6)."""
    age = make("age", seed=8)
    n1, n2 = age.directions[0], smile.directions[0]
    expected = n1 - (n1 @ n2) * n2
    assert torch.allclose(age.direction(x, 0, [(smile, 1)])[0], expected / expected.norm(), atol=1e-6)


def test_kept_attributes_may_be_alike(x: Tensor, smile: LinearControl) -> None:
    age = make("age", seed=8)
    once, twice = (age.direction(x, 0, [(smile, 1)] * count) for count in (1, 2))
    assert torch.allclose(once, twice, atol=1e-5)


def test_nothing_is_left_of_a_direction_that_is_kept(x: Tensor, smile: LinearControl) -> None:
    assert torch.equal(smile.direction(x, 0, [(smile, 1)]), torch.zeros_like(x))


@pytest.mark.parametrize("method", ["ganspace", "stylespace"])
def test_other_methods_do_not_look_at_what_is_kept(x: Tensor, smile: LinearControl, method: str) -> None:
    age = make("age", seed=8, method=method)
    assert torch.equal(age.direction(x, 0, [(smile, 1)]), age.directions.expand(len(x), -1))
    assert age.moves == ("w" if method == "ganspace" else "styles")


def test_targets_and_classes(smile: LinearControl, hair: LinearControl) -> None:
    assert (smile.binary, hair.binary, smile.width) == (True, False, D)
    assert hair.target("c2") == 2
    with pytest.raises(InputError, match="no such class"):
        hair.target("green")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_results_come_in_the_dtype_given(x: Tensor, pose: LinearControl, hair: LinearControl,
                                         dtype: torch.dtype) -> None:
    pose, hair, x = pose.to("cpu", dtype), hair.to("cpu", dtype), x.to(dtype)
    n = pose.direction(x, 1, [(hair, 1)])
    assert n.dtype == pose.scores(x).dtype == dtype
    assert torch.allclose(n.float().norm(dim=1), torch.ones(len(x)), atol=0.02)


def test_recombine_takes_each_output_from_its_candidate() -> None:
    candidates = [make("hair", outputs=3, seed=seed, report={"scorer": "eye", "outputs": [
        {"component": 10 * seed + output} for output in range(3)]}) for seed in range(3)]
    mixed = recombine(candidates, [2, 0, 1])
    for output, index in enumerate([2, 0, 1]):
        assert torch.equal(mixed.directions[output], candidates[index].directions[output])
        assert torch.equal(mixed.weights[output], candidates[index].weights[output])
        assert mixed.bias[output] == candidates[index].bias[output]
    assert mixed.report == {"scorer": "eye", "choice": [2, 0, 1],
                            "outputs": [{"component": 20}, {"component": 1}, {"component": 12}]}
    same = recombine(candidates, [0, 0, 0])
    assert torch.equal(same.directions, candidates[0].directions)


def test_recombine_refuses_what_does_not_fit(smile: LinearControl, hair: LinearControl) -> None:
    for candidates, choice in (([], []), ([smile, hair], [0]), ([hair], [0]), ([hair], [0, 0, 1])):
        with pytest.raises(ValueError, match=r"candidates must be|choices among"):
            recombine(candidates, choice)


@pytest.mark.parametrize("change", [
    {"bias": torch.zeros(2)}, {"weights": torch.zeros(1, D + 1)},
    {"directions": torch.ones(1, D)}, {"directions": torch.full([1, D], torch.nan)},
    {"directions": torch.zeros(D)}, {"classes": ("a", "b", "c")},
])
def test_bad_controls_are_refused(smile: LinearControl, change: dict[str, Any]) -> None:
    settings = {"name": "smile", "classes": smile.classes, "found_by": "ganspace", **smile.tensors()}
    LinearControl(**settings)
    with pytest.raises(ValueError, match="smile"):
        LinearControl(**{**settings, **change})
