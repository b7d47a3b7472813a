"""The journal: what survives a kill at any byte, who may open it, and a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from batch.job import BatchJob, BatchPhoto, BatchTask, Outcome, Row
from batch.journal import Journal
from directions import Edit
from weights.errors import InputError, is_no_room

JOB = BatchJob(edit=Edit(strengths={"smile": 1.0}))


def task(folder: Path, name: str = "a.jpg") -> BatchTask:
    (folder / name).write_bytes(name.encode())
    return BatchTask(index=0, photo=BatchPhoto(name=name, path=folder / name), stem=name[:-4])


def ended(the_task: BatchTask) -> Outcome:
    return Outcome(task=the_task, rows=(Row(index=0, name=the_task.photo.name, state="done", lpips=0.25),), sha256="0")


def test_a_journal_cut_at_any_byte_holds_all_that_was_whole(tmp_path: Path) -> None:
    tasks = [task(tmp_path, name) for name in ("a.jpg", "b.jpg")]
    with Journal(tmp_path / "out", JOB) as journal:
        journal.begin(tasks)
        for each in tasks:
            journal.end(ended(each))
    path = tmp_path / "out" / "journal.jsonl"
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        with Journal(tmp_path / "out", JOB) as journal:
            assert [*journal.ended] == ["a.jpg", "b.jpg"][:max(data[:length].count(b"\n") - 2, 0)]
            journal.begin([tasks[0]])
        with Journal(tmp_path / "out", JOB) as journal:
            assert journal.begun["a.jpg"] == "a"


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    one = task(tmp_path)
    with Journal(tmp_path / "out", JOB) as journal:
        assert journal.is_new
        journal.begin([one])
        journal.end(ended(one))
    with Journal(tmp_path / "out", JOB) as journal:
        assert not journal.is_new
        [row] = journal.ended["a.jpg"].rows
        assert (row.state, row.lpips) == ("done", 0.25)
        assert journal.ended["a.jpg"].is_of(one.photo)
        one.photo.path.write_bytes(b"another")
        assert not journal.ended["a.jpg"].is_of(one.photo)


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Journal(tmp_path, JOB), pytest.raises(InputError, match="another run works in this folder"):
        Journal(tmp_path, JOB)
    Journal(tmp_path, JOB).__exit__(None, None, None)


def test_other_jobs_and_other_folders_are_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "out", JOB).__exit__(None, None, None)
    with pytest.raises(InputError, match=r"other settings \(edit\)"):
        Journal(tmp_path / "out", BatchJob(edit=Edit(strengths={"smile": 2.0})))
    Journal(tmp_path / "out", BatchJob(edit=JOB.edit, device="cuda", at_once=8)).__exit__(None, None, None)
    (tmp_path / "out" / "journal.jsonl").write_text("words\n")
    with pytest.raises(InputError, match="damaged"):
        Journal(tmp_path / "out", JOB)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").touch()
    with pytest.raises(InputError, match="no batch's"):
        Journal(tmp_path / "mine", JOB)


@pytest.mark.parametrize("content", ["their line, without an end", "one line\nand a torn one", '{"format":"other"'])
def test_a_journal_that_is_not_ours_stays_as_it_is(content: str, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(content)
    with pytest.raises(InputError, match="damaged, or of another version"):
        Journal(tmp_path, JOB)
    assert (tmp_path / "journal.jsonl").read_text() == content


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path, JOB) as journal:
        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="free some space; the same command goes on") as caught:
            journal.begin([])
        assert is_no_room(caught.value)
