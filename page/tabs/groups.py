"""How the sliders are grouped, and which of them do not work on every photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Expression": ("smile", "mouth", "eyes"),
    "Age": ("age",),
    "Hair": ("hair", "bangs", "bald", "beard"),
    "Glasses and hats": ("eyeglasses", "hat"),
    "Face": ("pose", "gender", "makeup"),
}
"""The bundled controls by what people look for; others come last, under their own heading."""
OTHERS = "More"
EXPERIMENTAL = frozenset({"makeup"})
"""Those that moved half of ten photos at most (docs/limits.md)."""


def grouped(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names of controls in the order of their sliders, each with the heading above it; "" where it has that already."""
    places = {name: heading for heading, members in GROUPS.items() for name in members}
    order = [name for members in GROUPS.values() for name in members if name in names]
    order += [name for name in names if name not in places]
    headings = [places.get(name, OTHERS) for name in order]
    return [(name, heading if number == 0 or headings[number - 1] != heading else "")
            for number, (name, heading) in enumerate(zip(order, headings, strict=True))]
