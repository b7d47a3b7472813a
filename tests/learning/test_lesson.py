"""Lessons: properties of sorting and training first, then what a simulated person teaches, then bad input."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from directions import Controls, GradCtrlControl
from directions import load as load_controls
from directions import save as save_controls
from editing import Editor
from generators import Generator, StyleGAN2, StyleGAN2Config, load, to_pixels
from gradctrl import Classifier
from learning.lesson import FEWEST, GOAL, Lesson, Pool, fit_from_labels
from learning.scorers.bundled import PAPER, load_bundled_scorer
from weights.errors import InputError

Person = Callable[[int], str]  # The class of the sample with a seed.


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    return StyleGAN2(config).requires_grad_(False).eval()


def made(name: str, seed: int, *, outputs: int = 1) -> GradCtrlControl:
    rng = torch.Generator().manual_seed(seed)
    classifier = Classifier(
        hidden_weight=torch.randn(8, 16, generator=rng), hidden_bias=torch.randn(8, generator=rng) / 4,
        out_weight=torch.randn(outputs, 8, generator=rng), out_bias=torch.zeros(outputs))
    classes = ("no", "yes") if outputs == 1 else ("black", "brown", "blond")
    return GradCtrlControl(name=name, classes=classes, classifier=classifier, units=(1.0,) * outputs)


@pytest.fixture(scope="module")
def controls(generator: Generator) -> Controls:
    return Controls([made("smile", 1), made("age", 2)], spaces=generator.spaces)


@pytest.fixture(scope="module")
def pool(generator: Generator) -> Pool:
    return Pool(generator, range(100, 500))


@pytest.fixture
def lesson(generator: Generator, pool: Pool, controls: Controls) -> Lesson:
    return Lesson(generator, pool, "beard", ["no beard", "beard"], controls)


@pytest.fixture(scope="module")
def person(generator: Generator) -> Person:
    """Sees a beard where the first channel of w is above its mean."""
    middle = generator.sample(range(200))[:, 0].mean()
    return lambda seed: "beard" if generator.sample([seed])[0, 0] > middle else "no beard"


@pytest.fixture(scope="module")
def labels(person: Person, pool: Pool) -> dict[int, str]:
    """Fifteen of each class."""
    found = {seed: person(seed) for seed in pool.seeds}
    return {seed: name for label in ("no beard", "beard")
            for seed, name in [item for item in found.items() if item[1] == label][:15]}


def current(lesson: Lesson) -> int:
    assert lesson.current is not None
    return lesson.current.seed


def same(one: GradCtrlControl, other: GradCtrlControl) -> bool:
    tensors = one.tensors(), other.tensors()
    return (all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
            and (one.units, one.limits, one.margins, one.layers, one.keep, one.report)
            == (other.units, other.limits, other.margins, other.layers, other.keep, other.report))


# ---- sorting

@pytest.mark.parametrize("action", ["sort", "skip"])
def test_undo_takes_back_what_was_done(lesson: Lesson, person: Person, action: str) -> None:
    for _ in range(14):
        lesson.prepare()
        lesson.sort(person(current(lesson)))
    before = lesson.labels, lesson.counts, lesson.shown, current(lesson)
    picture = lesson.current.picture if lesson.current else None
    if action == "sort":
        lesson.sort("beard")
    else:
        lesson.skip()
    following = current(lesson)
    lesson.undo()
    assert (lesson.labels, lesson.counts, lesson.shown, current(lesson)) == before
    assert lesson.current is not None
    assert lesson.current.picture is picture
    lesson.skip()
    assert current(lesson) == following


def test_all_can_be_undone(lesson: Lesson) -> None:
    first = current(lesson)
    for name in ("beard", "no beard", "beard"):
        lesson.sort(name)
    while lesson.can_undo:
        lesson.undo()
    assert (lesson.labels, lesson.shown, current(lesson)) == ({}, 0, first)


def test_no_sample_comes_twice_and_the_end_is_said(generator: Generator, controls: Controls, person: Person) -> None:
    lesson = Lesson(generator, Pool(generator, range(40)), "beard", ["no beard", "beard"], controls)
    seen = []
    while lesson.current is not None:
        seen.append(lesson.current.seed)
        lesson.prepare()
        if len(seen) % 7 == 0:
            lesson.skip()
        else:
            lesson.sort(person(seen[-1]))
    assert sorted(seen) == list(range(40))
    assert sum(lesson.counts.values()) == len(lesson.labels) == 40 - 5
    with pytest.raises(InputError, match="all 40 samples have been shown"):
        lesson.sort("beard")


def test_the_order_is_the_same_for_the_same_seed_and_labels(generator: Generator, pool: Pool, controls: Controls,
                                                            person: Person) -> None:
    def shown(seed: int) -> list[int]:
        lesson = Lesson(generator, pool, "beard", ["no beard", "beard"], controls, seed=seed)
        return [lesson.sort(person(s)) or s for s in iter(lambda: current(lesson) if lesson.shown < 25 else -1, -1)]

    assert shown(3) == shown(3)
    assert shown(3) != shown(4)


def test_a_picture_is_that_of_its_seed(generator: Generator, lesson: Lesson) -> None:
    assert lesson.current is not None
    wanted = to_pixels(generator.render(generator.sample([lesson.current.seed])))[0].astype(int)
    assert abs(lesson.current.picture.astype(int) - wanted).max() <= 1  # w of another batch rounds differently.


def test_samples_come_at_random_until_a_model_can_ask(lesson: Lesson, person: Person) -> None:
    reasons = []
    while not lesson.ready:
        assert lesson.current is not None
        reasons.append((min(lesson.counts.values()), lesson.current.why))
        lesson.sort(person(current(lesson)))
    assert {why for fewest, why in reasons if fewest < 2} == {"random"}
    assert any(why == "unsure" for fewest, why in reasons if fewest >= 5)
    assert all(why != "random" for fewest, why in reasons if fewest >= 5)


def test_a_class_that_lags_behind_is_looked_for(generator: Generator, pool: Pool, controls: Controls) -> None:
    edge = generator.sample(range(200))[:, 0].quantile(0.93)

    def clicks(active: bool) -> int:
        lesson = Lesson(generator, pool, "beard", ["no beard", "beard"], controls, active=active)
        while not lesson.ready and lesson.current is not None:
            lesson.sort("beard" if generator.sample([current(lesson)])[0, 0] > edge else "no beard")
        return lesson.shown

    assert clicks(active=True) < 0.7 * clicks(active=False)


def test_preparing_beside_sorting_loses_nothing(lesson: Lesson, person: Person) -> None:
    done = threading.Event()

    def prepare() -> None:
        while not done.is_set():
            lesson.prepare()

    thread = threading.Thread(target=prepare)
    thread.start()
    seen = []
    for _ in range(60):
        seen.append(current(lesson))
        lesson.sort(person(seen[-1]))
    done.set()
    thread.join()
    assert len(set(seen)) == 60
    assert lesson.labels == {seed: person(seed) for seed in seen}


# ---- training

def test_the_same_labels_give_the_same_control_bit_for_bit(generator: Generator, pool: Pool, controls: Controls,
                                                           labels: dict[int, str]) -> None:
    names = ("no beard", "beard")
    one = fit_from_labels(generator, controls, "beard", names, labels, pool=pool)
    turned = dict(reversed(labels.items()))
    again = fit_from_labels(generator, controls, "beard", names, turned, pool=Pool(generator, range(100, 500)))
    assert same(one, again)
    other = dict(labels)
    other[min(other)] = "beard" if other[min(other)] == "no beard" else "no beard"
    assert not same(one, fit_from_labels(generator, controls, "beard", names, other, pool=pool))


def test_the_lesson_trains_what_its_labels_say_and_goes_on(lesson: Lesson, generator: Generator, pool: Pool,
                                                           controls: Controls, person: Person) -> None:
    while not lesson.ready:
        lesson.sort(person(current(lesson)))
    control = lesson.fit()
    assert same(control, fit_from_labels(generator, controls, "beard", lesson.classes, lesson.labels, pool=pool))
    assert list(control.keep) == ["smile", "age"]
    narrowed = lesson.adjust(keep=["age"], layers=(4, 16))
    assert (list(narrowed.keep), narrowed.layers) == (["age"], (4, 16))
    while not lesson.complete:
        lesson.sort(person(current(lesson)))
    later = lesson.fit()
    assert (list(later.keep), later.layers) == (["age"], (4, 16))
    assert min(later.report["examples"].values()) >= GOAL  # type: ignore[attr-defined]


def test_the_control_knows_what_the_person_knows(generator: Generator, pool: Pool, controls: Controls, person: Person,
                                                 labels: dict[int, str]) -> None:
    control = fit_from_labels(generator, controls, "beard", ["no beard", "beard"], labels, pool=pool)
    others = range(1000, 1200)
    answers = control.predict(generator.sample(others))
    agreed = [control.classes[int(answer)] == person(seed) for answer, seed in zip(answers, others, strict=True)]
    assert sum(agreed) / len(agreed) > 0.8
    held_out = control.report["held out"]
    assert isinstance(held_out, dict)
    assert held_out["samples"] == 30
    assert 0.6 < held_out["accuracy"] <= 1


def test_accuracy_is_measured_on_labels_that_were_not_trained_on(generator: Generator, pool: Pool, controls: Controls,
                                                                 ) -> None:
    coin = torch.Generator().manual_seed(1)
    guesses = {seed: ("no beard", "beard")[int(torch.randint(2, [1], generator=coin))] for seed in pool.seeds[:80]}
    control = fit_from_labels(generator, controls, "beard", ["no beard", "beard"], guesses, pool=pool)
    held_out = control.report["held out"]
    assert isinstance(held_out, dict)
    assert 0.3 < held_out["balanced accuracy"] < 0.7  # Nothing can be known, however well it learns them by heart.


def test_strength_one_is_the_median_length_that_flips_the_attribute(generator: Generator, pool: Pool,
                                                                    controls: Controls, labels: dict[int, str]) -> None:
    control = fit_from_labels(generator, controls, "beard", ["no beard", "beard"], labels, pool=pool)
    editor = Editor(generator, Controls([*controls.values(), control], spaces=generator.spaces))
    lengths = []
    unseen = torch.tensor([index for index, seed in enumerate(pool.seeds) if seed not in labels])
    answers = control.predict(pool.latents[unseen])
    for class_index, name in enumerate(control.classes):
        editor.set_latents(pool.latents[unseen[answers != class_index][:150]])
        found = editor.strengths_to(f"beard:{name}").abs()
        lengths.append(found[found > 0])
    middle = float(torch.cat(lengths).sort().values[(sum(map(len, lengths)) - 1) // 2])
    assert middle == pytest.approx(1.0, abs=0.01)
    low, high = control.limits
    assert -2 <= low <= -1
    assert 1 <= high <= 2


def test_a_saved_control_works_alone(generator: Generator, pool: Pool, controls: Controls, labels: dict[int, str],
                                     tmp_path: Path) -> None:
    control = fit_from_labels(generator, controls, "beard", ["no beard", "beard"], labels, pool=pool)
    save_controls(tmp_path / "beard.safetensors", [control], spaces=generator.spaces)
    editor = Editor(generator, load_controls(tmp_path / "beard.safetensors"))  # What it keeps is not there.
    editor.set_latents(pool.latents[:2])
    assert (editor.edit({"beard": 1.0}) != editor.edit({})).any()


def test_several_classes_and_truncated_samples(generator: Generator, pool: Pool, controls: Controls) -> None:
    hair = made("hair", 5, outputs=3)
    latents = generator.sample(range(300), truncation=0.8)
    labels = {seed: hair.classes[int(answer)] for seed, answer in enumerate(hair.predict(latents))}
    control = fit_from_labels(generator, controls, "hair", hair.classes, labels, truncation=0.8, pool=pool)
    assert (control.outputs, len(control.units), control.limits[0]) == (3, 3, 0.0)
    assert float((control.predict(latents) == hair.predict(latents)).float().mean()) > 0.8
    assert control.report["samples"] == {"space": generator.space.to_text(), "truncation": 0.8}


@pytest.mark.slow
@pytest.mark.parametrize(("attribute", "part"), [("eyeglasses", 0.8), ("gender", 1.1)])
def test_thirty_of_each_class_teach_what_pictures_show(bundled_models: None, attribute: str, part: float) -> None:
    """Where a class is rare, far fewer need to be looked at than chance would show."""
    bundled = load("bundled"), load_controls("bundled")
    generator, classes = bundled[0], PAPER[attribute]
    person, pool = load_bundled_scorer({attribute: classes}), Pool(generator)
    others = Controls([control for name, control in bundled[1].items() if name != attribute],
                      spaces=generator.spaces)

    @torch.no_grad()
    def seen(latents: torch.Tensor) -> torch.Tensor:
        return torch.cat([person(generator.render(part, generator.side_for(128)))[attribute].argmax(dim=1)
                          for part in latents.split(8)])

    unseen = generator.sample(range(9000, 9200))
    labels, shown = seen(unseen), {}
    for active in (True, False):
        lesson = Lesson(generator, pool, attribute, classes, others, active=active)
        lesson._render = lambda index: pool.latents[index].numpy()  # type: ignore[assignment,method-assign]
        while not lesson.complete:
            assert lesson.current is not None
            label = classes[int(seen(pool.latents[lesson.current.index][None]))]
            if lesson.counts[label] < GOAL:
                lesson.sort(label)
            else:
                lesson.skip()
        shown[active] = lesson.shown
        right = (lesson.fit().predict(unseen) == labels).float()
        assert float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean()) > 0.75
    assert shown[True] < part * shown[False]


# ---- bad input

@pytest.mark.parametrize(("name", "classes", "words"), [
    ("", ["no", "yes"], "no name"),
    ("Beard!", ["no", "yes"], "cannot be an attribute's name"),
    ("beard", ["beard"], "there is 1"),
    ("beard", [], "there are 0"),
    ("beard", list("abcdefg"), "there are 7"),
    ("beard", ["yes", "yes"], "yes is there twice"),
    ("beard", ["a:b", "c"], "without , : and ="),
    ("smile", ["no", "yes"], "already"),
])
def test_names_that_no_control_can_have_are_refused(generator: Generator, pool: Pool, controls: Controls, name: str,
                                                    classes: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Lesson(generator, pool, name, classes, controls)


def test_one_that_a_person_taught_may_be_replaced(generator: Generator, pool: Pool, controls: Controls,
                                                  labels: dict[int, str]) -> None:
    control = fit_from_labels(generator, controls, "beard", ["no beard", "beard"], labels, pool=pool)
    with_beard = Controls([*controls.values(), control], spaces=generator.spaces)
    again = fit_from_labels(generator, with_beard, "beard", ["no beard", "beard"], labels, pool=pool)
    assert same(control, again)  # It does not keep itself.


def test_a_strange_class_and_too_few_examples_are_refused(generator: Generator, pool: Pool, controls: Controls,
                                                          lesson: Lesson, labels: dict[int, str]) -> None:
    few = {seed: label for number, (seed, label) in enumerate(labels.items()) if label == "beard" or number < 4}
    with pytest.raises(InputError, match=f"at least {FEWEST} .*no beard 4; sort more"):
        fit_from_labels(generator, controls, "beard", ["no beard", "beard"], few, pool=pool)
    with pytest.raises(InputError, match="'moustache' is none of its classes"):
        fit_from_labels(generator, controls, "beard", ["no beard", "beard"], {**labels, 1: "moustache"}, pool=pool)
    with pytest.raises(InputError, match="moustache: no such class"):
        lesson.sort("moustache")
    with pytest.raises(InputError, match="nothing to undo"):
        lesson.undo()
    with pytest.raises(InputError, match="train first"):
        lesson.adjust(keep=[])
    with pytest.raises(InputError, match="sort more"):
        lesson.fit()
