"""Getting files that are not bundled: sources in order, hash checked before use, nothing half-made left behind."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from weights.errors import InputError
from weights.files import replacing
from weights.hashing import sha256_of
from weights.manifest import Entry, Source, entry_of
from weights.store import (
    CACHE_VARIABLE,
    NO_HOME,
    RECORDS,
    cache_dir,
    check,
    has_cache,
    listing,
    location,
    path_of,
    recorded,
    verify,
)

__all__ = ["fetch", "listing", "path_of", "verify"]

Progress = Callable[[int, int], None]  # Bytes done and bytes in all (0: not known).
Converters = Mapping[str, Callable[[Path, Path], None]]  # By the steps that the manifest names: from a file to another.

WORK_PREFIX = ".fetch-"
STALE = 24 * 3600  # Seconds after which the work folder of a fetch that was killed is cleared away.
CHUNK = 1 << 18
TIMEOUT = 30  # Seconds without any byte.


def fetch(name: str, *, on_progress: Progress | None = None, force: bool = False,
          converters: Converters = MappingProxyType({})) -> Path:
    """Get a file of the manifest, and those it needs, into the cache directory, unless they are there.

    Args:
        name: Its name in the manifest; bundled files are there already.
        on_progress: Called with the bytes done and the bytes in all (0: not known), from 0 anew for each source.
        force: Get it again even if a right one is there.
        converters: What turns files that are not stored as they are into those that are.

    Returns:
        Where the file is.

    Raises:
        InputError: no such name; no source could be reached or had the right file; or the disk is full. One line that
            says for each source what happened, and where to put the file by hand.
    """
    entry = entry_of(name)
    path = location(entry)
    if entry.bundled:
        return path_of(name)
    if force or not path.is_file() or check(entry):
        path = _fetch_one(entry, on_progress, converters)
    for needed in entry.needs:
        fetch(needed, force=force, converters=converters)
    return path


def _fetch_one(entry: Entry, on_progress: Progress | None, converters: Converters) -> Path:
    reasons = []
    with _work_folder() as folder:
        for source in entry.sources:
            try:
                return _fetch_from(entry, source, Path(folder), on_progress, converters)
            except InputError as error:  # noqa: PERF203 (a few sources, each a download)
                reasons.append(str(error))
    raise InputError(entry.name, f"could not be fetched ({'; '.join(reasons)})", _remedy(entry))


def _remedy(entry: Entry) -> str:
    source, path = entry.sources[0], location(entry)
    if source.convert:
        return f"check the network, or put {source.file} at {path.with_name(source.file)} by hand and fetch again"
    if not entry.sha256 and recorded(entry.name):
        return f"check the network; if the publisher has changed the file, delete {cache_dir() / RECORDS} and try again"
    return f"check the network, or put the file at {path} by hand"


def _work_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder within the cache, gone afterwards; those of fetches that were killed are cleared away."""
    cache = cache_dir()
    if not has_cache():
        raise InputError(None, *NO_HOME)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{WORK_PREFIX}*"):
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=cache)
    except OSError as error:
        raise InputError(cache, f"cannot write here ({error.strerror or error})",
                         f"set {CACHE_VARIABLE} to another folder") from error


def _fetch_from(entry: Entry, source: Source, folder: Path, on_progress: Progress | None,
                converters: Converters) -> Path:
    """Get the file from one source, check it, and put it in its place."""
    sha256 = source.sha256 or entry.sha256 or recorded(entry.name)
    size = source.size or entry.size
    placed = location(entry).with_name(source.file) if source.convert else None
    if placed is not None and placed.is_file():  # Put there by hand.
        got = placed
    else:
        got = download(source.url, folder / "download", sha256=sha256, size=size, on_progress=on_progress)
    if placed is not None and sha256 and sha256_of(got) != sha256:
        raise InputError(got, "not the file it should be")
    path = location(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        if source.convert:
            converters[source.convert](got, temporary)
        else:
            shutil.move(got, temporary)
        if entry.sha256 and sha256_of(temporary) != entry.sha256:
            raise InputError(source.file, "converted to something else than expected")
    problem = check(entry, again=True)
    if problem:
        path.unlink()
        raise problem
    return path


def download(url: str, path: Path, *, sha256: str = "", size: int = 0,
             on_progress: Progress | None = None) -> Path:
    """Download an address to `path`, which is there only if all went well.

    Args:
        url: http or https.
        path: The file; its folder must exist.
        sha256: Expected hash; "": any.
        size: Expected bytes; 0: any. Used for the progress where the server does not tell it.
        on_progress: Called with the bytes done and the bytes in all.

    Raises:
        InputError: one line: the host and what happened. A web page in place of the file is told apart.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    host = urlsplit(url).netloc.rsplit("@", 1)[-1]
    web = pooch.HTTPDownloader(progressbar=_Bar(on_progress, size) if on_progress else False, chunk_size=CHUNK,
                               timeout=TIMEOUT)

    def get(address: str, output: str, keeper: object) -> None:
        web(address, output, keeper)
        if _is_web_page(Path(output)):
            raise InputError(host, "sent a web page in place of the file")
        if size and not sha256 and Path(output).stat().st_size != size:
            raise InputError(host, f"sent {Path(output).stat().st_size} bytes in place of {size}")

    path.unlink(missing_ok=True)
    try:
        pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, fname=path.name, path=path.parent, downloader=get)
    except InputError:
        raise
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        raise InputError(host, f"the server answered {status}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise InputError(host, "the connection broke off") from error
    except requests.RequestException as error:
        raise InputError(host, "no connection") from error
    except ValueError as error:  # How pooch reports a wrong hash.
        raise InputError(host, "sent a file with a wrong SHA-256") from error
    except OSError as error:
        raise InputError(path.parent, f"could not be written ({error.strerror or error})") from error
    return path


def _is_web_page(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--"))


class _Bar:
    """What pooch wants of a progress bar, handed on to a callback."""

    def __init__(self, on_progress: Progress, size: int) -> None:
        self.on_progress = on_progress
        self.size = size
        self.total = 0  # Set by pooch to what the server tells.
        self.done = 0

    def update(self, count: int) -> None:
        total = self.total or self.size
        self.done = min(self.done + count, total) if total else self.done + count
        self.on_progress(self.done, total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
