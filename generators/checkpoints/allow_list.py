"""The exact list of names that a checkpoint may hold, and the harmless function of ours that each of them means here.

These functions build plain values of plain values; none of them imports, evaluates or looks anything up.
Everything that a file could make large is charged to the session that reads it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

_Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
MAX_DIMENSIONS = 16
# What a malformed pickle raises while it is taken apart.
DAMAGED = (ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error, RuntimeError)


class RefusedError(Exception):
    """The file asks for something that is not on the list; the text says for what."""


class DamagedError(Exception):
    """The file does not hold what its own structure promises; the text says how."""


@dataclass(frozen=True)
class Global:
    """What a name in a file becomes: at most a function to call, or the number type of a storage."""

    name: str
    function: Callable[..., object] | None = None  # Called with the session and the file's arguments.
    dtype: torch.dtype | None = None


@dataclass
class Record:
    """What a file says about one object of a class that is not loaded here."""

    class_name: str
    state: dict[str, object] = field(default_factory=dict)


@dataclass
class Session:
    """One reading of one file: how many bytes it may still make us allocate, and how to read a file held inside it."""

    budget: int
    nested_reader: Callable[[bytes, Session], object]
    nested: bool = False

    def charge(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise DamagedError("it names more data than it holds")

    def allocate(self, kind: torch.dtype, count: int) -> Storage:
        if count < 0:
            raise DamagedError("a storage of negative size")
        self.charge(count * kind.itemsize)
        return Storage(kind, count, torch.zeros(count, dtype=kind))

    def read_nested(self, data: object) -> object:
        if self.nested or not isinstance(data, bytes):
            raise RefusedError("a file inside a file inside a pickle")
        self.nested = True
        try:
            return self.nested_reader(data, self)
        finally:
            self.nested = False


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, which tensors are views of."""

    kind: torch.dtype
    count: int
    numbers: Tensor

    def fill(self, data: bytes) -> None:
        if len(data) != self.count * self.kind.itemsize:
            raise DamagedError(f"{len(data)} bytes for {self.count} numbers")
        if self.count:
            self.numbers.copy_(torch.frombuffer(bytearray(data), dtype=self.kind))


@dataclass
class _NumberType:
    """A numpy dtype in the making: its code, and the byte order that the file tells afterwards."""

    code: str
    order: str = "<"

    def made(self) -> np.dtype[np.generic]:
        return np.dtype(self.order + self.code)


def look_up(module: object, name: object) -> object:
    """Return what `module.name` means here.

    Raises:
        RefusedError: it is not on the list.
    """
    if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in TABLE:
        raise RefusedError(_shown(f"{module}.{name}"))
    return TABLE[module, name]


def call(function: object, arguments: object, session: Session) -> object:
    """Call a function of the list with the file's arguments."""
    if not isinstance(function, Global) or function.function is None:
        raise RefusedError(f"a call of {_shown(getattr(function, 'name', type(function).__name__))}")
    if not isinstance(arguments, tuple):
        raise DamagedError("arguments that are not a tuple")
    return function.function(session, *arguments)


def build(target: object, state: object, session: Session) -> None:
    """Give an object the state that the file has for it (the BUILD opcode)."""
    if isinstance(target, Record):
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise DamagedError("the state of an object is not a dict")
        target.state.update(state)
    elif type(target) is dict:
        pass  # Attributes of an OrderedDict, such as the version numbers of a torch state dict.
    elif isinstance(target, _NumberType):
        _build_number_type(target, state)
    elif type(target) is np.ndarray:
        _build_array(target, state, session)
    else:
        raise RefusedError(f"a new state for {_shown(getattr(target, 'name', type(target).__name__))}")


def check_key(key: object) -> object:
    """Return a dict key or set item, which must be a plain value: others could take for ever to compare."""
    if key is None or isinstance(key, (str, bytes, int, float)):
        return key
    raise RefusedError(f"a dict key or set item of type {type(key).__name__}")


def _shown(text: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))[:100]


def _dictionary(session: Session, items: object = ()) -> dict[object, object]:
    if isinstance(items, dict):
        items = list(items.items())
    if not isinstance(items, (list, tuple)):
        raise DamagedError("entries that are not a list")
    session.charge(100 * len(items))
    return {check_key(key): value for key, value in items}


def _set(session: Session, items: object = ()) -> set[object]:
    if not isinstance(items, (list, tuple)):
        raise DamagedError("items that are not a list")
    session.charge(100 * len(items))
    return {check_key(item) for item in items}


