"""What an edit does to each latent."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from commands.messages import note
from weights.errors import InputError

if TYPE_CHECKING:
    from editing import Editor

MAX_STRENGTH = 20.0  # Far beyond any face; more would only step for minutes.
MAX_TAG = 80         # Characters of a file name that tell the edit.


@dataclass(frozen=True)
class Change:
    """What is done to each latent; the fields that `Editor.edit` takes."""

    strengths: dict[str, float]
    keep: Any = None  # dict of channel counts, tuple of names, or None.
    layers: tuple[int, int] | None = None
    step: float | None = None

    @property
    def how(self) -> dict[str, Any]:
        return {"keep": self.keep, "layers": self.layers, "step": self.step}

    @property
    def tag(self) -> str:
        """For file names: -smile+1.5-hair-blond+1."""
        tag = "".join(f"-{name.replace(':', '-')}{strength:+g}" for name, strength in self.strengths.items())
        short = sha256(tag.encode()).hexdigest()[:8]
        return tag if len(tag) <= MAX_TAG else f"-{len(self.strengths)}-attributes-{short}"

    def check(self, editor: Editor) -> None:
        """Refuse what the editor would refuse, before the long work, by a trial at the mean w.

        Raises:
            InputError: an unknown attribute, or a strength or layer range out of reach.
        """
        for name, strength in self.strengths.items():
            if not abs(strength) <= MAX_STRENGTH:
                raise InputError(f"{name}={strength:g}: too strong; 1 flips the attribute of a typical face, use "
                                 f"-{MAX_STRENGTH:g} to {MAX_STRENGTH:g}")
        editor.set_latent(editor.generator.mapping.w_avg)
        editor.displace(self.strengths, **self.how)
        for name, strength in self.strengths.items():
            low, high = editor.controls.find(name.partition(":")[0]).limits
            if not low <= strength <= high:
                note(f"Warning: {name}={strength:g}: beyond {low:g} to {high:g} pictures may fall apart")
