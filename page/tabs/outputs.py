"""What the tab Edit gives to take away: the picture, its recipe, a strip, a film and the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from editing import RECIPE_KEY, Edit, frames, join, save_recipe, save_session, save_video, strip
from editing.session import ENDING
from inversion import save_picture
from page.jobs.editing import edited_picture, editor_of, recipe_of, session_of
from page.jobs.services import Services
from page.jobs.views import PREVIEW_SIDE, pasted_pictures
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor
from page.tabs import words
from page.tabs.result import ResultSide
from page.tabs.wiring import FOLLOW, SAVING, Update
from weights.errors import InputError, memory_told

WAY = "the way to this edit"
STRIP_PICTURES = 7
STRIP_SIDE = 256       # Of each of them, and
FILM_SIDE = 512        # of a film, in pixels, where the generator draws such.
FILM_FRAMES = 24       # One way.


class Outputs:
    """The buttons and what they make. Build it within `gr.Blocks`.

    Args:
        services: Shared by all visitors.
        visitor: The visitor's state.
        notice: Where problems are told.
        side: With the button for the picture itself.
    """

    def __init__(self, services: Services, visitor: gr.State, notice: gr.HTML, side: ResultSide) -> None:
        self.services, self.visitor, self.notice = services, visitor, notice
        self.save_picture = side.download
        with gr.Column(visible=False, elem_id="outputs") as self.area:
            with gr.Accordion("Formats, film, recipe, session", open=False, elem_id="more"):
                with gr.Row():
                    self.format = gr.Radio([("JPEG", ".jpg"), ("WebP", ".webp"), ("PNG, exact and large", ".png")],
                                           value=".jpg", label="Format of the picture", elem_id="format")
                    self.mark = gr.Checkbox(True, label="Say in the file that a generator edited it", elem_id="mark",
                                            info="in its metadata (IPTC's digital source type), with the recipe")
                with gr.Row():
                    self.of = gr.Dropdown([WAY], value=WAY, label="Strip and film of", elem_id="of", min_width=160)
                    self.kind = gr.Radio([("MP4", ".mp4"), ("GIF", ".gif")], value=".mp4", label="Film as",
                                         elem_id="film-kind", min_width=120)
                self.save_film = gr.Button("Download a film", elem_id="save-film")
                with gr.Row():
                    self.save_recipe = gr.Button("Download recipe", elem_id="save-recipe")
                    self.save_session = gr.Button("Save the session", elem_id="save-session")
                self.with_photo = gr.Checkbox(True, label="Put the photo into the session file", elem_id="with-photo",
                                              info="whoever has the file has the photo then; without it, the session "
                                                   "opens with the face alone")
            # Hidden by the style sheet, and followed once the file is there.
            self.links = {name: gr.DownloadButton(elem_id=f"{name}-link", elem_classes="hidden-link")
                          for name in ("picture", "recipe", "film", "session")}

    def wire(self, read: Callable[..., tuple[EditingModels, EditSubject, Edit]], settings: list[Any],
             pasted: gr.Checkbox) -> None:
        """Connect the buttons.

        Args:
            read: Gives the models, the subject and the edit of a visitor and the settings' values.
            settings: What `read` takes after the visitor.
            pasted: Whether the face is put back into the photo.
        """
        self._read = read
        makers: tuple[tuple[gr.Button, Callable[..., Update], str, list[Any]], ...] = (
            (self.save_picture, self.on_picture, "picture", [pasted, self.format, self.mark]),
            (self.save_recipe, self.on_recipe, "recipe", []),
            (self.save_film, self.on_film, "film", [pasted, self.of, self.kind]),
            (self.save_session, self.on_session, "session", [self.with_photo]))
        for button, handler, link, inputs in makers:
            button.click(handler, [self.visitor, *inputs, *settings], [self.notice, self.links[link]], **SAVING
                         ).success(None, js=FOLLOW % f"{link}-link", api_visibility="private")

    @property
    def outputs(self) -> list[Any]:
        """What `show` may change."""
        return [self.area, self.of, self.with_photo]

    def show(self, visitor: Visitor, models: EditingModels) -> Update:
        """Ready for a visitor's subject."""
        names = [name for control in models.controls.values() for name in control.keys]
        has_photo = visitor.subject is not None and visitor.subject.photo is not None
        return {self.area: gr.update(visible=visitor.subject is not None),
                self.of: gr.update(choices=[WAY, *names], value=WAY), self.with_photo: gr.update(visible=has_photo)}

    def on_picture(self, visitor: Visitor, pasted: bool, ending: str, mark: bool, *values: Any) -> Update:
        def make(models: EditingModels, subject: EditSubject, edit: Edit) -> Path:
            picture = edited_picture(models, subject, edit)
            if pasted and subject.photo is not None:
                _, picture = pasted_pictures(subject, picture)
            path = files.download_path(subject.name, visitor.folder, f"-edited{ending}")
            save_picture(path, picture, metadata={RECIPE_KEY: recipe_of(models, subject, edit).to_json()}, mark=mark,
                         like=subject.photo if pasted else None)
            return path

        return self._made("picture", make, visitor, values)

    def on_recipe(self, visitor: Visitor, *values: Any) -> Update:
        def make(models: EditingModels, subject: EditSubject, edit: Edit) -> Path:
            path = files.download_path(subject.name, visitor.folder, "-edited.recipe.json")
            save_recipe(path, recipe_of(models, subject, edit))
            return path

        return self._made("recipe", make, visitor, values)

    def on_session(self, visitor: Visitor, with_photo: bool, *values: Any) -> Update:
        def make(models: EditingModels, subject: EditSubject, edit: Edit) -> Path:
            subject.edit = edit
            path = files.download_path(subject.name, visitor.folder, ENDING)
            save_session(path, session_of(visitor, models.generator, with_photo=with_photo))
            return path

        return self._made("session", make, visitor, values)

    def on_film(self, visitor: Visitor, pasted: bool, of: str, ending: str, *values: Any) -> Update:
        def make(models: EditingModels, subject: EditSubject, edit: Edit) -> Path:
            return film(models, subject, edit, of, visitor.folder, ending, pasted=pasted)

        return self._made("film", make, visitor, values)

    def _made(self, link: str, make: Callable[[EditingModels, EditSubject, Edit], Path], visitor: Visitor,
              values: tuple[Any, ...]) -> Update:
        """Make a file for a link. If that fails, the link must not lead to an earlier one."""
        try:
            with memory_told():
                return {self.notice: "", self.links[link]: str(make(*self._read(visitor, *values)))}
        except InputError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error


