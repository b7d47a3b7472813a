"""Edits until a class is reached, and through the classes of an attribute. On a small random generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from directions import Controls, Edit, EditedLatents, GradCtrlControl, LinearControl
from editing import Editor
from editing.increments import round_up, through
from generators import Generator, StyleGAN2, StyleGAN2Config
from gradctrl import Classifier
from weights.errors import InputError

CLASSES = ("left", "front", "right")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(16, 16, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    return StyleGAN2(config).requires_grad_(False).eval()


def pose(generator: Generator) -> GradCtrlControl:
    """Three classes along one way through W: -(p - centre)^2 as a network of two layers."""
    w = generator.sample(range(300))
    way = torch.nn.functional.normalize(torch.randn(16, generator=torch.Generator().manual_seed(1)), dim=0)
    p = (w @ way).std()
    # Of p^2 only the part that differs from class to class matters: 2 p centre - centre^2.
    centres = torch.tensor([-1.0, 0.0, 1.0])
    first = torch.stack([way, -way]) / p
    second = 4 * torch.stack([2 * centres, -2 * centres], dim=1) / 1.1  # leaky(x) - leaky(-x) = 1.1 x
    return GradCtrlControl(name="pose", classes=CLASSES, layers=(8, 32), ordered=True, step=0.1, units=(1.0, 2.0, 1.0),
                   classifier=Classifier(hidden_weight=first, hidden_bias=-(first @ w.mean(dim=0)),
                                         out_weight=second, out_bias=-4 * centres ** 2))


def smile(generator: Generator) -> GradCtrlControl:
    rng = torch.Generator().manual_seed(5)
    return GradCtrlControl(name="smile", classes=("no", "yes"), step=0.1, classifier=Classifier(
        hidden_weight=torch.randn(6, 16, generator=rng), hidden_bias=torch.zeros(6),
        out_weight=torch.randn(1, 6, generator=rng), out_bias=torch.zeros(1)))


def in_styles(generator: Generator) -> LinearControl:
    """An ordered attribute of the style space: two thresholds on one channel."""
    styles = generator.styles(generator.sample(range(200)))
    channel = int(styles.std(dim=0).argmax())
    middle, spread = styles[:, channel].mean(), styles[:, channel].std()
    directions = torch.zeros(3, styles.shape[1])
    directions[:, channel] = torch.tensor([-1.0, 1.0, 1.0])
    return LinearControl(name="pose", classes=CLASSES, found_by="stylespace", ordered=True,
                         directions=directions, weights=directions / spread, step=0.1, units=(1.0,) * 3,
                         bias=torch.stack([middle, -middle, -middle]) / spread - 0.5 * torch.tensor([1.0, -1.0, 1.0]))


@pytest.fixture(scope="module", params=["w", "styles"])
def control(request: pytest.FixtureRequest, generator: Generator) -> GradCtrlControl:
    return pose(generator) if request.param == "w" else in_styles(generator)


@pytest.fixture(scope="module")
def latents(generator: Generator) -> Tensor:
    return generator.sample(range(40))


def test_every_class_is_reached_and_the_own_one_is_left_alone(generator: Generator, control: GradCtrlControl,
                                                              latents: Tensor) -> None:
    editor = Editor(generator, Controls([control]))
    editor.set_latents(latents)
    own = control.predict(editor.states(control))
    assert own.bincount(minlength=3).min() > 2
    found = through(editor, "pose")
    assert len(found) == 3
    for class_index, edited in enumerate(found):
        assert (control.predict(editor.states(control, edited)) == class_index).all()
        same = own == class_index
        assert torch.equal(edited.latent[same], editor.latent[same])
        if edited.styles is not None:
            assert (edited.styles[same] == 0).all()
            assert (edited.styles[~same] != 0).any(dim=1).all()
        else:
            assert (edited.latent[~same] != editor.latent[~same]).any(dim=2)[:, 1:5].all()
            assert torch.equal(edited.latent[:, 5:], editor.latent[:, 5:])
    assert torch.equal(editor.latent, generator.broadcast(latents))


def test_neighbours_are_reached_from_neighbours(generator: Generator, control: GradCtrlControl,
                                                latents: Tensor) -> None:
    editor = Editor(generator, Controls([control]))
    editor.set_latents(latents)
    found = through(editor, "pose")
    own = control.predict(editor.states(control))
    for class_index, source in ((2, 1), (0, 1)):
        far = own == 2 - class_index  # They begin at the other end.
        hop = Editor(generator, Controls([control]))
        hop.set_latents(found[source].select(far))
        key = f"pose:{CLASSES[class_index]}"
        moved = hop.displace({}, strengths={key: round_up(hop.strengths_to(key)).float()})
        assert torch.equal(moved.latent, found[class_index].latent[far])
        if moved.styles is not None:
            ends = found[class_index].styles
            assert ends is not None
            assert torch.equal(moved.styles, ends[far])


def test_a_batch_equals_singles(generator: Generator, control: GradCtrlControl, latents: Tensor) -> None:
    many = Editor(generator, Controls([control]))
    many.set_latents(latents)
    found = through(many, "pose")
    for index in range(4):
        one = Editor(generator, Controls([control]))
        one.set_latent(latents[index])
        for mine, all_of_them in zip(through(one, "pose"), found, strict=True):
            part = all_of_them.select(slice(index, index + 1))
            assert torch.allclose(mine.latent, part.latent, atol=1e-4)
            # One that has its class already has no change of styles at all.
            zero = torch.zeros(1) if part.styles is None else torch.zeros_like(part.styles)
            assert torch.allclose(mine.styles if mine.styles is not None else zero,
                                  part.styles if part.styles is not None else zero, atol=1e-3)
        assert one.edit({}).ndim == 3  # It is still an editor of one latent.


def test_rows_that_differ_are_judged_by_those_that_are_edited(generator: Generator, latents: Tensor) -> None:
    """w+ with other classes in other rows: what counts is the mean of the control's layer range."""
    control = pose(generator)
    editor = Editor(generator, Controls([control, smile(generator)]))
    w_plus = generator.broadcast(latents[:20]).clone()
    w_plus[:, 5:] = latents[20:, None]
    editor.set_latents(w_plus)
    for class_index, edited in enumerate(through(editor, "pose")):
        assert (editor.scores(edited.latent)["pose"].argmax(dim=1) == class_index).all()
    for name, sign in (("smile:yes", 1), ("smile:no", -1)):
        strengths = round_up(editor.strengths_to(name)).float()
        scores = editor.scores(editor.displace({}, strengths={"smile": strengths}).latent)["smile"]
        assert (sign * scores >= 0).all()
    narrow = round_up(editor.strengths_to("smile:yes", layers=(12, 24))).float()
    after = editor.displace({}, strengths={"smile": narrow}, layers=(12, 24))
    assert (editor.controls["smile"].scores(editor.states(editor.controls["smile"], after, layers=(12, 24))) >= 0).all()


