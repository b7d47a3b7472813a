"""Shifted weights: each sample's own in one batch, and what they equal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from generators import Generator, WeightShift
from tests.generators.made_generators import make_generator, make_student

MAKERS = {"stylegan2": make_generator, "student": make_student}


@pytest.fixture(params=MAKERS)
def generator(request: pytest.FixtureRequest) -> Generator:
    made: Generator = MAKERS[request.param](dtype=torch.float64)
    return made


def random_shift(generator: Generator, name: str, samples: int, count: int, seed: int = 1) -> WeightShift:
    rng = torch.Generator().manual_seed(seed)
    weight = generator.get_parameter(generator.convolutions()[name])
    directions = torch.randn(count, *weight.shape, generator=rng, dtype=weight.dtype)
    return WeightShift(directions, 0.3 * torch.randn(samples, count, generator=rng, dtype=weight.dtype))


def plainly(generator: Generator, ws: Tensor, shifts: dict[str, WeightShift]) -> Tensor:
    """A generator of its own for each sample."""
    pictures = []
    for n in range(len(ws)):
        added = {generator.convolutions()[name]: torch.einsum("k,kocij->ocij", shift.amounts[n % len(shift.amounts)],
                                                              shift.directions) for name, shift in shifts.items()}
        pictures.append(generator.with_weights(added).render(ws[n:n + 1]))
    return torch.cat(pictures)


@pytest.mark.parametrize(("samples", "count"), [(5, 1), (5, 2), (3, 4), (1, 2)])
def test_every_convolution_is_shifted_for_each_sample_alone(generator: Generator, samples: int, count: int) -> None:
    ws = generator.broadcast(generator.sample(range(samples)))
    for name in generator.convolutions():
        shifts = {name: random_shift(generator, name, samples, count)}
        drawn = generator.shifted(shifts).render(ws)
        assert not torch.allclose(drawn, generator.render(ws), atol=1e-4)
        off = (drawn - plainly(generator, ws, shifts)).abs().max() / drawn.abs().max()
        assert float(off) < 1e-12, name


def test_several_at_once_and_one_for_all(generator: Generator) -> None:
    ws, names = generator.sample(range(4)), [*generator.convolutions()][1:4]
    shifts = {name: random_shift(generator, name, 4 if index else 1, 2, index) for index, name in enumerate(names)}
    torch.testing.assert_close(generator.shifted(shifts).render(ws), plainly(generator, ws, shifts), atol=1e-9, rtol=0)


def test_single_precision_is_at_most_1e_5_off() -> None:
    """By rounding alone: it is about as near to the pictures in double precision as a generator of its own is."""
    for make in MAKERS.values():
        generator, exact = make(), make(dtype=torch.float64)
        ws = generator.sample(range(4))
        for name in generator.convolutions():
            shift = random_shift(generator, name, 4, 1)
            drawn, alone = generator.shifted({name: shift}).render(ws), plainly(generator, ws, {name: shift})
            in_double = WeightShift(shift.directions.double(), shift.amounts.double())
            expected = plainly(exact, ws.double(), {name: in_double})
            off, off_alone = (float((each - expected).abs().max() / expected.abs().max()) for each in (drawn, alone))
            assert off < 1e-5, name
            assert off < 3 * off_alone, name


def test_nothing_else_changes(generator: Generator) -> None:
    ws, name = generator.sample(range(2)), [*generator.convolutions()][1]
    before, own = generator.render(ws), generator.hash
    shifted = generator.shifted({name: random_shift(generator, name, 2, 1)})
    assert torch.equal(generator.render(ws), before)
    assert generator.hash == own
    assert {id(each) for each in shifted.parameters()} == {id(each) for each in generator.parameters()}
    none = random_shift(generator, name, 2, 1)
    unmoved = generator.shifted({name: WeightShift(none.directions, torch.zeros(2, 1).double())})
    torch.testing.assert_close(unmoved.render(ws), before, atol=1e-12, rtol=0)


def test_it_adds_to_a_tuning(generator: Generator) -> None:
    ws, name = generator.sample(range(2)), [*generator.convolutions()][1]
    tuned = generator.with_weights({weight: torch.full_like(generator.get_parameter(weight), 0.1)
                                    for weight in generator.convolutions().values()})
    shifts = {name: random_shift(generator, name, 2, 1)}
    torch.testing.assert_close(tuned.shifted(shifts).render(ws), plainly(tuned, ws, shifts), atol=1e-9, rtol=0)


def test_gradients_reach_directions_and_amounts(generator: Generator) -> None:
    ws, name = generator.sample(range(3)), [*generator.convolutions()][1]
    shift = random_shift(generator, name, 3, 1)
    inputs = [shift.directions.requires_grad_(), shift.amounts.requires_grad_()]
    loss = generator.shifted({name: shift}).render(ws).square().sum()
    assert all(bool(gradient.abs().sum()) for gradient in torch.autograd.grad(loss, inputs))


def test_small_pictures_show_what_they_say(generator: Generator) -> None:
    ws = generator.sample(range(2))
    for name in generator.convolutions():
        shifts = {name: random_shift(generator, name, 1, 1)}
        for side in generator.sides:
            changed = not torch.allclose(generator.shifted(shifts).render(ws, side), generator.render(ws, side))
            assert changed == (side >= generator.side_showing(name)), (name, side)


def test_others_are_refused(generator: Generator) -> None:
    name = [*generator.convolutions()][1]
    with pytest.raises(ValueError, match="no such convolution"):
        generator.shifted({"b4.torgb": random_shift(generator, name, 1, 1)})
    with pytest.raises(ValueError, match="no such convolution"):
        generator.shifted({name: WeightShift(torch.zeros(1, 2, 2, 1, 1), torch.zeros(1, 1))})
    with pytest.raises(ValueError, match="directions must be"):
        WeightShift(torch.zeros(2, 2, 1, 1), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="3 samples have amounts"):
        generator.shifted({name: random_shift(generator, name, 3, 1)}).render(generator.sample(range(2)))
