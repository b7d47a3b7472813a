"""invert and edit with kept inversions: a second run is a hit and changes nothing; how they are shown and cleared."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands.files import open_cache
from inversion import Photo, Projector, load_inversion
from inversion.cache import LIMIT
from inversion.settings import PRESETS
from tests.commands.running import fine, run
from weights.errors import InputError

TOLD = "Inversions are kept in"


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name, settings in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(settings, steps=3, samples=2, tuning_steps=0))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where inversions are kept: not with the user's, and on, unlike in other tests."""
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRADCTRL_INVERSIONS")
    return tmp_path / "cache" / "inversions"


@pytest.fixture
def me(astronaut_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "me.jpg"
    path.parent.mkdir()
    path.write_bytes(astronaut_file.read_bytes())
    return path


@pytest.fixture
def you(astronaut: Photo, tmp_path: Path) -> Path:
    """The portrait mirrored: another photo."""
    Image.fromarray(np.ascontiguousarray(astronaut.pixels[:, ::-1])).save(tmp_path / "you.png")
    return tmp_path / "you.png"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def inverted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many faces each call of the projector was given."""
    counts: list[int] = []
    original = Projector.invert_batch

    def invert_batch(self: Projector, crops: list[np.ndarray], **more: Any) -> Any:
        counts.append(len(crops))
        return original(self, crops, **more)

    monkeypatch.setattr(Projector, "invert_batch", invert_batch)
    return counts


def kept(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_second_run_is_a_hit_and_writes_the_same_bit_for_bit(me: Path, folder: Path, out: Path,
                                                               inverted: list[int]) -> None:
    edit = ("edit", me, "--set", "smile=1.5", "--paste", "--out")
    first, told = fine(*edit, out / "1")
    assert f"{TOLD} {folder}" in told
    assert "gradctrl cache clear" in told
    assert "--no-cache" in told
    assert "from the cache" not in told
    second, told = fine(*edit, out / "2")
    assert TOLD not in told
    assert f"{me}: LPIPS" in told
    assert "from the cache" in told
    fresh, told = fine(*edit, out / "3", "--no-cache")
    assert "from the cache" not in told
    assert inverted == [1, 1]
    assert len(first) == 2  # Picture and recipe.
    for a, b, c in zip(first, second, fresh, strict=True):
        assert a.read_bytes() == b.read_bytes() == c.read_bytes()
    [again], _ = fine("edit", me, "--recipe", second[1], "--paste", "--out", out / "4")
    assert again.read_bytes() == first[0].read_bytes()
    assert inverted == [1, 1]


def test_invert_and_edit_share_what_is_kept(me: Path, out: Path, inverted: list[int]) -> None:
    (first, _), _ = fine("invert", me, "--out", out / "1")
    copy = me.with_name("renamed.jpg")
    copy.write_bytes(me.read_bytes())
    (second, picture), told = fine("invert", copy, "--out", out / "2")
    assert second.name == "renamed.latent.safetensors"
    assert f"{copy}: LPIPS" in told
    assert "from the cache" in told
    assert second.read_bytes() == first.read_bytes()
    with Image.open(picture) as image:
        assert np.array_equal(np.asarray(image), load_inversion(first).picture)
    fine("edit", me, "--set", "age=1", "--out", out)
    assert inverted == [1]
    for flags in (["--seed", 1], ["--steps", 4], ["--preset", "fast"], ["--space", "w"]):  # Another inversion each.
        fine("invert", me, *flags, "--out", out / "-".join(map(str, flags)))
    assert inverted == [1] * 5


def test_of_two_photos_only_the_new_face_is_inverted(me: Path, you: Path, out: Path, folder: Path,
                                                     inverted: list[int]) -> None:
    fine("invert", you, "--out", out / "you")
    written, told = fine("invert", me, you, "--out", out / "both")
    assert inverted == [1, 1]
    assert [path.name for path in written] == ["me.latent.safetensors", "me-inverted.png", "you.latent.safetensors",
                                               "you-inverted.png"]
    lines = {str(path): line for line in told.splitlines() for path in (me, you) if line.startswith(str(path))}
    assert "from the cache" in lines[str(you)]
    assert "from the cache" not in lines[str(me)]
    assert written[2].read_bytes() == (out / "you" / "you.latent.safetensors").read_bytes()
    assert load_inversion(written[0]).photo_hash != load_inversion(written[2]).photo_hash
    fine("invert", me, you, "--out", out / "again")
    assert inverted == [1, 1]
    assert kept(folder) == 2


def test_none_are_kept_or_used_where_that_is_switched_off(me: Path, out: Path, folder: Path, inverted: list[int],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = fine("invert", me, "--no-cache", "--out", out / "1")
    assert TOLD not in told
    assert not folder.parent.exists()
    monkeypatch.setenv("GRADCTRL_INVERSIONS", "OFF")
    fine("invert", me, "--out", out / "2")
    assert not folder.parent.exists()
    fine("invert", me, "--cache", "--out", out / "3")  # The option comes before the variable.
    assert kept(folder) == 1
    fine("invert", me, "--out", out / "4")
    assert inverted == [1, 1, 1, 1]


@pytest.mark.parametrize(("value", "limit"), [
    ("500MB", 500 * 10**6), ("2GB", 2 * 10**9), ("1.5 gb", 15 * 10**8), ("64kb", 64_000), ("", LIMIT), ("off", None)])
def test_the_variable_limits(value: str, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_INVERSIONS", value)
    cache = open_cache(None)
    assert (cache and cache.limit) == limit
    assert open_cache(False) is None
    wanted = open_cache(True)
    assert wanted is not None
    assert wanted.limit == (limit or LIMIT)


@pytest.mark.parametrize("value", ["lots", "500", "MB", "-1GB", "0MB", "1e3MB", "5 00MB", "nanGB", "9" * 400 + "GB"])
def test_a_bad_variable_is_named_before_the_long_work(value: str, me: Path, out: Path, inverted: list[int],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_INVERSIONS", value)
    with pytest.raises(InputError, match=r"GRADCTRL_INVERSIONS.*off.*500MB"):
        open_cache(None)
    for command in (["invert", me], ["edit", me, "--set", "smile=1"], ["cache", "show"], ["app"]):
        result = run(*command, *(["--out", out] if me in command else []))
        assert result.exit_code == 1
        assert "Error: GRADCTRL_INVERSIONS" in result.stderr
    assert inverted == []
    fine("cache", "clear")  # Works whatever the variable says.


def test_the_limit_is_held(me: Path, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine("invert", me, "--out", out / "0")
    [first] = folder.iterdir()
    size = first.stat().st_size
    monkeypatch.setenv("GRADCTRL_INVERSIONS", f"{size * 1.5 / 1000:.0f}KB")
    fine("invert", me, "--seed", 1, "--out", out / "1")
    [second] = folder.iterdir()
    assert second != first
    monkeypatch.setenv("GRADCTRL_INVERSIONS", "1KB")
    _, told = fine("invert", me, "--seed", 2, "--out", out / "2")
    assert "Warning: an inversion of" in told
    assert [*folder.iterdir()] == [second]


def test_a_stopped_inversion_is_not_kept(me: Path, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Projector.invert_batch

    def stopped(self: Projector, crops: list[np.ndarray], **more: Any) -> Any:
        return original(self, crops, **{**more, "should_stop": lambda: True})

    monkeypatch.setattr(Projector, "invert_batch", stopped)
    _, told = fine("invert", me, "--out", out)
    assert "stopped after 1 of 3 steps" in told
    assert TOLD not in told
    assert kept(folder) == 0


@pytest.mark.slow
def test_trouble_with_the_folder_is_told_once_and_is_no_error(me: Path, you: Path, out: Path, folder: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.mkdir()
    folder.write_bytes(b"a file in the folder's place")
    written, told = fine("invert", me, you, "--out", out)
    assert len(written) == 4
    assert told.count("Warning: ") - told.count(f"Warning: {me}: ") - told.count(f"Warning: {you}: ") == 1
    assert f"Warning: {folder}: inversions cannot be kept here" in told
    folder.unlink()
    with monkeypatch.context() as patch:
        def full(*_: object) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("tempfile.mkdtemp", full)
        _, told = fine("invert", me, "--out", out / "full")
        assert "No space left on device" in told
    fine("invert", me, you, "--out", out / "now")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:3000])
    written, told = fine("invert", me, you, "--out", out / "damaged")
    assert told.count("cannot be used") == 1
    assert "from the cache" not in told
    assert "from the cache" in fine("invert", me, "--out", out / "rebuilt")[1]


def test_what_is_kept_is_shown_and_cleared(me: Path, out: Path, folder: Path, inverted: list[int],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("cache", "show").stdout.splitlines() == [f"folder  {folder}", "kept    0 inversions, 0 bytes",
                                                        "limit   1 GB"]
    fine("invert", me, "--out", out / "1")
    (folder / "diary.txt").write_text("mine")
    shown = run("cache", "show").stdout
    assert "kept    1 inversion, " in shown
    monkeypatch.setenv("GRADCTRL_INVERSIONS", "off")
    assert "limit   off" in run("cache", "show").stdout
    written, told = fine("cache", "clear")
    assert written == []
    assert told.startswith("removed 1 inversion, ")
    assert told.split(", ")[1].strip() in shown
    assert [path.name for path in folder.iterdir()] == ["diary.txt"]
    assert "removed 0 inversions" in fine("cache", "clear")[1]
    monkeypatch.delenv("GRADCTRL_INVERSIONS")
    _, told = fine("invert", me, "--out", out / "2")
    assert inverted == [1, 1]
    assert TOLD in told  # The folder was empty: faces are kept in it again.


def test_what_cannot_be_removed_is_an_error(me: Path, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine("invert", me, "--out", out)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    result = run("cache", "clear")
    assert result.exit_code == 1
    assert f"Error: {folder}: 1 inversion could not be removed; check the folder's permissions" in result.stderr


def test_the_page_keeps_its_own_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr("page.launching.launch", lambda **arguments: called.append(arguments["cache"]))
    for flags in ([], ["--no-cache"], ["--cache"]):
        fine("app", *flags)
    monkeypatch.setenv("GRADCTRL_INVERSIONS", "off")
    for flags in ([], ["--no-cache"], ["--cache"]):
        fine("app", *flags)
    assert called == [True, False, True, False, False, True]
    assert not folder.exists()
