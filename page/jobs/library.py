"""The generators and controls that a visitor can choose from, and those that a visitor brings."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from directions import Controls
from directions import load as load_directions
from generators import Generator, class_index, convert, fetch
from page.jobs.executors import background, reported
from page.jobs.services import Services
from page.state import files
from page.state.models import EditingModels, LazyGenerator
from weights.errors import InputError
from weights.manifest import Entry, entries
from weights.store import Status, listing, location

GENERATORS = (".safetensors", ".pkl", ".pt", ".pth", ".bin")  # Endings of generators that the importer reads.
NAMED_EDITS = "ganspace-edits"                # What GANSpace's authors named, in the manifest.
DEFORMATIONS = "navigan-edits"                # Directions of the bundled generator's weights.
MOST_OWN = 4                                  # Of visitors' own generators, in memory at once.


class ModelLibrary:
    """Generators by their names in the manifest, shared by all visitors, and those of visitors' own.

    Args:
        services: All that visitors share.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self._known: dict[str, LazyGenerator] = {}
        self._own: list[LazyGenerator] = []
        self._lock = threading.Lock()

    def known(self) -> list[Status]:
        """The generators of the manifest, each with whether it is here."""
        return [status for status in listing() if status.entry.kind == "generator"]

    def models(self, name: str) -> EditingModels:
        """A generator of the manifest that is here, with those of its controls that are here.

        Raises:
            InputError: it has not been fetched, or cannot be read.
        """
        status = self._status(name)
        if not status.present:
            raise InputError(name, "is not here yet", "fetch it first")
        with self._lock:
            lazy = self._known.setdefault(name, LazyGenerator(name, device=self.services.device, title=name))
        page, generator = self.services.models, lazy.projector.generator
        _check_latent(generator)
        if fits(page.controls, generator):
            return EditingModels(lazy, page.controls)
        for entry in controls_for(name):
            if location(entry).is_file():
                return EditingModels(lazy, load_directions(entry.name))
        return EditingModels(lazy, _none(generator))

    def fetch(self, name: str) -> Iterator[tuple[int, int]]:
        """Get a generator of the manifest and its authors' controls, yielding bytes done and in all (0: not known).

        Raises:
            InputError: as for `weights.fetch.fetch`.
        """
        self._status(name)
        reports: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

        def on_progress(done: int, total: int) -> None:
            if self.services.inversions.closing.is_set():
                raise InputError(name, "was not fetched, as the page ends", "start it again")
            reports.put((done, total))

        def work() -> None:
            for wanted in (name, *(entry.name for entry in controls_for(name))):
                fetch(wanted, on_progress=on_progress)

        yield from reported(background().submit(work), reports)

    def own(self, path: str | Path, name: str, owner: str) -> EditingModels:
        """A visitor's own generator, read by the importer that runs nothing, and kept as safetensors for the visitor.

        Args:
            path: The uploaded file.
            name: Its own name, for messages.
            owner: The visitor's folder.
        Raises:
            InputError: it holds no generator that can be used.
        """
        if Path(name).suffix.lower() not in GENERATORS:
            raise InputError(name, f"a generator is a file that ends in {', '.join(GENERATORS)}", "choose one of these")
        copy = files.download_path(Path(name).stem, owner, ".safetensors")
        try:
            convert(path, copy)
            lazy = LazyGenerator(copy, device=self.services.device, title=name, on_built=self._make_room)
            generator = lazy.projector.generator
            _check_latent(generator)
        except InputError as error:
            raise error.about(name) from error
        controls = self.services.models.controls
        return EditingModels(lazy, controls if fits(controls, generator) else _none(generator))

    def of_class(self, models: EditingModels, named: str) -> EditingModels:
        """The same generator drawing another of its classes, by number or name, with its controls if they still fit.

        Raises:
            InputError: there is no such class; the message has the nearest.
        """
        generator = models.generator.of_class(class_index(models.generator, named))
        lazy = LazyGenerator(generator, title=models.title, on_built=self._make_room)
        return EditingModels(lazy, models.controls if fits(models.controls, generator) else _none(generator))

    def with_file(self, models: EditingModels, path: str | Path, name: str, *, alone: bool) -> EditingModels:
        """Models with the controls of a file.

        Args:
            models: The visitor's.
            path: The uploaded control file.
            name: Its own name, for messages.
            alone: In place of those that are there; else beside them.
        Raises:
            InputError: not a control file, of another generator, or a control of that name is there already.
        """
        try:
            loaded = load_directions(path)
        except InputError as error:
            raise error.about(name) from error
        controls = Controls(list(loaded.values()), spaces=loaded.spaces, source=name)
        return models.with_controls(controls if alone else joined(models.controls, controls, name))

    def with_named_edits(self, models: EditingModels, name: str = NAMED_EDITS) -> EditingModels:
        """Models with one of the sets of named edits beside the controls that are there.

        Args:
            models: The visitor's.
            name: NAMED_EDITS or DEFORMATIONS.
        Raises:
            InputError: the generator is of another space or has other weights, or they are there already.
        """
        return models.with_controls(models.controls.joined(load_directions(name)))

    def _make_room(self, built: LazyGenerator) -> None:
        """Of visitors' own generators the one that was built longest ago gives its memory back; its file stays."""
        with self._lock:
            self._own = [*(other for other in self._own if other is not built), built]
            self._own, too_many = self._own[-MOST_OWN:], self._own[:-MOST_OWN]
        for lazy in too_many:
            lazy.drop()

    def _status(self, name: str) -> Status:
        for status in self.known():
            if status.entry.name == name:
                return status
        raise InputError(name, "no such generator", "choose one of the list")


def controls_for(name: str) -> list[Entry]:
    """The controls that their authors published for a generator of the manifest."""
    return [entry for entry in entries().values()
            if entry.kind == "controls" and entry.generator == name and entry.needs]


def joined(first: Controls, second: Controls, name: str) -> Controls:
    """Controls of one generator together.

    Raises:
        InputError: of another generator, of another method, or one of the same name is there already.
    """
    double = [control for control in second if control in first]
    if double:
        raise InputError(name, f"{', '.join(double)} is there already",
                         "load the file in place of the others, or rename its control")
    both = Controls([*first.values(), *second.values()], spaces={**first.spaces, **second.spaces},
                    source=f"{first.source} and {name}" if first else name)
    if first and both.method is None:
        raise InputError(name, "its controls are of another method than those that are there",
                         "load the file in place of them")
    if first and not first.matches(second):
        raise InputError(name, "its controls belong to another generator than the one that is loaded", "load theirs")
    return both


def fits(controls: Controls, generator: Generator) -> bool:
    """Whether controls are for a generator."""
    try:
        controls.check(generator)
    except InputError:
        return False
    return True


def _check_latent(generator: Generator) -> None:
    """Refuse generators with which nothing on the page would work.

    Raises:
        InputError: it has no latent; the message says what it can.
    """
    if not generator.w_dim:
        raise InputError(None, f"nothing can be edited with this generator: {generator.no_photos}",
                         "use it from the command line, as `gradctrl street` does")


def _none(generator: Generator) -> Controls:
    return Controls([], spaces=generator.spaces, source="no controls")
