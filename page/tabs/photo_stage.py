"""The first stage of the tab Edit: a photo and the faces in it, a face of nobody, or a session of another day."""

from __future__ import annotations

from typing import Any

import gradio as gr

from inversion import limits_of_face
from page.jobs.views import outlined
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.wiring import Update

SURPRISE, BY_NUMBER = "Surprise me: a face of nobody", "A face of nobody by its number"


class PhotoStage:
    """Its components, and what they show. Build it within `gr.Blocks`."""

    def __init__(self) -> None:
        with gr.Column() as self.drop_area:
            self.no_photos = gr.HTML(visible=False, elem_id="no-photos")
            self.again = gr.Button("Go on with your last face", variant="primary", visible=False, elem_id="again")
            self.upload = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard", "webcam"],
                                   label="Photo of a face", height=300, elem_id="upload", buttons=[])
            self.turn = gr.Button("↻ Turn the photo and look again", size="sm", visible=False, elem_id="turn")
            with gr.Column() as self.faces:
                gr.Markdown("Or begin with one of these: a photo, and faces of nobody", elem_id="examples-words")
                self.examples = gr.Gallery(label="Examples", show_label=False, columns=6, rows=1, height=92,
                                           allow_preview=False, object_fit="cover", elem_id="examples", buttons=[],
                                           interactive=False)
            self.surprise = gr.Button(SURPRISE, elem_id="surprise")
            with gr.Accordion(BY_NUMBER, open=False, elem_id="by-seed") as self.by_number:
                with gr.Row():
                    self.seed = gr.Number(0, label="Number", info="the same number, the same face", precision=0,
                                          minimum=0, maximum=2**32 - 1, min_width=120)
                    self.truncation = gr.Slider(0.3, 1, 0.7, step=0.05, label="Variety",
                                                info="low: ordinary faces, high: unusual ones", min_width=160)
                self.draw = gr.Button("Draw this face", elem_id="draw")
            with gr.Accordion("Go on with a saved session", open=False, elem_id="resume-area"):
                self.session = gr.File(label="Session file", file_types=[".safetensors"], elem_id="session-file",
                                       height=110)
        with gr.Column(visible=False) as self.photo_area:
            self.outlined = gr.Image(interactive=False, label="Faces found", height=220, format="jpeg",
                                     elem_id="faces", buttons=[], alt_text="The photo with its faces outlined")
            self.face = gr.Radio([], label="Face", visible=False, elem_id="face")
            self.about = gr.HTML(elem_id="faces-words")

    @property
    def outputs(self) -> list[Any]:
        """What `show` and `free` may change."""
        return [self.upload, self.no_photos, self.drop_area, self.photo_area, self.outlined, self.about, self.face,
                self.again, self.turn, self.faces, self.surprise, self.by_number]

    def offer(self, models: EditingModels) -> Update:
        """A place for a photo where the generator can draw the faces of photos, else a sentence in its place."""
        why = models.generator.no_photos
        told = f"<p class='numbers'>Photos cannot be edited with this generator: {why}. Begin with a sample.</p>"
        return {self.upload: gr.update(value=None, visible=not why),
                self.no_photos: gr.update(value=told, visible=bool(why)), self.faces: gr.update(visible=not why),
                self.surprise: "Surprise me: a sample" if why else SURPRISE,
                self.by_number: gr.update(label="A sample by its number" if why else BY_NUMBER)}

    def free(self) -> Update:
        """The drop area, ready for a photo."""
        return {self.upload: None, self.drop_area: gr.update(visible=True), self.photo_area: gr.update(visible=False),
                self.turn: gr.update(visible=False)}

    def show(self, visitor: Visitor, models: EditingModels) -> Update:
        """The visitor's photo: its faces where there are several or none can be edited, and what is to be said."""
        assert visitor.photo is not None
        several = len(visitor.faces) > 1 or visitor.chosen is None
        picture = files.for_browser(outlined(visitor.photo, visitor.faces, visitor.chosen), visitor.folder)
        choices = [(str(number + 1), number) for number in range(len(visitor.faces))]
        return {self.upload: None, self.drop_area: gr.update(visible=False), self.photo_area: gr.update(visible=True),
                self.turn: gr.update(visible=False),
                self.outlined: gr.update(value=picture, visible=several), self.about: words_of(visitor, models),
                self.face: gr.update(choices=choices, value=visitor.chosen, visible=len(choices) > 1)}


def words_of(visitor: Visitor, models: EditingModels) -> str:
    """How many faces there are, what the chosen one is like, and what that means for the result, as HTML."""
    count = words.faces_in_words(visitor.faces, visitor.chosen)
    if visitor.chosen is None or visitor.photo is None:
        return f"<p>{count}</p>"
    face = visitor.faces[visitor.chosen]
    warnings = limits_of_face(visitor.photo, face, visitor.faces, resolution=models.generator.img_resolution)
    return (f"<details class='numbers'><summary>{count}</summary>{words.face_in_words(face)}</details>"
            f"{words.warnings_in_words(warnings)}")
