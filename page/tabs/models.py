"""The tab Models: which generator and which controls one edits with, and others to choose, load or fetch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import gradio as gr

from directions import Control, Direction
from generators import Generator, class_names
from page.jobs.library import DEFORMATIONS, GENERATORS, ModelLibrary
from page.jobs.services import Services
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.wiring import EDITS, HIDDEN, PRIVATE, QUICK, Update, shown_errors
from weights.errors import InputError
from weights.manifest import entries

CLOSED = ("<p class='numbers'>Files of one's own cannot be loaded on this page, since others use it too. Start the "
          "program yourself for that, or let its owner start it with <code>--own-models</code>.</p>")
BESIDE, ALONE = "beside those that are there", "in place of those that are there"


class ModelsTab:
    """Its components and handlers. Build it within `gr.Tab`.

    Args:
        services: Shared by all visitors.
        visitor: The visitor's state.
    Attributes:
        changed: Events after which the visitor may have another models.
    """

    def __init__(self, services: Services, visitor: gr.State) -> None:
        self.services, self.visitor, self.library = services, visitor, ModelLibrary(services)
        self.notice = gr.HTML("", elem_id="models-notice", elem_classes="notice")
        gr.Markdown("What draws the faces (the *generator*), and what moves them: each *control* is one slider of the "
                    "tab Edit.")
        self.card = gr.HTML(elem_id="models-card")
        with gr.Row(visible=False) as self.classes:
            self.class_name = gr.Dropdown([], label="Class", info="which one to draw: type a part of its name, or its "
                                          "number from 0", allow_custom_value=True, elem_id="models-class")
            self.draw_class = gr.Button("Draw this class", elem_id="models-draw-class")
        if not services.own_models:
            gr.HTML(CLOSED)
        with gr.Accordion("Another generator", open=False, visible=services.own_models, elem_id="models-generators"):
            self.known = gr.Radio([], label="Known generators", elem_id="models-known")
            with gr.Row():
                self.use = gr.Button("Use it", variant="primary", elem_id="models-use")
                self.get = gr.Button("Fetch it", elem_id="models-fetch")
            self.fetching = gr.HTML(elem_id="models-fetching")
            self.file = gr.File(label="Or a generator of your own (.safetensors, or a .pkl, .pt, .pth or "
                                      ".bin as its authors publish it, of which nothing is run)",
                                file_types=list(GENERATORS), elem_id="models-file", height=120)
        with gr.Accordion("More controls", open=True, elem_id="models-controls"):
            self.how = gr.Radio([BESIDE, ALONE], value=BESIDE, label="Load them", elem_id="models-how")
            self.controls = gr.File(label="Control file (.safetensors), as the tab Teach or the command line writes it",
                                    file_types=[".safetensors"], elem_id="models-control-file", height=120)
            self.named = gr.Button("Add GANSpace's named edits: one slider, 85 things to choose",
                                   elem_id="models-named")
            self.deformed = gr.Button("Add directions of the generator's weights (NaviGAN): one slider more",
                                      elem_id="models-deformed")
        self.restore = gr.Button("Back to the page's own generator and controls", elem_id="models-restore")
        self._wire()

    def _wire(self) -> None:
        shown = [self.visitor, self.notice, *self.outputs]
        one: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "models", **PRIVATE}
        self.get.click(self.on_fetch, [self.visitor, self.known], [self.notice, self.fetching, self.known],
                       **HIDDEN, **one)
        self.changed = [
            self.use.click(self.on_use, [self.visitor, self.known], shown, **one),
            self.draw_class.click(self.on_class, [self.visitor, self.class_name], shown, **one),
            self.file.upload(self.on_file, [self.visitor, self.file], [*shown, self.file], preprocess=False, **one),
            self.controls.upload(self.on_controls, [self.visitor, self.controls, self.how], [*shown, self.controls],
                                 preprocess=False, **EDITS),
            self.named.click(self.on_named, self.visitor, shown, **EDITS),
            self.deformed.click(self.on_deformed, self.visitor, shown, **EDITS),
            self.restore.click(self.on_restore, self.visitor, shown, **QUICK)]

    @property
    def outputs(self) -> list[Any]:
        """What `show` may change."""
        return [self.card, self.known, self.classes, self.class_name]

    def show(self, visitor: Visitor) -> Update:
        """What the visitor edits with, and what there is."""
        choices = [(f"{status.entry.name}: {status.entry.what} ({_state(status.present, status.entry.size)})",
                    status.entry.name) for status in self.library.known()]
        classes: list[tuple[str, str]] = []
        try:
            models = self.services.models_of(visitor)
            card, classes = card_of(models), _classes_of(models.generator)
        except InputError as error:
            card = words.problem(str(error))
        return {self.card: card, self.known: gr.update(choices=choices), self.classes: gr.update(visible=bool(classes)),
                self.class_name: _class_list(classes)}

    @shown_errors
    def on_show(self, visitor: Visitor) -> Update:
        return self.show(visitor)

    @shown_errors
    def on_use(self, visitor: Visitor, name: str | None) -> Update:
        self._check_open()
        if not name:
            raise InputError(None, "choose one of the known generators first")
        visitor.own_models = self.library.models(name)
        return {self.visitor: visitor, **self.show(visitor)}

    @shown_errors
    def on_class(self, visitor: Visitor, named: str | None) -> Update:
        """Another class of the generator that is there, by number or, typed without choosing, by name."""
        if not named:
            raise InputError(None, "choose a class first")
        visitor.own_models = self.library.of_class(self.services.models_of(visitor), named)
        return {self.visitor: visitor, **self.show(visitor)}

    @shown_errors
    def on_file(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        self._check_open()
        path, name = _uploaded(file)
        try:
            visitor.own_models = self.library.own(path, name, visitor.folder)
        except InputError as error:
            return {self.notice: words.problem(str(error)), self.file: None}
        finally:
            files.discard_upload(path)
        return {self.visitor: visitor, self.file: None, **self.show(visitor)}

    @shown_errors
    def on_controls(self, visitor: Visitor, file: dict[str, Any] | None, how: str) -> Update:
        path, name = _uploaded(file)
        models = self.services.models_of(visitor)
        try:
            visitor.own_models = self.library.with_file(models, path, name, alone=how == ALONE)
        except InputError as error:
            return {self.notice: words.problem(str(error)), self.controls: None}
        finally:
            files.discard_upload(path)
        return {self.visitor: visitor, self.controls: None, **self.show(visitor)}

    @shown_errors
    def on_named(self, visitor: Visitor) -> Update:
        """The edits that GANSpace's authors named, beside the controls that are there."""
        visitor.own_models = self.library.with_named_edits(self.services.models_of(visitor))
        return {self.visitor: visitor, **self.show(visitor)}

    @shown_errors
    def on_deformed(self, visitor: Visitor) -> Update:
        """Directions of the generator's weights, beside the controls that are there."""
        visitor.own_models = self.library.with_named_edits(self.services.models_of(visitor), DEFORMATIONS)
        return {self.visitor: visitor, **self.show(visitor)}

    @shown_errors
    def on_restore(self, visitor: Visitor) -> Update:
        visitor.own_models = None
        return {self.visitor: visitor, **self.show(visitor)}

    def on_fetch(self, visitor: Visitor, name: str | None) -> Iterator[Update]:
        """Fetch a known generator, with a progress bar."""
        try:
            self._check_open()
            if not name:
                raise InputError(None, "choose one of the known generators first")
            yield {self.notice: "", self.fetching: _bar(name, 0, 0)}
            for done, total in self.library.fetch(name):
                yield {self.fetching: _bar(name, done, total)}
            yield {self.fetching: f"<p class='numbers' role='status'>{escape(name)} is here; use it.</p>",
                   self.known: self.show(visitor)[self.known]}
        except InputError as error:
            yield {self.fetching: "", self.notice: words.problem(str(error))}

    def _check_open(self) -> None:
        if not self.services.own_models:  # The buttons are hidden then, but a request can be made without them.
            raise InputError(None, "other generators cannot be loaded on this page, since others use it too")


