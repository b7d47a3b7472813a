"""Tuning where the best setting is known, and calibration worked out by hand. On a generator that shows w+ itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from directions import Controls, GradCtrlControl, LinearControl
from editing import Editor
from learning import Tuner, TuneSettings
from learning.calibration import FARTHEST, LARGEST_LIMIT, SAFE, STRIDE, TYPICAL, _median, halvings
from tests.learning.glass import Glass, Reader, along, binary, latents, plane

COUNT = 600
POOL = torch.arange(100, COUNT)
SMILE = along(0, 1, 2, 3)
GRID = ((4, 2048), (4, 24), (8, 32), (16, 2048), (4, 32), (8, 2048))  # Rows 0:8, 0:4, 1:5, 3:8, 0:5 and 1:8.


@pytest.fixture(scope="module")
def glass() -> Glass:
    return Glass()


@pytest.fixture(scope="module")
def w() -> Tensor:
    return latents(COUNT)


def tuner(glass: Glass, w: Tensor, reader: Reader, **settings: object) -> Tuner:
    given: dict[str, Any] = {"layer_ranges": GRID, **settings}
    return Tuner(glass, reader, w, reader.scores(glass, w), POOL, TuneSettings(**given))


# ---- layers

def test_the_layer_range_that_changes_the_target_alone_is_chosen(glass: Glass, w: Tensor) -> None:
    """Smile is seen in row 4, two others by the same channels in rows 0 and 7: of the grid only 8 to 32 is right."""
    reader = Reader({name: binary(lambda w_plus, row=row: w_plus[:, row] @ SMILE)
                     for name, row in (("smile", 4), ("age", 0), ("pose", 7))})
    made = tuner(glass, w, reader, margins=(0.0, 0.5))
    control = plane("smile", SMILE)
    choices = made.layer_choices(control)
    assert {choice.layers for choice in choices} == set(GRID)
    assert choices[0].layers == (4, 2048)
    best = made.best(Controls([control]), choices)
    assert best.layers == (8, 32)
    told = best.report["meta-validation"]
    assert told["samples"] == 30  # type: ignore[index]
    assert told["accuracy"] == 1  # type: ignore[index]


def test_the_better_half_is_tried_on_twice_as_many(glass: Glass, w: Tensor) -> None:
    """Only directions that turn smile alone are right: of six the last one, by the most samples."""
    assert halvings(6, 30) == [(6, 30), (3, 60), (2, 120)]
    assert halvings(2, 30) == [(2, 30)]
    assert halvings(1, 8) == [(1, 8)]
    reader = Reader({name: binary(lambda w_plus, row=row: w_plus[:, row] @ SMILE)
                     for name, row in (("smile", 4), ("age", 0), ("pose", 7))})
    counted: list[int] = []
    made = Tuner(glass, reader, w, reader.scores(glass, w), POOL,
                 TuneSettings(samples=10, search_margins=(0.0, 0.5), layer_ranges=GRID), on_render=counted.append)
    control = plane("smile", SMILE)
    choices = [*[replace(control, layers=(4, 2048))] * 5, replace(control, layers=(8, 32))]
    best = made.halved(Controls([control]), choices)
    assert best.layers == (8, 32)
    assert best.report["meta-validation"]["samples"] == 40  # type: ignore[index]
    assert sum(counted) == 2 * (6 * 10 + 3 * 20 + 2 * 40) + 10 + 20 + 40


def test_where_all_layers_are_as_good_the_one_that_changes_pictures_least_is_chosen(glass: Glass, w: Tensor) -> None:
    reader = Reader({"smile": binary(lambda w_plus: w_plus.mean(dim=1) @ SMILE)})
    made = tuner(glass, w, reader, margins=(3.0,))  # Far enough for half of the rows to turn the mean of all.
    control = plane("smile", SMILE)
    best = made.best(Controls([control]), made.layer_choices(control))
    start, stop = glass.rows(best.layers)
    assert stop - start == 4
    assert best.report["meta-validation"]["accuracy"] == 1  # type: ignore[index]


# ---- channel counts

def entangled(glass: Glass, w: Tensor, **settings: object) -> tuple[Tuner, Controls]:
    """Smile is 12 channels, of which age is the first 4: it is right to mask these, and no more."""
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 0] @ along(*range(12))),
                     "age": binary(lambda w_plus: 2 * w_plus[:, 0] @ along(*range(4)))})
    smile = plane("smile", along(*range(12)), keep={"age": 0})
    # Age's control is sure of its 4 channels, less so of the others.
    age = plane("age", 2 * along(*range(4)) + torch.linspace(0.5, 0.1, 32))
    return tuner(glass, w, reader, margins=(1.5,), counts=(0, 2, 4, 12, 32), **settings), Controls([smile, age])


def test_the_channel_count_that_masks_what_matters_and_no_more_is_chosen(glass: Glass, w: Tensor) -> None:
    made, controls = entangled(glass, w)
    smile = controls["smile"]
    assert made.tune_counts(controls, smile).keep == {"age": 4}

    def rate(count: int) -> float:
        chosen = made.best(controls, [replace(smile, keep={"age": count})])
        return float(chosen.report["meta-validation"]["accuracy"])  # type: ignore[index]

    assert rate(4) == 1
    assert max(rate(0), rate(2)) < 1
    assert rate(32) == 0  # Nothing is left to go along.


def test_counts_are_tuned_one_attribute_after_the_other(glass: Glass, w: Tensor) -> None:
    made, controls = entangled(glass, w)
    # An attribute that no picture shows: whatever is masked for it, among channels that smile has no part in.
    other = plane("other", along(*range(12, 32)))
    smile = replace(controls["smile"], keep={"other": 32, "age": 0})
    found = made.tune_counts(Controls([smile, controls["age"], other]), smile)
    assert dict(found.keep) == {"other": 0, "age": 4}


def test_projection_and_other_methods_have_no_counts(glass: Glass, w: Tensor) -> None:
    made, controls = entangled(glass, w)
    projecting = replace(controls["smile"], keeping="projection")  # type: ignore[call-arg]
    linear = LinearControl(name="smile", classes=("no", "yes"), found_by="ganspace",
                           directions=SMILE[None] / 2, weights=SMILE[None], bias=torch.zeros(1))
    glass.rendered.clear()
    for control in (projecting, linear):
        assert made.tune_counts(controls, control) is control
    assert glass.rendered == []


# ---- margins

@pytest.fixture(scope="module")
def unsure(glass: Glass, w: Tensor) -> Tuner:
    """The control does not know of a part of the smile; and whoever smiles far too much or too little has aged."""
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 0] @ SMILE + 0.4 * w_plus[:, 0, 9]),
                     "age": binary(lambda w_plus: (w_plus[:, 0] @ SMILE).abs() - 8)})
    return tuner(glass, w, reader, margins=(0.0, 1.0, 5.0))


def test_the_margin_is_as_wide_as_it_needs_to_be(unsure: Tuner) -> None:
    control = plane("smile", SMILE)
    controls = Controls([control])
    best = unsure.best(controls, [control])
    spread = float(control.scores(unsure.latents[POOL[:TYPICAL]]).std())
    assert best.margins == pytest.approx((spread, spread), abs=1e-3)
    assert best.report["meta-validation"]["margin in deviations"] == 1.0  # type: ignore[index]
    rates = []
    for margin in (0.0, 1.0, 5.0):
        one = Tuner(unsure.generator, unsure.scorer, unsure.latents, unsure.scores, POOL,
                    TuneSettings(margins=(margin,)))
        rates.append(one.best(controls, [control]).report["meta-validation"]["accuracy"])  # type: ignore[index]
    assert rates[1] == max(rates) == best.report["meta-validation"]["accuracy"]  # type: ignore[index]
    assert rates[0] < 0.8
    assert rates[2] < 0.2


def test_of_margins_that_are_as_good_the_first_is_taken(glass: Glass, w: Tensor) -> None:
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 0] @ SMILE)})
    made = tuner(glass, w, reader, margins=(0.25, 0.5, 1.0))
    assert made.best(Controls([plane("smile", SMILE)]), [plane("smile", SMILE)]).report["meta-validation"] == {
        "samples": 30, "accuracy": 1.0, "expected": 1.0, "margin in deviations": 0.25}


def test_the_margin_of_the_few_best_is_chosen_on_more_samples(unsure: Tuner) -> None:
    control = plane("smile", SMILE)
    made = Tuner(unsure.generator, unsure.scorer, unsure.latents, unsure.scores, POOL,
                 TuneSettings(samples=10, margins=(0.0, 0.9, 1.0, 1.1, 5.0), margin_samples=40))
    tuned = made.tune_margin(Controls([control]), control).report["meta-validation"]
    assert tuned["samples"] == 40  # type: ignore[index]
    assert tuned["margin in deviations"] in (0.9, 1.0, 1.1)  # type: ignore[index]


def test_pictures_that_are_made_are_counted(glass: Glass, w: Tensor) -> None:
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 0] @ SMILE)})
    counted: list[int] = []
    made = Tuner(glass, reader, w, reader.scores(glass, w), POOL, TuneSettings(samples=10, margins=(0.0, 1.0)),
                 on_render=counted.append)
    made.best(Controls([plane("smile", SMILE)]), [plane("smile", SMILE)] * 3)
    assert sum(counted) == 10 * (1 + 2 * 3)  # 1: as they were.


# ---- strength and safe range

@pytest.fixture(scope="module")
def smiling(glass: Glass, w: Tensor) -> Tuner:
    return tuner(glass, w, Reader({
        "smile": binary(lambda w_plus: w_plus[:, 0] @ SMILE + 1),
        "hair": lambda w_plus: w_plus[:, 0, 4:7]}, {"hair": ("c0", "c1", "c2")}))


def test_the_unit_is_the_median_way_to_the_boundary(smiling: Tuner, w: Tensor) -> None:
    """Of a plane: the distance. The labels are the scorer's: some have crossed already by the control's own score."""
    control = plane("smile", SMILE, units=(7.0,), margins=(2.0, 2.0))  # The unit that was has no influence.
    found = smiling.calibrate(Controls([control]), "smile")
    score, label = w[POOL] @ SMILE, (w[POOL] @ SMILE + 1 > 0).long()
    ways = torch.cat([2 + sign * score[label == other][:TYPICAL] for other, sign in ((1, 1.0), (0, -1.0))])
    lengths = ways[ways > 0].sort().values / SMILE.norm()
    assert found.units == pytest.approx((float(lengths[(len(lengths) - 1) // 2]),), abs=2e-3)
    assert found.margins == (2.0, 2.0)
    assert found.report["within reach"] == [1.0]


def test_at_strength_one_half_of_those_that_had_to_have_crossed(smiling: Tuner, w: Tensor) -> None:
    control = smiling.calibrate(Controls([plane("smile", SMILE)]), "smile")
    editor = Editor(smiling.generator, Controls([control]))
    labels = smiling.scores["smile"].labels[POOL]
    strengths = []
    for label, name in enumerate(("smile:yes", "smile:no")):
        editor.set_latents(w[POOL[labels == label][:TYPICAL]])
        strengths.append(editor.strengths_to(name).abs())
    both = torch.cat(strengths)
    assert (both[both > 0] <= 1.001).float().mean() == pytest.approx(0.5, abs=0.02)


def test_each_class_has_a_unit_of_its_own(smiling: Tuner, w: Tensor) -> None:
    control = plane("hair", along(4), along(5, 7), along(6))
    found = smiling.calibrate(Controls([control]), "hair")
    editor = Editor(smiling.generator, Controls([control]))
    labels = smiling.scores["hair"].labels
    for index, unit in enumerate(found.units):
        editor.set_latents(w[POOL[labels[POOL] != index][:TYPICAL]])
        lengths = editor.strengths_to(f"hair:c{index}").sort().values
        lengths = lengths[lengths > 0]
        assert unit == pytest.approx(float(lengths[(len(lengths) - 1) // 2]), abs=1e-4)
    assert len(set(found.units)) == 3
    assert found.limits[0] == 0


def test_the_safe_range_ends_where_a_tenth_of_the_samples_have_left_it(smiling: Tuner, w: Tensor) -> None:
    found = smiling.calibrate(Controls([plane("smile", SMILE)]), "smile")
    way = SMILE / SMILE.norm()
    population = (w - w.mean(dim=0)) @ way
    start = population[POOL[:TYPICAL // 3]]
    for end, sign in zip(found.limits, (-1, 1), strict=True):
        safe = [strength for strength in torch.arange(STRIDE, LARGEST_LIMIT + 0.01, STRIDE).tolist()
                if float(((start + sign * strength * found.units[0]).abs() / population.std() < FARTHEST)
                         .float().mean()) >= SAFE]
        assert end == sign * max(safe)
        assert max(safe) > 1


def test_limits_are_never_below_one(glass: Glass, w: Tensor) -> None:
    """A boundary that lies far outside of what is likely: strength 1 is farther than what is safe."""
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 0] @ SMILE)})
    far = plane("smile", SMILE)
    far = replace(far, classifier=replace(far.classifier, out_bias=torch.tensor([-30.0])))
    found = tuner(glass, w, reader).calibrate(Controls([far]), "smile")
    assert found.units[0] > 6
    assert found.limits == (-1.0, 1.0)


def test_the_median_counts_what_never_crosses_as_the_longest() -> None:
    inf = torch.inf
    assert _median(torch.tensor([3.0, 1, 2])) == 2
    assert _median(torch.tensor([inf, 1, 2])) == 2
    assert _median(torch.tensor([4.0, 1, 2, 3])) == 2
    assert _median(torch.tensor([inf, inf, 2, 1.5, inf])) == 2  # No median: the longest that there is.
    assert _median(torch.tensor([inf, inf])) == 1
    assert _median(torch.tensor([])) == 1
    assert _median(torch.full([3], 1e-9)) > 0  # As a unit must be, even rounded.


def test_samples_without_a_label_do_not_count(smiling: Tuner) -> None:
    known = torch.arange(COUNT) % 2 == 0
    item = smiling.scores["smile"]
    partly = {"smile": replace(item, known=known, values=item.values.masked_fill(~known[:, None], torch.nan))}
    control = Controls([plane("smile", SMILE)])
    a = Tuner(smiling.generator, smiling.scorer, smiling.latents, partly, POOL).calibrate(control, "smile")
    b = Tuner(smiling.generator, smiling.scorer, smiling.latents, smiling.scores,
              POOL[known[POOL]]).calibrate(control, "smile")
    assert a.units == b.units


# ---- all of it

def test_tuning_does_all_for_each_control_that_has_scores(glass: Glass, w: Tensor) -> None:
    reader = Reader({"smile": binary(lambda w_plus: w_plus[:, 4] @ SMILE),
                     "age": binary(lambda w_plus: w_plus[:, 0] @ SMILE)})
    made = tuner(glass, w, reader, margins=(0.0, 0.5), counts=(0, 8), samples=12)
    unscored = plane("beard", along(9))
    given = Controls([plane("smile", SMILE, keep={"age": 0}), unscored, plane("age", SMILE)],
                     spaces=glass.spaces, source="mine")
    found = made.tune(given)
    assert list(found) == ["smile", "beard", "age"]
    assert (found.spaces, found.source) == (glass.spaces, "mine")
    assert found["beard"] is unscored
    assert found["smile"].layers == (8, 32)  # Row 4 without row 0, and as little else as there is in the grid.
    assert found["age"].layers == (4, 24)
    assert dict(found["smile"].keep) == {"age": 0}
    for name in ("smile", "age"):
        control = found[name]
        assert isinstance(control, GradCtrlControl)
        assert set(control.report) == {"meta-validation", "within reach"}
        assert control.units != (1.0,)
        assert control.limits[1] >= 1
    again = made.tune(given)
    assert again.hash == found.hash
