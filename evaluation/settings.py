"""What an evaluation does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from directions.methods import CONTENDERS
from gradctrl import FitScoresSettings
from learning.calibration import COUNTS, TuneSettings
from learning.contenders import PAPER_EXAMPLES

RAREST = 0.01  # Share of the bank; an attribute with a rarer class is neither edited nor judged.


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How much is tried. The defaults are the full run; `QUICK` is for trying out."""

    methods: tuple[str, ...] = CONTENDERS
    trials: int = 3000                                 # Samples near boundaries, for the accuracy (table 1).
    edits: int = 400                                   # Samples for the attribute dependency (figure 7).
    ablation: int = 300                                # Of the trials, how many are used for each ablation (figure 8).
    counts: tuple[int, ...] = COUNTS                   # Figure 8c.
    examples: tuple[int, ...] = (10, 30, 100, 300)     # Training examples a class.
    test_share: float = 1 / 3                          # Of the bank, never trained or tuned on.
    paper_examples: int = PAPER_EXAMPLES               # Training examples a class of "paper", and again to validate.
    pick_samples: int = 16                             # By whose pictures GANSpace and StyleSpace pick directions,
    finalists: int = 5                                 # this many of each attribute, of which tuning takes one.
    tune: TuneSettings = field(default_factory=lambda: TuneSettings(margin_samples=300))
    fit: FitScoresSettings = field(default_factory=FitScoresSettings)  # How "gradctrl" is fitted.
    tune_given: bool = False                           # Whether the margins of given controls are tuned too.
    seed: int = 0

    def to_json(self) -> Mapping[str, Any]:
        return asdict(self)


QUICK = EvaluationSettings(
    trials=60, edits=15, ablation=8, counts=(0, 100), examples=(5, 10), paper_examples=10,
    pick_samples=1, finalists=1,
    tune=TuneSettings(samples=4, margins=(0.5,), search_margins=(0.5,), margin_samples=6, counts=(0,),
                      layer_ranges=((4, 2048),)))
