"""The bundled controls: gradients of what is seen, row by row of w+, and what each control holds by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generators import Generator, StyleGAN2
from gradctrl import Scores
from learning.scorers.bundled import CLASSES, load_face_classifier
from tests.generators.made_generators import make_generator
from tools import train_controls
from tools.train_controls import (
    CHOSEN,
    COUNT,
    LOOKS,
    SEEN,
    Measured,
    Trained,
    Trainer,
    looks_of,
    measure,
    measured_once,
    see,
)

WIDTH = 48
SMILE = Trained(classes=("serious", "smiling"), looks=("smile",), may_change=("mouth",), layers=(8, 48), units=(1.0,),
                limits=(-1.0, 1.0))


@pytest.fixture(scope="module")
def small() -> Generator:
    return built(0)


def built(seed: int) -> Generator:
    """W must be wide enough to have room beside all that is held."""
    config = replace(make_generator(64).config, w_dim=WIDTH)
    torch.manual_seed(seed)
    return StyleGAN2(config).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def linear(small: Generator) -> Trainer:
    """All that is seen is linear in the rows of w+, and each row has a part of its own in it."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(3000, WIDTH, generator=rng) * torch.linspace(3, 0.5, WIDTH)
    parts = torch.randn(len(SEEN), small.num_ws, WIDTH, generator=rng)
    attributes = sorted({attribute for attribute, _ in LOOKS.values()})
    scores = {name: Scores(attribute=name, classes=CLASSES[name], scorer="test",
                           values=latents @ torch.randn(WIDTH, len(CLASSES[name]), generator=rng))
              for name in attributes}
    ways = parts.sum(dim=1)
    for look in ("smile", "gender", "mouth", "bangs"):
        values = latents @ ways[SEEN.index(look)]
        scores[look] = replace(scores[look], values=torch.stack([torch.zeros_like(values), values], dim=1))
    measured = Measured(latents[:50] @ ways.T, parts.half().expand(50, -1, -1, -1))
    return Trainer(small, latents, scores, measured)


def changes(trainer: Trainer, how: Trained) -> Tensor:
    """How all that is seen changes [len(SEEN)] along a control, in deviations."""
    control = trainer.control("smile", how)
    step = control.direction(trainer.statistics.mean[None])[0]
    rows = trainer.measured.gradients[0, :, slice(*trainer.generator.rows(how.layers))].float().sum(dim=1)
    return rows @ step / trainer.measured.values.std(dim=0)


@pytest.mark.parametrize("how", [replace(SMILE, softness=3e4), replace(SMILE, layers=(0, 65))])
def test_what_is_held_changes_little_and_what_may_change_is_free(linear: Trainer, how: Trained) -> None:
    free = {"smile", "mouth"}
    moved = changes(linear, how)
    everything = changes(linear, replace(how, may_change=tuple(LOOKS)[:-1], softness=1e-6))
    held = [place for place, name in enumerate(SEEN) if name in LOOKS and name not in free]
    smile = SEEN.index("smile")
    assert moved[smile] > 0
    assert (moved[held].norm() / moved[smile]) < 0.7 * (everything[held].norm() / everything[smile])


def test_a_regression_holds_what_regressions_tell(linear: Trainer) -> None:
    how = replace(SMILE, by_regression=True)
    control = linear.control("smile", how)
    step = control.direction(linear.statistics.mean[None])[0] @ linear.statistics.reader
    parts = torch.stack([linear._regression(name) for name in LOOKS]).float() @ step
    kept = [place for place, name in enumerate(LOOKS) if name not in ("smile", "mouth")]
    assert parts[kept].abs().max() < 0.05 * parts[list(LOOKS).index("smile")]


