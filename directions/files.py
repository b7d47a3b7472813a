"""Direction files: safetensors with what was learned, and JSON metadata with everything else; one format for all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache, reduce
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.authors import import_authors
from directions.control import Control, Direction, GradCtrlControl
from directions.controls import Controls, Sets, Spaces
from directions.linear import LinearControl, LinearDirection
from directions.methods import METHODS
from directions.named import (
    COMPONENTS,
    GANSPACE,
    NAVIGAN,
    TABLE,
    DirectionSet,
    ganspace_components,
    ganspace_edits,
)
from directions.saved_edits import import_saved_edit
from directions.weights import WeightDirection
from generators import Deformation, LatentStatistics, Space
from gradctrl import Classifier
from weights.errors import InputError
from weights.hashing import sha256_of
from weights.store import is_known, path_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-directions-1"
FORMER = ("gradctrl-controls-1", "gradctrl-family-1")
REMEDY = "get the file again"
PARTS = {"classifier": ("hidden_weight", "hidden_bias", "out_weight", "out_bias"),
         "linear": ("directions", "weights", "bias"), "direction": ("directions",), "weights": ("shift",)}
PERHAPS = ("sensitivity", "holds")  # Of a classifier, where gradients were measured.
DEFORMATIONS = "navigan-edits"  # In the manifest.
STATISTICS = ("statistics.mean", "statistics.axes")  # Of W, once for all controls of the file.


def load(source: str | os.PathLike[str] = "bundled") -> Controls:
    """Read directions and controls, whatever they are.

    Args:
        source: "bundled", or a method's name for the bundled ones of that method; a name of the manifest; a file; or a
            folder as the authors of GradCtrl publish it; or an edit that GANSpace's viewer saved (.pkl). Several of
            these are joined by "+", as in "bundled+mine.safetensors".
    Returns:
        float32, on the CPU. Edits may name the sets "ganspace" and "navigan" (`directions.named`) too, "ganspace:bald",
        though they are not listed unless they are asked for, as "ganspace-edits" and "navigan-edits".

    Raises:
        InputError: no such file, not a file of directions, of a former version, damaged or hostile; the message names
            the file and the remedy.
    """
    name = os.fspath(source)
    if "+" in name and not Path(name).exists():
        return reduce(Controls.joined, map(load, name.split("+")))
    if name in (TABLE, DEFORMATIONS):
        return NAMED[GANSPACE if name == TABLE else NAVIGAN]()
    name = METHODS[name].file if name in METHODS else METHODS["gradctrl"].file if name == "bundled" else name
    if name.startswith("bundled-") and not is_known(name):
        raise InputError(os.fspath(source), "no controls of this method are bundled",
                         "train some (`gradctrl train BANK --method NAME`), and give their file")
    path = path_of(name) if is_known(name) else Path(name)
    if path.name == "model.pth":  # How the authors' files are stored.
        path = path.parent
    if path.suffix == ".pkl":
        return Controls([import_saved_edit(path)], source=path.name, sets=NAMED)
    if path.is_dir():
        return Controls(import_authors(path), source=os.fspath(source), sets=NAMED)
    return _read(path)


def named_edits() -> Controls:
    """The named edits of GANSpace's authors, as one direction of many outputs."""
    return Controls([ganspace_edits()], spaces={"w": ganspace_components().space},
                    source=f"{path_of(TABLE).name} with {path_of(COMPONENTS).name}")


@cache
def weight_edits() -> Controls:
    """The bundled directions of the bundled generator's weights, as one direction of many outputs: "navigan:nose"."""
    path = path_of(DEFORMATIONS)
    members = dict(_read(path))
    groups = {name: str(each.report.get("group", "")) for name, each in members.items()}
    made = DirectionSet(name=NAVIGAN, members=members, groups=groups, sha256=sha256_of(path))
    return Controls([made], source=path.name)


NAMED: Sets = {GANSPACE: named_edits, NAVIGAN: weight_edits}


def save(path: str | os.PathLike[str], controls: Iterable[Direction], *, spaces: Spaces,
         dtype: torch.dtype = torch.float32) -> None:
    """Write directions and controls; an older file at `path` is replaced once the new one is whole.

    Args:
        path: The file, ending in .safetensors.
        controls: With different names; of a set its members.
        spaces: `Generator.spaces` of a generator that they are for.
        dtype: Of the numbers in the file; float16 halves it.
    Raises:
        InputError: the file cannot be written, two have one name, or a number is too large for the dtype.
    """
    controls = [each for control in controls
                for each in (control.members.values() if isinstance(control, DirectionSet) else [control])]
    Controls(controls, source=str(path))  # Refuses two of one name.
    tensors: dict[str, Tensor] = {}
    for control in controls:
        # Copied: a control's normals may be its directions too, and a safetensors file shares nothing.
        tensors |= {f"{control.name}.{part}": control.tensors()[part].to(dtype, copy=True)
                    for part in (*PARTS[_kind(control)], *PERHAPS) if part in control.tensors()}
    tensors |= _statistics_of(controls)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(path, f"{name} holds values that {dtype} cannot", "save it as float32")
    moved = {control.moves for control in controls}
    metadata = {"format": FORMAT, "controls": json.dumps([_entry(control) for control in controls]),
                "spaces": json.dumps({kind: space.to_text() for kind, space in spaces.items() if kind in moved})}
    write_tensors(path, tensors or {"empty": torch.zeros(1)}, metadata)