def test_edits_go_on_from_edits(generator: Generator, latents: Tensor) -> None:
    control = in_styles(generator)
    editor = Editor(generator, Controls([control]))
    editor.set_latents(latents[:3])
    far = editor.displace({"pose:right": 0.8})
    half = editor.displace({"pose:right": 0.3})
    editor.set_latents(half)
    assert np.array_equal(editor.edit({}), editor.render(half))
    again = editor.displace({"pose:right": 0.5})
    assert far.styles is not None
    assert again.styles is not None
    assert torch.allclose(again.styles, far.styles, atol=1e-4)
    assert torch.allclose(editor.states(control), editor.states(control, half))
    assert torch.equal(EditedLatents(half.latent, half.styles).select(slice(0, 2)).latent, half.latent[:2])


def test_settings_reach_the_walk(generator: Generator, latents: Tensor) -> None:
    control, other = pose(generator), smile(generator)
    editor = Editor(generator, Controls([control, other]))
    editor.set_latents(latents)
    own = control.predict(editor.states(control))
    for how in ({"layers": (12, 24)}, {"keep": {"smile": 5}}, {"step": 0.3}):
        found = through(editor, "pose", Edit(**how))  # type: ignore[arg-type]
        assert not torch.equal(found[1].latent, through(editor, "pose")[1].latent), how
    narrow = through(editor, "pose", Edit(layers=(12, 24)))
    assert torch.equal(narrow[0].latent[:, 4:], editor.latent[:, 4:])
    assert torch.equal(narrow[0].latent[:, :2], editor.latent[:, :2])
    assert (control.predict(editor.states(control, narrow[0], layers=(12, 24))) == 0).all()
    assert torch.equal(narrow[2].latent[own == 2], editor.latent[own == 2])
    two = through(editor, "smile")
    assert all((other.predict(editor.states(other, two[j])) == j).all() for j in (0, 1))


def test_strengths_are_rounded_away_from_zero() -> None:
    given = torch.tensor([0.0, 0.8301, -0.8301, 1e-9, -2.0, torch.inf, -torch.inf])
    found = round_up(given)
    assert found.tolist() == [0.0, 0.831, -0.831, 0.001, -2.001, torch.inf, -torch.inf]
    more = torch.rand(1000) * 4 - 2
    assert ((round_up(more).abs() - more.abs()) >= 0.0005 - 1e-9).all()
    assert ((round_up(more).abs() - more.abs()) <= 0.0015 + 1e-9).all()


def test_what_is_out_of_reach_is_named(generator: Generator, latents: Tensor) -> None:
    control = replace(pose(generator), margins=(0.0, 0.0, 1e9))
    editor = Editor(generator, Controls([control]))
    editor.set_latents(latents)
    with pytest.raises(InputError, match="pose:right: out of reach"):
        through(editor, "pose")
    with pytest.raises(InputError, match="no such attribute"):
        through(editor, "beard")
    with pytest.raises(InputError, match="none of this generator's layers"):
        through(editor, "pose", Edit(layers=(64, 99)))
    with pytest.raises(RuntimeError, match="set_latent"):
        through(Editor(generator, Controls([control])), "pose")
