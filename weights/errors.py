"""The one kind of error that a user is meant to read."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line naming it and the remedy.

    The command line prints the message and exits with 1, the page shows it; anything else that is
    raised is a fault of the program.
    """
