"""The models behind the page: built on first use, once, and shared by all visitors."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

import numpy as np

from editing import Editor
from gradctrl import Controls, load_controls
from inversion import Projector, preset
from page.visitor import Subject
from stylegan2 import Generator, choose_device, load


class Models:
    """The generator, its controls and the projector.

    The controls are read at once, since the page has a slider for each; the generator on first use, or by `warm_up`.

    Args:
        generator: Built, or what `stylegan2.load` takes.
        controls: Built, or what `gradctrl.load_controls` takes.
        device: Where a generator that is loaded here goes.
    Raises:
        InputError: the controls cannot be read.
    """

    def __init__(self, generator: Generator | str | os.PathLike[str] = "bundled",
                 controls: Controls | str | os.PathLike[str] = "bundled", *, device: str = "auto") -> None:
        self.controls = controls if isinstance(controls, Controls) else load_controls(controls)
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

    def editor(self, subject: Subject) -> Editor:
        """An editor of its own for one edit: editors hold a latent, and visitors must not share one.

        Raises:
            InputError: controls or latent belong to another generator.
        """
        editor = Editor(self.generator, self.controls)
        editor.set_latent(subject.inversion or subject.latent)
        return editor

    def edit(self, subject: Subject, strengths: Mapping[str, float], keep: tuple[str, ...] | None) -> np.ndarray:
        """The edited picture, uint8 [R, R, 3]; the one of the latent itself where nothing is changed."""
        return self.editor(subject).edit(strengths, keep=keep) if strengths else subject.picture

    def warm_up(self) -> None:
        """Load what the first visitor would wait for: generator, perceptual distance, landmarks and descriptors.

        Raises:
            InputError: one of them cannot be loaded.
        """
        from inversion import describe_crop

        projector = self.projector
        projector.invert(np.zeros((self.generator.resolution,) * 2 + (3,), np.uint8),
                         settings=preset("fast", steps=1, warm_start=1))
        describe_crop(np.zeros((128, 128, 3), np.uint8))
