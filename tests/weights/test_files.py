"""Safe writing: the old file stays until the new one is whole, and nothing is left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from weights.errors import InputError
from weights.files import replacing


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
