"""Edits: one frozen object, to and from JSON."""

from __future__ import annotations

import json
import math

import pytest

from directions import Edit
from weights.errors import InputError

EDITS = [Edit(), Edit(strengths={"smile": 1.5, "hair:blond": -0.25}),
         Edit(strengths={"age": 1}, keep=("smile", "hair")),
         Edit(keep=()), Edit(keep={"smile": 100}, layers=(12, 96), step=0.3, method="interfacegan")]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_hashable_and_comes_back_from_json(edit: Edit) -> None:
    again = Edit.from_json(json.loads(str(edit)))
    assert again == edit
    assert hash(again) == hash(edit)
    assert {edit: 1}[again] == 1


def test_edits_that_differ_in_anything_are_not_equal() -> None:
    assert len(set(EDITS)) == len(EDITS)
    assert Edit(keep=("a",)) != Edit(keep={"a": 1})
    assert Edit(keep=()) != Edit(keep=None)


def test_what_it_was_made_of_cannot_change_it() -> None:
    strengths = {"smile": 1.0}
    edit = Edit(strengths=strengths, keep=["age"])
    strengths["smile"] = 2.0
    assert edit.strengths == {"smile": 1.0}
    assert edit.keep == ("age",)
    with pytest.raises(AttributeError):
        edit.step = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        edit.strengths["smile"] = 3.0  # type: ignore[index]


def test_an_edit_of_strengths_or_of_another_edit() -> None:
    edit = Edit.of({"smile": 1}, keep=["age"])
    assert edit == Edit(strengths={"smile": 1.0}, keep=("age",))
    assert Edit.of(edit, step=0.3) == Edit(strengths={"smile": 1.0}, keep=("age",), step=0.3)
    assert Edit.of(edit) is edit or Edit.of(edit) == edit
    assert edit.with_strengths({"age": 2}).keep == ("age",)
    assert edit.changes
    assert not edit.with_strengths({"smile": 0}).changes


@pytest.mark.parametrize("edit", [
    Edit(strengths={"smile": 21}), Edit(strengths={"smile": -math.inf}), Edit(strengths={"smile": math.nan}),
    Edit(step=0.0), Edit(step=math.nan), Edit(method="project")])
def test_what_would_take_for_ever_or_is_no_number_is_refused(edit: Edit) -> None:
    with pytest.raises(InputError):
        edit.check()


@pytest.mark.parametrize("data", [
    None, [], {}, {"strengths": []}, {"strengths": {"a": "1"}}, {"strengths": {"a": True}},
    {"strengths": {"a": math.nan}},
    {"strengths": {}, "keep": "age"}, {"strengths": {}, "keep": {"age": -1}}, {"strengths": {}, "keep": {"age": 1.5}},
    {"strengths": {}, "layers": [1]}, {"strengths": {}, "layers": [1, "x"]}, {"strengths": {}, "step": "x"},
    {"strengths": {}, "method": 3}, {"strengths": {}, "more": 1}])
def test_json_that_is_no_edit_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"must|has"):
        Edit.from_json(data)
