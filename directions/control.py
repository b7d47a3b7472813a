"""A control: what steers one attribute, and the settings with which it is used."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from gradctrl.classifier import Classifier
from gradctrl.gradients import direction, projected_direction
from gradctrl.metric import Metric
from gradctrl.scores import log_odds
from weights.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9_]*")
Method = Literal["project", "paper"]
Space = Literal["w", "styles"]
METHODS: tuple[str, ...] = get_args(Method)
KeepList = Sequence[tuple[Any, int]]  # Attributes to keep, of the same family, with the channels that each masks.


@dataclass(frozen=True, kw_only=True)
class Steerable(ABC):
    """One attribute that edits can steer: its names and settings, whatever the family of directions.

    A space is steered in: w for most families; latents are [N, D], D being w_dim then.
    """

    name: str                           # Lower-case letters, digits and _: "smile".
    classes: tuple[str, ...]            # Binary: (negative, positive); multi-class: one name each output.
    layers: tuple[int, int]             # Layer range [start, stop).
    keep: Mapping[str, int] = field(default_factory=dict)  # Default keep list: channels masked by attribute (top-k).
    step: float = 0.6                   # Step length; the paper's for w.
    units: tuple[float, ...] = (1.0,)   # Path length of strength 1, one for each output.
    limits: tuple[float, float] = (-3.0, 3.0)  # Strengths between which pictures stay good.
    margins: tuple[float, ...] = ()     # Of each class: the score at which an edit counts as arrived; (): 0 for all.
    ordered: bool = False               # Whether the classes are steps of one scale: left, front, right.
    report: Mapping[str, object] = field(default_factory=dict)  # How it was trained and how well it does.

    def __post_init__(self) -> None:
        outputs = self.outputs
        if not NAME.fullmatch(self.name):
            raise ValueError(f"a control's name must be lower-case letters, digits and _, not {self.name!r}")
        if len(self.classes) != max(outputs, 2) or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.name}: {max(outputs, 2)} different class names are needed, not {self.classes}")
        if len(self.units) != outputs or min(self.units) <= 0:
            raise ValueError(f"{self.name}: {outputs} positive units are needed, not {self.units}")
        if not 0 <= self.layers[0] < self.layers[1]:
            raise ValueError(f"{self.name}: the layer range must be [start, stop) with start < stop, not {self.layers}")
        if self.step <= 0:
            raise ValueError(f"{self.name}: the step must be above 0, not {self.step}")
        if self.margins and len(self.margins) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} margins are needed, not {self.margins}")

    @property
    @abstractmethod
    def outputs(self) -> int:
        """1 for a binary attribute, else the number of classes."""

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the length of the latents that it steers."""

    @property
    def space(self) -> Space:
        """Where it steers: in w, or in the styles that the generator computes from w+."""
        return "w"

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Scores [N, outputs] at latents [N, D]: each output's log-odds, above 0 where its class is the likelier."""

    @abstractmethod
    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        """Unit directions [N, D] along which the score of an output rises, with what is kept left alone."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was learned, by name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What else directions depend on, as JSON can hold it."""

    @abstractmethod
    def to(self, device: torch.device | str, dtype: torch.dtype) -> Steerable:
        """The same on another device, in another precision."""

    @property
    def binary(self) -> bool:
        return self.outputs == 1

    def target(self, class_name: str | None) -> int:
        """Index of the output that raises the class; a binary attribute has one output and needs no class.

        Raises:
            InputError: no such class, or a multi-class attribute without a class.
        """
        if self.binary and class_name in (None, self.classes[1]):
            return 0
        if not self.binary and class_name in self.classes:
            return self.classes.index(class_name)
        options = self.name if self.binary else ", ".join(f"{self.name}:{c}" for c in self.classes)
        given = self.name if class_name is None else f"{self.name}:{class_name}"
        raise InputError(given, "no such class", f"use {options}")

    def heading(self, class_index: int) -> tuple[int, int]:
        """The output and the sign (1 or -1) that lead to a class; the negative class is the positive one's opposite."""
        return (0, 1 if class_index == 1 else -1) if self.binary else (class_index, 1)

    def score_of(self, x: Tensor, class_index: int) -> Tensor:
        """Log-odds [N] of one class at latents [N, D]."""
        output, sign = self.heading(class_index)
        return sign * self.scores(x)[:, output]

    def predict(self, x: Tensor) -> Tensor:
        """Index of the likeliest class [N] at latents [N, D], into `classes`."""
        scores = self.scores(x)
        return (scores[:, 0] > 0).long() if self.binary else scores.argmax(dim=1)

    @property
    def kept(self) -> str:
        """The keep list in words."""
        return ", ".join(self.keep) or "nothing"

    def margin(self, class_index: int) -> float:
        """The score of a class at which an edit towards it counts as arrived."""
        return self.margins[class_index] if self.margins else 0.0


@dataclass(frozen=True, kw_only=True)
class Control(Steerable):
    """A trained attribute classifier on w, with its default keep list, layer range and unit of strength.

    The score of a class is its log-odds, log p_j / (1 - p_j): for a binary attribute the logit of the positive class,
    for a multi-class one logit_j - logsumexp of the other logits.
    """

    classifier: Classifier
    metric: Metric | None = None  # The shape of W, for the method "project".
    method: Method = "paper"      # How directions keep the other attributes: masks ("paper") or projection ("project").

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: the method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.metric is not None and self.metric.axes.shape[1] != self.width:
            raise ValueError(f"{self.name}: the metric is of a W of {self.metric.axes.shape[1]}, not of {self.width}")

    @property
    def outputs(self) -> int:
        return self.classifier.outputs

    @property
    def width(self) -> int:
        return self.classifier.w_dim

    def scores(self, x: Tensor) -> Tensor:
        logits = self.classifier.logits(x)
        return logits if self.binary else log_odds(logits)

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        if self.method == "paper":
            return direction(self, x, target=target, keep=keep)
        return projected_direction(self, x, target=target, keep=[other for other, _ in keep], metric=self.metric)

    @property
    def kept(self) -> str:
        """The keep list in words; with the masks' channel counts where there are masks."""
        if self.method == "project":
            return super().kept
        return ", ".join(f"{name} {count}" for name, count in self.keep.items()) or "nothing"

    def tensors(self) -> dict[str, Tensor]:
        """The classifier's weights, and with a metric "metric_mean" and "metric_axes"."""
        found = self.classifier.tensors()
        return found if self.metric is None else {**found, "metric_mean": self.metric.mean,
                                                  "metric_axes": self.metric.axes}

    def settings(self) -> dict[str, Any]:
        metric = {} if self.metric is None else {"radius": self.metric.radius, "shell": self.metric.shell}
        return {"method": self.method, **metric}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Control:
        return replace(self, classifier=self.classifier.to(device, dtype),
                       metric=None if self.metric is None else self.metric.to(device, dtype))
