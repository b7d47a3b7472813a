"""Which samples a classifier is unsure of: properties first, then values worked out by hand, then bad input."""

from __future__ import annotations

import pytest
import torch

from gradctrl import Classifier
from learning.uncertainty import leads, least_certain, likely, spread_out
from tests.directions.made_controls import make_control
from tests.gradctrl.made_classifiers import latents


def of_first_channels(outputs: int) -> Classifier:
    """A classifier whose logits are the first channels of w where these are above 0, and a tenth of them below."""
    weight = torch.zeros(outputs, 4)
    weight[range(outputs), range(outputs)] = 1.0
    return Classifier(hidden_weight=weight, hidden_bias=torch.zeros(outputs), out_weight=torch.eye(outputs),
                      out_bias=torch.zeros(outputs))


@pytest.mark.parametrize("outputs", [1, 3])
def test_what_is_chosen_is_among_the_least_certain_share(outputs: int) -> None:
    classifier, w = make_control("smile", outputs=outputs).classifier, latents(60)
    chosen = least_certain(classifier, w, 12, share=0.5)
    lead = leads(classifier, w)
    assert len(chosen.unique()) == 12
    assert float(lead[chosen].max()) <= float(lead.sort().values[29])


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_choice_is_the_same_again_and_a_shorter_one_is_its_beginning(outputs: int) -> None:
    classifier, w = make_control("smile", outputs=outputs).classifier, latents(60)
    assert torch.equal(least_certain(classifier, w, 9), least_certain(classifier, w, 9))
    assert torch.equal(least_certain(classifier, w, 4), least_certain(classifier, w, 9)[:4])


@pytest.mark.parametrize(("outputs", "class_index"), [(1, 0), (1, 1), (3, 0), (3, 2)])
def test_likely_members_are_those_that_the_classifier_takes_for_the_class(outputs: int, class_index: int) -> None:
    control, w = make_control("hair", outputs=outputs), latents(60)
    chosen = likely(control.classifier, w, class_index, 5)
    assert control.predict(w)[chosen].tolist() == [class_index] * len(chosen)
    assert len(chosen) == min(5, int((control.predict(w) == class_index).sum()))


def test_near_duplicates_do_not_come_one_after_another() -> None:
    kinds = torch.tensor([[0.0, 9], [0, 9.1], [0, 9.2], [9, 0], [9.1, 0], [-9, -9]])
    assert spread_out(kinds, torch.arange(6), 3, choice=6).tolist() == [0, 5, 4]
    assert spread_out(kinds, torch.arange(6), 3, choice=1).tolist() == [0, 1, 2]
    assert spread_out(kinds, torch.arange(6), 1, choice=6, apart_from=kinds[:1]).tolist() == [5]


def test_leads_by_hand() -> None:
    w = torch.tensor([[2.0, 1, 0, 0], [-1, 0, 0, 0], [0, 3, 2.5, 0]])
    torch.testing.assert_close(leads(of_first_channels(1), w), torch.tensor([2.0, 0.1, 0.0]))
    torch.testing.assert_close(leads(of_first_channels(3), w), torch.tensor([1.0, 0.0, 0.5]))
    assert least_certain(of_first_channels(1), w, 1, share=0.1).tolist() == [2]


def test_where_no_sample_is_of_the_class_the_nearest_comes() -> None:
    w = torch.tensor([[5.0, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0]])
    assert likely(of_first_channels(1), w, 0, choice=1).tolist() == [1]


def test_more_than_there_are_and_none_at_all() -> None:
    classifier, w = make_control("smile").classifier, latents(6)
    assert sorted(least_certain(classifier, w, 50, share=1.0).tolist()) == list(range(6))
    assert least_certain(classifier, w, 0).tolist() == []
    assert least_certain(classifier, w[:0], 3).tolist() == []


@pytest.mark.parametrize("wrong", [{"count": -1}, {"choice": 0}, {"share": 0.0}, {"share": 1.5}])
def test_counts_and_shares_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        least_certain(make_control("smile").classifier, latents(6), **wrong)  # type: ignore[arg-type]
