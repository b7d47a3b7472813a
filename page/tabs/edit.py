"""The tab Edit: the sliders, and the picture that they change."""

from __future__ import annotations

import asyncio
import itertools
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from editing import Edit
from inversion import made_smaller
from page.jobs.editing import edited_picture, preview_picture
from page.jobs.executors import WHOLE_WAY, EditExecutor, edits, measurements, whole_pictures
from page.jobs.measuring import effect_of
from page.jobs.services import Services
from page.jobs.suggestions import Suggestions, known_looks, suggestions, surprise
from page.jobs.views import PREVIEW_SIDE, VIEW_SIDE, pasted_pictures
from page.state import files
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor, WantedPicture
from page.tabs import words
from page.tabs.outputs import WAY, Outputs, edit_of, film, strip_of
from page.tabs.photo_handlers import SHOW_SLIDERS, PhotoHandlers
from page.tabs.photo_stage import PhotoStage
from page.tabs.result import (
    BEFORE,
    EMPTY,
    EMPTY_SAMPLE,
    FILM,
    FORGOTTEN,
    INVERSION,
    MOST_PINS,
    PINNED,
    STRIP,
    WHOLE,
    ResultSide,
)
from page.tabs.sliders import Sliders
from page.tabs.wiring import EDITS, HIDDEN, PRIVATE, QUICK, SAVING, Update, as_updates, shown_errors
from weights.errors import InputError

SETTLED = 0.25  # Seconds without another move after which an edit is drawn in full and measured.
NUMBERS = 0.1   # Seconds that a picture in full waits for its numbers.
LOOK = 0.1      # Seconds between two looks at whether a visitor whose edit is to be measured has moved on.
_MOVES = itertools.count(1)


