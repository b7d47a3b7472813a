"""Reading other people's pickles without running or importing anything that they name.

A pickle is a program for a small stack machine, which may import any module and call any function. This module is such
a machine of its own: the opcodes are told apart by the standard library's `pickletools.genops`, and a name in a file
is looked up in one exact table of harmless functions (`allow_list`). Nothing is imported, no attribute is looked up,
and what is not in the table is refused by name. Python source that a file carries is dropped unread.

Also here are the three ways in which tensors travel: torch's zip files, its older stream files (which NVIDIA's pickles
hold in great number, one for each storage), and numpy arrays.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from pickletools import genops
from typing import Protocol

import torch

from generators.checkpoints.allow_list import (
    DAMAGED,
    DamagedError,
    Global,
    Record,
    RefusedError,
    Session,
    Storage,
    build,
    call,
    check_key,
    look_up,
)
from weights.errors import InputError

ZIP_START = b"PK\x03\x04"
STREAM_MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of torch's older files.
STREAM_VERSION = 1001
FREE_BYTES = 1 << 20  # What a file may make us allocate beyond a small multiple of its own size.
DEEPEST = 100         # Values within values; a network's go about 30 deep.


class _Source(Protocol):
    """Bytes that are read from the front: an open mmap or BytesIO."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


def read_pickle(path: str | os.PathLike[str]) -> object:
    """Read a pickle, or a file of torch.save (zip or the older stream), as inert data.

    Tensors are on the CPU, in the dtype they were stored in; several may share memory. Dicts of any kind come as dict,
    sets as set, numpy arrays as such, numpy numbers as Python numbers, other known objects as `Record`.

    Raises:
        InputError: the file cannot be read, is truncated or damaged, or names something that is not on the list.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise InputError(path, "the file is empty", "download it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                session = Session(4 * size + FREE_BYTES, _read_stream)
                content = (_read_zip(file, session) if view[:4] == ZIP_START else
                           _read_stream_or_pickle(view, size, session))
        _check_nesting(content, size + FREE_BYTES)
        return content
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    except RefusedError as error:
        raise InputError(path,
                         f"the file names {error}, which is not on the list of what may be read, so it was not run "
                         "and nothing was loaded", "use a file from the publisher of the network") from error
    except (DamagedError, zipfile.BadZipFile, *DAMAGED) as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(path, f"truncated, damaged or not a checkpoint ({detail})", "download it again") from error


def _check_nesting(content: object, most: int) -> None:
    """Refuse what would take for ever to go through: values that are nested too deeply, or shared so often that they
    are many more than the file's bytes."""
    sizes: dict[int, tuple[int, int]] = {}  # Of each container: the values within, and how deep they go.
    stack = [(content, False)]
    while stack:
        value, children_done = stack.pop()
        within = _within(value)
        if children_done:
            known = [sizes[id(child)] for child in within if id(child) in sizes]
            count = 1 + len(within) - len(known) + sum(size for size, _ in known)
            depth = 1 + max((depth for _, depth in known), default=0)
            sizes[id(value)] = min(count, most + 1), depth
            if count > most or depth > DEEPEST:
                raise DamagedError("values within values without end")
        elif id(value) not in sizes:
            sizes[id(value)] = 1, 1  # While it is on its way: of a value within itself.
            stack.append((value, True))
            stack += [(child, False) for child in within if isinstance(child, (list, tuple, dict, Record))]


def _within(value: object) -> list[object]:
    if isinstance(value, Record):
        return [value.state]
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _read_zip(file: io.BufferedReader, session: Session) -> object:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise DamagedError("a zip file without the one data.pkl that torch.save writes")
        folder = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            entry = archive.getinfo(folder + name)
            if entry.compress_type != zipfile.ZIP_STORED:
                raise DamagedError("compressed entries, which torch.save never writes")
            session.charge(entry.file_size)
            return archive.read(entry)

        if folder + "byteorder" in archive.namelist() and read("byteorder") != b"little":
            raise DamagedError("big-endian numbers")
        storages: dict[str, Storage] = {}

        def load(kind: torch.dtype, key: str, count: int) -> Storage:
            if key not in storages:
                storage = storages[key] = session.allocate(kind, count)
                storage.fill(read(f"data/{key}"))
            return storages[key]

        return _run(io.BytesIO(read("data.pkl")), session, load)


def _read_stream(data: bytes, session: Session) -> object:
    """Read a torch.save file that is held inside a pickle as bytes."""
    source = io.BytesIO(data)
    if data[:4] == ZIP_START:
        raise RefusedError("a zip file inside a pickle")  # No writer known makes these: torch asks for a stream here.
    return _read_stream_or_pickle(source, len(data), session)


def _read_stream_or_pickle(source: _Source, size: int, session: Session) -> object:
    first = _run(source, session, None)
    if not (isinstance(first, int) and first == STREAM_MAGIC):
        return first
    if _run(source, session, None) != STREAM_VERSION:
        raise DamagedError("an unknown version of torch's stream format")
    system = _run(source, session, None)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise DamagedError("big-endian numbers")
    storages: dict[str, Storage] = {}

    def load(kind: torch.dtype, key: str, count: int) -> Storage:
        if key not in storages:
            if count * kind.itemsize > size:
                raise DamagedError("a tensor larger than the file")
            storages[key] = session.allocate(kind, count)
        return storages[key]

    result = _run(source, session, load)
    keys = _run(source, session, None)  # The numbers follow the objects, in this order.
    if not isinstance(keys, list) or set(keys) != set(storages) or len(keys) != len(storages):
        raise DamagedError("the list of storages does not fit the tensors")
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", _exactly(source, 8))
        if count != storage.count:
            raise DamagedError(f"a storage of {count} numbers where {storage.count} were announced")
        storage.fill(_exactly(source, storage.count * storage.kind.itemsize))
    return result


