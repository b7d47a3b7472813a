"""Controls fitted to scores: what they learn, that they are the mean of their networks, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from generators import LatentStatistics
from gradctrl import FitScoresSettings, Scores, fit_scores, fit_sensitivity
from gradctrl.classifier import SLOPE
from gradctrl.fitting import FEWEST, _fold
from weights.errors import InputError

D = 24
SHORT = FitScoresSettings(epochs=3)


@pytest.fixture(scope="module")
def latents() -> Tensor:
    """w [3000, D] whose deviations span a factor of a hundred, along turned axes."""
    rng = torch.Generator().manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(D, D, generator=rng))
    return torch.randn(3000, D, generator=rng) * torch.logspace(0.5, -1.5, D) @ axes + 1


@pytest.fixture(scope="module")
def metric(latents: Tensor) -> LatentStatistics:
    return LatentStatistics.of(latents)


@pytest.fixture(scope="module")
def truth(latents: Tensor, metric: LatentStatistics) -> Tensor:
    """Nonlinear log-odds [N]: no plane's normal is their gradient."""
    p = metric.standardise(latents)
    return 2 * p[:, 0] + 1.5 * p[:, 1].abs() - 2 * (p[:, 2] * p[:, 0]).tanh() - 1


def binary(values: Tensor, **more: object) -> Scores:
    return Scores(attribute="smile", classes=("no", "yes"), scorer="formula",
                  values=torch.stack([torch.zeros_like(values), values], dim=1), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hair(latents: Tensor, metric: LatentStatistics) -> Scores:
    p = metric.standardise(latents)
    return Scores(attribute="hair", classes=("black", "brown", "blond"), scorer="formula",
                  values=torch.stack([2 * p[:, 0], 2 * p[:, 1].abs(), 1 - p[:, 2]], dim=1))


def explained(found: Tensor, truth: Tensor) -> float:
    """R^2."""
    return float(1 - (found - truth).square().sum() / (truth - truth.mean(dim=0)).square().sum())


def test_it_learns_a_nonlinear_score_in_its_own_units(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    classifier = fit_scores(latents[:2400], binary(truth[:2400]), metric)
    found = classifier.logits(latents[2400:])[:, 0]
    assert explained(found, truth[2400:]) > 0.95
    design = torch.cat([metric.standardise(latents), torch.ones(len(latents), 1)], dim=1)
    linear = design[2400:] @ torch.linalg.lstsq(design[:2400], truth[:2400, None]).solution[:, 0]
    assert explained(linear, truth[2400:]) < 0.8  # The score is one that needs the hidden layer.


def test_several_classes_are_learned_against_their_mean(latents: Tensor, metric: LatentStatistics,
                                                        hair: Scores) -> None:
    shared = 100 * torch.randn(2400, 1, generator=torch.Generator().manual_seed(6))  # Says nothing of the class.
    part = replace(hair, values=hair.values[:2400] + shared)
    classifier = fit_scores(latents[:2400], part, metric)
    found = classifier.logits(latents[2400:])
    expected = hair.values[2400:] - hair.values[2400:].mean(dim=1, keepdim=True)
    assert explained(found, expected) > 0.95
    assert (found.argmax(dim=1) == hair.labels[2400:]).float().mean() > 0.85


def test_scores_count_up_to_the_clip(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    found = fit_scores(latents, binary(truth), metric,
                       settings=FitScoresSettings(epochs=10, clip=0.5)).logits(latents)[:, 0]
    far = (truth - truth.mean()).abs() > truth.std()
    assert (found - truth.mean()).abs()[far].median() < 0.75 * truth.std()  # Of the truth it is above 1.
    assert ((found > truth.mean()) == (truth > truth.mean())).float().mean() > 0.85


def test_it_is_the_same_for_the_same_seed_and_leaves_the_random_state_alone(latents: Tensor, metric: LatentStatistics,
                                                                            truth: Tensor) -> None:
    before = torch.get_rng_state()
    a, b = (fit_scores(latents, binary(truth), metric, settings=SHORT) for _ in range(2))
    other = fit_scores(latents, binary(truth), metric, settings=replace(SHORT, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in a.tensors().items():
        assert torch.equal(tensor, b.tensors()[name])
    assert not torch.equal(a.hidden_weight, other.hidden_weight)


def test_samples_without_a_score_have_no_effect(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    known = torch.rand(len(truth), generator=torch.Generator().manual_seed(2)) < 0.5
    spoilt = torch.where(known, truth, torch.nan)
    a = fit_scores(latents, binary(spoilt, known=known), metric, settings=SHORT)
    b = fit_scores(latents[known], binary(truth[known]), metric, settings=SHORT)
    for name, tensor in a.tensors().items():
        assert torch.equal(tensor, b.tensors()[name])


def test_the_classifier_is_the_mean_of_its_networks(latents: Tensor, metric: LatentStatistics) -> None:
    rng = torch.Generator().manual_seed(4)
    k, h, c = len(metric.axes), 5, 3
    weights = [torch.randn(4, *shape, generator=rng) for shape in ((k, h), (1, h), (h, c), (1, c))]
    middle, spread = torch.tensor([1.0, -2.0, 0.5]), torch.tensor(3.0)
    p = metric.standardise(latents[:100])
    networks = [F.leaky_relu(p @ w1 + b1, SLOPE) @ w2 + b2 for w1, b1, w2, b2 in zip(*weights, strict=True)]
    expected = torch.stack(networks).mean(dim=0) * spread + middle
    assert torch.allclose(_fold(weights, metric, middle, spread).logits(latents[:100]), expected, atol=1e-3)


def test_several_networks_err_less_than_one(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    noisy = binary(truth[:600] + torch.randn(600, generator=torch.Generator().manual_seed(3)))

    def error(networks: int) -> float:
        settings = FitScoresSettings(networks=networks, hidden=16, epochs=20)
        return float((fit_scores(latents[:600], noisy, metric, settings=settings).logits(latents[2400:])[:, 0]
                      - truth[2400:]).square().mean())

    assert error(8) < error(1)


def test_settings_are_honoured(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    made = fit_scores(latents, binary(truth), metric, settings=replace(SHORT, hidden=7, networks=3))
    assert (made.hidden_weight.shape, made.outputs) == ((21, D), 1)

    def change(**settings: float) -> float:
        """How far the first layer goes from where the seed puts it."""
        start = fit_scores(latents, binary(truth), metric, settings=FitScoresSettings(epochs=1, learning_rate=1e-9))
        end = fit_scores(latents, binary(truth), metric, settings=FitScoresSettings(epochs=1, **settings))
        return float((end.hidden_weight - start.hidden_weight).norm())

    assert change(learning_rate=1e-4) < change(learning_rate=1e-3) / 3
    assert change(learning_rate=1e-3, batch=64) > change(learning_rate=1e-3, batch=1024)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_comes_in_the_dtype_of_the_latents(latents: Tensor, metric: LatentStatistics, truth: Tensor,
                                              dtype: torch.dtype) -> None:
    made = fit_scores(latents.to(dtype), binary(truth), metric.to("cpu", dtype), settings=SHORT)
    assert {tensor.dtype for tensor in made.tensors().values()} == {dtype}


def test_constant_scores_give_a_flat_classifier(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    made = fit_scores(latents, binary(torch.full_like(truth, 2.5)), metric)
    assert torch.allclose(made.logits(latents), torch.full([len(latents), 1], 2.5), atol=1e-2)


def test_labels_are_refused(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    with pytest.raises(InputError, match=r"smile: labels\.csv gives labels, not degrees; train on examples"):
        fit_scores(latents, replace(binary((truth > 0).float()), graded=False, scorer="labels.csv"), metric)


def test_too_few_scores_are_refused(latents: Tensor, metric: LatentStatistics, truth: Tensor) -> None:
    known = torch.arange(len(truth)) < FEWEST - 1
    with pytest.raises(InputError, match=f"only {FEWEST - 1} samples have scores, {FEWEST} are needed"):
        fit_scores(latents, binary(truth, known=known), metric)
    assert fit_scores(latents[:FEWEST], binary(truth[:FEWEST]), metric, settings=SHORT).outputs == 1


def test_another_number_of_scores_than_latents_is_refused(latents: Tensor, metric: LatentStatistics,
                                                          truth: Tensor) -> None:
    with pytest.raises(InputError, match="there are 2999 latents and 3000 scores; score the bank again"):
        fit_scores(latents[:-1], binary(truth), metric)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_that_are_not_numbers_are_refused(truth: Tensor, bad: float) -> None:
    spoilt = truth.clone()
    spoilt[[17, 30]] = bad
    with pytest.raises(InputError, match=r"2 of 3000 scores by formula are NaN or infinite, the first .* 17"):
        binary(spoilt)
    assert binary(spoilt, known=spoilt.isfinite()).mask.sum() == 2998


def slopes_of(latents: Tensor, metric: LatentStatistics, values: str) -> Tensor:
    """True gradients [N, C, D] of the scores of the fixtures."""
    w = latents.clone().requires_grad_()
    p = (w - metric.mean) @ metric.reader
    columns = {"truth": [0 * p[:, 0], 2 * p[:, 0] + 1.5 * p[:, 1].abs() - 2 * (p[:, 2] * p[:, 0]).tanh() - 1],
               "hair": [2 * p[:, 0], 2 * p[:, 1].abs(), 1 - p[:, 2]]}[values]
    return torch.stack([torch.autograd.grad(column.sum(), w, retain_graph=True)[0] for column in columns], dim=1)


def test_gradients_teach_what_few_noisy_scores_do_not(latents: Tensor, metric: LatentStatistics, truth: Tensor,
                                                      hair: Scores) -> None:
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(7))
    for item, name, expected in ((binary(truth), "truth", truth[2400:, None]),
                                 (hair, "hair", hair.values[2400:] - hair.values[2400:].mean(dim=1, keepdim=True))):
        few = replace(item, values=item.values[:400] + noise[:, :item.values.shape[1]])
        gradients = slopes_of(latents[:100], metric, name)
        without, with_them = (explained(fit_scores(latents[:400], few, metric, gradients=each).logits(latents[2400:]),
                                        expected) for each in (None, gradients))
        assert with_them > without + 0.05
        assert with_them > 0.85


def test_gradients_of_samples_that_are_not_learned_from_have_no_effect(latents: Tensor, metric: LatentStatistics,
                                                                       truth: Tensor) -> None:
    gradients = slopes_of(latents[:60], metric, "truth")
    known = torch.arange(len(truth)) % 3 != 0
    spoilt = torch.where(known[:60, None, None], gradients, torch.nan)
    a = fit_scores(latents, binary(truth, known=known), metric, gradients=spoilt, settings=SHORT)
    b = fit_scores(latents[known], binary(truth[known]), metric, gradients=gradients[known[:60]], settings=SHORT)
    late = fit_scores(latents, binary(truth, known=torch.arange(len(truth)) >= 60), metric, gradients=gradients,
                      settings=SHORT)
    without = fit_scores(latents[60:], binary(truth[60:]), metric, settings=SHORT)
    for name in a.tensors():
        assert torch.equal(a.tensors()[name], b.tensors()[name])
        assert torch.equal(late.tensors()[name], without.tensors()[name])
        assert not torch.equal(a.tensors()[name], without.tensors()[name])


def test_gradients_of_other_shapes_are_faults_of_the_caller(latents: Tensor, metric: LatentStatistics,
                                                            truth: Tensor) -> None:
    for shape in ((10, 3, D), (10, D), (len(truth) + 1, 2, D)):
        with pytest.raises(ValueError, match=r"gradients must be \[M, 2, w_dim\]"):
            fit_scores(latents, binary(truth), metric, gradients=torch.zeros(shape), settings=SHORT)


def test_a_sensitivity_tells_the_mean_squared_change(latents: Tensor, metric: LatentStatistics, truth: Tensor,
                                                     hair: Scores) -> None:
    ways = torch.randn(5, D, generator=torch.Generator().manual_seed(8)) @ metric.axes.T @ metric.reader.T
    for item, name in ((binary(truth), "truth"), (hair, "hair")):
        gradients = slopes_of(latents[:300], metric, name)
        learned = gradients[:, 1:] if name == "truth" else gradients - gradients.mean(dim=1, keepdim=True)
        values = item.values[:, 1] if name == "truth" else item.values - item.values.mean(dim=1, keepdim=True)
        expected = (learned @ ways.T).square().sum(dim=1).mean(dim=0) / values.var()
        found = fit_sensitivity(gradients, item, metric)
        assert found.shape == (len(metric.axes), D)  # Not more than 32.
        assert torch.allclose((found @ ways.T).square().sum(dim=0), expected, rtol=1e-3)
        known = torch.arange(len(latents)) % 2 == 0
        spoilt = torch.where(known[:300, None, None], gradients, torch.nan)
        half = fit_sensitivity(spoilt, replace(item, known=known), metric)
        alone = fit_sensitivity(gradients[known[:300]], replace(item, values=item.values[known]), metric)
        assert torch.allclose(half, alone)
