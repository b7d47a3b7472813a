"""A lesson: a person sorts synthetic samples into classes, and a control is trained on them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from directions import Controls, GradCtrlControl
from generators import Generator, to_pixels
from gradctrl import Classifier
from learning.from_labels import FEWEST, GOAL, Pool, adjusted, check_attribute, fit, fit_from_labels, was_taught
from learning.uncertainty import least_certain, likely
from weights.errors import InputError

__all__ = ["FEWEST", "GOAL", "Lesson", "Pool", "Sample", "check_attribute", "fit_from_labels", "was_taught"]

SHOWN = 256  # Side of the samples' pictures, in pixels, where the generator draws such.
AHEAD = 4    # Samples that are rendered before they are asked for.
SEEK = 2     # Examples of each class with which a rare class can be looked for.
FIRST = 5    # Examples of each class with which the first model asks for what it is unsure of.
RECENT = 6   # Samples that the next one should be unlike.
REFIT = 3    # Labels after which the model is trained again.
BEHIND = 3   # Examples that a class may lack before the others wait for it.


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample to sort."""

    index: int           # Into the pool.
    seed: int
    picture: np.ndarray  # uint8 [R, R, 3]
    why: str             # "random"; "unsure": the model is; or the class that it was looked for as a likely member of.


@dataclass(frozen=True, eq=False)
class _Step:
    sample: Sample
    label: int | None    # None: skipped.


