"""The file of a bank's semantic scores: for each attribute "NAME.values" [N, C], and "NAME.known" [N] if some lack.

It names the bank's settings, so that scores are never taken for those of other samples.
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


def _scores(entry: Mapping[str, Any], tensors: Mapping[str, Tensor], count: int) -> Scores:
    values, known = tensors[f"{entry['attribute']}.values"], tensors.get(f"{entry['attribute']}.known")
    if len(values) != count or values.dtype != torch.float32:
        raise ValueError(f"{entry['attribute']}: scores of {len(values)} samples, and the bank has {count}")
    if known is not None and known.dtype != torch.bool:
        raise ValueError(f"{entry['attribute']}: known must be true or false")
    return Scores(attribute=entry["attribute"], classes=tuple(entry["classes"]), values=values, known=known,
                  scorer=entry["scorer"], graded=entry["graded"], ordered=entry["ordered"])
