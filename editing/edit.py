"""An edit as it is asked for, apart from whose face it changes: to be repeated, kept, and applied to others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from editing.editor import Editor


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

    def apply(self, editor: Editor) -> np.ndarray:
        """Edit the editor's latents; uint8 as `Editor.edit` gives.

        Raises:
            InputError: as for `Editor.edit`.
        """
        return editor.edit(self.strengths, **self.how)
