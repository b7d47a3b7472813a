"""The command discover."""

from __future__ import annotations

from pathlib import Path

import pytest

from directions.components import load_components
from tests.commands.running import fine, refused


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_components_are_found_once_and_kept(tmp_path: Path, cache: Path) -> None:
    command = ("discover", "components", "--samples", 500, "--count", 4)
    [path], told = fine(*command)
    assert path.parent == cache / "components"
    assert "4 components of w hold" in told
    written = path.stat().st_mtime_ns
    [copy], _ = fine(*command, "--out", tmp_path / "mine.safetensors")
    assert path.stat().st_mtime_ns == written
    assert len(load_components(copy)) == 4
    refused(*command, "--out", tmp_path / "mine.safetensors", words="--overwrite")
    [layer], _ = fine("discover", "components", "--layer", "b8.conv0", "--samples", 60, "--count", 4)
    assert load_components(layer).settings.analysis == "incremental"


def test_what_cannot_be_found_is_refused(tmp_path: Path) -> None:
    refused("discover", "components", "--layer", "b9.conv0", words="name one of w, b4.conv1")
    refused("discover", "components", "--samples", 10, words="more samples")
    refused("discover", "components", "--out", tmp_path / "x.npz", words=".safetensors")
    refused("discover", "components", "--analysis", "tsne", words="Invalid value", code=2)
