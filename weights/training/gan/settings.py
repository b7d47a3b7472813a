"""What defines a training run. A run goes on with exactly these, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from stylegan2.config import GeneratorConfig
from weights.errors import InputError
from weights.training.gan.precision import NAMES, Precision

Noise = Literal["none", "random"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a run's result depends on, besides the pictures; docs/training.md gives the reasons."""

    resolution: int = 256            # Side of the pictures in pixels, a power of two from 32 to 1024.
    channel_base: int = 8192         # Feature maps at a side are this over the side ...
    channel_max: int = 256           # ... but no more than this.
    mapping_layers: int = 4          # Fully connected layers from z to w.
    batch: int = 32                  # Pictures in a step.
    lr: float = 0.0025               # Adam's learning rate, of generator and discriminator.
    gamma: float = 0.0               # Weight of R1; 0: 0.0002 * resolution^2 / batch.
    r1_every: int = 16               # Steps between two of R1.
    path_every: int = 8              # Steps between two of path-length regularisation; 0: none.
    path_weight: float = 2.0         # Its weight.
    mixing: float = 0.9              # Share of samples that take two w's, one for each end of the rows.
    ema_kimg: float = 10.0           # Thousands of pictures in which the mean generator forgets one half.
    ema_rampup: float = 0.05         # Until then, it forgets one half in this share of what was seen; 0: no ramp.
    augment_target: float = 0.6      # r_t that p is adapted to.
    augment_kimg: float = 500.0      # Thousands of pictures in which p can go from 0 to 1.
    augment_p: float = -1.0          # Keep p at this; -1: adapt it.
    flips: bool = True               # Whether the pictures may be mirrored from left to right.
    noise: Noise = "none"            # Noise maps of the generator while training.
    warmup_kimg: float = 0.0         # Thousands of pictures in which the discriminator learns alone.
    precision: str = "float32"       # Of the four largest resolutions.
    seed: int = 0                    # Of everything that is random.
    start: str = ""                  # Hash of the generator that it started from; "": from nothing.

    def __post_init__(self) -> None:
        positive = ("channel_base", "channel_max", "mapping_layers", "batch", "lr", "r1_every", "augment_kimg")
        natural = ("gamma", "path_every", "path_weight", "ema_kimg", "ema_rampup", "warmup_kimg")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be above 0")
        for name in natural:
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)}: must not be negative")
        if self.noise not in get_args(Noise) or self.precision not in NAMES:
            raise InputError(f"--noise {self.noise} --precision {self.precision}: unknown; see --help")
        if not 0 <= self.mixing <= 1 or not (self.augment_p == -1 or 0 <= self.augment_p <= 1):
            raise InputError("--mixing and --augment-p: shares from 0 to 1 are needed")
        _ = self.config

    @property
    def config(self) -> GeneratorConfig:
        """The generator's sizes."""
        sides = [2 ** power for power in range(2, max(self.resolution, 1).bit_length())]
        channels = tuple(max(min(self.channel_base // side, self.channel_max), 1) for side in sides)
        try:
            return GeneratorConfig(img_resolution=self.resolution, channels=channels,
                                   mapping_layers=self.mapping_layers, conv_clamp=self.numbers.clamp)
        except ValueError as error:
            raise InputError(f"--resolution {self.resolution}: must be 32, 64, 128, 256, 512 or 1024") from error

    @property
    def numbers(self) -> Precision:
        return Precision.named(self.precision, self.resolution)

    @property
    def r1_weight(self) -> float:
        """gamma, by default as NVIDIA's code chooses it for a resolution and batch size."""
        return self.gamma or 0.0002 * self.resolution ** 2 / self.batch

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def from_json(text: str) -> Settings:
    """Settings as they were saved.

    Raises:
        ValueError: not settings of this version.
    """
    saved = json.loads(text)
    known = {field.name for field in fields(Settings)}
    if not isinstance(saved, dict) or saved.keys() != known:
        raise ValueError("its settings are of another version of this program")
    return Settings(**saved)


def continued(saved: Settings, given: Mapping[str, Any], where: str) -> Settings:
    """The settings of a run that goes on, where `given` are those that the user named.

    Raises:
        InputError: one that is named is not what the run began with.
    """
    for name, value in given.items():
        before = getattr(saved, name)
        if value != before:
            raise InputError(f"{where}: this run began with --{name.replace('_', '-')} {before}, not {value}; leave "
                             "the option out to go on, or begin a new run in another folder")
    return saved
