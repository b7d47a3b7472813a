"""Few-shot training."""

from __future__ import annotations

import pytest
import torch

from gradctrl import FitExamplesSettings, fit_examples
from weights.errors import InputError


def examples(classes: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of 512 channels, in which 20 channels tell the classes apart."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.zeros(classes, 512)
    centres[:, :20] = torch.randn(classes, 20, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(classes).repeat(count)
    return centres[labels] + torch.randn(len(labels), 512, generator=rng) * 0.4, labels


@pytest.mark.parametrize("classes", [2, 3])
def test_thirty_examples_a_class_generalise(classes: int) -> None:
    classifier = fit_examples(*examples(classes, 30, seed=0), classes=classes)
    latents, labels = examples(classes, 500, seed=1)
    assert classifier.outputs == (1 if classes == 2 else 3)
    assert (classifier.predict(latents) == labels).float().mean() > 0.95


def test_training_is_the_same_for_the_same_seed_and_leaves_the_random_state_alone() -> None:
    latents, labels = examples(2, 30, seed=0)
    before = torch.get_rng_state()
    a, b = (fit_examples(latents, labels, settings=FitExamplesSettings(epochs=5)) for _ in range(2))
    other = fit_examples(latents, labels, settings=FitExamplesSettings(epochs=5, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.hidden_weight, b.hidden_weight)
    assert not torch.equal(a.hidden_weight, other.hidden_weight)


def test_settings_are_honoured() -> None:
    latents, labels = examples(2, 30, seed=0)
    assert fit_examples(latents, labels, settings=FitExamplesSettings(hidden=5, epochs=1)).hidden_weight.shape[0] == 5


def test_an_empty_class_is_refused() -> None:
    with pytest.raises(InputError, match="30"):
        fit_examples(torch.zeros(4, 8), torch.zeros(4, dtype=torch.long), classes=2)


def test_latents_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        fit_examples(torch.full([4, 8], torch.nan), torch.tensor([0, 1, 0, 1]))
