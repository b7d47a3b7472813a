"""Several controls made together: each as if alone, with the others on its keep list, and a report of its training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from directions import ALL_LAYERS, GradCtrlControl
from generators import LatentStatistics
from gradctrl import (
    Examples,
    FitExamplesSettings,
    FitScoresSettings,
    Scores,
    fit_examples,
    fit_scores,
    fit_sensitivity,
    projected_direction,
)
from gradctrl.prepare import prepare
from learning import fit_to_examples, fit_to_scores
from learning.accuracy import accuracy_report
from weights.errors import InputError

D = 16
FIT = FitScoresSettings(hidden=16, networks=2, epochs=40)
FEW = FitExamplesSettings(hidden=6, epochs=20)
ROWS = 8


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(1200, D, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.2, D)


@pytest.fixture(scope="module")
def metric(latents: Tensor) -> LatentStatistics:
    return LatentStatistics.of(latents)


@pytest.fixture(scope="module")
def scores(latents: Tensor) -> list[Scores]:
    smile = torch.stack([torch.zeros(len(latents)), 3 * latents[:, 0]], dim=1)
    return [Scores(attribute="smile", classes=("serious", "smiling"), values=smile, scorer="formula"),
            Scores(attribute="hair", classes=("black", "brown", "blond"), values=3 * latents[:, 1:4], scorer="formula"),
            Scores(attribute="pose", classes=("left", "front", "right"), scorer="formula", ordered=True,
                   values=-(latents[:, 4:5] - torch.tensor([-1.2, 0.0, 1.2])).abs() * 3,
                   known=torch.arange(len(latents)) % 3 != 0)]


@pytest.fixture(scope="module")
def examples(scores: list[Scores]) -> dict[str, Examples]:
    return {item.attribute: prepare(item, count=20, validation=10) for item in scores}


@pytest.fixture(scope="module")
def held_out() -> Tensor:
    return torch.arange(1000, 1200)


@pytest.fixture(scope="module")
def fitted(latents: Tensor, scores: list[Scores], metric: LatentStatistics, held_out: Tensor) -> list[GradCtrlControl]:
    return fit_to_scores(latents, scores, statistics=metric, held_out=held_out, settings=FIT)


@pytest.fixture(scope="module")
def trained(latents: Tensor, scores: list[Scores], examples: dict[str, Examples]) -> list[GradCtrlControl]:
    return fit_to_examples(latents, scores, examples, settings=FEW)


def same(a: GradCtrlControl, b: GradCtrlControl) -> bool:
    return all(torch.equal(tensor, b.tensors()[name]) for name, tensor in a.tensors().items())


def test_together_equals_one_by_one(latents: Tensor, scores: list[Scores], examples: dict[str, Examples],
                                    metric: LatentStatistics, held_out: Tensor, fitted: list[GradCtrlControl],
                                    trained: list[GradCtrlControl]) -> None:
    for index, item in enumerate(scores):
        alone, = fit_to_scores(latents, [item], statistics=metric, held_out=held_out, settings=FIT)
        assert same(fitted[index], alone)
        assert fitted[index].report == alone.report
        alone, = fit_to_examples(latents, [item], examples, settings=FEW)
        assert same(trained[index], alone)
        assert trained[index].report == alone.report


def test_they_are_the_classifiers_of_the_two_trainings(latents: Tensor, scores: list[Scores], metric: LatentStatistics,
                                                       examples: dict[str, Examples], fitted: list[GradCtrlControl],
                                                       trained: list[GradCtrlControl]) -> None:
    part = Scores(attribute="smile", classes=scores[0].classes, values=scores[0].values[:1000], scorer="formula")
    expected = fit_scores(latents[:1000], part, metric, settings=FIT)
    assert torch.equal(fitted[0].classifier.hidden_weight, expected.hidden_weight)
    hair = examples["hair"]
    expected = fit_examples(latents[hair.train], hair.train_labels, classes=3, settings=FEW,
                                validation=(latents[hair.validation], hair.validation_labels))
    assert torch.equal(trained[1].classifier.hidden_weight, expected.hidden_weight)


def test_names_classes_and_keep_lists(fitted: list[GradCtrlControl], trained: list[GradCtrlControl],
                                      metric: LatentStatistics) -> None:
    for controls in (fitted, trained):
        assert [control.name for control in controls] == ["smile", "hair", "pose"]
        assert [dict(control.keep) for control in controls] == [
            {"hair": 100, "pose": 100}, {"smile": 100, "pose": 100}, {"smile": 100, "hair": 100}]
        assert [control.classes for control in controls] == [
            ("serious", "smiling"), ("black", "brown", "blond"), ("left", "front", "right")]
        assert [control.outputs for control in controls] == [1, 3, 3]
        assert [control.ordered for control in controls] == [False, False, True]
        assert {control.layers for control in controls} == {ALL_LAYERS}
    assert {(control.keeping, control.statistics) for control in fitted} == {("projection", metric)}
    assert {(control.keeping, control.statistics) for control in trained} == {("masks", None)}


def test_what_is_held_out_is_not_trained_on(latents: Tensor, scores: list[Scores], metric: LatentStatistics,
                                            held_out: Tensor,
                                            fitted: list[GradCtrlControl]) -> None:
    spoilt = [replace(item, values=item.values.index_fill(0, held_out, 50.0)) for item in scores]
    again = fit_to_scores(latents, spoilt, statistics=metric, held_out=held_out, settings=FIT)
    assert all(same(a, b) for a, b in zip(fitted, again, strict=True))


def test_the_report_tells_on_how_many_and_how_well(latents: Tensor, scores: list[Scores], held_out: Tensor,
                                                   fitted: list[GradCtrlControl], examples: dict[str, Examples],
                                                   trained: list[GradCtrlControl]) -> None:
    unknown = sum(index % 3 == 0 for index in range(1000))
    for control, item, count in zip(fitted, scores, (1000, 1000, 1000 - unknown), strict=True):
        known = held_out[item.mask[held_out]]
        assert control.report == {"trained on": f"scores of {count} samples", "scorer": "formula",
                                  "held out": accuracy_report(control, latents[known], item.labels[known])}
        assert control.report["held out"]["accuracy"] > 0.6  # type: ignore[index]
    assert fitted[2].report["held out"]["samples"] == sum(index % 3 != 0 for index in range(1000, 1200))  # type: ignore[index]
    for control, counts in zip(trained, ("20, 20", "20, 20, 20", "20, 20, 20"), strict=True):
        found = examples[control.name]
        assert control.report == {
            "trained on": f"examples a class: {counts}", "scorer": "formula",
            "held out": accuracy_report(control, latents[found.validation], found.validation_labels)}


def test_examples_are_checked_on_what_is_held_out_if_it_is_given(latents: Tensor, scores: list[Scores],
                                                                 examples: dict[str, Examples], held_out: Tensor,
                                                                 metric: LatentStatistics) -> None:
    made = fit_to_examples(latents, scores, examples, settings=FEW, held_out=held_out,
                               keeping="projection", statistics=metric)
    assert made[0].report["held out"] == accuracy_report(made[0], latents[held_out], scores[0].labels[held_out])
    assert {(control.keeping, control.statistics) for control in made} == {("projection", metric)}


def test_without_anything_held_out_there_is_no_accuracy_to_tell(latents: Tensor, scores: list[Scores],
                                                                metric: LatentStatistics) -> None:
    control, = fit_to_scores(latents, scores[:1], statistics=metric, settings=FIT)
    assert control.report == {"trained on": "scores of 1200 samples", "scorer": "formula"}
    none = {"smile": prepare(scores[0], count=20, validation=0)}
    control, = fit_to_examples(latents, scores[:1], none, settings=FEW)
    assert control.report == {"trained on": "examples a class: 20, 20", "scorer": "formula"}


def test_gradients_teach_and_tell_how_much_scores_change(latents: Tensor, scores: list[Scores],
                                                         metric: LatentStatistics, held_out: Tensor,
                                                         fitted: list[GradCtrlControl]) -> None:
    gradients = torch.randn(50, 2, latents.shape[1], generator=torch.Generator().manual_seed(3))
    with_them = fit_to_scores(latents, scores, statistics=metric, held_out=held_out, settings=FIT,
                              gradients={"smile": gradients})
    assert with_them[0].report["trained on"] == "scores of 1000 samples, gradients of 50"
    assert with_them[0].sensitivity is not None
    assert torch.equal(with_them[0].sensitivity, fit_sensitivity(gradients, replace(
        scores[0], known=torch.arange(len(latents)) < 1000), metric))
    assert not torch.equal(with_them[0].classifier.hidden_weight, fitted[0].classifier.hidden_weight)
    assert all(same(a, b) and a.sensitivity is None for a, b in zip(fitted[1:], with_them[1:], strict=True))


def test_a_control_keeps_softly_what_has_a_sensitivity(latents: Tensor, metric: LatentStatistics,
                                                       fitted: list[GradCtrlControl]) -> None:
    smile, hair, pose = fitted
    sensitivity = torch.randn(4, latents.shape[1], generator=torch.Generator().manual_seed(4))
    soft = replace(hair, sensitivity=sensitivity)
    found = smile.direction(latents[:5], keep=[(soft, 0), (pose, 0)])
    assert torch.equal(found, projected_direction(smile.classifier, latents[:5], keep=[pose.classifier],
                                                  soft=[sensitivity], statistics=metric, radius=smile.radius,
                                                  shell=smile.shell))
    assert not torch.allclose(found, smile.direction(latents[:5], keep=[(hair, 0), (pose, 0)]), atol=1e-3)


def test_what_does_not_fit_is_refused(latents: Tensor, scores: list[Scores], examples: dict[str, Examples],
                                      metric: LatentStatistics) -> None:
    with pytest.raises(InputError, match="hair: has no examples among smile; prepare them"):
        fit_to_examples(latents, scores, {"smile": examples["smile"]}, settings=FEW)
    with pytest.raises(InputError, match="smile: there are 1199 latents and 1200 scores"):
        fit_to_examples(latents[:-1], scores, examples, settings=FEW)
    with pytest.raises(InputError, match="smile: there are 1199 latents and 1200 scores"):
        fit_to_scores(latents[:-1], scores, statistics=metric, held_out=torch.tensor([0]), settings=FIT)
    with pytest.raises(InputError, match="smile: only 100 samples have scores"):
        fit_to_scores(latents, scores, statistics=metric, held_out=torch.arange(1100), settings=FIT)
