"""How long things are kept: an hour at most, until a visitor leaves, and not beyond the program's end."""

from __future__ import annotations

import functools
import secrets
import shutil
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

from inversion import InversionCache
from page import KEPT_SECONDS, SWEEP_SECONDS
from page.state import files
from page.state.visitor import Visitor

GRACE = 120  # Seconds that somebody who has left may take to come back: a phone that sleeps looks like one who left.


@functools.cache
def page_cache() -> InversionCache:
    """The inversions of this process's visitors, in its private directory."""
    return InversionCache(files.private_dir() / "inversions", max_age=KEPT_SECONDS,
                          on_note=lambda text: print(text, file=sys.stderr))


@functools.cache
def start_sweeping() -> None:
    """Begin to remove what is too old, again and again until the program ends."""
    threading.Thread(target=sweep_for_ever, name="sweep", daemon=True).start()


def sweep_for_ever() -> None:
    while True:
        time.sleep(SWEEP_SECONDS)
        page_cache().tidy()
        tidy(files.private_dir(), KEPT_SECONDS)


def tidy(folder: Path, seconds: float) -> None:
    """Remove what was written below a folder longer ago; of folders those that are empty, and have been for as long.

    A batch goes as a whole, so long after its last file was written, which is its end. The cache of inversions counts
    from the last use of each: it looks after itself.
    """
    oldest = time.time() - seconds
    with suppress(OSError):  # A folder that goes while it is looked through; the rest is for the next time.
        _tidy(folder, oldest)


def _tidy(folder: Path, oldest: float) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # What is in a folder before the folder.
        parts = path.relative_to(folder).parts
        if "inversions" in parts or any(part.startswith(files.BATCH) for part in parts[:-1]):
            continue
        with suppress(OSError):  # Gone meanwhile, or not empty.
            if path.lstat().st_mtime >= oldest:
                continue
            if path.name.startswith(files.BATCH):
                if all(inner.lstat().st_mtime < oldest for inner in path.rglob("*")):
                    shutil.rmtree(path)
            elif path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def forget(visitor: Visitor, cache: InversionCache | None) -> None:
    """Delete all that is there of a visitor: the photo and what was made of it, kept inversions, and files.

    So too of who this was before the tab was loaded again.
    """
    if visitor.former is not None:
        forget(visitor.former, cache)
    folder = visitor.folder
    for key in visitor.forget():
        if cache is not None:
            cache.remove(key)
    files.forget(folder)


class Visitors:
    """Who is here, so that what somebody leaves behind can be deleted.

    Args:
        cache: Of the page.
        grace: Seconds that somebody has to come back; None: GRACE.
    """

    def __init__(self, cache: InversionCache | None, grace: float | None = None) -> None:
        self.cache, self.grace = cache, GRACE if grace is None else grace
        self._known: weakref.WeakValueDictionary[str, Visitor] = weakref.WeakValueDictionary()
        self._here: weakref.WeakValueDictionary[str, Visitor] = weakref.WeakValueDictionary()

    def came(self, visitor: Visitor, session: str) -> None:
        """Somebody opens the page, in a session of that name; by the visitor's token their browser is known again."""
        visitor.token = visitor.token or secrets.token_urlsafe(24)
        self._here[session] = self._known[visitor.token] = visitor

    def back(self, token: str | None) -> Visitor | None:
        """Who had this token before the page was loaded again; what they had is not forgotten then."""
        visitor = self._known.get(token or "")
        if visitor is not None and visitor.subject is None and visitor.former is not None:
            visitor = visitor.former  # Loaded twice, without going on in between.
        if visitor is not None:
            visitor.seen = time.monotonic()
        return visitor

    def left(self, session: str) -> None:
        """Somebody closes the page; whoever does nothing for a while then is forgotten."""
        visitor = self._here.get(session)
        if visitor is not None:
            timer = threading.Timer(self.grace, self._forget, [visitor, visitor.seen])
            timer.daemon = True
            timer.start()

    def _forget(self, visitor: Visitor, seen: float) -> None:
        if visitor.seen != seen:
            return  # Back again.
        forget(visitor, self.cache)
