"""The Editor: identities first, then several controls at once, then bad input. On a small random generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from directions import Controls, Edit, EditedLatents, GradCtrlControl, LinearControl, LinearDirection
from editing import Editor, edit_each, frames, join, strip
from generators import Generator, LatentStatistics, Space, StyleGAN2, StyleGAN2Config, to_pixels
from gradctrl import Classifier, mask, trajectory
from inversion import Projector, ProjectorSettings, made_smaller, skin_tone
from weights.errors import InputError


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = StyleGAN2Config(img_resolution=32, channels=(16, 16, 8, 8), z_dim=32, w_dim=32, mapping_layers=2)
    return StyleGAN2(config).requires_grad_(False).eval()


def make_control(name: str, seed: int, *, outputs: int = 1, keep: dict[str, int] | None = None) -> GradCtrlControl:
    rng = torch.Generator().manual_seed(seed)
    classifier = Classifier(
        hidden_weight=torch.randn(8, 32, generator=rng), hidden_bias=torch.randn(8, generator=rng),
        out_weight=torch.randn(outputs, 8, generator=rng), out_bias=torch.randn(outputs, generator=rng))
    classes = ("no", "yes") if outputs == 1 else ("black", "brown", "blond")
    return GradCtrlControl(name=name, classes=classes, classifier=classifier, layers=(12, 48), keep=keep or {},
                           step=0.2,
                   units=(1.0, 2.0, 3.0)[:outputs])


@pytest.fixture(scope="module")
def controls(generator: Generator) -> Controls:
    made = [make_control("smile", 1, keep={"age": 5}), make_control("age", 2), make_control("hair", 3, outputs=3)]
    return Controls(made, spaces=generator.spaces)


@pytest.fixture
def editor(generator: Generator, controls: Controls) -> Editor:
    editor = Editor(generator, controls)
    editor.set_latent(generator.sample([1])[0])
    return editor


def test_strength_zero_is_the_identity(editor: Editor, generator: Generator) -> None:
    assert torch.equal(editor.displace({"smile": 0.0, "hair:blond": 0.0}).latent, editor.latent)
    assert torch.equal(editor.displace({}).latent, editor.latent)
    assert np.array_equal(editor.edit({}), to_pixels(generator.render(generator.sample([1])))[0])


def test_rows_outside_the_layer_range_stay_bit_for_bit(editor: Editor) -> None:
    edited = editor.displace({"smile": 2.0}).latent
    assert torch.equal(edited[:, :2], editor.latent[:, :2])
    assert torch.equal(edited[:, 6:], editor.latent[:, 6:])
    assert not torch.equal(edited[:, 2:6], editor.latent[:, 2:6])
    narrow = editor.displace({"smile": 2.0}, layers=(4, 8)).latent
    assert torch.equal(narrow[:, 1:], editor.latent[:, 1:])


def test_one_control_follows_its_trajectory(editor: Editor, controls: Controls) -> None:
    w = editor.latent.mean(dim=1)
    path = trajectory(controls["smile"].classifier, w, steps=5, step=0.2, keep=[(controls["age"].classifier, 5)])
    for steps in range(6):
        edited = editor.displace({"smile": 0.2 * steps}).latent
        assert torch.allclose(edited[:, 3], path[:, steps], atol=1e-5)


def test_masked_channels_stay_bit_for_bit(editor: Editor, controls: Controls) -> None:
    """Within one step the mask is that at w itself."""
    masked = mask(editor.latent.mean(dim=1), [(controls["age"].classifier, 7), (controls["hair"].classifier, 4)])
    edited = editor.displace({"smile": 0.15}, keep={"age": 7, "hair": 4}).latent
    assert torch.equal(edited[0, 3][masked[0]], editor.latent[0, 3][masked[0]])
    assert (edited[0, 3] != editor.latent[0, 3]).sum() == (~masked).sum()


def test_strength_is_counted_in_the_controls_unit(editor: Editor) -> None:
    for index, class_name in enumerate(("black", "brown", "blond")):
        moved = editor.displace({f"hair:{class_name}": 0.05}).latent - editor.latent
        assert moved[0, 3].norm() == pytest.approx(0.05 * (index + 1), rel=1e-3)


@pytest.mark.parametrize("name", ["smile", "hair:brown"])
def test_signed_strengths_raise_and_lower_the_score(editor: Editor, name: str) -> None:
    attribute = name.split(":")[0]
    index = 1 if ":" in name else 0
    low, here, high = (float(editor.scores(editor.displace({name: s}, keep=[]).latent)[attribute][0, index])
                       for s in (-0.5, 0.0, 0.5))
    assert low < here < high


def test_several_controls_do_not_depend_on_their_order(editor: Editor) -> None:
    a = editor.displace({"smile": 1.0, "age": -0.7, "hair:blond": 0.5}).latent
    b = editor.displace({"hair:blond": 0.5, "age": -0.7, "smile": 1.0}).latent
    assert torch.allclose(a, b, atol=1e-5)


def test_a_batch_equals_singles(editor: Editor, generator: Generator) -> None:
    w = generator.sample(range(11))
    editor.set_latents(w)
    many, latents = editor.edit({"smile": 1.0}), editor.displace({"smile": 1.0}).latent
    assert many.shape == (11, 32, 32, 3)
    for index in range(11):
        editor.set_latent(w[index])
        assert torch.allclose(editor.displace({"smile": 1.0}).latent[0], latents[index], atol=1e-4)
        assert np.abs(editor.edit({"smile": 1.0}).astype(int) - many[index]).max() <= 1


def test_fewer_pictures_at_once_where_memory_does_not_suffice(editor: Editor, generator: Generator,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    editor.set_latents(generator.sample(range(5)))
    expected, original, sizes, most = editor.edit({"smile": 1.0}), generator.render, [], 2

    def render(latent: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        sizes.append(len(latent))
        if len(latent) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(latent, *arguments, **named)

    monkeypatch.setattr(generator, "render", render)
    assert np.abs(editor.edit({"smile": 1.0}).astype(int) - expected).max() <= 1
    assert sizes == [5, 3, 2, 1, 2]
    most = 0
    with pytest.raises(InputError, match=r"out of memory \(CUDA out of memory\); end other programs"):
        editor.edit({"smile": 1.0})


def test_w_plus_keeps_the_differences_between_its_rows(editor: Editor, generator: Generator) -> None:
    w_plus = generator.sample(range(generator.num_ws))
    editor.set_latent(w_plus)
    moved = editor.displace({"smile": 1.0}).latent[0] - w_plus
    assert torch.allclose(moved[2:6], moved[2].expand(4, -1), atol=1e-6)


# ---- to a class, and each latent as far as it needs

@pytest.mark.parametrize("keeping", ["masks", "projection"])
@pytest.mark.parametrize("name", ["smile:yes", "smile:no", "hair:black", "hair:brown", "hair:blond"])
def test_strengths_to_a_class_end_with_its_score_at_the_margin(generator: Generator, controls: Controls, name: str,
                                                               keeping: str) -> None:
    margined = [replace(control, margins=(0.5,) * len(control.classes), keeping=keeping)  # type: ignore[call-arg]
                for control in map(controls.control, controls)]
    editor = Editor(generator, Controls(margined))  # type: ignore[arg-type]
    w = generator.sample(range(30))
    editor.set_latents(w)
    control, index = editor.find(name)
    strengths = editor.strengths_to(name)
    edited = editor.displace({}, strengths={editor.key_of(name): strengths.where(strengths.isfinite(), 0)})
    before, after = (control.score_of(editor.states(control, x), index) for x in (None, edited))
    assert torch.equal(strengths == 0, before >= 0.5)
    away = strengths.isfinite() & (strengths != 0)
    assert away.sum() >= 3
    assert (after[away] - 0.5).abs().max() < 0.02  # What ten halvings of a step leave.
    assert (after[away] - 0.5).min() > -1e-4
    assert torch.equal(edited.latent[~away], generator.broadcast(w)[~away])
    assert ((strengths < 0).sum() > 0) == (name == "smile:no")


def test_strengths_to_take_the_settings_of_the_edit(editor: Editor, generator: Generator) -> None:
    editor.set_latents(generator.sample(range(8)))
    settings = {"keep": {"age": 9}, "layers": (4, 16), "step": 0.05}
    strengths = editor.strengths_to("smile", **settings)
    assert not torch.equal(strengths, editor.strengths_to("smile"))
    edited = editor.displace({}, strengths={"smile": strengths}, **settings)
    control, _ = editor.find("smile")
    away = strengths != 0
    assert away.any()
    scores = control.scores(editor.states(control, edited, layers=(4, 16)))[away, 0]
    assert scores.abs().max() < 5e-3


def test_a_strength_for_each_latent_equals_one_after_the_other(editor: Editor, generator: Generator) -> None:
    w = generator.sample(range(6))
    smile, blond = torch.tensor([-1.0, 0.0, 0.3, 1.0, 2.7, -0.1]), torch.linspace(0, 0.5, 6)
    editor.set_latents(w)
    many = editor.displace({}, strengths={"smile": smile, "hair:blond": blond, "age": torch.full([6], 0.4)}).latent
    for index in range(6):
        editor.set_latent(w[index])
        one = editor.displace({"smile": float(smile[index]), "hair:blond": float(blond[index]), "age": 0.4}).latent
        assert torch.allclose(one[0], many[index], atol=1e-5)


def test_names_lead_to_keys_and_classes(editor: Editor) -> None:
    found = {name: (editor.key_of(name), editor.find(name)[1]) for name in (
        "smile", "smile:yes", "smile:no", "hair:black", "hair:blond")}
    assert found == {"smile": ("smile", 1), "smile:yes": ("smile", 1), "smile:no": ("smile", 0),
                     "hair:black": ("hair:black", 0), "hair:blond": ("hair:blond", 2)}
    with pytest.raises(InputError, match="hair:black"):
        editor.find("hair")
    with pytest.raises(InputError, match="smile:perhaps"):
        editor.strengths_to("smile:perhaps")


# ---- methods

def test_channel_counts_mean_masks_and_names_the_controls_own_way(generator: Generator, controls: Controls) -> None:
    statistics = LatentStatistics.of(generator.sample(range(300)))
    projecting = Controls([replace(control, keeping="projection", statistics=statistics)  # type: ignore[call-arg]
                           for control in controls.values()])
    one, other = Editor(generator, controls), Editor(generator, projecting)
    for editor in (one, other):
        editor.set_latents(generator.sample(range(4)))
    by_masks, by_projection = one.displace({"smile": 1.0}).latent, other.displace({"smile": 1.0}).latent
    assert not torch.equal(by_masks, by_projection)
    counts = controls.control("smile").keep
    assert torch.equal(one.displace({"smile": 1.0}, keep=counts).latent, by_masks)
    assert torch.equal(other.displace({"smile": 1.0}, keep=counts).latent, by_masks)
    assert torch.equal(other.displace({"smile": 1.0}, keep=list(counts)).latent, by_projection)
    assert not torch.equal(other.strengths_to("smile", keep=counts), other.strengths_to("smile"))


def test_projection_leaves_kept_scores_alone(generator: Generator, controls: Controls) -> None:
    def changes(keeping: str) -> dict[str, float]:
        editor = Editor(generator, Controls([replace(control, keeping=keeping)  # type: ignore[call-arg]
                                             for control in controls.values()]))
        editor.set_latents(generator.sample(range(10)))
        before = editor.scores()
        edited = editor.displace({"smile": 0.2}, keep={"age": 5, "hair": 5} if keeping == "masks" else ["age", "hair"])
        return {name: float((control.scores(editor.states(control, edited)) - before[name]).abs().mean())
                for name, control in editor.controls.items()}

    masked, projected = changes("masks"), changes("projection")
    assert projected["smile"] > 0.05
    for name in ("age", "hair"):
        assert projected[name] < 0.2 * masked[name]


def make_linear(generator: Generator, name: str, channel: int, *, method: str = "stylespace") -> LinearControl:
    width = generator.w_dim if method != "stylespace" else generator.layers[-1].stop
    weights = torch.zeros(1, width)
    weights[0, channel] = 1
    return LinearControl(name=name, classes=("no", "yes"), found_by=method,  # type: ignore[arg-type]
                         directions=weights, weights=weights, bias=torch.zeros(1))


@pytest.mark.parametrize("method", ["interfacegan", "stylespace"])
def test_methods_that_controls_were_not_found_by_are_refused(editor: Editor, generator: Generator, method: str) -> None:
    for call in (editor.edit, editor.displace):
        with pytest.raises(InputError,
                           match="smile was found by gradctrl, not by interfacegan; give the method gradctrl"):
            call({"smile": 1.0}, method="interfacegan")
    with pytest.raises(InputError, match="not by interfacegan"):
        editor.strengths_to("smile", method="interfacegan")
    linear = Editor(generator, Controls([make_linear(generator, "smile", 3, method=method)], source="some file"))
    linear.set_latent(generator.sample([1])[0])
    assert np.array_equal(linear.edit({"smile": 1.0}, method=method), linear.edit({"smile": 1.0}))
    with pytest.raises(InputError, match=f"some file: smile was found by {method}, not by ganspace"):
        linear.edit({"smile": 1.0}, method="ganspace")


def test_directions_of_w_and_of_styles_in_one_edit(generator: Generator, controls: Controls) -> None:
    """Those of styles walk from the styles of the w+ that those of w have reached, whatever the order of the names."""
    styled, unlabelled = make_linear(generator, "styled", 40), LinearDirection(
        name="component", found_by="ganspace", directions=torch.eye(generator.w_dim)[:1])
    editor = Editor(generator, Controls([*controls.values(), styled, unlabelled]))
    editor.set_latents(generator.sample(range(3)))
    mixed = editor.displace({"styled": 2.0, "smile": 1.0, "component": 0.5})
    in_w = editor.displace({"smile": 1.0, "component": 0.5})
    assert torch.equal(mixed.latent, in_w.latent)
    assert mixed.styles is not None
    assert torch.allclose(mixed.styles[:, 40], torch.full([3], 2.0))
    assert int((mixed.styles != 0).sum()) == 3
    other = editor.displace({"component": 0.5, "smile": 1.0, "styled": 2.0})
    assert torch.allclose(other.latent, mixed.latent, atol=1e-6)
    alone = editor.displace({"component": 0.5}).latent - editor.latent
    assert torch.allclose(alone, 0.5 * torch.eye(generator.w_dim)[0].expand_as(alone), atol=1e-6)
    with pytest.raises(InputError, match="component: is a direction without classes"):
        editor.strengths_to("component")
    with pytest.raises(InputError,
                       match="styled: was found by stylespace, and smile, found by gradctrl, cannot keep it"):
        editor.displace({"smile": 1.0}, keep=["styled"])


# ---- edited latents, and the style space

def test_edited_latents_come_apart_and_together_again(generator: Generator) -> None:
    latent = generator.broadcast(generator.sample(range(7)))
    styles = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    for whole in (EditedLatents(latent), EditedLatents(latent, styles)):
        parts = list(whole.split(3))
        assert [len(part.latent) for part in parts] == [3, 3, 1]
        again = EditedLatents.join(parts)
        assert torch.equal(again.latent, latent)
        assert whole.styles is None if again.styles is None else torch.equal(again.styles, styles)
        picked = whole.select(torch.tensor([6, 0]))
        assert torch.equal(picked.latent, latent[[6, 0]])
        assert picked.styles is None if whole.styles is None else torch.equal(picked.styles, styles[[6, 0]])


def test_latents_without_styles_are_joined_with_none_added(generator: Generator) -> None:
    latent = generator.broadcast(generator.sample(range(3)))
    joined = EditedLatents.join([EditedLatents(latent[:1]), EditedLatents(latent[1:], torch.ones(2, 5))])
    assert torch.equal(joined.latent, latent)
    assert torch.equal(joined.styles, torch.tensor([0.0, 1.0, 1.0])[:, None].expand(-1, 5))


def test_states_are_what_a_control_looks_at(editor: Editor, generator: Generator, controls: Controls) -> None:
    w_plus = generator.sample(range(16)).reshape(2, 8, -1)
    smile, styled = controls["smile"], make_linear(generator, "styled", 0)
    assert torch.equal(editor.states(smile), editor.latent[:, 2:6].mean(dim=1))
    assert torch.equal(editor.states(smile, w_plus), w_plus[:, 2:6].mean(dim=1))
    assert torch.equal(editor.states(smile, w_plus, layers=(4, 12)), w_plus[:, :2].mean(dim=1))
    assert torch.allclose(editor.states(smile, w_plus[:, 0]), w_plus[:, 0], atol=1e-6)
    styles = generator.styles(w_plus)
    assert torch.equal(editor.states(styled, w_plus), styles)
    change = torch.randn(styles.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(editor.states(styled, EditedLatents(w_plus, change)), styles + change)


@pytest.mark.parametrize("layers", [(4, 2048), (8, 16), (24, 2048)])
def test_a_style_edit_changes_the_styles_of_its_layers_alone(generator: Generator, layers: tuple[int, int]) -> None:
    """A direction over all styles, of which the layer range lets some through; w+ stays bit for bit."""
    width = generator.layers[-1].stop
    n = torch.randn(1, width, generator=torch.Generator().manual_seed(0))
    n = n / n.norm()
    control = LinearControl(name="smile", classes=("no", "yes"), layers=layers, found_by="stylespace", directions=n,
                            weights=n, bias=torch.zeros(1))
    editor = Editor(generator, Controls([control]))
    editor.set_latents(generator.sample(range(2)))
    edited = editor.displace({"smile": 1.5})
    assert torch.equal(edited.latent, editor.latent)
    for part in generator.layers:
        changed = edited.styles[:, part.start:part.stop]
        start, stop = generator.rows(layers)
        if start <= part.row < stop:
            assert torch.allclose(changed, 1.5 * n[:, part.start:part.stop].expand(2, -1), atol=1e-6)
        else:
            assert torch.equal(changed, torch.zeros_like(changed))
    expected = to_pixels(generator.render(edited.latent, style_change=edited.styles))
    assert np.abs(editor.edit({"smile": 1.5}).astype(int) - expected).max() <= 1
    assert not np.array_equal(editor.edit({"smile": 1.5}), editor.edit({}))


def test_edits_go_on_from_edits(editor: Editor, generator: Generator, controls: Controls) -> None:
    """In w, and in the styles: one after the other is both at once, where directions are the same everywhere."""
    editor.set_latents(generator.sample(range(3)))
    first = editor.displace({"smile": 1.0})
    editor.set_latents(first)
    assert torch.equal(editor.latent, first.latent)
    made = [make_linear(generator, "smile", 3), make_linear(generator, "age", 40)]
    styled = Editor(generator, Controls(made))
    styled.set_latents(generator.sample(range(3)))
    both = styled.displace({"smile": 1.0, "age": -2.0})
    styled.set_latents(styled.displace({"smile": 1.0}))
    onward = styled.displace({"age": -2.0})
    assert torch.allclose(onward.styles, both.styles, atol=1e-6)
    assert np.array_equal(styled.edit({"age": -2.0}), styled.render(both))


def test_strip_and_frames(editor: Editor) -> None:
    row = strip(editor, "smile", (-1.0, 0.0, 1.0))
    assert row.shape == (32, 96, 3)
    for index, strength in enumerate((-1.0, 0.0, 1.0)):
        assert np.abs(row[:, 32 * index:32 * index + 32].astype(int) - editor.edit({"smile": strength})).max() <= 1
    path = frames(editor, Edit(strengths={"smile": 1.0, "age": 2.0}), 3)
    assert np.abs(path[2].astype(int) - editor.edit({"smile": 1.0, "age": 2.0})).max() <= 1
    assert np.abs(path[0].astype(int) - editor.edit({})).max() <= 1
    assert join(edit_each(editor, [Edit(), Edit(strengths={"age": 1.0})])).shape == (32, 64, 3)


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
    for layers in ((16, 16), (0, 3), (64, 2048)):
        with pytest.raises(InputError, match="holds none of this generator's layers; their sides are 4, 8, 16, 32"):
            editor.edit({"smile": 1.0}, layers=layers)
    with pytest.raises(InputError, match="step"):
        editor.edit({"smile": 1.0}, step=-1.0)
    with pytest.raises(ValueError, match="latent must be"):
        editor.set_latent(torch.zeros(7))


def test_controls_of_another_space_are_refused(generator: Generator, controls: Controls) -> None:
    rounded = Space.of("w", generator.sample(range(4)) * (1 + 1e-3))
    Editor(generator, Controls(list(controls.values()), spaces={"w": rounded}))
    other = Space.of("w", generator.sample(range(4, 8)))
    with pytest.raises(InputError, match=f"space {other.short}.*has {generator.space.short}"):
        Editor(generator, Controls(list(controls.values()), spaces={"w": other}))
    beyond = replace(controls["smile"], layers=(99, 100))
    with pytest.raises(InputError, match="none of this generator's layers"):
        Editor(generator, Controls([beyond]))
    narrow = make_linear(generator, "smile", 0)
    narrow = replace(narrow, directions=narrow.directions[:, :9], weights=narrow.weights[:, :9])
    with pytest.raises(InputError, match="moves styles of 9 numbers, and the generator has"):
        Editor(generator, Controls([narrow]))


def test_a_trial_refuses_what_editing_would_refuse(editor: Editor) -> None:
    editor.check(Edit(strengths={"smile": 20.0}))
    for edit in (Edit(strengths={"beard": 1.0}), Edit(strengths={"smile": 21.0}),
                 Edit(strengths={"smile": 1.0}, step=-1.0),
                 Edit(strengths={"smile": 1.0}, layers=(99, 100)), Edit(strengths={"smile": 1.0}, keep=("beard",))):
        with pytest.raises(InputError):
            editor.check(edit)


def test_small_pictures_of_a_tuned_generator_are_whole_ones_made_smaller(generator: Generator, controls: Controls
                                                                         ) -> None:
    """What a generator draws small does not know the tuning of its last layers."""
    last = list(generator.tunable_weights(generator.img_resolution))[-1]
    side = generator.img_resolution // 2
    record = Projector(generator, ProjectorSettings(steps=1, start="mean")).invert(np.zeros([32, 32, 3], np.uint8))
    change = torch.randn(generator.get_parameter(last).shape) * 0.3
    tuned = replace(record, tuning={last: change}, generator_hash=generator.hash)
    editor = Editor(generator, controls)
    editor.set_latent(tuned)
    whole = editor.edit({"smile": 1.0})
    assert np.array_equal(editor.edit({"smile": 1.0}, side=side), made_smaller(whole, side))
    assert not np.array_equal(editor.edit({"smile": 1.0}, side=side, quick=True), made_smaller(whole, side))
    editor.set_latent(record)
    rounding = editor.edit({}, side=side).astype(int) - editor.edit({}, side=side, quick=True)  # By bfloat16.
    assert np.abs(rounding).mean() < 1


def test_skin_keeps_its_tone_where_the_controls_say_so(generator: Generator, controls: Controls) -> None:
    keeping = Controls([replace(controls.control(name), keeps_tone=True) for name in controls], spaces=controls.spaces)
    editor, plain = Editor(generator, keeping), Editor(generator, controls)
    inverted = generator.sample([1, 2])
    for each in (editor, plain):
        each.set_latents(inverted)
    unedited = editor.edit({})
    assert np.array_equal(editor.edit({"smile": 0.0}), unedited)

    def drift(pictures: np.ndarray) -> float:
        return max(float(np.abs(skin_tone(one) - skin_tone(other)).max())
                   for one, other in zip(pictures, unedited, strict=True))

    def is_near(one: np.ndarray, other: np.ndarray) -> bool:
        """Sums in batches of other sizes are rounded differently: here and there by one level of 255."""
        difference = np.abs(one.astype(int) - other)
        return bool(difference.max() <= 1 and difference.mean() < 0.001)

    edited = editor.edit({"smile": 0.5, "age": -0.5})
    assert drift(edited) < 0.8 * drift(plain.edit({"smile": 0.5, "age": -0.5}))
    # Each alone, in strips and at once is the same; what is drawn quickly is as the generator draws it.
    edits = [Edit(strengths={"smile": strength}) for strength in (0.0, 1.0, 2.0)]
    together = edit_each(editor, edits)
    for number, edit in enumerate(edits):
        assert is_near(together[:, number], editor.edit(edit))
    editor.set_latent(inverted[1], picture=unedited[1])
    assert is_near(editor.edit({"smile": 2.0}), together[1, 2])
    plain.set_latent(inverted[1])
    assert np.array_equal(editor.edit({"smile": 2.0}, quick=True), plain.edit({"smile": 2.0}, quick=True))


def test_one_direction_that_does_not_keep_the_tone_is_enough(generator: Generator, controls: Controls) -> None:
    mixed = Controls([replace(controls.control("smile"), keeps_tone=True), controls["age"]], spaces=controls.spaces)
    editor = Editor(generator, mixed)
    assert editor.keeps_tone(Edit(strengths={"smile": 1}))
    assert not editor.keeps_tone(Edit(strengths={"smile": 1, "age": 1}))
    assert not editor.keeps_tone(Edit())
