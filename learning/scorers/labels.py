"""Labels given by people: a CSV with a row a picture and a column an attribute."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from gradctrl.scores import Scores
from learning.bank import SampleBank
from learning.scorers.protocol import check_names
from weights.errors import InputError

NO, YES = ("0", "no", "false"), ("1", "yes", "true")  # In any case, for the first and the second class.
Row = tuple[int, int, dict[str, str]]                 # Line in the file, sample, label by attribute.


def read_labels(path: str | os.PathLike[str], bank: SampleBank, *,
                classes: Mapping[str, Sequence[str]] | None = None) -> list[Scores]:
    """Read labels of a bank's samples.

    The column `file` names pictures as they are called in the bank ("000123.png"); every other column is an attribute
    and holds class names, or nothing where there is no label. 0, no and false stand for the first of two classes, 1,
    yes and true for the second.

    Args:
        path: The CSV file.
        bank: The bank whose pictures it names.
        classes: Of some attributes, the classes in order. For the others they are the words of the column in
            alphabetical order, or ("not NAME", "NAME") where there are only 0, 1, yes, no, true and false.

    Returns:
        For each attribute scores of 1 and 0 for all N samples, not graded, known where there is a label.

    Raises:
        InputError: not a CSV, no column `file` or no other, a picture that is not in the bank, a label that is not a
            class, rows of one picture that disagree, or a class without examples; the message names file and line.
    """
    path = Path(path)
    names, rows = _read(path, bank)
    unknown = sorted(set(classes or {}) - set(names))
    if unknown:
        raise InputError(path, f"has no column {unknown[0]!r}", f"its attributes are {', '.join(names)}")
    return [_scores(path, name, _labels_of(path, name, rows), bank.count, (classes or {}).get(name)) for name in names]


def _read(path: Path, bank: SampleBank) -> tuple[list[str], list[Row]]:
    """Names of the attributes, and the rows."""
    samples = {bank.picture_path(index).name: index for index in range(bank.count)}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            rows = [_row(path, reader.line_num, header, cells, samples, bank)
                    for cells in reader if any(cell.strip() for cell in cells)]
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the name") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(path, f"not readable as CSV ({error})", "save it as CSV with commas, in UTF-8") from error
    return [name for name in header if name != "file"], rows


def _check_header(path: Path, header: list[str]) -> None:
    if "file" not in header:
        raise InputError(path, f"has no column `file` (its first line is {','.join(header)[:80]!r})",
                         "begin it with a line such as file,beard, with commas")
    if len(header) < 2:
        raise InputError(path, "has no column but `file`", "add one for each attribute")
    for name in header:
        check_names(path, name, ("no", "yes"))
        if header.count(name) > 1:
            raise InputError(path, f"has two columns {name!r}", "rename one")


def _row(path: Path, line: int, header: list[str], cells: list[str], samples: Mapping[str, int],
         bank: SampleBank) -> Row:
    if len(cells) != len(header):
        raise InputError(f"{path}, line {line}", f"{len(cells)} cells, and there are {len(header)} columns",
                         "correct it")
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    file = row.pop("file")
    if file not in samples:
        raise InputError(f"{path}, line {line}", f"{file!r} is not a picture of {bank.folder}",
                         f"name files as they are there, from {bank.picture_path(0).name} to "
                         f"{bank.picture_path(bank.count - 1).name}")
    return line, samples[file], row


def _labels_of(path: Path, attribute: str, rows: Sequence[Row]) -> dict[int, tuple[str, int]]:
    """By sample the label of one attribute, and the line that gave it."""
    labels: dict[int, tuple[str, int]] = {}
    for line, sample, row in rows:
        label = row[attribute]
        if not label:
            continue
        before, first = labels.setdefault(sample, (label, line))
        if before != label:
            raise InputError(f"{path}, lines {first} and {line}",
                             f"{before!r} and {label!r} for {attribute} of one picture", "keep one of them")
    if not labels:
        raise InputError(path, f"has no label for {attribute}", "fill in some, or remove the column")
    return labels


def _scores(path: Path, attribute: str, labels: Mapping[int, tuple[str, int]], count: int,
            given: Sequence[str] | None) -> Scores:
    words = sorted({label for label, _ in labels.values()})
    truths = all(word.lower() in NO + YES for word in words)
    classes = tuple(given) if given else (f"not {attribute}", attribute) if truths else tuple(words)
    if len(classes) < 2:
        raise InputError(path, f"all labels of {attribute} are {words[0]!r}", "label pictures of another class too")
    check_names(path, attribute, classes)
    index = {sample: _class_of(label, classes, f"{path}, line {line}: {attribute}")
             for sample, (label, line) in labels.items()}
    counts = Counter(index.values())
    empty = [name for number, name in enumerate(classes) if not counts[number]]
    if empty:
        raise InputError(path, f"{attribute} has no example of {empty[0]!r}",
                         "label some pictures of it, or leave the class out")
    values = torch.zeros(count, len(classes))
    known = torch.zeros(count, dtype=torch.bool)
    for sample, number in index.items():
        values[sample, number], known[sample] = 1.0, True
    return Scores(attribute=attribute, classes=classes, values=values, scorer=path.name, graded=False, known=known)


def _class_of(label: str, classes: Sequence[str], where: str) -> int:
    if label in classes:
        return classes.index(label)
    if len(classes) == 2 and label.lower() in NO + YES:
        return int(label.lower() in YES)
    raise InputError(None, f"{where} has the label {label!r}, which is none of {', '.join(classes)}", "correct it")
