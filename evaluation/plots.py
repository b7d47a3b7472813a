"""The figures of an evaluation, with matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.evaluation import Results
from evaluation.tables import Row, ablation_rows, dependency_rows, scatter_rows
from learning.contenders import TITLES
from weights.errors import InputError
from weights.files import replacing

AXES = {"masks": "kept attributes", "channels": "channels masked for each attribute",
        "examples": "training examples a class"}
COLOURS = {"gradctrl": "C3", "paper": "C1", "interfacegan": "C0", "ganspace": "C2", "stylespace": "C4"}
OTHERS = ("C5", "C6", "C7", "C8", "C9")  # Of what was given under names of its own.


def plot_dependency(results: Results, path: Path) -> None:
    """Attribute dependency by the change of the target (figure 7a)."""
    def draw(axes: Any) -> None:
        rows = dependency_rows(results)[1:]
        for method in results.dependencies:
            points = [(row[1], row[2]) for row in rows if row[0] == method and row[3]]
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", **_look(results, method))
        axes.set(xlabel="change of the target (deviations)", ylabel="mean change of the others (deviations)", ylim=0)
        axes.figure.legend(loc="outside right upper", fontsize="small")

    _figure(path, draw)


def plot_scatter(results: Results, target: str, other: str, path: Path) -> None:
    """What edits of one attribute do to another (figure 7b)."""
    def draw(axes: Any) -> None:
        rows = scatter_rows(results, target, other)[1:]
        for method in results.dependencies:
            points = [(row[1], row[2]) for row in rows if row[0] == method]
            axes.scatter([x for x, _ in points], [y for _, y in points], 6, alpha=0.5,
                         **_look(results, method))
        axes.axhline(0, color="0.7", linewidth=0.8)
        axes.set(xlabel=f"change of {target} (deviations)", ylabel=f"change of {other} (deviations)")
        axes.figure.legend(loc="outside right upper", fontsize="small")

    _figure(path, draw)


def plot_ablation(results: Results, figure: str, path: Path) -> None:
    """Manipulation accuracy along one ablation (figures 8a, 8c, and training examples)."""
    def draw(axes: Any) -> None:
        rows = [row for row in ablation_rows(results)[1:] if row[0] == figure and row[3]]
        values = list(dict.fromkeys(str(row[2]) for row in rows))
        for method in dict.fromkeys(str(row[1]) for row in rows):
            own = [row for row in rows if row[1] == method]
            axes.plot([values.index(str(row[2])) for row in own], [_number(row, 4) for row in own], "o-",
                      color=COLOURS[method], label=f"{TITLES[method]}: accuracy")
            axes.plot([values.index(str(row[2])) for row in own], [_number(row, 6) for row in own], "o:",
                      color=COLOURS[method], label=f"{TITLES[method]}: others stayed")
        axes.set(xlabel=AXES[figure], ylabel="share of edits", ylim=(0, 1.02), xticks=range(len(values)))
        axes.set_xticklabels(values)
        axes.legend(fontsize="small")

    _figure(path, draw)


def _look(results: Results, method: str) -> dict[str, str]:
    others = [name for name in results.controls if name not in COLOURS]
    colour = COLOURS.get(method) or OTHERS[others.index(method) % len(OTHERS)]
    return {"color": colour, "label": TITLES.get(method, method)}


def _number(row: Row, place: int) -> float:
    return float(row[place])  # type: ignore[arg-type]


def _figure(path: Path, draw: Callable[[Any], None]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(None, "plots need matplotlib", "install it with: pip install 'gradctrl[evaluate]'") from error
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    draw(figure.subplots())
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
