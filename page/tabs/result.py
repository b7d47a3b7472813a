"""The picture of the tab Edit: after and before, what the edit did in words, and what is done with it."""

from __future__ import annotations

import base64
import io
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from PIL import Image

from page.jobs.views import VIEW_SIDE, around, scaled
from page.state import files
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.wiring import Update

EMPTY = ("<div class='empty'>The face and its edits appear here.<br>Begin with a photo, one of the examples, or let "
         "yourself be surprised.</div>")
EMPTY_SAMPLE = "<div class='empty'>The picture and its edits appear here.<br>Begin with a sample.</div>"
CHOOSE_FACE = "<div class='empty'>Choose one of the faces in your photo.</div>"
FORGOTTEN = "<div class='empty' role='status'>Forgotten: your photo, your faces and all results are deleted.</div>"
BEFORE, INVERSION, PINNED = "before", "inversion", "pinned "  # What an edit is compared with; pins have a number.
WHOLE, SPLIT, BESIDE, STRIP, FILM = "whole", "split", "beside", "strip", "film"  # How it is looked at.
LOOKS = (("After", WHOLE), ("Split", SPLIT), ("Side by side", BESIDE), ("Strip", STRIP), ("Film", FILM))
HEIGHT = "min(600px, 60vh, 92vw)"
PREVIEW_QUALITY = 85  # Of 100: JPEG takes colour at half its resolution, and is followed by the picture in full.
GAP = 8  # Pixels between two pictures side by side.
MOST_PINS = 4


