"""Wherever the command line runs: without a home, in folders closed to it, on a full disk, beside another run."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.console import Outputs
from generators import load as load_generator
from inversion import Projector
from inversion.settings import PRESETS
from tests.commands.running import fine, made_by, refused, run
from weights.errors import InputError
from weights.store import CACHE_VARIABLE, cache_dir, has_cache

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name, settings in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(settings, steps=2, start="samples", samples=4, tuning_steps=0))


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know, as in many containers."""
    def unknown(*_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", CACHE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inversions are kept, as outside of tests."""
    monkeypatch.delenv("GRADCTRL_INVERSIONS")


# --- where nothing can be kept ---


def test_without_a_home_everything_runs_and_nothing_is_kept(homeless: None, kept: None, astronaut_file: Path,
                                                            tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not has_cache()
    for more in ([], ["--no-cache"]):
        _, told = fine("invert", astronaut_file, *more, "--overwrite")
        assert ("not kept: this user has no home folder; set GRADCTRL_CACHE" in told) is not more
    made_by("batch", astronaut_file, "--set", "smile=1", "--workers", 1, "--out", tmp_path / "batch")
    refused("discover", "components", "--samples", 50, "--count", 4, words="no home folder; set GRADCTRL_CACHE")
    assert "bundled" in run("weights", "list").stdout
    refused("weights", "path", words="no home folder; set GRADCTRL_CACHE to a folder of yours")
    refused("weights", "fetch", "lpips-vgg", words="no home folder; set GRADCTRL_CACHE to a folder of yours")
    refused("edit", "--seed", 1, "--set", "smile=1", "--generator", "stylegan2-ffhq", words="gradctrl weights fetch")
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("place", ["~/x", "~nobody-of-this-name/x"])
def test_a_folder_in_a_home_that_is_not_there_is_none(place: str, homeless: None,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, place)
    assert not has_cache()
    monkeypatch.setenv(CACHE_VARIABLE, "/somewhere")
    assert cache_dir() == Path("/somewhere")


@pytest.mark.parametrize("variable", [CACHE_VARIABLE, "XDG_CACHE_HOME"])
def test_variables_that_point_nowhere_cost_only_what_would_be_kept(
        variable: str, kept: None, astronaut_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    for number, place in enumerate((tmp_path / "file" / "below", tmp_path / "file")):
        monkeypatch.setenv(variable, str(place))
        _, told = fine("invert", astronaut_file, "--out", tmp_path / str(number))
        assert "inversions cannot be kept here" in told
        assert "Traceback" not in told
    monkeypatch.setenv(variable, str(tmp_path / "absent" / "deep"))
    made_by("invert", astronaut_file, "--out", tmp_path / "absent is made")
    assert list((tmp_path / "absent").rglob("*.safetensors"))


def test_a_cache_that_is_closed_to_us_is_told_of_and_no_error(kept: None, astronaut_file: Path, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of another user is; the modes of folders do not stop a superuser, who may run the tests."""
    closed = tmp_path / "closed"
    monkeypatch.setenv(CACHE_VARIABLE, str(closed))
    original = {name: getattr(os, name) for name in ("stat", "mkdir", "scandir", "open")}

    def guarded(name: str) -> object:
        def call(path: object, *more: object, **named: object) -> object:
            if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(str(closed)):
                raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return original[name](path, *more, **named)

        return call

    for name in original:
        monkeypatch.setattr(os, name, guarded(name))
    _, told = fine("invert", astronaut_file, "--out", tmp_path / "out")
    assert "Permission denied" in told
    assert "to fetch" in run("weights", "list").stdout
    made_by("edit", "--seed", 1, "--set", "smile=1", "--out", tmp_path / "out")


@pytest.mark.parametrize("value", ["nonsense", "5 bananas", "0MB", "-1GB"])
def test_a_limit_that_is_none_is_refused(value: str, astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_INVERSIONS", value)
    refused("invert", astronaut_file, words="neither off nor a size; set it to off")


# --- where nothing can be written, or somebody else writes ---


def test_a_read_only_folder_is_refused_before_the_work(astronaut_file: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted before it was checked"))
    for command in (["align", astronaut_file], ["invert", astronaut_file], ["sample"],
                    ["edit", astronaut_file, "--set", "smile=1"]):
        refused(*command, "--out", tmp_path / "out", words="cannot write here (Read-only file system); choose another")


def test_a_folder_that_vanishes_is_told_of(astronaut_file: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    original = Projector.invert_batch

    def invert_batch(*arguments: object, **named: object) -> object:
        (tmp_path / "out").rmdir()
        return original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Projector, "invert_batch", invert_batch)
    result = run("invert", astronaut_file, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot write here (No such file or directory); choose another output folder" in result.stderr


def test_two_runs_in_one_folder_lose_nothing(astronaut_file: Path, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one writes while the first one works."""
    out, original = tmp_path / "out", Projector.invert_batch

    def invert_batch(*arguments: object, **named: object) -> object:
        for name in ("astronaut.latent.safetensors", "astronaut-inverted.png"):
            (out / name).write_bytes(b"theirs")
        return original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Projector, "invert_batch", invert_batch)
    written, told = fine("invert", astronaut_file, "--out", out)
    assert [path.name for path in written] == ["astronaut.latent-2.safetensors", "astronaut-inverted-2.png"]
    assert all(path.read_bytes() != b"theirs" for path in written)
    assert all((out / path.name.replace("-2", "")).read_bytes() == b"theirs" for path in written)
    assert told.count("another run has written it meanwhile") == 2


def test_a_symbolic_link_in_place_of_a_result_is_not_followed(astronaut_file: Path, tmp_path: Path) -> None:
    mine, out = tmp_path / "mine.png", tmp_path / "out"
    mine.write_bytes(b"mine")
    out.mkdir()
    for name, target in (("astronaut-face.png", mine), ("sample3.png", tmp_path / "nowhere.png")):
        (out / name).symlink_to(target)
    for command in (["align", astronaut_file, "--size", 32], ["sample", "--seed", 3, "--count", 1]):
        refused(*command, "--out", out, words="is there already")
        made_by(*command, "--out", out, "--overwrite")
    assert not (out / "astronaut-face.png").is_symlink()
    assert mine.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere.png").exists()
    (out / "astronaut-face.png").unlink()
    (out / "astronaut-face.png").symlink_to(astronaut_file)
    refused("align", astronaut_file, "--out", out, "--overwrite", words="is an input itself and is never overwritten")


def test_a_batch_refuses_its_folder_before_the_work_and_follows_no_links_in_it(
        astronaut_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, one, other = tmp_path / "out", tmp_path / "one.jpg", tmp_path / "other.jpg"
    for photo in (one, other):
        photo.write_bytes(astronaut_file.read_bytes())
    command = ["batch", "--set", "smile=1", "--workers", 1]
    made_by(*command, one, "--out", out)
    (out / "pictures" / "other-edited.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "mine").write_bytes(b"mine")
    (out / "latents" / "other.latent.safetensors").symlink_to(tmp_path / "mine")
    made_by(*command, one, other, "--out", out)
    assert not (tmp_path / "nowhere.png").exists()
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert len([path for path in (out / "pictures").iterdir() if not path.is_symlink()]) == 2
    monkeypatch.setattr("batch.worker.load_models", lambda *_: pytest.fail("loaded before it was checked"))
    refused(*command, one, "--out", tmp_path / "mine" / "below", words="Not a directory); choose another")


@pytest.mark.parametrize("name", ["x" * 222, "面" * 75, "x" * 249])
def test_a_long_name_is_written_or_refused_before_the_work(name: str, astronaut_file: Path, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / f"{name}.jpg"
    photo.write_bytes(astronaut_file.read_bytes())
    if len(name) < 249:
        assert len(made_by("edit", photo, "--set", "smile=1", "--out", tmp_path / "out")) == 2
        return
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted before it was checked"))
    refused("edit", photo, "--set", "smile=1", "--out", tmp_path / "out", words="too long); rename the input")


def test_claims_take_time_in_proportion(tmp_path: Path) -> None:
    inputs = [tmp_path / f"person-{number}.safetensors" for number in range(1500)]
    outputs = Outputs(tmp_path / "out", inputs, overwrite=False)
    start = time.process_time()
    for path in inputs:
        outputs.claim(f"{path.stem}.png")
    assert time.process_time() - start < 2  # Usually 0.1; each with each of the others, it took a minute.
    with pytest.raises(InputError, match="another input of the same name"):
        outputs.claim("person-7.png")


# --- where memory or letters are few ---


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_costs_one_photo(error: Exception, astronaut_file: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(astronaut_file.read_bytes())
    original, calls = Projector.invert_batch, []

    def invert_batch(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Projector, "invert_batch", invert_batch)
    for number, command in enumerate((["invert"], ["edit", "--set", "smile=1"])):
        calls.clear()
        result = run(*command, astronaut_file, other, "--out", tmp_path / str(number))
        assert result.exit_code == 1
        assert "Error: out of memory (" in result.stderr
        assert [path.name.startswith("other") for path in (tmp_path / str(number)).iterdir()] == [True, True]


def test_too_little_memory_of_other_commands_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried "
                           "to allocate 1 bytes.")

    monkeypatch.setattr("generators.base.Generator.render", render)
    refused("sample", "--out", tmp_path, words="end other programs, give a smaller --batch")


def test_the_library_says_what_helps_where_memory_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    projector = Projector(load_generator("bundled"))
    monkeypatch.setattr(Projector, "_whole_pictures", fails)
    with pytest.raises(InputError, match=r"^out of memory \(CUDA out of memory\.\); end other programs"):
        projector.invert(np.zeros((1024, 1024, 3), np.uint8))


def test_a_fault_of_the_program_is_not_taken_for_that(astronaut_file: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Projector, "invert_batch", fault)
    with pytest.raises(RuntimeError, match="a bug"):
        run("invert", astronaut_file, "--out", tmp_path)


@pytest.mark.parametrize("letters", [{"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "cp1252"},
                                     {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0",
                                                                     "PYTHONCOERCECLOCALE": "0"}])
def test_names_that_cannot_be_shown_do_not_end_the_work(letters: dict[str, str], astronaut_file: Path,
                                                        tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("日本 Ünï.jpg", "plain.jpg")]
    for photo in photos:
        photo.write_bytes(astronaut_file.read_bytes())
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    result = subprocess.run(
        [sys.executable, "-m", "cli", "align", *photos, tmp_path / "日.jpg", "--size", "32", "--out", tmp_path / "é"],
        capture_output=True, cwd=ROOT, env=environment | letters, check=False)
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"no such file" in result.stderr
    assert sorted(path.name for path in (tmp_path / "é").iterdir()) == ["plain-face.png", "日本 Ünï-face.png"]
    assert len(result.stdout.splitlines()) == 2
