"""The generators and controls that a visitor can choose from, and those that a visitor brings."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from directions import Control, Controls, Steerable, import_authors
from directions.files import load_any
from generators import convert, fetch
from page.state import files as showing
from page.state.models import Bench, Loaded, Models
from weights.errors import InputError
from weights.manifest import Entry, entries
from weights.store import Status, listing, location, path_of

GENERATORS = (".safetensors", ".pkl", ".pt")  # Endings of generators that the importer reads.
MOST_OWN = 4                                  # Of visitors' own generators, in memory at once.


class Shelf:
    """Generators by their names in the manifest, shared by all visitors, and those of visitors' own.

    Args:
        models: With the page's own bench.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._loaded: dict[str, Loaded] = {}
        self._own: list[Loaded] = []
        self._lock = threading.Lock()

    def known(self) -> list[Status]:
        """The generators of the manifest, each with whether it is here."""
        return [status for status in listing() if status.entry.kind == "generator"]

    def bench(self, name: str) -> Bench:
        """A generator of the manifest that is here, with those of its controls that are here.

        Raises:
            InputError: it has not been fetched, or cannot be read.
        """
        status = self._status(name)
        if not status.present:
            raise InputError(name, "is not here yet", "fetch it first")
        with self._lock:
            loaded = self._loaded.setdefault(name, Loaded(name, device=self.models.device, title=name))
        page = self.models.bench
        if loaded.generator.hash == page.controls.generator_hash:
            return Bench(loaded, page.controls)
        for entry in controls_for(name):
            if location(entry).is_file():
                return Bench(loaded, Controls(import_authors(path_of(entry.name).parent), source=entry.name))
        return Bench(loaded, _none(loaded.generator.hash))

    def fetch(self, name: str) -> Iterator[tuple[int, int]]:
        """Get a generator of the manifest and its authors' controls, yielding bytes done and in all (0: not known).

        Raises:
            InputError: as for `weights.fetch.fetch`.
        """
        self._status(name)
        told: queue.Queue[tuple[int, int] | Exception | None] = queue.Queue()

        def work() -> None:
            try:
                for wanted in (name, *(entry.name for entry in controls_for(name))):
                    fetch(wanted, on_progress=lambda done, total: told.put((done, total)))
                told.put(None)
            except Exception as error:  # noqa: BLE001 (raised below, in the thread that waits)
                told.put(error)

        threading.Thread(target=work, name="fetch", daemon=True).start()
        while (report := told.get()) is not None:
            if isinstance(report, Exception):
                raise report
            if told.empty():  # Otherwise it is out of date already.
                yield report

    def own(self, path: str | Path, name: str, owner: str) -> Bench:
        """A visitor's own generator, read by the importer that runs nothing, and kept as safetensors for the visitor.

        Args:
            path: The uploaded file.
            name: Its own name, for messages.
            owner: The visitor's folder.
        Raises:
            InputError: it holds no StyleGAN2 generator that can be used.
        """
        if Path(name).suffix.lower() not in GENERATORS:
            raise InputError(name, f"a generator is a file that ends in {', '.join(GENERATORS)}", "choose one of these")
        kept = showing.download_path(Path(name).stem, owner, ".safetensors")
        try:
            convert(path, kept)
            loaded = Loaded(kept, device=self.models.device, title=name, on_built=self._make_room)
            generator = loaded.generator
        except InputError as error:
            raise error.about(name) from error
        page = self.models.bench.controls
        return Bench(loaded, page if page.generator_hash == generator.hash else _none(generator.hash))

    def with_file(self, bench: Bench, path: str | Path, name: str, *, alone: bool) -> Bench:
        """A bench with the controls of a file.

        Args:
            bench: The visitor's.
            path: The uploaded control file.
            name: Its own name, for messages.
            alone: In place of those that are there; else beside them.
        Raises:
            InputError: not a control file, of another generator, or a control of that name is there already.
        """
        try:
            found = load_any(path)
        except InputError as error:
            raise error.about(name) from error
        found = Controls(list(found.values()), generator_hash=found.generator_hash, source=name)
        if not alone:
            found = joined(bench.controls, found, name)
        return bench.with_controls(found)

    def _make_room(self, built: Loaded) -> None:
        """Of visitors' own generators the one that was built longest ago gives its memory back; its file stays."""
        with self._lock:
            self._own = [*(other for other in self._own if other is not built), built]
            self._own, too_many = self._own[-MOST_OWN:], self._own[:-MOST_OWN]
        for loaded in too_many:
            loaded.drop()

    def _status(self, name: str) -> Status:
        found = [status for status in self.known() if status.entry.name == name]
        if not found:
            raise InputError(name, "no such generator", "choose one of the list")
        return found[0]


def controls_for(name: str) -> list[Entry]:
    """The controls that their authors published for a generator of the manifest."""
    return [entry for entry in entries().values()
            if entry.kind == "controls" and entry.generator == name and entry.needs]


def joined(there: Controls, more: Controls, name: str) -> Controls:
    """Controls of one generator together.

    Raises:
        InputError: of another generator, of another kind, or one of the same name is there already.
    """
    double = [control for control in more if control in there]
    if double:
        raise InputError(name, f"{', '.join(double)} is there already",
                         "load the file in place of the others, or rename its control")
    both: list[Steerable] = [*there.values(), *more.values()]
    if there and not all(isinstance(control, Control) for control in both):
        raise InputError(name, "its controls are of another family than those that are there",
                         "load the file in place of them")
    if there and None not in (there.generator_hash, more.generator_hash) and (
            there.generator_hash != more.generator_hash):
        raise InputError(name, "its controls belong to another generator than the one that is loaded", "load theirs")
    return Controls(both, generator_hash=more.generator_hash or there.generator_hash,
                    source=f"{there.source} and {name}" if there else name)


def _none(generator_hash: str) -> Controls:
    return Controls([], generator_hash=generator_hash, source="no controls")
