"""The commands controls and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from commands.options import controls_option, open_controls

if TYPE_CHECKING:
    from directions import Direction


@click.command()
@controls_option
def attributes(controls: str) -> None:
    """List what can be changed, and what each change leaves alone.

    \b
    Example:
      gradctrl attributes
    """
    for control in open_controls(controls).values():
        meaning = control.meaning if control.binary else "one class at a time"
        low, high = control.limits
        click.echo(f"{'  '.join(control.keys)}\n    {meaning}; good from {low:g} to {high:g}; layers "
                   f"{control.layers[0]}:{control.layers[1]}\n    keeps: {control.kept}")
    click.echo("\nUse them as in: gradctrl edit me.jpg --set NAME=1", err=True)


WIDTH = 17  # Of the names of what is told.
HANDLED = ("trained on", "scorer", "samples", "held out", "outputs")  # Of a report; the rest is told as it stands.


@click.group("controls")
def controls_group() -> None:
    """Look into files of controls.

    \b
    Example:
      gradctrl controls show mine.safetensors
    """


@controls_group.command("show")
@click.argument("source", metavar="FILE|NAME")
def show_controls(source: str) -> None:
    """Show what a file of controls holds: how each was trained and tuned, and how well it does.

    FILE is a file of `gradctrl train` or `gradctrl tune`, or a folder as GradCtrl's authors publish them; NAME is
    bundled, paper, interfacegan, ganspace, stylespace, or a name of `gradctrl weights list`.

    \b
    Example:
      gradctrl controls show bundled
      gradctrl controls show mine.safetensors
    """
    controls = open_controls(source)
    space = controls.spaces.get("w") or controls.spaces.get("styles")
    click.echo(f"space {space.short if space else 'unknown'}")
    click.echo(f"controls {controls.hash}")
    for control in controls.values():
        click.echo(f"\n{control.name}: {control.meaning}")
        for name, text in [*_training(control), *_settings(control), *_rest(control)]:
            click.echo(f"    {name:{WIDTH}} {text}")


def _training(control: Direction) -> Iterator[tuple[str, str]]:
    """What it was taught with, and how well it tells the classes."""
    report = control.report
    for key in ("trained on", "scorer"):
        if key in report:
            yield key, str(report[key])
    samples = report.get("samples")
    if isinstance(samples, Mapping):
        yield "bank", (f"{samples.get('count')} samples, seeds from {samples.get('seed')}, truncation "
                       f"{samples.get('truncation')}, generator {str(samples.get('generator_hash'))[:12]}")
    elif samples is not None:
        yield "samples", str(samples)
    held_out: Any = report.get("held out")
    if isinstance(held_out, Mapping):
        yield "held out", _flat({key: value for key, value in held_out.items() if key != "confusion"})
        classes = getattr(control, "classes", ())
        for name, row in zip(classes, held_out.get("confusion", ()), strict=False):
            yield f"  {name} is taken", ", ".join(f"for {other} {share:.0%}"
                                                  for other, share in zip(classes, row, strict=False))


def _settings(control: Direction) -> Iterator[tuple[str, str]]:
    """How it is used."""
    yield "method", control.method
    if "keeping" in control.settings():
        yield "keeps others by", control.settings()["keeping"]
    yield "layers", f"{control.layers[0]}:{control.layers[1]}"
    yield "keeps", control.kept
    yield "step", f"{control.step:g}"
    units = [f"{unit:.4g}" for unit in control.units]
    yield "strength 1", units[0] if control.binary else _of_classes(control, units)
    margins = getattr(control, "margins", ())
    yield "margins", _of_classes(control, [f"{margin:g}" for margin in margins]) if margins else "0"
    yield "safe range", f"{control.limits[0]:g} to {control.limits[1]:g}"


def _rest(control: Direction) -> Iterator[tuple[str, str]]:
    """What else the report says: what was found by tuning, and measured."""
    outputs: Any = control.report.get("outputs")
    if isinstance(outputs, Sequence) and not isinstance(outputs, str):
        for output in outputs:
            yield "direction", _flat(output) if isinstance(output, Mapping) else str(output)
    for key, value in control.report.items():
        if key in HANDLED:
            continue
        if not isinstance(value, Mapping):
            yield key, _short(value)
            continue
        groups = {name: item for name, item in value.items() if isinstance(item, Mapping)}
        yield key, _flat({name: item for name, item in value.items() if name not in groups})
        for name, group in groups.items():
            yield f"  {name}", _flat(group)


def _of_classes(control: Direction, values: Sequence[str]) -> str:
    classes = getattr(control, "classes", ("",) * len(values))
    return ", ".join(f"{name} {value}" for name, value in zip(classes, values, strict=True))


def _flat(values: Mapping[str, Any]) -> str:
    """name value, name value; groups in brackets."""
    return ", ".join(f"{key} ({_flat(value)})" if isinstance(value, Mapping) else f"{key} {_short(value)}"
                     for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return _flat(value) if isinstance(value, Mapping) else str(value)