class Lesson:
    """Which samples were sorted into which class, and which comes next.

        lesson = Lesson(generator, Pool(generator), "beard", ["no beard", "beard"], controls)
        lesson.current.picture          # Show it, then one of
        lesson.sort("beard"), lesson.skip(), lesson.undo()
        lesson.prepare()                # While the person looks: renders what comes next.
        control = lesson.fit()

    Samples come at random first; as soon as each class has 5, those come that a model trained on the labels so far is
    unsure of. For a class that lags behind every other one is a likely member of it. No sample comes twice. One thread
    may `prepare` while another sorts.

    Args:
        generator: Draws the pictures.
        pool: Its samples.
        name: Of the attribute.
        classes: 2 to 6; of a binary attribute (negative, positive).
        controls: Those that there are, which the new one keeps.
        seed: Of the order of the samples that come at random.
        active: False: all samples come at random.
    Raises:
        InputError: a name that a control cannot have.
    """

    def __init__(self, generator: Generator, pool: Pool, name: str, classes: Sequence[str], controls: Controls, *,
                 seed: int = 0, active: bool = True) -> None:
        check_attribute(name, classes, controls)
        self.generator, self.pool, self.controls = generator, pool, controls
        self.name, self.classes, self.active = name, tuple(classes), active
        self.control: GradCtrlControl | None = None  # The one trained last.
        order = torch.randperm(len(pool.seeds), generator=torch.Generator().manual_seed(seed))
        self._order: list[int] = order.tolist()
        self._steps: list[_Step] = []
        self._ahead: deque[Sample] = deque()
        self._model: Classifier | None = None
        self._learned: dict[int, int] = {}   # What the model was trained on.
        self._state = threading.RLock()      # Of what is above; held for a moment.
        self._preparing = threading.Lock()   # Held while one thread trains and renders.

    # ---- where it stands

    @property
    def labels(self) -> dict[int, str]:
        """The class of each sample that was sorted, by seed."""
        return {self.pool.seeds[index]: self.classes[label] for index, label in self._labelled().items()}

    @property
    def counts(self) -> dict[str, int]:
        """How many samples each class has."""
        given = list(self._labelled().values())
        return {name: given.count(index) for index, name in enumerate(self.classes)}

    @property
    def ready(self) -> bool:
        """Whether each class has the 10 samples that training takes."""
        return min(self.counts.values()) >= FEWEST

    @property
    def complete(self) -> bool:
        """Whether each class has the 30 samples that training works well with."""
        return min(self.counts.values()) >= GOAL

    @property
    def shown(self) -> int:
        """How many samples were sorted or skipped."""
        return len(self._steps)

    @property
    def can_undo(self) -> bool:
        return bool(self._steps)

    @property
    def current(self) -> Sample | None:
        """The sample to sort now; None: all were shown."""
        with self._state:
            if self._ahead:
                return self._ahead[0]
        self.prepare(1)
        with self._state:
            return self._ahead[0] if self._ahead else None

    # ---- what the person does

    def sort(self, class_name: str) -> None:
        """Put the current sample into a class.

        Raises:
            InputError: no such class, or no sample is left.
        """
        if class_name not in self.classes:
            raise InputError(class_name, "no such class", f"{self.name} has {', '.join(self.classes)}")
        self._step(self.classes.index(class_name))

    def skip(self) -> None:
        """Leave the current sample out.

        Raises:
            InputError: no sample is left.
        """
        self._step(None)

    def undo(self) -> None:
        """Take the last sample back that was sorted or skipped: it is the current one again.

        Raises:
            InputError: there is none.
        """
        with self._state:
            if not self._steps:
                raise InputError(None, "there is nothing to undo", "no sample has been sorted yet")
            self._ahead.appendleft(self._steps.pop().sample)

    def prepare(self, count: int = AHEAD) -> None:
        """Choose and render samples until so many wait, the current one among them; trains the model when it is due."""
        with self._preparing:
            while True:
                with self._state:
                    labels, waiting = self._labelled(), len(self._ahead)
                    taken = [sample.index for sample in (*(step.sample for step in self._steps), *self._ahead)]
                if waiting >= count:
                    return
                self._learn(labels)
                index, why = self._choose(labels, taken)
                if index is None:
                    return
                sample = Sample(index, self.pool.seeds[index], self._render(index), why)
                with self._state:
                    self._ahead.append(sample)

    def fit(self) -> GradCtrlControl:
        """Train and calibrate a control on what was sorted so far (see `fit_from_labels`); the lesson can go on.

        What `adjust` changed before stays so; at first all other controls are kept.

        Raises:
            InputError: fewer than 10 samples of a class.
        """
        before = self.control
        self.control = fit_from_labels(
            self.generator, self.controls, self.name, self.classes, self.labels, truncation=self.pool.truncation,
            keep=None if before is None else list(before.keep), layers=None if before is None else before.layers,
            pool=self.pool)
        return self.control

    def adjust(self, *, keep: Sequence[str], layers: tuple[int, int] | None = None) -> GradCtrlControl:
        """Give the control trained last another keep list or layer range.

        Raises:
            InputError: nothing was trained yet.
        """
        if self.control is None:
            raise InputError(self.name, "nothing is trained yet", "train first")
        self.control = adjusted(self.generator, self.control, self.controls, self.pool, keep=keep, layers=layers,
                                outside=set(self.labels))
        return self.control

    # ---- which comes next

    def _labelled(self) -> dict[int, int]:
        """Class indexes by sample."""
        with self._state:
            return {step.sample.index: step.label for step in self._steps if step.label is not None}

    def _step(self, label: int | None) -> None:
        if self.current is None:
            raise InputError(None, f"all {len(self.pool.seeds)} samples have been shown",
                             "train with what is sorted, or undo")
        with self._state:
            self._steps.append(_Step(self._ahead.popleft(), label))

    def _learn(self, labels: dict[int, int]) -> None:
        """Train the model if labels have come since, or one was taken back."""
        fewest = min(list(labels.values()).count(label) for label in range(len(self.classes)))
        if not self.active or fewest < SEEK:
            self._model, self._learned = None, {}
            return
        new = len(labels.items() - self._learned.items())
        gone = self._learned.items() - labels.items()
        if self._model is None or gone or new >= REFIT:
            index = sorted(labels)
            self._model = fit(self.pool.latents[index], torch.tensor([labels[i] for i in index]), len(self.classes))
            self._learned = labels

    def _choose(self, labels: dict[int, int], taken: list[int]) -> tuple[int | None, str]:
        """The next sample's index, and why; taken: those shown or waiting, the latest last."""
        gone = set(taken)
        left = [index for index in self._order if index not in gone]
        if not left:
            return None, ""
        counts = [list(labels.values()).count(label) for label in range(len(self.classes))]
        lacking = counts.index(min(counts))
        latents = self.pool.latents
        apart = latents[taken[-RECENT:]]
        # Every other one: what the model takes for the class is not all of it, and the rest must be found as well.
        behind = max(counts) - counts[lacking] >= BEHIND and len(taken) % 2
        if self._model is not None and behind:
            chosen = likely(self._model, latents[left], lacking, apart_from=apart)
            return left[int(chosen[0])], self.classes[lacking]
        if self._model is not None and counts[lacking] >= FIRST:
            return left[int(least_certain(self._model, latents[left], apart_from=apart)[0])], "unsure"
        return left[0], "random"

    def _render(self, index: int) -> np.ndarray:
        latent = self.pool.latents[index:index + 1].to(self.generator.device, self.generator.dtype)
        with torch.no_grad():
            picture: np.ndarray = to_pixels(self.generator.render(latent, self.generator.side_for(SHOWN)))[0]
        return picture
