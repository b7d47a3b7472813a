"""The `edit.json` of a batch: an edit apart from any photo, to be repeated."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from directions import Controls, Edit
from editing.recipe import FORMAT as RECIPE_FORMAT
from editing.recipe import Recipe, SampleSource, load_recipe, parse_recipe
from generators import Generator
from inversion import ProjectorSettings
from weights.errors import InputError
from weights.files import replacing

EDIT_FORMAT = "gradctrl-edit-2"


def save_edit(path: Path, edit: Edit, settings: ProjectorSettings, *, generator: Generator,
              controls: Controls) -> None:
    """Write an edit apart from any photo as JSON: a recipe whose source is only how photos are inverted.

    Raises:
        InputError: the file cannot be written.
    """
    recipe = json.loads(Recipe.of(SampleSource(seed=0), generator, controls, edit).to_json())
    del recipe["source"]
    data = {**recipe, "format": EDIT_FORMAT, "inversion": asdict(settings)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def load_edit(path: str | os.PathLike[str]) -> Recipe:
    """Read what is to be repeated: a recipe's JSON, a picture that holds one, or the `edit.json` of a batch.

    Returns:
        A recipe whose `edit`, `generator` and `controls` are the file's; the source of an `edit.json`'s means nothing.
    Raises:
        InputError: none of these, or damaged.
    """
    path = Path(path)
    data = _json_of(path) if path.suffix.lower() == ".json" else None
    if data is not None and data.get("format") == EDIT_FORMAT:
        data.pop("inversion", None)
        data |= {"format": RECIPE_FORMAT, "source": {"kind": "sample", "seed": 0}}
        return parse_recipe(json.dumps(data), name=path.name)
    try:
        return load_recipe(path)
    except InputError as error:  # The page's folders mean nothing to its visitors.
        raise error.about(path.name) from error


def _json_of(path: Path) -> dict[str, Any] | None:
    """What is in a JSON file; None: nothing that `load_recipe` would not refuse better."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


