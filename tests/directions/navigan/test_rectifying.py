"""Rectification: learns, resumes bit for bit, keeps what it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from directions.navigan.basis import BasisSettings, NotFiniteError, WeightBasis
from directions.navigan.finding import singular_directions
from directions.navigan.predictors import Predictor
from directions.navigan.rectifying import AUTHORS, Rectifying, RectifySettings, random_w, rectify
from generators import MobileStyleGAN
from tests.directions.navigan.made_networks import Translator, maps
from tests.generators.made_generators import make_student
from weights.errors import InputError

LAYER = "layers.1.conv2"
SETTINGS = RectifySettings(count=3, steps=8, batch=4, scale=2.0, side=32)


@pytest.fixture(scope="module")
def generator() -> MobileStyleGAN:
    return make_student()


@pytest.fixture(scope="module")
def basis(generator: MobileStyleGAN) -> WeightBasis:
    return singular_directions(generator, BasisSettings(layer=LAYER, basis="svd", count=4))


def trained(generator: MobileStyleGAN, basis: WeightBasis, settings: RectifySettings = SETTINGS, *,
            checkpoint: Path | None = None, stop: int = 10 ** 6) -> Rectifying:
    seen: list[int] = []
    return rectify(generator, basis, settings, inputs=random_w(generator), checkpoint=checkpoint,
                   on_step=lambda told: seen.append(told.step), should_stop=lambda: bool(seen) and seen[-1] >= stop)


def test_directions_lie_in_the_span_and_have_length_1(generator: MobileStyleGAN, basis: WeightBasis) -> None:
    made = trained(generator, basis).result()
    rows, span = made.directions.flatten(1), basis.directions.flatten(1)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close((rows @ span.T) @ span, rows, atol=1e-5, rtol=0)
    assert (made.layer, made.weights) == (LAYER, generator.hash)
    assert made.found["steps"] == 8


@pytest.mark.parametrize("after", [1, 5])
def test_what_was_stopped_goes_on_bit_for_bit(generator: MobileStyleGAN, basis: WeightBasis, tmp_path: Path,
                                              after: int) -> None:
    whole = trained(generator, basis)
    stopped = trained(generator, basis, checkpoint=tmp_path / "c", stop=after)
    assert stopped.step == after
    again = trained(generator, basis, checkpoint=tmp_path / "c")
    assert again.curves == whole.curves
    assert torch.equal(again.directions(), whole.directions())
    assert all(torch.equal(one, other) for one, other in zip(again.predictor.parameters(),
                                                             whole.predictor.parameters(), strict=True))
    with pytest.raises(InputError, match="another training"):
        trained(generator, basis, replace(SETTINGS, seed=1), checkpoint=tmp_path / "c")


@pytest.mark.parametrize(("at", "kept"), [((Predictor, "forward"), 3), ((torch.optim.Adam, "step"), 0)])
def test_what_was_interrupted_within_a_step_goes_on_bit_for_bit(
        generator: MobileStyleGAN, basis: WeightBasis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        at: tuple[type, str], kept: int) -> None:
    """While weights are changed nothing can be kept, and what an earlier checkpoint has is gone on from."""
    whole, (owner, name), calls = trained(generator, basis), at, []
    work = getattr(owner, name)

    def interrupted(*arguments: object, **named: object) -> object:
        result = work(*arguments, **named)
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(generator, basis, checkpoint=tmp_path / "c")
    monkeypatch.setattr(owner, name, work)
    assert (tmp_path / "c").exists() == bool(kept)
    again = trained(generator, basis, checkpoint=tmp_path / "c")
    assert again.curves == whole.curves
    assert torch.equal(again.directions(), whole.directions())


def test_shifts_are_of_the_stated_distribution(generator: MobileStyleGAN, basis: WeightBasis) -> None:
    training = Rectifying(generator, basis, replace(SETTINGS, batch=4000, least=0.5).resolved(basis),
                          random_w(generator))
    chosen, amounts = training._draw_shifts()
    assert set(chosen.tolist()) == {0, 1, 2}
    sizes = amounts.abs()
    assert (float(sizes.min()), float(sizes.max())) == (0.5, pytest.approx(2.0, abs=0.01))
    assert float((sizes == 0.5).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((amounts > 0).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_the_authors_numbers() -> None:
    """Weight 0.25 and shifts of 15 to 60 with the Hessian; 100,000 steps of 32 pictures at 256 by ResNet-18."""
    found = AUTHORS.resolved(WeightBasis(directions=torch.ones(64, 1, 1, 1, 1), values=torch.zeros(64), layer="x",
                                         weights="", found={}, lengths=torch.full((64,), 30.0)))
    assert (found.count, found.scale, found.least, found.weight) == (64, 60.0, 15.0, 0.25)
    assert (found.steps, found.batch, found.learning_rate, found.predictor, found.side) == (
        100_000, 32, 1e-4, "resnet18", 256)


@pytest.mark.slow
def test_it_learns_without_a_latent() -> None:
    """Directions of a network that draws maps: after some steps the predictor tells them apart."""
    network = Translator(dtype=torch.float32)
    basis = singular_directions(network, BasisSettings(layer="second", basis="svd", count=3))
    training = rectify(network, basis, RectifySettings(count=2, steps=150, batch=8, scale=4.0, weight=0.5, side=32,
                                                             seed=1),
                       inputs=lambda count, rng: maps(count, rng).float())
    told = training.told()
    first = sum(loss for loss, _, _ in training.curves[:10]) / 10
    last = sum(loss for loss, _, _ in training.curves[-10:]) / 10
    assert last < 0.7 * first
    assert told.step == 150
    assert sum(right for _, right, _ in training.curves[-20:]) / 20 > 0.7
    assert float(training.result().values.mean()) > 0.6


def test_a_loss_that_is_not_finite_stops_and_changes_nothing(generator: MobileStyleGAN, basis: WeightBasis,
                                                             monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = 0
    forward = Predictor.forward

    def broken(self: Predictor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        logits, amount = forward(self, before, after)
        return (logits * float("nan") if calls > 3 else logits), amount

    monkeypatch.setattr(Predictor, "forward", broken)
    with pytest.raises(NotFiniteError, match="after 3 steps"):
        trained(generator, basis, checkpoint=tmp_path / "c")
    monkeypatch.setattr(Predictor, "forward", forward)
    assert trained(generator, basis, checkpoint=tmp_path / "c").curves == trained(generator, basis).curves


def test_what_cannot_be_trained_is_refused(generator: MobileStyleGAN, basis: WeightBasis, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="below the --scale"):
        RectifySettings(scale=1.0, least=1.0)
    with pytest.raises(InputError, match="give a --scale"):
        RectifySettings().resolved(basis)
    with pytest.raises(InputError, match="of the weights"):
        trained(make_student(seed=1), basis)
    (tmp_path / "c").write_bytes(b"nothing")
    with pytest.raises(InputError, match="checkpoint of a training"):
        trained(generator, basis, checkpoint=tmp_path / "c")


def test_both_predictors_see_two_pictures() -> None:
    for name in ("resnet18", "small"):
        logits, amounts = Predictor(7, name)(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64))  # type: ignore[arg-type]
        assert (logits.shape, amounts.shape) == ((2, 7), (2,))
