"""ZIPs that are meant to harm, and results packed into one."""

from __future__ import annotations

import errno
import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.inputs import gather
from batch.zips import pack, unpack_photos
from weights.errors import InputError


@pytest.fixture
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small pictures."""
    folder = tmp_path_factory.mktemp("zipped-photos")
    for number, colour in enumerate(("teal", "grey", "red")):
        Image.new("RGB", (9, 9), colour).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def zipped(path: Path, members: dict[str, bytes], **named: Any) -> Path:
    with zipfile.ZipFile(path, "w", **named) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, "PNG")
    return stream.getvalue()


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_photos_come_out_in_their_order_bit_for_bit(tmp_path: Path, photos: list[Path]) -> None:
    members = {f"album/{path.name}": path.read_bytes() for path in reversed(photos)}
    sources = unpack_photos(zipped(tmp_path / "a.zip", members, compression=zipfile.ZIP_DEFLATED), tmp_path / "out")
    assert {source.name: source.path.read_bytes() for source in sources} == members
    assert [source.name for source in sources] == list(members)


def test_what_computers_add_is_left_out_and_what_is_no_photo_is_named(tmp_path: Path, png: bytes) -> None:
    sources = unpack_photos(zipped(tmp_path / "a.zip", {
        "__MACOSX/._a.png": b"x", "a.png": png, ".DS_Store": b"x", "b/": b"", "b/Thumbs.db": b"x", "b/c.txt": b"words",
        "b/d.heic": b"\0\0\0\x18ftypheic" + b"\0" * 99, "b/d.pdf": b"%PDF-1.7", "e.jpg": b"", "f.zip": b"PK\3\4",
    }), tmp_path / "out")
    assert [(source.name, source.path is not None) for source in sources] == [
        ("a.png", True), ("b/c.txt", False), ("b/d.heic", True), ("b/d.pdf", False), ("e.jpg", False), ("f.zip", False)]
    assert "a PDF" in sources[3].reason
    assert "empty" in sources[4].reason
    assert len(everything(tmp_path / "out")) == 2


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "C:\\evil.png", "..\\..\\evil.png",
                                  "a/../../evil.png", "..", "\x1b[31mevil.png"])
def test_no_member_leaves_the_folder(tmp_path: Path, png: bytes, name: str) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    sources = unpack_photos(zipped(tmp_path / "a.zip", {name: png}), outer / "in" / "out")
    assert len(everything(outer)) == 1
    assert (outer / "in" / "out") in everything(outer)[0].parents
    assert [source.path for source in sources] == everything(outer)
    assert ".." not in sources[0].name
    assert sources[0].name.isprintable()


def test_links_and_devices_are_refused_by_name(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO), ("good.png", stat.S_IFREG)):
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, (kind | 0o644) << 16
            archive.writestr(member, "/etc/passwd" if kind == stat.S_IFLNK else png)
    sources = unpack_photos(path, tmp_path / "out")
    assert [(source.name, source.path is None) for source in sources] == [("link.png", True), ("pipe.png", True),
                                                                          ("good.png", False)]
    assert "is a link" in sources[0].reason


def test_a_password_and_unusual_compression_are_refused_by_name(tmp_path: Path, png: bytes) -> None:
    path = zipped(tmp_path / "a.zip", {"secret.png": png})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    [source] = unpack_photos(path, tmp_path / "out")
    assert "has a password" in source.reason
    path = zipped(tmp_path / "b.zip", {"a.png": png * 9}, compression=zipfile.ZIP_LZMA)
    [source] = unpack_photos(path, tmp_path / "out")
    assert "unusual way" in source.reason
    assert everything(tmp_path / "out") == []


def test_a_member_that_is_too_large_is_named_whatever_its_header_says(tmp_path: Path, png: bytes) -> None:
    bomb = png + b"\0" * 3_000_000
    path = zipped(tmp_path / "a.zip", {"bomb.png": bomb, "good.png": png}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    assert len(data) < 10_000
    sources = unpack_photos(path, tmp_path / "out", most_bytes=1_000_000)
    assert [source.path is None for source in sources] == [True, False]
    assert "larger than 1 MB" in sources[0].reason
    small = struct.pack("<I", len(png))  # A header that lies: unpacked it is as small as the good one.
    path.write_bytes(data.replace(struct.pack("<I", len(bomb)), small))
    [source, _] = unpack_photos(path, tmp_path / "lie", most_bytes=1_000_000)
    assert source.path is None or source.path.stat().st_size <= 1_000_000
    assert all(file.stat().st_size <= 1_000_000 for file in everything(tmp_path))


def test_too_many_bytes_in_all_are_refused_and_nothing_stays(tmp_path: Path, png: bytes) -> None:
    members = {f"{n}.png": png + b"\0" * 400_000 for n in range(5)}
    path = zipped(tmp_path / "a.zip", members, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"a\.zip: unpacks to more than 1 MB"):
        unpack_photos(path, tmp_path / "out", most_unpacked=1_000_000)
    assert everything(tmp_path / "out") == []
    assert len(unpack_photos(path, tmp_path / "out", most_unpacked=3_000_000)) == 5


def test_too_many_files_are_refused_before_they_are_read(tmp_path: Path, png: bytes,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {f"{n}.png": png for n in range(6)})
    assert len(unpack_photos(path, tmp_path / "out", most=6)) == 6
    with pytest.raises(InputError, match="holds 6 files, and a batch is of up to 5"):
        unpack_photos(path, tmp_path / "out", most=5)
    many = zipped(tmp_path / "b.zip", {f"{n:0100}.png": b"" for n in range(8000)})
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the list of files was read"))
    with pytest.raises(InputError, match="far more than 5 files"):
        unpack_photos(many, tmp_path / "out", most=5)


def test_what_is_no_zip_is_said_so(tmp_path: Path, png: bytes) -> None:
    good = zipped(tmp_path / "a.zip", {"a.png": png}).read_bytes()
    for name, data in (("words.zip", b"these are words"), ("empty.zip", b""), ("cut.zip", good[:-30]),
                       ("list.zip", good[:good.index(b"PK\1\2")] + b"\0" * 46 + good[-22:])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name}: this ZIP cannot be opened"):
            unpack_photos(tmp_path / name, tmp_path / "out")
    with pytest.raises(InputError, match="there are no files in this ZIP"):
        unpack_photos(zipped(tmp_path / "folders.zip", {"a/": b""}), tmp_path / "out")
    with pytest.raises(InputError, match="nowhere"):
        unpack_photos(tmp_path / "nowhere.zip", tmp_path / "out")


def test_a_damaged_member_is_named_and_the_others_come_out(tmp_path: Path, png: bytes) -> None:
    path = zipped(tmp_path / "a.zip", {"bad.png": png + b"A" * 99, "good.png": png})
    data = path.read_bytes().replace(b"A" * 99, b"B" * 99, 1)
    assert zlib.crc32(png + b"B" * 99) != zlib.crc32(png + b"A" * 99)
    path.write_bytes(data)
    bad, good = unpack_photos(path, tmp_path / "out")
    assert "damaged within the ZIP" in bad.reason
    assert good.path.read_bytes() == png
    assert everything(tmp_path / "out") == [good.path]


def test_two_members_of_one_name_are_two_photos(tmp_path: Path, png: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png + b"2")
    sources = unpack_photos(path, tmp_path / "out")
    assert [source.path.read_bytes() for source in sources] == [png, png + b"2"]


def test_a_broken_zip_among_photos_is_a_row_and_alone_an_error(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "broken.zip").write_bytes(b"words")
    (tmp_path / "a.png").write_bytes(png)
    sources = gather([tmp_path / "broken.zip", tmp_path / "a.png"], tmp_path / "out")
    assert [(source.name, source.path is None) for source in sources] == [("broken.zip", True), ("a.png", False)]
    with pytest.raises(InputError, match=r"broken\.zip: this ZIP cannot be opened"):
        gather([tmp_path / "broken.zip"], tmp_path / "out")
    with pytest.raises(InputError, match="3 photos are more than the 2"):
        gather([tmp_path / "a.png"] * 3, tmp_path / "out", most=2)


def test_of_a_zip_with_latents_these_alone_are_taken(tmp_path: Path, png: bytes) -> None:
    path = zipped(tmp_path / "a.zip", {"latents/b/me.latent.safetensors": b"x", "pictures/b/me-edited.png": png,
                                       "batch.csv": b"file"})
    [source] = unpack_photos(path, tmp_path / "out")
    assert (source.name, source.path) == ("b/me", None)
    assert source.latents[0].read_bytes() == b"x"


def test_packing_leaves_nothing_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    (tmp_path / "in" / ".hidden").write_bytes(b"b")
    assert zipfile.ZipFile(pack(tmp_path / "in", tmp_path / "a.zip")).namelist() == ["a.png"]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("batch.zips.shutil.copyfileobj", full)
    with pytest.raises(InputError, match="No space left"):
        pack(tmp_path / "in", tmp_path / "b.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "in"]
