"""What stands in for the bundled generator and controls in tests: as small as can be, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from directions import GradCtrlControl
from directions import save as save_directions
from generators.checkpoints import write
from gradctrl import Classifier
from tests.generators.made_generators import make_student

SIDE = 128
ATTRIBUTES = {"smile": ("serious", "smiling"), "gender": ("female", "male"), "age": ("young", "old"),
              "hair": ("black", "brown", "blond"), "pose": ("left", "front", "right")}
HIDDEN = 8
UNIT = 3.0  # Length of the path of strength 1, which can be seen in the pictures.


def write_small_models(folder: Path) -> None:
    """Write generator.safetensors and controls.safetensors as the bundled ones are called."""
    generator = make_student(SIDE, seed=5)
    write(folder / "generator.safetensors", generator.config, generator.state_dict(), half=False, metadata={})
    rng = torch.Generator().manual_seed(6)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng)

    controls = []
    for name, classes in ATTRIBUTES.items():
        outputs = 1 if len(classes) == 2 else len(classes)
        classifier = Classifier(hidden_weight=random(HIDDEN, generator.w_dim), hidden_bias=random(HIDDEN),
                                out_weight=random(outputs, HIDDEN), out_bias=random(outputs))
        controls.append(GradCtrlControl(name=name, classes=classes, classifier=classifier, units=(UNIT,) * outputs,
                                        keep={other: 2 for other in ATTRIBUTES if other != name},
                                        ordered=name in ("hair", "pose")))
    save_directions(folder / "controls.safetensors", controls, spaces=generator.spaces)
