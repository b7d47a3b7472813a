"""Where files are kept, which are there, and whether they are what they should be.

Bundled files are part of the installed package. All others are in one cache directory of the user, which the
environment variable GRADCTRL_CACHE moves. Beside them stands `checked.json`: for each file the SHA-256 that was found,
with the size and time for which it was found, so that a large file is hashed once and not at every start.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weights.errors import InputError
from weights.files import is_file, replacing
from weights.hashing import sha256_of
from weights.manifest import BUNDLED, Entry, entries, entry_of

CACHE_VARIABLE = "GRADCTRL_CACHE"
RECORDS = "checked.json"
NOWHERE = Path(os.devnull, "gradctrl")
NO_HOME = ("this user has no home folder", f"set {CACHE_VARIABLE} to a folder of yours")


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of one file of the manifest on this machine."""

    entry: Entry
    path: Path            # Where it is, or would be.
    present: bool
    right: bool | None = None  # Whether its hash is right; None: not checked, or not there.
    problem: str = ""          # What is wrong and what to do; "" if nothing.


def cache_dir() -> Path:
    """The directory of fetched files; it need not exist yet.

    A user without a home has none, unless the variable names one: then it is a place where nothing can be.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if not chosen:
        from platformdirs import user_cache_path

        try:
            chosen = str(user_cache_path("gradctrl"))
        except RuntimeError:  # Older versions of platformdirs give what begins with "~".
            return NOWHERE
    path = Path(os.path.expanduser(chosen))  # noqa: PTH111 (Path's own raises where there is no home)
    return NOWHERE if str(path).startswith("~") else path


def made_in_cache(folder: str) -> Path:
    """A folder of the directory of fetched files, made if it is not there, for what was computed and is found again.

    Raises:
        InputError: it cannot be made, or this user has no home folder.
    """
    if not has_cache():
        raise InputError(None, *NO_HOME)
    path = cache_dir() / folder
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(path, f"cannot be made ({error.strerror})", f"set {CACHE_VARIABLE} to a folder that can be "
                         "written") from error
    return path


def has_cache() -> bool:
    """Whether there is a directory for fetched files."""
    return cache_dir() != NOWHERE


def location(entry: Entry) -> Path:
    """Where the file of an entry is, or would be."""
    return (BUNDLED if entry.bundled else cache_dir()) / entry.file


def is_known(name: str) -> bool:
    """Whether the manifest has a file of this name."""
    return name in entries()


def path_of(name: str) -> Path:
    """The file of a name, its hash checked.

    Raises:
        InputError: no such name, the file is not on this machine, or it is damaged; the message says what to run.
    """
    entry = entry_of(name)
    path = location(entry)
    if not is_file(path):
        remedy = "install the program again" if entry.bundled else f"run `gradctrl weights fetch {name}`"
        raise InputError(name, f"not on this machine ({path})", remedy)
    if not entry.bundled:  # Those came with the program, and are checked by `verify`.
        problem = check(entry)
        if problem:
            raise problem
    for needed in entry.needs:
        path_of(needed)
    return path


def check(entry: Entry, *, again: bool = False) -> InputError | None:
    """Check the hash of a file that is there; what is wrong with it, or None.

    A hash that the manifest does not know is recorded, and must be the same from then on.

    Args:
        entry: The file.
        again: Hash it even if its size and time are those of the last check.
    """
    path = location(entry)
    records = _read_records()
    record = records.get(entry.name, {})
    try:
        stat = path.stat()
        unchanged = (record.get("size"), record.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns)
        sha256 = record["sha256"] if unchanged and not again else sha256_of(path)
    except OSError as error:
        return InputError(path, f"cannot be read ({error.strerror or error})", "check its permissions")
    expected = entry.sha256 or record.get("sha256", "")
    if expected and sha256 != expected:
        remedy = "install the program again" if entry.bundled else f"run `gradctrl weights fetch {entry.name} --force`"
        return InputError(path, f"damaged, or not the file it should be (its SHA-256 is {sha256[:12]}..., not "
                                f"{expected[:12]}...)", remedy)
    if not entry.bundled and (sha256 != record.get("sha256") or not unchanged):
        _write_records({**records, entry.name: {"sha256": sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}})
    return None


def recorded(name: str) -> str:
    """The SHA-256 that was recorded for a file, or ""."""
    return str(_read_records().get(name, {}).get("sha256", ""))


def listing() -> list[Status]:
    """All files of the manifest, with what is there; quick, no hash is taken."""
    return [Status(entry=entry, path=location(entry), present=is_file(location(entry)))
            for entry in entries().values()]


def verify(name: str | None = None) -> list[Status]:
    """Hash the file of a name, or all that are there, and say which are right.

    Raises:
        InputError: no such name, or its file is not there.
    """
    if name is not None:
        entry = entry_of(name)
        if not location(entry).is_file():
            raise InputError(name, f"not on this machine ({location(entry)})", f"run `gradctrl weights fetch {name}`")
    result = []
    for status in listing():
        if status.present and name in (None, status.entry.name):
            problem = check(status.entry, again=True)
            status = Status(entry=status.entry, path=status.path, present=True, right=not problem,
                            problem=str(problem or ""))
            result.append(status)
    return result


def _read_records() -> dict[str, dict[str, Any]]:
    try:
        records = json.loads((cache_dir() / RECORDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) and all(isinstance(item, dict) for item in records.values()) else {}


def _write_records(records: dict[str, dict[str, Any]]) -> None:
    with suppress(InputError), replacing(cache_dir() / RECORDS) as temporary:  # A cache may be read-only.
        temporary.write_text(json.dumps(records, indent=1, sort_keys=True), encoding="utf-8")
