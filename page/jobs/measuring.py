"""What an edit did to a face, in numbers: each attribute before and after, and the identity distance."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from directions import Control
from editing import Edit
from generators import from_pixels
from inversion import identity_distance
from learning.scorers.bundled import FaceClassifier, is_told, load_face_classifier, scores_of
from page.jobs.describing import describer
from page.jobs.editing import editor_of
from page.state.models import EditingModels
from page.state.visitor import EditSubject

NOTICED = 0.2  # A change of a class's probability that is worth a word where it was not asked for.


@dataclass(frozen=True)
class Measure:
    """One attribute of a picture before and after an edit."""

    attribute: str
    classes: tuple[str, ...]
    before: tuple[float, ...]  # Probability of each class.
    after: tuple[float, ...]
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
        return self.largest >= NOTICED

    @property
    def largest(self) -> float:
        """By how much the probability of a class changed, at most."""
        return float(np.abs(np.subtract(self.after, self.before)).max())


@dataclass(frozen=True)
class Effect:
    """What an edit did."""

    measures: tuple[Measure, ...]
    identity: float  # Distance of dlib's face descriptors of the pictures before and after.

    @property
    def unwanted(self) -> tuple[Measure, ...]:
        """What changed though it was not asked for."""
        return tuple(measure for measure in self.measures if measure.changed and not measure.asked)


def effect_of(models: EditingModels, subject: EditSubject, edit: Edit, picture: np.ndarray) -> Effect:
    """Measure an edit.

    Attributes that the bundled image classifier knows are judged by it, from the pictures; others, which somebody
    taught or brought, by the scores of their own controls, from the latents.

    Args:
        models: With the controls.
        subject: What was edited.
        edit: The edit.
        picture: What came of it, uint8 [R, R, 3].
    """
    asked = {name.partition(":")[0] for name in edit.strengths}
    known = {name: control for name, control in models.controls.items() if isinstance(control, Control)}
    seen = {name: control.classes for name, control in known.items() if is_told(name, control.classes)}
    own = {name: control for name, control in known.items() if name not in seen}
    probabilities = {**(_seen(subject, picture, seen) if seen else {}),
                     **(_probabilities(models, subject, edit, own) if own else {})}
    measures = [Measure(name, known[name].classes, *probabilities[name], asked=name in asked)
                for name in sorted(probabilities)]
    identity = identity_distance(descriptor_of(subject), describer()(picture))
    return Effect(tuple(measures), identity)


def descriptor_of(subject: EditSubject) -> np.ndarray:
    """dlib's descriptor of the unedited picture's face, float32 [128]."""
    if subject.descriptor is None:
        subject.descriptor = describer()(subject.picture)
    return subject.descriptor


def _seen(subject: EditSubject, picture: np.ndarray, classes: Mapping[str, tuple[str, ...]]
          ) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Of each class, in the pictures before and after, by attribute."""
    if subject.told is None:
        subject.told = _told(subject.picture)
    sides = [scores_of(told, classes) for told in (subject.told, _told(picture))]
    return {name: (_shares(sides[0][name]), _shares(sides[1][name])) for name in classes}


def _told(picture: np.ndarray) -> dict[str, Tensor]:
    with torch.inference_mode():
        return _classifier()(from_pixels(picture[None]))


@functools.cache
def _classifier() -> FaceClassifier:
    return load_face_classifier()


def _shares(logits: Tensor) -> tuple[float, ...]:
    return tuple(logits[0].softmax(dim=0).tolist())


def _probabilities(models: EditingModels, subject: EditSubject, edit: Edit, controls: Mapping[str, Control]
                   ) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Of each class, before the edit and after it, by attribute."""
    editor = editor_of(models, subject, edit.method)
    edited = editor.displace(edit)
    probabilities = {}
    for name, control in sorted(controls.items()):
        rows = []
        for latents in (None, edited):
            scores = control.scores(editor.states(control, latents))[0]
            rows.append((float(1 - scores[0].sigmoid()), float(scores[0].sigmoid())) if control.binary
                        else tuple(scores.sigmoid().tolist()))
        probabilities[name] = (rows[0], rows[1])
    return probabilities