def _kind(control: Direction) -> str:
    """What of `PARTS` it has."""
    return ("weights" if isinstance(control, WeightDirection) else
            "classifier" if isinstance(control, GradCtrlControl) else
            "linear" if isinstance(control, LinearControl) else "direction")


def _entry(control: Direction) -> dict[str, Any]:
    """All of a direction but its numbers, as JSON can hold it."""
    plain = [item.name for kind in (Control, Direction) if isinstance(control, kind) for item in fields(kind)]
    entry = {name: getattr(control, name) for name in plain}
    entry |= {"kind": _kind(control), "method": control.method, "report": dict(control.report), **control.settings()}
    if isinstance(control, GradCtrlControl):
        entry["statistics"] = control.statistics is not None
    return entry | ({"keep": dict(control.keep)} if isinstance(control, Control) else {})


def _statistics_of(controls: Iterable[Direction]) -> dict[str, Tensor]:
    known = [control.statistics for control in controls
             if isinstance(control, GradCtrlControl) and control.statistics is not None]
    if not known:
        return {}
    if not all(torch.equal(other.mean, known[0].mean) and torch.equal(other.axes, known[0].axes) for other in known):
        raise ValueError("the controls of one file must share their statistics of W")
    return dict(zip(STATISTICS, (known[0].mean.float(), known[0].axes.float()), strict=True))


def _read(path: Path) -> Controls:
    tensors, metadata = read_tensors(path, format=FORMAT, former=FORMER, what="a file of directions", remedy=REMEDY)
    try:
        spaces = {kind: Space.from_text(text) for kind, text in json.loads(metadata["spaces"]).items()}
        statistics = None
        if STATISTICS[0] in tensors:
            mean, axes = (_finite(tensors, name) for name in STATISTICS)
            statistics = LatentStatistics(mean=mean, axes=axes)
        controls = [_direction(entry, tensors, statistics) for entry in json.loads(metadata["controls"])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged file of directions ({error})", REMEDY) from error
    return Controls(controls, spaces=spaces, source=path.name, sets=NAMED)


def _direction(entry: Mapping[str, Any], tensors: Mapping[str, Tensor],
               statistics: LatentStatistics | None) -> Direction:
    name, kind = entry["name"], entry["kind"]
    parts: dict[str, Any] = {part: _finite(tensors, f"{name}.{part}") for part in PARTS[kind]}
    if "directions" in parts and tensors[f"{name}.directions"].dtype != torch.float32:
        parts["directions"] = F.normalize(parts["directions"], dim=1)  # Rounding changed their lengths.
    low, high = entry["limits"]
    common: dict[str, Any] = {"name": name, "layers": tuple(entry["layers"]), "step": entry["step"],
                              "units": tuple(entry["units"]), "limits": (low, high), "report": entry["report"]}
    if kind == "direction":
        return LinearDirection(found_by=entry["method"], centre=entry.get("centre"), **parts, **common)
    if kind == "weights":
        shift = parts["shift"]
        return WeightDirection(deformation=Deformation(entry["convolution"], shift / shift.norm().clamp_min(1e-12)),
                               weights=entry["weights"], **common)
    common |= {"classes": tuple(entry["classes"]), "keep": entry["keep"], "margins": tuple(entry["margins"]),
               "ordered": entry["ordered"], "keeps_tone": bool(entry.get("keeps_tone", False))}
    if kind == "linear":
        return LinearControl(found_by=entry["method"], **parts, **common)
    if entry["statistics"] and statistics is None:
        raise ValueError("statistics.axes is missing")
    common |= {part: _finite(tensors, f"{name}.{part}") for part in PERHAPS if f"{name}.{part}" in tensors}
    return GradCtrlControl(classifier=Classifier(**parts), statistics=statistics if entry["statistics"] else None,
                           keeping=entry["keeping"], radius=entry["radius"], shell=entry["shell"], **common)


def _finite(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    stored = tensors[name]
    if not stored.is_floating_point() or not stored.isfinite().all():
        raise ValueError(f"{name} holds values that are not finite numbers")
    return stored.float()
