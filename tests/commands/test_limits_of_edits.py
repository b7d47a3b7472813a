"""Warnings and strips go by the limits of what an edit names, not of the whole set; videos begin at the face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from commands.edit_outputs import STRIP_PICTURES, STRIP_REACH, strips, warn_beyond
from directions import Controls, Edit
from directions.components import ComponentSettings
from directions.finding import find_components
from directions.named import DirectionSet
from editing import Editor, frames, strip
from tests.generators.made_generators import make_generator

LIMITS = {"nose": (-0.5, 1.0), "jaw": (-4.0, 0.25)}


@pytest.fixture(scope="module")
def editor() -> Editor:
    """With a set of two directions, and a latent."""
    generator = make_generator()
    components = find_components(generator, ComponentSettings(samples=500, count=2))
    members = {name: replace(components.direction(number, name=name), limits=limits)
               for number, (name, limits) in enumerate(LIMITS.items())}
    made = Editor(generator, Controls([DirectionSet(name="made", members=members, sha256="")]))
    made.set_latent(generator.sample([1])[0])
    return made


@pytest.mark.parametrize(("name", "strength", "told"), [
    ("made:nose", -0.6, "made:nose=-0.6: beyond -0.5 to 1"), ("made:nose", 0.9, ""), ("made:nose", -0.5, ""),
    ("made:jaw", 0.9, "made:jaw=0.9: beyond -4 to 0.25"), ("made:jaw", -3.0, ""), ("made", 0.0, ""),
])
def test_a_warning_tells_the_limits_of_what_is_named(name: str, strength: float, told: str, editor: Editor,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    warn_beyond(editor, name, strength)
    assert capsys.readouterr().err == (f"Warning: {told} pictures may fall apart\n" if told else "")


def test_each_row_of_a_strip_has_its_own_reach(editor: Editor) -> None:
    rows = [strip(editor, f"made:{name}", np.linspace(max(low, -STRIP_REACH), high, STRIP_PICTURES).tolist())
            for name, (low, high) in LIMITS.items()]
    made = strips(editor, Edit(strengths={"made:nose": 0.5, "made:jaw": 0.1}))
    assert np.array_equal(made, np.concatenate(rows))
    assert not np.array_equal(rows[0], strip(editor, "made:nose", np.linspace(-2, 1, STRIP_PICTURES).tolist()))


@pytest.mark.parametrize("centred", [True, False])
def test_the_way_to_an_edit_begins_at_the_source(centred: bool, editor: Editor) -> None:
    edit = Edit(strengths={"made:nose": 2.0, "made:jaw": 0.0}, centred=centred)
    way = frames(editor, edit, 3).astype(int)
    assert np.abs(way[0] - editor.edit({})).max() <= 1
    assert np.abs(way[2] - editor.edit(edit)).max() <= 1
    assert np.abs(way[1] - way[0]).mean() > 0.5
    assert np.abs(way[2] - way[1]).mean() > 0.5
