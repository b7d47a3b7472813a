"""Family files: safetensors with directions and boundaries, and JSON metadata with everything else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from directions import Controls
from directions.linear import FAMILIES, LinearControl
from weights.errors import InputError
from weights.store import path_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-family-1"
TENSORS = ("directions", "weights", "bias")


def save_family(path: str | os.PathLike[str], controls: Iterable[LinearControl], *, generator_hash: str,
                dtype: torch.dtype = torch.float32) -> None:
    """Write linear controls to a safetensors file; an older file at `path` is replaced once the new one is whole.

    Args:
        path: The file, ending in .safetensors.
        controls: The controls, with different names.
        generator_hash: `Generator.hash` of the generator that they belong to.
        dtype: Of the numbers in the file; float16 halves it.
    Raises:
        InputError: the file cannot be written, two controls have one name, or a number is too large for the dtype.
    """
    controls = list(controls)
    Controls(controls, source=str(path))  # Refuses two of one name.
    entries = [{"name": c.name, "classes": c.classes, "layers": c.layers, "keep": dict(c.keep), "step": c.step,
                "units": c.units, "limits": c.limits, "margins": c.margins, "ordered": c.ordered, "family": c.family,
                "report": dict(c.report)} for c in controls]
    # Copied: a control's normals may be its directions too, and a safetensors file shares nothing.
    tensors = {f"{c.name}.{name}": tensor.to(dtype, copy=True)
               for c in controls for name, tensor in c.tensors().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(path, f"{name} holds values that {dtype} cannot", "save it as float32")
    write_tensors(path, tensors, {"format": FORMAT, "generator": generator_hash, "controls": json.dumps(entries)})


def load_family(source: str | os.PathLike[str]) -> Controls:
    """Read a family file.

    Args:
        source: "interfacegan", "ganspace" or "stylespace" for those of the bundled generator, or a path.
    Returns:
        The controls, in float32 on the CPU.

    Raises:
        InputError: no such file, not a family file, truncated, or with values that are missing, of the wrong shape or
            not finite; the message names the file and the remedy.
    """
    path = path_of(f"bundled-{source}") if str(source) in FAMILIES else Path(source)
    tensors, metadata = read_tensors(path, format=FORMAT, what="a family file", remedy="get the family file again")
    try:
        controls = [_control(entry, tensors) for entry in json.loads(metadata["controls"])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged family file ({error})", "get it again") from error
    return Controls(controls, generator_hash=metadata.get("generator"), source=path.name)


def _control(entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LinearControl:
    parts = {part: _read(tensors, f"{entry['name']}.{part}") for part in TENSORS}
    low, high = entry["limits"]
    start, stop = entry["layers"]
    return LinearControl(
        name=entry["name"], classes=tuple(entry["classes"]), layers=(start, stop), keep=entry["keep"],
        step=entry["step"], units=tuple(entry["units"]), limits=(low, high), margins=tuple(entry["margins"]),
        ordered=entry["ordered"], family=entry["family"], report=entry["report"], **parts)


def _read(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    stored = tensors[name]
    if not stored.is_floating_point() or not stored.isfinite().all():
        raise ValueError(f"{name} holds values that are not finite numbers")
    if name.endswith(".directions") and stored.dtype != torch.float32:
        return F.normalize(stored.float(), dim=1)  # Rounding changed the lengths.
    return stored.float()
