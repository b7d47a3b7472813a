"""Safetensors files with metadata: writing them so that a hash can name them, and reading them with a remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from weights.errors import InputError
from weights.files import replacing


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and their metadata to `path` as safetensors; the same content gives the same bytes.

    Raises:
        InputError: `path` cannot be written.
    """
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    data = save(contiguous, dict(metadata))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))  # The library leaves these in an order of chance.
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # The tensors begin at a multiple of eight bytes.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(data)[8 + length:])


def read_tensors(path: str | os.PathLike[str], *, format: str, what: str, remedy: str,
                 former: Sequence[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of one of our files.

    Args:
        path: The file.
        format: What its metadata must say under "format"; it ends in "-" and a version.
        what: What the file should be, for messages: "a control file".
        remedy: What to do about a damaged one, for messages.
        former: What former versions of this program called it, beside those of the same name.
    Raises:
        InputError: no such file, not readable, or of another format; the message names the file.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the name") from error
    except (SafetensorError, OSError) as error:
        raise InputError(path, f"not readable as {what} ({error})", remedy) from error
    written = metadata.get("format", "")
    if written != format and (written in former or written.rpartition("-")[0] == format.rpartition("-")[0]):
        age = "former" if written in former or written < format else "later"
        raise InputError(path, f"{what} made by a {age} version of this program ({written})", remedy)
    if written != format:
        raise InputError(path, f"not {what} of this program (format {written!r}, {format!r} is needed)", remedy)
    return tensors, metadata
