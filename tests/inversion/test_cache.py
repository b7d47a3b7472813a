"""Kept inversions: they come back as they were, never another's, within the limit, and trouble is no error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from generators import Space
from inversion import Inversion, InversionCache, ProjectorSettings, load_inversion, save_inversion
from inversion.cache import ABANDONED, complete, default_folder, in_words

ROOT = Path(__file__).parents[2]
QUAD = np.arange(8.0).reshape(4, 2)
SETTINGS = ProjectorSettings(space="w+", steps=9)
SPACE = Space.of("w", torch.randn(4, 512, generator=torch.Generator().manual_seed(0)))
GENERATOR: Any = SimpleNamespace(hash="a" * 64, space=SPACE, num_ws=12)
KEYS = [InversionCache.key("b" * 64, QUAD + number, GENERATOR.hash, SETTINGS) for number in range(12)]


def make(seed: int = 0, **changes: Any) -> Inversion:
    """A record that nobody made; the seed says what it holds."""
    rng = np.random.default_rng(seed)
    record = Inversion(latent=torch.tensor(rng.normal(size=[12, 512]), dtype=torch.float32), generator_hash="a" * 64,
                       space=SPACE, steps=7, lpips=0.1, mse=0.02, identity=0.4, settings=SETTINGS, seconds=1.5 + seed,
                       tuning={"synthesis.conv.weight": torch.tensor(rng.normal(size=[8, 8])).half()},
                       crop=rng.integers(0, 256, [32, 32, 3], np.uint8),
                       picture=rng.integers(0, 256, [32, 32, 3], np.uint8))
    return replace(record.of_photo("b" * 64, QUAD), **changes)


def same(found: Inversion | None, record: Inversion) -> bool:
    """Whether two records are equal in all of their parts, whatever these are."""
    return found is not None and vars(found).keys() == vars(record).keys() and all(
        _equal(value, vars(found)[name]) for name, value in vars(record).items())


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if isinstance(a, Space):
        return a.to_text() == b.to_text()
    return np.array_equal(np.asarray(a), np.asarray(b)) and getattr(a, "dtype", None) == getattr(b, "dtype", None)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, notes: list[str]) -> InversionCache:
    return InversionCache(tmp_path / "below" / "inversions", on_note=notes.append)


@pytest.fixture
def bytes_of_one(tmp_path: Path) -> int:
    save_inversion(tmp_path / "one.safetensors", make())
    return (tmp_path / "one.safetensors").stat().st_size


def file_of(cache: InversionCache, key: str) -> Path:
    return cache.folder / f"{key}.safetensors"


# --- what comes back ---


def test_what_is_put_is_got(cache: InversionCache, notes: list[str]) -> None:
    assert cache.get(KEYS[0], GENERATOR) is None
    assert cache.size() == cache.clear() == (0, 0)
    assert not cache.folder.exists()  # Asking makes nothing.
    records = [make(0), make(1, identity=None), make(2, latent=torch.ones(512))]
    for key, record in zip(KEYS, records, strict=False):
        assert cache.put(key, record)
    for key, record in zip(KEYS, records, strict=False):
        assert same(cache.get(key, GENERATOR), record)
        assert not same(cache.get(key, GENERATOR), make(7))
    assert cache.put(KEYS[0], make(5))  # A newer one takes its place.
    assert same(cache.get(KEYS[0], GENERATOR), make(5))
    assert cache.size() == (3, sum(path.stat().st_size for path in cache.folder.iterdir()))
    assert notes == []


def test_removed_is_removed(cache: InversionCache) -> None:
    cache.put(KEYS[0], make())
    cache.put(KEYS[1], make(1))
    cache.remove(KEYS[0])
    cache.remove(KEYS[0])
    assert cache.get(KEYS[0], GENERATOR) is None
    assert same(cache.get(KEYS[1], GENERATOR), make(1))


def test_a_stopped_inversion_is_not_kept(cache: InversionCache) -> None:
    assert not complete(make(stopped=True))
    assert not cache.put(KEYS[0], make(stopped=True))
    assert cache.get(KEYS[0], GENERATOR) is None
    assert complete(make(steps=3))  # Of 9: it had come to rest.


def test_a_key_differs_with_each_ingredient_and_with_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    nudged = QUAD.copy()
    nudged[2, 1] += 0.02
    settings = [replace(SETTINGS, **change) for change in (
        {"steps": 10}, {"space": "w"}, {"learning_rate": 0.2}, {"seed": 1}, {"mse": 2.0}, {"focus": 0.5},
        {"tuning_steps": 3}, {"start": "samples"}, {"start": "encoder 0123456789ab"})]
    given = [("b" * 64, QUAD, "a" * 64, SETTINGS), ("c" * 64, QUAD, "a" * 64, SETTINGS),
             ("b" * 64, nudged, "a" * 64, SETTINGS), ("b" * 64, QUAD[::-1], "a" * 64, SETTINGS),
             ("b" * 64, QUAD, "d" * 64, SETTINGS), *(("b" * 64, QUAD, "a" * 64, other) for other in settings)]
    keys = [InversionCache.key(*parts) for parts in given]
    assert len({*keys}) == len(given)
    assert all(len(key) == 64 and not {*key} - {*"0123456789abcdef"} for key in keys)
    listed = tuple((float(x), float(y)) for x, y in QUAD)
    for again in (QUAD + 0.004, QUAD - 0.004, listed, QUAD.astype(np.float32)):  # From -0.004 no -0.
        assert InversionCache.key("b" * 64, again, "a" * 64, ProjectorSettings(space="w+", steps=9)) == keys[0]
    monkeypatch.setattr("inversion.cache.VERSION", 99)
    assert InversionCache.key(*given[0]) not in keys


def test_a_key_is_the_same_in_another_process() -> None:
    code = ("from inversion import InversionCache, ProjectorSettings\n"
            f"print(InversionCache.key('{'b' * 64}', {QUAD.tolist()}, '{'a' * 64}', "
            "ProjectorSettings(steps=9, space='w+')))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == KEYS[0]


def test_what_is_no_key_reaches_no_file(cache: InversionCache) -> None:
    for key in ("../" + KEYS[0], "", "A" * 64, KEYS[0] + "\n", KEYS[0][:-1]):
        for call in (lambda key=key: cache.get(key, GENERATOR), lambda key=key: cache.put(key, make()),
                     lambda key=key: cache.remove(key)):
            with pytest.raises(ValueError, match="not a key"):
                call()
    assert not cache.folder.exists()


def test_the_folder_moves_with_the_variable_and_importing_is_light(monkeypatch: pytest.MonkeyPatch,
                                                                   tmp_path: Path) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path))
    assert default_folder() == InversionCache().folder == tmp_path / "inversions"
    code = ("import inversion.cache, sys; inversion.cache.InversionCache('x').size()\n"
            "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


# --- limits ---


def test_the_oldest_used_goes_first(cache: InversionCache, bytes_of_one: int) -> None:
    cache.limit = 3 * bytes_of_one
    for key in KEYS[:3]:
        cache.put(key, make())
    assert cache.get(KEYS[0], GENERATOR) is not None  # Now 1 is the oldest used.
    cache.put(KEYS[3], make())
    assert [cache.get(key, GENERATOR) is not None for key in KEYS[:4]] == [True, False, True, True]
    cache.put(KEYS[4], make())
    assert [cache.get(key, GENERATOR) is not None for key in KEYS[:5]] == [False, False, True, True, True]


def test_the_limit_is_held_whatever_is_put(cache: InversionCache, bytes_of_one: int) -> None:
    cache.limit = int(4.5 * bytes_of_one)
    rng = np.random.default_rng(0)
    for number in range(24):
        side = int(rng.integers(8, 64))
        picture = np.full([side, side, 3], number, np.uint8)
        assert cache.put(KEYS[int(rng.integers(len(KEYS)))], make(number, crop=picture, picture=picture))
        assert 0 < cache.size()[1] <= cache.limit
    cache.limit = bytes_of_one // 2
    cache.tidy()
    assert cache.size() == (0, 0)


def test_one_that_is_larger_than_the_limit_drives_out_nothing(cache: InversionCache, bytes_of_one: int,
                                                              notes: list[str]) -> None:
    cache.limit = bytes_of_one
    cache.put(KEYS[0], make())
    large = np.zeros([64, 64, 3], np.uint8)
    for _ in range(2):
        assert not cache.put(KEYS[1], make(crop=large, picture=large))
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEYS[0]}.safetensors"]
    assert len(notes) == 1
    assert in_words(bytes_of_one) in notes[0]


def test_what_is_too_old_is_neither_used_nor_left(tmp_path: Path) -> None:
    cache = InversionCache(tmp_path, max_age=100)
    for number, age in enumerate((0, 90, 110, -110)):  # The last: the clock was set back.
        cache.put(KEYS[number], make())
        about = file_of(cache, KEYS[number]).stat()
        os.utime(file_of(cache, KEYS[number]), ns=(0, about.st_mtime_ns - age * 10**9))
    os.utime(file_of(cache, KEYS[1]))
    assert cache.get(KEYS[2], GENERATOR) is None
    assert not file_of(cache, KEYS[2]).exists()
    cache.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{key}.safetensors" for key in KEYS[:2])
    assert InversionCache(tmp_path).get(KEYS[0], GENERATOR) is not None


def test_a_use_makes_it_young_again(tmp_path: Path) -> None:
    cache = InversionCache(tmp_path, max_age=100)
    cache.put(KEYS[0], make())
    before = file_of(cache, KEYS[0]).stat().st_mtime_ns - 90 * 10**9
    os.utime(file_of(cache, KEYS[0]), ns=(before, before))
    assert cache.get(KEYS[0], GENERATOR) is not None
    assert file_of(cache, KEYS[0]).stat().st_mtime_ns > before + 80 * 10**9


@pytest.mark.parametrize(("size", "words"), [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_550_000, "1.6 MB"), (10**9, "1 GB"), (25 * 10**8, "2.5 GB")])
def test_sizes_in_words(size: int, words: str) -> None:
    assert in_words(size) == words


# --- several at once ---


def test_two_caches_share_a_folder(cache: InversionCache, bytes_of_one: int) -> None:
    other = InversionCache(cache.folder, limit=2 * bytes_of_one)
    cache.put(KEYS[0], make(1))
    assert same(other.get(KEYS[0], GENERATOR), make(1))
    other.put(KEYS[1], make(2))
    assert same(cache.get(KEYS[1], GENERATOR), make(2))
    other.put(KEYS[2], make(3))
    assert cache.get(KEYS[0], GENERATOR) is None  # Gone by the other's limit.
    assert cache.clear()[0] == 2
    assert other.get(KEYS[2], GENERATOR) is None
    assert other.put(KEYS[2], make(3))


def test_files_that_vanish_underfoot_are_no_trouble(cache: InversionCache, monkeypatch: pytest.MonkeyPatch,
                                                    notes: list[str]) -> None:
    cache.put(KEYS[0], make())

    def vanish(path: Path, *, generator: object) -> Inversion:
        path.unlink()
        return load_inversion(path)

    with monkeypatch.context() as patch:
        patch.setattr("inversion.record.load_inversion", vanish)
        assert cache.get(KEYS[0], GENERATOR) is None
    cache.put(KEYS[0], make())
    cache.put(KEYS[1], make())
    found = cache._files()
    cache.clear()
    monkeypatch.setattr(cache, "_files", lambda: found)  # As it was before another process cleared it.
    cache.limit = 0
    cache.tidy()
    assert cache.clear() == (0, 0)
    assert notes == []


def test_being_cleared_while_writing_is_no_trouble(cache: InversionCache, monkeypatch: pytest.MonkeyPatch,
                                                   notes: list[str]) -> None:
    def save(path: Path, record: Inversion) -> None:
        save_inversion(path, record)
        InversionCache(cache.folder).clear()

    monkeypatch.setattr("inversion.record.save_inversion", save)
    assert not cache.put(KEYS[0], make())
    assert [*cache.folder.iterdir()] == []
    assert notes == []


def test_many_threads_at_once_find_whole_records_or_none(cache: InversionCache, bytes_of_one: int,
                                                         notes: list[str]) -> None:
    caches = [InversionCache(cache.folder, limit=4 * bytes_of_one, on_note=notes.append) for _ in range(2)]
    records, wrong = [make(number) for number in range(6)], []

    def work(number: int) -> None:
        mine, rng = caches[number % 2], np.random.default_rng(number)
        try:
            for _ in range(30):
                which = int(rng.integers(6))
                found = mine.get(KEYS[which], GENERATOR)
                if found is None:
                    mine.put(KEYS[which], records[which])
                elif not same(found, records[which]):
                    wrong.append(which)
                if rng.random() < 0.05:
                    mine.clear()
        except Exception as error:  # noqa: BLE001 (asserted to be none)
            wrong.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert notes == []
    cache.limit = 4 * bytes_of_one
    cache.tidy()
    assert cache.size()[1] <= cache.limit
    assert all(path.suffix == ".safetensors" for path in cache.folder.iterdir())


# --- what cannot be used ---


def damages(whole: bytes) -> dict[str, bytes]:
    return {"empty": b"", "cut": whole[:len(whole) // 2], "no header": b"<html></html>" * 9,
            "long header": b"\xff" * 8 + whole[8:],
            "older": whole.replace(b"gradctrl-inversion-", b"gradctrl-inversion0"),
            "other generator": whole.replace(b"a" * 64, b"e" * 64),
            "odd numbers": whole.replace(b'"numbers":"{', b'"numbers":"[').replace(b'}","settings"', b']","settings"'),
            "other settings": whole.replace(b'\\"steps\\"', b'\\"stags\\"')}


@pytest.mark.parametrize("kind", damages(b""))
def test_what_cannot_be_used_is_said_once_and_made_again(kind: str, cache: InversionCache, notes: list[str]) -> None:
    for key in KEYS[:2]:
        cache.put(key, make())
        whole = file_of(cache, key).read_bytes()
        assert damages(whole)[kind] != whole
        file_of(cache, key).write_bytes(damages(whole)[kind])
    for key in KEYS[:2]:
        assert cache.get(key, GENERATOR) is None
        assert not file_of(cache, key).exists()
    assert len(notes) == 1
    assert str(file_of(cache, KEYS[0])) in notes[0]
    assert "inverted again" in notes[0]
    assert len(notes[0].splitlines()) == 1
    assert cache.put(KEYS[0], make(3))
    assert same(cache.get(KEYS[0], GENERATOR), make(3))


def test_another_generator_s_is_never_given(cache: InversionCache, notes: list[str]) -> None:
    cache.put(KEYS[0], make())
    other: Any = SimpleNamespace(hash="f" * 64, space=SPACE, num_ws=12)
    assert cache.get(KEYS[0], other) is None
    assert "generator aaaaaaaaaaaa" in notes[0]


def test_no_change_of_a_header_s_byte_raises(cache: InversionCache) -> None:
    cache.put(KEYS[0], make())
    whole = file_of(cache, KEYS[0]).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    refused = 0
    for place in [*range(8), *rng.integers(8, header, 250).tolist()]:
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        file_of(cache, KEYS[0]).write_bytes(changed)
        refused += cache.get(KEYS[0], GENERATOR) is None
    assert refused > 200


def test_a_folder_in_a_record_s_place_is_no_error(cache: InversionCache, notes: list[str]) -> None:
    file_of(cache, KEYS[0]).mkdir(parents=True)
    assert cache.get(KEYS[0], GENERATOR) is None
    assert not cache.put(KEYS[0], make())
    assert len(notes) == 2
    assert cache.clear() == (0, 0)
    assert file_of(cache, KEYS[0]).is_dir()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["pathlib.Path.replace", "tempfile.mkdtemp", "pathlib.Path.mkdir",
                                   "weights.tensors.open"])
def test_a_full_disk_is_said_once_and_is_no_error(where: str, cache: InversionCache, notes: list[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(KEYS[0], make())
    with monkeypatch.context() as patch:
        patch.setattr(where, full, raising=False)
        for key in KEYS[:3]:
            assert not cache.put(key, make(9))
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEYS[0]}.safetensors"]
    assert same(cache.get(KEYS[0], GENERATOR), make())  # What was there stays as it was.
    assert len(notes) == 1
    assert "No space left" in notes[0]
    assert str(cache.folder) in notes[0]
    assert cache.put(KEYS[1], make(1))


def read_only(folder: Path) -> Callable[[], None]:
    folder.chmod(0o500)
    return lambda: folder.chmod(0o700)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_read_only_folder_still_gives_what_it_has(cache: InversionCache, notes: list[str]) -> None:
    cache.put(KEYS[0], make())
    restore = read_only(cache.folder)
    try:
        assert not cache.put(KEYS[1], make(1))
        assert not cache.put(KEYS[2], make(1))
        assert same(cache.get(KEYS[0], GENERATOR), make())
        assert cache.clear() == (0, 0)
    finally:
        restore()
    assert len(notes) == 1


def test_a_folder_that_may_not_be_written_is_no_error(cache: InversionCache, notes: list[str],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for those who may write everywhere."""
    cache.put(KEYS[0], make())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("tempfile.mkdtemp", "os.utime", "pathlib.Path.unlink"):
        monkeypatch.setattr(name, refuse)
    for _ in range(2):
        assert not cache.put(KEYS[1], make(1))
    assert same(cache.get(KEYS[0], GENERATOR), make())
    assert cache.clear() == (0, 0)
    cache.limit = 0
    cache.tidy()
    assert cache.size()[0] == 1
    assert len(notes) == 1
    assert "Permission denied" in notes[0]


