"""Controls with random weights, for tests of what does not depend on what a control knows."""

from __future__ import annotations

from typing import Any

import torch

from directions import GradCtrlControl
from tests.gradctrl.made_classifiers import make_classifier


def make_control(name: str, *, outputs: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64,
                 **settings: Any) -> GradCtrlControl:
    classes = ("no", "yes") if outputs == 1 else tuple(f"c{index}" for index in range(outputs))
    return GradCtrlControl(**{
        "name": name, "classes": classes, "classifier": make_classifier(outputs=outputs, seed=seed, dtype=dtype),
        "units": (1.0,) * outputs, **settings})
