"""The models that a visitor edits with: built on first use, and shared by the visitors that use them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from directions import METHODS, Controls
from directions import load as load_directions
from generators import Generator, choose_device, load
from inversion import Projector, ProjectorSettings
from weights.errors import InputError

PREVIEWED = (128, 256)  # Sides of previews, in pixels, where the generator draws such.
OWN = "own"  # The method of the controls that are loaded.


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of an inversion take."""

    start: float   # Until the first step is done.
    coarse: float  # Of one of the search's first steps, which compare smaller pictures.
    step: float    # Of one of its others.
    tuning: float  # Of one step of the tuning.


class Timing:
    """What inversions by one generator take on this machine: first by the pace of a few steps, then by whole ones."""

    def __init__(self) -> None:
        self.pace: Pace | None = None
        self.preview_side = 0  # The largest that is quick enough here, in pixels; 0: not timed yet.
        self._whole: dict[ProjectorSettings, float] = {}

    def seconds(self, settings: ProjectorSettings) -> float | None:
        """Of an inversion by these settings: that of the last one, or what its steps add up to; None: not known."""
        pace = self.pace
        if settings in self._whole or pace is None:
            return self._whole.get(settings)
        fine = settings.steps - settings.coarse_steps
        return (pace.start + settings.coarse_steps * pace.coarse + fine * pace.step
                + settings.tuning_steps * pace.tuning)

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
    def preview_side(self) -> int:
        """Side of the pictures that are shown while a slider moves."""
        return self.timing.preview_side or self.generator.side_for(PREVIEWED[0])

    @property
    def title(self) -> str:
        return self.lazy_generator.title

    @cached_property
    def _of_other_methods(self) -> dict[str, Controls]:
        """The bundled controls of other methods that are for this generator, by method."""
        others = {}
        for name in METHODS.keys() - {self.controls.method}:
            with suppress(InputError):  # What is not there is not offered.
                controls = load_directions(name)
                controls.check(self.generator)
                others[name] = controls
        return others

    @property
    def methods(self) -> tuple[str, ...]:
        """What an edit can be made by: OWN, or another method."""
        return (OWN, *(name for name in METHODS if name in self._of_other_methods))

    def controls_of(self, method: str | None) -> Controls:
        """The controls of a method: those that are loaded, or the bundled ones of another method."""
        return self._of_other_methods.get(method or OWN, self.controls)

    def with_controls(self, controls: Controls) -> EditingModels:
        """The same generator with other controls.

        Raises:
            InputError: they are for another generator.
        """
        controls.check(self.generator)
        return EditingModels(self.lazy_generator, controls)
