"""Names of results, of which no two are the same on any file system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_NOT_IN_NAMES = re.compile(r'[<>:"|?*\x00-\x1f\x7f\u2028\u2029]+')  # What some file systems or shells cannot take.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows' own.
_DRIVE = re.compile(r"[A-Za-z]:")
_FACE = re.compile(r"-face\d+$")
_MOST_BYTES = 180  # Of a name, in UTF-8: file systems take 255, and endings follow.


class Names:
    """Gives each photo's results a name of their own, in the sub-folders that the photo is in."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._before_face: set[str] = set()  # "two" of a taken "two-face2", which results of "two" may be called.

    def claim(self, name: str) -> str:
        """A name for what comes of a photo: its own without the ending, with a number where it is taken.

        Args:
            name: The photo's, with its folders; anybody's.
        Returns:
            A relative path with "/" that leads nowhere else, unequal to all others even where A and a are one letter.
        """
        parts = [_safe(part) for part in name.replace("\\", "/").split("/")
                 if part not in ("", ".", "..") and not _DRIVE.fullmatch(part)]
        stem = _safe(PurePosixPath(parts[-1]).stem if parts else "photo")
        folder = "".join(f"{part}/" for part in parts[:-1])
        number, chosen = 1, f"{folder}{stem}"
        while self._is_taken(chosen):
            number += 1
            chosen = f"{folder}{stem}-{number}"
        self.take(chosen)
        return chosen

    def take(self, chosen: str) -> None:
        """Take note of a name that was claimed in an earlier run."""
        key = _key(chosen)
        self._taken.add(key)
        if _FACE.search(key):
            self._before_face.add(_FACE.sub("", key))

    def _is_taken(self, chosen: str) -> bool:
        key = _key(chosen)
        return key in self._taken or key in self._before_face or (
            _FACE.search(key) is not None and _FACE.sub("", key) in self._taken)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _safe(part: str) -> str:
    """One part of a path, as it is but for what not every file system takes."""
    part = _NOT_IN_NAMES.sub("-", part.encode("utf-8", "replace").decode()).strip(" .")
    part = part.encode()[:_MOST_BYTES].decode(errors="ignore").rstrip(" .")
    return f"{part}-" if _RESERVED.fullmatch(part) else part or "photo"