def film(models: EditingModels, subject: EditSubject, edit: Edit, of: str, folder: str, ending: str, *,
         pasted: bool) -> Path:
    """A film of the way to an edit, or to the farthest safe one of one attribute.

    Raises:
        InputError: nothing is changed.
    """
    editor, whole = editor_of(models, subject, edit.method), edit_of(of, edit, models)
    pictures = frames(editor, whole, FILM_FRAMES, side=models.generator.side_for(FILM_SIDE))
    if pasted and subject.photo is not None:
        pictures = np.stack([pasted_pictures(subject, picture, side=PREVIEW_SIDE)[1] for picture in pictures])
    path = files.download_path(subject.name, folder, f"-film{ending}")
    save_video(path, pictures)
    return path


def strip_of(models: EditingModels, subject: EditSubject, edit: Edit, of: str) -> tuple[np.ndarray, str]:
    """Small pictures of the way to an edit, or through an attribute, and what they are in words.

    Raises:
        InputError: nothing is changed.
    """
    editor, whole = editor_of(models, subject, edit.method), edit_of(of, edit, models)
    side = models.generator.side_for(STRIP_SIDE)
    if of == WAY:
        return (join(frames(editor, whole, STRIP_PICTURES, side=side)[None]), f"The way to {words.edit_in_words(edit)}")
    low, high = _limits(of, models, edit)
    steps = [round(float(value), 2) for value in np.linspace(low, high, STRIP_PICTURES)]
    return (strip(editor, of, steps, edit, side=side),
            f"{of.replace(':', ': ')} at {', '.join(f'{value:+g}' for value in steps)}")


def _limits(name: str, models: EditingModels, edit: Edit) -> tuple[float, float]:
    direction, target = models.controls_of(edit.method).output_of(name)
    return direction.limits_of(target)


def edit_of(of: str, edit: Edit, models: EditingModels) -> Edit:
    """The edit to show the way to: the one that is set, or the farthest safe one of one attribute.

    Raises:
        InputError: nothing is changed.
    """
    if of != WAY:
        return edit.with_strengths({of: _limits(of, models, edit)[1]})
    if not edit.changes:
        raise InputError("nothing is changed yet", "move a slider first, or choose what the strip or film is of")
    return edit
