"""The numbers of an evaluation as tables, and as CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from evaluation.evaluation import Results
from learning.contenders import TITLES
from weights.files import replacing

Row = Sequence[object]


def accuracy_rows(results: Results) -> list[Row]:
    """Method, attribute, edits, accuracy, reached, then of each judged label how often it stayed; and over all."""
    judged = results.judged
    rows: list[Row] = [["method", "attribute", "edits", "accuracy", "reached", "crossed",
                        *(f"{name} stayed" for name in judged)]]
    for method, verdict in results.verdicts.items():
        trials = results.trials_of(method)
        for name in (*trials.attributes, "all"):
            members = torch.arange(len(trials)) if name == "all" else trials.of(name)
            stayed = ["" if label == name else _share(verdict.stayed[label][members]) for label in judged]
            rows.append([method, name, len(members), _share(verdict.correct[members]), _share(verdict.hit[members]),
                         _share(results.crossed[method][members]), *stayed])
    return rows


def dependency_rows(results: Results) -> list[Row]:
    """Method, change of the target in deviations (middle of the group), mean change of the others, edits."""
    rows: list[Row] = [["method", "target change", "others change", "edits"]]
    for method, changes in results.dependencies.items():
        rows += [[method, middle, round(mean, 4), count] for middle, mean, count in changes.groups()]
    return rows


def scatter_rows(results: Results, target: str, other: str) -> list[Row]:
    """Method, change of the target and of the other attribute, of each edit of the target (figure 7b)."""
    rows: list[Row] = [["method", target, other]]
    for method, changes in results.dependencies.items():
        edits = results.edits_of(method)
        steps = len(changes.target) // len(edits)
        members = (edits.attribute == edits.attributes.index(target)).repeat_interleave(steps)
        rows += [[method, round(a, 4), round(b, 4)] for a, b in
                 zip(changes.signed[target][members].tolist(), changes.signed[other][members].tolist(), strict=True)]
    return rows


def ablation_rows(results: Results) -> list[Row]:
    """Figure, method, value, edits, accuracy, reached, and how often all other labels stayed."""
    rows: list[Row] = [["figure", "method", "value", "edits", "accuracy", "reached", "others stayed"]]
    for point in results.ablations:
        if point.verdict is None:
            rows.append([point.figure, point.method, point.value, 0, "", "", ""])
            continue
        stayed = torch.stack(list(point.verdict.stayed.values())).all(dim=0)
        rows.append([point.figure, point.method, point.value, len(stayed), _share(point.verdict.correct),
                     _share(point.verdict.hit), _share(stayed)])
    return rows


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows, the first of which is the header; an older file is replaced once the new one is whole."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a table of Markdown, with the methods' titles."""
    lines = ["| " + " | ".join(TITLES.get(str(cell), _text(cell)) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return "\N{MULTIPLICATION SIGN}" if math.isnan(cell) else f"{cell:.3f}"  # As in the paper.
    return str(cell)


def _share(values: torch.Tensor) -> float:
    return round(float(values.float().mean()), 4) if len(values) else float("nan")
