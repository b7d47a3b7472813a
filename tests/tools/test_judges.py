"""The judges that learn from labels by eye."""

from __future__ import annotations

from typing import cast

import numpy as np

from learning.bank import SampleBank
from tools.judges import JUDGED, Seen, one_of


class Pictures:
    """A bank whose odd samples have stripes."""

    def pictures(self, start: int, stop: int) -> np.ndarray:
        made = np.random.default_rng(start).integers(0, 60, [stop - start, 64, 64, 3]).astype(np.uint8)
        for index in range(start, stop):
            if index % 2:
                made[index - start, ::8] += 150
        return made


def test_a_judge_tells_new_samples_by_labels_of_others() -> None:
    seen = Seen.of(cast(SampleBank, Pictures()), 40)
    rule = one_of("coat", ["plain"], ["striped", "spotted"])
    labels = {seed: {"coat": "striped" if seed % 2 else "plain"} for seed in range(20)}
    log_odds = seen.log_odds(rule, labels)
    assert ((log_odds > 0).numpy() == (np.arange(40) % 2 == 1)).all()
    wrong = {**labels, **{seed: {"coat": "plain"} for seed in range(20, 40)}}
    assert (seen.log_odds(rule, wrong, last=20) == log_odds).all()  # What is held out is not learned from.


def test_a_rule_says_nothing_of_labels_that_are_of_neither_class() -> None:
    rule = JUDGED["eyeglasses"]
    assert [rule({"eyeglasses": label}) for label in ("none", "eyeglasses", "sunglasses")] == [False, True, None]
    assert rule({}) is None
