"""What a batch tells of its photos: the table as CSV and as JSON lines, and contact sheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from batch.job import ROWS, TABLE, BatchJob, Row
from inversion.photo import made_smaller, save_picture
from weights.errors import InputError
from weights.files import replacing

THUMBNAILS = ".thumbnails"  # Below a batch's folder: a small picture for each face, before and after side by side.
THUMBNAIL_SIDE = 128
PAIRS = (6, 10)             # Of a contact sheet, across and down.
_CAPTION = 18               # Pixels.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def columns_of(job: BatchJob) -> list[str]:
    """The columns of a job's table."""
    scores = [f"{name} {when}" for name in job.edit.strengths for when in ("before", "after")]
    return ["file", "face", "state", "error", "warnings", "likeness", "identity_of_edit",
            *(scores if job.measure and job.only != "invert" else []), "lpips", "seconds", "picture", "latent", "node"]


def told(row: Row) -> dict[str, Any]:
    """A row as it stands in the table; None where there is nothing to tell.

    likeness: of the inversion, 1 the same picture, below 0.4 somebody else. identity_of_edit: distance of dlib's face
    descriptors between the photo's face and the edited one, below 0.6 the same person. Scores are the controls' own
    log-odds.
    """
    scores = {f"{name} {when}": round(score, 3) for when, scores in (("before", row.before), ("after", row.after))
              for name, score in scores.items()}
    return {"file": row.name, "face": row.face + 1 if row.faces else None, "state": row.state,
            "error": row.reason or None, "warnings": " | ".join(row.warnings) or None,
            "likeness": _rounded(None if row.identity is None else 1 - row.identity),
            "identity_of_edit": _rounded(row.edited_identity), **scores, "lpips": _rounded(row.lpips),
            "seconds": _rounded(row.seconds), "picture": row.picture or None, "latent": row.latent or None,
            "node": row.node or None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def write_tables(folder: Path, job: BatchJob, rows: Iterable[Row]) -> None:
    """Write `batch.csv` and `batch.jsonl`; each is whole at any moment.

    Raises:
        InputError: they cannot be written.
    """
    columns = columns_of(job)
    with replacing(folder / TABLE) as table, replacing(folder / ROWS) as lines, \
            open(table, "w", encoding="utf-8", errors="backslashreplace", newline="") as table_file, \
            open(lines, "w", encoding="utf-8", errors="backslashreplace") as lines_file:
        writer = csv.DictWriter(table_file, columns, restval="")
        writer.writeheader()
        for row in rows:
            values = told(row)
            writer.writerow(_safe(values))
            lines_file.write(json.dumps({name: values.get(name) for name in columns}, ensure_ascii=False) + "\n")


def _safe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a spreadsheet, which would run some texts as formulas: those begin with an apostrophe."""
    return {name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
            for name, value in values.items()}


def save_thumbnail(folder: Path, stem: str, face: int, before: np.ndarray, after: np.ndarray) -> None:
    """Keep a face's two pictures, uint8 [h, w, 3], for the contact sheet."""
    path = _thumbnail(folder, stem, face)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(path, np.concatenate([_square(before), _square(after)], axis=1), quality=85)


def _thumbnail(folder: Path, stem: str, face: int) -> Path:
    return folder / THUMBNAILS / f"{stem}-{face + 1}.jpg"


def _square(picture: np.ndarray) -> np.ndarray:
    """A picture in the middle of a white square."""
    square = np.full((THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), 255, np.uint8)
    small = made_smaller(picture, THUMBNAIL_SIDE)
    top, left = ((THUMBNAIL_SIDE - length) // 2 for length in small.shape[:2])
    square[top:top + small.shape[0], left:left + small.shape[1]] = small
    return square


def write_sheets(folder: Path, into: Path, faces: Iterable[tuple[Row, str]]) -> list[Path]:
    """Write contact sheets of the faces that are done: before and after, with the names of the photos.

    Args:
        folder: The batch's, with the thumbnails.
        into: Where the sheets go, `sheet-0001.jpg` and so on; older ones of these names are replaced.
        faces: Rows, with the stems of their photos.
    Raises:
        InputError: they cannot be written.
    """
    from PIL import Image

    pairs = ((row, path) for row, stem in faces if row.state == "done"
             and (path := _thumbnail(folder, stem, row.face)).is_file())
    written = []
    for number, some in enumerate(_in_parts(pairs, PAIRS[0] * PAIRS[1]), 1):
        try:
            into.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(into, f"cannot be made ({error.strerror or error})", "free some space") from error
        high = -(-len(some) // PAIRS[0])
        sheet = Image.new("RGB", (PAIRS[0] * (2 * THUMBNAIL_SIDE + 8), high * (THUMBNAIL_SIDE + _CAPTION)), "white")
        for place, (row, path) in enumerate(some):
            _put(sheet, place, row, path)
        written.append(into / f"sheet-{number:04d}.jpg")
        save_picture(written[-1], np.asarray(sheet), quality=88)
    return written


def _put(sheet: Any, place: int, row: Row, path: Path) -> None:
    """One pair and its caption."""
    from PIL import Image, ImageDraw

    down, across = divmod(place, PAIRS[0])
    left, top = across * (2 * THUMBNAIL_SIDE + 8), down * (THUMBNAIL_SIDE + _CAPTION)
    try:
        with Image.open(path) as pair:
            sheet.paste(pair, (left, top))
    except OSError:  # Somebody has changed it; its place stays empty.
        pass
    caption = row.name if row.faces < 2 else f"{row.name}, face {row.face + 1}"
    ImageDraw.Draw(sheet).text((left + 2, top + THUMBNAIL_SIDE + 3), caption[-40:], fill="black")


def _in_parts(items: Iterable[tuple[Row, Path]], length: int) -> Iterator[Sequence[tuple[Row, Path]]]:
    items = iter(items)
    while part := list(islice(items, length)):
        yield part
