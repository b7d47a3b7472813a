"""The files that a run writes, and what they must not replace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from weights.errors import InputError

LATENT = ".latent.safetensors"


class Outputs:
    """The files that a run writes: they replace nothing that the user has, unless --overwrite, and an input never.

    Names are claimed before the long work, so that it is not done in vain.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path], overwrite: bool) -> None:
        self.folder, self.inputs, self.overwrite = folder, inputs, overwrite
        self.claimed: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(folder, f"cannot write here ({error.strerror or error})",
                             "choose another folder with --out") from error

    def claim(self, *names: str) -> list[Path]:
        """Paths for files to write.

        Raises:
            InputError: there is such a file already, or it is an input of this run, or another input's result.
        """
        paths = [self.folder / name for name in names]
        try:
            for path in paths:
                self._check(path)
        except OSError as error:  # A name that is too long.
            raise InputError(path, f"cannot be a file ({error.strerror or error})", "rename the input") from error
        self.claimed += paths
        return paths

    def _check(self, path: Path) -> None:
        if any(_same(path, other) for other in self.inputs):
            raise InputError(path, "is an input itself and is never overwritten", "choose another folder with --out")
        if any(_same(path, other) for other in self.claimed):
            raise InputError(path, "is the result of another input of the same name",
                             "run them one by one, with another --out each")
        if path.is_dir():
            raise InputError(path, "is a folder", "rename it, or choose another folder with --out")
        if os.path.lexists(path) and not self.overwrite:
            raise InputError(path, "is there already",
                             "choose another folder with --out, or replace it with --overwrite")


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
