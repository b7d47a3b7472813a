"""A training run on disk: one safetensors file, with numbers as tensors and everything else as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from weights.errors import InputError
from weights.files import replacing
from weights.training.gan.settings import Settings, from_json

FORMAT = "gradctrl-training"
REMEDY = "begin the run anew in another folder"


@dataclass
class Saved:
    """What a checkpoint holds.

    Attributes:
        settings: What the run was begun with.
        tensors: Weights by name, "generator.", "discriminator." and "average." before it; means of squares of both
            optimisers, "generator-adam." and "discriminator-adam."; "p", "signs" and, once there is one, "path_mean".
        counters: Steps, pictures and so on, all int or float.
        pictures: Hash of the pictures.
    """

    settings: Settings
    tensors: dict[str, Tensor]
    counters: dict[str, float]
    pictures: str = ""

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors whose name begins with `name` and a point, without that."""
        return {key[len(name) + 1:]: value for key, value in self.tensors.items() if key.startswith(f"{name}.")}


def write_state(path: str | os.PathLike[str], saved: Saved) -> None:
    """Write a checkpoint; one that was there stays until the new one is complete.

    Raises:
        InputError: it cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in saved.tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, **describe(saved)})
        with open(temporary, "rb+") as file:  # On the disk before it takes the place of the last one.
            os.fsync(file.fileno())


def describe(saved: Saved) -> dict[str, str]:
    """All of it but the tensors, as metadata."""
    return {"settings": saved.settings.to_json(), "counters": json.dumps(saved.counters), "pictures": saved.pictures}


def read_state(path: str | os.PathLike[str]) -> Saved:
    """Read a checkpoint, on the CPU.

    Raises:
        InputError: no such file, damaged, or no checkpoint of this version.
    """
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable as a checkpoint ({error}); {REMEDY}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of a training run; {REMEDY}")
    return understand(path, metadata, tensors)


def understand(path: Path, metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> Saved:
    """Put together what `describe` and the tensors say.

    Raises:
        InputError: not of this version; names the file.
    """
    try:
        counters = json.loads(metadata["counters"])
        if not all(isinstance(value, (int, float)) for value in counters.values()):
            raise ValueError("its counters are no numbers")
        return Saved(from_json(metadata["settings"]), tensors, counters, metadata["pictures"])
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a checkpoint of this version ({error}); {REMEDY}") from error


def adam_squares(optimiser: torch.optim.Adam, module: nn.Module) -> dict[str, Tensor]:
    """The running means of squared gradients, by the parameters' names; without those that have no gradient yet.

    That is all that Adam remembers besides its count of steps: with beta1 = 0, the mean of gradients is the last one.
    """
    states = optimiser.state
    return {name: states[weight]["exp_avg_sq"] for name, weight in module.named_parameters() if weight in states}


def restore_adam(optimiser: torch.optim.Adam, module: nn.Module, squares: Mapping[str, Tensor], steps: float) -> None:
    """Put back what `adam_squares` gave, as after so many steps; without squares, the optimiser begins anew."""
    for name, weight in module.named_parameters():
        if name in squares:
            optimiser.state[weight] = {
                "step": torch.tensor(float(steps)), "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight).copy_(squares[name])}


def load_into(path: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a module's weights, all of them.

    Raises:
        InputError: one is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: does not fit its own settings ({first}); {REMEDY}") from error