def test_a_file_where_the_folder_should_be_is_no_error(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    cache = InversionCache(tmp_path / "file", on_note=notes.append)
    assert not cache.put(KEYS[0], make())
    assert cache.get(KEYS[0], GENERATOR) is None
    assert cache.size() == cache.clear() == (0, 0)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert len(notes) == 1


@pytest.mark.parametrize("moment", ["weights.tensors.save", "inversion.cache._touch"])
def test_nothing_half_written_is_left_by_an_interruption(moment: str, cache: InversionCache,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(KEYS[0], make())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moment, interrupt)
        for key in KEYS[:2]:
            with pytest.raises(KeyboardInterrupt):
                cache.put(key, make(9))
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEYS[0]}.safetensors"]
    assert same(cache.get(KEYS[0], GENERATOR), make())


@pytest.mark.skipif(os.name != "posix", reason="processes are killed another way")
def test_what_a_killed_process_left_is_removed_and_never_given(cache: InversionCache) -> None:
    code = ("import os, inversion.cache as c\n"
            "from tests.inversion.test_cache import KEYS, make\n"
            "c._touch = lambda path: os.kill(os.getpid(), 9)\n"
            f"c.InversionCache({str(cache.folder)!r}).put(KEYS[0], make())")
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -9
    [left] = cache.folder.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    assert cache.get(KEYS[0], GENERATOR) is None
    assert cache.size() == (0, 0)
    cache.tidy()
    assert left.exists()  # It might still be written.
    os.utime(left, (0, left.stat().st_mtime - ABANDONED - 1))
    cache.put(KEYS[1], make())
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEYS[1]}.safetensors"]


