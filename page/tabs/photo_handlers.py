"""How an edit begins: a photo and a face in it, its inversion, a face of nobody, or a session of another day."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import gradio as gr

from editing import Edit, load_session
from inversion import PRESETS
from page.jobs.editing import edited_picture
from page.jobs.inverting import Waiting, invert
from page.jobs.opening import choose, draw_sample, face_at, resume, take_photo, turn_photo
from page.jobs.services import Services
from page.jobs.views import VIEW_SIDE, lay_under
from page.state import files
from page.state.visitor import EditSubject, Visitor
from page.tabs import examples, words
from page.tabs.outputs import Outputs
from page.tabs.photo_stage import PhotoStage
from page.tabs.progress import preparing, refining, starting, waiting
from page.tabs.result import CHOOSE_FACE, ResultSide
from page.tabs.sliders import Sliders
from page.tabs.wiring import EDITS, HIDDEN, PRIVATE, QUICK, Update, as_updates, shown_errors
from weights.errors import InputError

FIRST = "fast"  # The preset with which sliders live in seconds; the chosen one follows behind.
# The sliders take the place of the drop area; on a phone the picture must come into sight above them.
SHOW_SLIDERS = """() => setTimeout(() => document.querySelector('#edit') && matchMedia('(max-width: 700px)').matches
  && document.querySelector('#edit-columns').scrollIntoView(), 300)"""


def nearness(preset: str) -> int:
    """How near a preset comes to a photo, from 0; what was inverted by none of them is left as it is."""
    return [*PRESETS].index(preset) if preset in PRESETS else len(PRESETS)


class PhotoHandlers(ABC):
    """The handlers of the tab Edit's first stage, and their wiring. `EditTab` has the components."""

    services: Services
    visitor: gr.State
    notice: gr.HTML
    photo: PhotoStage
    side: ResultSide
    sliders: Sliders
    outputs: Outputs
    edit_area: gr.Column
    onward: gr.Button
    back: gr.Button

    @abstractmethod
    def show_subject(self, visitor: Visitor, edit: Edit | None = None) -> Update:
        """Show a visitor's subject, and open the sliders."""

    @abstractmethod
    def better_on_the_way(self, visitor: Visitor) -> Update:
        """Show that a better inversion of the subject has come, and a still better one is being made."""

    @abstractmethod
    def improved(self, visitor: Visitor) -> Update:
        """Show that a better inversion of the subject has come; its edits and the sliders stay."""

    @abstractmethod
    def on_suggestions(self, visitor: Visitor) -> Iterator[Update]:
        """Make the small pictures of what may be tried, while nothing else is to be done."""

    @property
    @abstractmethod
    def subject_outputs(self) -> list[Any]:
        """What changes when there is another subject."""

    @property
    @abstractmethod
    def suggested(self) -> list[Any]:
        """What `on_suggestions` changes."""

    @property
    def streamed(self) -> list[Any]:
        """What changes while an inversion runs. For each update, Gradio builds anew all outputs that an event has."""
        side = self.side
        return [self.notice, side.status, side.stop]

    def wire_photo(self) -> None:
        photo, shown = self.photo, [self.visitor, self.notice, *self.photo.outputs, *self.begun]
        # preprocess=False: the file goes to our own reader as it came; Gradio's would decode it first.
        for event in (photo.upload.upload(self.on_upload, [self.visitor, photo.upload], shown, preprocess=False,
                                          concurrency_limit=2, concurrency_id="photos", show_progress_on=photo.upload,
                                          **PRIVATE),
                      photo.turn.click(self.on_turn, self.visitor, shown, **QUICK),
                      photo.face.input(self.on_choose, [self.visitor, photo.face], shown, **QUICK),
                      photo.outlined.select(self.on_click, self.visitor, shown, **QUICK)):
            self._prepare_after(event)
        self._prepare_after(photo.examples.select(
            self.on_example, self.visitor, list(dict.fromkeys([*shown, *self.subject_outputs])), concurrency_limit=2,
            concurrency_id="photos", show_progress_on=photo.examples, **PRIVATE))
        drawn = [photo.surprise.click(self.on_surprise, [self.visitor, photo.truncation],
                                      [photo.seed, *self.subject_outputs], **EDITS),
                 photo.draw.click(self.on_draw, [self.visitor, photo.seed, photo.truncation], self.subject_outputs,
                                  **EDITS),
                 photo.session.upload(self.on_resume, [self.visitor, photo.session],
                                      [photo.session, *self.subject_outputs], preprocess=False, **EDITS)]
        for event in drawn:
            event.then(None, js=SHOW_SLIDERS, **PRIVATE)
            self._suggest_after(event)
        self.sliders.preset.input(self.on_preset, [self.visitor, self.sliders.preset], self.notice, queue=False,
                                  **HIDDEN, **PRIVATE
                                  ).then(as_updates(self.on_better_inversion), self.visitor, self.refined,
                                         concurrency_limit=None, **HIDDEN, **PRIVATE)
        self.side.stop.click(self.on_stop, self.visitor, self.side.stop, queue=False, **HIDDEN, **PRIVATE)
        self.back.click(self.on_another, self.visitor, [*shown, self.edit_area, self.onward], **QUICK)
        self.onward.click(self.on_onward, self.visitor, [*shown, self.edit_area, self.onward], **QUICK)

    def _prepare_after(self, event: Any) -> None:
        """The chosen face by the quickest preset, then by the chosen one behind the edits, and suggestions."""
        prepared = event.then(as_updates(self.on_quick_inversion), self.visitor,
                              list(dict.fromkeys([*self.streamed, *self.begun, *self.subject_outputs])),
                              concurrency_limit=None, **HIDDEN, **PRIVATE)
        prepared.then(None, js=SHOW_SLIDERS, **PRIVATE)
        refined = prepared.then(as_updates(self.on_better_inversion), self.visitor, self.refined,
                                concurrency_limit=None, **HIDDEN, **PRIVATE)
        self._suggest_after(prepared)
        self._suggest_after(refined)

    def _suggest_after(self, event: Any) -> None:
        event.then(as_updates(self.on_suggestions), self.visitor, self.suggested, concurrency_limit=8,
                   concurrency_id="suggestions", **HIDDEN, **PRIVATE)

    @property
    def begun(self) -> list[Any]:
        """What changes as soon as a face is chosen that is to be prepared."""
        side = self.side
        return [side.empty, side.veil, side.area, side.tools, side.status, side.stop, self.outputs.area,
                self.edit_area, self.onward]

    @property
    def refined(self) -> list[Any]:
        """What changes while a better inversion is made, and once it is there."""
        return [*self.streamed, self.side.effect, *self.side.areas]

    # ---- the photo and its faces

    @shown_errors
    def on_upload(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        if not file or not file.get("path"):
            raise InputError(None, "no photo arrived", "choose it again")
        # Whatever comes of it, the drop area is free again: a photo that can be used is shown in its place.
        try:
            take_photo(visitor, file["path"], str(file.get("orig_name") or "") or None)
        except InputError as error:
            return {self.notice: words.problem(str(error)), self.photo.upload: None,
                    self.photo.turn: gr.update(visible=visitor.faceless is not None)}
        finally:
            files.discard_upload(file["path"])
        return {self.visitor: visitor, **self.on_choose(visitor, 0)}

    @shown_errors
    def on_turn(self, visitor: Visitor) -> Update:
        """Look for faces again in a photo that lies on its side."""
        turn_photo(visitor)
        return {self.visitor: visitor, **self.on_choose(visitor, 0)}

    def on_choose(self, visitor: Visitor, index: int | None) -> Update:
        """Choose a face from 0. One that is too small is said so beside the others, which can still be chosen."""
        notice = ""
        try:
            choose(visitor, index or 0)
        except InputError as error:
            notice = words.problem(str(error))
        if visitor.photo is None:
            return {self.notice: notice}
        shown = {self.notice: notice, **self.photo.show(visitor, self.services.models_of(visitor))}
        if visitor.chosen is None:
            return {**shown, self.side.empty: CHOOSE_FACE, self.side.veil: gr.update(visible=False)}
        visitor.begin_inversion()
        return {**shown, **self.side.veiled(visitor), self.outputs.area: gr.update(visible=False),
                self.side.status: starting(), self.edit_area: gr.update(visible=False),
                self.onward: gr.update(visible=False), self.side.stop: gr.update(visible=False)}

    def on_click(self, visitor: Visitor, event: gr.SelectData) -> Update:
        """Choose the face that was clicked."""
        if visitor.photo is None:
            return self.on_choose(visitor, 0)
        scale = min(1, VIEW_SIDE / max(visitor.photo.width, visitor.photo.height))
        index = face_at(visitor, event.index[0] / scale, event.index[1] / scale)
        return gr.skip() if index is None or index == visitor.chosen else self.on_choose(visitor, index)

    def on_another(self, visitor: Visitor) -> Update:
        """Make room for another photo; what was made of this one stays until then."""
        visitor.end_inversion()
        return {self.notice: "", **self.photo.free(), self.edit_area: gr.update(visible=False),
                self.onward: gr.update(visible=visitor.subject is not None)}

    def on_onward(self, visitor: Visitor) -> Update:
        """Go back to the sliders."""
        stage = (self.photo.show(visitor, self.services.models_of(visitor)) if visitor.edits_photo
                 else {**self.photo.free(), self.photo.drop_area: gr.update(visible=False)})
        return {self.notice: "", **stage, self.edit_area: gr.update(visible=True),
                self.onward: gr.update(visible=False)}

    @shown_errors
    def on_example(self, visitor: Visitor, event: gr.SelectData) -> Update:
        """Begin with an example: the photo, or one of the samples."""
        if event.index == 0:
            take_photo(visitor, str(examples.PHOTO))
            return {self.visitor: visitor, **self.on_choose(visitor, 0)}
        return self.on_draw(visitor, examples.SEEDS[event.index - 1], examples.TRUNCATION)

    # ---- inversion

    def on_stop(self, visitor: Visitor) -> Update:
        visitor.end_inversion()
        return {self.side.stop: gr.update(interactive=False)}

    def on_quick_inversion(self, visitor: Visitor) -> Iterator[Update]:
        """Make the chosen face ready for the sliders, as soon as may be; the photo is seen under a veil meanwhile."""
        index = visitor.chosen
        if not visitor.preparing or index is None:
            return
        visitor.preparing = False
        stop = visitor.stop
        try:
            if index in visitor.subjects:
                visitor.begin_edits(visitor.subjects[index])
            else:
                for report in invert(visitor, self.services.models_of(visitor), FIRST, self.services.quick_inversions,
                                     self.services.cache, rather=visitor.preset):
                    if visitor.photo is None:  # Forgotten: nothing more is to be written.
                        return
                    if not isinstance(report, EditSubject):
                        yield {self.side.status: waiting(report) if isinstance(report, Waiting) else preparing(report)}
        except InputError as error:
            yield {self.notice: words.problem(str(error)), **self._unprepared(visitor)}
            return
        if visitor.stop is not stop:
            return  # Another face or photo has been chosen meanwhile.
        subject = visitor.subjects.get(index)
        if subject is None:
            yield self._unprepared(visitor)
            return
        self._lay_others_under(visitor, subject)
        yield self.show_subject(visitor, subject.edit)

    def _lay_others_under(self, visitor: Visitor, subject: EditSubject) -> None:
        """All edited faces of a photo go into one picture."""
        others = [other for other in visitor.subjects.values() if other is not subject and other.edit.changes]
        if others or subject.under is not None:
            models = self.services.models_of(visitor)
            lay_under(subject, [(other, edited_picture(models, other, other.edit)) for other in others])

    def _unprepared(self, visitor: Visitor) -> Update:
        """Nothing came of it; what was there before is shown again."""
        if visitor.subject is not None:
            shown = self.show_subject(visitor, visitor.edit)
            del shown[self.notice]
            return shown
        return {self.side.status: "", self.side.veil: gr.update(visible=False),
                self.side.empty: gr.update(visible=True)}

    @shown_errors
    def on_preset(self, visitor: Visitor, preset: str) -> Update:
        """How near inversions shall come, this face's too."""
        if preset not in PRESETS:
            raise InputError(preset, "no such preset", f"use {', '.join(PRESETS)}")
        visitor.preset = preset
        visitor.end_inversion()
        return {}

    def on_better_inversion(self, visitor: Visitor) -> Iterator[Update]:
        """Make the subject's inversion by the chosen preset, behind the edits; then take it in its place."""
        subject, preset = visitor.subject, visitor.preset
        if (subject is None or visitor.chosen is None or visitor.subjects.get(visitor.chosen) is not subject
                or nearness(subject.preset) >= nearness(preset)):
            return
        visitor.begin_inversion()
        try:
            for report in invert(visitor, self.services.models_of(visitor), preset, self.services.inversions,
                                 self.services.cache, improving=subject, after=self.services.quick_inversions):
                if isinstance(report, EditSubject):
                    subject = report
                if visitor.photo is None or visitor.subject is not subject:
                    continue  # It is made to its end for when this face is chosen again.
                if isinstance(report, EditSubject):
                    yield self.better_on_the_way(visitor)
                else:
                    yield {self.side.status: waiting(report) if isinstance(report, Waiting) else refining(report),
                           self.side.stop: gr.update(visible=True, interactive=True)}
        except InputError as error:
            yield {self.notice: words.problem(str(error)), self.side.stop: gr.update(visible=False)}
            return
        if visitor.subject is None or visitor.subject.photo is not subject.photo or visitor.photo is None:
            return
        yield {self.side.stop: gr.update(visible=False), **self.improved(visitor)}

    # ---- samples and sessions

    @shown_errors
    def on_surprise(self, visitor: Visitor, truncation: float) -> Update:
        seed = random.randrange(1_000_000)  # noqa: S311 (a face, not a secret)
        return {self.photo.seed: seed, **self.on_draw(visitor, seed, truncation)}

    @shown_errors
    def on_draw(self, visitor: Visitor, seed: float | None, truncation: float) -> Update:
        draw_sample(visitor, self.services.models_of(visitor).generator, int(seed or 0), truncation)
        return self.show_subject(visitor)

    @shown_errors
    def on_resume(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        """Go on with a saved session."""
        if not file or not file.get("path"):
            raise InputError(None, "no session file arrived", "choose it again")
        try:
            session = load_session(file["path"], name=str(file.get("orig_name") or "session"))
            resume(visitor, session, self.services.models_of(visitor).generator)
        except InputError as error:
            return {self.notice: words.problem(str(error)), self.photo.session: None}
        finally:
            files.discard_upload(file["path"])
        shown = {**self.show_subject(visitor, visitor.edit), self.photo.session: None}
        if session.inversion is not None and session.photo is None:
            shown[self.notice] = words.without_photo(session.name)
        return shown
