"""Examples: the surest of each class, never a sample in both sets, and files that come back as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gradctrl.prepare import Examples, load_examples, prepare, save_examples
from gradctrl.scores import Scores
from weights.errors import InputError

BANK = {"seed": 0, "count": 1000, "truncation": 1.0}


def scores(count: int = 1000, classes: int = 3, **more: Any) -> Scores:
    values = torch.randn(count, classes, generator=torch.Generator().manual_seed(5))
    if classes == 2:
        values[:, 0] = 0
    return Scores(attribute="x", classes=tuple("abcd"[:classes]), values=values, scorer="test", **more)


def same(a: Examples, b: Examples) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name))
               for name in ("train", "train_labels", "validation", "validation_labels"))


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("graded", [True, False])
def test_sets_are_of_the_size_asked_for_and_share_no_sample(classes: int, graded: bool) -> None:
    given = scores(classes=classes, graded=graded)
    found = prepare(given, count=20, validation=7)
    assert found.train_labels.bincount().tolist() == [20] * classes
    assert found.validation_labels.bincount().tolist() == [7] * classes
    both = torch.cat([found.train, found.validation])
    assert len(both.unique()) == 27 * classes
    assert torch.equal(given.labels[found.train], found.train_labels)
    assert torch.equal(given.labels[found.validation], found.validation_labels)


@pytest.mark.parametrize("classes", [2, 3])
def test_no_sample_left_out_is_surer_than_one_taken(classes: int) -> None:
    given = scores(classes=classes)
    found = prepare(given, count=20, validation=10)
    taken = torch.cat([found.train, found.validation])
    odds = given.values.double().softmax(dim=1)
    for label in range(classes):
        mine = given.labels == label
        left = mine.clone()
        left[taken] = False
        assert odds[taken[given.labels[taken] == label], label].min() >= odds[left, label].max()


def test_the_division_is_random_by_seed_and_the_choice_of_graded_ones_is_not() -> None:
    a, again, b = prepare(scores()), prepare(scores()), prepare(scores(), seed=1)
    assert same(a, again)
    assert not torch.equal(a.train, b.train)
    assert set(torch.cat([a.train, a.validation]).tolist()) == set(torch.cat([b.train, b.validation]).tolist())
    surest = scores().log_odds[a.train[:30], 0].mean() - scores().log_odds[a.validation[:30], 0].mean()
    assert surest.abs() < 0.5  # Neither set has the surer ones.
    loose = [prepare(scores(graded=False), seed=seed) for seed in (0, 0, 1)]
    assert same(loose[0], loose[1])
    assert set(loose[0].train.tolist() + loose[0].validation.tolist()) != set(
        loose[2].train.tolist() + loose[2].validation.tolist())


def test_equal_scores_are_taken_in_their_order() -> None:
    given = Scores(attribute="x", classes=("a", "b"), values=torch.eye(2).repeat(50, 1), scorer="test")
    both = prepare(given, count=3, validation=2)
    assert sorted(torch.cat([both.train, both.validation]).tolist()) == list(range(10))


def test_a_share_is_one_of_all_samples_with_a_score() -> None:
    assert len(prepare(scores(), share=0.05, validation=0).train) == 3 * 50
    known = torch.arange(1000) < 400
    found = prepare(scores(known=known), share=0.05, validation=5)
    assert len(found.train) == 3 * 20
    assert max(found.train.max(), found.validation.max()) < 400
    assert len(prepare(scores(), share=1e-9, validation=0).train) == 3


def test_validation_may_be_empty() -> None:
    found = prepare(scores(), validation=0)
    assert found.validation.shape == found.validation_labels.shape == (0,)
    assert found.validation.dtype == torch.int64


def test_a_class_with_too_few_is_refused_with_all_counts() -> None:
    values = torch.eye(3)[torch.tensor([0] * 90 + [1] * 61 + [2] * 59)]
    given = Scores(attribute="hair", classes=("black", "brown", "blond"), values=values, scorer="test")
    with pytest.raises(InputError, match=r"hair: 60 samples.*30 to train.*black 90, brown 61, blond 59"):
        prepare(given)
    assert len(prepare(given, count=29).train) == 87
    with pytest.raises(InputError, match="there are: black 90"):
        prepare(given, share=1.0)


@pytest.mark.parametrize("change", [{"count": 0}, {"validation": -1}, {"share": 0.0}, {"share": 1.5}])
def test_sizes_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="x:"):
        prepare(scores(), **change)


def test_several_attributes_come_back_from_one_file(tmp_path: Path) -> None:
    path = tmp_path / "examples.json"
    x = prepare(scores())
    y = prepare(Scores(attribute="y", classes=("no", "yes"), values=scores(classes=2).values, scorer="me"), count=5)
    save_examples(path, [x, y], samples=BANK)
    found = load_examples(path, samples=BANK)
    assert list(found) == ["x", "y"]
    assert same(found["x"], x)
    assert same(found["y"], y)
    assert (found["y"].classes, found["y"].scorer) == (("no", "yes"), "me")
    first = path.read_bytes()
    save_examples(path, load_examples(path).values(), samples=BANK)
    assert path.read_bytes() == first
    with pytest.raises(InputError, match="another bank"):
        load_examples(path, samples={**BANK, "seed": 1})


@pytest.mark.parametrize("change", [
    {"format": "x"}, {"examples": [{}]}, {"examples": None}, {"train": [0]}, {"train": ["a"] * 90},
    {"train_labels": [3] * 90}, {"train_labels": [-1] * 90}, {"train": [-1, *range(1, 90)]}, {"train": [5] * 90},
    {"train": [0.5] * 90}, {"train": [2**70] * 90}, {"validation": list(range(90)), "train": list(range(90))},
    {"classes": 3},
])
def test_damaged_files_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "examples.json"
    save_examples(path, [prepare(scores())], samples=BANK)
    content = json.loads(path.read_text())
    for key, value in change.items():
        (content if key in content else content["examples"][0])[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"examples\.json"):
        load_examples(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_examples(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("[")
    with pytest.raises(InputError, match="JSON"):
        load_examples(tmp_path / "x.json")
