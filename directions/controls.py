"""Controls by name, all for one generator."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import torch

from directions.control import Steerable
from weights.errors import InputError
from weights.fingerprint import fingerprint


class Controls(Mapping[str, Steerable]):
    """Controls by name, all for one generator.

    Attributes:
        generator_hash: The generator whose w they were trained on; None if that is not known.
        source: Where they came from, for messages.
    """

    def __init__(self, controls: Sequence[Steerable], *, generator_hash: str | None = None,
                 source: str = "controls") -> None:
        self.generator_hash = generator_hash
        self.source = source
        self._by_name = {control.name: control for control in controls}
        if len(self._by_name) != len(controls):
            raise InputError(source, "two controls have the same name",
                             f"rename one of {', '.join(control.name for control in controls)}")

    def __getitem__(self, name: str) -> Steerable:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def hash(self) -> str:
        """SHA-256 over weights and settings, by which a recipe names its controls; 64 hex digits."""
        settings = [[c.name, c.classes, c.layers, sorted(c.keep.items()), c.step, c.units, c.settings()]
                    for c in self.values()]
        weights = {f"{c.name}.{name}": tensor for c in self.values() for name, tensor in c.tensors().items()}
        return sha256(f"{fingerprint(weights)}{json.dumps(settings)}".encode()).hexdigest()

    def find(self, name: str) -> Steerable:
        """The control with this name.

        Raises:
            InputError: there is none; the message lists those that there are.
        """
        if name not in self._by_name:
            raise InputError(name, f"no such attribute in {self.source}", f"there are {', '.join(self) or 'none'}")
        return self._by_name[name]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Controls:
        return Controls([control.to(device, dtype) for control in self.values()],
                        generator_hash=self.generator_hash, source=self.source)
