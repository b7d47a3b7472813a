"""Fetching, storing and verifying files, from a small web server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators import fetch
from generators.checkpoints import vgg16
from generators.checkpoints.unpickle import read_pickle
from weights import manifest
from weights.errors import InputError
from weights.hashing import sha256_of
from weights.store import RECORDS, cache_dir, is_known, listing, path_of, verify

GOOD = bytes(range(256)) * 2000
SHA = hashlib.sha256(GOOD).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """/good, /bad (other bytes), /page (HTML), /short (breaks off), and what a test adds; else 404."""

    protocol_version = "HTTP/1.1"
    pages: dict[str, tuple[str, bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, body = self.pages.get(self.path, ("text/plain", b"not here"))
        self.send_response(200 if self.path in self.pages else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) * 2 if self.path == "/short" else len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Handler]]]:
    data = "application/octet-stream"
    Handler.pages = {
        "/good": (data, GOOD),
        "/bad": (data, GOOD[1:]),
        "/short": (data, GOOD),
        "/page": ("text/html", b"\n<!DOCTYPE html><html>Sign in</html>"),
    }
    Handler.asked = []
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}", Handler
        web.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[object]:
    """Puts a manifest of one file, `thing`, in place of the real one."""

    def put(*sources: str | dict[str, object], sha256: str = SHA, more: str = "") -> None:
        lines = [
            "[[file]]",
            'name="thing"\nwhat="w"\nkind="generator"\nfile="sub/thing.bin"\nlicence="l"',
            f'sha256="{sha256}"',
            more,
        ]
        for source in sources:
            table = {"url": source} if isinstance(source, str) else source
            lines += ["[[file.sources]]", *(f"{key}={json.dumps(value)}" for key, value in table.items())]
        path = tmp_path / "manifest.toml"
        path.write_text("\n".join(lines))
        monkeypatch.setattr(manifest, "MANIFEST", path)
        manifest.entries.cache_clear()

    yield put
    manifest.entries.cache_clear()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_fetched_file_is_whole_and_found_again(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, handler = server
    listed(f"{url}/good")
    steps: list[tuple[int, int]] = []
    path = fetch("thing", on_progress=lambda done, total: steps.append((done, total)))
    assert path == cache / "sub" / "thing.bin" == path_of("thing")
    assert path.read_bytes() == GOOD
    assert steps[-1] == (len(GOOD), len(GOOD))
    assert all(done <= total == len(GOOD) for done, total in steps)
    assert fetch("thing") == path
    assert handler.asked == ["/good"]
    fetch("thing", force=True)
    assert handler.asked == ["/good", "/good"]
    assert names(cache) == [RECORDS, "sub/thing.bin"]
    assert [(status.entry.name, status.right) for status in verify()] == [("thing", True)]


def test_sources_are_tried_in_order(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, handler = server
    listed(f"{url}/missing", f"{url}/page", f"{url}/short", f"{url}/bad", f"{url}/good", f"{url}/never")
    assert fetch("thing").read_bytes() == GOOD
    assert handler.asked == ["/missing", "/page", "/short", "/bad", "/good"]
    assert names(cache) == [RECORDS, "sub/thing.bin"]


@pytest.mark.parametrize(
    ("page", "sha256", "word"),
    [
        ("/missing", SHA, "answered 404"),
        ("/missing", "", "answered 404"),
        ("/page", SHA, "a web page in place of the file"),
        ("/page", "", "a web page in place of the file"),
        ("/short", SHA, "broke off"),
        ("/short", "", "broke off"),
        ("/bad", SHA, "wrong SHA-256"),
    ],
)
def test_failures_leave_nothing_and_say_what_to_do(  # type: ignore[no-untyped-def]
    page: str, word: str, sha256: str, server, listed, cache
) -> None:
    url, _ = server
    listed(f"{url}{page}", sha256=sha256)
    with pytest.raises(InputError) as caught:
        fetch("thing")
    message = str(caught.value)
    assert word in message
    assert "by hand" in message
    assert str(cache / "sub" / "thing.bin") in message
    assert "\n" not in message
    assert names(cache) == []
    with pytest.raises(InputError, match="gradctrl weights fetch thing"):
        path_of("thing")


def test_without_a_network(listed, cache) -> None:  # type: ignore[no-untyped-def]
    listed("http://127.0.0.1:1/thing.bin")
    with pytest.raises(InputError, match=r"no connection.*by hand"):
        fetch("thing")
    (cache / "sub").mkdir()
    (cache / "sub" / "thing.bin").write_bytes(GOOD)  # Put there by hand.
    assert path_of("thing") == fetch("thing")


def test_a_failed_fetch_keeps_the_file_that_is_there(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, _ = server
    listed(f"{url}/good")
    path = fetch("thing")
    listed(f"{url}/bad")
    with pytest.raises(InputError):
        fetch("thing", force=True)
    assert path.read_bytes() == GOOD


def test_an_interrupted_fetch_starts_again(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, _ = server
    listed(f"{url}/good")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("thing", on_progress=interrupt)
    assert names(cache) == []
    assert fetch("thing").read_bytes() == GOOD


def test_a_damaged_file_is_noticed_and_fetched_again(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, _ = server
    listed(f"{url}/good")
    path = fetch("thing")
    path.write_bytes(GOOD[:-1] + b"x")
    with pytest.raises(InputError, match=r"damaged.*fetch thing --force"):
        path_of("thing")
    (status,) = verify("thing")
    assert status.right is False
    assert str(path) in status.problem
    assert fetch("thing").read_bytes() == GOOD
    assert verify("thing")[0].right


def test_an_unknown_hash_is_recorded_and_then_required(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, handler = server
    listed(f"{url}/good", sha256="")
    path = fetch("thing")
    assert json.loads((cache / RECORDS).read_text())["thing"]["sha256"] == SHA
    handler.pages["/good"] = ("application/octet-stream", GOOD + b"changed")
    with pytest.raises(InputError, match=r"wrong SHA-256.*delete.*checked\.json"):
        fetch("thing", force=True)
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match="damaged"):
        path_of("thing")


def test_what_a_file_needs_is_fetched_with_it(server, listed, cache) -> None:  # type: ignore[no-untyped-def]
    url, _ = server
    listed(f"{url}/good", more='needs=["other"]')
    text = manifest.MANIFEST.read_text()
    other = text.replace('"thing"', '"other"').replace("sub/thing.bin", "sub/other.bin").replace('needs=["other"]', "")
    manifest.MANIFEST.write_text(text + "\n" + other)
    manifest.entries.cache_clear()
    fetch("thing")
    assert names(cache) == [RECORDS, "sub/other.bin", "sub/thing.bin"]
    (cache / "sub" / "other.bin").unlink()
    with pytest.raises(InputError, match="fetch other"):
        path_of("thing")


# --- conversion ---


def test_vgg16_is_stored_without_what_is_not_used(  # type: ignore[no-untyped-def]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server, listed, cache
) -> None:
    monkeypatch.setattr(vgg16, "VGG16", {0: (3, 4), 2: (4, 5)})
    state = {
        name: torch.randn(shape)
        for name, shape in (
            ("features.0.weight", (4, 3, 3, 3)),
            ("features.0.bias", (4,)),
            ("features.2.weight", (5, 4, 3, 3)),
            ("features.2.bias", (5,)),
        )
    }
    torch.save({**state, "classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg.pth")
    vgg16.convert_vgg16(tmp_path / "vgg.pth", tmp_path / "a.safetensors")
    stored = load_file(tmp_path / "a.safetensors")
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], value) for name, value in state.items())

    url, handler = server  # And through a fetch: from the first source, then from a file put beside its place by hand.
    handler.pages["/vgg.pth"] = ("x", (tmp_path / "vgg.pth").read_bytes())
    source = {"url": f"{url}/vgg.pth", "sha256": sha256_of(tmp_path / "vgg.pth"), "convert": "vgg16-torchvision"}
    listed(source, sha256=sha256_of(tmp_path / "a.safetensors"))
    path = fetch("thing")
    assert path.read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    path.unlink()
    del handler.pages["/vgg.pth"]
    with pytest.raises(InputError, match=r"put vgg\.pth at .*by hand and fetch again"):
        fetch("thing")
    path.with_name("vgg.pth").write_bytes((tmp_path / "vgg.pth").read_bytes())
    assert fetch("thing") == path


def test_other_files_are_not_converted(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="not the weights of VGG16"):
        vgg16.convert_vgg16(tmp_path / "a.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the store and the manifest themselves ---


def test_where_files_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x"
    monkeypatch.delenv("GRADCTRL_CACHE")
    assert "gradctrl" in str(cache_dir())
    assert not (tmp_path / "x").exists()


def test_unknown_names() -> None:
    assert not is_known("me.jpg")
    for function in (path_of, fetch, verify):
        with pytest.raises(InputError, match="gradctrl weights list"):
            function("nonsense")


def test_a_cache_that_cannot_be_written(server, listed, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    listed(f"{server[0]}/good")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="GRADCTRL_CACHE"):
        fetch("thing")


def test_the_manifest_follows_its_rules() -> None:
    found = manifest.read_manifest(manifest.MANIFEST)
    assert {
        "bundled-generator",
        "bundled-controls",
        "lpips-alex",
        "lpips-vgg",
        "stylegan2-ffhq",
        "stylegan2-car",
        "stylegan2-cat",
        "stylegan2-church",
        "stylegan2-horse",
        "stylegan2-ada-ffhq",
        "gradctrl-ffhq",
        "gradctrl-car",
        "gradctrl-cat",
    } <= found.keys()
    for entry in found.values():
        assert all(source.convert in ("", "vgg16-torchvision") for source in entry.sources)
        assert all(source.url.startswith("https://") or source.archive_sha256 for source in entry.sources)
    assert len({entry.file for entry in found.values()}) == len(found)
    assert [status.entry.name for status in listing()] == list(found)


@pytest.mark.parametrize(
    "change",
    [
        ('sha256=""', 'sha256="12"'),
        ("sub/thing.bin", "../thing.bin"),
        ("generator", "music"),
        ('licence="l"', 'licence=""'),
        ('name="thing"', 'name="thing"\nneeds=["x"]'),
    ],
)
def test_a_manifest_with_errors(change: tuple[str, str], listed) -> None:  # type: ignore[no-untyped-def]
    listed("http://x/y", sha256="")
    manifest.read_manifest(manifest.MANIFEST)
    manifest.MANIFEST.write_text(manifest.MANIFEST.read_text().replace(*change))
    with pytest.raises(ValueError, match="thing"):
        manifest.read_manifest(manifest.MANIFEST)


def test_the_bundled_files_are_those_of_the_manifest() -> None:
    """If this fails after a bundled file was made anew: python -m weights.manifest."""
    bundled = [entry for entry in manifest.read_manifest(manifest.MANIFEST).values() if entry.bundled]
    assert {entry.file for entry in bundled} == {path.name for path in manifest.BUNDLED.iterdir()
                                                 if path.suffix in (".safetensors", ".csv")}
    for entry in bundled:
        path = manifest.BUNDLED / entry.file
        assert (entry.sha256, entry.size) == (sha256_of(path), path.stat().st_size), entry.name


def test_hashes_of_bundled_files_are_set(tmp_path: Path) -> None:
    (tmp_path / "generator.safetensors").write_bytes(GOOD)
    path = tmp_path / "manifest.toml"
    path.write_text(manifest.MANIFEST.read_text())
    assert manifest.update_bundled(path, tmp_path) == ["bundled-generator"]
    assert manifest.update_bundled(path, tmp_path) == []
    old, new = manifest.read_manifest(manifest.MANIFEST), manifest.read_manifest(path)
    assert (new["bundled-generator"].sha256, new["bundled-generator"].size) == (SHA, len(GOOD))
    assert [name for name in old if old[name] != new[name]] == ["bundled-generator"]


def test_the_installed_lpips_heads_are_the_bundled_ones() -> None:
    from importlib.util import find_spec

    from safetensors.torch import load_file

    spec = find_spec("lpips")
    assert spec is not None
    assert spec.origin is not None
    bundled = load_file(manifest.BUNDLED / "lpips-alex.safetensors")
    for net in ("alex", "vgg"):
        heads = read_pickle(Path(spec.origin).parent / "weights" / "v0.1" / f"{net}.pth")
        assert isinstance(heads, dict)
        assert len(heads) == 5
        for name, value in heads.items():
            index = name.removeprefix("lin").split(".")[0]
            assert torch.equal(bundled[f"lin_{net}.{index}.weight"], value.half())
