"""Undo and redo."""

from __future__ import annotations

from editing import Edit

MOST = 200  # Edits that can be undone.


class History:
    """The edits of one subject, one of which is shown."""

    def __init__(self) -> None:
        self._edits = [Edit()]
        self._at = 0

    @property
    def now(self) -> Edit:
        """The edit that is shown."""
        return self._edits[self._at]

    @property
    def can_undo(self) -> bool:
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        return self._at < len(self._edits) - 1

    def push(self, edit: Edit) -> None:
        """Go on to an edit; what was undone before can not be redone any more. The same edit again changes nothing."""
        if edit == self.now:
            return
        self._edits = [*self._edits[:self._at + 1], edit][-MOST - 1:]
        self._at = len(self._edits) - 1

    def undo(self) -> Edit:
        """Go back to the edit before; the first one stays."""
        self._at = max(self._at - 1, 0)
        return self.now

    def redo(self) -> Edit:
        """Go forth to the edit that was undone last; the newest one stays."""
        self._at = min(self._at + 1, len(self._edits) - 1)
        return self.now
