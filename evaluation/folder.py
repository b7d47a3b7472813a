"""Work in pieces that are kept, so that an evaluation that was interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from weights.errors import InputError
from weights.files import replacing
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-evaluation-2"


class EvaluationFolder:
    """A folder of pieces of work. What a piece depends on besides its name is in `settings`, the same for all.

    Raises:
        InputError: the folder holds another evaluation, or is not one.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder
        path = folder / "evaluation.json"
        wanted = json.loads(json.dumps(dict(settings)))
        if path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(path, f"not readable ({error})", "choose another folder with --out") from error
            different = [key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key)]
            if different:
                raise InputError(folder, f"holds an evaluation with another {' and '.join(sorted(different))}",
                                 "choose another folder with --out, or the same settings to go on with it")
            return
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(folder, "is not empty and holds no evaluation", "choose another folder with --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(folder, f"cannot be made ({error.strerror or error})",
                             "choose another folder with --out") from error
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")

    def tensors(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The piece of this name: read, or made and kept."""
        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, {key: value.contiguous() for key, value in make().items()}, {"format": FORMAT})
        tensors, _ = read_tensors(path, format=FORMAT, what="a piece of an evaluation", remedy="delete it and go on")
        return tensors
