"""GANSpace's named edits: the bundled components and the table, and how edits name them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import generators
from directions import Controls, Edit, EditedLatents, displace, key_of, load, save
from directions.files import named_edits
from directions.named import GANSPACE, DirectionSet, ganspace_components, ganspace_edits, read_table
from editing import Editor, Recipe, SampleSource, parse_recipe, reproduce
from generators import Generator
from generators.stylegan2 import layers_of_rows
from tests.directions.test_components import PUBLISHED
from tests.generators.made_generators import make_generator
from weights.errors import InputError
from weights.store import path_of

pytestmark = pytest.mark.usefixtures("bundled_models")
GROUPS = {"hair", "face shape", "expression", "eyes", "make-up", "age", "gender", "light", "background", "pose"}


@pytest.fixture(scope="module")
def generator() -> Generator:
    from weights.manifest import BUNDLED

    return generators.load(BUNDLED / "generator.safetensors")


def latents(generator: Generator) -> EditedLatents:
    return EditedLatents(generator.broadcast(generator.sample(range(2))).clone())


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published components are not on this machine")
def test_bundled_components_are_the_published_ones() -> None:
    """Order and sign too; the published spread is that of 5,000 samples, which is uncertain by 1%."""
    from safetensors.torch import load_file

    published, found = load_file(PUBLISHED), ganspace_components()
    cosines = (found.directions * published["ganspace.comp"]).sum(dim=1)
    assert cosines[:30].min() >= 0.99
    assert cosines[:60].min() >= 0.9  # The widest that a named edit uses is 59.
    spreads = (found.deviations / published["ganspace.std"].flatten() - 1).abs()
    assert (spreads[:30] < 0.02).sum() >= 29
    assert spreads.max() < 0.03


def test_the_table_says_what_the_authors_say() -> None:
    rows = {row["name"]: row for row in read_table(path_of("ganspace-edits"))}
    assert len(rows) == 85
    assert {row["group"] for row in rows.values()} == GROUPS
    assert (rows["bald"]["component"], rows["bald"]["row_start"], rows["bald"]["row_stop"]) == ("21", "2", "5")
    assert (rows["bald"]["sigma"], rows["bald"]["source"], rows["bald"]["title"]) == ("18.2", "edit zoo", "Bald")
    for row in rows.values():
        sigma, strength = float(row["sigma"]), float(row["strength"])
        assert sigma * strength > 0  # The same way,
        assert abs(strength) <= abs(sigma)  # and never farther.
        assert float(row["low"]) < 0 < float(row["high"])
        assert row["does"]
    assert "../" not in path_of("ganspace-edits").read_text(encoding="utf-8")


def test_bald_moves_rows_2_to_5_by_its_sigmas(generator: Generator) -> None:
    given = latents(generator)
    edited = displace(generator, load(), given, Edit(strengths={"ganspace:bald": 1.0})).latent
    components = ganspace_components()
    moved = (edited - given.latent) @ components.directions[21] / components.deviations[21]
    expected = torch.zeros(2, generator.num_ws)
    expected[:, 2:5] = 18.2
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3)


def test_rows_beyond_a_generator_fall_on_its_last(generator: Generator) -> None:
    """[8, 18) of 18 rows is [8, 16) of the student's 16; [10, 11) is one row in both."""
    assert generator.rows(layers_of_rows(8, 18)) == (8, 16)
    for start, stop in ((10, 11), (0, 8), (4, 5), (7, 10)):
        assert generator.rows(layers_of_rows(start, stop)) == (start, stop)


def test_named_edits_mix_with_controls(generator: Generator) -> None:
    controls = load()
    edit = Edit(strengths={"ganspace:bald": 0.5, "smile": 1.0, "ganspace:nose_length": -0.5})
    together = displace(generator, controls, latents(generator), edit).latent
    assert not torch.equal(together, displace(generator, controls, latents(generator),
                                              edit.with_strengths({"smile": 1.0})).latent)
    moved = controls.to("cpu", torch.float64).find(GANSPACE)
    assert isinstance(moved, DirectionSet)
    assert moved.member(0).directions.dtype == torch.float64
    assert GANSPACE not in controls  # Not listed.
    with pytest.raises(InputError, match=r"there are 85; use ganspace:bald.*discover edits"):
        displace(generator, controls, latents(generator), Edit(strengths={"ganspace:balt": 1.0}))
    with pytest.raises(InputError, match="without classes"):
        key_of(controls, "ganspace:bald", Edit())


