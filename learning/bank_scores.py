"""The files of a bank's semantic scores and of their gradients, by attribute.

Scores: "NAME.values" [N, C], and "NAME.known" [N] if some lack. Gradients: "NAME.gradients" [M, C, w_dim], of the
scores of the first M samples by w, and these scores, "NAME.values" [M, C]. Both name the bank's settings, so that they
are never taken for those of other samples; and gradients are never taken for those of other scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradctrl.scores import Scores
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-scores-1"
GRADIENTS_FORMAT = "gradctrl-score-gradients-1"
_REMEDY = "delete it, and score the bank again"


def write_scores(path: Path, scores: Iterable[Scores], settings: Mapping[str, Any]) -> None:
    """Write the scores of all attributes of a bank.

    Args:
        path: The file; what is there is replaced once the new one is whole.
        scores: Of the bank's samples, each attribute once.
        settings: `SampleBank.settings`.
    Raises:
        InputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    entries = []
    for item in scores:
        entries.append({"attribute": item.attribute, "classes": item.classes, "scorer": item.scorer,
                        "graded": item.graded, "ordered": item.ordered})
        tensors[f"{item.attribute}.values"] = item.values.float()
        if item.known is not None:
            tensors[f"{item.attribute}.known"] = item.known
    write_tensors(path, tensors, {"format": FORMAT, "bank": json.dumps(settings, sort_keys=True),
                                  "scores": json.dumps(entries)})


def read_scores(path: Path, settings: Mapping[str, Any]) -> dict[str, Scores]:
    """Read the scores of a bank by attribute; none if the file is not there.

    Raises:
        InputError: the file is damaged, or the scores are those of another bank.
    """
    if not path.exists():
        return {}
    tensors, metadata = read_tensors(path, format=FORMAT, what="scores of a bank", remedy=_REMEDY)
    try:
        belongs, entries = json.loads(metadata["bank"]), json.loads(metadata["scores"])
    except (KeyError, ValueError) as error:
        raise InputError(path, "its metadata is damaged", _REMEDY) from error
    if belongs != dict(settings):
        raise InputError(path, "belongs to another bank of samples", _REMEDY)
    try:
        scores = [_scores(entry, tensors, settings["count"]) for entry in entries]
    except InputError as error:
        raise InputError(path, str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"its scores are damaged ({error})", _REMEDY) from error
    return {item.attribute: item for item in scores}


def write_gradients(path: Path, gradients: Mapping[str, Tensor], scores: Mapping[str, Scores],
                    settings: Mapping[str, Any]) -> None:
    """Write gradients of a bank's scores.

    Args:
        path: The file; what is there is replaced once the new one is whole.
        gradients: Of the first M samples [M, C, w_dim], by attribute.
        scores: Of the bank, by attribute.
        settings: `SampleBank.settings`.
    Raises:
        InputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, values in gradients.items():
        tensors[f"{name}.gradients"] = values.float()
        tensors[f"{name}.values"] = scores[name].values[:len(values)].float()
    write_tensors(path, tensors, {"format": GRADIENTS_FORMAT,
                                  "bank": json.dumps(_samples_of(settings), sort_keys=True)})


def read_gradients(path: Path, scores: Mapping[str, Scores], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Read the gradients of a bank's scores, but for attributes whose scores are others by now.

    Args:
        path: The file; none: there are no gradients.
        scores: Of the bank, by attribute.
        settings: `SampleBank.settings`.
    Raises:
        InputError: the file is damaged, or the gradients are those of another bank.
    """
    if not path.exists():
        return {}
    remedy = "delete it, and measure the gradients again"
    tensors, metadata = read_tensors(path, format=GRADIENTS_FORMAT, what="gradients of a bank's scores", remedy=remedy)
    try:
        belongs = json.loads(metadata["bank"])
    except (KeyError, ValueError) as error:
        raise InputError(path, "its metadata is damaged", remedy) from error
    if belongs != _samples_of(settings):
        raise InputError(path, "belongs to another bank of samples", remedy)
    current = {name: tensors[f"{name}.gradients"] for name, item in scores.items()
               if f"{name}.gradients" in tensors and _same(tensors.get(f"{name}.values"), item)}
    for name, values in current.items():
        count, columns, w_dim = settings["count"], len(scores[name].classes), settings["w_dim"]
        if (values.ndim != 3 or len(values) > count or values.shape[1:] != (columns, w_dim)
                or values.dtype != torch.float32 or not values.isfinite().all()):
            raise InputError(path, f"{name}: gradients must be finite, float32 [{count} or fewer, {columns}, {w_dim}], "
                             f"not {values.dtype} {list(values.shape)}", remedy)
    return current


def _same(values: Tensor | None, item: Scores) -> bool:
    """Whether scores of the first samples [M, C] are these, but for what another device or batch rounds otherwise."""
    if values is None or len(values) > len(item.values) or values.shape[1:] != item.values.shape[1:]:
        return False
    return torch.allclose(values.float(), item.values[:len(values)], rtol=0.02, atol=0.05)


def _samples_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the count: the first samples of a bank that has grown are the same."""
    return {name: value for name, value in settings.items() if name != "count"}


def _scores(entry: Mapping[str, Any], tensors: Mapping[str, Tensor], count: int) -> Scores:
    values, known = tensors[f"{entry['attribute']}.values"], tensors.get(f"{entry['attribute']}.known")
    if len(values) != count or values.dtype != torch.float32:
        raise ValueError(f"{entry['attribute']}: scores of {len(values)} samples, and the bank has {count}")
    if known is not None and known.dtype != torch.bool:
        raise ValueError(f"{entry['attribute']}: known must be true or false")
    return Scores(attribute=entry["attribute"], classes=tuple(entry["classes"]), values=values, known=known,
                  scorer=entry["scorer"], graded=entry["graded"], ordered=entry["ordered"])
