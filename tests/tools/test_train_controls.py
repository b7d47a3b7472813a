"""The bundled controls: what each must not change is projected out."""

from __future__ import annotations

import pytest
import torch

from tools.train_controls import CHOSEN, LOOKS, Regressions, Seen, Trained, controls_of, train


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Samples of a W of 48 dimensions; what is seen of them are mixtures of its axes, and some noise."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(3000, 48, generator=rng, dtype=torch.float64) * torch.linspace(3, 0.2, 48)
    mixing = torch.randn(48, len(LOOKS) + 3, generator=rng, dtype=torch.float64)
    values = latents @ mixing + torch.randn(3000, len(LOOKS) + 3, generator=rng, dtype=torch.float64)
    return Seen(latents, dict(zip(LOOKS, values.T, strict=False)), values[:1000, len(LOOKS):])


def test_what_is_held_has_no_part_in_a_score(seen: Seen) -> None:
    regressions = Regressions(seen)
    chosen = Trained(classes=("serious", "smiling"), outputs=("smile",), may_change=("mouth",), layers=(4, 48),
                     units=(1.0,), limits=(-1.0, 1.0))
    classifier = train(seen, regressions, chosen)
    scores = classifier.logits(seen.latents.float())[:, 0].double()
    told = torch.corrcoef(torch.stack([scores, seen.looks["smile"]]))[0, 1]
    assert told > 0.2  # Most of what tells it tells others as well.
    for name, weights in regressions.looks.items():
        shared = abs(float(torch.corrcoef(torch.stack([scores, regressions.x @ weights]))[0, 1]))
        assert shared < 1e-3 or name in {"smile", "mouth"}, name


def test_scores_are_linear_in_w(seen: Seen) -> None:
    classifier = train(seen, Regressions(seen), CHOSEN["hair"])
    a, b = seen.latents[:5].float(), seen.latents[5:10].float()
    torch.testing.assert_close(classifier.logits((a + b) / 2), (classifier.logits(a) + classifier.logits(b)) / 2,
                               rtol=1e-4, atol=1e-4)
    assert classifier.logits(a).shape == (5, 5)


def test_every_control_knows_its_ways_and_its_range(seen: Seen) -> None:
    for control in controls_of(seen):
        chosen = CHOSEN[control.name]
        assert control.outputs == len(chosen.outputs) == len(control.units)
        assert {*chosen.outputs, *chosen.may_change} <= set(LOOKS)
        assert control.limits[0] <= 0 < control.limits[1]
        assert all(margin > 0 for margin in control.margins)
