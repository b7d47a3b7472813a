"""The models behind the page: built on first use, once, and shared by all visitors."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from editing import Editor
from editing.families import FAMILIES, load_family
from gradctrl import METHODS, Control, Controls, load_controls
from inversion import InversionCache, Projector, preset
from page.visitor import Subject
from stylegan2 import Generator, choose_device, load
from weights.errors import InputError

OWN = "own"  # The method that each of the page's controls brings with it.


class Models:
    """The generator, its controls and the projector.

    The controls are read at once, since the page has a slider for each; the generator on first use, or by `warm_up`.

    Args:
        generator: Built, or what `stylegan2.load` takes.
        controls: Built, or what `gradctrl.load_controls` takes.
        device: Where a generator that is loaded here goes.
        cache: Keeps inversions; None: each is made anew.
    Attributes:
        controls: The controls.
        cache: As given.
        own_method: The method that all of them bring with them, or the name of their family; None: not all the same.
        methods: What an edit can be made by: OWN, another way to keep attributes, or the name of another family of
            directions that this machine has for the same generator.
    Raises:
        InputError: the controls cannot be read.
    """

    def __init__(self, generator: Generator | str | os.PathLike[str] = "bundled",
                 controls: Controls | str | os.PathLike[str] = "bundled", *, device: str = "auto",
                 cache: InversionCache | None = None) -> None:
        self.controls = controls if isinstance(controls, Controls) else load_controls(controls)
        self._families = _families(self.controls.generator_hash)
        own = {getattr(control, "method", getattr(control, "family", None)) for control in self.controls.values()}
        self.own_method: str | None = own.pop() if len(own) == 1 else None
        choice = METHODS if all(isinstance(control, Control) for control in self.controls.values()) else ()
        self.methods = (OWN, *(name for name in (*choice, *self._families) if name != self.own_method))
        self.cache = cache
        self._source = generator
        self._device = device
        self._projector: Projector | None = None
        self._building = threading.Lock()

    @property
    def projector(self) -> Projector:
        """Raises InputError: the generator cannot be loaded."""
        with self._building:
            if self._projector is None:
                source = self._source
                built = source if isinstance(source, Generator) else load(source, device=choose_device(self._device))
                self._projector = Projector(built)
            return self._projector

    @property
    def generator(self) -> Generator:
        return self.projector.generator

    def controls_of(self, method: str) -> Controls:
        """The controls of a method: those of the page, or another family's."""
        return self._families.get(method, self.controls)

    def editor(self, subject: Subject, method: str = OWN) -> Editor:
        """An editor of its own for one edit: editors hold a latent, and visitors must not share one.

        Raises:
            InputError: controls or latent belong to another generator.
        """
        editor = Editor(self.generator, self.controls_of(method))
        editor.set_latent(subject.inversion or subject.latent)
        return editor

    def edit(self, subject: Subject, strengths: Mapping[str, float], keep: tuple[str, ...] | None,
             method: str = OWN) -> np.ndarray:
        """The edited picture, uint8 [R, R, 3]; the one of the latent itself where nothing is changed.

        Raises:
            InputError: the method's controls have no such attribute or class.
        """
        if not strengths:
            return subject.picture
        return self.editor(subject, method).edit(strengths, keep=keep, method=name_of(method))

    def warm_up(self) -> None:
        """Load what the first visitor would wait for: generator, perceptual distance, landmarks and descriptors.

        Raises:
            InputError: one of them cannot be loaded.
        """
        from inversion import describe_crop

        projector = self.projector
        projector.invert(np.zeros((self.generator.resolution,) * 2 + (3,), np.uint8),
                         settings=preset("fast", steps=1, start="samples", samples=1))
        describe_crop(np.zeros((128, 128, 3), np.uint8))


def name_of(method: str) -> str | None:
    """A method as the Editor and recipes take it; None: each control's own."""
    return None if method == OWN else method


def _families(generator_hash: str | None) -> dict[str, Controls]:
    """The families of directions that can be read and are for this generator, by name."""
    found = {}
    for name in FAMILIES:
        with suppress(InputError):  # A family that is not there is not offered.
            family = load_family(name)
            if family.generator_hash == generator_hash:
                found[name] = family
    return found
