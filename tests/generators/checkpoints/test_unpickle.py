"""The importer of other people's pickles: what it must read, and that nothing in a pickle is ever run."""

from __future__ import annotations

import argparse
import contextlib
import copyreg
import io
import pickle
import random
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from generators.checkpoints.allow_list import Record
from generators.checkpoints.unpickle import read_pickle
from weights.errors import InputError

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def content() -> dict[str, object]:
    """All that checkpoints are made of."""
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, 10**30, 1.5, -0.0, True, False, None],
        "text": ["", "é", "a\nb", "x" * 300],
        "bytes": [b"", b"\x00\xff" * 200],
        "tuple": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "dict": OrderedDict([("b", 1), ("a", {"c": []})]),
        "set": {1, 2},
        "frozen": frozenset(),
        "tensors": [torch.ones(3).to(dtype) for dtype in DTYPES],
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "views": [base, base.t(), base[1:3, ::2], base[0], base.expand(1, 4, 6)],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": torch.Size([2, 3]),
        "arrays": [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.float32([1])[:0],
            np.array([True]),
            np.arange(3, dtype=">i4"),
            np.float16(2) * np.ones((2, 1), np.float16),
        ],
    }


EXPECTED: dict[str, Callable[[object], object]] = {
    "dict": lambda v: dict(v),
    "frozen": lambda v: set(),  # type: ignore[call-overload]
    "size": tuple,
    "parameter": lambda v: v.detach(),
}  # type: ignore[attr-defined, arg-type, dict-item]


def dump(path: Path, value: object, how: str) -> Path:
    if how.startswith("protocol"):
        path.write_bytes(pickle.dumps(value, int(how[-1])))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=how == "zip")
    return path


WAYS = [*(f"protocol {i}" for i in range(6)), "zip", "stream"]


@pytest.mark.parametrize("how", WAYS)
def test_reads_back_all_that_checkpoints_are_made_of(how: str, tmp_path: Path) -> None:
    value = content()
    got = read_pickle(dump(tmp_path / "a", value, how))
    assert isinstance(got, dict)
    for key in value:
        expected = EXPECTED.get(key, lambda v: v)(value[key])
        assert same(expected, got[key]) or (key == "arrays" and all(map(np.array_equal, got[key], value[key]))), key  # type: ignore[call-overload]


def test_shared_objects_stay_shared(tmp_path: Path) -> None:
    tensor, items = torch.zeros(4), [1]
    for how in ("zip", "stream"):
        got = read_pickle(dump(tmp_path / "a", {"a": tensor, "b": tensor[1:], "c": items, "d": items}, how))
        assert got["a"].data_ptr() + 4 == got["b"].data_ptr()  # type: ignore[index]
        assert got["c"] is got["d"]  # type: ignore[index]
    loop: list[object] = []
    loop.append(loop)
    got = read_pickle(dump(tmp_path / "a", loop, "protocol 4"))
    assert got[0] is got  # type: ignore[index]


def test_numpy_numbers_and_namespaces_are_plain(tmp_path: Path) -> None:
    got = read_pickle(
        dump(tmp_path / "a", [np.float64(0.1), np.int32(3), np.float32(0.5), argparse.Namespace(a=1)], "protocol 4")
    )
    assert got == [0.1, 3, 0.5, Record("Namespace", {"a": 1})]
    assert [type(item) for item in got[:3]] == [float, int, float]  # type: ignore[index]


def test_python_2_text_and_arrays(tmp_path: Path) -> None:
    # numpy under Python 2 wrote the numbers of an array as a str.
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\n"
        b"U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
        + struct.pack("<2f", 1, -2)
        + b"tb."
    )
    (tmp_path / "a").write_bytes(data)
    assert np.array_equal(read_pickle(tmp_path / "a"), np.float32([1, -2]))  # type: ignore[arg-type]


# --- hostile files ---