def card_of(models: EditingModels) -> str:
    """The generator and the controls of a models, as HTML.

    Raises:
        InputError: the generator cannot be loaded.
    """
    generator = models.generator
    known = [entry for entry in entries().values() if entry.name == models.title]
    about = (f"{known[0].what}. Licence: {known[0].licence}." if known else
             "A file of your own: its licence is its author's.")
    rows = "".join(_row(control) for control in models.controls.values())
    table = ("<table class='effect card'><thead><tr><th>Control</th><th>Classes</th><th>Trained on</th><th>Right</th>"
             f"<th>Safe</th><th>Keeps</th></tr></thead><tbody>{rows}</tbody></table>" if rows else
             "<p class='numbers'>There are no controls for it yet: teach one in the tab Teach, or load a file.</p>")
    licences = {entry.licence for entry in entries().values() if entry.file == models.controls.source}
    licence = f"<p class='numbers'>Licence of the controls: {escape(licences.pop())}.</p>" if licences else ""
    side = generator.img_resolution
    names = ", ".join(words.title_of(name) for name in models.controls)
    return (f"<h3>{escape(models.title)}</h3><p>{escape(about)} {_of_what(generator)} of {side} x {side} "
            "pixels.</p>"
            f"<p>Sliders: {escape(names) or 'none yet'}.</p><details><summary>Details</summary>"
            f"<p>{generator.num_ws} layers, hash <code>{generator.hash[:12]}</code>, on "
            f"{escape(generator.device.type.upper())}.</p>{table}{licence}</details>")