def test_scores_tell_the_look_and_a_margin_lies_half_a_strength_past_the_boundary(linear: Trainer) -> None:
    control = linear.control("smile", SMILE)
    latents = linear.standing.float() @ linear.statistics.axes + linear.statistics.mean
    scores = control.scores(latents)[:, 0]
    assert torch.corrcoef(torch.stack([scores, linear.looks["smile"]]))[0, 1] > 0.3
    step = control.direction(latents[:1])[0] * 0.5 * SMILE.units[0]
    risen = control.scores(latents[:1] + step)[0, 0] - scores[0]
    assert control.margins == pytest.approx((float(risen),) * 2, rel=1e-3)


def test_several_ways_are_told_by_a_network_whose_gradient_depends_on_where_one_is(linear: Trainer) -> None:
    how = replace(CHOSEN["hair"], layers=(8, 65))
    control = linear.control("hair", how)
    latents = linear.standing.float() @ linear.statistics.axes + linear.statistics.mean
    assert control.scores(latents).shape == (3000, 5)
    ways = control.direction(latents[:40], 1)
    assert (ways @ ways[0]).min() < 0.9  # Brown is the way to go for some, and the way back for others.
    assert len(control.margins) == 5


def test_every_control_knows_its_ways_and_its_range() -> None:
    for name, how in CHOSEN.items():
        assert {*how.looks, *how.may_change} <= set(LOOKS), name
        assert len(how.units) == (len(how.classes) if len(how.looks) > 1 else 1)
        assert len(how.looks) == 1 or how.classes == CLASSES[name]
        assert how.limits[0] <= 0 < how.limits[1]


@pytest.mark.usefixtures("bundled_models")
def test_bundled_controls_are_those_that_were_chosen() -> None:
    import directions

    for name, control in directions.load("bundled").items():
        how = CHOSEN[name]
        assert (control.classes, control.layers, control.units, control.limits) == (  # type: ignore[attr-defined]
            how.classes, how.layers, how.units, how.limits)
    assert set(directions.load("bundled")) == set(CHOSEN)


def test_what_is_seen_has_a_name_and_gradients_are_those_of_each_row(small: Generator) -> None:
    classifier = load_face_classifier()
    latents = small.sample([1, 2, 3])
    found = measure(small, latents)
    assert found.values.shape == (3, len(SEEN))
    assert found.gradients.shape == (3, len(SEEN), small.num_ws, WIDTH)
    skin = SEEN.index("skin red")
    ws = small.broadcast(latents[:1]).double()
    exact = small.double()
    push = torch.zeros_like(ws)
    push[0, 1] = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1)).double()

    def red(amount: float) -> Tensor:
        return see(classifier, exact.render(ws + amount * push, exact.side_for(64)).float().clamp(-1, 1))[0, skin]

    slope = (red(1e-2) - red(-1e-2)) / 2e-2
    small.float()
    assert float(slope) == pytest.approx(float(found.gradients[0, skin, 1].float() @ push[0, 1].float()), abs=0.02)


def test_what_was_measured_is_kept_and_refused_for_another_generator(small: Generator, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    made = Measured(torch.randn(2, len(SEEN)), torch.randn(2, len(SEEN), small.num_ws, WIDTH).half())
    monkeypatch.setattr(train_controls, "measure", lambda *_: made)
    path = tmp_path / "looks.safetensors"
    first = measured_once(path, small, torch.zeros(COUNT, WIDTH))
    monkeypatch.delattr(train_controls, "measure")
    again = measured_once(path, small, torch.zeros(COUNT, WIDTH))
    assert torch.equal(first.gradients, again.gradients)
    assert torch.equal(again.values, made.values)
    with pytest.raises(SystemExit, match="another generator"):
        measured_once(path, built(5), torch.zeros(COUNT, WIDTH))


def test_looks_are_log_odds() -> None:
    values = {name: torch.randn(4, len(classes)) for name, classes in CLASSES.items()}
    looks = looks_of(values)
    shares = values["age"].softmax(dim=1)
    torch.testing.assert_close(looks["age"].sigmoid(), shares[:, 2:].sum(dim=1))
    assert set(looks) == set(LOOKS)
