"""Fitting the families on latent spaces whose answer is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from directions import ALL_LAYERS, LinearControl, fit_interfacegan, ganspace_candidates, stylespace_candidates
from directions.boundaries import belonging, most_confident, outputs_of
from directions.ganspace import fit_components
from directions.stylespace import attribute_channels, styles_of
from generators import Generator, StyleGAN2, StyleGAN2Config, in_quickest_precision
from gradctrl import Scores
from learning.candidates import pick_by_pictures
from weights.errors import InputError

D = 20
DEVIATIONS = torch.linspace(3.0, 0.2, D)
FITS: dict[str, Callable[..., Any]] = {"interfacegan": fit_interfacegan, "ganspace": ganspace_candidates}


@pytest.fixture(scope="module")
def axes() -> Tensor:
    """The principal axes [D, D] of the latents, as rows."""
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(3)))[0].T


@pytest.fixture(scope="module")
def latents(axes: Tensor) -> Tensor:
    normal = torch.randn(3000, D, generator=torch.Generator().manual_seed(4))
    return (normal * DEVIATIONS) @ axes + 0.5


def binary(name: str, values: Tensor, **settings: Any) -> Scores:
    """Scores with the given log-odds [N]."""
    return Scores(attribute=name, classes=("no", "yes"), values=torch.stack([torch.zeros_like(values), values], dim=1),
                  scorer="formula", **settings)


@pytest.fixture(scope="module")
def coordinates(latents: Tensor, axes: Tensor) -> Tensor:
    """Standard scores [N, D] of the latents along their axes."""
    return (latents - latents.mean(dim=0)) @ axes.T / DEVIATIONS


@pytest.fixture(scope="module")
def scores(coordinates: Tensor) -> dict[str, Scores]:
    """Smile follows axis 2, age falls along axis 5; hair has a class for each of axes 7 to 9; pose turns along 1."""
    noise = torch.randn(coordinates.shape, generator=torch.Generator().manual_seed(6)) * 0.2
    c = coordinates + noise
    turns = -(c[:, 1:2] - torch.tensor([-1.2, 0.0, 1.2])).abs() * 3
    return {"smile": binary("smile", 3 * c[:, 2] - 1), "age": binary("age", -2 * c[:, 5]),
            "hair": Scores(attribute="hair", classes=("black", "brown", "blond"), values=3 * c[:, 7:10],
                           scorer="formula"),
            "pose": Scores(attribute="pose", classes=("left", "front", "right"), values=turns, scorer="formula",
                           ordered=True)}


def part_of(scores: Mapping[str, Scores], count: int) -> dict[str, Scores]:
    return {name: Scores(attribute=name, classes=found.classes, values=found.values[:count], scorer=found.scorer,
                         ordered=found.ordered) for name, found in scores.items()}


@pytest.fixture(scope="module")
def interfacegan(latents: Tensor, scores: dict[str, Scores]) -> dict[str, LinearControl]:
    return {control.name: control for control in fit_interfacegan(latents, scores)}


@pytest.fixture(scope="module")
def ganspace(latents: Tensor, scores: dict[str, Scores]) -> dict[str, list[LinearControl]]:
    return ganspace_candidates(latents, scores, best=3)


def test_outputs_stand_for_classes(scores: dict[str, Scores]) -> None:
    assert outputs_of(scores["smile"]) == [(1,)]
    assert outputs_of(scores["hair"]) == [(0,), (1,), (2,)]
    assert outputs_of(scores["pose"]) == [(0,), (1, 2), (2,)]


def test_log_odds_of_one_class_are_those_of_the_scores(scores: dict[str, Scores]) -> None:
    for found in scores.values():
        for index in range(len(found.classes)):
            assert torch.allclose(belonging(found, [index]), found.log_odds[:, index], atol=1e-5)


def test_examples_are_the_most_confident_of_each_class(scores: dict[str, Scores]) -> None:
    found = scores["hair"]
    samples = most_confident(found, [0, 2], 40)
    assert found.labels[samples].bincount().tolist() == [20, 0, 20]
    for index in (0, 2):
        chosen = samples[found.labels[samples] == index]
        rest = (found.labels == index).nonzero()[:, 0]
        rest = rest[~torch.isin(rest, chosen)]
        assert found.log_odds[chosen, index].min() >= found.log_odds[rest, index].max()


def test_interfacegan_finds_the_normals(interfacegan: dict[str, LinearControl], axes: Tensor) -> None:
    """In units of their deviation the log-odds rise along one axis; the boundary's normal is that axis too."""
    assert interfacegan["smile"].directions[0] @ axes[2] > 0.95
    assert interfacegan["age"].directions[0] @ axes[5] < -0.95
    assert interfacegan["pose"].directions[0] @ axes[1] < -0.95
    assert interfacegan["pose"].directions[2] @ axes[1] > 0.95
    for output, axis in enumerate((7, 8, 9)):
        own = interfacegan["hair"].directions[output] @ axes.T
        assert own.argmax() == axis
        assert (own[[7, 8, 9]] * DEVIATIONS[[7, 8, 9]]).sum() < own[axis] * DEVIATIONS[axis]  # Away from the others.


