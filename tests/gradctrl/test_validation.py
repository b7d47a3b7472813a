"""Few-shot training with validation examples, and the settings of training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gradctrl.fitting
from gradctrl import Classifier, FitExamplesSettings, fit_examples
from weights.errors import InputError

D = 64
Examples = tuple[Tensor, Tensor]


def examples(classes: int, count: int, seed: int, noise: float = 1.5) -> Examples:
    """Overlapping classes, in 8 of 64 channels, that a few examples of each invite to overfit."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.zeros(classes, D)
    centres[:, :8] = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(classes).repeat(count)
    return centres[labels] + torch.randn(len(labels), D, generator=rng) * noise, labels


def loss(classifier: Classifier, latents: Tensor, labels: Tensor) -> float:
    logits = classifier.logits(latents)
    if classifier.outputs == 1:
        return float(F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits)))
    return float(F.cross_entropy(logits, labels))


def same(a: Classifier, b: Classifier) -> bool:
    return all(torch.equal(tensor, b.tensors()[name]) for name, tensor in a.tensors().items())


@pytest.fixture
def epochs_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each training takes, counted by its schedule."""
    counts: list[int] = []

    class Counting(torch.optim.lr_scheduler.CosineAnnealingLR):
        def __init__(self, *args: object) -> None:
            counts.append(-1)  # The schedule takes a step of its own when it is made.
            super().__init__(*args)  # type: ignore[arg-type]

        def step(self, epoch: int | None = None) -> None:
            counts[-1] += 1
            super().step(epoch)

    monkeypatch.setattr(gradctrl.fitting.torch.optim.lr_scheduler, "CosineAnnealingLR", Counting)
    return counts


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loss_on_validation_is_never_higher_than_without(classes: int, seed: int) -> None:
    train, held_out = examples(classes, 10, seed), examples(classes, 30, seed + 10)
    settings = FitExamplesSettings(epochs=120, shaping=0.0, seed=seed)
    plain = fit_examples(*train, classes=classes, settings=settings)
    checked = fit_examples(*train, classes=classes, settings=settings, validation=held_out)
    assert loss(checked, *held_out) < loss(plain, *held_out)  # The examples do invite to overfit.


def test_the_best_epoch_is_kept() -> None:
    """Stopping earlier can only keep an epoch that is as good, or worse."""
    train, held_out = examples(2, 10, 0), examples(2, 30, 10)
    settings = FitExamplesSettings(epochs=40, patience=1000, shaping=0.0)
    best = fit_examples(*train, settings=settings, validation=held_out)
    losses = []
    for patience in range(1, 12):
        stopped = fit_examples(*train, settings=replace(settings, patience=patience), validation=held_out)
        losses.append(loss(stopped, *held_out))
    assert min(losses) >= loss(best, *held_out) - 1e-6
    assert losses == sorted(losses, reverse=True)  # More patience is never worse.


def test_training_stops_when_validation_gets_no_better(epochs_run: list[int]) -> None:
    train, held_out = examples(2, 10, 0), examples(2, 30, 10)
    settings = FitExamplesSettings(epochs=300, patience=15, shaping=0.0)
    short = fit_examples(*train, settings=settings, validation=held_out)
    assert 15 < epochs_run[-1] < 300
    patient = fit_examples(*train, settings=replace(settings, patience=300), validation=held_out)
    assert epochs_run[-1] == 300
    assert loss(patient, *held_out) <= loss(short, *held_out)
    fit_examples(*train, settings=settings)
    assert epochs_run[-1] == 300  # Nothing to stop by.


def test_validation_that_always_gets_better_ends_where_training_without_it_does() -> None:
    train = examples(2, 10, 0)
    settings = FitExamplesSettings(epochs=30)
    plain = fit_examples(*train, settings=settings)
    assert same(fit_examples(*train, settings=settings, validation=train), plain)


def test_validation_examples_are_not_trained_on() -> None:
    """Where the first epoch is the best, validation examples of another kind change nothing but which epoch it is."""
    train, (latents, labels) = examples(2, 10, 0), examples(2, 30, 10)
    settings = FitExamplesSettings(epochs=50, patience=50)
    first = fit_examples(*train, settings=settings, validation=(latents, 1 - labels))
    again = fit_examples(*train, settings=settings, validation=(latents * 3, 1 - labels))
    assert same(first, again)


def test_every_class_of_validation_weighs_the_same() -> None:
    """A class that is there many times over does not count for more: the epoch that is kept is the same."""
    train, (latents, labels) = examples(2, 10, 0), examples(2, 30, 10)
    many = torch.cat([latents, *[latents[labels == 1]] * 3]), torch.cat([labels, *[labels[labels == 1]] * 3])
    settings = FitExamplesSettings(epochs=60, patience=60, shaping=0.0)
    a, b = (fit_examples(*train, settings=settings, validation=pair) for pair in ((latents, labels), many))
    assert same(a, b)


def test_hidden_epochs_and_learning_rate_are_honoured(epochs_run: list[int]) -> None:
    train = examples(3, 10, 0)
    made = fit_examples(*train, classes=3, settings=FitExamplesSettings(hidden=7, epochs=11))
    assert made.hidden_weight.shape == (7, D)
    assert epochs_run == [11]
    still, slow, quick = (fit_examples(*train, classes=3, settings=FitExamplesSettings(epochs=5, learning_rate=rate))
                          for rate in (1e-9, 1e-3, 1e-2))
    assert loss(quick, *train) < loss(slow, *train) < loss(still, *train)


def test_validation_of_another_kind_is_refused() -> None:
    train, (latents, labels) = examples(2, 10, 0), examples(2, 3, 10)
    with pytest.raises(InputError, match="examples a class are"):
        fit_examples(*train, validation=(latents[labels == 0], labels[labels == 0]))
    with pytest.raises(InputError, match="finite"):
        fit_examples(*train, validation=(latents * torch.nan, labels))
    with pytest.raises(ValueError, match="labels"):
        fit_examples(*train, validation=(latents, labels[:-1]))
    with pytest.raises(ValueError, match="integers from 0 to 1"):
        fit_examples(*train, validation=(latents, labels + 1))
