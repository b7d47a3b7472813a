"""The sliders of the tab Edit, one for each control, and the settings that are folded below them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from directions import METHODS, Control, Controls, Direction
from editing import Edit
from inversion import DEFAULT_PRESET
from page.state.models import OWN, EditingModels
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.groups import EXPERIMENTAL, grouped
from page.tabs.wiring import Update
from weights.errors import InputError

SLOTS = 24  # Sliders that there is room for; other controls than the page's own may have more names or fewer.
KEEP_INFO = "what is ticked stays as it is, as far as a slider can; in the beginning, all that they know to keep"


class Sliders:
    """Slots for the controls of whatever models a visitor has, empty until `show`. Build it within `gr.Blocks`."""

    def __init__(self) -> None:
        self.headings: list[gr.HTML] = []      # Above the first slider of each group.
        self.rows: list[gr.Row] = []
        self.targets: list[gr.Dropdown] = []   # Of multi-class controls: the class to go to.
        self.strengths: list[gr.Slider] = []
        for number in range(SLOTS):
            self.headings.append(gr.HTML(visible=False, elem_classes="group"))
            with gr.Row(visible=False, elem_classes="slot") as row:
                self.targets.append(gr.Dropdown([], label="", visible=False, min_width=150, scale=1))
                self.strengths.append(gr.Slider(-1, 1, 0, step=0.05, label=f"Control {number + 1}", min_width=200,
                                                scale=3))
            self.rows.append(row)
        self.more = gr.Markdown(visible=False)
        self.ends = gr.HTML(elem_id="ends")  # A style sheet: small pictures at both ends of each slider.
        with gr.Accordion("Don't change", open=False, visible=False, elem_id="keep-area") as self.keep_area:
            self.keep = gr.CheckboxGroup([], label="Don't change", show_label=False, info=KEEP_INFO, elem_id="keep")
        with gr.Accordion("Details", open=False, elem_id="advanced"):
            self.preset = gr.Radio([(text, name) for name, text in words.PRESETS.items()], value=DEFAULT_PRESET,
                                   label="How near your face shall come", elem_id="preset")
            self.method = gr.Radio([], label="Method", elem_id="method",
                                   info="how an edit finds its way, and leaves other attributes alone")
            with gr.Row():
                self.layers = gr.Textbox("", label="Layers", placeholder="own", info="START:STOP, in pixels",
                                         min_width=100, elem_id="layers")
                self.channels = gr.Number(None, label="Channels", placeholder="own", info="masked for each kept",
                                          precision=0, minimum=0, min_width=100, elem_id="channels")
                self.step = gr.Number(None, label="Step", placeholder="own", info="length in W", minimum=0,
                                      min_width=100, elem_id="step")

    @property
    def inputs(self) -> list[Any]:
        """What `read` takes the values of, in this order."""
        return [*self.settings, *self.slots.values()]

    @property
    def settings(self) -> list[Any]:
        """What is folded below the sliders."""
        return [self.keep, self.method, self.layers, self.channels, self.step]

    @property
    def slots(self) -> dict[int, gr.Slider | gr.Dropdown]:
        """The sliders and the choices of classes, by their places among `inputs`."""
        return dict(enumerate([*self.strengths, *self.targets], len(self.settings)))

    @property
    def outputs(self) -> list[Any]:
        """What `show` may change."""
        return [*self.headings, *self.rows, *self.inputs, self.more, self.keep_area]

    def read(self, models: EditingModels, values: Sequence[Any]) -> Edit:
        """The edit that the sliders and the settings ask for.

        Args:
            models: The visitor's.
            values: Of `inputs`.
        Raises:
            InputError: the layer range, the channels or the step cannot be read.
        """
        keep, method, layers, channels, step, *rest = values
        sliders, classes = rest[:SLOTS], rest[SLOTS:]
        controls, strengths = models.controls, {}
        for name, strength, target in zip(_names(controls), sliders, classes, strict=False):
            if strength:
                strengths[name if controls[name].binary else f"{name}:{target}"] = float(strength)
        keep_list: dict[str, int] | tuple[str, ...] | None = tuple(keep)
        if set(keep) == set(own_keep(models.controls_of(method))) or not keeps(models.controls_of(method)):
            keep_list = None
        masked = _channels(channels)
        if masked is not None and keeps(models.controls_of(method)):
            keep_list = dict.fromkeys(keep, masked)
        edit = Edit(strengths=strengths, keep=keep_list, layers=_layers(layers), step=_step(step),
                    method=None if method == OWN else method or None)
        edit.check()  # A browser keeps to the sliders' ends; other programs need not.
        return edit

    def show(self, models: EditingModels, edit: Edit, limits: Mapping[str, tuple[float, float]]) -> Update:
        """Updates by which the slots become a models's, and show an edit.

        Args:
            models: The visitor's.
            edit: The edit.
            limits: Of sliders that end earlier for the face at hand.
        """
        method = edit.method or OWN
        method = method if method in models.methods else OWN
        ranges = models.controls_of(method)
        update: Update = {}
        slots = grouped(list(models.controls))[:SLOTS]
        for number, (name, heading) in enumerate(slots):
            control = models.controls[name]
            safe = limits.get(name, ranges.get(name, control).limits)
            update |= self._slot(number, control, safe, edit)
            update[self.headings[number]] = gr.update(value=f"<h3>{heading}</h3>", visible=bool(heading))
        for part in (*self.rows[len(slots):], *self.headings[len(slots):]):
            update[part] = gr.update(visible=False)
        for slider in self.strengths[len(slots):]:
            update[slider] = gr.update(value=0)
        left = [name for name, _ in grouped(list(models.controls))[SLOTS:]]
        update[self.more] = gr.update(visible=bool(left), value=f"No room for: {', '.join(left)}.")
        update[self.method] = gr.update(choices=_methods(models), value=method, visible=len(models.methods) > 1)
        update |= self._keep(models, method, edit)
        update[self.layers] = gr.update(value="" if edit.layers is None else f"{edit.layers[0]}:{edit.layers[1]}")
        counts = set(edit.keep.values()) if isinstance(edit.keep, Mapping) else set()
        update[self.channels] = gr.update(value=counts.pop() if len(counts) == 1 else None)
        update[self.step] = gr.update(value=edit.step)
        return update

    def _slot(self, number: int, control: Direction, safe: tuple[float, float], edit: Edit) -> Update:
        title = words.title_of(control.name)
        key, strength = _of_control(edit, control)
        if not isinstance(control, Control) and not control.binary:
            safe = -1.0, 1.0  # Of a set of directions each has ends of its own; 1 is where each is as it should be.
        low, high = min(safe[0], strength), max(safe[1], strength)
        trial = "experimental" if control.name in EXPERIMENTAL else ""
        info = " · ".join(part for part in (words.scale_of(control) if control.binary else "", trial) if part)
        slider = gr.update(minimum=low, maximum=high, value=strength, elem_id=f"control-{control.name}",
                           elem_classes=_marks(low, high, ends=control.binary), info=info,
                           label=title if control.binary else f"{title}: how much")
        classes = [key.partition(":")[2] for key in control.keys] if not control.binary else []
        first = next((each for each in classes if each != "none"), None)  # Most faces have nothing to take off.
        target = gr.update(choices=classes, label=title, visible=not control.binary,
                           value=key.partition(":")[2] or first, elem_id=f"class-{control.name}")
        return {self.rows[number]: gr.update(visible=True), self.strengths[number]: slider,
                self.targets[number]: target}

    def narrowed(self, visitor: Visitor, models: EditingModels, name: str, limits: tuple[float, float]) -> Update:
        """A slider that ends where the face at hand bears no more, but not before where it stands."""
        place = _names(models.controls).index(name)
        number = len(self.settings) + place
        if place >= SLOTS or number >= len(visitor.values):
            return {}
        value = float(visitor.values[number] or 0.0)
        low, high = visitor.ranges[number] = min(limits[0], value), max(limits[1], value)
        return {self.strengths[place]: gr.update(minimum=low, maximum=high, elem_classes=_marks(low, high))}

    def _keep(self, models: EditingModels, method: str, edit: Edit) -> Update:
        able = keeps(models.controls_of(method))
        ticked = list(own_keep(models.controls_of(method)) if edit.keep is None else edit.keep)
        return {self.keep_area: gr.update(visible=able),
                self.keep: gr.update(choices=[(words.title_of(name), name) for name in _names(models.controls)],
                                     value=ticked if able else [])}


def keeps(controls: Controls) -> bool:
    """Whether the controls have a way to keep attributes."""
    return any(control.keep for control in controls.values() if isinstance(control, Control))


def own_keep(controls: Controls) -> tuple[str, ...]:
    """All attributes that any control's own list keeps."""
    listed = {name for control in controls.values() if isinstance(control, Control) for name in control.keep}
    return tuple(name for name in controls if name in listed)


