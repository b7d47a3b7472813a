"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import errno

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
