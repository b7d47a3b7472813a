"""What stands in for the bundled generator and controls in tests: as small as can be, with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from directions import METHODS, GradCtrlControl, LinearControl
from directions import save as save_directions
from generators import Generator, Space, StyleGAN2
from generators.checkpoints import write
from gradctrl import Classifier
from tests.generators.made_generators import make_generator

SIDE = 128
ATTRIBUTES = {"smile": ("serious", "smiling"), "gender": ("female", "male"), "age": ("young", "old"),
              "hair": ("black", "brown", "blond"), "pose": ("left", "front", "right")}
CONTRAST = 0.25  # Standard deviation of the pictures' values.
HIDDEN = 8
UNIT = 3.0  # Length of the path of strength 1, which can be seen in the pictures.


@torch.no_grad()
def _tame(generator: StyleGAN2) -> None:
    """Bring the pictures' values within [-1, 1], nearly all, and the neutral w to the mean."""
    generator.neutral().copy_(generator.sample(range(1000)).mean(dim=0))
    pictures = generator.render(generator.sample(range(16)))
    for layer in generator.layers:
        if layer.colours:
            colours = generator.get_submodule(f"synthesis.{layer.name}")
            colours.weight.mul_(CONTRAST / pictures.std())
            colours.bias.zero_()


def write_small_models(folder: Path) -> None:
    """Write generator.safetensors and controls.safetensors as the bundled ones are called."""
    generator = make_generator(SIDE, seed=5)
    _tame(generator)
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
                                        limits=(-3.0, 3.0) if outputs == 1 else (0.0, 2.0),
                                        keep={other: 2 for other in ATTRIBUTES if other != name},
                                        ordered=name in ("hair", "pose")))
    save_directions(folder / "controls.safetensors", controls, spaces=generator.spaces)


def write_linear_controls(path: Path, method: str, generator: Generator, space: Space | None = None) -> None:
    """Write controls smile and age of a method with fixed directions, for a generator, or of a space of W."""
    width = generator.layers[-1].stop if METHODS[method].moves == "styles" else generator.w_dim
    n = torch.nn.functional.normalize(torch.randn(1, width, generator=torch.Generator().manual_seed(1)), dim=1)
    made = [LinearControl(name=name, classes=("no", "yes"), found_by=method, directions=n, weights=n,
                          bias=torch.zeros(1), units=(6.0,), limits=(-1.0, 1.5)) for name in ("smile", "age")]
    save_directions(path, made, spaces=generator.spaces if space is None else {"w": space})


def bundle(patch: pytest.MonkeyPatch, method: str, path: Path) -> None:
    """Make a file the bundled one of a method."""
    patch.setitem(METHODS, method, replace(METHODS[method], file=str(path)))