def _exactly(source: _Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise DamagedError("the file ends too early")
    return data


Loader = Callable[[torch.dtype, str, int], Storage]


def _run(source: _Source, session: Session, load: Loader | None) -> object:
    """Run one pickle, from the source's position to behind its STOP; `load` gives the storages that it refers to."""
    return _Machine(session, load).run(source)


class _Machine:
    """The stack machine: one method or one line for each opcode that may be met."""

    def __init__(self, session: Session, load: Loader | None) -> None:
        self.session = session
        self.load = load
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self, source: _Source) -> object:
        for opcode, argument, _ in genops(source):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return self.stack.pop()
            self.session.charge(_COSTS.get(opcode.name, 0))
            if opcode.name in _CONSTANTS:
                self.stack.append(argument)
            elif opcode.name in _OPCODES:
                _OPCODES[opcode.name](self, argument)
            else:
                raise RefusedError(f"the pickle opcode {opcode.name}")
        raise DamagedError("the file ends too early")

    def since_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def take(self, count: int) -> list[object]:
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise DamagedError("values are missing on the stack")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def push(self, value: object) -> None:
        self.stack.append(value)

    def remember(self, index: object = None) -> None:
        self.memo[len(self.memo) if index is None else int(str(index))] = self.stack[-1]

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise DamagedError("items for something that is not a list")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise DamagedError("entries for something that is not a dict")
        target.update(zip(map(check_key, items[::2]), items[1::2], strict=True))

    def add_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, set):
            raise DamagedError("items for something that is not a set")
        target.update(map(check_key, items))

    def dictionary(self, items: list[object]) -> None:
        self.push({})
        self.set_items(items)

    def name(self, module: object, name: object) -> None:
        self.push(look_up(module, name))

    def reduce(self) -> None:
        function, arguments = self.take(2)
        self.push(call(function, arguments, self.session))

    def instance(self, items: list[object]) -> None:
        self.push(call(items[0], tuple(items[1:]), self.session))

    def build(self) -> None:
        (state,) = self.take(1)
        build(self.stack[-1], state, self.session)

    def persistent(self, reference: object) -> None:
        match reference:
            case ("storage", Global(dtype=torch.dtype() as kind), str(key), str(), int(count), *rest) \
                    if self.load is not None and rest in ([], [None]):
                self.push(self.load(kind, key, count))
            case _:
                raise RefusedError("an object outside the file")


def _pair(argument: object) -> list[str]:
    return str(argument).split(" ", 1)


# Values that stand in the file itself; `pickletools` gives them ready: numbers, text, bytes.
_CONSTANTS = frozenset([
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
])

# Bytes that an opcode of a byte or two may take up.
_COSTS = dict.fromkeys(["EMPTY_LIST", "EMPTY_DICT", "LIST", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "DICT"], 64) | (
    dict.fromkeys(["EMPTY_SET", "FROZENSET"], 216) | dict.fromkeys(["MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"], 100))

_OPCODES: dict[str, Callable[[_Machine, object], object]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "POP": lambda m, a: m.take(1) if len(m.stack) > (m.marks[-1] if m.marks else 0) else m.marks.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.push(m.stack[-1]),
    "MEMOIZE": lambda m, a: m.remember(),
    "PUT": lambda m, a: m.remember(a),
    "BINPUT": lambda m, a: m.remember(a),
    "LONG_BINPUT": lambda m, a: m.remember(a),
    "GET": lambda m, a: m.push(m.memo[int(str(a))]),
    "BINGET": lambda m, a: m.push(m.memo[int(str(a))]),
    "LONG_BINGET": lambda m, a: m.push(m.memo[int(str(a))]),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "LIST": lambda m, a: m.push(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.push(tuple(m.take(1))),
    "TUPLE2": lambda m, a: m.push(tuple(m.take(2))),
    "TUPLE3": lambda m, a: m.push(tuple(m.take(3))),
    "DICT": lambda m, a: m.dictionary(m.since_mark()),
    "FROZENSET": lambda m, a: m.push({check_key(item) for item in m.since_mark()}),
    "APPEND": lambda m, a: m.extend(m.take(1)),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.set_items(m.take(2)),
    "SETITEMS": lambda m, a: m.set_items(m.since_mark()),
    "ADDITEMS": lambda m, a: m.add_items(m.since_mark()),
    "GLOBAL": lambda m, a: m.name(*_pair(a)),
    "STACK_GLOBAL": lambda m, a: m.name(*m.take(2)),
    "REDUCE": lambda m, a: m.reduce(),
    "NEWOBJ": lambda m, a: m.reduce(),  # A class and its arguments: here the same as a call.
    "INST": lambda m, a: m.instance([look_up(*_pair(a)), *m.since_mark()]),
    "OBJ": lambda m, a: m.instance(m.since_mark()),
    "BUILD": lambda m, a: m.build(),
    "PERSID": lambda m, a: m.persistent(a),
    "BINPERSID": lambda m, a: m.persistent(tuple(_reference(m.take(1)[0]))),
}


def _reference(value: object) -> Iterator[object]:
    return iter(value) if isinstance(value, tuple) else iter(())
