"""The page: a heading, its tabs, and what connects them."""

from __future__ import annotations

import gradio as gr

from page import KEPT_SECONDS, SWEEP_SECONDS
from page.api.endpoints import Endpoints
from page.jobs.forgetting import Visitors, forget
from page.jobs.services import Services
from page.state.visitor import Visitor
from page.tabs import examples
from page.tabs.batch import BatchTab
from page.tabs.discover import DiscoverTab
from page.tabs.edit import EditTab
from page.tabs.models import ModelsTab
from page.tabs.teach import TeachTab
from page.tabs.wiring import EDITS, HIDDEN, PRIVATE, QUICK, Update
from page.tabs.words import problem
from weights.errors import InputError

INTRO = ("# Face editor\nDrop in a photo of a face and change it: a smile, another age, other hair; everything else "
         "stays.")
PRIVACY = ("Photos are worked on by the computer that runs this program and are sent nowhere else; they and all "
           "results are deleted within an hour of your last change, when you close the page, and when the program "
           "ends; *Forget my faces* deletes yours at once.")


MOST_WAITING = 500  # Events in the queue; later ones are told to come back. Inversions have a queue of their own.


class PageBlocks(gr.Blocks):
    """The page as Gradio serves it; closed, it ends what its visitors still wait for."""

    def __init__(self, services: Services) -> None:
        super().__init__(title="Face editor", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS))
        self.services = services
        with self:
            Page(services).wire_visits(self)
        self.queue(max_size=MOST_WAITING, default_concurrency_limit=8)

    def close(self, verbose: bool = True) -> None:
        self.services.close()
        super().close(verbose)


class Page:
    """The components of the page and their handlers. Build it within `gr.Blocks`."""

    def __init__(self, services: Services) -> None:
        self.services, self.visitors = services, Visitors(services.cache)
        # Gradio keeps one visitor in each browser tab's session, and deletes it when its time is over.
        self.visitor = gr.State(Visitor(), time_to_live=KEPT_SECONDS)
        self.token = gr.BrowserState("", storage_key="face-editor-visitor")  # Nothing but a name that nobody can guess.
        gr.Markdown(INTRO, elem_id="intro")
        with gr.Tabs(elem_id="tabs") as self.tabs:
            with gr.Tab("Edit", id="edit"):
                self.edit = EditTab(services, self.visitor)
            with gr.Tab("Discover", id="discover") as discover_tab:
                self.discover = DiscoverTab(services, self.visitor)
            with gr.Tab("Teach", id="teach"):
                self.teach = TeachTab(services, self.visitor)
            with gr.Tab("Batch", id="batch") as batch_tab:
                self.batch = BatchTab(services, self.visitor)
                self.batch.follow(batch_tab)
            with gr.Tab("Models", id="models") as models_tab:
                self.models = ModelsTab(services, self.visitor)
        Endpoints(services)
        with gr.Row(elem_id="foot"):
            gr.Markdown(PRIVACY, elem_id="privacy")
            self.forget = gr.Button("Forget my faces", size="sm", scale=0, min_width=160, elem_id="forget")
        discover_tab.select(self.discover.on_show, self.visitor, self.discover.everything, **EDITS)
        for event in (*self.models.changed, self.teach.saved, *self.discover.saved):
            event.then(self.edit.on_models, self.visitor, self.edit.all_outputs, **QUICK)
        models_tab.select(self.models.on_show, self.visitor, [self.models.notice, *self.models.outputs], **QUICK)
        self.forget.click(self.on_forget, self.visitor, [*self.edit.all_outputs, *self.batch.forgotten], queue=False,
                          **HIDDEN, **PRIVATE)
        self.edit.offer_again(self.on_again)

    def on_forget(self, visitor: Visitor) -> Update:
        """Delete all that is there of a visitor, and begin again."""
        forget(visitor, self.services.cache)
        return {**self.edit.forgotten(visitor), **self.batch.on_forget()}

    def wire_visits(self, demo: gr.Blocks) -> None:
        """What happens when somebody opens the page, and closes it."""
        demo.load(self.on_load, [self.visitor, self.token],
                  [self.visitor, self.token, self.edit.photo.examples, self.edit.photo.again], **QUICK)
        demo.load(self.on_link, self.visitor, [self.tabs, *self.discover.everything], **EDITS)
        demo.unload(self.on_unload)

    def on_unload(self, request: gr.Request) -> None:
        self.visitors.left(str(request.session_hash))

    def on_load(self, visitor: Visitor, token: str | None, request: gr.Request) -> Update:
        """Draw the examples, and offer what was there before the tab was loaded again."""
        visitor.former = self.visitors.back(token)
        self.visitors.came(visitor, str(request.session_hash))
        try:
            pictures = examples.gallery(self.services.models_of(visitor))
        except InputError:  # The visitor is told when the generator is needed.
            pictures = [examples.the_photo()]
        has_face = visitor.former is not None and visitor.former.subject is not None
        return {self.visitor: visitor, self.token: visitor.token, self.edit.photo.examples: pictures,
                self.edit.photo.again: gr.update(visible=has_face)}

    def on_link(self, visitor: Visitor, request: gr.Request) -> Update:
        """Open the tab Discover as a link has it that somebody shared."""
        link = request.query_params.get("discover")
        if not link:
            return gr.skip()
        try:
            return {self.tabs: gr.Tabs(selected="discover"), **self.discover.follow(visitor, str(link))}
        except InputError as error:
            return {self.tabs: gr.Tabs(selected="discover"), self.discover.notice: problem(str(error))}

    def on_again(self, visitor: Visitor, request: gr.Request) -> Update:
        """Go on with the face that was there before the tab was loaded again."""
        former = visitor.former
        if former is None or former.subject is None:
            return {self.edit.notice: problem("it is gone: all is deleted after an hour; choose the photo again"),
                    self.edit.photo.again: gr.update(visible=False)}
        former.token = visitor.token
        self.visitors.came(former, str(request.session_hash))
        shown = {self.visitor: former, **self.edit.show_subject(former, former.edit),
                 self.edit.photo.again: gr.update(visible=False)}
        if former.edits_photo:
            shown |= self.edit.photo.show(former, self.services.models_of(former))
        return shown
