"""Trials: how they are drawn, how edits of them cross, and the verdict on them by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from directions import Controls, Edit, EditedLatents, states
from gradctrl import Scores
from learning.trials import RENDER_BATCH, Trials, chances, check_controls, cross, draw_trials, judge, verdict
from tests.generators.made_generators import make_generator
from tests.learning.glass import Glass, Reader, along, binary, latents, plane
from weights.errors import InputError


def scores_of(name: str, values: Tensor, **more: object) -> Scores:
    classes = ("no", "yes") if values.shape[1] == 2 else tuple(f"c{index}" for index in range(values.shape[1]))
    return Scores(attribute=name, classes=classes, values=values, scorer="formula", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scores() -> dict[str, Scores]:
    rng = torch.Generator().manual_seed(0)
    smile = torch.stack([torch.zeros(2000), torch.randn(2000, generator=rng)], dim=1)
    return {"smile": scores_of("smile", smile), "hair": scores_of("hair", torch.randn(2000, 3, generator=rng)),
            "age": scores_of("age", torch.randn(2000, 2, generator=rng))}


POOL = torch.arange(500, 2000)


# ---- drawing

def test_trials_are_distinct_samples_of_the_pool_near_the_boundary(scores: dict[str, Scores]) -> None:
    trials = draw_trials(scores, ["smile", "hair"], POOL, count=200)
    assert len(trials) == 200
    assert len(trials.sample.unique()) == 200
    assert torch.isin(trials.sample, POOL).all()
    for name in ("smile", "hair"):
        top = scores[name].values.topk(2, dim=1).values
        gap = top[:, 0] - top[:, 1]
        nearest = gap[POOL].sort().values[len(POOL) // 10 - 1]
        own = trials.sample[trials.of(name)]
        assert len(own) > 60  # Drawn uniformly, of 200.
        assert (gap[own] <= nearest).all()


def test_the_target_is_the_class_that_comes_second(scores: dict[str, Scores]) -> None:
    trials = draw_trials(scores, ["smile", "hair"], POOL, count=200)
    for name in trials.attributes:
        own = trials.of(name)
        order = scores[name].values[trials.sample[own]].argsort(dim=1, descending=True)
        assert torch.equal(trials.target[own], order[:, 1])
        assert (trials.target[own] != scores[name].labels[trials.sample[own]]).all()


def test_the_draw_is_that_of_its_seed_and_leaves_the_random_state_alone(scores: dict[str, Scores]) -> None:
    before = torch.get_rng_state()
    a, again, other = (draw_trials(scores, ["smile", "hair"], POOL, count=50, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.sample, again.sample)
    assert torch.equal(a.attribute, again.attribute)
    assert not torch.equal(a.sample, other.sample)


def test_a_small_bank_gives_fewer_trials(scores: dict[str, Scores]) -> None:
    """No more than the tenth of the pool for each attribute, and each sample once."""
    trials = draw_trials(scores, ["smile", "hair"], POOL[:100], count=500)
    assert 10 <= len(trials) <= 20
    assert len(trials.sample.unique()) == len(trials)
    assert len(draw_trials(scores, ["smile"], POOL[:100], count=500)) == 10
    assert len(draw_trials(scores, ["smile"], POOL[:3], count=500)) == 1


def test_samples_without_a_score_are_not_drawn(scores: dict[str, Scores]) -> None:
    known = torch.arange(2000) % 20 == 0  # Fewer than a tenth.
    smile = replace(scores["smile"], values=scores["smile"].values.masked_fill(~known[:, None], torch.nan), known=known)
    trials = draw_trials({"smile": smile}, ["smile"], torch.arange(2000), count=500)
    assert len(trials) == 100
    assert known[trials.sample].all()
    with pytest.raises(InputError, match="no samples to draw trials from; sample and score more"):
        draw_trials({"smile": smile}, ["smile"], torch.tensor([1, 2, 3]), count=5)


def test_parts_of_trials_are_trials(scores: dict[str, Scores]) -> None:
    trials = draw_trials(scores, ["smile", "hair"], POOL, count=40)
    part = trials.part(slice(5, 9))
    assert (len(part), part.attributes) == (4, trials.attributes)
    assert torch.equal(part.sample, trials.sample[5:9])
    own = trials.part(trials.of("hair"))
    assert torch.equal(own.of("hair"), torch.arange(len(own)))
    assert len(own.of("smile")) == 0


# ---- crossing

@pytest.fixture(scope="module")
def glass() -> Glass:
    return Glass()


@pytest.fixture(scope="module")
def controls() -> Controls:
    hair = plane("hair", along(3), along(4), along(5), layers=(8, 32), margins=(0.2, 0.2, 0.2))
    return Controls([plane("smile", along(0, 1), keep={"hair": 5}), hair])


@pytest.mark.parametrize("name", ["smile", "hair"])
def test_what_crosses_has_the_score_in_the_order_of_the_samples(glass: Glass, controls: Controls, name: str) -> None:
    w = latents(40)
    control = controls.control(name)
    target = (torch.arange(40) * 7) % len(control.classes)
    edited, crossed = cross(glass, controls, w, name, target)
    assert crossed.all()
    x = states(glass, control, edited)
    reached = torch.stack([control.score_of(x[i:i + 1], int(target[i]))[0] for i in range(40)])
    assert (reached > control.margin(0) - 1e-4).all()
    assert torch.equal(control.predict(states(glass, control, edited)), target) or name == "smile"
    for index in (0, 13, 39):
        one, _ = cross(glass, controls, w[index:index + 1], name, target[index:index + 1])
        assert torch.allclose(one.latent[0], edited.latent[index], atol=1e-5)


def test_what_has_the_class_already_and_what_cannot_get_there_is_left_as_it_was(glass: Glass) -> None:
    control = plane("smile", along(0, 1), keep={"other": 2})
    both = Controls([control, plane("other", along(0, 1))])
    w = latents(40)
    there = control.predict(w) == 1
    edited, crossed = cross(glass, both, w, "smile", torch.ones(40, dtype=torch.long))
    assert torch.equal(crossed, there)  # The mask covers all that could be changed.
    assert torch.equal(edited.latent, glass.broadcast(w))
    edited, crossed = cross(glass, both, w, "smile", torch.ones(40, dtype=torch.long), edit=Edit(keep=()))
    assert crossed.all()
    assert torch.equal(edited.latent[there], glass.broadcast(w)[there])
    assert (edited.latent[~there] != glass.broadcast(w)[~there]).any(dim=(1, 2)).all()


def test_settings_are_passed_on(glass: Glass, controls: Controls) -> None:
    w = latents(10)
    edited, crossed = cross(glass, controls, w, "smile", 1 - controls.control("smile").predict(w),
                            edit=Edit(keep=(), layers=(12, 16)))
    assert crossed.all()
    changed = (edited.latent != glass.broadcast(w)).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == [2]


# ---- judging

def test_judging_in_batches_equals_one_by_one(glass: Glass) -> None:
    reader = Reader({"smile": binary(lambda w: w[:, 2, 0]), "age": binary(lambda w: w[:, 0, 1])})
    edited = EditedLatents(glass.broadcast(latents(RENDER_BATCH * 2 + 3)))
    told: list[int] = []
    found = judge(glass, reader, edited, told.append)
    assert told == [RENDER_BATCH, RENDER_BATCH, 3]
    for index in (0, RENDER_BATCH, RENDER_BATCH * 2 + 2):
        alone = judge(glass, reader, edited.select(slice(index, index + 1)))
        for name, values in found.items():
            assert torch.equal(values[index], alone[name][0])
    assert torch.allclose(found["smile"][:, 1], edited.latent[:, 2, 0], atol=1e-5)


def test_styles_are_judged_too() -> None:
    class Styled(Glass):
        def render(self, latent: Tensor, side: int | None = None, *, noise_mode: object = "const",
                   style_change: Tensor | None = None) -> Tensor:
            pictures = super().render(latent, side)
            return pictures if style_change is None else pictures + 1e-3 * style_change[:, :1, None, None]

    glass = Styled()
    reader = Reader({"smile": binary(lambda w: w[:, 2, 0])})
    latent = glass.broadcast(latents(20))
    plain, styled = (judge(glass, reader, EditedLatents(latent, styles)) for styles in (None, torch.ones(20, 4)))
    assert torch.allclose(styled["smile"][:, 1], plain["smile"][:, 1] + 0.1, atol=1e-4)


@pytest.mark.parametrize(("wanted", "seen"), [(9, 16), (32, 32), (128, 32)])
def test_small_pictures_are_judged_where_the_generator_draws_such(wanted: int, seen: int,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.trials.JUDGED", wanted)
    generator = make_generator(32)
    sides: list[int] = []

    def scorer(pictures: Tensor) -> dict[str, Tensor]:
        sides.append(pictures.shape[2])
        return {"smile": torch.zeros(len(pictures), 2)}

    judge(generator, scorer, EditedLatents(generator.broadcast(generator.sample([1, 2]))))
    assert sides == [seen]


# ---- the verdict

@pytest.fixture
def case() -> tuple[Trials, dict[str, Scores]]:
    """Five trials on samples 0 to 4: three of smile (to yes), two of hair (from c0 to c1)."""
    before = {"smile": scores_of("smile", torch.tensor([[0.0, -1]] * 6)),
              "hair": scores_of("hair", torch.tensor([[1.0, 0, 0]] * 6)),
              "age": scores_of("age", torch.tensor([[0.0, 1]] * 6))}
    trials = Trials(attributes=("smile", "hair"), sample=torch.tensor([4, 3, 2, 1, 0]),
                    attribute=torch.tensor([0, 0, 0, 1, 1]), target=torch.tensor([1, 1, 1, 1, 1]))
    return trials, before


def test_a_verdict_by_hand(case: tuple[Trials, dict[str, Scores]]) -> None:
    trials, before = case
    after = {"smile": torch.tensor([[0.0, 1], [0, 1], [0, -1], [0, -1], [0, 2]]),
             "hair": torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
             "age": torch.tensor([[0.0, 1], [0, -1], [0, 1], [0, 1], [0, 1]]),
             "glasses": torch.zeros(5, 2)}  # Not scored before: says nothing.
    found = verdict(trials, before, after)
    #                                  right  age went  no hit  right  wrong class, and smile went
    assert found.hit.tolist() ==      [True, True, False, True, False]
    assert {name: stayed.tolist() for name, stayed in found.stayed.items()} == {
        "smile": [True, True, True, True, False], "hair": [True] * 5, "age": [True, False, True, True, True]}
    assert found.correct.tolist() == [True, False, False, True, False]


def test_labels_that_were_not_known_cannot_have_gone(case: tuple[Trials, dict[str, Scores]]) -> None:
    trials, before = case
    known = torch.tensor([True, False, True, True, False, True])
    after = {name: scores.values[:1].expand(5, -1) for name, scores in before.items()}
    after["age"] = torch.tensor([[0.0, 1]]).expand(5, -1)
    values = torch.tensor([[0.0, -1]] * 6).masked_fill(~known[:, None], torch.nan)
    before["age"] = replace(before["age"], known=known, values=values)
    assert verdict(trials, before, after).stayed["age"].tolist() == [True, False, False, True, False]


def test_chances_by_hand() -> None:
    """The edit takes 2.5 from the lead of age: whoever has more keeps the label, whoever it was made of."""
    before = {"smile": scores_of("smile", torch.tensor([[0.0, -1]] * 6)),
              "age": scores_of("age", torch.tensor([[0.0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [1, 0]]))}
    trials = Trials(attributes=("smile",), sample=torch.tensor([0, 3, 1, 5, 2]), target=torch.ones(5, dtype=torch.long),
                    attribute=torch.zeros(5, dtype=torch.long))
    after = {"smile": torch.tensor([[0.0, 1], [0, 1], [0, -1], [0, 1], [0, 1]]),
             "age": torch.tensor([[0.0, -1.5], [2.5, 4], [0, 2], [4, 0], [0, 0]])}
    # Lost 2.5, lost 2.5, no hit, gained, lost 3: 4 and 5 are more than that.
    assert chances(trials, before, after, torch.arange(6)).tolist() == pytest.approx([0.6, 0.6, 0, 1, 0.4])
    known = torch.tensor([True, True, True, True, False, True])
    before["age"] = replace(before["age"], known=known)  # One of them fewer, and of those that there are two stay.
    assert chances(trials, before, after, torch.arange(6)).tolist() == pytest.approx([0.5, 0.5, 0, 1, 0.25])
    before["age"] = replace(before["age"], known=~known)  # What was not known cannot be lost.
    assert chances(trials, before, after, torch.arange(6)).tolist() == [1, 1, 0, 1, 1]


def test_few_chances_tell_what_many_edits_come_to() -> None:
    """Edits that move what they should not, whoever they are made of; and 30 of them, drawn again and again."""
    rng = torch.Generator().manual_seed(0)
    count = 20_000
    values = {name: torch.stack([torch.zeros(count), torch.randn(count, generator=rng)], dim=1)
              for name in ("smile", "age", "beard")}
    before = {name: scores_of(name, item) for name, item in values.items()}
    target = 1 - before["smile"].labels
    trials = Trials(attributes=("smile",), sample=torch.arange(count), attribute=torch.zeros(count, dtype=torch.long),
                    target=target)
    after = {name: item + torch.stack([torch.zeros(count), 0.3 * torch.randn(count, generator=rng)], dim=1)
             for name, item in values.items()}
    after["smile"] = torch.nn.functional.one_hot(target, 2).float()
    pool = torch.arange(10_000, count)
    right, expected = verdict(trials, before, after).correct.float(), chances(trials, before, after, pool)
    assert float(expected.mean()) == pytest.approx(float(right.mean()), abs=0.01)
    few = [group.mean(dim=1).std() for group in (expected[:9000].view(300, 30), right[:9000].view(300, 30))]
    assert few[0] < 0.5 * few[1]


def test_controls_and_scores_share_attributes_with_the_same_classes(scores: dict[str, Scores],
                                                                    controls: Controls) -> None:
    assert check_controls(controls, scores) == ("smile", "hair")
    assert check_controls(controls, {"hair": scores["hair"], "age": scores["age"]}) == ("hair",)
    with pytest.raises(InputError, match=r"none of its attributes \(smile, hair\) has scores in the bank \(age\)"):
        check_controls(controls, {"age": scores["age"]})
    with pytest.raises(InputError, match="hair has the classes c0, c1, c2, the bank's scores have c0, c1, c2, c3"):
        check_controls(controls, {"hair": scores_of("hair", torch.zeros(5, 4))})
