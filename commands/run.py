"""One command over several inputs, of which some may fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from commands.messages import note, one_line
from weights.errors import InputError, is_no_room


class Run:
    """One command over several inputs: a bad one is reported in one line, and the rest go on."""

    def __init__(self) -> None:
        self.failed = 0
        self.stopped = False  # By Ctrl-C during an inversion.

    def over(self, items: Sequence[Path]) -> Iterator[Path]:
        for count, item in enumerate(items):
            if self.stopped:
                self.failed += 1
                note(f"stopped: {len(items) - count} of {len(items)} inputs were not done")
                return
            yield item

    @contextmanager
    def attempt(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if is_no_room(error):
                raise
            self.failed += 1
            note(f"Error: {one_line(error)}")

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
        if self.failed:
            raise click.exceptions.Exit(1)
