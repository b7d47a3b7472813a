"""A control: a small attribute classifier on w, and the settings with which it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import Tensor

from weights.errors import InputError
from weights.fingerprint import fingerprint

SLOPE = 0.1  # Of the classifier's leaky ReLU, as in the classifiers that the paper's authors published.
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Two fully connected layers on w, Linear(w_dim, H), LeakyReLU(0.1), Linear(H, C) (Chen et al. 2022, section 4)."""

    hidden_weight: Tensor  # [H, w_dim]
    hidden_bias: Tensor    # [H]
    out_weight: Tensor     # [C, H]; C is 1 for a binary attribute.
    out_bias: Tensor       # [C]

    def __post_init__(self) -> None:
        hidden, outputs = self.hidden_weight.shape[0], self.out_weight.shape[0]
        if (self.hidden_weight.ndim != 2 or self.hidden_bias.shape != (hidden,) or self.out_bias.shape != (outputs,)
                or self.out_weight.shape != (outputs, hidden)):
            raise ValueError("classifier weights must be [H, w_dim], [H], [C, H] and [C], not "
                             f"{[list(t.shape) for t in self.tensors().values()]}")

    @property
    def w_dim(self) -> int:
        return self.hidden_weight.shape[1]

    @property
    def outputs(self) -> int:
        """C: 1 for a binary attribute, else the number of classes."""
        return self.out_weight.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        return {"hidden_weight": self.hidden_weight, "hidden_bias": self.hidden_bias,
                "out_weight": self.out_weight, "out_bias": self.out_bias}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Classifier:
        return Classifier(**{name: tensor.to(device, dtype) for name, tensor in self.tensors().items()})

    def logits(self, w: Tensor) -> Tensor:
        """Logits [N, C] at w [N, w_dim]."""
        hidden = F.linear(w, self.hidden_weight, self.hidden_bias)
        return F.linear(F.leaky_relu(hidden, SLOPE), self.out_weight, self.out_bias)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A trained attribute classifier with its default keep list, layer range and unit of strength.

    The score of a class is its log-odds, log p_j / (1 - p_j): for a binary attribute the logit of the positive class,
    for a multi-class one logit_j - logsumexp of the other logits. It is above 0 where the class is the likelier answer.
    """

    name: str                           # Lower-case letters, digits and _: "smile".
    classes: tuple[str, ...]            # Binary: (negative, positive); multi-class: one name each output.
    classifier: Classifier
    layers: tuple[int, int]             # Layer range [start, stop).
    keep: Mapping[str, int] = field(default_factory=dict)  # Default keep list: channels masked by attribute (top-k).
    step: float = 0.6                   # Step length in W; the paper's.
    units: tuple[float, ...] = (1.0,)   # Path length in W of strength 1, one for each output.
    limits: tuple[float, float] = (-3.0, 3.0)  # Strengths between which pictures stay good.
    report: Mapping[str, object] = field(default_factory=dict)  # How it was trained and how well it does.

    def __post_init__(self) -> None:
        outputs = self.classifier.outputs
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

    @property
    def binary(self) -> bool:
        return self.classifier.outputs == 1

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
        raise InputError(f"{given}: no such class; use {options}")

    def scores(self, w: Tensor) -> Tensor:
        """Scores [N, C] at w [N, w_dim], the log-odds of each output's class."""
        logits = self.classifier.logits(w)
        if self.binary:
            return logits
        others = [torch.cat([logits[:, :j], logits[:, j + 1:]], dim=1).logsumexp(dim=1)
                  for j in range(logits.shape[1])]
        return logits - torch.stack(others, dim=1)

    def predict(self, w: Tensor) -> Tensor:
        """Index of the likeliest class [N] at w [N, w_dim], into `classes`."""
        logits = self.classifier.logits(w)
        return (logits[:, 0] > 0).long() if self.binary else logits.argmax(dim=1)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Control:
        return replace(self, classifier=self.classifier.to(device, dtype))


class Controls(Mapping[str, Control]):
    """Controls by name, all for one generator.

    Attributes:
        generator_hash: The generator whose w they were trained on; None if that is not known.
        source: Where they came from, for messages.
    """

    def __init__(self, controls: list[Control], *, generator_hash: str | None = None, source: str = "controls") -> None:
        self.generator_hash = generator_hash
        self.source = source
        self._by_name = {control.name: control for control in controls}
        if len(self._by_name) != len(controls):
            raise InputError(f"{source}: two controls have the same name; rename one of "
                             f"{', '.join(control.name for control in controls)}")

    def __getitem__(self, name: str) -> Control:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def hash(self) -> str:
        """SHA-256 over weights and settings, by which a recipe names its controls; 64 hex digits."""
        settings = [[c.name, c.classes, c.layers, sorted(c.keep.items()), c.step, c.units] for c in self.values()]
        weights = {f"{c.name}.{name}": tensor for c in self.values() for name, tensor in c.classifier.tensors().items()}
        return sha256(f"{fingerprint(weights)}{json.dumps(settings)}".encode()).hexdigest()

    def find(self, name: str) -> Control:
        """The control with this name.

        Raises:
            InputError: there is none; the message lists those that there are.
        """
        if name not in self._by_name:
            raise InputError(f"{name}: no such attribute in {self.source}; there are {', '.join(self) or 'none'}")
        return self._by_name[name]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Controls:
        return Controls([control.to(device, dtype) for control in self.values()],
                        generator_hash=self.generator_hash, source=self.source)
