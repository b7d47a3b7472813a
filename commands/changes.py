"""What an edit does to each latent."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
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
    """What is done to each latent: the fields that `Editor.edit` takes, and classes to reach."""

    strengths: dict[str, float]
    keep: Any = None  # dict of channel counts, tuple of names, or None.
    layers: tuple[int, int] | None = None
    step: float | None = None
    method: str | None = None
    targets: tuple[str, ...] = ()  # Of --to; `found` puts strengths in their place.

    @property
    def how(self) -> dict[str, Any]:
        return {"keep": self.keep, "layers": self.layers, "step": self.step, "method": self.method}

    @property
    def tag(self) -> str:
        """For file names: -smile+1.5-hair-blond+1-to-old."""
        tag = "".join(f"-{in_file_name(name)}{strength:+g}" for name, strength in self.strengths.items())
        tag += "".join(f"-to-{in_file_name(name)}" for name in self.targets)
        short = sha256(tag.encode()).hexdigest()[:8]
        count = len(self.strengths) + len(self.targets)
        return tag if len(tag) <= MAX_TAG else f"-{count}-attributes-{short}"

    def check(self, editor: Editor) -> None:
        """Refuse what the editor would refuse, before the long work, by a trial at the mean w.

        Raises:
            InputError: an unknown attribute, or a strength or layer range out of reach.
        """
        for name, strength in self.strengths.items():
            if not abs(strength) <= MAX_STRENGTH:
                raise InputError(f"{name}={strength:g}", "too strong",
                                 f"1 flips the attribute of a typical face, use -{MAX_STRENGTH:g} to "
                                 f"{MAX_STRENGTH:g}")
        tried = dict(self.strengths)
        for name in self.targets:
            key = editor.key_of(name)
            if key.partition(":")[0] in {other.partition(":")[0] for other in tried}:
                raise InputError(name, "its attribute is to be changed in two ways", "give it once")
            tried[key] = 0.01
        editor.set_latent(editor.generator.neutral())
        editor.displace(tried, **self.how)
        for name, strength in self.strengths.items():
            _warn_beyond(editor, name, strength)

    def found(self, editor: Editor, stem: str) -> Change:
        """The same with strengths at which the editor's latent reaches the targets, each for itself.

        Args:
            editor: With one latent set.
            stem: The latent's name, for messages.

        Raises:
            InputError: a target is out of reach.
        """
        if not self.targets:
            return self
        from editing.increments import REMEDY, round_up

        strengths = dict(self.strengths)
        for name in self.targets:
            strength = float(round_up(editor.strengths_to(name, **self.how))[0])
            if not abs(strength) <= MAX_STRENGTH:
                far = f"even strength {MAX_STRENGTH:g}" if math.isfinite(strength) else "the longest way"
                raise InputError(stem, f"{name} is out of reach, {far} does not get there", REMEDY)
            note(f"{stem}: {name} reached at strength {strength:g}" if strength else f"{stem}: {name} is there already")
            strengths[editor.key_of(name)] = strength
            _warn_beyond(editor, editor.key_of(name), strength)
        found = replace(self, strengths=strengths, targets=())
        _warn_missed(editor, stem, self.targets, found)
        return found


def in_file_name(name: str) -> str:
    """An attribute and its class without what a file's name should not have: hair-blond."""
    return re.sub(r"[^\w.+-]+", "-", name)


def _warn_beyond(editor: Editor, name: str, strength: float) -> None:
    low, high = editor.controls.find(name.partition(":")[0]).limits
    if strength and not low <= strength <= high:
        note(f"Warning: {name}={strength:g}: beyond {low:g} to {high:g} pictures may fall apart")


def _warn_missed(editor: Editor, stem: str, targets: tuple[str, ...], change: Change) -> None:
    """Tell of targets that are reached alone, but not together with the other changes."""
    edited = editor.displace(change.strengths, **change.how)
    for name in targets:
        control, class_index = editor.find(name)
        x = editor.states(control, edited, layers=change.layers)
        if len(change.strengths) > 1 and float(control.score_of(x, class_index)) < control.margin(class_index):
            note(f"Warning: {stem}: {name} is not reached together with the other changes; set its strength by hand")