def test_centred_named_edits_go_to_their_place(generator: Generator) -> None:
    edit = Edit(strengths={"ganspace:bald": 0.0}, centred=True)
    edited = displace(generator, load(), latents(generator), edit).latent
    components = ganspace_components()
    along = ((edited - components.mean) @ components.directions[21])[:, 2:5]
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-3)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the table, in place of the bundled one until the test ends."""
    from weights import store

    copy = tmp_path / "bundled" / "ganspace-edits.csv"
    copy.parent.mkdir()
    for file in store.BUNDLED.iterdir():
        (copy.parent / file.name).symlink_to(file)
    text = copy.read_text(encoding="utf-8")
    copy.unlink()
    copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(store, "BUNDLED", copy.parent)
    ganspace_edits.cache_clear()
    yield copy
    ganspace_edits.cache_clear()


def test_their_hash_is_that_of_what_pictures_depend_on(table: Path) -> None:
    before, text = named_edits().hash, table.read_text(encoding="utf-8")
    assert named_edits().to("cpu", torch.bfloat16).hash == before
    hashes = []
    for old, new in (("hair recedes", "the hair goes"), (",18.2,", ",18.1,")):
        assert old in text
        table.write_text(text.replace(old, new), encoding="utf-8")
        ganspace_edits.cache_clear()
        hashes.append(named_edits().hash == before)
    assert hashes == [True, False]


def test_recipes_name_them_and_refuse_others(table: Path, generator: Generator) -> None:
    """Only where the edit names one; recipes of former versions, which do not tell, are taken."""
    editor = Editor(generator, load("gradctrl"))
    named, plain = (Recipe.of(SampleSource(seed=1), generator, editor.controls, Edit(strengths=strengths))
                    for strengths in ({"ganspace:bald": 1.0, "smile": 0.5}, {"smile": 0.5}))
    assert named.sets == {GANSPACE: named_edits().hash}
    assert "sets" not in json.loads(plain.to_json())
    recipe = parse_recipe(named.to_json())
    assert recipe == named
    recipe.check(editor)
    table.write_text(table.read_text(encoding="utf-8").replace(",18.2,", ",18.1,"), encoding="utf-8")
    ganspace_edits.cache_clear()
    with pytest.raises(InputError, match=r"ganspace-edits\.csv.*other ganspace edits.*make the edit anew"):
        reproduce(recipe, editor)
    plain.check(editor)
    former = json.loads(named.to_json())
    del former["sets"]
    parse_recipe(json.dumps(former)).check(editor)
    for odd in (3, ["ganspace"], {"ganspace": 3}, None):
        with pytest.raises(InputError, match=r"r\.json: damaged recipe"):
            parse_recipe(json.dumps(former | {"sets": odd}), name="r.json")


def test_they_are_for_one_space(tmp_path: Path) -> None:
    other = make_generator()
    save(tmp_path / "own.safetensors", load("ganspace-edits")[GANSPACE].members.values(),  # type: ignore[attr-defined]
         spaces=other.spaces)
    with pytest.raises(InputError, match="another generator"):
        load(tmp_path / "own.safetensors").find(GANSPACE)
    with pytest.raises(InputError, match="another space"):
        load(tmp_path / "own.safetensors").joined(load("ganspace-edits"))


def test_a_set_is_listed_by_its_name_and_saved_by_members(tmp_path: Path, generator: Generator) -> None:
    controls = load("ganspace-edits")
    assert list(controls) == [GANSPACE]
    controls.check(generator)
    named = ganspace_edits()
    assert named.keys[0].startswith("ganspace:")
    assert named.layers_of(named.target("bald")) == (12, 32)
    save(tmp_path / "all.safetensors", [named], spaces=generator.spaces, dtype=torch.float16)
    again = load(tmp_path / "all.safetensors")
    assert list(again) == list(named.members)
    assert again["bald"].report["stated"] == "18.2 sigmas of component 21, rows 2 to 5 (edit zoo: Bald)"
    with pytest.raises(ValueError, match="members"):
        DirectionSet(name="none", members={}, sha256="")
    assert isinstance(load("bundled+ganspace-edits"), Controls)
