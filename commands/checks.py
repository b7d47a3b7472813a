"""Arguments checked before PyTorch is imported, which takes seconds: what is wrong with them is told at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.console import note, one_line
from directions.methods import METHODS, SETS
from weights.errors import InputError
from weights.store import is_known, path_of

_MOST_HEADER = 64 * 2**20  # Bytes of a safetensors file's header; more is no header.


def is_latent(path: Path) -> bool:
    """Whether an input is a stored latent, not a photo."""
    return path.suffix == ".safetensors"


def check_inputs(paths: Sequence[Path]) -> None:
    """Refuse inputs of which none can be used, by their first bytes. Where some can, each is told of in its turn.

    Raises:
        InputError: of the last; those of the others are told.
    """
    problems: list[InputError] = []
    for path in paths:
        problem = _problem_of(path)
        if problem is None:
            return
        problems.append(problem)
    for problem in problems[:-1]:
        note(f"Error: {one_line(problem)}")
    if problems:
        raise problems[-1]


def check_files(*paths: Path | str | None) -> None:
    """Refuse files that are not there; None is none.

    Raises:
        InputError: naming it.
    """
    for path in paths:
        if path is not None and not Path(path).exists():
            raise InputError(path, "no such file or folder", "check the path")


def check_bank(folder: Path) -> None:
    """Refuse a folder that is no bank.

    Raises:
        InputError: naming it.
    """
    if not (folder / "bank.json").is_file():
        raise InputError(folder, "not a bank of samples (it has no bank.json)",
                         "make one with `gradctrl sample --bank FOLDER`")


def check_generator(source: str) -> Path:
    """The file of a generator; refuses one that is not there.

    Raises:
        InputError: its name is unknown and no file's, or it is not fetched.
    """
    name = "bundled-generator" if source == "bundled" else source
    if is_known(name):
        return path_of(name)
    if not Path(source).exists():
        raise InputError(source, "neither a file nor a name that is known",
                         "check the path; `gradctrl weights list` has the names")
    return Path(source)


def check_controls(source: str, changed: Iterable[str] = (), kept: Iterable[str] = ()) -> None:
    """Refuse controls that are not there, and attributes and classes that they do not have.

    Args:
        source: As for `directions.load`.
        changed: What is to be changed: "smile", "hair:blond".
        kept: Attributes alone.
    Raises:
        InputError: naming what was typed.
    """
    known = _classes_in(source)
    if known is None:
        return
    for name in [*changed, *kept]:
        attribute, _, class_name = name.partition(":")
        if attribute in SETS and attribute not in known:
            continue  # What reads them says what they do not hold.
        if attribute not in known:
            raise InputError(attribute, f"no such attribute in {in_words(source)}", f"there are {', '.join(known)}")
        classes = known[attribute]
        if class_name and class_name not in classes:
            keys = [f"{attribute}:{each}" for each in classes] if len(classes) > 2 else [attribute]
            raise InputError(name, "no such class", f"use {', '.join(keys)}")


def in_words(source: str) -> str:
    """How messages call controls: as they were typed."""
    return "the bundled controls" if source == "bundled" else source


def _problem_of(path: Path) -> InputError | None:
    try:
        if is_latent(path):
            check_files(path)
        else:
            from inversion.photo import check_photo

            check_photo(path, name=str(path))
    except InputError as problem:
        return problem
    return None


def _classes_in(source: str) -> dict[str, Sequence[str]] | None:
    """The classes of each control in a file, by its header alone; None: it has none that is understood.

    Raises:
        InputError: there is no such file.
    """
    if "+" in source and not Path(source).exists():  # Several files.
        parts = [_classes_in(part) for part in source.split("+")]
        return None if None in parts else {name: of for part in parts if part for name, of in part.items()}
    name = METHODS[source].file if source in METHODS else METHODS["gradctrl"].file if source == "bundled" else source
    if name.startswith("bundled-") and not is_known(name):
        return None  # What loads them says so.
    path = path_of(name) if is_known(name) else Path(name)
    check_files(None if path.exists() else source)
    try:
        with open(path, "rb") as file:
            header = file.read(min(int.from_bytes(file.read(8), "little"), _MOST_HEADER))
        entries: list[Mapping[str, Any]] = json.loads(json.loads(header)["__metadata__"]["controls"])
        return {entry["name"]: tuple(entry.get("classes", ())) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
