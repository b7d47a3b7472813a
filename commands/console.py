"""What the commands share: telling the user, the files that a run writes, and inputs of which some may fail."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weights.errors import InputError, is_no_room, is_out_of_memory, out_of_memory
from weights.files import write_new

if TYPE_CHECKING:
    from tqdm import tqdm


GO_ON = {  # After Ctrl-C, by command.
    "sample": "the samples that were written stay; go on with the next --seed",
    "batch": "what is finished stays, what was in hand is begun again; the same command goes on",
    **dict.fromkeys(("encoder", "discover components", "discover weights", "discover rectify"),
                    "the same command goes on where it was"),
    **dict.fromkeys(("discover sheet", "discover explore", "discover survey"),
                    "files that were written stay; the same command with --overwrite begins again"),
    **dict.fromkeys(("align", "invert", "edit"), "what is finished stays; the same command goes on with the rest"),
}
AGAIN = "nothing is left half-made; the same command begins again"


class Commands(click.Group):
    """Turns an InputError into one line on stderr and exit code 1, and says how to go on after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):  # A name that a terminal cannot show must not end the work.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (InputError, MemoryError, RuntimeError) as error:
            raise click.ClickException(one_line(_told(error))) from error
        except KeyboardInterrupt as error:
            names = [ctx.info_name] if ctx.parent else []
            note(f"Aborted: {GO_ON.get(' '.join(map(str, [*names, ctx.invoked_subcommand])), AGAIN)}")
            raise click.exceptions.Exit(1) from error


def _told(error: Exception) -> InputError:
    """What to tell of an error; one that is the program's own fault is raised again."""
    if is_out_of_memory(error):
        return out_of_memory(error, "end other programs, give a smaller --batch, or compute elsewhere with --device")
    if not isinstance(error, InputError):
        raise error
    return error


def one_line(error: Exception | str) -> str:
    """What an error or a message says, without line breaks and with nothing that cannot be printed."""
    return " ".join(str(error).encode("utf-8", "replace").decode().splitlines())


def note(text: str) -> None:
    """Tell something on stderr."""
    click.echo(text, err=True)


def wrote(*paths: Path) -> None:
    """Tell the paths of files that were written."""
    for path in paths:
        click.echo(click.format_filename(path))


def progress_bar(total: int, text: str, **more: Any) -> tqdm[Any]:
    """A progress bar on stderr; none where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=text, disable=None, leave=False, dynamic_ncols=True, **more)


LATENT = ".latent.safetensors"


class Outputs:
    """The files that a run writes: they replace nothing that the user has, unless --overwrite, and an input never.

    Names are claimed before the long work, so that it is not done in vain.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path], overwrite: bool) -> None:
        self.folder, self.overwrite = folder, overwrite
        self._inputs = {mark for path in inputs for mark in _marks(path)}
        self._claimed: set[object] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(folder, f"cannot write here ({error.strerror or error})",
                             "choose another folder with --out") from error

    @classmethod
    def of_one(cls, path: Path, what: str, inputs: Sequence[Path], overwrite: bool) -> tuple[Outputs, Path]:
        """The results of a command that writes one safetensors file, and that file, claimed.

        Raises:
            InputError: as `claim` does; or the path has another ending. `what` says what would be in it.
        """
        if path.suffix != ".safetensors":
            raise InputError(path, f"{what} are safetensors", "end the name in .safetensors")
        outputs = cls(path.parent, inputs, overwrite)
        return outputs, outputs.claim(path.name)[0]

    def claim(self, *names: str) -> list[Path]:
        """Paths for files to write.

        Raises:
            InputError: there is such a file already, or it is an input of this run, or another input's result.
        """
        paths = [self.folder / name for name in names]
        try:
            for path in paths:
                self._check(path)
        except OSError as error:  # A name that is too long.
            raise InputError(path, f"cannot be a file ({error.strerror or error})", "rename the input") from error
        self._claimed.update(mark for path in paths for mark in _marks(path))
        return paths

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file whose name was claimed, and tell its path.

        Where another run took the name meanwhile, the file gets another one, so that both results stay.

        Args:
            path: What `claim` gave.
            write: Writes the file at the path that it is given.
        """
        if self.overwrite:
            write(path)
            written = path
        else:
            written = write_new(path, write)
        if written != path:
            note(f"Warning: {path}: another run has written it meanwhile; this one is {written.name}")
        wrote(written)

    def _check(self, path: Path) -> None:
        marks = {*_marks(path)}
        if marks & self._inputs:
            raise InputError(path, "is an input itself and is never overwritten", "choose another folder with --out")
        if marks & self._claimed:
            raise InputError(path, "is the result of another input of the same name",
                             "run them one by one, with another --out each")
        if path.is_dir():
            raise InputError(path, "is a folder", "rename it, or choose another folder with --out")
        if os.path.lexists(path) and not self.overwrite:
            raise InputError(path, "is there already",
                             "choose another folder with --out, or replace it with --overwrite")


def _marks(path: Path) -> list[object]:
    """What two paths of one file have in common: where they lead, and of one that is there, the file itself."""
    marks: list[object] = [path.resolve()]
    with suppress(FileNotFoundError, NotADirectoryError):
        about = path.stat()
        marks.append((about.st_dev, about.st_ino))
    return marks


class Run:
    """One command over several inputs: a bad one is reported in one line, and the rest go on."""

    def __init__(self) -> None:
        self.failed = 0
        self.stopped = False  # By Ctrl-C during an inversion.

    def over(self, items: Sequence[Path]) -> Iterator[Path]:
        for count, item in enumerate(items):
            if self.stopped:
                self.failed += 1
                note(f"stopped: {len(items) - count} of {len(items)} inputs were not done; the same command goes on "
                     "with them")
                return
            yield item

    @contextmanager
    def attempt(self) -> Iterator[None]:
        try:
            yield
        except (InputError, MemoryError, RuntimeError) as error:
            told = _told(error)
            if is_no_room(told):
                raise
            self.failed += 1
            note(f"Error: {one_line(told)}")

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """The first Ctrl-C sets `stopped`; a second one aborts, as one does elsewhere."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
            yield  # In the background of a shell Ctrl-C is not for us.
            return

        def first(number: int, frame: object) -> None:
            self.stopped = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, first)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def finish(self) -> None:
        if self.failed or self.stopped:
            raise click.exceptions.Exit(1)
