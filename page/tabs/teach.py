"""The tab Teach: a person sorts synthetic samples into classes, and gets a control of their own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
import numpy as np
from PIL import Image

from directions import ALL_LAYERS, Control, Controls
from directions import save as save_directions
from editing import Edit, Editor, edit_each, join
from generators import Generator
from learning.from_labels import MOST_CLASSES, keepable, warm_up
from learning.lesson import FEWEST, GOAL, Lesson, Pool
from page.jobs.services import Services
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import Visitor
from page.tabs.wiring import EDITS, FOLLOW, HIDDEN, PRIVATE, QUICK, SAVING, Update, shown_errors
from page.tabs.words import problem, title_of
from weights.errors import InputError

INTRO = ("Missing a slider? Name what it should change, sort faces of nobody into its classes, and the page learns it. "
         f"It takes {FEWEST} faces of each class at least; {GOAL}, about two minutes, work better.")
CLASSES_INFO = "commas between; the slider goes from the first to the last"
KEYS_WORDS = "Keys: a class by its number, <kbd>S</kbd> or <kbd>Space</kbd> skips, <kbd>U</kbd> takes back."
PARTS = {"all": (0.0, 1.0), "shapes": (0.0, 2 / 3), "colours": (1 / 3, 1.0)}  # Of the rows of w+.
PART_WORDS = [("shapes and colours", "all"), ("shapes", "shapes"), ("colours and fine detail", "colours")]
STRIP_SEEDS, STRIP_TRUNCATION = (11, 5, 42), 0.7  # The three faces of the strip.
WEAK = 0.65         # Balanced accuracy of two classes below which a control is hardly better than guessing.
SMALLEST_VIEW = 512  # Pixels a side of a sample as it is shown: crisp on the screens of phones, too.
# Before the queue: the next sample is rendered already, and must not wait for what is not.
AT_ONCE: dict[str, Any] = {"queue": False, **HIDDEN, **PRIVATE}
TRAINING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "training", **HIDDEN, **PRIVATE}

# Keys work while the lesson is in sight and nothing that is typed into has the focus. Space belongs to a button that
# has the focus; a button that was clicked with the mouse gives it back, or Space would click it again.
KEYS = """
if (!window.teachKeys) {
  window.teachKeys = true;
  const lesson = () => { const area = document.querySelector('#teach-lesson');
                         return area && area.offsetParent !== null ? area : null; };
  const typing = target => target.isContentEditable
    || target.matches('textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=button])');
  document.addEventListener('keydown', event => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !lesson() || typing(event.target)) return;
    const key = event.key.toLowerCase();
    if (key === ' ' && event.target.closest('button, a, input, summary, [role=tab]')) return;
    const id = /^[1-6]$/.test(key) ? 'teach-class-' + key
      : {s: 'teach-skip', ' ': 'teach-skip', u: 'teach-undo', backspace: 'teach-undo'}[key];
    const button = id && lesson().querySelector('#' + id);
    if (!button || button.disabled || button.offsetParent === null) return;
    event.preventDefault();
    button.click();
  });
  document.addEventListener('click', event => {
    const button = event.target.closest('#teach-lesson button');
    if (button && event.detail > 0) button.blur();
  });
}
"""


class TeachTab:
    """The components of the tab and their handlers. Build it within its `gr.Tab`.

    Args:
        services: All that visitors share.
        visitor: Holds a `Visitor`.
    Attributes:
        saved: The event that gives the visitor the new control; what shows the visitor's models follows it.
    """

    def __init__(self, services: Services, visitor: gr.State) -> None:
        self.services, self.visitor = services, visitor
        self._pools: WeakKeyDictionary[Generator, Pool] = WeakKeyDictionary()
        with gr.Column(elem_id="teach"):
            gr.Markdown(INTRO, elem_id="teach-intro")
            self.notice = gr.HTML("", elem_id="teach-notice")
            self._start()
            with gr.Row(visible=False, elem_id="teach-lesson", equal_height=False) as self.lesson_area:
                self._sorting()
            with gr.Column(visible=False, elem_id="teach-result") as self.result_area:
                self._result()
        self._wire()

    # ---- layout

    def _start(self) -> None:
        with gr.Row(elem_id="teach-start") as self.start_area:
            self.name = gr.Textbox(label="Name of the new slider", placeholder="beard", max_length=40, scale=2,
                                   min_width=200, elem_id="teach-name", info="one word or a few")
            self.classes = gr.Textbox(label="Its classes", placeholder="no beard, beard", max_length=200, scale=3,
                                      min_width=200, elem_id="teach-names", info=CLASSES_INFO)
            self.begin = gr.Button("Begin", variant="primary", scale=1, min_width=140, elem_id="teach-begin")
            self.back = gr.Button("", visible=False, scale=1, min_width=140, elem_id="teach-back")

    def _sorting(self) -> None:
        with gr.Column(scale=1, min_width=280):
            self.picture = gr.Image(interactive=False, label="Sample", show_label=False, format="jpeg", buttons=[],
                                    elem_id="teach-picture", alt_text="The sample to sort")
        with gr.Column(scale=1, min_width=280):
            self.question = gr.Markdown("", elem_id="teach-question")
            with gr.Row(elem_id="teach-classes"):
                self.sorts = [gr.Button("", visible=False, min_width=120, elem_id=f"teach-class-{number}")
                              for number in range(1, MOST_CLASSES + 1)]
            with gr.Row():
                self.skip = gr.Button("Skip", size="md", min_width=100, elem_id="teach-skip")
                self.undo = gr.Button("Undo", size="md", min_width=100, interactive=False, elem_id="teach-undo")
            gr.HTML(KEYS_WORDS, elem_id="teach-keys", js_on_load=KEYS)
            self.counts = gr.HTML("", elem_id="teach-counts")
            with gr.Row():
                self.train = gr.Button("Train", min_width=140, elem_id="teach-train")
                self.another = gr.Button("Another lesson", min_width=140, elem_id="teach-another")
        self.shown = gr.Number(visible=False, precision=0)  # The sample that the browser shows: that one is sorted.

    def _result(self) -> None:
        self.accuracy = gr.HTML("", elem_id="teach-accuracy")
        with gr.Row(visible=False, equal_height=False) as self.trained_area:
            with gr.Column(scale=3, min_width=280, elem_id="teach-strip-column"):
                gr.Markdown("**The new slider on three faces of nobody**")
                self.strip = gr.Image(interactive=False, label="The new slider on three faces of nobody",
                                      show_label=False, format="jpeg", buttons=[], elem_id="teach-strip")
                self.ends = gr.HTML("", elem_id="teach-ends")
            with gr.Column(scale=2, min_width=280):
                self.keep = gr.CheckboxGroup([], label="Keep", elem_id="teach-keep",
                                             info="what the new slider must leave alone")
                self.part = gr.Radio(PART_WORDS, value="all", label="It may change", elem_id="teach-part")
                with gr.Row():
                    self.save = gr.Button("Save", variant="primary", min_width=100, scale=1, elem_id="teach-save")
                    self.download = gr.Button("Download the control", min_width=180, scale=2, elem_id="teach-download")
                self.said = gr.HTML("", elem_id="teach-said")
        self.link = gr.DownloadButton(elem_id="teach-link")  # Hidden by the style sheet.

    def _wire(self) -> None:
        step = [self.notice, self.picture, self.shown, self.counts, self.train, self.undo, self.question]
        begun = [self.visitor, *step, self.start_area, self.lesson_area, self.result_area, self.trained_area,
                 self.part, *self.sorts]
        ahead: dict[str, Any] = {"fn": self.on_prepare, "inputs": self.visitor, "outputs": None, **EDITS}
        for event in (self.begin.click, self.name.submit, self.classes.submit):
            event(self.on_begin, [self.visitor, self.name, self.classes], begun, **QUICK).then(**ahead)
        for index, button in enumerate(self.sorts):
            button.click(partial(self.on_sort, index), [self.visitor, self.shown], step, **AT_ONCE).then(**ahead)
        self.skip.click(self.on_skip, [self.visitor, self.shown], step, **AT_ONCE).then(**ahead)
        self.undo.click(self.on_undo, self.visitor, step, **AT_ONCE)
        areas = [self.start_area, self.lesson_area, self.result_area]
        self.another.click(self.on_another, self.visitor, [self.notice, self.back, *areas], **AT_ONCE)
        self.back.click(self.on_back, self.visitor, [*step, *areas], **AT_ONCE).then(**ahead)
        result = [self.notice, self.result_area, self.accuracy, self.trained_area, self.strip, self.ends, self.keep,
                  self.save, self.train, self.said]
        self.train.click(self.on_announce, self.visitor, result, **AT_ONCE).then(
            self.on_train, self.visitor, result, **TRAINING)
        gr.on([self.keep.input, self.part.input], self.on_adjust, [self.visitor, self.keep, self.part],
              [self.notice, self.strip, self.ends, self.save, self.said], trigger_mode="always_last", **TRAINING)
        self.saved = self.save.click(self.on_save, self.visitor, [self.visitor, self.notice, self.save, self.said],
                                     **QUICK)
        self.download.click(self.on_download, self.visitor, [self.notice, self.link], **SAVING).then(
            None, js=FOLLOW % "teach-link", **PRIVATE)

    # ---- the lesson

    @shown_errors
    def on_begin(self, visitor: Visitor, name: str | None, classes: str | None) -> Update:
        models = self.services.models_of(visitor)
        names = [item.strip() for item in (classes or "").split(",") if item.strip()]
        lesson = Lesson(models.generator, self._pool(models), attribute_of(name or ""), names, models.controls,
                        seed=secrets.randbelow(2**31))
        visitor.lesson = lesson
        buttons = {button: gr.update(visible=index < len(names),
                                     value=f"{index + 1} · {names[index]}" if index < len(names) else "")
                   for index, button in enumerate(self.sorts)}
        return {self.visitor: visitor, self.start_area: gr.update(visible=False),
                self.lesson_area: gr.update(visible=True), self.result_area: gr.update(visible=False),
                self.trained_area: gr.update(visible=False), self.part: "all",
                **buttons, **self._sample(visitor, lesson)}

    @shown_errors
    def on_sort(self, index: int, visitor: Visitor, shown: float | None) -> Update:
        lesson = self._lesson(visitor)
        if not _is_shown(lesson, shown) or index >= len(lesson.classes):
            return {}  # A second key before the next picture came: that one was not looked at.
        lesson.sort(lesson.classes[index])
        return self._sample(visitor, lesson)

    @shown_errors
    def on_skip(self, visitor: Visitor, shown: float | None) -> Update:
        lesson = self._lesson(visitor)
        if not _is_shown(lesson, shown):
            return {}
        lesson.skip()
        return self._sample(visitor, lesson)

    @shown_errors
    def on_undo(self, visitor: Visitor) -> Update:
        lesson = self._lesson(visitor)
        lesson.undo()
        return self._sample(visitor, lesson)

    def on_prepare(self, visitor: Visitor) -> None:
        """While the person looks at a sample, render those that come next."""
        if visitor.lesson is not None:
            visitor.lesson.prepare()
        warm_up()

    def on_another(self, visitor: Visitor) -> Update:
        """Make room for another lesson; until that begins, one can go back to this one."""
        lesson = visitor.lesson
        back = gr.update(visible=False) if lesson is None else gr.update(
            visible=True, value=f"Go on with {title_of(lesson.name)}")
        return {self.notice: "", self.back: back, self.start_area: gr.update(visible=True),
                self.lesson_area: gr.update(visible=False), self.result_area: gr.update(visible=False)}

    @shown_errors
    def on_back(self, visitor: Visitor) -> Update:
        lesson = self._lesson(visitor)
        return {self.start_area: gr.update(visible=False), self.lesson_area: gr.update(visible=True),
                self.result_area: gr.update(visible=lesson.control is not None), **self._sample(visitor, lesson)}

    # ---- the control

    def on_announce(self, visitor: Visitor) -> Update:
        """Say that training goes on; where it cannot, `on_train` says why."""
        if visitor.lesson is None or not visitor.lesson.ready:
            return {self.notice: ""}
        words = f"Training on {len(visitor.lesson.labels)} sorted faces…"
        return {self.notice: "", self.train: gr.update(interactive=False), self.result_area: gr.update(visible=True),
                self.accuracy: f"<p class='good' role='status'>{words}</p>"}

    def on_train(self, visitor: Visitor) -> Update:
        again = {self.train: gr.update(interactive=True)}
        try:
            lesson = self._lesson(visitor)
            control = lesson.fit()
            return {self.notice: "", self.result_area: gr.update(visible=True), self.accuracy: accuracy_words(control),
                    self.trained_area: gr.update(visible=True),
                    self.keep: gr.update(choices=[(title_of(other.name), other.name)
                                                  for other in keepable(lesson.controls, lesson.name)],
                                         value=list(control.keep)),
                    self.train: gr.update(value="Train again", variant="secondary", interactive=True),
                    **self._strip(visitor, lesson, control)}
        except InputError as error:
            return {self.notice: problem(str(error)), **again}

    @shown_errors
    def on_adjust(self, visitor: Visitor, keep: list[str], part: str) -> Update:
        lesson = self._lesson(visitor)
        control = lesson.adjust(keep=keep, layers=layers_of_part(lesson.generator, part))
        return self._strip(visitor, lesson, control)

    @shown_errors
    def on_save(self, visitor: Visitor) -> Update:
        _, control = self._trained(visitor)
        models = self.services.models_of(visitor)
        others = [other for name, other in models.controls.items() if name != control.name]
        visitor.own_models = models.with_controls(Controls([*others, control], spaces=models.generator.spaces,
                                                     source=_source(models, control.name)))
        words = f"Saved: the slider {title_of(control.name)} is on the tab Edit now, for you alone."
        return {self.visitor: visitor, self.save: gr.update(value="Saved", variant="secondary", interactive=False),
                self.said: f"<p class='good' role='status'>{escape(words)}</p>"}

    def on_download(self, visitor: Visitor) -> Update:
        try:
            lesson, control = self._trained(visitor)
            return {self.notice: "", self.link: str(save_for_download(control, lesson.generator, visitor.folder))}
        except InputError as error:  # The link must not lead to an earlier file.
            return {self.notice: problem(str(error)), self.link: None}

    # ---- what all of them need

    def _pool(self, models: EditingModels) -> Pool:
        """The samples of a generator; visitors share them."""
        generator = models.generator
        if generator not in self._pools:
            self._pools[generator] = Pool(generator)
        return self._pools[generator]

    def _lesson(self, visitor: Visitor) -> Lesson:
        """The visitor's lesson.

        Raises:
            InputError: it is gone, or was about another generator.
        """
        lesson = visitor.lesson
        if lesson is None:
            raise InputError(None, "the lesson is gone (all is deleted after an hour)", "begin another one")
        if lesson.generator is not self.services.models_of(visitor).generator:
            visitor.lesson = None
            raise InputError(None, "the lesson was about another generator, which is no longer chosen",
                             "begin another one")
        return lesson

    def _trained(self, visitor: Visitor) -> tuple[Lesson, Control]:
        lesson = self._lesson(visitor)
        if lesson.control is None:
            raise InputError(lesson.name, "nothing is trained yet", "train first")
        return lesson, lesson.control

    def _sample(self, visitor: Visitor, lesson: Lesson) -> Update:
        """Show the sample that is to be sorted, and where the lesson stands."""
        sample = lesson.current
        number = lesson.shown + 1
        ready = lesson.ready
        words = "Train again" if lesson.control is not None else "Train"
        update: Update = {self.counts: counts_words(lesson), self.undo: gr.update(interactive=lesson.can_undo),
                          self.train: gr.update(value=words, variant="primary" if ready else "secondary")}
        if sample is None:
            return {**update, self.picture: gr.update(value=None, alt_text="No sample is left"), self.shown: None,
                    self.question: "**All samples have been shown.** Train with what is sorted, or undo."}
        path = files.for_browser(enlarged(sample.picture), visitor.folder)
        return {**update, self.picture: gr.update(value=path, alt_text=f"Sample {number} of nobody"),
                self.shown: sample.seed, self.question: f"**{title_of(lesson.name)}:** which is it?"}

    def _strip(self, visitor: Visitor, lesson: Lesson, control: Control) -> Update:
        """Paint the control on three faces; it can be saved (again)."""
        pictures, captions = control_strip(lesson, control)
        path = files.for_browser(pictures, visitor.folder)
        words = (f"Three faces of nobody, each in a row, with {title_of(control.name).lower()} at "
                 f"{', '.join(captions)}")
        cells = "".join(f"<span>{escape(caption)}</span>" for caption in captions)
        return {self.strip: gr.update(value=path, alt_text=words),
                self.ends: f"<div class='ends' aria-hidden='true'>{cells}</div>", self.said: "",
                self.save: gr.update(value="Save", variant="primary", interactive=True)}


def attribute_of(words: str) -> str:
    """What a person calls an attribute, as a control's name: "Long hair" is "long_hair"."""
    return "_".join(words.lower().replace("-", " ").split())


