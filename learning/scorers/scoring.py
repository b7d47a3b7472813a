"""Scores of all samples of a bank, by any image classifier."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from generators.memory import keep_freed_memory
from gradctrl.scores import Scores
from learning.bank import SampleBank
from learning.scorers.protocol import ImageScorer
from weights.errors import InputError


def load_scorer(source: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> ImageScorer:
    """Load an image classifier.

    "bundled"; "paper", the same of the paper's four attributes in two classes each; "controls", the same in the classes
    of the bundled controls, two of each attribute but hair; or the JSON description of one's own (docs/scorers.md).

    Args:
        source: Which.
        device: Where it computes; ONNX always on the CPU.

    Raises:
        InputError: no such file, not a description, or its model cannot be loaded.
    """
    keep_freed_memory()
    if os.fspath(source) in {"bundled", "paper", "controls"}:
        from learning.scorers.bundled import CONTROLLED, PAPER, load_bundled_scorer

        return load_bundled_scorer({"paper": PAPER, "controls": CONTROLLED}.get(os.fspath(source)), device=device)
    path = Path(source)
    if path.suffix.lower() != ".json":
        raise InputError(path, "not a scorer",
                         "name bundled, paper, controls, or a JSON file that describes a classifier (docs/scorers.md)")
    from learning.scorers.files import load_file_scorer

    return load_file_scorer(path, device=device)


def score_bank(bank: SampleBank, scorer: ImageScorer, *, batch: int = 32,
               on_progress: Callable[[int, int], None] | None = None) -> list[Scores]:
    """Score all samples of a bank; nothing is written (`SampleBank.save_scores` does that).

    Args:
        bank: Whose pictures.
        scorer: What looks at them.
        batch: Pictures that are scored at once.
        on_progress: Called with how many are done, and how many there are, after each batch.

    Returns:
        Scores for each attribute of the scorer.

    Raises:
        InputError: a picture is missing or damaged, or the scorer gives NaN; the message names the file.
    """
    from generators import from_pixels

    parts: dict[str, list[Tensor]] = {name: [] for name in scorer.attributes}
    for start in range(0, bank.count, batch):
        logits = scorer(from_pixels(bank.pictures(start, start + batch)))
        for name, classes in scorer.attributes.items():
            if logits[name].ndim != 2 or logits[name].shape[1] != len(classes):
                raise ValueError(f"{scorer.name}: {name} must be [N, {len(classes)}], not {list(logits[name].shape)}")
            parts[name].append(logits[name].float().cpu())
        if on_progress is not None:
            on_progress(min(start + batch, bank.count), bank.count)
    return [Scores(attribute=name, classes=classes, values=torch.cat(parts[name]), scorer=scorer.name,
                   ordered=name in scorer.ordered) for name, classes in scorer.attributes.items()]
