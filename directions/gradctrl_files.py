"""Control files: safetensors with the weights, and JSON metadata with everything else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from directions.control import Control
from directions.controls import Controls
from gradctrl.classifier import Classifier
from gradctrl.metric import Metric
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-controls-1"
WEIGHTS = ("hidden_weight", "hidden_bias", "out_weight", "out_bias")


def save_controls(path: str | os.PathLike[str], controls: Iterable[Control], *, generator_hash: str) -> None:
    """Write controls to a safetensors file; an older file at `path` is replaced only once the new one is whole.

    Args:
        path: The file, ending in .safetensors.
        controls: The controls, with different names.
        generator_hash: `Generator.hash` of the generator that they belong to.
    Raises:
        InputError: the file cannot be written.
    """
    controls = list(controls)
    Controls(controls, source=str(path))  # Refuses two of one name.
    metrics = [control.metric for control in controls if control.metric is not None]
    if not all(metric.equals(metrics[0]) for metric in metrics):
        raise ValueError("the controls of one file must share one metric")
    entries = [{"name": c.name, "classes": c.classes, "layers": c.layers, "keep": dict(c.keep), "step": c.step,
                "units": c.units, "limits": c.limits, "margins": c.margins, "ordered": c.ordered, "method": c.method,
                "metric": c.metric is not None, "report": dict(c.report)} for c in controls]
    tensors = {f"{c.name}.{name}": tensor.float()
               for c in controls for name, tensor in c.classifier.tensors().items()}
    if metrics:
        tensors |= {"metric.mean": metrics[0].mean.float(), "metric.axes": metrics[0].axes.float()}
    metadata = {"format": FORMAT, "generator": generator_hash, "controls": json.dumps(entries)}
    if metrics:
        metadata["metric"] = json.dumps({"radius": metrics[0].radius, "shell": metrics[0].shell})
    write_tensors(path, tensors, metadata)


def load_controls(path: str | os.PathLike[str] = "bundled") -> Controls:
    """Read a control file; "bundled" are those of the bundled generator.

    Raises:
        InputError: no such file, not a control file, truncated, or with weights that are missing, of the wrong shape
            or not finite; the message names the file and the remedy.
    """
    if os.fspath(path) == "bundled":
        from weights.store import path_of
        path = path_of("bundled-controls")
    path = Path(path)
    tensors, metadata = read_tensors(path, format=FORMAT, what="a control file", remedy="get the control file again")
    try:
        entries = json.loads(metadata["controls"])
        metric = _metric(metadata, tensors)
        controls = [_control(entry, tensors, metric) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged control file ({error})", "get it again") from error
    return Controls(controls, generator_hash=metadata.get("generator"), source=path.name)


def _metric(metadata: Mapping[str, str], tensors: dict[str, torch.Tensor]) -> Metric | None:
    if "metric.axes" not in tensors:
        return None
    settings = json.loads(metadata["metric"])
    return Metric(mean=_finite(tensors, "metric.mean").float(), axes=_finite(tensors, "metric.axes").float(),
                  radius=float(settings["radius"]), shell=bool(settings["shell"]))


def _control(entry: dict[str, Any], tensors: dict[str, torch.Tensor], metric: Metric | None) -> Control:
    name = entry["name"]
    weights = {part: _finite(tensors, f"{name}.{part}") for part in WEIGHTS}
    low, high = entry["limits"]
    start, stop = entry["layers"]
    if entry.get("metric") and metric is None:
        raise ValueError("metric.axes is missing")
    return Control(name=name, classes=tuple(entry["classes"]), classifier=Classifier(**weights), layers=(start, stop),
                   keep=entry["keep"], step=entry["step"], units=tuple(entry["units"]), limits=(low, high),
                   margins=tuple(entry.get("margins", ())), ordered=entry.get("ordered", False),
                   method=entry.get("method", "paper"), metric=metric if entry.get("metric") else None,
                   report=entry["report"])


def _finite(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    if not tensors[name].isfinite().all():
        raise ValueError(f"{name} holds values that are not finite")
    return tensors[name]
