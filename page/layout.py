"""The page's components, and what each of them does: Gradio, and nothing else that is not in the other modules."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr
import numpy as np

from editing import Recipe
from inversion import DEFAULT_PRESET, PRESETS
from page import KEPT_SECONDS, showing
from page.models import OWN, Models, name_of
from page.visitor import VIEW_SIDE, Subject, Visitor, recipe
from weights.errors import InputError

Update = dict[Any, Any]  # What a handler returns: new values by component; components that are left out stay.

INTRO = ("# Face editor\nDrop in a photo of a face, let the program find it in its generator (the *inversion*), "
         "then move the sliders.")
PRIVACY = ("Photos are worked on by the computer that runs this program and are sent nowhere else; they and all "
           "results are deleted within an hour of your last change, and when the program ends; *Forget my faces* "
           "deletes yours at once.")
PRESET_WORDS = {"fast": "fast: a likeness", "balanced": "balanced: nearer", "faithful": "faithful: the person"}
METHOD_WORDS = {"project": "projection", "paper": "paper (masks)", "interfacegan": "InterFaceGAN",
                "ganspace": "GANSpace", "stylespace": "StyleSpace"}
EMPTY = ("<div class='empty'>The face and its edits appear here.<br>Begin with a photo, or let yourself be surprised."
         "</div>")
FORGOTTEN = "<div class='empty' role='status'>Forgotten: your photo, your faces and all results are deleted.</div>"
CSS = """
.gradio-container { max-width: 1180px !important; margin: auto; overflow: visible !important; }
#intro h1 { margin-bottom: 0; } #privacy { opacity: .75; font-size: .85em; }
#foot { align-items: center; }
.problem { border-left: 4px solid #dc2626; border-radius: 6px; padding: .6em .9em;
  background: #fef2f2; color: #7f1d1d; }
.dark .problem { background: #450a0a; color: #fecaca; }
#notice:not(:has(.problem)), #picture-link, #recipe-link { display: none; }
.running { display: flex; flex-direction: column; gap: .4em; }
.running progress { width: 100%; height: 8px; appearance: none; border: 0; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); color: #6366f1; }
.running progress::-webkit-progress-bar { background: var(--border-color-primary); }
.running progress::-webkit-progress-value { background: #6366f1; transition: width .3s; }
.running progress::-moz-progress-bar { background: #6366f1; }
.running progress:not([value]) { animation: breathe 1.2s ease-in-out infinite alternate; }
@keyframes breathe { to { opacity: .35; } }
.numbers { margin: 0; font-size: .9em; }
.warnings { margin: .4em 0 0; padding: .3em .9em .3em 1.9em; list-style: disc; font-size: .9em;
  border-left: 4px solid #d97706; border-radius: 6px; background: #fffbeb; color: #78350f; }
.dark .warnings { background: #451a03; color: #fde68a; }
/* The picture stays in sight while sliders further down are moved. */
#edit { isolation: isolate; }
#notice { position: sticky; top: 0; z-index: 6; }
#status { scroll-margin-bottom: 40px; }
#result-area { position: sticky; top: 0; z-index: 5; background: var(--body-background-fill); padding-bottom: .3em; }
/* 0 is in the middle of a signed slider: a mark there says more than a bar from the left end. */
.signed { --zero-mark: linear-gradient(to right, var(--neutral-200) calc(50% - 2px), var(--slider-color) 0,
  var(--slider-color) calc(50% + 2px), var(--neutral-200) 0); }
.dark .signed { --zero-mark: linear-gradient(to right, var(--neutral-600) calc(50% - 2px), var(--slider-color) 0,
  var(--slider-color) calc(50% + 2px), var(--neutral-600) 0); }
.signed input[type=range]::-webkit-slider-runnable-track { background: var(--zero-mark) !important; }
.signed input[type=range]::-moz-range-track { background: var(--zero-mark) !important; }
.signed input[type=range]::-moz-range-progress { background: none !important; }
@media (max-width: 640px) { .empty:not([role]) { display: none !important; } #foot { flex-direction: column; } }
.empty { min-height: 300px; display: flex; align-items: center; justify-content: center; text-align: center;
  border: 1px dashed var(--border-color-primary); border-radius: 8px; opacity: .8; }
"""
# Lanes of the queue: a repainting slider never waits behind somebody's inversion.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 8, "concurrency_id": "quick", **PRIVATE}
EDITS: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "concurrency_id": "edits", **PRIVATE}
# On a phone the result stands below the button; where it is in sight already, nothing moves.
SHOW_RESULT = "() => setTimeout(() => document.querySelector('#status')?.scrollIntoView({block: 'nearest'}), 900)"
# The file is made on the click, then this hidden link to it is followed.
FOLLOW = "() => { const link = document.querySelector('#%s'); (link.querySelector('a, button') || link).click(); }"


def shown_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let a handler's InputError be read in the page, and leave everything else in it as it is."""
    @wraps(handler)
    def wrapped(self: Page, *args: Any) -> Update:
        try:
            return {self.notice: "", **handler(self, *args)}
        except InputError as error:
            return {self.notice: showing.problem(str(error))}
    return wrapped


class Page:
    """The components of the page and their handlers. Build it within `gr.Blocks`."""

    def __init__(self, models: Models) -> None:
        self.models = models
        # Gradio keeps one visitor in each browser tab's session, and deletes it when its time is over.
        self.visitor = gr.State(Visitor(), time_to_live=KEPT_SECONDS)
        gr.Markdown(INTRO, elem_id="intro")
        self.notice = gr.HTML("", elem_id="notice")
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=320):
                self._source_side()
            with gr.Column(scale=5, min_width=320):
                self._result_side()
        with gr.Row(elem_id="foot"):
            gr.Markdown(PRIVACY, elem_id="privacy")
            self.forget = gr.Button("Forget my faces", size="sm", scale=0, min_width=160, elem_id="forget")
        self._wire()

    # ---- layout

    def _source_side(self) -> None:
        with gr.Tabs():
            with gr.Tab("Your photo"):
                with gr.Column() as self.drop_area:
                    self.upload = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard", "webcam"],
                                           label="Photo (JPEG, PNG or WebP)", height=320, elem_id="upload", buttons=[])
                with gr.Column(visible=False) as self.photo_area:
                    self.outlined = gr.Image(interactive=False, label="Faces found", height=320, format="jpeg",
                                             elem_id="faces", buttons=[], alt_text="The photo with its faces outlined")
                    self.faces_words = gr.Markdown(elem_id="faces-words")
                    self.face = gr.Radio([], label="Face", visible=False, elem_id="face")
                    self.preset = gr.Radio([(words, name) for name, words in PRESET_WORDS.items()],
                                           value=DEFAULT_PRESET, label="Inversion", elem_id="preset")
                    with gr.Row():
                        self.invert = gr.Button("Invert the face", variant="primary", elem_id="invert")
                        self.stop = gr.Button("Stop and keep this", variant="stop", visible=False, elem_id="stop")
                        self.another = gr.Button("Another photo", elem_id="another")
            with gr.Tab("Surprise me"):
                gr.Markdown("A face of nobody, drawn by the generator: edit it without a photo.")
                self.surprise = gr.Button("Surprise me", variant="primary", elem_id="surprise")
                with gr.Row():
                    self.seed = gr.Number(0, label="Seed", info="the same seed, the same face", precision=0, minimum=0,
                                          maximum=2**32 - 1, min_width=120)
                    self.truncation = gr.Slider(0.3, 1, 0.7, step=0.05, label="Truncation",
                                                info="low: ordinary, high: varied", min_width=160)
                self.draw = gr.Button("Draw this seed", elem_id="draw")

    def _result_side(self) -> None:
        self.empty = gr.HTML(EMPTY)
        with gr.Column(visible=False, elem_id="result-area") as self.result_area:
            self.result = gr.ImageSlider(label="Before | after", interactive=False, elem_id="result",
                                         height="min(420px, 45vh)", buttons=["fullscreen"], max_height=420)
            self.status = gr.HTML(elem_id="status")
        with gr.Column(visible=False, elem_id="edit") as self.edit_area:
            with gr.Row() as self.photo_views:
                self.compare = gr.Radio(["crop", "inversion"], value="crop", label="Compare the edit with the",
                                        elem_id="compare")
                self.pasted = gr.Checkbox(False, label="Put back into the photo", elem_id="pasted")
            self._sliders()
            with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                self.method = gr.Radio(self._methods(), value=OWN, label="Method", elem_id="method",
                                       info="how an edit finds its way, and leaves other attributes alone",
                                       visible=len(self.models.methods) > 1)
                self.own_keep = gr.Checkbox(True, label="Keep what each control's own list says (recommended)",
                                            elem_id="own-keep")
                self.keep = gr.CheckboxGroup([(showing.title_of(name), name) for name in self.models.controls],
                                             label="Keep", visible=False, elem_id="keep")
            with gr.Row():
                self.reset = gr.Button("Reset", elem_id="reset")
                self.save_picture = gr.Button("Download picture", variant="primary", elem_id="save-picture")
                self.save_recipe = gr.Button("Download recipe", elem_id="save-recipe")
            self.picture_link = gr.DownloadButton(elem_id="picture-link")  # These two are hidden by the style sheet.
            self.recipe_link = gr.DownloadButton(elem_id="recipe-link")

    def _methods(self) -> list[tuple[str, str]]:
        """The methods that there are to choose from, in words and by name."""
        own = METHOD_WORDS.get(self.models.own_method or "", "each control's own")
        return [(own, OWN), *((METHOD_WORDS[name], name) for name in self.models.methods[1:])]

    def _sliders(self) -> None:
        self.strengths: dict[str, gr.Slider] = {}
        self.targets: dict[str, gr.Dropdown] = {}  # Of multi-class controls: the class to go to.
        for name, control in self.models.controls.items():
            title, (low, high) = showing.title_of(name), control.limits
            if control.binary:
                self.strengths[name] = gr.Slider(low, high, 0, step=0.05, label=title, info=showing.scale_of(control),
                                                 elem_id=f"control-{name}", elem_classes=_marks(low, high))
                continue
            with gr.Row():
                self.targets[name] = gr.Dropdown(list(control.classes), value=control.classes[0], label=title,
                                                 min_width=150, scale=1, elem_id=f"class-{name}")
                self.strengths[name] = gr.Slider(low, high, 0, step=0.05, label=f"{title}: how much", min_width=250,
                                                 scale=3, elem_id=f"control-{name}")

    def _wire(self) -> None:
        # preprocess=False: the file goes to our own reader as it came; Gradio's would decode it first.
        self.upload.upload(self.on_upload, [self.visitor, self.upload], self._of_photo(), preprocess=False,
                           concurrency_limit=2, concurrency_id="photos", **PRIVATE)
        self.face.input(self.on_choose, [self.visitor, self.face], self._of_photo(), **QUICK)
        self.outlined.select(self.on_click, self.visitor, self._of_photo(), **QUICK)
        self.another.click(self.on_another, self.visitor, self._of_photo(), **QUICK)
        running = [self.visitor, self.notice, self.empty, self.result_area, self.edit_area, self.result, self.status,
                   self.invert, self.stop, *self._of_edit()]
        # Before the queue, so that Stop reaches an inversion that still waits there.
        self.invert.click(self.on_begin, self.visitor, [self.notice, self.invert, self.stop], queue=False, **PRIVATE
                          ).then(self.on_invert, [self.visitor, self.preset], running, concurrency_limit=1,
                                 concurrency_id="inversion", show_progress="minimal", show_progress_on=self.status,
                                 **PRIVATE)
        self.invert.click(None, js=SHOW_RESULT, **PRIVATE)
        self.stop.click(self.on_stop, self.visitor, self.stop, queue=False, **PRIVATE)
        self.forget.click(self.on_forget, self.visitor, [*self._of_photo(), *running, self.picture_link,
                                                         self.recipe_link], queue=False, **PRIVATE)
        self.surprise.click(self.on_surprise, [self.visitor, self.truncation], [self.seed, *running], **EDITS)
        self.draw.click(self.on_draw, [self.visitor, self.seed, self.truncation], running, **EDITS)
        settings = [self.visitor, self.compare, self.pasted, self.own_keep, self.keep, self.method,
                    *self.strengths.values(), *self.targets.values()]
        moved = [part.input for part in (self.compare, self.pasted, self.keep, *self.strengths.values(),
                                         *self.targets.values())]
        # always_last: while one picture is made, only the newest of the later positions waits.
        self.pasted.input(lambda pasted: gr.update(interactive=not pasted), self.pasted, self.compare, **QUICK)
        gr.on([*moved, *(slider.release for slider in self.strengths.values())], self.on_paint, settings,
              [self.notice, self.result], trigger_mode="always_last", **EDITS)
        self.own_keep.input(self.on_own_keep, self.own_keep, self.keep, **QUICK).then(
            self.on_paint, settings, [self.notice, self.result], **EDITS)
        self.method.input(self.on_method, [self.method, *self.strengths.values()], [*self.strengths.values()], **QUICK
                          ).then(self.on_paint, settings, [self.notice, self.result], **EDITS)
        self.reset.click(self.on_reset, None, self._of_edit(), **QUICK).then(
            self.on_paint, settings, [self.notice, self.result], **EDITS)
        for button, handler, link in ((self.save_picture, self.on_save_picture, self.picture_link),
                                      (self.save_recipe, self.on_save_recipe, self.recipe_link)):
            button.click(handler, settings, [self.notice, link], concurrency_limit=2, concurrency_id="saving", **PRIVATE
                         ).then(None, js=FOLLOW % link.elem_id, **PRIVATE)

    def _of_photo(self) -> list[Any]:
        return [self.visitor, self.notice, self.upload, self.drop_area, self.photo_area, self.outlined,
                self.faces_words, self.face, self.invert]

    def _of_edit(self) -> list[Any]:
        return [self.photo_views, self.compare, self.pasted, self.method, self.own_keep, self.keep,
                *self.strengths.values()]

    # ---- the photo and its faces

    @shown_errors
    def on_upload(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        if not file or not file.get("path"):
            raise InputError("no photo arrived; choose it again")
        # Whatever comes of it, the drop area is free again: a photo that can be used is shown outlined instead.
        try:
            visitor.open(file["path"])
        except InputError as error:
            return {self.notice: showing.problem(str(error)), self.upload: None}
        finally:
            showing.discard_upload(file["path"])
        return {self.visitor: visitor, self.upload: None, self.drop_area: gr.update(visible=False),
                self.photo_area: gr.update(visible=True), **self.on_choose(visitor, 0)}

    def on_choose(self, visitor: Visitor, index: int | None) -> Update:
        """Choose a face from 0. One that is too small is said so beside the others, which can still be chosen."""
        notice = ""
        try:
            visitor.choose(index or 0)
        except InputError as error:
            notice = showing.problem(str(error))
        if visitor.photo is None:
            return {self.notice: notice}
        picture = showing.outlined(visitor.photo, visitor.faces, visitor.chosen)
        choices = [(str(number + 1), number) for number in range(len(visitor.faces))]
        return {self.notice: notice, self.outlined: showing.for_browser(picture, visitor.folder),
                self.faces_words: showing.faces_in_words(visitor.faces, visitor.chosen),
                self.face: gr.update(choices=choices, value=visitor.chosen, visible=len(choices) > 1),
                self.invert: gr.update(interactive=visitor.chosen is not None)}

    def on_click(self, visitor: Visitor, event: gr.SelectData) -> Update:
        """Choose the face that was clicked."""
        if visitor.photo is None:
            return self.on_choose(visitor, 0)
        scale = min(1, VIEW_SIDE / max(visitor.photo.width, visitor.photo.height))
        index = visitor.face_at(event.index[0] / scale, event.index[1] / scale)
        return {} if index is None else self.on_choose(visitor, index)

    def on_another(self, visitor: Visitor) -> Update:
        """Make room for another photo; what was made of this one stays until then."""
        visitor.end()
        return {self.notice: "", self.upload: None, self.drop_area: gr.update(visible=True),
                self.photo_area: gr.update(visible=False)}

    def on_forget(self, visitor: Visitor) -> Update:
        """Delete all that is there of a visitor, and begin again."""
        folder = visitor.folder
        visitor.forget(self.models.cache)
        showing.forget(folder)
        return {**self.on_another(visitor), **self.on_reset(), self.visitor: visitor, self.outlined: None,
                self.faces_words: "", self.face: gr.update(choices=[], value=None, visible=False),
                self.empty: gr.update(value=FORGOTTEN, visible=True), self.result_area: gr.update(visible=False),
                self.edit_area: gr.update(visible=False), self.result: None, self.status: "",
                self.picture_link: None, self.recipe_link: None,
                self.invert: gr.update(visible=True), self.stop: gr.update(visible=False)}

    # ---- inversion

    def on_begin(self, visitor: Visitor) -> Update:
        visitor.begin()
        return {self.notice: "", self.invert: gr.update(visible=False),
                self.stop: gr.update(visible=True, interactive=True)}

    def on_stop(self, visitor: Visitor) -> Update:
        visitor.end()
        return {self.stop: gr.update(interactive=False)}

    def on_invert(self, visitor: Visitor, preset: str) -> Iterator[Update]:
        """Stream the best so far beside the crop, then open the sliders."""
        idle = {self.invert: gr.update(visible=True), self.stop: gr.update(visible=False)}
        if preset not in PRESETS:
            yield {self.notice: showing.problem(f"{preset}: no such preset"), **idle}
            return
        if visitor.photo is None and visitor.stop is not None and visitor.stop.is_set():
            yield idle  # Forgotten while it waited.
            return
        try:
            yield {self.status: showing.progress_bar(None), self.empty: gr.update(visible=False),
                   self.result_area: gr.update(visible=True), self.edit_area: gr.update(visible=False)}
            crop = showing.for_browser(visitor.crop(self.models.generator.resolution), visitor.folder)
            before = visitor.subject
            for progress in visitor.invert(self.models.projector, PRESETS[preset], self.models.cache):
                if visitor.photo is None:  # Forgotten: nothing more is to be written.
                    break
                yield {self.result: (crop, showing.for_browser(progress.pictures[0], visitor.folder)),
                       self.status: showing.progress_bar(progress)}
            new = visitor.subject is not None and visitor.subject is not before
            yield {**idle, **(self._subject(visitor) if new else {self.status: ""})}
        except InputError as error:
            left = self._subject(visitor) if visitor.subject else {self.status: ""}
            yield {**idle, **left, self.notice: showing.problem(str(error))}

    # ---- samples

    @shown_errors
    def on_surprise(self, visitor: Visitor, truncation: float) -> Update:
        seed = random.randrange(1_000_000)  # noqa: S311 (a face, not a secret)
        return {self.seed: seed, **self.on_draw(visitor, seed, truncation)}

    @shown_errors
    def on_draw(self, visitor: Visitor, seed: float | None, truncation: float) -> Update:
        visitor.sample(self.models.generator, int(seed or 0), truncation)
        return self._subject(visitor)

    # ---- edits

    def _subject(self, visitor: Visitor) -> Update:
        """Show a visitor's subject, unedited, and open the sliders."""
        subject = visitor.subject
        assert subject is not None
        of_photo = subject.inversion is not None
        # The edit is shown put back into the photo: there it keeps the photo's own detail.
        shown = subject.pasted(subject.picture, whole=False) if of_photo else (subject.picture, subject.picture)
        return {self.visitor: visitor, self.empty: gr.update(visible=False), self.result_area: gr.update(visible=True),
                self.edit_area: gr.update(visible=True), self.photo_views: gr.update(visible=of_photo),
                self.result: self._pair(visitor, *shown),
                self.status: showing.numbers(subject), **self.on_reset(),
                self.compare: gr.update(value="crop", interactive=not of_photo), self.pasted: of_photo}

    def _pair(self, visitor: Visitor, before: np.ndarray, after: np.ndarray) -> tuple[str, str]:
        return showing.for_browser(before, visitor.folder), showing.for_browser(after, visitor.folder)

    def on_reset(self) -> Update:
        return {**self.on_method(OWN, *(0 for _ in self.strengths)), self.method: OWN, self.own_keep: True,
                self.keep: gr.update(value=[], visible=False)}

    def on_method(self, method: str, *strengths: float) -> Update:
        """Give the sliders the ranges that are safe by a method; a strength beyond its range comes back to the end."""
        controls = self.models.controls_of(method)
        update: Update = {}
        for (name, slider), strength in zip(self.strengths.items(), strengths, strict=True):
            low, high = controls.get(name, self.models.controls[name]).limits
            update[slider] = gr.update(minimum=low, maximum=high, value=min(max(strength, low), high),
                                       elem_classes=_marks(low, high))
        return update

    def on_own_keep(self, own: bool) -> Update:
        return {self.keep: gr.update(visible=not own)}

    @shown_errors
    def on_paint(self, visitor: Visitor, compare: str, pasted: bool, own_keep: bool, keep: list[str],
                 method: str, *values: Any) -> Update:
        subject, strengths, kept = self._edit(visitor, own_keep, keep, values)
        picture = self.models.edit(subject, strengths, kept, method)
        if subject.inversion is None:
            before, after = subject.picture, picture
        elif pasted:
            before, after = subject.pasted(picture, whole=False)
        else:
            before, after = (subject.inversion.crop if compare == "crop" else subject.picture), picture
        return {self.result: self._pair(visitor, before, after)}

    def on_save_picture(self, visitor: Visitor, compare: str, pasted: bool, own_keep: bool, keep: list[str],
                        method: str, *values: Any) -> Update:
        try:
            subject, strengths, kept = self._edit(visitor, own_keep, keep, values)
            picture = self.models.edit(subject, strengths, kept, method)
            made = self._recipe(subject, strengths, kept, method)
            whole = pasted and subject.photo is not None
            return {self.notice: "", self.picture_link: str(
                showing.save_for_download(subject, picture, made, pasted=whole, owner=visitor.folder))}
        except InputError as error:  # The link must not lead to an earlier picture.
            return {self.notice: showing.problem(str(error)), self.picture_link: None}

    def on_save_recipe(self, visitor: Visitor, compare: str, pasted: bool, own_keep: bool, keep: list[str],
                       method: str, *values: Any) -> Update:
        try:
            subject, strengths, kept = self._edit(visitor, own_keep, keep, values)
            made = self._recipe(subject, strengths, kept, method)
            return {self.notice: "", self.recipe_link: str(
                showing.save_recipe_for_download(subject, made, owner=visitor.folder))}
        except InputError as error:
            return {self.notice: showing.problem(str(error)), self.recipe_link: None}

    def _recipe(self, subject: Subject, strengths: dict[str, float], keep: tuple[str, ...] | None,
                method: str) -> Recipe:
        return recipe(subject, self.models.generator, self.models.controls_of(method), strengths, keep, name_of(method))

    def _edit(self, visitor: Visitor, own_keep: bool, keep: list[str],
              values: tuple[Any, ...]) -> tuple[Subject, dict[str, float], tuple[str, ...] | None]:
        """What the page's settings ask for: the subject, the strengths that are not 0, and the keep list."""
        if visitor.subject is None:
            raise InputError("there is nothing to edit any more (all is deleted after an hour); choose the photo again")
        sliders, classes = values[:len(self.strengths)], values[len(self.strengths):]
        targets = dict(zip(self.targets, classes, strict=True))
        strengths = {f"{name}:{targets[name]}" if name in targets else name: float(value)
                     for name, value in zip(self.strengths, sliders, strict=True) if value}
        return visitor.subject, strengths, None if own_keep else tuple(keep)


def _marks(low: float, high: float) -> str:
    """The style of a slider: one whose 0 is in the middle has a mark there."""
    return "signed" if low == -high else ""
