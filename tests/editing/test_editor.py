"""The Editor: identities first, then several controls at once, then bad input. On a small random generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from editing import Editor, edit_each, frames, join, strip
from gradctrl import Classifier, Control, Controls, mask, trajectory
from stylegan2 import Generator, GeneratorConfig, to_pixels
from weights.errors import InputError


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(img_resolution=32, channels=(16, 16, 8, 8), z_dim=32, w_dim=32, mapping_layers=2)
    return Generator(config).requires_grad_(False).eval()


def make_control(name: str, seed: int, *, outputs: int = 1, keep: dict[str, int] | None = None) -> Control:
    rng = torch.Generator().manual_seed(seed)
    classifier = Classifier(
        hidden_weight=torch.randn(8, 32, generator=rng), hidden_bias=torch.randn(8, generator=rng),
        out_weight=torch.randn(outputs, 8, generator=rng), out_bias=torch.randn(outputs, generator=rng))
    classes = ("no", "yes") if outputs == 1 else ("black", "brown", "blond")
    return Control(name=name, classes=classes, classifier=classifier, layers=(2, 6), keep=keep or {}, step=0.2,
                   units=(1.0, 2.0, 3.0)[:outputs])


@pytest.fixture(scope="module")
def controls(generator: Generator) -> Controls:
    made = [make_control("smile", 1, keep={"age": 5}), make_control("age", 2), make_control("hair", 3, outputs=3)]
    return Controls(made, generator_hash=generator.hash)


@pytest.fixture
def editor(generator: Generator, controls: Controls) -> Editor:
    editor = Editor(generator, controls)
    editor.set_latent(generator.sample([1])[0])
    return editor


def test_strength_zero_is_the_identity(editor: Editor, generator: Generator) -> None:
    assert torch.equal(editor.edit_latent({"smile": 0.0, "hair:blond": 0.0}), editor.latent)
    assert torch.equal(editor.edit_latent({}), editor.latent)
    assert np.array_equal(editor.edit({}), to_pixels(generator.render(generator.sample([1])))[0])


def test_rows_outside_the_layer_range_stay_bit_for_bit(editor: Editor) -> None:
    edited = editor.edit_latent({"smile": 2.0})
    assert torch.equal(edited[:, :2], editor.latent[:, :2])
    assert torch.equal(edited[:, 6:], editor.latent[:, 6:])
    assert not torch.equal(edited[:, 2:6], editor.latent[:, 2:6])
    narrow = editor.edit_latent({"smile": 2.0}, layers=(0, 1))
    assert torch.equal(narrow[:, 1:], editor.latent[:, 1:])


def test_one_control_follows_its_trajectory(editor: Editor, controls: Controls) -> None:
    w = editor.latent.mean(dim=1)
    path = trajectory(controls["smile"], w, steps=5, step=0.2, keep=[(controls["age"], 5)])
    for steps in range(6):
        edited = editor.edit_latent({"smile": 0.2 * steps})
        assert torch.allclose(edited[:, 3], path[:, steps], atol=1e-5)


def test_masked_channels_stay_bit_for_bit(editor: Editor, controls: Controls) -> None:
    """Within one step the mask is that at w itself."""
    masked = mask(editor.latent.mean(dim=1), [(controls["age"], 7), (controls["hair"], 4)])
    edited = editor.edit_latent({"smile": 0.15}, keep={"age": 7, "hair": 4})
    assert torch.equal(edited[0, 3][masked[0]], editor.latent[0, 3][masked[0]])
    assert (edited[0, 3] != editor.latent[0, 3]).sum() == (~masked).sum()


def test_strength_is_counted_in_the_controls_unit(editor: Editor) -> None:
    for index, class_name in enumerate(("black", "brown", "blond")):
        moved = editor.edit_latent({f"hair:{class_name}": 0.05}) - editor.latent
        assert moved[0, 3].norm() == pytest.approx(0.05 * (index + 1), rel=1e-3)


@pytest.mark.parametrize("name", ["smile", "hair:brown"])
def test_signed_strengths_raise_and_lower_the_score(editor: Editor, name: str) -> None:
    attribute = name.split(":")[0]
    index = 1 if ":" in name else 0
    low, here, high = (float(editor.scores(editor.edit_latent({name: s}, keep=[]))[attribute][0, index])
                       for s in (-0.5, 0.0, 0.5))
    assert low < here < high


def test_several_controls_do_not_depend_on_their_order(editor: Editor) -> None:
    a = editor.edit_latent({"smile": 1.0, "age": -0.7, "hair:blond": 0.5})
    b = editor.edit_latent({"hair:blond": 0.5, "age": -0.7, "smile": 1.0})
    assert torch.allclose(a, b, atol=1e-5)


def test_a_batch_equals_singles(editor: Editor, generator: Generator) -> None:
    w = generator.sample(range(11))
    editor.set_latents(w)
    many, latents = editor.edit({"smile": 1.0}), editor.edit_latent({"smile": 1.0})
    assert many.shape == (11, 32, 32, 3)
    for index in range(11):
        editor.set_latent(w[index])
        assert torch.allclose(editor.edit_latent({"smile": 1.0})[0], latents[index], atol=1e-4)
        assert np.abs(editor.edit({"smile": 1.0}).astype(int) - many[index]).max() <= 1


def test_w_plus_keeps_the_differences_between_its_rows(editor: Editor, generator: Generator) -> None:
    w_plus = generator.sample(range(generator.num_ws))
    editor.set_latent(w_plus)
    moved = editor.edit_latent({"smile": 1.0})[0] - w_plus
    assert torch.allclose(moved[2:6], moved[2].expand(4, -1), atol=1e-6)


def test_strip_and_frames(editor: Editor) -> None:
    row = strip(editor, "smile", (-1.0, 0.0, 1.0))
    assert row.shape == (32, 96, 3)
    for index, strength in enumerate((-1.0, 0.0, 1.0)):
        assert np.abs(row[:, 32 * index:32 * index + 32].astype(int) - editor.edit({"smile": strength})).max() <= 1
    path = frames(editor, {"smile": 1.0, "age": 2.0}, 3)
    assert np.abs(path[2].astype(int) - editor.edit({"smile": 1.0, "age": 2.0})).max() <= 1
    assert np.abs(path[0].astype(int) - editor.edit({})).max() <= 1
    assert join(edit_each(editor, [{}, {"age": 1.0}])).shape == (32, 64, 3)


def test_wrong_order_names_the_call_to_make_first(generator: Generator, controls: Controls) -> None:
    with pytest.raises(RuntimeError, match="set_latent"):
        Editor(generator, controls).edit({"smile": 1.0})


@pytest.mark.parametrize(("strengths", "message"), [
    ({"beard": 1.0}, "beard.*smile, age, hair"), ({"hair": 1.0}, "hair:black"), ({"hair:red": 1.0}, "hair:red"),
    ({"smile:maybe": 1.0}, "smile"),
])
def test_unknown_attributes_are_refused(editor: Editor, strengths: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        editor.edit(strengths)


def test_bad_settings_are_refused(editor: Editor) -> None:
    with pytest.raises(InputError, match="no such attribute"):
        editor.edit({"smile": 1.0}, keep=["beard"])
    for layers in ((3, 3), (-1, 2), (0, 9)):
        with pytest.raises(InputError, match="8 layers"):
            editor.edit({"smile": 1.0}, layers=layers)
    with pytest.raises(InputError, match="step"):
        editor.edit({"smile": 1.0}, step=-1.0)
    with pytest.raises(ValueError, match="latent must be"):
        editor.set_latent(torch.zeros(7))


def test_controls_of_another_generator_are_refused(generator: Generator, controls: Controls) -> None:
    with pytest.raises(InputError, match="belong to generator"):
        Editor(generator, Controls(list(controls.values()), generator_hash="0" * 64))
    beyond = replace(controls["smile"], layers=(0, 99))
    with pytest.raises(InputError, match="layers up to 99"):
        Editor(generator, Controls([beyond]))
