"""Examples to train on: of each class the samples that are surest, divided into training and validation sets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradctrl.scores import Scores
from weights.errors import InputError
from weights.files import read_json, replacing

FORMAT = "gradctrl-examples-1"
_SETS = ("train", "validation")
_REMEDY = "prepare the examples again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Samples of each class of an attribute, by their index: those to train on, and others to validate with."""

    attribute: str
    classes: tuple[str, ...]
    train: Tensor              # int64 [C * count], grouped by class
    train_labels: Tensor       # int64 [C * count], into `classes`
    validation: Tensor         # int64 [C * validation]; no sample is in both sets
    validation_labels: Tensor  # int64 [C * validation]
    scorer: str = ""           # Who said so.

    def __post_init__(self) -> None:
        for name in _SETS:
            index, labels = getattr(self, name), getattr(self, f"{name}_labels")
            if index.ndim != 1 or index.shape != labels.shape or {index.dtype, labels.dtype} != {torch.int64}:
                raise ValueError(f"{self.attribute}: {name} must be indexes and labels, int64 [N] each")
            if len(labels) and not (index.min() >= 0 and labels.min() >= 0 and labels.max() < len(self.classes)):
                raise ValueError(f"{self.attribute}: {name} has a negative index, or a label that is not a class")
        both = torch.cat([self.train, self.validation])
        if len(both.unique()) < len(both):
            raise ValueError(f"{self.attribute}: a sample is there twice")


def prepare(scores: Scores, *, count: int = 30, share: float | None = None, validation: int = 30,
            seed: int = 0) -> Examples:
    """Take examples by the paper's rule (section 4.1): of each class those that the scorer is surest of.

    A sample belongs to the class of its largest score. Of each class the `count + validation` samples with the largest
    log-odds are taken and divided at random into the two sets. Of scores that are not graded, none is surer than
    another and the choice is random.

    Args:
        scores: Of N samples; those without a known score are left out.
        count: Training examples a class.
        share: In place of `count`: training examples a class, as a share of all samples with a known score (0.01 of
            10,000 samples are 100 of each class), at least 1.
        validation: Validation examples a class; 0: none.
        seed: Of the division, and of the random choice.

    Returns:
        The same for the same scores and seed.

    Raises:
        InputError: a class has fewer samples than are needed; the message says how many each class has.
    """
    if share is not None:
        if not 0 < share <= 1:
            raise InputError(scores.attribute, f"the share must be above 0 and at most 1, not {share:g}")
        count = max(1, round(share * int(scores.mask.sum())))
    if count < 1 or validation < 0:
        raise InputError(scores.attribute,
                         f"1 or more training and 0 or more validation examples a class are needed, not {count} "
                         f"and {validation}")
    members = [(scores.mask & (scores.labels == label)).nonzero()[:, 0] for label in range(len(scores.classes))]
    if min(map(len, members)) < count + validation:
        there = ", ".join(f"{name} {len(index)}" for name, index in zip(scores.classes, members, strict=True))
        raise InputError(scores.attribute,
                         f"{count + validation} samples of each class are needed ({count} to train on, "
                         f"{validation} to validate), and there are: {there}", "sample more, or ask for fewer")
    rng = torch.Generator().manual_seed(seed)
    chosen = [_choose(scores, index, label, count + validation, rng) for label, index in enumerate(members)]
    labels = torch.arange(len(members))
    return Examples(attribute=scores.attribute, classes=scores.classes, scorer=scores.scorer,
                    train=torch.cat([index[:count] for index in chosen]),
                    train_labels=labels.repeat_interleave(count),
                    validation=torch.cat([index[count:] for index in chosen]),
                    validation_labels=labels.repeat_interleave(validation))


def _choose(scores: Scores, index: Tensor, label: int, count: int, rng: torch.Generator) -> Tensor:
    """`count` samples of a class, in random order."""
    if scores.graded:
        order = scores.log_odds[index, label].sort(descending=True, stable=True).indices
        index = index[order[:count]]
    return index[torch.randperm(len(index), generator=rng)[:count]]


def save_examples(path: str | os.PathLike[str], examples: Iterable[Examples], *, samples: Mapping[str, Any]) -> None:
    """Write the examples of one or more attributes to a JSON file.

    Args:
        path: The file, which is replaced once the new one is whole.
        examples: Each attribute once.
        samples: What tells these samples from others, as JSON can hold it: `SampleBank.settings`.

    Raises:
        InputError: the file cannot be written.
    """
    entries = [{"attribute": item.attribute, "classes": item.classes, "scorer": item.scorer,
                **{name: getattr(item, name).tolist() for part in _SETS for name in (part, f"{part}_labels")}}
               for item in examples]
    content = {"format": FORMAT, "samples": dict(samples), "examples": entries}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def load_examples(path: str | os.PathLike[str], *, samples: Mapping[str, Any] | None = None) -> dict[str, Examples]:
    """Read examples, by attribute.

    Args:
        path: The file.
        samples: As they were saved with; None: any.

    Raises:
        InputError: not readable, not examples, or of other samples; the message names the file.
    """
    path = Path(path)
    content = read_json(path, remedy=_REMEDY)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(path, f"not a file of examples (its format must be {FORMAT!r})", _REMEDY)
    if samples is not None and dict(samples) != content.get("samples"):
        raise InputError(path, "its examples are those of another bank of samples", f"{_REMEDY} from this one")
    try:
        examples = [_examples(entry) for entry in content["examples"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(path, f"its examples are damaged ({type(error).__name__}: {error})", _REMEDY) from error
    return {item.attribute: item for item in examples}


def _examples(entry: Mapping[str, Any]) -> Examples:
    tensors = {name: torch.tensor(entry[name], dtype=torch.int64)
               for part in _SETS for name in (part, f"{part}_labels")}
    return Examples(attribute=str(entry["attribute"]), classes=tuple(map(str, entry["classes"])),
                    scorer=str(entry["scorer"]), **tensors)
