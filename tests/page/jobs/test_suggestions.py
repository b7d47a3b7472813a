"""What may be tried on a face: looks, the ends of sliders, surprises."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from directions import Controls
from editing import Edit
from page.jobs.measuring import Effect, Measure
from page.jobs.opening import draw_sample
from page.jobs.services import Services
from page.jobs.suggestions import SHARES, SIDE, TASTEFUL, bears, end_of, known_looks, suggestions, surprise
from page.state.visitor import Visitor
from page.tabs.edit import EditTab
from page.tabs.groups import GROUPS, OTHERS, grouped
from tests.page.handling import slot_of


@pytest.fixture
def visitor(services: Services) -> Visitor:
    one = Visitor()
    draw_sample(one, services.models.generator, 5, 0.7)
    return one


def effect(asked: str, identity: float = 0.2, **changes: float) -> Effect:
    return Effect(tuple(Measure(name, ("no", "yes"), (1.0, 0.0), (1.0 - change, change), asked=name == asked)
                        for name, change in changes.items()), identity)


def test_a_face_bears_what_leaves_the_person_and_all_else(services: Services) -> None:
    assert bears(effect("smile", smile=1.0, gender=0.3))
    assert not bears(effect("smile", smile=1.0, gender=0.6))
    assert not bears(effect("smile", identity=0.7, smile=1.0))
    assert bears(effect("age", identity=0.7, age=1.0, gender=0.6))  # Who is old is another person to dlib.


def test_an_end_comes_nearer_until_the_face_bears_it(services: Services, visitor: Visitor,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    models, control = services.models, services.models.controls["smile"]
    assert visitor.subject is not None
    for bearable, expected in ((1.0, 1.0), (0.8, SHARES[0]), (0.6, SHARES[1]), (0.0, SHARES[1])):
        def measured(*args: object, bearable: float = bearable) -> Effect:
            edit = args[2]
            assert isinstance(edit, Edit)
            far = abs(edit.strengths["smile"] / control.limits[1])
            return effect("smile", identity=0.1 if far <= bearable else 0.9, smile=1.0)

        monkeypatch.setattr("page.jobs.suggestions.effect_of", measured)
        end = end_of(models, visitor.subject, control, upper=True)
        assert end.limit == pytest.approx(expected * control.limits[1], abs=0.01)
        assert max(end.picture.shape) == SIDE


def test_suggestions_grow_and_end_with_their_subject(services: Services, visitor: Visitor) -> None:
    models = services.models
    assert visitor.subject is not None
    made = list(suggestions(visitor, models, visitor.subject))[-1]
    assert made.looks.keys() == known_looks(models.controls).keys()
    assert made.ends.keys() == {name for name, control in models.controls.items() if control.binary}
    assert all(len(ends) == 2 for ends in made.ends.values())
    assert not np.array_equal(made.ends["smile"][False].picture, made.ends["smile"][True].picture)
    growing = suggestions(visitor, models, visitor.subject)
    next(growing)
    draw_sample(visitor, models.generator, 6, 0.7)
    assert list(growing) == []


def test_a_surprise_is_a_few_tasteful_changes(services: Services) -> None:
    controls, seen = services.models.controls, set()
    for seed in range(40):
        edit = surprise(controls, random.Random(seed))
        assert 1 <= len(edit.strengths) <= 3
        edit.check()
        assert all(key in controls[key.partition(":")[0]].keys for key in edit.strengths)
        for key, strength in edit.strengths.items():
            assert any(low <= strength <= high for low, high in TASTEFUL[key])
            seen.add(key)
    assert len(seen) >= 3
    only = surprise(Controls([controls["smile"]]))
    assert only.strengths.keys() == {"smile"}


def test_looks_need_the_controls_that_they_change(services: Services) -> None:
    controls = services.models.controls
    assert known_looks(Controls([controls["age"]])).keys() == {"Older", "Younger"}
    with_hair = known_looks(Controls([replace(controls["hair"])]))
    assert with_hair.keys() <= {"Blond", "Black hair", "Red hair"}


def test_a_look_is_chosen_with_one_click_and_undone(tab: EditTab, visitor: Visitor) -> None:
    class Chosen:
        index = list(known_looks(tab.services.models.controls)).index("Older")

    update = tab.on_choose_look(visitor, "before", False, "whole", Chosen())
    assert visitor.edit == known_looks(tab.services.models.controls)["Older"]
    assert update[tab.sliders.strengths[slot_of(tab, visitor, "age")]]["value"] > 0
    tab.on_undo(visitor, "before", False, "whole")
    assert visitor.edit == Edit()
    tab.on_surprise_edit(visitor, "before", False, "whole")
    assert visitor.edit.changes


def test_sliders_are_grouped_and_none_is_lost() -> None:
    names = ["taught", "age", "smile", "hair", "mouth"]
    placed = grouped(names)
    assert sorted(name for name, _ in placed) == sorted(names)
    assert [heading for _, heading in placed if heading] == ["Expression", "Age", "Hair", OTHERS]
    assert [name for name, _ in placed][:2] == list(GROUPS["Expression"])[:2]
