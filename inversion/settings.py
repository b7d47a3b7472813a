"""Settings of an inversion, and the presets by which users choose them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from weights.errors import InputError

Space = Literal["w", "w+"]


@dataclass(frozen=True, kw_only=True)
class ProjectorSettings:
    """How a crop is inverted. Distances in W are in standard scores: whitened by the covariance of w."""

    space: Space = "w"          # "w": one w for all layers; "w+": then a row for each layer, held near that w.
    steps: int = 150            # Optimisation steps.
    learning_rate: float = 0.1  # Adam's, at its highest; warmed up over 5% of the steps, then falling along a cosine.
    warm_start: int = 128       # Samples of which the perceptually nearest one is the start; 0: the mean w.
    mse: float = 1.0            # Weight of the mean squared pixel difference (pictures in [-1, 1]) beside LPIPS.
    prior: float = 0.003        # Weight of the mean squared standard score of w: keeps faces likely, so editable.
    focus: float = 0.1          # How much the surroundings count beside the face; 1: as much.
    spread: float = 0.0005      # w+: weight of the mean squared standard score of a row's distance from w.
    spread_from: float = 0.25   # w+: the part of the steps after which rows may leave w.
    seed: int = 0               # Of the samples.

    def __post_init__(self) -> None:
        if self.space not in ("w", "w+"):
            raise InputError(f"{self.space}: no such latent space; use w or w+")
        if self.steps < 1:
            raise InputError(f"{self.steps} steps: an inversion needs at least 1")
        if self.learning_rate <= 0 or min(self.mse, self.prior, self.focus, self.spread, self.warm_start) < 0:
            raise InputError("inversion settings must not be negative, and the learning rate must be above 0")


PRESETS = {
    "fast": ProjectorSettings(steps=60, warm_start=48),
    "balanced": ProjectorSettings(steps=150),
    "faithful": ProjectorSettings(steps=180, space="w+", learning_rate=0.2, warm_start=64),
}
DEFAULT_PRESET = "faithful"  # Of page and command line: with it the person is recognised, in the same time.


def preset(name: str, **changes: object) -> ProjectorSettings:
    """The settings of a preset, with changes by name.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"{name}: no such preset; use {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]
