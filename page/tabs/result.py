"""The picture of the tab Edit: before and after, what the edit did in numbers, and what is done with it."""

from __future__ import annotations

import base64
import io
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from PIL import Image

from page.state import files
from page.state.visitor import Visitor
from page.tabs.wiring import Update

EMPTY = ("<div class='empty'>The face and its edits appear here.<br>Begin with a photo, one of the examples, or let "
         "yourself be surprised.</div>")
FORGOTTEN = "<div class='empty' role='status'>Forgotten: your photo, your faces and all results are deleted.</div>"
BEFORE, INVERSION, PINNED = "before", "inversion", "pinned"  # What an edit is compared with.
PREVIEW_QUALITY = 85  # Of 100: JPEG takes colour at half its resolution, and is followed by the picture in full.
GAP = 8  # Pixels between two pictures side by side.


class ResultSide:
    """Its components, and what they show. Build it within `gr.Blocks`."""

    def __init__(self) -> None:
        self.empty = gr.HTML(EMPTY)
        with gr.Column(visible=False, elem_id="result-area") as self.area:
            self.result = gr.ImageSlider(label="Before | after", interactive=False, elem_id="result",
                                         height="min(560px, 56vh, 92vw)", buttons=["fullscreen"])
            self.pair = gr.Image(label="Before, and after", interactive=False, visible=False, elem_id="pair",
                                 height="min(560px, 56vh, 92vw)", buttons=["fullscreen"], format="jpeg")
        self.status = gr.HTML(elem_id="status")
        with gr.Column(visible=False, elem_id="tools") as self.tools:
            with gr.Row(elem_id="toolbar"):
                self.undo = gr.Button("↶ Undo", interactive=False, size="sm", min_width=80, elem_id="undo")
                self.redo = gr.Button("↷ Redo", interactive=False, size="sm", min_width=80, elem_id="redo")
                self.reset = gr.Button("Reset", size="sm", min_width=80, elem_id="reset")
                self.pin = gr.Button("Pin to compare", size="sm", min_width=120, elem_id="pin")
                self.download = gr.Button("Download picture", variant="primary", size="sm", min_width=160,
                                          elem_id="save-picture")
            self.effect = gr.HTML(elem_id="effect")
            with gr.Accordion("How it is shown", open=False, elem_id="view"):
                self.pasted = gr.Checkbox(False, label="Put back into the photo", elem_id="pasted")
                self.compare = gr.Radio([("the photo", BEFORE)], value=BEFORE, label="Compare the edit with",
                                        elem_id="compare")
                self.beside = gr.Checkbox(False, label="Side by side, in place of one over the other",
                                          elem_id="beside")

    def moving(self, visitor: Visitor, before: np.ndarray, after: np.ndarray, *, beside: bool) -> Update:
        """As `pictures` while a slider moves, for an event with `postprocess=False`.

        Values alone: for each update of another kind, and for each component that is left out, Gradio builds the
        component anew. Which of the two components is in sight has been said before, by `pictures`.
        """
        if beside:
            return {self.result: None, self.pair: _embedded(_joined(before, after))}
        before_file = _served(files.for_browser(before, visitor.folder))
        return {self.result: [before_file, _embedded(after)], self.pair: None}

    @property
    def view(self) -> list[Any]:
        """What decides how a picture is shown: `compare`, `pasted`, `beside`."""
        return [self.compare, self.pasted, self.beside]

    @property
    def outputs(self) -> list[Any]:
        """What may change when there is another subject."""
        return [self.empty, self.area, self.result, self.pair, self.status, self.tools, *self.history, self.effect,
                *self.view]

    @property
    def history(self) -> list[Any]:
        """The buttons that can be pressed at some times only."""
        return [self.undo, self.redo]

    def pictures(self, visitor: Visitor, before: np.ndarray, after: np.ndarray, *, beside: bool) -> Update:
        """Two pictures, one over the other or side by side."""
        if not beside:
            pair = files.for_browser(before, visitor.folder), files.for_browser(after, visitor.folder)
            return {self.result: gr.update(value=pair, visible=True), self.pair: gr.update(visible=False)}
        path = files.for_browser(_joined(before, after), visitor.folder)
        return {self.result: gr.update(visible=False), self.pair: gr.update(value=path, visible=True)}

    def buttons(self, visitor: Visitor) -> Update:
        """Undo and redo as they can be pressed now."""
        return {self.undo: gr.update(interactive=visitor.history.can_undo),
                self.redo: gr.update(interactive=visitor.history.can_redo)}

    def choices(self, visitor: Visitor, compare: str, *, pasted: bool) -> Update:
        """What the edit can be compared with now."""
        subject = visitor.subject
        of_photo = subject is not None and subject.inversion is not None
        choices = [("the photo" if pasted else "the crop" if of_photo else "the face unedited", BEFORE)]
        if of_photo and not pasted:
            choices.append(("the inversion", INVERSION))
        if visitor.pinned is not None:
            choices.append(("the pinned edit", PINNED))
        known = compare in [value for _, value in choices]
        return {self.compare: gr.update(choices=choices, value=compare if known else BEFORE)}


def _joined(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    gap = np.full((before.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([before, gap, after], axis=1)


def _embedded(picture: np.ndarray) -> dict[str, Any]:
    """A picture as Gradio gives files to the browser, within the message: nothing is written, and nothing is fetched.

    For an event with `postprocess=False`.
    """
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=PREVIEW_QUALITY)
    return {"url": "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()}


def _served(path: str) -> dict[str, Any]:
    """A file of `files.for_browser` as Gradio gives it to the browser, for an event with `postprocess=False`."""
    return FileData(path=path).model_dump()