def _of_what(generator: Generator) -> str:
    """What pictures are of, with the class that is drawn; and what cannot be done."""
    if generator.class_index is None:
        return "Pictures"
    cannot = f"Photos cannot be inverted: {generator.no_photos}. " if generator.no_photos else ""
    name, _ = _classes_of(generator)[generator.class_index]
    return f"{cannot}Class {escape(name)} of {generator.c_dim}; pictures"


def _class_list(classes: list[tuple[str, str]]) -> Any:
    """The list with these classes and nothing in its field, where it would have to be deleted before one types.

    A list that is hidden keeps its own: Gradio's stumbles over a choice that is gone.
    """
    return gr.update(choices=classes, value=None) if classes else gr.update(value=None)


def _classes_of(generator: Generator) -> list[tuple[str, str]]:
    """What a list of a generator's classes shows, and the number of each as text; none where it draws one alone."""
    names = class_names(generator)
    return [(f"{number} ({names[number]})" if names else str(number), str(number)) for number in range(generator.c_dim)]


def _row(control: Direction) -> str:
    held_out = control.report.get("held out")
    accuracy = f"{held_out['balanced accuracy']:.0%} of {held_out['samples']}" if isinstance(
        held_out, Mapping) and "balanced accuracy" in held_out else "not measured"
    trained = str(control.report.get("trained on", "not told"))
    classes = ", ".join(control.classes) if isinstance(control, Control) else control.meaning
    cells = (classes, trained, accuracy, f"{control.limits[0]:g} to {control.limits[1]:g}",
             control.kept)
    return (f"<tr><th scope='row'>{escape(words.title_of(control.name))}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")


def _state(present: bool, size: int) -> str:
    return "here" if present else f"to fetch, {size / 1e6:.0f} MB" if size else "to fetch"


def _bar(name: str, done: int, total: int) -> str:
    value = f"max='{total}' value='{done}' " if total else ""
    of = f" of {total / 1e6:.0f}" if total else ""
    return (f"<div class='running' role='status'><progress {value}aria-label='Fetching'></progress>"
            f"<span>{escape(name)}: {done / 1e6:.0f}{of} MB</span></div>")


def _uploaded(file: dict[str, Any] | None) -> tuple[str, str]:
    """Path and own name of an uploaded file."""
    if not file or not file.get("path"):
        raise InputError(None, "no file arrived", "choose it again")
    return str(file["path"]), str(file.get("orig_name") or "file")


