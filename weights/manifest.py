"""The list of every file that the program can use: `manifest.toml`, read and checked.

    python -m weights.manifest      sets the hashes and sizes of the bundled files to those of the files that are there
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from weights.errors import InputError
from weights.files import replacing
from weights.hashing import sha256_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MANIFEST = Path(__file__).with_name("manifest.toml")
BUNDLED = Path(__file__).with_name("bundled")
KINDS = ("generator", "controls", "components", "classifier", "perceptual", "encoder")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place to get a file from."""

    url: str
    sha256: str = ""   # Of what is downloaded; "": that of the entry.
    size: int = 0      # Of what is downloaded, in bytes; 0: that of the entry.
    convert: str = ""  # The step from there to the stored file; "": they are the same.

    @property
    def file(self) -> str:
        """Name of what is downloaded."""
        return PurePosixPath(self.url.split("?")[0]).name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of the manifest."""

    name: str
    what: str
    kind: str
    file: str                         # Below the cache directory, or below weights/bundled.
    licence: str
    bundled: bool = False
    sha256: str = ""                  # Of the stored file; "": recorded on first use.
    size: int = 0                     # Of the stored file, in bytes; 0: not known.
    generator: str = ""               # The generator that it belongs to, by name.
    origin: str = ""                  # Of a bundled file: what it was made of.
    needs: tuple[str, ...] = ()       # Other entries that are fetched with it.
    sources: tuple[Source, ...] = ()  # In the order in which they are tried.


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, in the order of the manifest."""
    return read_manifest(MANIFEST)


def entry_of(name: str) -> Entry:
    """The entry of a name.

    Raises:
        InputError: there is none.
    """
    if name not in entries():
        raise InputError(name, "no file of this name is known", "`gradctrl weights list` shows all")
    return entries()[name]


def read_manifest(path: Path) -> dict[str, Entry]:
    """Read a manifest.

    Raises:
        ValueError: it does not follow its own rules (a fault of the program, not of its user).
    """
    with open(path, "rb") as file:
        tables = tomllib.load(file)["file"]
    result: dict[str, Entry] = {}
    for table in tables:
        sources = tuple(Source(**source) for source in table.pop("sources", []))
        entry = Entry(**{**table, "needs": tuple(table.get("needs", ())), "sources": sources})
        _check(entry)
        if entry.name in result:
            raise ValueError(f"{path}: {entry.name} is there twice")
        result[entry.name] = entry
    for entry in result.values():
        unknown = {*entry.needs, entry.generator} - {"", *result}
        if unknown:
            raise ValueError(f"{path}: {entry.name} names {unknown}, which are not there")
    return result


def _check(entry: Entry) -> None:
    hashes = [entry.sha256, *(source.sha256 for source in entry.sources)]
    if not all(re.fullmatch(r"([0-9a-f]{64})?", value) for value in hashes):
        raise ValueError(f"{entry.name}: a hash is no SHA-256")
    inside = PurePosixPath(entry.file)
    if inside.is_absolute() or ".." in inside.parts or entry.kind not in KINDS or not entry.licence:
        raise ValueError(f"{entry.name}: file, kind or licence is not right")
    if entry.bundled == bool(entry.sources):
        raise ValueError(f"{entry.name}: a file is either bundled or has sources")


def update_bundled(path: Path = MANIFEST, folder: Path = BUNDLED) -> list[str]:
    """Set hash and size of each bundled file that is there; the names of those that changed."""
    text, changed = path.read_text(encoding="utf-8"), []
    for entry in read_manifest(path).values():
        file = folder / entry.file
        if not entry.bundled or not file.is_file():
            continue
        sha256, size = sha256_of(file), file.stat().st_size
        if (sha256, size) != (entry.sha256, entry.size):
            changed.append(entry.name)
            start = text.index(f'name = "{entry.name}"\n')
            stop = text.find("[[file]]", start) if "[[file]]" in text[start:] else len(text)
            block = re.sub(r'(?m)^sha256 = ".*"$', f'sha256 = "{sha256}"', text[start:stop])
            text = text[:start] + re.sub(r"(?m)^size = \d+$", f"size = {size}", block) + text[stop:]
    if changed:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return changed


if __name__ == "__main__":
    print("changed:", ", ".join(update_bundled()) or "nothing")
