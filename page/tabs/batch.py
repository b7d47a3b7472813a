"""The tab Batch: one edit for many photos."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from batch import BatchJob
from batch.edits import load_edit
from batch.zips import MOST_PHOTOS
from editing import Edit, Editor, Recipe
from inversion import DEFAULT_PRESET, PRESETS
from page import KEPT_SECONDS
from page.jobs.batches import VisitorBatch
from page.jobs.services import Services
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from page.tabs import batch_words as words
from page.tabs.wiring import FOLLOW, HIDDEN, PRIVATE, QUICK, SAVING, Update, as_updates, shown_errors
from page.tabs.words import PRESETS as PRESET_WORDS
from page.tabs.words import presets_in_words, problem
from weights.errors import InputError

INTRO = (f"One edit for many photos: choose up to {MOST_PHOTOS} photos, or ZIPs of them. Each is inverted and edited "
         "by itself; a file that cannot be used is named and stops nothing. Stored latents "
         "(`.latent.safetensors`, or the ZIP of an earlier batch) need no inversion: their faces alone are edited.")
OF_PAGE, OF_RECIPE = "page", "recipe"
RUNNING: dict[str, Any] = {"concurrency_limit": 16, "concurrency_id": "batch", **HIDDEN, **PRIVATE}
# On a phone the progress stands below the button; where it is in sight already, nothing moves.
SHOW_STATUS = "() => setTimeout(() => document.querySelector('#batch-status')?.scrollIntoView({block: 'nearest'}), 700)"


class BatchTab:
    """The components of the tab and their handlers. Build it within `with gr.Tab("Batch")`.

    Args:
        services: All that visitors share.
        visitor: The page's state of a visitor.
    Attributes:
        forgotten: The outputs of `on_forget`, to be called when a visitor has all deleted.
    """

    def __init__(self, services: Services, visitor: gr.State) -> None:
        self.services = services
        self.visitor = visitor
        self.chosen = gr.State([], time_to_live=KEPT_SECONDS)             # Paths of the visitor's chosen files.
        self.recipe = gr.State(None, time_to_live=KEPT_SECONDS)           # (name, recipe) of the recipe's file.
        self.results = gr.State("", time_to_live=KEPT_SECONDS)            # Path of the ZIP of the last batch.
        with gr.Column(elem_id="batch"):
            gr.Markdown(INTRO, elem_id="batch-intro")
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=320):
                    self._photos_side()
                with gr.Column(scale=6, min_width=320):
                    self._edit_side()
            self.notice = gr.HTML("", elem_id="batch-notice")
            with gr.Row():
                self.start = gr.Button("Start", variant="primary", elem_id="batch-start")
                self.cancel = gr.Button("Cancel and keep what is done", variant="stop", visible=False,
                                        elem_id="batch-cancel")
                self.download = gr.Button("Download all", visible=False, variant="primary", elem_id="batch-download")
            self.status = gr.HTML("", elem_id="batch-status")
            self.table = gr.HTML(words.EMPTY, elem_id="batch-table")
            self.link = gr.DownloadButton(elem_id="batch-link")  # Hidden by the style sheet.
        self.forgotten = [self.chosen, self.recipe, self.results, self.files, self.chosen_words, self.clear,
                          self.edit_words, self.notice, self.start, self.cancel, self.download, self.status,
                          self.table, self.link]
        self._wire()

    # ---- layout

    def _photos_side(self) -> None:
        self.files = gr.File(label="Photos, ZIPs or latents", file_count="multiple", height=190, elem_id="batch-files",
                             file_types=[".jpg", ".jpeg", ".png", ".webp", ".zip", ".safetensors"])
        self.chosen_words = gr.HTML("", elem_id="batch-chosen")
        self.clear = gr.Button("Remove them", size="sm", visible=False, elem_id="batch-clear")

    def _edit_side(self) -> None:
        self.edit_from = gr.Radio([("The edit of the tab Edit", OF_PAGE), ("A recipe", OF_RECIPE)], value=OF_PAGE,
                                  label="What is done to each face", elem_id="batch-edit-from")
        self.edit_words = gr.HTML(words.edit_line(Edit()), elem_id="batch-edit")
        self.recipe_file = gr.UploadButton("Choose a recipe", file_types=[".json", ".png", ".jpg", ".jpeg", ".webp"],
                                           visible=False, size="sm", elem_id="batch-recipe")
        with gr.Row():
            self.paste = gr.Radio([("whole photo", True), ("face alone", False)], value=True, scale=3,
                                  label="Result", min_width=290, elem_id="batch-paste")
            self.faces = gr.Radio([("largest", "largest"), ("all", "all")], value="largest", min_width=210, scale=2,
                                  label="Faces of each photo", elem_id="batch-faces")
        with gr.Accordion("Inversion and format", open=False, elem_id="batch-more"):
            self.preset = gr.Radio([(text, name) for name, text in PRESET_WORDS.items()], value=DEFAULT_PRESET,
                                   label="Inversion", elem_id="batch-preset")
            self.format = gr.Radio([("PNG: exact", "png"), ("JPEG: small", "jpg"), ("WebP: smaller", "webp")],
                                   value="png", label="Format of the pictures", elem_id="batch-format")

    def _wire(self) -> None:
        chosen = [self.visitor, self.chosen, self.files, self.chosen_words, self.clear, self.notice, self.start,
                  self.download]
        self.files.upload(self.on_upload, [self.visitor, self.chosen, self.files], chosen, **SAVING)
        self.clear.click(self.on_clear, self.chosen, chosen, **QUICK)
        source = [self.edit_words, self.recipe_file, self.notice]
        self.edit_from.input(self.on_edit_from, [self.visitor, self.edit_from, self.recipe], source, **QUICK)
        self.recipe_file.upload(self.on_recipe, [self.visitor, self.recipe_file],
                                [self.recipe, self.edit_words, self.notice], **SAVING)
        self.preset.input(self.on_preset, [self.visitor, self.preset], None, **QUICK)
        settings = [self.visitor, self.chosen, self.edit_from, self.recipe, self.paste, self.faces, self.preset,
                    self.format]
        running = [*chosen, self.results, self.cancel, self.status, self.table]
        # Before the queue, so that Cancel reaches a batch that still waits there.
        self.start.click(self.on_begin, [self.visitor, self.chosen, self.edit_from, self.recipe],
                         [self.notice, self.start, self.cancel, self.download], queue=False, **HIDDEN, **PRIVATE
                         ).then(as_updates(self.on_run), settings, running, **RUNNING)
        self.start.click(None, js=SHOW_STATUS, **PRIVATE)
        self.cancel.click(self.on_cancel, self.visitor, self.cancel, queue=False, **HIDDEN, **PRIVATE)
        self.download.click(self.on_download, self.results, [self.notice, self.link], **SAVING
                            ).then(None, js=FOLLOW % "batch-link", **PRIVATE)

    def follow(self, tab: gr.Tab) -> None:
        """Bring what comes from the tab Edit up to date whenever a tab, this one, is selected."""
        tab.select(self.on_select, [self.visitor, self.edit_from, self.recipe], [self.edit_words, self.preset], **QUICK)

    # ---- photos

    @shown_errors
    def on_upload(self, visitor: Visitor, chosen: list[str], uploads: list[str] | None) -> Update:
        """Add files to those that were chosen."""
        everything = [*chosen, *files.take_chosen(visitor.folder, uploads or [])]
        if len(everything) > MOST_PHOTOS:
            files.drop_chosen(everything[len(chosen):])
            return {self.files: None, self.notice: problem(
                f"{len(everything)} files are more than the {MOST_PHOTOS} of a batch; choose fewer")}
        return {self.visitor: visitor, **self._chosen(everything), self.start: gr.update(variant="primary"),
                self.download: gr.update(variant="secondary")}

    def on_clear(self, chosen: list[str]) -> Update:
        files.drop_chosen(chosen)
        return {self.notice: "", **self._chosen([])}

    def _chosen(self, paths: list[str]) -> Update:
        return {self.chosen: paths, self.files: None, self.clear: gr.update(visible=bool(paths)),
                self.chosen_words: words.chosen_line([Path(path).name for path in paths])}

    # ---- the edit

    def on_select(self, visitor: Visitor, edit_from: str, recipe: tuple[str, Recipe] | None) -> Update:
        """Say what the tab Edit shows now."""
        update: Update = {self.preset: gr.update(choices=presets_in_words(self.services.models_of(visitor)),
                                                 value=visitor.preset if visitor.preset in PRESETS else DEFAULT_PRESET)}
        return {**update, self.edit_words: self._edit_words(visitor, edit_from, recipe)}

    def on_edit_from(self, visitor: Visitor, edit_from: str, recipe: tuple[str, Recipe] | None) -> Update:
        return {self.notice: "", self.recipe_file: gr.update(visible=edit_from == OF_RECIPE),
                self.edit_words: self._edit_words(visitor, edit_from, recipe)}

    def _edit_words(self, visitor: Visitor, edit_from: str, recipe: tuple[str, Recipe] | None) -> str:
        if edit_from == OF_PAGE:
            return words.edit_line(visitor.edit)
        return words.edit_line(recipe[1].edit, recipe=recipe[0]) if recipe else words.edit_line(None)

    @shown_errors
    def on_recipe(self, visitor: Visitor, file: str | None) -> Update:
        """Read a recipe; one that cannot be used changes nothing."""
        if not file:
            raise InputError(None, "no recipe arrived", "choose it again")
        try:
            recipe = load_edit(file)
        finally:
            files.discard_upload(file)
        name = Path(file).name
        self._check(self.services.models_of(visitor), recipe, name)
        return {self.recipe: (name, recipe), self.edit_words: words.edit_line(recipe.edit, recipe=name)}

    def _check(self, models: EditingModels, recipe: Recipe, name: str) -> None:
        """Refuse a recipe of another generator or of other controls.

        Raises:
            InputError: naming the file.
        """
        try:
            recipe.check(Editor(models.generator, models.controls_of(recipe.edit.method)))
        except InputError as error:
            raise InputError(name, error.problem,
                             f"{error.remedy} in the tab Models, or set the edit in the tab Edit") from error

    def _edit(self, visitor: Visitor, edit_from: str, recipe: tuple[str, Recipe] | None) -> Edit:
        """What is to be done to each face.

        Raises:
            InputError: nothing.
        """
        if edit_from == OF_RECIPE:
            if recipe is None:
                raise InputError(None, "there is no recipe yet", "choose one, or take the edit of the tab Edit")
            self._check(self.services.models_of(visitor), recipe[1], recipe[0])
            edit = recipe[1].edit
        else:
            edit = visitor.edit
        if not edit.changes:
            raise InputError(None, "there is no edit yet, as all sliders are at 0",
                             "move one in the tab Edit and come back, or choose a recipe")
        return edit

    def on_preset(self, visitor: Visitor, preset: str) -> None:
        visitor.preset = preset

    # ---- the batch

    def on_begin(self, visitor: Visitor, chosen: list[str], edit_from: str,
                 recipe: tuple[str, Recipe] | None) -> Update:
        """Announce a batch, if there is all that it needs; one that still runs is ended."""
        self.on_cancel(visitor)
        visitor.batch_stop = None
        try:
            if not chosen:
                raise InputError(None, "no photos are chosen yet", "drop some above, or a ZIP of them")
            self._edit(visitor, edit_from, recipe)
        except InputError as error:
            return {self.notice: problem(str(error))}
        visitor.batch_stop = threading.Event()
        return {self.notice: "", self.start: gr.update(visible=False), self.download: gr.update(visible=False),
                self.cancel: gr.update(visible=True, interactive=True)}

    def on_cancel(self, visitor: Visitor) -> Update:
        """End the batch after the step that is running; what is done is kept."""
        visitor.end_batch()
        return {self.cancel: gr.update(interactive=False)}

    def on_run(self, visitor: Visitor, chosen: list[str], edit_from: str, recipe: tuple[str, Recipe] | None,
               paste: bool, faces: str, preset: str, ending: str) -> Iterator[Update]:
        """Stream how far it is; in the end there is something to download."""
        stop = visitor.batch_stop
        if stop is None:  # `on_begin` has said why.
            yield {self.cancel: gr.update(visible=False)}
            return
        idle = {self.start: gr.update(visible=True), self.cancel: gr.update(visible=False)}
        try:
            yield {self.status: words.progress([], 0), self.table: words.EMPTY, self.results: ""}
            if preset not in PRESETS:
                raise InputError(preset, "no such preset", f"choose one of {', '.join(PRESETS)}")
            wanted = BatchJob(edit=self._edit(visitor, edit_from, recipe), settings=PRESETS[preset], ending=ending,
                              faces="all" if faces == "all" else "largest", mark=True, thumbnails=False,
                              outputs=("photo" if paste else "crop", "latent"))
            job = VisitorBatch(visitor, self.services.models_of(visitor), wanted, chosen, stop,
                               self.services.inversions, self.services.cache)
            yield {self.visitor: visitor, **self._chosen([])}  # They are removed as they are read.
            for changed in job.run():
                if job.forgotten:
                    break
                update = {self.status: words.progress(job.rows, job.seconds, ahead=job.ahead,
                                                      stopping=stop.is_set())}
                if changed:  # What was set is kept for another hour.
                    update |= {self.visitor: visitor, self.table: words.table(job.rows, job.pictures)}
                yield update
        except InputError as error:
            yield {**idle, self.status: "", self.notice: problem(str(error))}
            return
        if job.forgotten:
            yield {**idle, self.status: "", self.table: words.EMPTY}
        elif job.error:
            yield {**idle, self.status: "", self.table: words.table(job.rows, job.pictures) or words.EMPTY,
                   self.notice: problem(job.error)}
        else:
            done = words.counts(job.rows)[1]
            yield {**idle, self.visitor: visitor, self.results: str(job.zip) if done else "",
                   self.start: gr.update(visible=True, variant="secondary" if done else "primary"),
                   self.download: gr.update(visible=done > 0, variant="primary"),
                   self.status: words.outcome(job.rows),
                   self.table: words.table(job.rows, job.pictures)}

    def on_download(self, results: str) -> Update:
        if results and Path(results).exists():
            return {self.notice: "", self.link: results}
        # The link must not lead to an earlier ZIP.
        return {self.link: None, self.notice: problem("the results are gone (they are deleted after an hour); "
                                                              "begin again")}

    def on_forget(self) -> Update:
        """Show the tab as it was in the beginning. The files are deleted with the visitor's folder."""
        return {self.recipe: None, self.results: "", **self._chosen([]), self.notice: "", self.status: "",
                self.edit_words: words.edit_line(Edit()), self.table: words.EMPTY, self.link: None,
                self.start: gr.update(visible=True, variant="primary"), self.cancel: gr.update(visible=False),
                self.download: gr.update(visible=False)}
