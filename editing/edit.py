"""An edit as it is asked for, apart from whose face it changes: to be repeated, kept, and applied to others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from editing.editor import Editor
from weights.errors import InputError

MOST_STRENGTH, LEAST_STEP = 20.0, 0.05  # What lies beyond takes seconds and looks like nobody.

@dataclass(frozen=True, kw_only=True)
class Edit:
    """What is asked of an `Editor`: strengths, and how they are gone to. The fields are those of `Editor.edit`."""

    strengths: Mapping[str, float] = field(default_factory=dict)  # "smile" or "hair:blond", signed; none is 0.
    keep: Mapping[str, int] | tuple[str, ...] | None = None
    layers: tuple[int, int] | None = None
    step: float | None = None
    method: str | None = None

    @property
    def how(self) -> dict[str, Any]:
        """Everything but the strengths, by the names of `Editor.edit`'s keywords."""
        return {"keep": self.keep, "layers": self.layers, "step": self.step, "method": self.method}

    @property
    def changes(self) -> bool:
        """Whether any strength is not 0."""
        return any(self.strengths.values())

    def check(self) -> None:
        """Refuse what would take for ever, or is no number: for edits that come from files and from other programs.

        Raises:
            InputError: the message names the strength or the step.
        """
        for name, strength in self.strengths.items():
            if not abs(strength) <= MOST_STRENGTH:  # NaN neither.
                raise InputError(None, f"{name} {strength:g} is too far",
                                 f"give {-MOST_STRENGTH:g} to {MOST_STRENGTH:g}, where 1 flips the attribute of "
                                 "a typical sample")
        if self.step is not None and not LEAST_STEP <= self.step < math.inf:
            raise InputError(None, f"step {self.step:g} is no length of a step",
                             f"give {LEAST_STEP:g} or more, or none")

    def apply(self, editor: Editor) -> np.ndarray:
        """Edit the editor's latents; uint8 as `Editor.edit` gives.

        Raises:
            InputError: as for `Editor.edit`.
        """
        return editor.edit(self.strengths, **self.how)
