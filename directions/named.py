"""Named edits: a set of directions under one prefix, and the sets that come with the program."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from directions.components import Components, load_components
from directions.control import Direction, KeepList
from directions.linear import LinearDirection
from directions.methods import SETS, MethodName
from generators import Generator
from generators.stylegan2 import layers_of_rows
from weights.errors import InputError
from weights.store import path_of

COMPONENTS, TABLE = "ganspace-components", "ganspace-edits"  # In the manifest.
GANSPACE, NAVIGAN = SETS  # The prefix of the edits of GANSpace's authors, and of the bundled directions of weights.


@dataclass(frozen=True, kw_only=True)
class DirectionSet(Direction):
    """Directions under one name, each an output with a layer range, a unit and limits of its own: "ganspace:bald".

    It is used as an attribute of several classes is, and knows no more of what it does than its names tell.
    """

    members: Mapping[str, Direction]        # By name, all found by one method.
    sha256: str                             # Of the files that it was read from, by which recipes name it.
    groups: Mapping[str, str] = field(default_factory=dict)  # Of each member, for people: "hair".

    def __post_init__(self) -> None:
        if not self.members or len({each.method for each in self.members.values()}) != 1:
            raise ValueError(f"{self.name}: a set has members, all of one method")
        put = object.__setattr__
        put(self, "units", tuple(each.units[0] for each in self.members.values()))
        put(self, "limits", (min(each.limits[0] for each in self.members.values()),
                             max(each.limits[1] for each in self.members.values())))
        super().__post_init__()

    @property
    def method(self) -> MethodName:
        return next(iter(self.members.values())).method

    @property
    def outputs(self) -> int:
        return len(self.members)

    @property
    def width(self) -> int:
        return next(iter(self.members.values())).width

    @property
    def keys(self) -> list[str]:
        return [f"{self.name}:{name}" for name in self.members]

    @property
    def binary(self) -> bool:
        return False

    def target(self, class_name: str | None) -> int:
        if class_name is None or class_name not in self.members:
            given = self.name if class_name is None else f"{self.name}:{class_name}"
            near = get_close_matches(class_name or "", self.members, cutoff=0.4) or list(self.members)[:3]
            raise InputError(given, f"no such direction; there are {self.outputs}",
                             f"use {', '.join(f'{self.name}:{each}' for each in near)} ... (`gradctrl discover edits`)")
        return list(self.members).index(class_name)

    def check(self, generator: Generator) -> None:
        for member in self.members.values():
            member.check(generator)

    def member(self, target: int) -> Direction:
        """The direction of an output."""
        return list(self.members.values())[target]

    def layers_of(self, target: int = 0) -> tuple[int, int]:
        return self.member(target).layers

    def limits_of(self, target: int = 0) -> tuple[float, float]:
        return self.member(target).limits

    def centre_of(self, target: int = 0) -> float | None:
        return self.member(target).centre_of()

    def direction(self, x: Tensor, target: int = 0, keep: KeepList = ()) -> Tensor:
        return self.member(target).direction(x)

    def tensors(self) -> dict[str, Tensor]:
        """None of its own: its members are computed from its files, and rounded otherwise on another processor."""
        return {}

    def settings(self) -> dict[str, Any]:
        return {"sha256": self.sha256}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, members={name: each.to(device, dtype) for name, each in self.members.items()})


@cache
def ganspace_components() -> Components:
    """The bundled components: 80 of StyleGAN2-FFHQ's W, in the order and with the signs that the authors published."""
    return load_components(path_of(COMPONENTS))


@cache
def ganspace_edits() -> DirectionSet:
    """The authors' named edits of faces, "bald" to "nose_length", by the prefix "ganspace".

    Their table (`weights/bundled/ganspace-edits.csv`) holds what the authors state, component, rows, sigmas and where
    they state it, and what was found by looking at them here: the sigmas of strength 1, the group, and what they do.
    """
    components, rows = ganspace_components(), read_table(path_of(TABLE))
    members: dict[str, LinearDirection] = {}
    groups: dict[str, str] = {}
    for row in rows:
        start, stop = layers_of_rows(int(row["row_start"]), int(row["row_stop"]))
        stated: dict[str, object] = {
            "stated": f"{row['sigma']} sigmas of component {row['component']}, rows {row['row_start']} to "
                      f"{row['row_stop']} ({row['source']}: {row['title']})",
            "group": row["group"], "does": row["does"]}
        made = components.direction(int(row["component"]), name=row["name"], sigmas=float(row["strength"]),
                                    layers=(int(start), int(stop)), report=stated)
        members[row["name"]] = replace(made, limits=(float(row["low"]), float(row["high"])))
        groups[row["name"]] = row["group"]
    return DirectionSet(name=GANSPACE, members=members, groups=groups, sha256=_sha256(path_of(COMPONENTS), rows))


def _sha256(components: Path, rows: Iterable[Mapping[str, str]]) -> str:
    """Of the components and of what the table says that pictures depend on; it may be worded anew."""
    numbers = [[row[key] for key in ("name", "component", "row_start", "row_stop", "strength")] for row in rows]
    return sha256(components.read_bytes() + json.dumps(numbers).encode()).hexdigest()


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of the table of named edits."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
