"""Importing edits that GANSpace's viewer has saved (`out/directions/*.pkl`), by the reader that runs nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions.linear import LinearDirection
from generators import LatentStatistics
from generators.checkpoints.unpickle import read_pickle
from generators.stylegan2 import layers_of_rows
from weights.errors import InputError

REMEDY = "give an edit as GANSpace's viewer saves it (out/directions/*.pkl)"
ROWS = 18          # Of w+ at 1024 pixels, by which the viewer counts.
FAR_APART = 1.25   # How many times as wide W may be along an edit as the edit says, or as narrow.


def import_saved_edit(path: str | os.PathLike[str], *, name: str = "",
                      statistics: LatentStatistics | None = None) -> LinearDirection:
    """One saved edit as a direction in W. Strength 1 is where its slider stood.

    Args:
        path: The pickle; nothing in it is run.
        name: What to call it; "": its own name, in lower case.
        statistics: Of the W that it is to move: an edit whose spread is not W's was made for another network.
    Raises:
        InputError: the file is hostile, damaged or no saved edit; it moves z or activations; or it is of another W.
    """
    path = Path(path)
    saved = read_pickle(path)
    if not isinstance(saved, dict) or not {"lat_comp", "lat_stdev", "edit_start", "edit_end"} <= saved.keys():
        raise InputError(path, "is not a saved edit of GANSpace", REMEDY)
    if saved.get("latent_space") != "W":
        raise InputError(path, f"moves the latent space {_text(saved.get('latent_space'))}, which inverted photos do "
                         "not have", "save an edit of W (the viewer's --use_w)")
    if saved.get("edit_type", "latent") == "activation":
        raise InputError(path, "moves the activations of a layer, not the latents", "save it with the edit type latent")
    row, deviation = _numbers(path, saved, "lat_comp"), float(_numbers(path, saved, "lat_stdev"))
    sigmas = float(_numbers(path, saved, "sigma_range")) if "sigma_range" in saved else 1.0
    if row.ndim != 1 or not float(row.norm()) or not deviation > 0 or not sigmas:
        raise InputError(path, f"its component has the shape {list(row.shape)}, the spread {deviation:g} and "
                         f"{sigmas:g} sigmas, which make no direction", REMEDY)
    row = row / row.norm()
    start, stop = _row(path, saved, "edit_start"), min(_row(path, saved, "edit_end"), ROWS)
    if not 0 <= start < stop:
        raise InputError(path, f"its rows {start} to {stop} are none", REMEDY)
    centre = None
    if statistics is not None:
        centre = _check_spread(path, row, deviation, statistics) * (1 if sigmas > 0 else -1)
    unit = abs(sigmas) * deviation
    first, last = layers_of_rows(start, stop)
    return LinearDirection(name=name or slug(str(saved.get("name", path.stem))), found_by="ganspace", units=(unit,),
                           directions=(row if sigmas > 0 else -row)[None], step=unit, centre=centre,
                           layers=(int(first), int(last)), report=_report(saved, sigmas))


def slug(name: str) -> str:
    """A name as directions have it: lower-case letters, digits and _."""
    made = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return made if made[:1].isalpha() else f"edit_{made}".strip("_")


def _report(saved: Mapping[Any, Any], sigmas: float) -> dict[str, object]:
    """What the file says of where the edit comes from."""
    analysis = saved.get("decomposition")
    told: dict[str, object] = {"imported from": "an edit that GANSpace's viewer saved", "sigmas": sigmas}
    named = {"component": saved.get("component_index"), "network": saved.get("model_name"),
             "class": saved.get("output_class"), "truncation": saved.get("truncation")}
    if isinstance(analysis, dict):
        named |= {key: analysis.get(key) for key in ("layer", "samples", "components")}
        named["analysis"] = analysis.get("name")
    return told | {key: value if isinstance(value, (int, float)) else _text(value) for key, value in named.items()
                   if value is not None}


def _check_spread(path: Path, row: Tensor, deviation: float, statistics: LatentStatistics) -> float:
    """The mean's coordinate along an edit's component; an edit that W does not spread along as it says is refused."""
    if len(row) != len(statistics.mean):
        raise InputError(path, f"is of a W of {len(row)} numbers, and the generator's has {len(statistics.mean)}",
                         "load the generator that it was made for")
    spread = float((statistics.axes @ row.to(statistics.axes)).norm())
    if not 1 / FAR_APART < spread / deviation < FAR_APART:
        raise InputError(path, f"says that W spreads by {deviation:.3g} along it, and the generator's does by "
                         f"{spread:.3g}: it was made for another network", "load the generator that it was made for")
    return float(statistics.mean @ row.to(statistics.mean))


def _numbers(path: Path, saved: Mapping[Any, Any], key: str) -> Tensor:
    """An array of the file without axes of length 1, float32."""
    value = saved[key]
    array = value.numpy() if isinstance(value, Tensor) else value
    if not isinstance(array, (int, float, np.ndarray)) or isinstance(array, bool) or (
            isinstance(array, np.ndarray) and array.dtype.kind not in "fiu"):
        raise InputError(path, f"{key} holds no numbers", REMEDY)
    numbers = torch.as_tensor(np.asarray(array, dtype=np.float32)).squeeze()
    if not numbers.isfinite().all():
        raise InputError(path, f"{key} holds values that are not finite", REMEDY)
    if key != "lat_comp" and numbers.ndim:
        raise InputError(path, f"{key} is not one number", REMEDY)
    return numbers


def _row(path: Path, saved: Mapping[Any, Any], key: str) -> int:
    value = saved[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(path, f"{key} is no row", REMEDY)
    return value


def _text(value: object) -> str:
    """What a file says, fit to be shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))[:100]
