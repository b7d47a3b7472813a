"""Public names of a package, each loaded when it is first used, so that importing the package stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a module-level `__getattr__` (PEP 562) for a package.

    Args:
        package: The package's `__name__`.
        homes: For each public name, the submodule that defines it.

    Raises:
        ValueError: a name is also that of a submodule, which importing that submodule would put in its place.
    """
    clash = set(homes) & set(homes.values())
    if clash:
        raise ValueError(f"{package}: {sorted(clash)} are names of submodules too; rename the submodules")

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load
