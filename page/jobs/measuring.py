"""What an edit did to a face, in numbers: each attribute before and after, and the identity distance."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from editing import Edit
from generators import from_pixels
from inversion import identity_distance
from learning.scorers import load_scorer
from page.jobs.describing import describer
from page.state.visitor import Subject

if TYPE_CHECKING:
    from page.state.models import Bench

NOTICED = 0.2  # A change of a class's probability that is worth a word where it was not asked for.


@dataclass(frozen=True)
class Measure:
    """One attribute of a picture before and after an edit."""

    attribute: str
    classes: tuple[str, ...]
    before: tuple[float, ...]  # Probability of each class.
    after: tuple[float, ...]
    judge: str                 # "picture": an image classifier looked; "control": the control's own opinion of the w.
    asked: bool                # Whether the edit was to change it.

    @property
    def leading(self) -> int:
        """The class that tells most: of a binary attribute the positive one, else the one that changed most."""
        if len(self.classes) == 2:
            return 1
        return int(np.argmax(np.abs(np.subtract(self.after, self.before)))) if self.changed else int(
            np.argmax(self.before))

    @property
    def changed(self) -> bool:
        """Whether any class's probability changed much."""
        return float(np.abs(np.subtract(self.after, self.before)).max()) >= NOTICED


@dataclass(frozen=True)
class Effect:
    """What an edit did."""

    measures: tuple[Measure, ...]
    identity: float  # Distance of dlib's face descriptors of the pictures before and after.

    @property
    def unwanted(self) -> tuple[Measure, ...]:
        """What changed though it was not asked for."""
        return tuple(measure for measure in self.measures if measure.changed and not measure.asked)


def effect_of(bench: Bench, subject: Subject, edit: Edit, picture: np.ndarray) -> Effect:
    """Measure an edit.

    Attributes that the bundled image classifier knows are judged by it, from the pictures; others by the scores of
    their own controls, from the latents.

    Args:
        bench: The controls.
        subject: What was edited.
        edit: The edit.
        picture: What came of it, uint8 [R, R, 3].
    """
    with torch.no_grad():
        logits = _scorer()(from_pixels(np.stack([subject.picture, picture])))
    judged = _scorer().attributes
    asked = {name.partition(":")[0] for name in edit.strengths}
    own = {name for name, control in bench.controls.items() if judged.get(name) != control.classes}
    latents = _own_probabilities(bench, subject, edit, own) if own else {}
    measures = [Measure(name, classes, *_rows(logits[name]), judge="picture", asked=name in asked)
                for name, classes in judged.items() if name not in own]
    measures += [Measure(name, bench.controls[name].classes, *rows, judge="control", asked=name in asked)
                 for name, rows in latents.items()]
    identity = identity_distance(subject.descriptor, describer()(picture))
    return Effect(tuple(measures), identity)


def _rows(logits: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    before, after = logits.softmax(dim=1).tolist()
    return tuple(before), tuple(after)


def _own_probabilities(bench: Bench, subject: Subject, edit: Edit,
                       names: set[str]) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    editor = bench.editor(subject, edit.method)
    edited = editor.displace(edit.strengths, **edit.how)
    found = {}
    for name in sorted(names):
        control = bench.controls[name]
        rows = []
        for latents in (None, edited):
            scores = control.scores(editor.states(control, latents))[0]
            rows.append((float(1 - scores[0].sigmoid()), float(scores[0].sigmoid())) if control.binary
                        else tuple(scores.sigmoid().tolist()))
        found[name] = (rows[0], rows[1])
    return found


@functools.cache
def _scorer():  # type: ignore[no-untyped-def]
    return load_scorer("bundled", device="cpu")
