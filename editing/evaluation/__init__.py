"""Tuning controls, and measuring them against the methods of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from editing.evaluation.evaluation import Evaluation as Evaluation
    from editing.evaluation.evaluation import Results as Results
    from editing.evaluation.methods import METHOD_NAMES as METHOD_NAMES
    from editing.evaluation.methods import split_bank as split_bank
    from editing.evaluation.methods import train_method as train_method
    from editing.evaluation.methods import tune_method as tune_method
    from editing.evaluation.report import write_report as write_report
    from editing.evaluation.settings import QUICK as QUICK
    from editing.evaluation.settings import EvaluationSettings as EvaluationSettings
    from editing.evaluation.tuning import Tuner as Tuner
    from editing.evaluation.tuning import TuneSettings as TuneSettings

_HOMES = {
    "Evaluation": "evaluation", "Results": "evaluation",
    "METHOD_NAMES": "methods", "split_bank": "methods", "train_method": "methods", "tune_method": "methods",
    "write_report": "report", "QUICK": "settings", "EvaluationSettings": "settings", "Tuner": "tuning",
    "TuneSettings": "tuning",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
