"""The first stage of the tab Edit: a photo, the faces in it, and how one of them is to be inverted."""

from __future__ import annotations

from typing import Any

import gradio as gr

from inversion import DEFAULT_PRESET, PRESETS, limits_of_face
from page.jobs.views import outlined
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from page.tabs import words
from page.tabs.wiring import Update

PRESET_WORDS = {"fast": "fast: a likeness", "balanced": "balanced: nearer", "faithful": "faithful: the person"}


class PhotoStage:
    """Its components, and what they show. Build it within `gr.Blocks`."""

    def __init__(self) -> None:
        with gr.Column() as self.drop_area:
            self.upload = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard", "webcam"],
                                   label="Photo of a face (JPEG, PNG or WebP)", height=300, elem_id="upload",
                                   buttons=[])
            gr.Markdown("Or begin with one of these: a photo, and faces of nobody", elem_id="examples-words")
            self.examples = gr.Gallery(label="Examples", show_label=False, columns=6, rows=1, height=92,
                                       allow_preview=False, object_fit="cover", elem_id="examples", buttons=[],
                                       interactive=False)
            self.surprise = gr.Button("Surprise me: a face of nobody", elem_id="surprise")
            with gr.Accordion("A face of nobody by its number", open=False, elem_id="by-seed"):
                with gr.Row():
                    self.seed = gr.Number(0, label="Seed", info="the same seed, the same face", precision=0, minimum=0,
                                          maximum=2**32 - 1, min_width=120)
                    self.truncation = gr.Slider(0.3, 1, 0.7, step=0.05, label="Truncation",
                                                info="low: ordinary, high: varied", min_width=160)
                self.draw = gr.Button("Draw this seed", elem_id="draw")
            with gr.Accordion("Go on with a saved session", open=False, elem_id="resume-area"):
                self.session = gr.File(label="Session file", file_types=[".safetensors"], elem_id="session-file",
                                       height=110)
        with gr.Column(visible=False) as self.photo_area:
            self.outlined = gr.Image(interactive=False, label="Faces found", height=300, format="jpeg",
                                     elem_id="faces", buttons=[], alt_text="The photo with its faces outlined")
            self.about = gr.HTML(elem_id="faces-words")
            self.face = gr.Radio([], label="Face", visible=False, elem_id="face")
            self.preset = gr.Radio([(words, name) for name, words in PRESET_WORDS.items()], value=DEFAULT_PRESET,
                                   label="How near the inversion shall come", elem_id="preset")
            with gr.Row():
                self.invert = gr.Button("Invert the face", variant="primary", elem_id="invert")
                self.stop = gr.Button("Stop and keep this", variant="stop", visible=False, elem_id="stop")
                self.another = gr.Button("Another photo", elem_id="another")

    @property
    def outputs(self) -> list[Any]:
        """What `show` and `free` may change."""
        return [self.upload, self.drop_area, self.photo_area, self.outlined, self.about, self.face, self.preset,
                self.invert]

    def free(self) -> Update:
        """The drop area, ready for a photo."""
        return {self.upload: None, self.drop_area: gr.update(visible=True), self.photo_area: gr.update(visible=False)}

    def show(self, visitor: Visitor, models: EditingModels) -> Update:
        """The visitor's photo with its faces, which are described in words."""
        assert visitor.photo is not None
        picture = outlined(visitor.photo, visitor.faces, visitor.chosen)
        choices = [(str(number + 1), number) for number in range(len(visitor.faces))]
        return {self.upload: None, self.drop_area: gr.update(visible=False), self.photo_area: gr.update(visible=True),
                self.outlined: files.for_browser(picture, visitor.folder), self.about: words_of(visitor, models),
                self.face: gr.update(choices=choices, value=visitor.chosen, visible=len(choices) > 1),
                self.preset: gr.update(choices=presets_in_words(models)),
                self.invert: gr.update(interactive=visitor.chosen is not None)}


def presets_in_words(models: EditingModels) -> list[tuple[str, str]]:
    """The presets with the time that they take on this machine, where that is known yet."""
    times = {name: words.time_in_words(models.timing.seconds(PRESETS[name])) for name in PRESET_WORDS}
    return [(f"{words} ({times[name]})" if times[name] else words, name) for name, words in PRESET_WORDS.items()]


def words_of(visitor: Visitor, models: EditingModels) -> str:
    """How many faces there are, what the chosen one is like, and what that means for the result, as HTML."""
    found = words.faces_in_words(visitor.faces, visitor.chosen)
    if visitor.chosen is None or visitor.photo is None:
        return f"<p>{found}</p>"
    face = visitor.faces[visitor.chosen]
    warnings = limits_of_face(visitor.photo, face, visitor.faces, resolution=models.generator.img_resolution)
    return f"<p>{found} {words.face_in_words(face)}</p>{words.warnings_in_words(warnings)}"