# --- what is somebody else's ---


def test_only_ours_is_removed(cache: InversionCache, tmp_path: Path) -> None:
    cache.put(KEYS[0], make())
    cache.put(KEYS[1], make())
    (cache.folder / ".new-inversion-abc").mkdir()
    (cache.folder / ".new-inversion-abc" / "left").write_bytes(b"half")
    size = cache.size()
    mine = ["me.latent.safetensors", "me.jpg", KEYS[2], f"{KEYS[3]}.jpg", f"{KEYS[4][:-1]}.safetensors",
            f"x{KEYS[5]}.safetensors", f"{'A' * 64}.safetensors"]
    for name in mine:
        (cache.folder / name).write_bytes(b"mine")
    (cache.folder / "sub").mkdir()
    (cache.folder / "sub" / f"{KEYS[6]}.safetensors").write_bytes(b"mine")
    (tmp_path / "elsewhere").write_bytes(b"mine")
    file_of(cache, KEYS[7]).symlink_to(tmp_path / "elsewhere")
    assert cache.size() == size
    cache.limit = 0
    assert cache.clear() == size
    left = sorted(path.name for path in cache.folder.iterdir())
    assert left == sorted([*mine, "sub", f"{KEYS[7]}.safetensors"])
    assert (cache.folder / "sub" / f"{KEYS[6]}.safetensors").exists()
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert cache.size() == (0, 0)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_only_the_owner_can_read_them(cache: InversionCache, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def save(path: Path, record: Inversion) -> None:
        save_inversion(path, record)
        seen.append(path.parent.stat().st_mode & 0o777)

    monkeypatch.setattr("inversion.record.save_inversion", save)
    before = os.umask(0)
    try:
        cache.put(KEYS[0], make())
    finally:
        os.umask(before)
    assert seen == [0o700]  # At no moment could anybody else open it.
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert file_of(cache, KEYS[0]).stat().st_mode & 0o777 == 0o600


def test_nothing_of_the_photo_s_name_is_kept(cache: InversionCache) -> None:
    cache.put(KEYS[0], make())
    assert [path.name for path in cache.folder.iterdir()] == [f"{KEYS[0]}.safetensors"]
    assert b".jpg" not in file_of(cache, KEYS[0]).read_bytes()
