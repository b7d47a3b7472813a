"""The two generators, and what was found of them so far, kept in a file so that a comparison that was cut goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan2 import Generator
from weights.errors import InputError
from weights.files import read_json, replacing

FORMAT = "gradctrl-comparison-1"
Result = dict[str, Any]
OnProgress = Callable[[str, int, int], None]  # What is done now, how many of it are done, of how many.


@dataclass(frozen=True)
class Pair:
    """The generator that there is, and the one that may take its place."""

    old: Generator
    new: Generator

    def __iter__(self) -> Iterator[tuple[str, Generator]]:
        return iter((("old", self.old), ("new", self.new)))

    @property
    def side(self) -> int:
        """The larger resolution, at which pictures of both are shown and measured."""
        return max(self.old.resolution, self.new.resolution)

    def describe(self) -> Result:
        """Which generators they are, as JSON can hold it."""
        return {which: {"hash": generator.hash, "resolution": generator.resolution,
                        "numbers": sum(parameter.numel() for parameter in generator.parameters())}
                for which, generator in self}


class Record:
    """`compare.json` of a folder: the generators, and by part its settings and what was found.

    Raises:
        InputError: the folder cannot be made, or holds a comparison of other generators; the message names them.
    """

    def __init__(self, folder: Path, generators: Mapping[str, Any]) -> None:
        self.folder = folder
        self.path = folder / "compare.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror or error}); choose another --out") from error
        self._data: Result = {"format": FORMAT, "generators": dict(generators), "parts": {}}
        if self.path.is_file():
            self._data = self._read(generators)

    def _read(self, generators: Mapping[str, Any]) -> Result:
        data = read_json(self.path, remedy="delete it, or choose another --out")
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f"{self.path}: no comparison of this program; choose another --out")
        other = [which for which in generators if data["generators"][which] != generators[which]]
        if other:
            raise InputError(f"{self.folder}: holds a comparison with another {' and '.join(other)} generator "
                             f"({data['generators'][other[0]]['hash'][:12]}, not "
                             f"{generators[other[0]]['hash'][:12]}); choose another --out")
        return data

    @property
    def generators(self) -> Result:
        return self._data["generators"]

    @property
    def results(self) -> dict[str, Result]:
        """What was found, by part."""
        return {name: part["result"] for name, part in self._data["parts"].items()}

    @property
    def settings(self) -> dict[str, Result]:
        """With what it was found, by part."""
        return {name: part["settings"] for name, part in self._data["parts"].items()}

    def part(self, name: str, settings: Mapping[str, Any], make: Callable[[], Result]) -> Result:
        """What was found of a part: read, or made and kept.

        Raises:
            InputError: it was found with other settings; the message names them.
        """
        wanted = json.loads(json.dumps(dict(settings)))
        there = self._data["parts"].get(name)
        if there is None:
            result = json.loads(json.dumps(make()))
            self._data["parts"][name] = {"settings": wanted, "result": result}
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self._data, indent=2) + "\n", encoding="utf-8")
            return result
        different = sorted(key for key in {*there["settings"], *wanted}
                           if there["settings"].get(key) != wanted.get(key))
        if different:
            raise InputError(f"{self.folder}: its {name} were compared with another {' and '.join(different)} "
                             f"({there['settings'].get(different[0])}, not {wanted.get(different[0])}); give it as it "
                             "was, or choose another --out")
        return there["result"]
