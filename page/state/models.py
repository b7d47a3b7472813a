"""The models that a visitor edits with: built on first use, and shared by the visitors that use them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from directions import FAMILIES, METHODS, Control, Controls, load_family
from editing import Editor
from generators import Generator, choose_device, load
from inversion import Projector, ProjectorSettings
from weights.errors import InputError

OWN = "own"  # The method that each of the controls brings with it.


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of an inversion take."""

    start: float   # Until the first step is done.
    step: float    # Of the search.
    tuning: float  # Of one step of the tuning.


class Timing:
    """What inversions by one generator take on this machine: first by the pace of a few steps, then by whole ones."""

    def __init__(self) -> None:
        self.pace: Pace | None = None
        self._whole: dict[ProjectorSettings, float] = {}

    def seconds(self, settings: ProjectorSettings) -> float | None:
        """Of an inversion by these settings: that of the last one, or what its steps add up to; None: not known."""
        pace = self.pace
        if settings in self._whole or pace is None:
            return self._whole.get(settings)
        return pace.start + settings.steps * pace.step + settings.tuning_steps * pace.tuning

    def learn(self, settings: ProjectorSettings, seconds: float) -> None:
        """Take note of what a whole inversion took."""
        self._whole[settings] = seconds


class LazyGenerator:
    """A generator and its projector, built when they are first needed.

    Args:
        source: Built, or what `generators.load` takes.
        device: Where it goes.
        title: What it is called; its name in the manifest where it has one.
        on_built: Called whenever it was built.
    """

    def __init__(self, source: Generator | str | os.PathLike[str], *, device: str = "auto",
                 title: str = "", on_built: Callable[[LazyGenerator], None] | None = None) -> None:
        self.title = title or ("bundled-generator" if source == "bundled" else "generator" if isinstance(
            source, Generator) else os.fspath(source))
        self.timing = Timing()
        self._source, self._device, self._on_built = source, device, on_built
        self._projector: Projector | None = None
        self._building = threading.Lock()

    @property
    def is_built(self) -> bool:
        return self._projector is not None

    @property
    def projector(self) -> Projector:
        """Raises InputError: the generator cannot be loaded."""
        with self._building:
            if self._projector is not None:
                return self._projector
            source = self._source
            built = source if isinstance(source, Generator) else load(source, device=choose_device(self._device))
            projector = self._projector = Projector(built)
        if self._on_built is not None:
            self._on_built(self)
        return projector

    def drop(self) -> None:
        """Give its memory back; it is built again when it is needed."""
        with self._building:
            self._projector = None


@dataclass(frozen=True, eq=False)
class EditingModels:
    """A generator, and controls for it."""

    lazy_generator: LazyGenerator
    controls: Controls

    @property
    def projector(self) -> Projector:
        return self.lazy_generator.projector

    @property
    def generator(self) -> Generator:
        return self.projector.generator

    @property
    def timing(self) -> Timing:
        return self.lazy_generator.timing

    @property
    def title(self) -> str:
        return self.lazy_generator.title

    @cached_property
    def _families(self) -> dict[str, Controls]:
        """The families of directions that can be read and are for this generator, by name."""
        families = {}
        for name in FAMILIES:
            with suppress(InputError):  # A family that is not there is not offered.
                family = load_family(name)
                if family.generator_hash == self.controls.generator_hash:
                    families[name] = family
        return families

    @cached_property
    def own_method(self) -> str | None:
        """The method that all controls bring with them, or the name of their family; None: not all the same."""
        methods = {getattr(control, "method", getattr(control, "family", None)) for control in self.controls.values()}
        return methods.pop() if len(methods) == 1 else None

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """What an edit can be made by: OWN, another way to keep attributes, or another family of directions."""
        choice = METHODS if all(isinstance(control, Control) for control in self.controls.values()) else ()
        return (OWN, *(name for name in (*choice, *self._families) if name != self.own_method))

    def controls_of(self, method: str | None) -> Controls:
        """The controls of a method: the visitor's, or another family's."""
        return self._families.get(method or OWN, self.controls)

    def with_controls(self, controls: Controls | Sequence[Control]) -> EditingModels:
        """The same generator with other controls.

        Raises:
            InputError: they belong to another generator, or two have one name.
        """
        if not isinstance(controls, Controls):
            controls = Controls(controls, generator_hash=self.generator.hash, source=self.controls.source)
        Editor(self.generator, controls)  # Refuses those that do not fit.
        return EditingModels(self.lazy_generator, controls)