def test_own_scores_agree_with_the_scores(interfacegan: dict[str, LinearControl],
                                          ganspace: dict[str, list[LinearControl]], latents: Tensor,
                                          scores: dict[str, Scores]) -> None:
    for name, control in interfacegan.items():
        for candidate in (control, *ganspace[name]):
            agree = (candidate.predict(latents) == scores[name].labels).float().mean()
            assert agree > 0.85, (name, candidate.method)
            positive = candidate.scores(latents) > 0
            truth = torch.stack([scores[name].labels == j for j in range(len(scores[name].classes))], dim=1)
            truth = truth[:, 1:] if candidate.binary else truth
            assert ((positive == truth).float().mean(dim=0) > 0.85).all(), name


def test_own_scores_are_log_odds(latents: Tensor, coordinates: Tensor) -> None:
    """Of samples whose score says 0.7 to 0.9, about 0.8 have the label: labels are drawn with a known probability."""
    truth = 2 * coordinates[:, 2] + 0.5
    drawn = torch.rand(len(truth), generator=torch.Generator().manual_seed(1)) < truth.sigmoid()
    label = binary("smile", torch.where(drawn, 1.0, -1.0), graded=False)
    control, = fit_interfacegan(latents, {"smile": label}, regularisation=0.1)
    probability = control.scores(latents)[:, 0].sigmoid()
    for low in (0.1, 0.3, 0.5, 0.7):
        within = (probability > low) & (probability < low + 0.2)
        assert abs(drawn[within].float().mean() - (low + 0.1)) < 0.06


def test_interfacegan_keeps_the_others_by_default(interfacegan: dict[str, LinearControl], latents: Tensor) -> None:
    for name, control in interfacegan.items():
        assert set(control.keep) == set(interfacegan) - {name}
        keep = [(interfacegan[other], count) for other, count in control.keep.items()]
        for target in range(control.outputs):
            n = control.direction(latents[:5], target, keep)
            for other, _ in keep:
                assert (n @ other.directions.T).abs().max() < 1e-5


@pytest.mark.parametrize("start", [-2.0, 2.0])
def test_a_middle_class_is_reached_from_both_sides(interfacegan: dict[str, LinearControl], latents: Tensor,
                                                   axes: Tensor, start: float) -> None:
    pose = interfacegan["pose"]
    here = latents.mean(dim=0)[None] + start * DEVIATIONS[1] * axes[1:2]
    before = pose.predict(here)
    for _ in range(100):
        if pose.score_of(here, 1) > 0:
            break
        here = here + 0.1 * pose.direction(here, 1)
    assert before.item() == (0 if start < 0 else 2)
    assert pose.predict(here).item() == 1


def test_strength_one_takes_half_of_the_samples_across(interfacegan: dict[str, LinearControl],
                                                       latents: Tensor) -> None:
    for name in ("smile", "age"):
        control = interfacegan[name]
        before = control.scores(latents)[:, 0]
        towards = torch.where(before > 0, -1.0, 1.0)[:, None] * control.units[0]
        after = control.scores(latents + towards * control.direction(latents))[:, 0]
        assert abs(((before > 0) != (after > 0)).float().mean() - 0.5) < 0.01


