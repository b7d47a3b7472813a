"""An edit as it is asked for, apart from whose face it changes: to be repeated, kept, and applied to others."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from directions.methods import method_of
from weights.errors import InputError

MOST_STRENGTH, LEAST_STEP = 20.0, 0.01  # What lies beyond takes seconds and looks like nobody.
Keep = Sequence[str] | Mapping[str, int]


class Frozen(Mapping[str, Any]):
    """A mapping that cannot be changed and can be hashed; it equals any mapping of the same items."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is asked for: strengths, what must stay, which layers change, and by which method."""

    strengths: Mapping[str, float] = field(default_factory=dict)  # "smile" or "hair:blond", signed; none is 0.
    keep: Keep | None = None               # Names, or channels to mask by name; None: each control's own list.
    layers: tuple[int, int] | None = None  # [start, stop) in sides of features; None: each control's own.
    step: float | None = None              # Length of a step; None: each control's own.
    method: str | None = None              # "gradctrl", "interfacegan" ...; None: that of the controls at hand.
    centred: bool = False                  # Strengths say where along a direction, from the mean of W (GANSpace).

    def __post_init__(self) -> None:
        put = object.__setattr__  # How a frozen dataclass settles its own fields.
        put(self, "strengths", Frozen({name: float(value) for name, value in self.strengths.items()}))
        if self.keep is not None:
            put(self, "keep", Frozen(self.keep) if isinstance(self.keep, Mapping) else tuple(self.keep))
        if self.layers is not None:
            put(self, "layers", (self.layers[0], self.layers[1]))

    @staticmethod
    def of(edit: Edit | Mapping[str, float], **how: Any) -> Edit:
        """An edit from strengths by name, or one with some of its other fields changed: `of({"smile": 1}, keep=[])`."""
        return replace(edit, **how) if isinstance(edit, Edit) else Edit(strengths=edit, **how)

    def with_strengths(self, strengths: Mapping[str, float]) -> Edit:
        """The same way of editing, with other strengths."""
        return replace(self, strengths=strengths)

    @property
    def changes(self) -> bool:
        """Whether any strength is not 0, or says where to go."""
        return any(self.strengths.values()) or (self.centred and bool(self.strengths))

    def after_truncation(self, psi: float) -> Edit:
        """This edit of truncated latents, as it were made before they were truncated: GANSpace's authors' reading.

        They truncate w + d, so that psi scales what was added too; elsewhere here w is truncated, and d added whole.
        """
        return self.with_strengths({name: psi * strength for name, strength in self.strengths.items()})

    def check(self) -> None:
        """Refuse what would take for ever, or is no number: for edits that come from files and from other programs.

        Raises:
            InputError: the message names the strength, the step or the method.
        """
        for name, strength in self.strengths.items():
            if not abs(strength) <= MOST_STRENGTH:  # NaN neither.
                raise InputError(None, f"{name} {strength:g} is too far",
                                 f"give {-MOST_STRENGTH:g} to {MOST_STRENGTH:g}, where 1 flips the attribute of a "
                                 "typical sample")
        if self.step is not None and not LEAST_STEP <= self.step < math.inf:
            raise InputError(None, f"step {self.step:g} is no length of a step",
                             f"give {LEAST_STEP:g} or more, or none")
        if self.method is not None:
            method_of(self.method)

    def to_json(self) -> dict[str, Any]:
        """The edit as JSON can hold it; `from_json` reads it."""
        keep = dict(self.keep) if isinstance(self.keep, Mapping) else None if self.keep is None else list(self.keep)
        return {"strengths": dict(self.strengths), "keep": keep,
                "layers": None if self.layers is None else list(self.layers), "step": self.step, "method": self.method,
                **({"centred": True} if self.centred else {})}

    @staticmethod
    def from_json(data: Any) -> Edit:
        """Read what `to_json` wrote, from a file that may be anybody's.

        Raises:
            ValueError: a field is missing or of the wrong kind; the message names it.
        """
        if not isinstance(data, dict):
            raise ValueError("an edit must be an object")
        if set(data) - {"strengths", "keep", "layers", "step", "method", "centred"} or "strengths" not in data:
            raise ValueError("an edit has strengths, keep, layers, step, method and centred, and nothing else")
        strengths, keep, layers, step, method = (data.get(name) for name in (
            "strengths", "keep", "layers", "step", "method"))
        if not isinstance(strengths, dict) or not all(map(_is_number, strengths.values())):
            raise ValueError("strengths must be numbers by name")
        names = isinstance(keep, list) and all(isinstance(name, str) for name in keep)
        counts = isinstance(keep, dict) and all(type(count) is int and count >= 0 for count in keep.values())
        if not (keep is None or names or counts):
            raise ValueError("keep must be names, or channel counts by name")
        if layers is not None and not (isinstance(layers, list) and len(layers) == 2
                                       and all(type(side) is int and side >= 0 for side in layers)):
            raise ValueError("layers must be two sides of features")
        if not (step is None or _is_number(step)) or not (method is None or isinstance(method, str)):
            raise ValueError("step must be a number and method a name")
        if not isinstance(data.get("centred", False), bool):
            raise ValueError("centred must be true or false")
        return Edit(strengths=strengths, keep=keep, layers=None if layers is None else (layers[0], layers[1]),
                    step=step, method=method, centred=data.get("centred", False))

    def __str__(self) -> str:
        return json.dumps(self.to_json())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
