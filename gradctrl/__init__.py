"""GradCtrl: gradient-masked, multi-directional controls on w (Chen et al., ECCV 2022).

Knows latents only: no pixels, no generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from gradctrl.authors import import_authors as import_authors
    from gradctrl.classifier import Classifier as Classifier
    from gradctrl.control import METHODS as METHODS
    from gradctrl.control import Control as Control
    from gradctrl.control import Steerable as Steerable
    from gradctrl.controls import Controls as Controls
    from gradctrl.directions import direction as direction
    from gradctrl.directions import gradient as gradient
    from gradctrl.directions import mask as mask
    from gradctrl.directions import projected_direction as projected_direction
    from gradctrl.files import load_controls as load_controls
    from gradctrl.files import save_controls as save_controls
    from gradctrl.fit import FitSettings as FitSettings
    from gradctrl.fit import fit_scores as fit_scores
    from gradctrl.metric import Metric as Metric
    from gradctrl.metric import fit_metric as fit_metric
    from gradctrl.prepare import Examples as Examples
    from gradctrl.prepare import load_examples as load_examples
    from gradctrl.prepare import save_examples as save_examples
    from gradctrl.scores import Scores as Scores
    from gradctrl.teaching import teach_from_examples as teach_from_examples
    from gradctrl.teaching import teach_from_scores as teach_from_scores
    from gradctrl.train import TrainSettings as TrainSettings
    from gradctrl.train import train_classifier as train_classifier
    from gradctrl.trajectories import Move as Move
    from gradctrl.trajectories import lengths_to as lengths_to
    from gradctrl.trajectories import trajectory as trajectory
    from gradctrl.trajectories import walk as walk

_HOMES = {
    "import_authors": "authors", "Classifier": "classifier", "METHODS": "control", "Control": "control",
    "Steerable": "control", "Controls": "controls", "direction": "directions", "gradient": "directions",
    "mask": "directions", "projected_direction": "directions", "load_controls": "files", "save_controls": "files",
    "FitSettings": "fit", "fit_scores": "fit", "Metric": "metric", "fit_metric": "metric", "Examples": "prepare",
    "load_examples": "prepare", "save_examples": "prepare", "Scores": "scores", "teach_from_examples": "teaching",
    "teach_from_scores": "teaching", "TrainSettings": "train",
    "train_classifier": "train", "Move": "trajectories", "lengths_to": "trajectories",
    "trajectory": "trajectories", "walk": "trajectories",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