def test_components_are_the_axes(latents: Tensor, axes: Tensor) -> None:
    mean, components, deviations = fit_components(latents, 6)
    assert torch.allclose(mean, latents.mean(dim=0), atol=1e-5)
    assert torch.allclose(components @ components.T, torch.eye(6), atol=1e-5)
    assert torch.allclose(deviations, ((latents - mean) @ components.T).std(dim=0), atol=1e-4)
    assert (deviations.diff() <= 0).all()
    _, few, _ = fit_components(latents[:4], 50)
    assert len(few) == 3  # Four points span three dimensions.


def test_ganspace_finds_the_component_and_its_sign(ganspace: dict[str, list[LinearControl]], axes: Tensor) -> None:
    assert ganspace["smile"][0].directions[0] @ axes[2] > 0.9
    assert ganspace["age"][0].directions[0] @ axes[5] < -0.9
    assert ganspace["pose"][0].directions[0] @ axes[1] < -0.9
    assert ganspace["pose"][0].directions[1] @ axes[1] > 0.9
    assert ganspace["pose"][0].directions[2] @ axes[1] > 0.9
    for output, axis in enumerate((7, 8, 9)):
        assert ganspace["hair"][0].directions[output] @ axes[axis] > 0.8
    for group in ganspace.values():
        ranks = [[told["rank"] for told in control.report["outputs"]] for control in group]  # type: ignore[attr-defined]
        assert (torch.tensor(ranks).diff(dim=0) <= 0).all()


def test_a_component_that_two_attributes_share_ranks_lower(coordinates: Tensor, latents: Tensor) -> None:
    """Alone, smile prefers axis 2 to axis 4; once age follows axis 2 too, axis 4 is the better choice."""
    smile = binary("smile", 2.2 * coordinates[:, 2] + 2 * coordinates[:, 4])
    age = binary("age", 3 * coordinates[:, 2])

    def first(scores: dict[str, Scores]) -> Any:
        return ganspace_candidates(latents, scores, best=1)["smile"][0].report["outputs"]

    assert first({"smile": smile})[0]["component"] == 2
    assert first({"smile": smile, "age": age})[0]["component"] == 4


@pytest.mark.parametrize("method", FITS)
def test_fitting_is_deterministic(method: str, latents: Tensor, scores: dict[str, Scores]) -> None:
    def fit() -> list[LinearControl]:
        found = FITS[method](latents[:800], part_of(scores, 800))
        return found if method == "interfacegan" else [control for group in found.values() for control in group]

    torch.manual_seed(1)
    first = fit()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    for a, b in zip(first, fit(), strict=True):
        assert all(torch.equal(a.tensors()[part], b.tensors()[part]) for part in a.tensors())
        assert (a.units, a.report) == (b.units, b.report)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", FITS)
def test_samples_without_a_score_do_not_count(method: str, latents: Tensor, scores: dict[str, Scores]) -> None:
    known = torch.arange(1000) % 3 > 0
    values = scores["smile"].values[:1000, 1]
    found = []
    for blank in (torch.nan, 50.0):
        smile = binary("smile", torch.where(known, values, blank), known=known)
        result = FITS[method](latents[:1000], {"smile": smile, "age": part_of(scores, 1000)["age"]})
        found.append(result[0] if method == "interfacegan" else result["smile"][0])
    assert all(torch.equal(found[0].tensors()[part], found[1].tensors()[part]) for part in found[0].tensors())
    assert found[0].report["samples"] == int(known.sum())


def test_examples_are_the_share_that_was_asked_for(latents: Tensor, scores: dict[str, Scores]) -> None:
    for share, count in ((0.02, 60), (0.1, 300), (0.001, 30)):
        control, = fit_interfacegan(latents, {"smile": scores["smile"]}, share=share)
        assert control.report["outputs"][0]["examples"] == [count, count]  # type: ignore[index]
    labels = binary("smile", (scores["smile"].values[:, 1] > 0).float() * 2 - 1, graded=False)
    control, = fit_interfacegan(latents, {"smile": labels})
    positive = int((scores["smile"].values[:, 1] > 0).sum())
    assert control.report["outputs"][0]["examples"] == [positive, 3000 - positive]  # type: ignore[index]


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(3)
    config = StyleGAN2Config(img_resolution=32, channels=(24, 16, 12, 8), z_dim=32, w_dim=D, mapping_layers=2)
    generator = StyleGAN2(config).requires_grad_(False).eval()
    with torch.no_grad():
        generator.synthesis.b8.conv0.affine.weight[5] = 0  # A channel that never changes.
    return generator


