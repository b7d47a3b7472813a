"""Directions of weights in edits: each latent its own, beside controls, on tuned generators; their files; imports."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from directions import (
    Controls,
    Edit,
    EditedLatents,
    GradCtrlControl,
    WeightDirection,
    displace,
    import_deformation,
    load,
    save,
)
from directions.weights import weight_direction
from editing import Editor
from generators import Generator, to_pixels
from gradctrl import Classifier
from tests.directions.made_controls import make_control
from tests.generators.made_generators import make_generator, make_student
from weights.errors import InputError

LAYERS = {"stylegan2": ("b16.conv1", "b8.conv0"), "student": ("layers.1.conv2", "layers.0.conv1")}


@pytest.fixture(params=LAYERS)
def generator(request: pytest.FixtureRequest) -> Generator:
    return make_generator() if request.param == "stylegan2" else make_student()


def make_direction(generator: Generator, layer: str, name: str = "odd", length: float = 2.0) -> WeightDirection:
    shape = generator.get_parameter(generator.convolutions()[layer]).shape
    shift = torch.randn(shape, generator=torch.Generator().manual_seed(len(name)))
    return weight_direction(shift, layer=layer, weights=generator.hash, name=name, length=length)


@pytest.fixture
def controls(generator: Generator) -> Controls:
    one, other = LAYERS["student" if generator.architecture == "mobilestylegan" else "stylegan2"]
    return Controls([make_direction(generator, one), make_direction(generator, other, "other"),
                     make_direction(generator, one, "third"), make_smile(generator)],
                    spaces=generator.spaces)


def make_smile(generator: Generator) -> GradCtrlControl:
    rng = torch.Generator().manual_seed(2)
    hidden, out = torch.randn(8, generator.w_dim, generator=rng), torch.randn(1, 8, generator=rng)
    return make_control("smile", classifier=Classifier(hidden_weight=hidden, hidden_bias=torch.zeros(8),
                                                       out_weight=out, out_bias=torch.zeros(1)))


def latents(generator: Generator, count: int = 4) -> EditedLatents:
    return EditedLatents(generator.broadcast(generator.sample(range(count))))


def drawn(generator: Generator, edited: EditedLatents) -> Tensor:
    with torch.no_grad():
        return edited.render(generator)


def test_strength_0_is_the_identity(generator: Generator, controls: Controls) -> None:
    start = latents(generator)
    edited = displace(generator, controls, start, Edit(strengths={"odd": 0.0}),
                      strengths={"odd": torch.zeros(4), "other": torch.zeros(4)})
    assert torch.equal(drawn(generator, edited), drawn(generator, start))


def test_each_latent_has_its_own_strength_beside_controls(generator: Generator, controls: Controls) -> None:
    start, own = latents(generator), torch.tensor([-1.0, 0.0, 0.5, 2.0])
    strengths = {"odd": own, "third": own.flip(0), "other": own.square(), "smile": own / 2}
    together = displace(generator, controls, start, Edit(), strengths=strengths)
    singles = [displace(generator, controls, start.select(slice(n, n + 1)),
                        Edit(strengths={name: float(each[n]) for name, each in strengths.items()})) for n in range(4)]
    expected = torch.cat([drawn(generator, each) for each in singles])
    off = (drawn(generator, together) - expected).abs().max() / expected.abs().max()
    assert float(off) < 1e-5
    joined = EditedLatents.join(singles)
    assert float((drawn(generator, joined) - expected).abs().max() / expected.abs().max()) < 1e-5


def test_it_is_the_weight_that_moves(generator: Generator, controls: Controls) -> None:
    direction = controls["odd"]
    assert isinstance(direction, WeightDirection)
    edited = displace(generator, controls, latents(generator), Edit(strengths={"odd": 1.5}))
    name = generator.convolutions()[direction.deformation.layer]
    plain = generator.with_weights({name: 3.0 * direction.deformation.direction})
    torch.testing.assert_close(drawn(generator, edited), plain.render(latents(generator).latent), atol=1e-4, rtol=1e-5)


def test_edits_add_up_and_a_set_of_latents_can_be_taken_apart(generator: Generator, controls: Controls) -> None:
    start = latents(generator)
    twice = displace(generator, controls, displace(generator, controls, start, Edit(strengths={"odd": 0.5})),
                     Edit(strengths={"odd": 0.5}))
    once = displace(generator, controls, start, Edit(strengths={"odd": 1.0}))
    torch.testing.assert_close(drawn(generator, twice), drawn(generator, once), atol=1e-4, rtol=0)
    placed = start.put(torch.tensor([2, 0]), once.select(torch.tensor([2, 0])))
    expected = torch.stack([drawn(generator, once)[n] if n in (0, 2) else drawn(generator, start)[n]
                            for n in range(4)])
    torch.testing.assert_close(drawn(generator, placed), expected, atol=1e-4, rtol=0)
    half = start.towards(once, 0.5)
    torch.testing.assert_close(drawn(generator, half), drawn(generator, displace(
        generator, controls, start, Edit(strengths={"odd": 0.5}))), atol=1e-4, rtol=0)
    assert [len(part.latent) for part in once.split(3)] == [3, 1]


def test_the_editor_draws_them_at_every_side_and_on_a_tuned_generator(generator: Generator,
                                                                      controls: Controls) -> None:
    """Small pictures are made of ones large enough to show the shift."""
    editor = Editor(generator, controls)
    editor.set_latents(generator.sample(range(2)))
    edit = Edit(strengths={"odd": 1.0, "smile": 0.5})
    for side in generator.sides:
        moved, still = editor.edit(edit, side=side, quick=True), editor.edit({"smile": 0.5}, side=side, quick=True)
        assert moved.shape == (2, side, side, 3)
        assert not np.array_equal(moved, still)
    tuned = generator.with_weights({name: torch.full_like(generator.get_parameter(name), 0.05)
                                    for name in generator.convolutions().values()})
    edited = editor.displace(edit)
    editor._painter = tuned
    direction = controls["odd"]
    assert isinstance(direction, WeightDirection)
    name = generator.convolutions()[direction.deformation.layer]
    plain = tuned.with_weights({name: 2.0 * direction.deformation.direction})
    off = editor.edit(edit).astype(int) - to_pixels(plain.render(edited.latent)).astype(int)
    assert int(np.abs(off).max()) <= 1


def test_they_are_kept_in_files_like_others(generator: Generator, controls: Controls, tmp_path: Path) -> None:
    for dtype in (torch.float32, torch.float16):
        save(tmp_path / "all.safetensors", controls.values(), spaces=generator.spaces, dtype=dtype)
        again = load(tmp_path / "all.safetensors")
        again.check(generator)
        for name in ("odd", "other"):
            one, other = controls[name], again[name]
            assert isinstance(one, WeightDirection)
            assert isinstance(other, WeightDirection)
            assert (other.deformation.layer, other.weights, other.units) == (one.deformation.layer, one.weights,
                                                                             one.units)
            torch.testing.assert_close(other.deformation.direction, one.deformation.direction, atol=1e-3, rtol=0)
    if generator.dtype == torch.float32:
        assert load(tmp_path / "all.safetensors").hash != controls.hash


def test_other_weights_are_refused(generator: Generator, controls: Controls) -> None:
    other = make_student(seed=3) if generator.architecture == "mobilestylegan" else make_generator(seed=3)
    with pytest.raises(InputError, match="odd: moves the weights of the generator"):
        displace(other, controls, latents(other), Edit(strengths={"odd": 1.0}))
    with pytest.raises(InputError, match="moves the weights"):
        Controls([controls["odd"]]).check(other)


def test_what_is_no_direction_is_refused() -> None:
    with pytest.raises(InputError, match="length 0, which is no direction"):
        weight_direction(torch.zeros(2, 2, 1, 1), layer="x", weights="", name="none")
    with pytest.raises(InputError, match="no direction"):
        weight_direction(torch.full((2, 2, 1, 1), torch.nan), layer="x", weights="", name="none")


def test_deformations_of_the_authors_are_imported(tmp_path: Path) -> None:
    """As the raw weight is shifted there: its k-th convolution after the one of 4 pixels."""
    generator = make_generator()
    for index, layer in enumerate(("b8.conv0", "b8.conv1", "b16.conv0")):
        shift = torch.randn(1, *generator.get_parameter(f"synthesis.{layer}.weight").shape)
        torch.save({"layer_ix": index, "shift": torch.nn.Parameter(shift)}, tmp_path / "d.pt")
        made = import_deformation(tmp_path / "d.pt", generator, name="d")
        edited = displace(generator, Controls([made]), latents(generator), Edit(strengths={"d": -1.0}))
        plain = generator.with_weights({f"synthesis.{layer}.weight": -shift[0]})
        torch.testing.assert_close(drawn(generator, edited), plain.render(latents(generator).latent), atol=1e-4,
                                   rtol=1e-5)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("run",)


@pytest.mark.parametrize(("content", "words"), [
    ({"layer_ix": 0}, "not a deformation"), ([1, 2], "not a deformation"),
    ({"layer_ix": "0", "shift": torch.ones(1)}, "index"),
    ({"layer_ix": 0, "shift": 3.0}, "no tensor"), ({"layer_ix": 99, "shift": torch.ones(1)}, "no convolution 99"),
    ({"layer_ix": 0, "shift": torch.ones(16, 24, 3, 2)}, "has the shape"),
    ({"layer_ix": 0, "shift": torch.ones(24, 16, 3, 3)}, "has the shape"),
    ({"layer_ix": 0, "shift": torch.ones(16, 24, 3, 3).long()}, "with a point"),
    ({"layer_ix": 0, "shift": torch.zeros(16, 24, 3, 3)}, "no direction"),
    ({"layer_ix": 0, "shift": torch.full((16, 24, 3, 3), torch.inf)}, "no direction"),
])
def test_files_that_are_no_deformations_are_refused(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "d.pt")
    with pytest.raises(InputError, match=words):
        import_deformation(tmp_path / "d.pt", make_generator(), name="d")


def test_hostile_files_are_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.pt").write_bytes(pickle.dumps({"layer_ix": 0, "shift": Evil()}))
    with pytest.raises(InputError, match="not on the list"):
        import_deformation(tmp_path / "d.pt", make_generator(), name="d")
    assert capsys.readouterr().out == ""
    torch.save({"layer_ix": 0, "shift": torch.ones(1)}, tmp_path / "d.pt")
    with pytest.raises(InputError, match="is of a StyleGAN2"):
        import_deformation(tmp_path / "d.pt", make_student(), name="d")


@pytest.mark.slow
def test_bundled_directions_are_for_the_bundled_generator(bundled_models: None) -> None:
    """They change pictures; strength 0 does not; another generator of the same space is refused by name."""
    import generators

    generator = generators.load("bundled")
    named = load("navigan-edits")["navigan"]
    named.check(generator)
    assert len(named.keys) >= 6
    editor = Editor(generator, load("bundled"))
    editor.set_latent(generator.sample([5], truncation=0.7)[0])
    before = editor.edit({}, side=256)
    for key in named.keys:
        moved = editor.edit({key: 1.0}, side=256)
        assert 2 < np.abs(moved.astype(int) - before).mean() < 60, key
    assert np.array_equal(editor.edit({named.keys[0]: 0.0}, side=256), before)
    both = editor.edit({"navigan:short_nose": 1.0, "smile": 0.5, "ganspace:bald": 0.5}, side=256)
    assert not np.array_equal(both, before)


def test_the_bundled_ones_are_refused_for_other_weights(bundled_models: None) -> None:
    controls = load("navigan-edits")
    generator = make_student()
    with pytest.raises(InputError, match="moves the weights of the generator"):
        displace(generator, controls, latents(generator), Edit(strengths={"navigan:short_nose": 1.0}))
    with pytest.raises(InputError, match="no such direction; there are 12"):
        controls["navigan"].target("nose")