def _methods(models: EditingModels) -> list[tuple[str, str]]:
    """The methods that there are to choose from, in words and by name."""
    title = METHODS[models.controls.method].title if models.controls.method else "each control's own"
    return [(title, OWN), *((METHODS[name].title, name) for name in models.methods[1:])]


def _of_control(edit: Edit, control: Direction) -> tuple[str, float]:
    """The name and the strength by which an edit changes an attribute; of several classes the last."""
    strengths = [(name, float(value)) for name, value in edit.strengths.items()
                 if name.partition(":")[0] == control.name]
    return strengths[-1] if strengths else ("", 0.0)


def _names(controls: Controls) -> list[str]:
    """The names of controls in the order of their sliders."""
    return [name for name, _ in grouped(list(controls))]


def _marks(low: float, high: float, *, ends: bool = True) -> list[str]:
    """The style of a slider, whose 0 is marked, in hundredths of its length, with room for pictures at its ends."""
    return ["marked", *(["ends"] if ends else []), f"zero-at-{round(100 * -low / (high - low))}"]


def _layers(text: str | None) -> tuple[int, int] | None:
    if not (text or "").strip():
        return None
    layers = re.fullmatch(r"\s*(\d+)\s*[:-]\s*(\d+)\s*", str(text))
    if not layers:
        raise InputError("Layers", f"{text!r} is no layer range", "write START:STOP, as in 8:64, or nothing")
    return int(layers[1]), int(layers[2])


def _step(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise InputError("Step", f"{value:g} is no length", "write one above 0, or nothing")
    return None if value is None else float(value)


def _channels(value: float | None) -> int | None:
    if value is not None and not value >= 0:
        raise InputError("Channels", f"{value:g} is no number of channels", "write 0 or more, or nothing")
    return None if value is None else int(value)
