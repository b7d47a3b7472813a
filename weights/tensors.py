"""Writing safetensors files whose bytes depend on nothing but what is in them, so that a hash can name them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

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
