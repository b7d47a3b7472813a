"""How an edit begins: a photo and a face in it, its inversion, a face of nobody, or a session of another day."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import gradio as gr

from editing import Edit, load_session
from inversion import PRESETS, Progress, made_smaller
from page.jobs.inverting import Waiting, invert
from page.jobs.opening import choose, draw_sample, face_at, resume, take_photo
from page.jobs.services import Services
from page.jobs.views import VIEW_SIDE
from page.state import files
from page.state.visitor import Visitor
from page.tabs import examples, words
from page.tabs.outputs import Outputs
from page.tabs.photo_stage import PhotoStage, presets_in_words
from page.tabs.progress import InversionProgress, starting, waiting
from page.tabs.result import ResultSide
from page.tabs.wiring import EDITS, HIDDEN, PRIVATE, QUICK, Update, as_updates, shown_errors
from weights.errors import InputError

TIMED, LOOK = 60.0, 0.5  # Seconds that the presets' times are waited for at most, and between two looks.
# On a phone the result stands below the button; where it is in sight already, nothing moves.
SHOW_RESULT = "() => setTimeout(() => document.querySelector('#status')?.scrollIntoView({block: 'nearest'}), 900)"
# The sliders take the place of the photo; on a phone the picture must come into sight above them.
SHOW_SLIDERS = """() => setTimeout(() => document.querySelector('#edit') && matchMedia('(max-width: 700px)').matches
  && document.querySelector('#edit-columns').scrollIntoView(), 300)"""


class PhotoHandlers(ABC):
    """The handlers of the tab Edit's first stage, and their wiring. `EditTab` has the components."""

    services: Services
    visitor: gr.State
    notice: gr.HTML
    photo: PhotoStage
    side: ResultSide
    outputs: Outputs
    stage: gr.Column
    edit_area: gr.Column
    onward: gr.Button
    back: gr.Button

    @abstractmethod
    def show_subject(self, visitor: Visitor, edit: Edit | None = None) -> Update:
        """Show a visitor's subject, and open the sliders."""

    @property
    @abstractmethod
    def subject_outputs(self) -> list[Any]:
        """What changes when there is another subject."""

    @property
    def streamed(self) -> list[Any]:
        """What changes while an inversion runs. For each update, Gradio builds anew all outputs that an event has."""
        side = self.side
        return [self.notice, side.status, side.empty, side.area, side.tools, self.outputs.area, side.result, side.pair]

    def wire_photo(self) -> None:
        photo, shown = self.photo, [self.visitor, self.notice, *self.photo.outputs]
        # preprocess=False: the file goes to our own reader as it came; Gradio's would decode it first.
        photo.upload.upload(self.on_upload, [self.visitor, photo.upload], shown, preprocess=False, concurrency_limit=2,
                            concurrency_id="photos", show_progress_on=photo.upload, **PRIVATE
                            ).then(self.on_times, self.visitor, photo.preset, concurrency_limit=None,
                                   **HIDDEN, **PRIVATE)
        photo.face.input(self.on_choose, [self.visitor, photo.face], shown, **QUICK)
        photo.outlined.select(self.on_click, self.visitor, shown, **QUICK)
        photo.another.click(self.on_another, self.visitor, shown, **QUICK)
        # Before the queue, so that Stop reaches an inversion that still waits there.
        photo.invert.click(self.on_begin, [self.visitor, photo.preset], [self.notice, photo.invert, photo.stop],
                           queue=False, **HIDDEN, **PRIVATE
                           ).then(as_updates(self.on_invert), [self.visitor, photo.preset], self.streamed,
                                  concurrency_limit=None, **HIDDEN, **PRIVATE
                                  ).then(self.on_inverted, self.visitor, self.subject_outputs, **EDITS
                                         ).then(None, js=SHOW_SLIDERS, **PRIVATE)
        photo.invert.click(None, js=SHOW_RESULT, **PRIVATE)
        photo.stop.click(self.on_stop, self.visitor, photo.stop, queue=False, **HIDDEN, **PRIVATE)
        drawn = [
            photo.examples.select(self.on_example, self.visitor, [*shown, *self.subject_outputs], concurrency_limit=2,
                                  concurrency_id="photos", show_progress_on=photo.examples, **PRIVATE),
            photo.surprise.click(self.on_surprise, [self.visitor, photo.truncation],
                                 [photo.seed, *self.subject_outputs], **EDITS),
            photo.draw.click(self.on_draw, [self.visitor, photo.seed, photo.truncation], self.subject_outputs, **EDITS),
            photo.session.upload(self.on_resume, [self.visitor, photo.session], [photo.session, *self.subject_outputs],
                                 preprocess=False, **EDITS)]
        for event in drawn:
            event.then(None, js=SHOW_SLIDERS, **PRIVATE)
        stages = [self.stage, self.edit_area, self.onward]
        self.back.click(self.on_back, self.visitor, [*stages, *shown], **QUICK)
        self.onward.click(lambda: {self.stage: gr.update(visible=False), self.edit_area: gr.update(visible=True)},
                          None, stages, **QUICK)

    # ---- the photo and its faces

    @shown_errors
    def on_upload(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        if not file or not file.get("path"):
            raise InputError(None, "no photo arrived", "choose it again")
        # Whatever comes of it, the drop area is free again: a photo that can be used is shown outlined instead.
        try:
            take_photo(visitor, file["path"])
        except InputError as error:
            return {self.notice: words.problem(str(error)), self.photo.upload: None}
        finally:
            files.discard_upload(file["path"])
        return {self.visitor: visitor, **self.on_choose(visitor, 0)}

    async def on_times(self, visitor: Visitor) -> Update:
        """The presets' times; who comes as soon as the page has started waits for them, without a thread."""
        timing = self.services.models_of(visitor).timing
        for _ in range(round(TIMED / LOOK)):
            if timing.seconds(PRESETS[visitor.preset]) is not None:
                break
            await asyncio.sleep(LOOK)
        return {self.photo.preset: gr.update(choices=presets_in_words(self.services.models_of(visitor)))}

    def on_choose(self, visitor: Visitor, index: int | None) -> Update:
        """Choose a face from 0. One that is too small is said so beside the others, which can still be chosen."""
        notice = ""
        try:
            choose(visitor, index or 0)
        except InputError as error:
            notice = words.problem(str(error))
        if visitor.photo is None:
            return {self.notice: notice}
        return {self.notice: notice, **self.photo.show(visitor, self.services.models_of(visitor))}

    def on_click(self, visitor: Visitor, event: gr.SelectData) -> Update:
        """Choose the face that was clicked."""
        if visitor.photo is None:
            return self.on_choose(visitor, 0)
        scale = min(1, VIEW_SIDE / max(visitor.photo.width, visitor.photo.height))
        index = face_at(visitor, event.index[0] / scale, event.index[1] / scale)
        return gr.skip() if index is None else self.on_choose(visitor, index)

    def on_another(self, visitor: Visitor) -> Update:
        """Make room for another photo; what was made of this one stays until then."""
        visitor.end_inversion()
        return {self.notice: "", **self.photo.free()}

    def on_back(self, visitor: Visitor) -> Update:
        """Go back to the photo, or to the drop area where there is none."""
        stage = self.photo.show(visitor, self.services.models_of(visitor)) if visitor.photo else self.photo.free()
        return {self.notice: "", self.stage: gr.update(visible=True), self.edit_area: gr.update(visible=False),
                self.onward: gr.update(visible=visitor.subject is not None), **stage}

    @shown_errors
    def on_example(self, visitor: Visitor, event: gr.SelectData) -> Update:
        """Begin with an example: the photo, or one of the samples."""
        if event.index == 0:
            take_photo(visitor, str(examples.PHOTO))
            return {self.visitor: visitor, **self.on_choose(visitor, 0)}
        return self.on_draw(visitor, examples.SEEDS[event.index - 1], examples.TRUNCATION)

    # ---- inversion

    def on_begin(self, visitor: Visitor, preset: str) -> Update:
        visitor.begin_inversion()
        visitor.preset, visitor.before = preset, visitor.subject
        return {self.notice: "", self.photo.invert: gr.update(visible=False),
                self.photo.stop: gr.update(visible=True, interactive=True)}

    def on_stop(self, visitor: Visitor) -> Update:
        visitor.end_inversion()
        return {self.photo.stop: gr.update(interactive=False)}

    def on_invert(self, visitor: Visitor, preset: str) -> Iterator[Update]:
        """Stream the best so far beside the crop."""
        if preset not in PRESETS:
            yield {self.notice: words.problem(f"{preset}: no such preset")}
            return
        if visitor.photo is None and visitor.stop is not None and visitor.stop.is_set():
            return  # Forgotten while it waited.
        try:
            yield from self._inverting(visitor, preset)
        except InputError as error:
            yield {self.notice: words.problem(str(error))}

    def on_inverted(self, visitor: Visitor) -> Update:
        """Open the sliders after an inversion, or show again what was there before one that came to nothing."""
        idle = {self.photo.invert: gr.update(visible=True), self.photo.stop: gr.update(visible=False)}
        if visitor.subject is None or visitor.subject is visitor.before:
            return {**idle, **self._unchanged(visitor)}
        inversion = visitor.subject.inversion
        if inversion is not None and not visitor.subject.from_cache and not inversion.stopped:
            self.services.models_of(visitor).timing.learn(PRESETS[visitor.preset], inversion.seconds)
        return {**idle, **self.show_subject(visitor)}

    def _inverting(self, visitor: Visitor, preset: str) -> Iterator[Update]:
        models, settings, side = self.services.models_of(visitor), PRESETS[preset], self.side
        crop = visitor.chosen_face.crop(models.generator.img_resolution)
        course = InversionProgress(crop)
        shown = files.for_browser(made_smaller(crop, models.generator.side_for(settings.side)), visitor.folder)
        yield {side.status: starting(), side.empty: gr.update(visible=False), side.area: gr.update(visible=True),
               side.tools: gr.update(visible=False), self.outputs.area: gr.update(visible=False)}
        for report in invert(visitor, models, settings, self.services.inversions, self.services.cache):
            if visitor.photo is None:  # Forgotten: nothing more is to be written.
                return
            if isinstance(report, Waiting):
                yield {side.status: waiting(report)}
            elif isinstance(report, Progress):
                now = files.for_browser(report.pictures[0], visitor.folder)
                yield {side.result: gr.update(value=(shown, now), visible=True), side.pair: gr.update(visible=False),
                       side.status: course.after(report)}

    def _unchanged(self, visitor: Visitor) -> Update:
        """The result as it was before an inversion that came to nothing; the notice says why."""
        if visitor.subject is not None:
            shown = self.show_subject(visitor, visitor.edit)
            del shown[self.notice]
            return {**shown, self.stage: gr.update(visible=True), self.edit_area: gr.update(visible=False),
                    self.onward: gr.update(visible=True)}
        return {self.side.status: "", self.side.area: gr.update(visible=False),
                self.side.empty: gr.update(visible=True)}

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
        return {**self.show_subject(visitor, visitor.edit), self.photo.session: None}