class ResultSide:
    """Its components, and what they show. Build it within `gr.Blocks`."""

    def __init__(self) -> None:
        self.empty = gr.HTML(EMPTY)
        self.veil = gr.HTML(visible=False, elem_id="veil")
        with gr.Column(visible=False, elem_id="result-area") as self.area:
            with gr.Column(elem_id="whole") as self.whole:
                self.after = gr.Image(label="After", show_label=False, interactive=False, elem_id="after",
                                      height=HEIGHT, buttons=[], format="jpeg", alt_text="The face after the edit")
                self.before = gr.Image(label="Before", show_label=False, interactive=False, elem_id="before",
                                       height=HEIGHT, buttons=[], format="jpeg", alt_text="The face before the edit")
            self.split = gr.ImageSlider(label="Before | after", interactive=False, elem_id="result", visible=False,
                                        height=HEIGHT, buttons=[])
            self.pair = gr.Image(label="Before, and after", interactive=False, visible=False, elem_id="pair",
                                 height=HEIGHT, buttons=[], format="jpeg",
                                 alt_text="The face before and after the edit")
            self.strip = gr.Image(interactive=False, visible=False, label="Strip", elem_id="strip", format="jpeg",
                                  buttons=["download"], alt_text="The face at growing strength, from left to right")
            self.film = gr.Video(interactive=False, visible=False, label="Film", elem_id="film", autoplay=True,
                                 loop=True, height=HEIGHT, buttons=["download"])
            with gr.Row(elem_id="looking"):
                self.look = gr.Radio(list(LOOKS), value=WHOLE, label="Look at", show_label=False, container=False,
                                     elem_id="look", min_width=330, scale=4)
                self.hold = gr.Button("Hold: before", size="sm", min_width=100, elem_id="hold", scale=1)
                self.full = gr.Button("Full size", size="sm", min_width=80, elem_id="full", scale=1)
            self.dialog = gr.HTML(elem_id="full-size")
        with gr.Row(elem_id="status-row"):
            self.status = gr.HTML(elem_id="status")
            self.stop = gr.Button("Stop and keep this", size="sm", visible=False, scale=0,
                                  min_width=150, elem_id="stop")
        with gr.Column(visible=False, elem_id="tools") as self.tools:
            with gr.Row(elem_id="toolbar"):
                self.undo = gr.Button("↶ Undo", interactive=False, size="sm", min_width=80, elem_id="undo")
                self.redo = gr.Button("↷ Redo", interactive=False, size="sm", min_width=80, elem_id="redo")
                self.reset = gr.Button("Reset", size="sm", min_width=80, elem_id="reset")
                self.surprise = gr.Button("Surprise me", size="sm", min_width=110, elem_id="surprise-edit")
                self.pin = gr.Button("Pin to compare", size="sm", min_width=120, elem_id="pin")
                self.download = gr.Button("Download picture", variant="primary", size="sm", min_width=160,
                                          elem_id="save-picture")
            self.effect = gr.HTML(elem_id="effect")
            with gr.Accordion("How it is shown", open=False, elem_id="view"):
                self.pasted = gr.Checkbox(False, label="Put back into the photo", elem_id="pasted")
                self.compare = gr.Radio([("the photo", BEFORE)], value=BEFORE, label="Compare the edit with",
                                        elem_id="compare")

    def moving(self, visitor: Visitor, before: np.ndarray, after: np.ndarray, *, look: str) -> Update:
        """As `pictures` while a slider moves, for an event with `postprocess=False`.

        Values alone: for each update of another kind, and for each component that is left out, Gradio builds the
        component anew. Which of the components is in sight has been said before, by `pictures`.
        """
        values: Update = dict.fromkeys(self.shown)
        if look == BESIDE:
            values[self.pair] = _embedded(_joined(before, after))
        elif look == SPLIT:
            values[self.split] = [_served(files.for_browser(before, visitor.folder)), _embedded(after)]
        else:
            values |= {self.after: _embedded(after), self.before: _served(files.for_browser(before, visitor.folder))}
        return values

    @property
    def shown(self) -> list[Any]:
        """What pictures are shown in while a slider moves, and where they are."""
        return [self.after, self.before, self.split, self.pair]

    @property
    def view(self) -> list[Any]:
        """What decides how a picture is shown: `compare`, `pasted`, `look`."""
        return [self.compare, self.pasted, self.look]

    @property
    def outputs(self) -> list[Any]:
        """What may change when there is another subject."""
        return [self.empty, self.veil, self.area, self.whole, *self.shown, self.strip, self.film, self.status,
                self.stop, self.tools, *self.history, self.effect, *self.view]

    @property
    def areas(self) -> list[Any]:
        """What is in sight or not as one looks at a picture in another way."""
        return [self.look, self.whole, *self.shown, self.strip, self.film]

    @property
    def history(self) -> list[Any]:
        """The buttons that can be pressed at some times only."""
        return [self.undo, self.redo]

    def pictures(self, visitor: Visitor, before: np.ndarray, after: np.ndarray, *, look: str) -> Update:
        """Two pictures: the second one, with the first behind it; one over the other; or side by side."""
        if look == BESIDE:
            path = files.for_browser(_joined(before, after), visitor.folder)
            return {**self.sight(look), self.pair: gr.update(value=path, visible=True)}
        pair = files.for_browser(before, visitor.folder), files.for_browser(after, visitor.folder)
        shown = {**self.sight(look), self.before: pair[0], self.after: pair[1]}
        if look == SPLIT:
            shown[self.split] = gr.update(value=pair, visible=True)
        return shown

    def sight(self, look: str) -> Update:
        """What is in sight as one looks at a picture in a way; the others are not."""
        return {part: gr.update(visible=name == look) for part, name in (
            (self.whole, WHOLE), (self.split, SPLIT), (self.pair, BESIDE), (self.strip, STRIP), (self.film, FILM))}

    def veiled(self, visitor: Visitor) -> Update:
        """The visitor's own photo under a veil, in the place of a picture that is being prepared."""
        chosen = visitor.chosen_face
        part = scaled(*around(chosen.photo, chosen.face), VIEW_SIDE)[0]
        html = words.veil(files.for_browser(part.pixels, visitor.folder))
        return {self.empty: gr.update(visible=False), self.area: gr.update(visible=False),
                self.veil: gr.update(value=html, visible=True), self.tools: gr.update(visible=False)}

    def buttons(self, visitor: Visitor) -> Update:
        """Undo and redo as they can be pressed now."""
        history = visitor.subject.history if visitor.subject is not None else None
        return {self.undo: gr.update(interactive=history is not None and history.can_undo),
                self.redo: gr.update(interactive=history is not None and history.can_redo)}

    def choices(self, visitor: Visitor, compare: str, *, pasted: bool) -> Update:
        """What the edit can be compared with now."""
        subject = visitor.subject
        of_photo = subject is not None and subject.inversion is not None
        choices = [("the photo" if pasted else "the crop" if of_photo else "the face unedited", BEFORE)]
        if of_photo and not pasted:
            choices.append(("the face as it was found", INVERSION))
        for number, edit in enumerate(subject.pins if subject is not None else ()):
            choices.append((f"pinned: {words.edit_in_words(edit)}", f"{PINNED}{number}"))
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
