"""Control files of any kind: GradCtrl's own, and those of the other families of directions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from directions import Control, Controls, Steerable, load_controls, save_controls
from directions.linear import FAMILIES, LinearControl
from directions.linear_files import FORMAT as FAMILY_FORMAT
from directions.linear_files import load_family, save_family
from weights.errors import InputError
from weights.store import path_of


def load_any(source: str | os.PathLike[str] = "bundled") -> Controls:
    """Read the controls of a file, of whatever family they are.

    Args:
        source: A control file or a family file; for those of the bundled generator "bundled", "paper" (trained and
            steered as in the paper), "interfacegan", "ganspace" or "stylespace".

    Raises:
        InputError: no such file, not a file of controls, or damaged; the message names the file and the remedy.
    """
    if os.fspath(source) == "paper":
        return load_controls(path_of("bundled-paper"))
    if os.fspath(source) in FAMILIES or _format(Path(source)) == FAMILY_FORMAT:
        return load_family(source)
    return load_controls(source)


def save_any(path: str | os.PathLike[str], controls: Iterable[Steerable], *, generator_hash: str) -> None:
    """Write controls to a file of the format of their family, which must be the same for all.

    Args:
        path: The file, ending in .safetensors; an older one is replaced once the new one is whole.
        controls: The controls, with different names.
        generator_hash: `Generator.hash` of the generator that they belong to.

    Raises:
        InputError: controls of different families, or the file cannot be written.
    """
    controls = list(controls)
    if all(isinstance(control, Control) for control in controls):
        save_controls(path, cast(list[Control], controls), generator_hash=generator_hash)
    elif len({getattr(control, "family", "gradctrl") for control in controls}) == 1:
        save_family(path, cast(list[LinearControl], controls), generator_hash=generator_hash)
    else:
        raise InputError(path, "controls of different families cannot be in one file",
                         "save each family in a file of its own")


def check_generator(controls: Controls, generator_hash: str, *, what: str) -> None:
    """Refuse controls that were trained for another generator.

    Args:
        controls: Those that do not say for which generator they are pass.
        generator_hash: Of the generator that they are to be used with.
        what: What that is, for the message: "the samples of people".

    Raises:
        InputError: naming both hashes.
    """
    if controls.generator_hash not in (None, generator_hash):
        raise InputError(controls.source,
                         f"these controls were trained for generator {controls.generator_hash[:12]}, and {what} "
                         f"for generator {generator_hash[:12]}", "use controls and samples of one generator")


def _format(path: Path) -> str | None:
    """What the file says that it is; None where it cannot be read, which its reader then tells."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None
