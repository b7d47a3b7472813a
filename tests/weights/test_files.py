"""Safe writing: the old file stays until the new one is whole, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weights.errors import InputError, is_no_room
from weights.files import replacing, write_new

ROOT = Path(__file__).parents[2]


def test_a_new_file_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("old")
    with replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert (tmp_path / "x.txt").read_text() == "old"
    assert (tmp_path / "x.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o666 & ~_umask()


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("bug")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: Exception) -> None:
    (tmp_path / "x.txt").write_text("old")
    expected = InputError if isinstance(fault, OSError) else RuntimeError

    def fail() -> None:
        with replacing(tmp_path / "x.txt") as temporary:
            temporary.write_text("half")
            raise fault

    with pytest.raises(expected, match=r"x\.txt.*No space left.*free some space" if expected is InputError else "bug"):
        fail()
    assert (tmp_path / "x.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/x\.txt: cannot write here"), replacing(tmp_path / "no" / "x.txt"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="another output folder"), replacing(tmp_path / "file" / "x.txt"):
        pass


def test_a_file_system_without_modes_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as exFAT, vfat and some network folders."""
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    monkeypatch.setattr(Path, "chmod", refused)
    with replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
    assert write_new(tmp_path / "y.txt", lambda path: path.write_text("new")).read_text() == "new"


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "x.txt").symlink_to(tmp_path / "mine.txt")
    (tmp_path / "y.txt").symlink_to(tmp_path / "nowhere.txt")
    for name in ("x.txt", "y.txt"):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert not (tmp_path / name).is_symlink()
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "nowhere.txt").exists()


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".txt", "面" * 83 + ".txt"):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert write_new(tmp_path / name[1:], lambda path: path.write_text("new")).name == name[1:]
    with pytest.raises(InputError, match="could not be written"):
        write_new(tmp_path / ("x" * 300 + ".txt"), lambda path: path.write_text("new"))


# ---- under a name that nothing has


@pytest.mark.parametrize("links", [True, False])
def test_what_somebody_else_has_written_stays(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another comes in between, and on file systems without hard links."""
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.latent.safetensors"

    def write(temporary: Path) -> None:
        path.write_text("theirs")  # Meanwhile.
        temporary.write_text("mine")

    assert write_new(path, write).name == "a.latent-2.safetensors"
    assert write_new(path, lambda temporary: temporary.write_text("third")).name == "a.latent-3.safetensors"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.latent.safetensors": "theirs", "a.latent-2.safetensors": "mine", "a.latent-3.safetensors": "third"}
    assert path.with_name("a.latent-2.safetensors").stat().st_mode & 0o777 == 0o666 & ~_umask()
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nowhere.txt")
    assert write_new(tmp_path / "dangling.txt", write).name == "dangling-2.txt"
    assert not (tmp_path / "nowhere.txt").exists()


def test_processes_that_want_one_name_all_get_one(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from weights.files import write_new
        for number in range(40):
            write_new(Path(sys.argv[1], "same.txt"), lambda path: path.write_text(f"{sys.argv[2]} {number}"))
    """
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(name)], cwd=ROOT) for name in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert sorted(written) == sorted(f"{name} {number}" for name in range(3) for number in range(40))


def test_a_failure_is_told_of_the_name_that_was_wanted(tmp_path: Path) -> None:
    def full(temporary: Path) -> None:
        with replacing(temporary):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"x\.txt: could not be written \(No space left on device\)") as caught:
        write_new(tmp_path / "x.txt", full)
    assert caught.value.subject == str(tmp_path / "x.txt")
    assert is_no_room(caught.value)
    assert list(tmp_path.iterdir()) == []


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
