"""Directions and controls by name, all for generators of one space."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType

import torch

from directions.control import Control, Direction
from directions.methods import MethodName
from generators import Generator, Space
from generators.spaces import in_words
from weights.errors import InputError
from weights.fingerprint import fingerprint

Spaces = Mapping[str, Space]  # By what is moved: "w", "styles".
Sets = Mapping[str, "Callable[[], Controls]"]  # Of directions, by their prefix: "ganspace" of "ganspace:bald".


class Controls(Mapping[str, Direction]):
    """Directions and controls by name, all for generators of one space.

    Attributes:
        spaces: What they were found for, by what they move; empty where that is not known.
        source: Where they came from, for messages.
        sets: What else edits may name, though it is not listed: sets of directions, read when they are first named.
    """

    def __init__(self, controls: Sequence[Direction], *, spaces: Spaces = MappingProxyType({}),
                 source: str = "controls", sets: Sets = MappingProxyType({})) -> None:
        self.spaces = spaces
        self.source = source
        self.sets = sets
        self._by_name = {control.name: control for control in controls}
        if len(self._by_name) != len(controls):
            raise InputError(source, "two controls have the same name",
                             f"rename one of {', '.join(control.name for control in controls)}")

    def __getitem__(self, name: str) -> Direction:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @cached_property
    def method(self) -> MethodName | None:
        """The method by which all of them were found; None: not by the same one, or there are none."""
        methods = {control.method for control in self.values()}
        return methods.pop() if len(methods) == 1 else None

    @cached_property
    def hash(self) -> str:
        """SHA-256 over weights and settings, by which a recipe names its controls; 64 hex digits."""
        settings = [[c.name, getattr(c, "classes", ()), c.layers, sorted(getattr(c, "keep", {}).items()), c.step,
                     c.units, c.method, c.settings()] for c in self.values()]
        weights = {f"{c.name}.{name}": tensor for c in self.values() for name, tensor in c.tensors().items()}
        return sha256(f"{fingerprint(weights)}{json.dumps(settings)}".encode()).hexdigest()

    def find(self, name: str) -> Direction:
        """The control with this name, or the set of directions.

        Raises:
            InputError: there is none; the message lists those that there are. Or the set is for another space.
        """
        if name not in self._by_name and name in self.sets:
            return self._set(name)[name]
        if name not in self._by_name:
            raise InputError(name, f"no such attribute in {self.source}", f"there are {', '.join(self) or 'none'}")
        return self._by_name[name]

    def output_of(self, name: str) -> tuple[Direction, int]:
        """The direction that "smile", "hair:blond" or "ganspace:bald" names, and which of its outputs.

        Raises:
            InputError: there is none.
        """
        attribute, _, class_name = name.partition(":")
        direction = self.find(attribute)
        return direction, direction.target(class_name or None)

    def sets_of(self, names: Iterable[str]) -> dict[str, Controls]:
        """The sets that some names of strengths are of, by prefix: "ganspace" of "ganspace:bald".

        Raises:
            InputError: one is for another space.
        """
        prefixes = {name.partition(":")[0] for name in names}
        return {name: self._set(name) for name in sorted(prefixes & self.sets.keys()) if name not in self}

    def _set(self, name: str) -> Controls:
        """One of the sets, for the space that these controls are for."""
        found = self.sets[name]()
        widths = {each.width for each in self.values() if each.moves == "w" == found[name].moves}
        if not self.matches(found) or widths - {found[name].width}:
            raise InputError(name, f"is for another generator than {self.source}",
                             "load the bundled generator, or one with its W")
        return found

    def control(self, name: str) -> Control:
        """The control with this name: a direction that knows classes and a score.

        Raises:
            InputError: there is none, or it is a direction that nobody labelled.
        """
        control = self.find(name)
        if not isinstance(control, Control):
            raise InputError(name, f"is a direction without classes in {self.source}", "name a control")
        return control

    def check(self, generator: Generator) -> None:
        """Refuse a generator of another space.

        Raises:
            InputError: the message names both.
        """
        for kind in sorted({control.moves for control in self.values()} & self.spaces.keys()):
            own, other = self.spaces[kind], generator.space_of(kind)
            if not own.matches(other):
                raise InputError(self.source, f"these controls are for the space {in_words(own.short)}, and the loaded "
                                 f"generator has {other.short}",
                                 f"{generator.to_that_space}, or train controls for this")
        for control in self.values():
            control.check(generator)
            width = control.width if control.moves == "weights" else generator.space_of(control.moves).width
            if control.width != width:
                raise InputError(self.source, f"the control {control.name} moves {control.moves} of {control.width} "
                                 f"numbers, and the generator has {width}", "train controls for this generator")
            for target in range(control.outputs):
                generator.rows(control.layers_of(target))

    def matches(self, other: Controls) -> bool:
        """Whether both are for one space, as far as is known."""
        return all(self.spaces[kind].matches(other.spaces[kind]) for kind in self.spaces.keys() & other.spaces.keys())

    def replaced(self, control: Direction) -> Controls:
        """The same, with one of them replaced by another of its name, or added."""
        return Controls([*{**self._by_name, control.name: control}.values()], spaces=self.spaces, source=self.source,
                        sets=self.sets)

    def joined(self, other: Controls) -> Controls:
        """These and others of the same space.

        Raises:
            InputError: they are for another space, or two have one name.
        """
        if not self.matches(other):
            raise InputError(other.source, f"is for another space than {self.source}", "give controls of one space")
        return Controls([*self.values(), *other.values()], spaces={**other.spaces, **self.spaces},
                        source=f"{self.source}+{other.source}", sets={**other.sets, **self.sets})

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Controls:
        """The same on another device, in another precision."""
        def moved(read: Callable[[], Controls]) -> Callable[[], Controls]:
            return lambda: read().to(device, dtype)

        return Controls([control.to(device, dtype) for control in self.values()], spaces=self.spaces,
                        source=self.source, sets={name: moved(read) for name, read in self.sets.items()})