def _encode(session: Session, text: object, encoding: object = "") -> bytes:
    """How Python 3 writes bytes in protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"_codecs.encode to {_shown(encoding)}")
    session.charge(len(text))
    return text.encode("latin1")


def _no_bytes(session: Session) -> bytes:
    """How Python 3 writes b"" in protocol 2."""
    return b""


def _size(session: Session, sizes: object = ()) -> tuple[int, ...]:
    if not isinstance(sizes, (list, tuple)) or len(sizes) > MAX_DIMENSIONS:
        raise DamagedError("a size that is not a short list")
    return tuple(_count(size) for size in sizes)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2 ** 62:
        raise DamagedError(f"a size that is {_shown(value)}")
    return value


def _tensor(session: Session, storage: object, offset: object, size: object, stride: object, *rest: object) -> Tensor:
    """torch._utils._rebuild_tensor_v2: a view of a storage, which must lie within it."""
    if not isinstance(storage, Storage):
        raise DamagedError("a tensor without a storage")
    sizes, strides, start = _size(session, size), _size(session, stride), _count(offset)
    if len(sizes) != len(strides):
        raise DamagedError("a tensor with more sizes than strides")
    end = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) + 1
    if prod(sizes) > storage.count or (prod(sizes) > 0 and end > storage.count):
        raise DamagedError("a tensor that reaches beyond its storage")
    return storage.numbers.as_strided(sizes, strides, start) if prod(sizes) else storage.numbers.new_empty(sizes)


def _parameter(session: Session, data: object, *rest: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise DamagedError("a parameter that is not a tensor")
    return data


def _nested(session: Session, data: object) -> object:
    return session.read_nested(data)


def _device(session: Session, *names: object) -> str:
    return ":".join(map(str, names))


def _persistent(session: Session, meta: object) -> Record:
    """NVIDIA's torch_utils.persistence: class name and state are kept, the Python source is dropped unread."""
    if not (isinstance(meta, dict) and isinstance(meta.get("class_name"), str) and isinstance(meta.get("state"), dict)):
        raise DamagedError("a persistent object without class name and state")
    return Record(meta["class_name"], meta["state"])


def _record(class_name: str) -> Callable[..., object]:
    return lambda session: Record(class_name)


def _number_type(session: Session, code: object, *rest: object) -> _NumberType:
    if not isinstance(code, str) or not re.fullmatch(r"b1|[iu][1248]|f[248]", code):
        raise RefusedError(f"the numpy number type {_shown(code)}")
    return _NumberType(code)


def _build_number_type(target: _NumberType, state: object) -> None:
    if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
        raise RefusedError("a numpy number type with fields")
    target.order = state[1]


def _empty_array(session: Session, kind: object, *rest: object) -> _Array:
    if kind is not _NDARRAY:
        raise RefusedError("a numpy array of a class of its own")
    return np.empty(0, np.uint8)


def _build_array(target: _Array, state: object, session: Session) -> None:
    if not isinstance(state, tuple) or len(state) != 5:
        raise DamagedError("a numpy array of unknown form")
    _, shape, kind, by_column, data = state
    if isinstance(data, str):
        data = data.encode("latin1")  # How Python 2 wrote bytes.
    if not isinstance(kind, _NumberType) or not isinstance(data, bytes):
        raise RefusedError("a numpy array of objects")
    shape, dtype = _size(session, shape), kind.made()
    if prod(shape) * dtype.itemsize != len(data):
        raise DamagedError(f"{len(data)} bytes for a numpy array of {list(shape)}")
    session.charge(len(data))
    target.__setstate__((1, shape, dtype, bool(by_column), data))  # type: ignore[arg-type]


def _from_buffer(session: Session, data: object, kind: object, shape: object, order: object = "C") -> _Array:
    """How numpy writes an array in protocol 5."""
    if order not in ("C", "F") or not isinstance(data, (bytes, bytearray)):
        raise DamagedError("a numpy array of unknown form")
    target = np.empty(0, np.uint8)
    _build_array(target, (1, shape, kind, order == "F", bytes(data)), session)
    return target


def _number(session: Session, kind: object, data: object) -> object:
    """numpy.core.multiarray.scalar, as a Python number."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(kind, _NumberType) or not isinstance(data, bytes) or len(data) != kind.made().itemsize:
        raise DamagedError("a numpy number of unknown form")
    return np.frombuffer(data, kind.made())[0].item()


_NDARRAY = Global("numpy.ndarray")
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_NUMPY: dict[tuple[str, str], Callable[..., object]] = {
    ("multiarray", "_reconstruct"): _empty_array,
    ("multiarray", "scalar"): _number,
    ("numeric", "_frombuffer"): _from_buffer,
}
_TORCH: dict[tuple[str, str], Callable[..., object]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
}
_OTHERS: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): _dictionary,
    ("dnnlib.util", "EasyDict"): _dictionary,
    ("dnnlib", "EasyDict"): _dictionary,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,
    ("builtins", "frozenset"): _set,
    ("__builtin__", "frozenset"): _set,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("argparse", "Namespace"): _record("Namespace"),
    ("dnnlib.tflib.network", "Network"): _record("Network"),
    ("tfutil", "Network"): _record("Network"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("numpy", "dtype"): _number_type,
}
_FUNCTIONS = {**_TORCH, **_OTHERS, **{(f"numpy.{core}.{module}", name): function for core in ("core", "_core")
                                      for (module, name), function in _NUMPY.items()}}

# Everything that a file may name, and no more. The entries are frozen and shared; no opcode can alter one.
TABLE: dict[tuple[str, str], object] = {
    **{(module, name): Global(f"{module}.{name}", function) for (module, name), function in _FUNCTIONS.items()},
    **{(module, name): Global(f"{module}.{name}", dtype=kind)
       for name, kind in _STORAGES.items() for module in ("torch", "torch.storage")},
    **{("torch", str(kind).removeprefix("torch.")): kind for kind in {*_STORAGES.values()}},
    ("numpy", "ndarray"): _NDARRAY,
}
