"""The models behind the page: built on first use, and shared by the visitors that use them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from directions import FAMILIES, METHODS, Control, Controls, load_controls, load_family
from editing import Edit, Editor
from generators import Generator, choose_device, load
from inversion import InversionCache, Projector
from page.jobs.describing import describer
from page.jobs.executors import Lane
from page.state.timing import Timing
from page.state.visitor import Subject, Visitor
from weights.errors import InputError

LAST = 2     # Edits of each subject that are kept.
OWN = "own"  # The method that each of the controls brings with it.


class Loaded:
    """A generator and its projector, built when they are first needed.

    Args:
        source: Built, or what `generators.load` takes.
        device: Where it goes.
        title: What it is called; its name in the manifest where it has one.
        on_built: Called whenever it was built.
    """

    def __init__(self, source: Generator | str | os.PathLike[str], *, device: str = "auto",
                 title: str = "", on_built: Callable[[Loaded], None] | None = None) -> None:
        self.title = title or ("bundled-generator" if source == "bundled" else "generator" if isinstance(
            source, Generator) else os.fspath(source))
        self._source = source
        self._device, self._on_built = device, on_built
        self._projector: Projector | None = None
        self.timing = Timing()
        self._building = threading.Lock()

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

    @property
    def generator(self) -> Generator:
        return self.projector.generator

    def drop(self) -> None:
        """Give its memory back; it is built again when it is needed."""
        with self._building:
            self._projector = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What a visitor edits with: a generator, and controls for it."""

    loaded: Loaded
    controls: Controls
    # Each subject's last edits: one is asked for while a slider is dragged, when it rests, and to be measured; another
    # may be pinned beside it.
    _last: weakref.WeakKeyDictionary[Subject, tuple[tuple[Edit, np.ndarray], ...]] = field(
        default_factory=weakref.WeakKeyDictionary, init=False, repr=False)

    @property
    def projector(self) -> Projector:
        return self.loaded.projector

    @property
    def generator(self) -> Generator:
        return self.loaded.generator

    @cached_property
    def _families(self) -> dict[str, Controls]:
        """The families of directions that can be read and are for this generator, by name."""
        found = {}
        for name in FAMILIES:
            with suppress(InputError):  # A family that is not there is not offered.
                family = load_family(name)
                if family.generator_hash == self.controls.generator_hash:
                    found[name] = family
        return found

    @cached_property
    def own_method(self) -> str | None:
        """The method that all controls bring with them, or the name of their family; None: not all the same."""
        own = {getattr(control, "method", getattr(control, "family", None)) for control in self.controls.values()}
        return own.pop() if len(own) == 1 else None

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """What an edit can be made by: OWN, another way to keep attributes, or another family of directions."""
        choice = METHODS if all(isinstance(control, Control) for control in self.controls.values()) else ()
        return (OWN, *(name for name in (*choice, *self._families) if name != self.own_method))

    def controls_of(self, method: str | None) -> Controls:
        """The controls of a method: the bench's, or another family's."""
        return self._families.get(method or OWN, self.controls)

    def with_controls(self, controls: Controls | Sequence[Control]) -> Bench:
        """The same generator with other controls.

        Raises:
            InputError: they belong to another generator, or two have one name.
        """
        if not isinstance(controls, Controls):
            controls = Controls(controls, generator_hash=self.generator.hash, source=self.controls.source)
        Editor(self.generator, controls)  # Refuses those that do not fit.
        return Bench(self.loaded, controls)

    def editor(self, subject: Subject, method: str | None = None) -> Editor:
        """An editor of its own for one edit: editors hold a latent, and visitors must not share one.

        Raises:
            InputError: controls or latent belong to another generator.
        """
        editor = Editor(self.generator, self.controls_of(method))
        editor.set_latent(subject.inversion or subject.latent)
        return editor

    def edit(self, subject: Subject, edit: Edit) -> np.ndarray:
        """The edited picture, uint8 [R, R, 3]; the one of the latent itself where nothing is changed.

        Raises:
            InputError: the method's controls have no such attribute or class.
        """
        if not edit.changes:
            return subject.picture
        last = self._last.get(subject, ())
        for known in last:
            if known[0] == edit and [*known[0].strengths] == [*edit.strengths]:  # In this order.
                self._last[subject] = known, *(other for other in last if other is not known)
                return known[1]
        picture = edit.apply(self.editor(subject, edit.method))
        picture.flags.writeable = False  # Others are given it too.
        self._last[subject] = (edit, picture), *last[:LAST - 1]
        return picture


class Models:
    """All that visitors share: the page's own bench, other generators, the lane of inversions and their cache.

    The controls are read at once; the generator on first use, or by `warm_up`.

    Args:
        generator: Built, or what `generators.load` takes.
        controls: Built, or what `directions.load_controls` takes.
        device: Where a generator that is loaded here goes.
        cache: Keeps inversions; None: each is made anew.
        own_models: Whether visitors may fetch generators and load their own.
    Attributes:
        bench: The page's own.
        cache: As given.
        device, own_models: As given.
        lane: Where inversions run.
    Raises:
        InputError: the controls cannot be read.
    """

    def __init__(self, generator: Generator | str | os.PathLike[str] = "bundled",
                 controls: Controls | str | os.PathLike[str] = "bundled", *, device: str = "auto",
                 cache: InversionCache | None = None, own_models: bool = True) -> None:
        self.bench = Bench(Loaded(generator, device=device),
                           controls if isinstance(controls, Controls) else load_controls(controls))
        self.cache = cache
        self.device = device
        self.own_models = own_models
        self.lane = Lane()

    def bench_of(self, visitor: Visitor) -> Bench:
        """What a visitor edits with."""
        return visitor.bench or self.bench

    def warm_up(self) -> None:
        """Load what the first visitor would wait for, and time inversions: generator, perceptual distance, descriptors.

        Raises:
            InputError: one of them cannot be loaded.
        """
        self.bench.loaded.timing.measure(self.bench.projector)
        describer()(np.zeros((128, 128, 3), np.uint8))


def name_of(method: str) -> str | None:
    """A method as the Editor and recipes take it; None: each control's own."""
    return None if method == OWN else method
