"""Directions and controls: ways to move a latent, and those of them that know what they change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import Self

from directions.methods import METHODS, NAME, MethodName, Moves
from generators.base import ALL_LAYERS, Generator
from gradctrl.classifier import Classifier
from gradctrl.gradients import Statistics, direction, projected_direction
from weights.errors import InputError

Keeping = Literal["projection", "masks"]
KeepList = Sequence[tuple[Any, int]]  # Controls of the attributes to keep, with the channels that each masks.

LIMITS = (-3.0, 3.0)                  # Of directions at whose pictures nobody has looked.
RADIUS = 0.7                          # Measured: see docs/evaluation.md.


@dataclass(frozen=True, kw_only=True)
class Direction(ABC):
    """A way to move a latent, or the styles that a generator computes from it, or its weights. It needs no labels.

    What is moved is [N, D]: w, D being w_dim, all styles, or the weight of one convolution. A direction may have
    several outputs, each a way of its own: "hair:blond" and "hair:black".
    """

    name: str                                  # Lower-case letters, digits and _: "smile".
    layers: tuple[int, int] = ALL_LAYERS       # Layer range [start, stop), in sides of features.
    step: float = 0.6                          # Length of a step; the paper's for w.
    units: tuple[float, ...] = (1.0,)          # Length of the path of strength 1, one for each output.
    limits: tuple[float, float] = LIMITS       # Strengths between which pictures stay good.
    report: Mapping[str, object] = field(default_factory=dict)  # How it was found, and how well it does.

    def __post_init__(self) -> None:
        outputs = self.outputs
        if not NAME.fullmatch(self.name):
            raise ValueError(f"a direction's name must be lower-case letters of any language, digits and _, not "
                             f"{self.name!r}")
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: the method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if len(self.units) != outputs or min(self.units) <= 0:
            raise ValueError(f"{self.name}: {outputs} positive units are needed, not {self.units}")
        if not 0 <= self.layers[0] < self.layers[1]:
            raise ValueError(f"{self.name}: the layer range must be [start, stop) with start < stop, not {self.layers}")
        if self.step <= 0:
            raise ValueError(f"{self.name}: the step must be above 0, not {self.step}")

    @property
    @abstractmethod
    def method(self) -> MethodName:
        """How it was found."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many ways it knows: 1, or for an attribute of several classes one a class."""

    @property
    @abstractmethod
    def width(self) -> int:
        """D, the length of what it moves."""

    @property
    def moves(self) -> Moves:
        """What it moves."""
        return METHODS[self.method].moves

    @abstractmethod
    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        """Unit directions [N, D] at x [N, D] of one output, with what is kept left alone."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was learned, by name."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What else it depends on, as JSON can hold it."""

    @abstractmethod
    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        """The same on another device, in another precision."""

    def check(self, generator: Generator) -> None:  # noqa: B027 (for most their space tells)
        """Refuse a generator by more than its space.

        Raises:
            InputError: it moves the weights of another generator.
        """

    @property
    def binary(self) -> bool:
        """Whether there is one way, to be gone forwards and backwards."""
        return self.outputs == 1

    @property
    def keys(self) -> list[str]:
        """The names under which its strengths are given: "smile", or "hair:black", "hair:brown", "hair:blond"."""
        return [self.name]

    @property
    def meaning(self) -> str:
        """What its strengths do, in words."""
        return "a direction that nobody labelled"

    @property
    def kept(self) -> str:
        """What it leaves alone, in words."""
        return "nothing"

    def layers_of(self, target: int = 0) -> tuple[int, int]:
        """The layer range of an output."""
        return self.layers

    def limits_of(self, target: int = 0) -> tuple[float, float]:
        """The strengths of an output between which pictures stay good."""
        return self.limits

    def centre_of(self, target: int = 0) -> float | None:
        """Coordinate along an output's direction of the mean of what it moves; None: it is not the same everywhere."""
        return None

    def target(self, class_name: str | None) -> int:
        """Index of the output that a name means; a direction without classes has one.

        Raises:
            InputError: there is none of this name.
        """
        if class_name is not None:
            raise InputError(f"{self.name}:{class_name}", "no such class", f"use {self.name}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Control(Direction):
    """A direction that knows its attribute: the classes, and a score of each at any latent."""

    classes: tuple[str, ...]            # Binary: (negative, positive); multi-class: one name each output.
    keep: Mapping[str, int] = field(default_factory=dict)  # Default keep list: channels masked by attribute (top-k).
    margins: tuple[float, ...] = ()     # Of each class: the score at which an edit counts as arrived; (): 0 for all.
    ordered: bool = False               # Whether the classes are steps of one scale: left, front, right.
    keeps_tone: bool = False            # Whether skin is to have the colour that it had, whatever the edit did to it.

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = max(self.outputs, 2)
        if len(self.classes) != wanted or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.name}: {wanted} different class names are needed, not {self.classes}")
        if self.margins and len(self.margins) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} margins are needed, not {self.margins}")

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """Scores [N, outputs] at x [N, D]: each output's log-odds, above 0 where its class is the likelier."""

    @property
    def meaning(self) -> str:
        if self.binary:
            return f"{self.classes[0]} (-) to {self.classes[1]} (+)"
        return f"{', '.join(self.classes)}{' (in order)' if self.ordered else ''}"

    @property
    def keys(self) -> list[str]:
        return [self.name] if self.binary else [f"{self.name}:{name}" for name in self.classes]

    def target(self, class_name: str | None) -> int:
        """Index of the output that raises the class; a binary attribute has one output and needs no class.

        Raises:
            InputError: no such class, or a multi-class attribute without a class.
        """
        if self.binary and class_name in (None, self.classes[1]):
            return 0
        if not self.binary and class_name in self.classes:
            return self.classes.index(class_name)
        given = self.name if class_name is None else f"{self.name}:{class_name}"
        raise InputError(given, "no such class", f"use {', '.join(self.keys)}")

    def heading(self, class_index: int) -> tuple[int, int]:
        """The output and the sign (1 or -1) that lead to a class; the negative class is the positive one's opposite."""
        return (0, 1 if class_index == 1 else -1) if self.binary else (class_index, 1)

    def score_of(self, x: Tensor, class_index: int) -> Tensor:
        """Log-odds [N] of one class at x [N, D]."""
        output, sign = self.heading(class_index)
        return sign * self.scores(x)[:, output]

    def predict(self, x: Tensor) -> Tensor:
        """Index of the likeliest class [N] at x [N, D], into `classes`."""
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
class GradCtrlControl(Control):
    """A trained attribute classifier on w, whose gradient is followed and taken afresh at each step.

    The score of a class is its log-odds, log p_j / (1 - p_j): for a binary attribute the logit of the positive class,
    for a multi-class one logit_j - logsumexp of the other logits.
    """

    classifier: Classifier
    statistics: Statistics | None = None  # Of W, for "projection".
    keeping: Keeping = "masks"  # How others are kept: by masks of channels (the paper's way) or projection.
    radius: float = RADIUS      # Projection: gradients are averaged this far around w, in standard scores.
    shell: bool = True          # Projection: the distance from the mean w stays as it is.
    sensitivity: Tensor | None = None  # [R, w_dim]: others keep it softly by that (`fit_sensitivity`); None: exactly.
    holds: Tensor | None = None  # [R, w_dim]: a sensitivity of what it keeps softly itself, whatever the keep list.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keeping not in ("projection", "masks"):
            raise ValueError(f"{self.name}: attributes are kept by projection or masks, not by {self.keeping!r}")
        if self.statistics is not None and self.statistics.axes.shape[1] != self.width:
            raise ValueError(f"{self.name}: the statistics are of a W of {self.statistics.axes.shape[1]}, not of "
                             f"{self.width}")

    @property
    def method(self) -> MethodName:
        return "gradctrl"

    @property
    def outputs(self) -> int:
        return self.classifier.outputs

    @property
    def width(self) -> int:
        return self.classifier.w_dim

    def scores(self, x: Tensor) -> Tensor:
        return self.classifier.scores(x)

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        if self.keeping == "masks":
            return direction(self.classifier, x, target=target,
                             keep=[(other.classifier, count) for other, count in keep])
        soft = [other.sensitivity for other, _ in keep if other.sensitivity is not None and self.statistics is not None]
        soft += [self.holds] if self.holds is not None and self.statistics is not None else []
        exact = [other.classifier for other, _ in keep if other.sensitivity is None or self.statistics is None]
        return projected_direction(self.classifier, x, target=target, keep=exact, soft=soft,
                                   statistics=self.statistics, radius=self.radius, shell=self.shell)

    @property
    def kept(self) -> str:
        """The keep list in words; with the masks' channel counts where there are masks."""
        if self.keeping == "projection":
            holding = ["others, as it was trained"] if self.holds is not None else []
            return ", ".join([*holding, *self.keep]) or "nothing"
        return ", ".join(f"{name} {count}" for name, count in self.keep.items()) or "nothing"

    def tensors(self) -> dict[str, Tensor]:
        """The classifier's weights; of the statistics "statistics_mean" and "statistics_axes"; what else there is."""
        tensors = self.classifier.tensors()
        if self.statistics is not None:
            tensors |= {"statistics_mean": self.statistics.mean, "statistics_axes": self.statistics.axes}
        perhaps = {"sensitivity": self.sensitivity, "holds": self.holds}
        return tensors | {name: tensor for name, tensor in perhaps.items() if tensor is not None}

    def settings(self) -> dict[str, Any]:
        return {"keeping": self.keeping, "radius": self.radius, "shell": self.shell}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, classifier=self.classifier.to(device, dtype),
                       statistics=None if self.statistics is None else self.statistics.to(device, dtype),
                       sensitivity=None if self.sensitivity is None else self.sensitivity.to(device, dtype),
                       holds=None if self.holds is None else self.holds.to(device, dtype))