class EditTab(PhotoHandlers):
    """Its components and handlers. Build it within `gr.Blocks`.

    Args:
        services: Shared by all visitors.
        visitor: The visitor's state.
    """

    def __init__(self, services: Services, visitor: gr.State) -> None:
        self.services, self.visitor = services, visitor
        self._measuring: weakref.WeakKeyDictionary[Visitor, Any] = weakref.WeakKeyDictionary()
        self.notice = gr.HTML("", elem_id="notice", elem_classes="notice")
        with gr.Row(equal_height=False, elem_id="edit-columns"):
            with gr.Column(scale=4, min_width=300, elem_id="left-side"):
                self.onward = gr.Button("Back to the sliders", size="sm", visible=False, elem_id="onward")
                self.photo = PhotoStage()
                with gr.Column(visible=False, elem_id="edit") as self.edit_area:
                    self.back = gr.Button("Another photo", size="sm", elem_id="back")
                    self.looks = gr.Gallery(label="Try one of these", columns=5, height="auto", allow_preview=False,
                                            object_fit="cover", elem_id="looks", buttons=[], interactive=False,
                                            visible=False)
                    self.sliders = Sliders()
            with gr.Column(scale=6, min_width=300, elem_id="right-side"):
                self.side = ResultSide()
                self.outputs = Outputs(services, visitor, self.notice, self.side)
        self.moved = gr.Number(0, visible=False)  # Is another one after each repaint, which begins the rest.
        self._wire()

    # ---- wiring

    def _wire(self) -> None:
        self.wire_photo()
        self._wire_edits()
        self.outputs.wire(self.read, self.sliders.inputs, self.side.pasted)

    def _wire_edits(self) -> None:
        side, settings = self.side, [self.visitor, *self.side.view, *self.sliders.inputs]
        submitted = [event for part in (self.sliders.layers, self.sliders.channels, self.sliders.step)
                     for event in (part.submit, part.blur)]
        method = self.sliders.method.input(self.on_method, settings, [self.notice, *self.sliders.outputs], **QUICK)
        pasted = side.pasted.input(self.on_pasted, [self.visitor, *side.view], [self.notice, side.compare], **QUICK)
        # always_last: while one picture is made, only the newest of the later positions waits.
        # preprocess=False: Gradio would send each of the many values through a thread, to be left as it is.
        at_once: dict[str, Any] = {"outputs": [self.notice, *side.shown, self.moved], "trigger_mode": "always_last",
                                   "queue": False, "preprocess": False, **HIDDEN, **PRIVATE}
        gr.on([side.compare.input, self.sliders.keep.input, *submitted], self.on_drag, settings,
              **{**at_once, "outputs": [self.notice, *side.areas, self.moved]})
        self._wire_slots(at_once)
        settled: dict[str, Any] = {"fn": as_updates(self.on_settle), "inputs": self.visitor,
                                   "outputs": [self.visitor, self.notice, *side.areas, side.effect, *side.history],
                                   "concurrency_limit": None, "preprocess": False, **HIDDEN, **PRIVATE}
        # After the last drag, not beside it: one that comes late would pass for a move after the last one.
        rested = self.moved.change(trigger_mode="always_last", **settled)
        for event in (rested, method.then(**settled), pasted.then(**settled)):
            event.then(as_updates(self.on_measured), self.visitor, [self.notice, side.effect], queue=False, **HIDDEN,
                       **PRIVATE)
        again = [self.visitor, self.notice, *side.areas, side.effect, *side.history, *self.sliders.outputs]
        for button, handler in ((side.undo, self.on_undo), (side.redo, self.on_redo), (side.reset, self.on_reset),
                                (side.surprise, self.on_surprise_edit)):
            button.click(handler, [self.visitor, *side.view], again, **EDITS)
        self.looks.select(self.on_choose_look, [self.visitor, *side.view], again, **EDITS)
        side.pin.click(self.on_pin, settings, [self.notice, *side.areas, side.compare], **EDITS)
        side.look.input(self.on_look, [self.visitor, self.outputs.of, *side.view], [self.notice, *side.areas],
                        **EDITS)
        side.full.click(self.on_full, [self.visitor, side.pasted], [self.notice, side.dialog], **SAVING
                        ).success(None, js="() => window.showFullSize()", **PRIVATE)

    def _wire_slots(self, at_once: dict[str, Any]) -> None:
        """Each slider sends itself alone: the browser takes a millisecond for each value that it sends."""
        for number, part in self.sliders.slots.items():
            triggers = [part.input, part.release] if isinstance(part, gr.Slider) else [part.input]
            gr.on(triggers, partial(self.on_slide, number), [self.visitor, *self.side.view, part], postprocess=False,
                  **at_once)

    @property
    def subject_outputs(self) -> list[Any]:
        """What changes when there is another subject."""
        return [self.visitor, self.notice, self.photo.drop_area, self.photo.photo_area, self.edit_area, self.onward,
                self.looks, self.sliders.ends, *self.side.outputs, *self.sliders.outputs, self.sliders.preset,
                *self.outputs.outputs]

    @property
    def suggested(self) -> list[Any]:
        return [self.looks, self.sliders.ends, *self.sliders.strengths]

    @property
    def all_outputs(self) -> list[Any]:
        """All that a visitor may have changed."""
        return [*dict.fromkeys([*self.subject_outputs, *self.photo.outputs, self.photo.session, self.side.dialog,
                                *self.outputs.links.values()])]

    # ---- edits

    def show_subject(self, visitor: Visitor, edit: Edit | None = None) -> Update:
        """Show a visitor's subject, and open the sliders."""
        subject, models, edit = visitor.present_subject, self.services.models_of(visitor), edit or Edit()
        pasted = subject.photo is not None  # There it keeps the photo's own detail.
        return {self.visitor: visitor, self.notice: "", self.photo.drop_area: gr.update(visible=False),
                self.photo.photo_area: gr.update(visible=visitor.edits_photo),
                self.edit_area: gr.update(visible=True), self.onward: gr.update(visible=False),
                self.looks: gr.update(visible=False), self.sliders.ends: "", self.side.veil: gr.update(visible=False),
                self.side.empty: gr.update(visible=False), self.side.area: gr.update(visible=True),
                self.side.tools: gr.update(visible=True), self.side.status: words.numbers(subject),
                self.side.stop: gr.update(visible=False), self.side.look: WHOLE,
                self.side.effect: self._effect(models, subject, edit),
                self.side.pasted: gr.update(value=pasted, visible=pasted),
                self.sliders.preset: gr.update(choices=words.presets_in_words(models), value=visitor.preset,
                                               visible=subject.inversion is not None),
                **self.side.choices(visitor, BEFORE, pasted=pasted), **self.side.buttons(visitor),
                **self._painted(visitor, models, edit, BEFORE, pasted, WHOLE),
                **self._sliders(visitor, models, edit), **self.outputs.show(visitor, models)}

    def better_on_the_way(self, visitor: Visitor) -> Update:
        wanted = _wanted(visitor)
        if wanted[3] == FILM:
            return gr.skip()  # It would be taken away while it is watched.
        return self._painted(visitor, self.services.models_of(visitor), *wanted)

    def improved(self, visitor: Visitor) -> Update:
        models, subject, wanted = self.services.models_of(visitor), visitor.present_subject, _wanted(visitor)
        return {**self._painted(visitor, models, *wanted), self.side.status: words.numbers(subject),
                self.side.effect: self._effect(models, subject, wanted[0])}

    def _sliders(self, visitor: Visitor, models: EditingModels, edit: Edit) -> Update:
        update = self.sliders.show(models, edit, visitor.subject.limits if visitor.subject is not None else {})
        visitor.values = [update.get(part, {}).get("value") for part in self.sliders.inputs]
        visitor.ranges = {number: (update[part]["minimum"], update[part]["maximum"])
                          for number, part in self.sliders.slots.items() if "minimum" in update.get(part, {})}
        return update

    def read(self, visitor: Visitor, *values: Any) -> tuple[EditingModels, EditSubject, Edit]:
        """What the sliders ask for.

        Raises:
            InputError: there is nothing to edit, or a setting cannot be read.
        """
        subject, models = visitor.present_subject, self.services.models_of(visitor)
        return models, subject, self.sliders.read(models, values)

    def _painted(self, visitor: Visitor, models: EditingModels, edit: Edit, compare: str, pasted: bool, look: str, *,
                 of: str = WAY) -> Update:
        """The result's pictures in full: what an edit is compared with, and the edit, as the visitor looks at them.

        A strip is drawn anew. A film, of which the edit may be another by now, makes way for the picture.
        """
        visitor.settled = None
        back = {self.side.look: WHOLE} if look == FILM else {}
        look = WHOLE if look == FILM else look
        pictures = self._drawn(visitor, models, edit, compare, pasted, VIEW_SIDE)
        painted = {**back, **self.side.pictures(visitor, *pictures, look=look)}
        if look == STRIP and (of != WAY or edit.changes):
            picture, said = strip_of(models, visitor.present_subject, edit, of)
            path = files.for_browser(picture, visitor.folder)
            painted[self.side.strip] = gr.update(value=path, visible=True, label=said)
        return painted

    def _drawn(self, visitor: Visitor, models: EditingModels, edit: Edit, compare: str, pasted: bool,
               side: int) -> tuple[np.ndarray, np.ndarray]:
        subject = visitor.present_subject

        def drawn(wanted: Edit) -> tuple[np.ndarray, np.ndarray]:
            preview = side == PREVIEW_SIDE
            picture = (preview_picture if preview else edited_picture)(models, subject, wanted)
            if pasted and subject.photo is not None:
                return pasted_pictures(subject, picture, side=side)
            crop = subject.inversion.crop if subject.inversion is not None else subject.picture
            before = subject.picture if compare == INVERSION else crop
            return (made_smaller(before, len(picture)) if preview else before), picture

        before, after = drawn(edit)
        pinned = compare.removeprefix(PINNED)
        if pinned != compare and int(pinned) < len(subject.pins):
            before = drawn(subject.pins[int(pinned)])[1]
        return before, after

    def note(self, visitor: Visitor, compare: str, pasted: bool, look: str) -> tuple[EditingModels, WantedPicture]:
        """Note what the visitor wants to see: what the sliders ask for, looked at in a way.

        Raises:
            InputError: there is nothing to edit, or a setting cannot be read.
        """
        models, _, edit = self.read(visitor, *visitor.values)
        visitor.wanted = edit, compare, pasted, look
        return models, visitor.wanted

    async def on_slide(self, number: int, visitor: Visitor, compare: str, pasted: bool, look: str,
                       value: Any) -> Update:
        """One slider moves; `number` is its place among the sliders' inputs. What is beyond its ends is its end."""
        if visitor.values:
            ends = visitor.ranges.get(number)
            value = value if ends is None else min(max(value or 0.0, ends[0]), ends[1])
            if visitor.values[number] == value:
                # Let go where it is: a box does so as one clicks elsewhere, and may come after what was clicked.
                return gr.skip()
            visitor.values[number] = value
        return await self._moved(visitor, compare, pasted, look, self.side.moving)

    async def on_drag(self, visitor: Visitor, compare: str, pasted: bool, look: str, *values: Any) -> Update:
        """Anything else changes that an edit follows from."""
        visitor.values = [*values]
        return await self._moved(visitor, compare, pasted, look, self.side.pictures)

    async def _moved(self, visitor: Visitor, compare: str, pasted: bool, look: str,
                     paint: Callable[..., Update]) -> Update:
        """What can be shown at once."""
        visitor.seen = time.monotonic()
        try:
            # Noted before anything is waited for: one that came late must not pass for a move after the last one.
            models, wanted = self.note(visitor, compare, pasted, look)
            picture = await self._edited(self._preview, visitor, models, wanted, paint)
        except InputError as error:
            return {self.notice: words.problem(str(error))}
        if visitor.settled == wanted or visitor.wanted != wanted:
            return gr.skip()  # The picture in full was first, or that of another slider; this must not replace it.
        visitor.settled = None
        return {self.notice: "", self.moved: next(_MOVES), **picture}

    @staticmethod
    async def _edited(work: Callable[..., Update], *args: Any, where: EditExecutor | None = None) -> Update:
        """What comes of a function among the edits that this machine makes; waiting for it costs no thread."""
        return await asyncio.get_running_loop().run_in_executor(where or edits(), work, *args)

    def _preview(self, visitor: Visitor, models: EditingModels, wanted: WantedPicture,
                 paint: Callable[..., Update]) -> Update:
        if visitor.settled == wanted:
            return {}
        edit, compare, pasted, look = wanted
        return paint(visitor, *self._drawn(visitor, models, edit, compare, pasted, PREVIEW_SIDE), look=look)

    async def on_settle(self, visitor: Visitor) -> Update:
        """A slider has moved and rests: the picture in full, and what the edit did.

        Of what was noted last. What the browser would say here it would have said a moment ago, before it joined the
        queue, and a click in between would be lost.
        """
        visitor.seen = time.monotonic()
        subject, wanted = visitor.subject, visitor.wanted
        if subject is None or wanted is None:
            return gr.skip()
        models = self.services.models_of(visitor)
        await asyncio.sleep(SETTLED)  # Waiting costs no thread.
        if not _still_wants(visitor, subject, wanted):
            return gr.skip()  # It moves on, and this comes again.
        if visitor.settled == wanted:
            return gr.skip()  # The page shows it already: a slider was let go where it rested.
        try:
            drawn, picture = None, {}
            while _still_wants(visitor, subject, wanted) and visitor.subject is not drawn:  # Again of a nearer one.
                drawn = visitor.subject
                picture = await self._edited(self._settled, visitor, models, wanted, where=whole_pictures())
            if not _still_wants(visitor, subject, wanted):  # Another picture is there, which this must not replace.
                visitor.settled = None if visitor.settled == wanted else visitor.settled
                return gr.skip()
            measuring = measurements().submit(self._measured, visitor, models, wanted)
            await asyncio.wait({asyncio.wrap_future(measuring)}, timeout=NUMBERS)
            effect = measuring.result() if measuring.done() else {}
            self._measuring[visitor] = None if measuring.done() else (measuring, wanted)
        except InputError as error:
            return {self.notice: words.problem(str(error))}
        # The visitor is given back, so that Gradio counts the hour from here.
        return {self.visitor: visitor, self.notice: "", **picture, **effect, **self.side.buttons(visitor)}

    async def on_measured(self, visitor: Visitor) -> Update:
        """The numbers of an edit whose picture did not wait for them."""
        measured = self._measuring.pop(visitor, None)
        if measured is None:
            return gr.skip()
        measuring, wanted = measured
        waiting = asyncio.wrap_future(measuring)
        while not waiting.done() and visitor.wanted == wanted:
            await asyncio.wait({waiting}, timeout=LOOK)
        if not waiting.done():  # Moved on; it is measured where it comes to rest.
            visitor.settled = None if visitor.settled == wanted else visitor.settled
            return gr.skip()
        try:
            return await waiting or gr.skip()
        except InputError as error:
            return {self.notice: words.problem(str(error))}

    def _settled(self, visitor: Visitor, models: EditingModels, wanted: WantedPicture) -> Update:
        edits().give_way(WHOLE_WAY)
        if visitor.wanted != wanted:
            return {}
        subject, picture = visitor.present_subject, self._painted(visitor, models, *wanted)
        subject.edit = wanted[0]
        subject.history.push(wanted[0])
        visitor.settled = wanted
        return picture

    def _measured(self, visitor: Visitor, models: EditingModels, wanted: WantedPicture) -> Update:
        if visitor.wanted != wanted:
            visitor.settled = None if visitor.settled == wanted else visitor.settled
            return {}
        return {self.side.effect: self._effect(models, visitor.present_subject, wanted[0])}

    def _effect(self, models: EditingModels, subject: EditSubject, edit: Edit) -> str:
        if not edit.changes:
            return words.unchanged_in_words()
        return words.effect_in_words(effect_of(models, subject, edit, edited_picture(models, subject, edit)), edit)

    @shown_errors
    def on_undo(self, visitor: Visitor, *view: Any) -> Update:
        return self._again(visitor, visitor.present_subject.history.undo(), *view)

    @shown_errors
    def on_redo(self, visitor: Visitor, *view: Any) -> Update:
        return self._again(visitor, visitor.present_subject.history.redo(), *view)

    @shown_errors
    def on_reset(self, visitor: Visitor, *view: Any) -> Update:
        return self._go_to(visitor, Edit(), *view)

    @shown_errors
    def on_surprise_edit(self, visitor: Visitor, *view: Any) -> Update:
        return self._go_to(visitor, surprise(self.services.models_of(visitor).controls), *view)

    @shown_errors
    def on_choose_look(self, visitor: Visitor, compare: str, pasted: bool, look: str, event: gr.SelectData) -> Update:
        """One of the suggested looks."""
        looks = [*known_looks(self.services.models_of(visitor).controls).values()]
        return self._go_to(visitor, looks[event.index], compare, pasted, look)

    def _go_to(self, visitor: Visitor, edit: Edit, *view: Any) -> Update:
        """Another edit, which can be undone."""
        visitor.present_subject.history.push(edit)
        return self._again(visitor, edit, *view)

    def _again(self, visitor: Visitor, edit: Edit, compare: str, pasted: bool, look: str) -> Update:
        """Show an edit that the sliders are to follow."""
        models, subject = self.services.models_of(visitor), visitor.present_subject
        subject.edit, visitor.wanted = edit, (edit, compare, pasted, look)
        return {self.visitor: visitor, **self._painted(visitor, models, edit, compare, pasted, look),
                self.side.effect: self._effect(models, subject, edit), **self.side.buttons(visitor),
                **self._sliders(visitor, models, edit)}

    @shown_errors
    def on_method(self, visitor: Visitor, compare: str, pasted: bool, look: str, *values: Any) -> Update:
        """Give the sliders the ranges that are safe by a method."""
        models, _, edit = self.read(visitor, *values)
        update = self._sliders(visitor, models, Edit(strengths=edit.strengths, method=edit.method))
        self.note(visitor, compare, pasted, look)
        return update

    @shown_errors
    def on_pasted(self, visitor: Visitor, compare: str, pasted: bool, look: str) -> Update:
        """Put the face into its photo or show it alone, which can be compared with other pictures."""
        update = self.side.choices(visitor, compare, pasted=pasted)
        self.note(visitor, update[self.side.compare]["value"], pasted, look)
        return update

    @shown_errors
    def on_pin(self, visitor: Visitor, compare: str, pasted: bool, look: str, *values: Any) -> Update:
        """Keep this edit to compare others with."""
        models, subject, edit = self.read(visitor, *values)
        subject.pins = [*(other for other in subject.pins if other != edit), edit][-MOST_PINS:]
        newest = f"{PINNED}{len(subject.pins) - 1}"
        visitor.wanted = edit, newest, pasted, look
        return {**self.side.choices(visitor, newest, pasted=pasted),
                **self._painted(visitor, models, edit, newest, pasted, look)}

    # ---- looking

    @shown_errors
    def on_look(self, visitor: Visitor, of: str, compare: str, pasted: bool, look: str) -> Update:
        """Look at the edit in another way."""
        models, subject, edit = self.read(visitor, *visitor.values)
        if look in (STRIP, FILM):
            edit_of(of, edit, models)  # Refused before what is shown is another.
        visitor.wanted = edit, compare, pasted, look
        if look == FILM:
            path = film(models, subject, edit, of, visitor.folder, ".mp4", pasted=pasted)
            return {**self.side.sight(FILM), self.side.film: gr.update(value=str(path), visible=True)}
        return self._painted(visitor, models, edit, compare, pasted, look, of=of)

    @shown_errors
    def on_full(self, visitor: Visitor, pasted: bool) -> Update:
        """The whole photo with all of its pixels, or the face with all of its own."""
        models, subject, edit = self.read(visitor, *visitor.values)
        picture = edited_picture(models, subject, edit)
        before = subject.picture
        if pasted and subject.photo is not None:
            before, picture = pasted_pictures(subject, picture)
        paths = [files.for_browser(side, visitor.folder) for side in (before, picture)]
        return {self.side.dialog: words.full_size(*paths)}

    def on_suggestions(self, visitor: Visitor) -> Iterator[Update]:
        subject = visitor.subject
        if subject is None:
            return
        models = self.services.models_of(visitor)
        for made in suggestions(visitor, models, subject):
            yield self._suggested(visitor, models, subject, made)

    def _suggested(self, visitor: Visitor, models: EditingModels, subject: EditSubject, made: Suggestions) -> Update:
        if not made.ends:  # The looks alone; the ends of the inversion before are as good until others are there.
            pictures = [(files.for_browser(picture, visitor.folder), name) for name, picture in made.looks.items()]
            return {self.looks: gr.update(value=pictures, visible=bool(pictures))}
        update: Update = {self.sliders.ends: words.ends_as_style(made.ends)}
        for name, ends in made.ends.items():
            if len(ends) == 2 and name not in subject.limits:
                subject.limits[name] = ends[False].limit, ends[True].limit
                update |= self.sliders.narrowed(visitor, models, name, subject.limits[name])
        return update

    def on_models(self, visitor: Visitor) -> Update:
        """Follow another generator or other controls. A subject of another generator is let go."""
        models, subject = self.services.models_of(visitor), visitor.subject
        empty = EMPTY_SAMPLE if models.generator.no_photos else EMPTY
        if subject is not None and subject.generator != models.generator.identity:
            visitor.end_inversion()
            visitor.subject = None
            return {self.visitor: visitor, **self.blank(empty), **self.photo.offer(models)}
        if subject is None:
            return {self.notice: "", self.side.empty: gr.update(value=empty), **self.photo.offer(models)}
        return {self.visitor: visitor, **self._sliders(visitor, models, visitor.edit),
                **self.outputs.show(visitor, models)}

    def offer_again(self, on_again: Callable[..., Update]) -> None:
        """Connect the button that goes on where a visitor was before the tab was loaded again."""
        event = self.photo.again.click(on_again, self.visitor,
                                       [*dict.fromkeys([*self.subject_outputs, *self.photo.outputs])], **EDITS)
        event.then(None, js=SHOW_SLIDERS, **PRIVATE)
        self._suggest_after(event)

    # ---- the end

    def blank(self, empty: str) -> Update:
        """No subject."""
        side = self.side
        return {**self.photo.free(), self.edit_area: gr.update(visible=False), self.looks: gr.update(visible=False),
                self.onward: gr.update(visible=False), self.outputs.area: gr.update(visible=False),
                side.empty: gr.update(value=empty, visible=True), side.area: gr.update(visible=False),
                side.veil: gr.update(value="", visible=False), side.tools: gr.update(visible=False),
                **dict.fromkeys(side.shown), side.status: "", side.stop: gr.update(visible=False), side.effect: "",
                side.strip: gr.update(value=None, visible=False), side.film: gr.update(value=None, visible=False)}

    def forgotten(self, visitor: Visitor) -> Update:
        """The tab as it was in the beginning, for a visitor of whom all is deleted."""
        return {**self.on_another(visitor), **self.blank(FORGOTTEN), self.visitor: visitor, self.photo.outlined: None,
                self.photo.about: "", self.photo.face: gr.update(choices=[], value=None, visible=False),
                self.photo.again: gr.update(visible=False), self.photo.session: None, self.sliders.ends: "",
                self.side.dialog: "", **dict.fromkeys(self.outputs.links.values())}


def _wanted(visitor: Visitor) -> WantedPicture:
    """What a visitor was shown last; in the beginning the face as it was found."""
    return visitor.wanted or (visitor.edit, BEFORE, True, WHOLE)


def _still_wants(visitor: Visitor, subject: EditSubject, wanted: WantedPicture) -> bool:
    """Whether a visitor still wants to see the same of a subject, or of a better inversion of it."""
    return (visitor.wanted == wanted and visitor.subject is not None
            and visitor.subject.history is subject.history)
