"""GradCtrl: gradient-masked, multi-directional controls on w (Chen et al., ECCV 2022).

Knows latents only: no pixels, no generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from gradctrl.authors import import_authors as import_authors
    from gradctrl.control import Classifier as Classifier
    from gradctrl.control import Control as Control
    from gradctrl.control import Controls as Controls
    from gradctrl.directions import direction as direction
    from gradctrl.directions import gradient as gradient
    from gradctrl.directions import mask as mask
    from gradctrl.files import load_controls as load_controls
    from gradctrl.files import save_controls as save_controls
    from gradctrl.train import TrainSettings as TrainSettings
    from gradctrl.train import train_classifier as train_classifier
    from gradctrl.trajectories import Move as Move
    from gradctrl.trajectories import trajectory as trajectory
    from gradctrl.trajectories import walk as walk

_HOMES = {
    "import_authors": "authors", "Classifier": "control", "Control": "control", "Controls": "control",
    "direction": "directions", "gradient": "directions", "mask": "directions", "load_controls": "files",
    "save_controls": "files", "TrainSettings": "train", "train_classifier": "train", "Move": "trajectories",
    "trajectory": "trajectories", "walk": "trajectories",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