@pytest.fixture(scope="module")
def style_scores(generator: Generator, latents: Tensor) -> dict[str, Scores]:
    """Smile follows channel 3, age falls along 40, pose turns along 77; hair has classes along 150 and 110."""
    styles = generator.styles(latents)
    c = (styles - styles.mean(dim=0)) / styles.std(dim=0).clamp_min(1e-6)
    hair = torch.stack([c[:, 150], -c[:, 150], c[:, 110]], dim=1)
    return {"smile": binary("smile", 3 * c[:, 3]), "age": binary("age", -3 * c[:, 40]),
            "pose": Scores(attribute="pose", classes=("left", "front", "right"), ordered=True, scorer="formula",
                           values=-(c[:, 77:78] - torch.tensor([-1.2, 0.0, 1.2])).abs() * 3),
            "hair": Scores(attribute="hair", classes=("black", "blond", "grey"), values=3 * hair, scorer="formula")}


def test_styles_are_computed_in_parts(generator: Generator, latents: Tensor) -> None:
    assert torch.allclose(styles_of(generator, latents), generator.styles(latents), atol=1e-5)


def test_channel_relevance_is_the_papers() -> None:
    styles = torch.randn(200, 6, generator=torch.Generator().manual_seed(1)) * torch.arange(6)
    exemplars = torch.tensor([3, 5, 8, 100])
    relevance, shift = attribute_channels(styles, exemplars)
    for channel in range(1, 6):
        delta = (styles[exemplars, channel] - styles[:, channel].mean()) / styles[:, channel].std()
        assert torch.allclose(relevance[channel], delta.mean().abs() / delta.std(), atol=1e-5)
        assert torch.allclose(shift[channel], delta.mean(), atol=1e-5)
    assert relevance[0] == 0  # It never changes.


def test_stylespace_finds_the_channel_and_its_sign(generator: Generator, latents: Tensor,
                                                   style_scores: dict[str, Scores]) -> None:
    found = stylespace_candidates(generator, latents, style_scores, best=4)
    expected = {"smile": [(3, 1)], "age": [(40, -1)], "pose": [(77, -1), None, (77, 1)],
                "hair": [(150, 1), (150, -1), (110, 1)]}
    for name, rows in expected.items():
        first = found[name][0]
        for output, answer in enumerate(rows):
            direction = first.directions[output]
            assert (direction != 0).sum() == 1
            if answer is not None:  # What front or right have in common is no channel's.
                assert direction[answer[0]] == answer[1], (name, output)
                part, = (part for part in generator.layers if part.start <= answer[0] < part.stop)
                told = first.report["outputs"][output]  # type: ignore[index]
                assert (told["layer"], told["channel"]) == (part.name, answer[0] - part.start)
        assert (first.moves, first.layers, len(found[name])) == ("styles", ALL_LAYERS, 4)
        styles = generator.styles(latents)
        assert (first.predict(styles) == style_scores[name].labels).float().mean() > 0.85, name
        chosen = torch.stack([control.directions[0].abs().argmax() for control in found[name]])
        assert len(chosen.unique()) == 4


def brightness(pictures: Tensor) -> dict[str, Tensor]:
    """An image classifier: smile is how bright the upper half is, age how dark the lower half is."""
    top, bottom = pictures[:, :, :16].mean(dim=[1, 2, 3]), pictures[:, :, 16:].mean(dim=[1, 2, 3])
    return {name: torch.stack([torch.zeros_like(v), 4 * v], dim=1) for name, v in (("smile", top), ("age", -bottom))}


@pytest.fixture(scope="module")
def seen(generator: Generator, latents: Tensor) -> dict[str, Scores]:
    logits = brightness(generator.render(latents[:600]))
    return {name: binary(name, values[:, 1] - values[:, 1].median()) for name, values in logits.items()}


