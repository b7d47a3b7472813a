"""Several directions as one: it moves what they move together, and is refused where that cannot be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from directions import Controls, Edit, EditedLatents, LinearDirection, displace
from directions.combining import combined
from directions.weights import weight_direction
from generators import Generator
from tests.generators.made_generators import make_generator
from weights.errors import InputError


def direction(name: str, row: int, unit: float = 1.0, centre: float | None = 0.5, layers: tuple[int, int] = (4, 2048),
              width: int = 512) -> LinearDirection:
    return LinearDirection(name=name, found_by="ganspace", directions=F.one_hot(torch.tensor([row]), width).float(),
                           units=(unit,), step=unit, centre=centre, layers=layers)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return make_generator(32)


def test_the_sum_moves_a_latent_as_its_parts_do_together(generator: Generator) -> None:
    width = generator.w_dim
    parts = [direction("one", 0, 2.0, width=width), direction("two", 3, 0.5, width=width)]
    made = combined([(parts[0], 1.5), (parts[1], -2.0)], name="both")
    latents = EditedLatents(generator.broadcast(generator.sample([1, 2])))
    apart = displace(generator, Controls(parts), latents, Edit(strengths={"one": 1.5, "two": -2.0}))
    together = displace(generator, Controls([made]), latents, Edit(strengths={"both": 1.0}))
    assert torch.allclose(apart.latent, together.latent, atol=1e-5)
    centred = displace(generator, Controls([made]), latents, Edit(strengths={"both": 0.0}, centred=True))
    unit = made.directions[0]  # type: ignore[union-attr]
    rows = centred.latent @ unit
    assert torch.allclose(rows, torch.full_like(rows, float(0.5 * unit[0] + 0.5 * unit[3])), atol=1e-5)


def test_one_part_turned_round_is_itself_the_other_way() -> None:
    made = combined([(direction("one", 0, 2.0), -3.0)], name="less")
    assert isinstance(made, LinearDirection)
    assert float(made.directions[0, 0]) == -1.0
    assert made.units == (6.0,)
    assert made.centre == -0.5
    assert made.report["of"] == "one -3"


def test_where_the_mean_lies_is_told_only_where_it_is_known() -> None:
    unknown = combined([(direction("one", 0), 1.0), (direction("two", 1, centre=None), 1.0)], name="both")
    slanted = LinearDirection(name="slanted", found_by="ganspace", centre=0.5, units=(1.0,), layers=(4, 2048),
                              directions=F.normalize(torch.ones(1, 512), dim=1))
    oblique = combined([(direction("one", 0), 1.0), (slanted, 1.0)], name="both")
    assert isinstance(unknown, LinearDirection)
    assert isinstance(oblique, LinearDirection)
    assert unknown.centre is None
    assert oblique.centre is None


def test_a_direction_of_weights_stands_alone() -> None:
    shift = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    part = weight_direction(shift, layer="conv", weights="0" * 64, name="nose")
    made = combined([(part, -2.0)], name="small_nose")
    assert made.units == (pytest.approx(2 * part.units[0]),)
    assert torch.equal(made.deformation.direction, -part.deformation.direction)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="both: directions of weights cannot be put together; set one of them alone"):
        combined([(part, 1.0), (direction("one", 0), 1.0)], name="both")


def test_what_cannot_be_one_is_refused() -> None:
    one, other = direction("one", 0, layers=(4, 16)), direction("other", 1, layers=(16, 64))
    with pytest.raises(InputError, match="move different layers; choose one range of layers"):
        combined([(one, 1.0), (other, 1.0)], name="both")
    assert combined([(one, 1.0), (other, 1.0)], name="both", layers=(4, 64)).layers == (4, 64)
    with pytest.raises(InputError, match="nothing is moved"):
        combined([], name="both")
    with pytest.raises(InputError, match="its parts cancel each other"):
        combined([(one, 1.0), (direction("again", 0, layers=(4, 16)), -1.0)], name="both")