class Trap:
    """Runs a call when an ordinary unpickler loads it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def mark(path: str) -> None:
    Path(path).touch()


def payloads(marker: Path) -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes, and what the message must name; each would make `marker` under pickle.loads or never load."""
    command = f"touch {marker}".encode()
    line = b"'" + command + b"'\n"
    unicode = b"\x8c" + bytes([len(command)]) + command
    yield "GLOBAL", b"cos\nsystem\n(S" + line + b"tR.", "os.system"
    yield "GLOBAL posix", b"cposix\nsystem\n(S" + line + b"tR.", "posix.system"
    yield "INST", b"(S" + line + b"ios\nsystem\n.", "os.system"
    yield "OBJ", b"(cos\nsystem\nS" + line + b"o.", "os.system"
    yield "STACK_GLOBAL", b"\x80\x04\x8c\x02os\x8c\x06system\x93" + unicode + b"\x85R.", "os.system"
    yield "NEWOBJ", b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93" + unicode + b"\x85\x81.", "subprocess.Popen"
    yield "dotted name", b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93" + unicode + b"\x85R.", "torch.os.system"
    code = f"open({str(marker)!r}, 'w')".encode()
    yield "eval", b"cbuiltins\neval\n(V" + code + b"\ntR.", "builtins.eval"
    yield "exec in Python 2", b"c__builtin__\nexec\n(V" + code + b"\ntR.", "__builtin__.exec"
    yield "open", b"cio\nopen\n(V" + str(marker).encode() + b"\nVw\ntR.", "io.open"
    yield "getattr", b"cbuiltins\ngetattr\n(cos\nVsystem\ntR.", "builtins.getattr"
    own = "generators.checkpoints.unpickle"
    yield "own module", b"c" + own.encode() + b"\nos.system\n(S" + line + b"tR.", f"{own}.os.system"
    yield "torch.load", pickle.dumps(Trap(torch.load, "x"), 4), "torch.serialization.load"


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def refused(path: Path, data: bytes, *words: str) -> None:
    path.write_bytes(data)
    modules = set(sys.modules)
    with pytest.raises(InputError) as caught:
        read_pickle(path)
    assert {name for name in set(sys.modules) - modules if not name.startswith("encodings.")} == set()
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, message


def test_the_traps_are_live(marker: Path) -> None:
    for name, data, _ in payloads(marker):
        if name in ("GLOBAL", "INST", "OBJ", "STACK_GLOBAL", "eval", "open"):
            pickle.loads(data)
            assert marker.exists(), name
            marker.unlink()


def test_nothing_that_a_file_names_is_run(marker: Path, tmp_path: Path) -> None:
    for _, data, word in payloads(marker):
        refused(tmp_path / "a.pkl", data, word, "publisher")
    assert not marker.exists()


def test_nothing_within_a_nested_stream_is_run(marker: Path, tmp_path: Path) -> None:
    head = io.BytesIO()
    torch.save(1, head, _use_new_zipfile_serialization=False)
    for _, data, word in payloads(marker):
        for inner in (data, head.getvalue()[:20] + data):  # Alone, and where torch's magic number stands before it.
            outer = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(inner)) + inner + b"\x85R."
            refused(tmp_path / "a.pkl", outer)
        outer = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(data)) + data + b"\x85R."
        refused(tmp_path / "a.pkl", outer, word)
    assert not marker.exists()


def test_nothing_within_a_zip_is_run(marker: Path, tmp_path: Path) -> None:
    for _, data, word in payloads(marker):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", data)
        refused(tmp_path / "a.pt", buffer.getvalue(), word)
    assert not marker.exists()


def test_source_in_a_persistent_object_is_dropped(marker: Path, tmp_path: Path) -> None:
    meta = {
        "type": "class",
        "version": 6,
        "module_src": f"open({str(marker)!r}, 'w')",
        "class_name": "Net",
        "state": {"a": 1},
    }
    data = b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + pickle.dumps(meta, 2)[2:-1] + b"\x85R."
    (tmp_path / "a.pkl").write_bytes(data)
    got = read_pickle(tmp_path / "a.pkl")
    assert got == Record("Net", {"a": 1})
    assert not marker.exists()
    assert "open(" not in repr(got)


def test_the_extension_registry_is_not_used(marker: Path, tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 0xF1)
    try:
        command = f"S'touch {marker}'\n".encode()
        pickle.loads(b"\x82\xf1(" + command + b"tR.")
        assert marker.exists()
        marker.unlink()
        refused(tmp_path / "a.pkl", b"\x82\xf1(" + command + b"tR.", "EXT1")
    finally:
        copyreg.remove_extension("os", "system", 0xF1)
    assert not marker.exists()