def layers_of_part(generator: Generator, part: str) -> tuple[int, int]:
    """The layer range that may change, in sides of features."""
    start, stop = (round(share * generator.num_ws) for share in PARTS.get(part, PARTS["all"]))
    positions = [ALL_LAYERS[0], *generator.row_positions[1:], ALL_LAYERS[1]]
    return int(positions[start]), int(positions[stop])


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture with at least SMALLEST_VIEW pixels a side: browsers enlarge with less care."""
    side = len(picture)
    if side >= SMALLEST_VIEW:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SMALLEST_VIEW, SMALLEST_VIEW), Image.Resampling.LANCZOS))


def control_strip(lesson: Lesson, control: Control) -> tuple[np.ndarray, list[str]]:
    """A control on three faces, a row each, and what the columns are.

    Returns:
        uint8 [3 R, columns * R, 3]: of a binary control five strengths from -2 to 2 (or to the limits), of another one
        the face as it is, then each class at strength 1; and the columns' captions.
    """
    generator = lesson.generator
    others = [other for other in keepable(lesson.controls, control.name) if other.name in control.keep]
    editor = Editor(generator, Controls([*others, control], spaces=generator.spaces))
    editor.set_latents(generator.sample(STRIP_SEEDS, truncation=STRIP_TRUNCATION))
    low, high = control.limits
    if control.binary:
        strengths = [max(-2.0, low), max(-2.0, low) / 2, 0.0, min(2.0, high) / 2, min(2.0, high)]
        edits = [Edit(strengths={control.name: strength}) for strength in strengths]
        captions = [f"{strength:+g}".replace("-", "\N{MINUS SIGN}") if strength else "0" for strength in strengths]
        captions[0] += f" {control.classes[0]}"
        captions[-1] += f" {control.classes[1]}"
    else:
        edits = [Edit(), *(Edit(strengths={f"{control.name}:{name}": min(1.0, high)}) for name in control.classes)]
        captions = ["as it is", *control.classes]
    return join(edit_each(editor, edits)), captions


def counts_words(lesson: Lesson) -> str:
    """How many samples each class has, and how the next ones are chosen, as HTML."""
    rows = "".join(f"<span class='name'>{escape(name)}</span><progress max='{GOAL}' value='{min(count, GOAL)}' "
                   f"aria-label='{escape(name, quote=True)}'></progress><span class='number'>{count} of {GOAL}</span>"
                   for name, count in lesson.counts.items())
    return f"<div role='status'><div class='counts'>{rows}</div><p class='why'>{escape(why_words(lesson))}</p></div>"


def why_words(lesson: Lesson) -> str:
    """Why the current sample is shown, and what is still needed, in words."""
    sample = lesson.current
    if lesson.complete:
        need = "That is enough: train now."
    elif lesson.ready:
        need = f"You can train now; {GOAL} of each class are better."
    else:
        need = f"Training takes {FEWEST} of each class at least."
    if sample is None:
        return need
    if sample.why == "random":
        return f"{need} These faces come at random, until each class has a few."
    if sample.why == "unsure":
        return f"{need} These faces are among those that the page is least sure of."
    return f"{need} This face is looked for: it could be “{sample.why}”, of which there are few."


def accuracy_words(control: Control) -> str:
    """How well a control tells samples that it was not trained on, as HTML."""
    tested = control.report["held out"]
    assert isinstance(tested, dict)
    examples = control.report["examples"]
    assert isinstance(examples, dict)
    right = round(tested["accuracy"] * tested["samples"])
    each = ", ".join(f"{name} {round(row[index] * examples[name])} of {examples[name]}"
                     for index, (name, row) in enumerate(zip(control.classes, tested["confusion"], strict=True)))
    words = (f"Trained. In a test, {right} of your {tested['samples']} faces ({100 * tested['accuracy']:.0f} %) were "
             f"told right by classifiers that had not seen them: {each}.")
    chance = 1 / len(control.classes)
    if tested["balanced accuracy"] < chance + (WEAK - 0.5) * 2 * (1 - chance):
        return (f"<p class='weak' role='status'>{escape(words)} That is little better than guessing: sort more faces, "
                "or choose classes that can be told apart at a glance.</p>")
    return (f"<p class='good' role='status'>{escape(words)} You were asked for the hardest ones, so of other faces it "
            "may tell more.</p>")


def save_for_download(control: Control, generator: Generator, owner: str) -> Path:
    """Write a control, and no other, to a file of its own in its owner's part of the private directory."""
    folder = files.private_dir() / owner / secrets.token_hex(16)
    folder.mkdir(parents=True)
    path = folder / f"{control.name}.control.safetensors"
    save_directions(path, [control], spaces=generator.spaces)
    return path


def _is_shown(lesson: Lesson, shown: float | None) -> bool:
    """Whether the sample that the browser shows is the lesson's current one."""
    sample = lesson.current
    return sample is not None and shown is not None and int(shown) == sample.seed


def _source(models: EditingModels, name: str) -> str:
    """What messages call a models's controls with a new one among them."""
    taught: Sequence[str] = models.controls.source.split(" + ")
    return " + ".join([*(part for part in taught if part != name), name])