@pytest.mark.parametrize("method", ["ganspace", "stylespace"])
def test_pictures_pick_the_direction_that_changes_them(generator: Generator, latents: Tensor, seen: dict[str, Scores],
                                                       method: str) -> None:
    latents = latents[:600]
    candidates = (ganspace_candidates(latents, seen, best=6) if method == "ganspace"
                  else stylespace_candidates(generator, latents, seen, best=6))
    turned = {name: [LinearControl(**{**vars(control), "directions": -control.directions}) for control in group]
              for name, group in candidates.items()}
    told: list[tuple[int, int]] = []
    picked = pick_by_pictures(generator, latents, seen, candidates, brightness, best=3, samples=4,
                              on_step=lambda done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(1, 13)]
    again = pick_by_pictures(generator, latents, seen, turned, brightness, best=3, samples=4)
    for name, group in picked.items():
        assert len(group) == 3
        ranks = [control.report["outputs"][0]["rank in pictures"] for control in group]  # type: ignore[index]
        assert ranks == sorted(ranks, reverse=True)
        for control, other in zip(group, again[name], strict=True):
            assert torch.equal(control.directions, other.directions)  # Whichever way round they came.
            slope = control.report["outputs"][0]["slope"]  # type: ignore[index]
            ahead, behind = (brightness(shifted(in_quickest_precision(generator), control, latents[:4], sign * reach_of(
                control, generator, latents)))[name][:, 1].mean() for sign in (1, -1))
            assert ahead > behind
            assert abs((ahead - behind) / (2 * reach_of(control, generator, latents)) - slope) < 1e-3 * slope + 1e-6


def reach_of(control: LinearControl, generator: Generator, latents: Tensor) -> float:
    x = latents if control.moves == "w" else generator.styles(latents)
    return (2 if control.moves == "w" else 10) * float((x @ control.directions[0]).std())


def shifted(generator: Generator, control: LinearControl, latents: Tensor, length: float) -> Tensor:
    """Pictures of latents moved along the control's direction."""
    step = (length * control.directions).expand(len(latents), -1)
    return (generator.render(latents + step) if control.moves == "w"
            else generator.render(latents, style_change=step))


def test_scores_of_style_channels_gain_what_pictures_gain(generator: Generator, latents: Tensor,
                                                          seen: dict[str, Scores]) -> None:
    latents = latents[:600]
    candidates = stylespace_candidates(generator, latents, seen, best=2)
    mean = generator.styles(latents).mean(dim=0, keepdim=True)
    for name, group in pick_by_pictures(generator, latents, seen, candidates, brightness, best=1, samples=4).items():
        slope = group[0].report["outputs"][0]["slope"]  # type: ignore[index]
        gained = group[0].scores(mean + group[0].directions) - group[0].scores(mean)
        assert torch.allclose(gained, torch.tensor([[slope]]), rtol=1e-3, atol=1e-4)
        assert torch.allclose(group[0].scores(mean), candidates[name][0].scores(mean), atol=1e-3)


def test_bad_input_is_refused(latents: Tensor, scores: dict[str, Scores], generator: Generator) -> None:
    fits: list[Callable[[Tensor, dict[str, Scores]], Any]] = [
        lambda x, s: fit_interfacegan(x, s), lambda x, s: ganspace_candidates(x, s),
        lambda x, s: stylespace_candidates(generator, x, s)]
    lonely = binary("smile", torch.full([len(latents)], -1.0))
    lonely.values[0, 1] = 1
    for fit in fits:
        with pytest.raises(InputError, match="smile: scores by formula are of 3000 samples, but there are 2999"):
            fit(latents[1:], scores)
        with pytest.raises(InputError, match="not finite"):
            fit(torch.cat([latents[1:], torch.full([1, D], torch.inf)]), scores)
        with pytest.raises(InputError, match="smile: 1 samples are yes by formula"):
            fit(latents, {"smile": lonely})
        with pytest.raises(InputError, match="score the samples first"):
            fit(latents, {})
    with pytest.raises(InputError, match="do not tell"):
        fit_interfacegan(torch.ones_like(latents), {"smile": scores["smile"]})
    with pytest.raises(InputError, match="ask for fewer"):
        ganspace_candidates(latents, scores, best=D + 1)
    with pytest.raises(ValueError, match="count"):
        fit_components(latents, 0)


def test_without_scikit_learn_the_message_says_what_to_install(
        latents: Tensor, scores: dict[str, Scores], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(InputError, match=r"pip install 'gradctrl\[evaluate\]'"):
        fit_interfacegan(latents, scores)
