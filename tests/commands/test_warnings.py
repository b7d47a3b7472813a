"""What is off with a face is told by the command line and the page, and again of a kept inversion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cli
from inversion import Face, InversionCache, Photo, ProjectorSettings, load_inversion
from inversion.settings import PRESETS
from page.jobs.inverting import invert
from page.jobs.opening import choose, take_photo
from page.jobs.services import Services
from page.state.visitor import Visitor
from page.tabs import words

QUICK = ProjectorSettings(steps=2, start="samples", samples=2)
TINY = "The face is 70 pixels across where the generator draws 128: "


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name in PRESETS:
        monkeypatch.setitem(PRESETS, name, QUICK)


@pytest.fixture
def tiny(astronaut: Photo, astronaut_faces: list[Face], tmp_path: Path) -> Path:
    """The portrait, so small that the face is 70 pixels across."""
    size = round(astronaut.width * 70.3 / astronaut_faces[0].size)
    path = tmp_path / "tiny.png"
    Image.fromarray(astronaut.pixels).resize((size, size), Image.Resampling.LANCZOS).save(path)
    return path


def test_the_command_line_warns_and_keeps_the_warnings(tiny: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRADCTRL_INVERSIONS")
    monkeypatch.setattr("inversion.faces.identity_distance", lambda a, b: 0.7)
    told = []
    for out in (tmp_path / "first", tmp_path / "again"):
        result = CliRunner(catch_exceptions=False).invoke(cli.main, ["invert", str(tiny), "--out", str(out)])
        assert result.exit_code == 0
        told.append([line for line in result.stderr.splitlines() if line.startswith(f"Warning: {tiny}: ")])
        written = load_inversion(out / "tiny.latent.safetensors").warnings
        assert told[-1] == [f"Warning: {tiny}: {text}" for text in written]
    assert "from the cache" in result.stderr
    assert told[0] == told[1]
    assert told[0][0].startswith(f"Warning: {tiny}: {TINY}")
    assert "identity distance 0.70" in told[0][-1]


def test_the_page_shows_the_warnings_beside_the_numbers(tiny: Path, tmp_path: Path) -> None:
    services = Services(device="cpu", cache=InversionCache(tmp_path / "kept"))
    shown = []
    for _ in range(2):
        visitor = Visitor()
        take_photo(visitor, str(tiny))
        choose(visitor, 0)
        list(invert(visitor, services.models, "fast", services.inversions, services.cache))
        assert visitor.subject is not None
        shown.append(words.numbers(visitor.subject).partition("<ul class='warnings'>"))
    assert "kept from before" in shown[1][0]
    assert shown[0][2] == shown[1][2]
    assert shown[0][2].startswith(f"<li>{TINY}")


def test_the_page_escapes_warnings_and_shows_no_empty_list(tiny: Path) -> None:
    services, visitor = Services(device="cpu"), Visitor()
    take_photo(visitor, str(tiny))
    choose(visitor, 0)
    list(invert(visitor, services.models, "fast", services.inversions))
    subject = visitor.subject
    assert subject is not None
    assert subject.inversion is not None
    assert torch.equal(subject.latent, subject.inversion.latent)
    odd = replace(subject, inversion=replace(subject.inversion, warnings=("<b>1 & 2</b>",)))
    assert "<li>&lt;b&gt;1 &amp; 2&lt;/b&gt;.</li>" in words.numbers(odd)
    plain = replace(subject, inversion=replace(subject.inversion, warnings=()))
    assert "warnings" not in words.numbers(plain)
