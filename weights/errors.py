"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line, "subject: problem; remedy".

    The command line prints the message and exits with 1, the page shows it; anything else that is
    raised is a fault of the program.

    Attributes:
        subject: What cannot be used, as the user knows it: a file, an attribute, an option; "": the message needs none.
        problem: What is wrong with it.
        remedy: What to do about it; "": that goes without saying.
    """

    def __init__(self, subject: object, problem: str, remedy: str = "") -> None:
        self.subject = "" if subject is None else str(subject)
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{self.subject}: {self.what}" if self.subject else self.what)

    @property
    def what(self) -> str:
        """Problem and remedy, for where the subject is told already."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem

    def about(self, subject: object) -> InputError:
        """The same of another subject: the name by which the user knows the file."""
        return type(self)(subject, self.problem, self.remedy)


def is_no_room(error: InputError) -> bool:
    """Whether nothing can be written any more, so that the next of several inputs would fail as well."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_ROOM


class OutOfMemoryError(InputError):
    """A device or the machine had too little memory for what was asked."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had too little memory; PyTorch says so by several kinds of error."""
    return isinstance(error, (MemoryError, OutOfMemoryError)) or (isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)))


def out_of_memory(error: BaseException,
                  remedy: str = "end other programs, give smaller photos, or compute on another device",
                  ) -> OutOfMemoryError:
    """What to tell a user in place of an error of memory; to be raised from it."""
    if isinstance(error, OutOfMemoryError):
        return OutOfMemoryError(error.subject, error.problem, remedy)
    detail = " ".join(str(error).split())[:200]
    return OutOfMemoryError(None, f"out of memory ({detail or 'of this machine'})", remedy)


@contextmanager
def memory_told() -> Iterator[None]:
    """Turn errors of memory into `OutOfMemoryError`, the one kind that a user is meant to read."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error) or isinstance(error, OutOfMemoryError):
            raise
        raise out_of_memory(error) from error
