"""The JSON file that describes a classifier of the user's: what goes into its model, and what comes out.

docs/scorers.md explains it. Everything is checked when it is read: a mistake is told before any picture is scored.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learning.scorers.protocol import check_names
from weights.errors import InputError
from weights.files import read_json

FORMAT = "gradctrl-scorer-1"
CHANNELS = ("rgb", "bgr", "gray")
LAYOUTS = ("nchw", "nhwc")
KINDS = ("logit", "probability")
ENDINGS = (".pt", ".onnx")
_KEYS = {"format", "name", "model", "size", "crop", "channels", "range", "mean", "std", "layout", "outputs"}
_OUTPUT_KEYS = {"attribute", "classes", "columns", "output", "kind", "ordered"}
_HELP = "correct it (docs/scorers.md)"


@dataclass(frozen=True, kw_only=True)
class Output:
    """One attribute, and where the model's outputs tell it."""

    attribute: str
    classes: tuple[str, ...]
    columns: tuple[int, ...]  # One a class, in their order; for a binary attribute one, of the positive class, will do.
    output: int | str         # Number or name of the output, for models with several.
    kind: str                 # Of `KINDS`.
    ordered: bool             # Whether the classes are steps of one scale.


@dataclass(frozen=True, kw_only=True)
class Description:
    """A classifier of the user's."""

    file: Path                     # The JSON file, for messages.
    name: str
    model: Path
    size: tuple[int, int] | None   # Height and width that the model takes; None: that of the picture.
    crop: float                    # Share of each side that is taken, around the centre, before resizing.
    channels: str                  # Of `CHANNELS`.
    range: tuple[float, float]     # Values of black and white.
    mean: tuple[float, ...]        # Taken off afterwards, one a channel,
    std: tuple[float, ...]         # and divided by.
    layout: str                    # Of `LAYOUTS`.
    outputs: tuple[Output, ...]


def read_description(path: str | os.PathLike[str]) -> Description:
    """Read a description.

    Raises:
        InputError: not readable, a key is missing, unknown or has a value that cannot be, or there is no such model;
            the message names the file and the key.
    """
    path = Path(path)
    content = read_json(path, remedy=_HELP)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(path, "not the description of a classifier",
                         f"it must have \"format\": \"{FORMAT}\" (docs/scorers.md)")
    return _description(path, content)


def _description(path: Path, content: Mapping[str, Any]) -> Description:
    _refuse_unknown(path, content, _KEYS, "")
    model = path.parent / _text(path, content, "model")
    if model.suffix.lower() not in ENDINGS:
        raise InputError(path, f"the model must be TorchScript (.pt) or ONNX (.onnx), not {model.name!r}",
                         "export it as one of them")
    if not model.is_file():
        raise InputError(path, f"its model {model} is not there", "correct \"model\", a path beside this file")
    channels = _choice(path, content, "channels", CHANNELS, "rgb")
    depth = 1 if channels == "gray" else 3
    outputs = content.get("outputs")
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        raise InputError(path, "\"outputs\" must be a list with an object for each attribute", _HELP)
    result = Description(
        file=path, name=_text(path, content, "name", path.stem), model=model, size=_size(path, content.get("size")),
        crop=_numbers(path, content, "crop", 1, 1.0)[0], channels=channels,
        range=_pair(_numbers(path, content, "range", 2, (0.0, 1.0))), mean=_numbers(path, content, "mean", depth, 0.0),
        std=_numbers(path, content, "std", depth, 1.0), layout=_choice(path, content, "layout", LAYOUTS, "nchw"),
        outputs=tuple(_output(path, output) for output in outputs))
    return _checked(result)


def _checked(description: Description) -> Description:
    """Refuse values that are of the right kind and cannot be."""
    names = [output.attribute for output in description.outputs]
    problem = ("" if 0 < description.crop <= 1 else '"crop" must be above 0 and at most 1') or (
        "" if description.range[0] < description.range[1] else '"range" must be [black, white] with black < white') or (
        "" if min(description.std) > 0 else '"std" must be above 0') or (
        "" if len(set(names)) == len(names) else '"outputs" has an attribute twice')
    if problem:
        raise InputError(description.file, problem, _HELP)
    return description


def _output(path: Path, content: Mapping[str, Any]) -> Output:
    attribute = _text(path, content, "attribute")
    _refuse_unknown(path, content, _OUTPUT_KEYS, f" of {attribute}")
    classes, columns = content.get("classes"), content.get("columns")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(path, f"\"classes\" of {attribute} must be a list of names", _HELP)
    check_names(path, attribute, tuple(classes))
    if not isinstance(columns, list) or not all(_whole(column) for column in columns):
        raise InputError(path, f"\"columns\" of {attribute} must be a list of whole numbers from 0", _HELP)
    lengths = {1, 2} if len(classes) == 2 else {len(classes)}
    if len(columns) not in lengths or len(set(columns)) != len(columns):
        wanted = " (or one, of the positive class)" if len(classes) == 2 else ""
        raise InputError(path, f"{attribute} has {len(classes)} classes and columns {columns}",
                         f"give one column a class{wanted}, each once")
    which, ordered = content.get("output", 0), content.get("ordered", False)
    if not (_whole(which) or (isinstance(which, str) and which)) or not isinstance(ordered, bool):
        raise InputError(path,
                         f"\"output\" of {attribute} must be a number from 0 or a name, \"ordered\" true or false",
                         _HELP)
    return Output(attribute=attribute, classes=tuple(classes), columns=tuple(columns), output=which,
                  kind=_choice(path, content, "kind", KINDS, None), ordered=ordered)


def _refuse_unknown(path: Path, content: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(content) - known)
    if unknown:
        raise InputError(path, f"{unknown[0]!r}{where} is not a key of a description",
                         f"use {', '.join(sorted(known))}")


def _text(path: Path, content: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = content.get(key, default)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(path, f"\"{key}\" must be a text, not {value!r}", _HELP)
    return value


def _choice(path: Path, content: Mapping[str, Any], key: str, options: Sequence[str], default: str | None) -> str:
    value = content.get(key, default)
    if value not in options:
        raise InputError(path, f"\"{key}\" must be {' or '.join(options)}, not {value!r}", _HELP)
    return str(value)


def _numbers(path: Path, content: Mapping[str, Any], key: str, count: int,
             default: float | tuple[float, ...]) -> tuple[float, ...]:
    """`count` finite numbers; one number stands for all of them."""
    value = content.get(key, default)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v) for v in values) or \
            len(values) not in {1, count}:
        raise InputError(path, f"\"{key}\" must be {f'{count} numbers' if count > 1 else 'a number'}, not {value!r}",
                         _HELP)
    return tuple(float(v) for v in (values if len(values) == count else values * count))


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    low, high = values
    return low, high


def _size(path: Path, value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(_whole(side) and 0 < side <= 4096 for side in value):
        raise InputError(path, f"\"size\" must be [height, width] from 1 to 4096 or null, not {value!r}", _HELP)
    return value[0], value[1]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
