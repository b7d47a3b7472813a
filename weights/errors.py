"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import errno

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line naming it and the remedy.

    The command line prints the message and exits with 1, the page shows it; anything else that is
    raised is a fault of the program.
    """


def is_no_room(error: InputError) -> bool:
    """Whether nothing can be written any more, so that the next of several inputs would fail as well."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_ROOM
