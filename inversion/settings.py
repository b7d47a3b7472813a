"""Settings of an inversion, and the presets by which users choose them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from weights.errors import InputError

Space = Literal["w", "w+"]
Precision = Literal["auto", "float32", "bfloat16"]
LEAST_SIDE = 32  # Of pictures that LPIPS can compare, in pixels.
STARTS = ("auto", "encoder", "samples", "mean")


@dataclass(frozen=True, kw_only=True)
class ProjectorSettings:
    """How a crop is inverted. Distances in W are in standard scores: whitened by the covariance of w."""

    start: str = "auto"          # "encoder", "samples" (the nearest of some) or "mean"; "auto": the encoder if the
                                 # generator has one, else samples. A record names the encoder: "encoder 0a1b2c3d4e5f",
                                 # or the inversion that it began at and shares the tuning of: "pivot 0a1b2c3d4e5f".
    samples: int = 48            # Start "samples": how many.
    space: Space = "w"           # "w": one w for all layers; "w+": then a row for each layer, held near that w.
    side: int = 256              # Of the pictures that the search compares, in pixels; the next larger one of the
                                 # generator's sides is taken. The tuning also looks at windows of whole pictures.
    steps: int = 100             # Of the search for the latent, at most.
    coarse: float = 0.0          # The part of these steps, the first ones, that compares pictures of half the side.
    learning_rate: float = 0.1   # Adam's, at its highest; warmed up over 5% of the steps, then falling along a cosine.
    mse: float = 1.0             # Weight of the mean squared pixel difference (pictures in [-1, 1]) beside LPIPS.
    prior: float = 0.003         # Weight of the mean squared standard score of w: keeps faces likely, so editable.
    focus: float = 0.1           # How much the surroundings count beside the face, in the search; 1: as much.
    inner: float = 0.0           # Likewise, how much more brows, eyes, nose and mouth count than the rest of the face.
    spread: float = 0.001        # w+: weight of the mean squared standard score of a row's distance from w.
    spread_from: float = 0.25    # w+: the part of the steps after which rows may leave w.
    plateau: float = 0.001       # A face is done when 20 steps lower its loss by less than this part; 0: never before.
    tuning_steps: int = 0        # Of pivotal tuning after the search; 0: the generator stays as it is.
    tuning_rate: float = 0.001   # Adam's of the tuning, falling along a cosine.
    tuning_mse: float = 3.0      # As `mse`, of the tuning.
    detail: float = 0.25         # Tuning: weight of a window of the whole picture beside the small one.
    grid: float = 100.0          # Tuning: weight of patterns of 8 pixels that the window has and the crop has not.
    locality: float = 0.1        # Tuning: weight of that pictures of other latents stay as they are.
    seconds: float = 0.0         # Time after which the best so far is taken, counted from the start; 0: no limit.
    precision: Precision = "auto"  # Of the generator's convolutions; "auto": bfloat16 where that is quicker.
    seed: int = 0                # Of the samples, and of the latents of the locality.

    @property
    def coarse_steps(self) -> int:
        """Those steps of the search, the first ones, that compare pictures of half the side."""
        return int(self.coarse * self.steps)

    @property
    def all_steps(self) -> int:
        """Steps of the search and of the tuning of one crop, at most."""
        return self.steps + self.tuning_steps

    def __post_init__(self) -> None:
        if self.space not in ("w", "w+"):
            raise InputError(self.space, "no such latent space", "use w or w+")
        if self.start not in STARTS and not re.fullmatch(r"(encoder|pivot) [0-9a-f]{12}", self.start):
            raise InputError(self.start, "no such start of an inversion", f"use {', '.join(STARTS)}")
        if self.precision not in get_args(Precision):
            raise InputError(self.precision, "no such precision", f"use {', '.join(get_args(Precision))}")
        if min(self.steps, self.samples) < 1 or self.tuning_steps < 0:
            raise InputError(f"{self.steps} steps from {self.samples} samples and {self.tuning_steps} of tuning",
                             "an inversion needs at least 1 step and 1 sample, and no fewer than 0 steps of tuning")
        if not 0 <= self.coarse < 1:
            raise InputError(f"coarse {self.coarse:g}", "not a part of the steps", "use 0 or more, and less than 1")
        if self.side < LEAST_SIDE:
            raise InputError(f"pictures of {self.side} pixels", "too small to be compared", f"use {LEAST_SIDE} or more")
        weights = (self.mse, self.tuning_mse, self.prior, self.focus, self.inner, self.spread, self.detail, self.grid,
                   self.locality)
        if min(self.learning_rate, self.tuning_rate) <= 0 or min(*weights, self.plateau, self.seconds) < 0:
            raise InputError(None, "inversion settings must not be negative, and learning rates must be above 0")


# They begin with what an encoder says; from samples, where a generator has none, fewer than 60 steps do not get far.
_NEAR_W = ProjectorSettings(space="w+", spread=0.005, spread_from=0.0, coarse=0.6, focus=0.2, inner=1.0)
PRESETS = {
    "fast": replace(_NEAR_W, steps=12, coarse=0.2, learning_rate=0.05, spread=0.01, focus=0.3, inner=0.5),
    "balanced": replace(_NEAR_W, steps=60),
    "faithful": replace(_NEAR_W, steps=36, tuning_steps=100),
}
DEFAULT_PRESET = "faithful"  # Of page and command line: with it the person is recognised.


def preset(name: str, **changes: object) -> ProjectorSettings:
    """The settings of a preset, with changes by name.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(name, "no such preset", f"use {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]