@pytest.mark.parametrize(
    "target",
    [
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nfloat32\n",
        b"]",
        b"cdnnlib.util\nEasyDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"K\x01",
    ],
)
def test_no_state_can_be_given_to_what_a_name_becomes(target: bytes, tmp_path: Path) -> None:
    before = read_pickle(dump(tmp_path / "good", content(), "stream"))
    refused(tmp_path / "a.pkl", target + b"}(Vfunction\ncos\nsystem\nub.", "os.system")
    refused(tmp_path / "a.pkl", target + b"}(Vfunction\nNVname\nVx\nub.", "new state")
    refused(tmp_path / "a.pkl", target + b"N}(Vfunction\nNu\x86b.", "new state")
    assert same(before, read_pickle(tmp_path / "good"))


def test_objects_outside_the_file_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "a.pkl", b"Pfile:///etc/passwd\n.", "outside the file")
    refused(tmp_path / "a.pkl", b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x01tQ.", "outside the file")


def tensor_pickle(storage: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    arguments = pickle.dumps((offset, size, stride, False, {}), 2)[2:-1]
    items = pickle.loads(b"\x80\x02" + arguments + b".")
    rest = b"".join(pickle.dumps(item, 0)[:-1] for item in items)
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR."


def stored(count: int) -> bytes:
    """The opcodes of a storage of float32 numbers, as NVIDIA's pickles hold it."""
    buffer = io.BytesIO()
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.ones(count).untyped_storage(), dtype=torch.float32, _internal=True
    )
    torch.save(storage, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    return b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(data)) + data + b"tR"


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (2,), (-1,)),
        (0, (10**9,), (0,)),
        (0, (2**40, 2**40), (0, 0)),
        (2**70, (1,), (1,)),
        (0, (2, 3), (1,)),
        (0, (1,) * 20, (1,) * 20),
        (0, (-2, -3), (1, 1)),
    ],
)
def test_tensors_stay_within_their_storage(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.pkl").write_bytes(tensor_pickle(stored(6), 0, (2, 3), (3, 1)))
    assert same(read_pickle(tmp_path / "a.pkl"), torch.ones(2, 3))
    refused(tmp_path / "a.pkl", tensor_pickle(stored(6), offset, size, stride), "not a checkpoint")


def test_sizes_beyond_the_file_allocate_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.zeros(3), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    huge = data.replace(b"K\x03N", b"\x8a\x06" + (2**44).to_bytes(6, "little") + b"N")
    assert huge != data
    refused(tmp_path / "a.pt", huge, "larger than the file")
    array = pickle.dumps(np.zeros(3), 2)
    huge = array.replace(b"K\x03\x85q", b"J\xff\xff\xff\x7f\x85q")
    assert huge != array
    refused(tmp_path / "a.pkl", huge, "numpy array of")
    refused(tmp_path / "a.pkl", b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc.")


def test_a_file_cannot_multiply_itself(tmp_path: Path) -> None:
    once = stored(100_000)
    many = (
        b"("
        + b"ctorch.storage\n_load_from_bytes\nq\x00"
        + once[len(b"ctorch.storage\n_load_from_bytes\n(") : -2]
        + b"q\x010"
    )
    refused(tmp_path / "a.pkl", many + b"h\x00h\x01\x85R" * 100 + b"t.", "more data than it holds")
    bomb = b"\x80\x04)q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"}h\x00Ns."
    refused(tmp_path / "a.pkl", bomb, "dict key")


def test_compressed_zips_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bytes(10**7)))
    refused(tmp_path / "a.pt", (tmp_path / "a.pt").read_bytes(), "compressed")


def test_numpy_objects_and_fields_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "a.pkl", pickle.dumps(np.array([{}], object), 2))
    refused(tmp_path / "a.pkl", pickle.dumps(np.zeros(2, "f4,i4"), 2))
    refused(tmp_path / "a.pkl", pickle.dumps(np.array(["text"]), 2))


@pytest.mark.parametrize("how", ["protocol 2", "protocol 4", "zip", "stream"])
def test_truncated_and_altered_files_give_one_clear_error(how: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    data = dump(path, content(), how).read_bytes()
    rng = random.Random(0)
    for length in [*range(0, 40), *rng.sample(range(len(data)), 60)]:
        refused(path, data[:length])
    for _ in range(300):
        altered = bytearray(data)
        for _ in range(rng.choice([1, 4, 30])):
            altered[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(altered)
        with contextlib.suppress(InputError):  # Any other exception fails the test.
            read_pickle(path)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_pickle(path)
