"""The tab Discover: directions that nobody labelled, moved on a face, and taken up as sliders by a name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from directions import Control
from page.jobs import discovering
from page.jobs.discovering import FILE, LAYER, TITLES, search_layer
from page.jobs.inverting import Waiting
from page.jobs.services import Services
from page.state import files
from page.state.discovery import MEAN, OWN, SAMPLE, SHOWN, Discovery
from page.state.visitor import Visitor
from page.tabs import side_range, words
from page.tabs.progress import searching, waiting
from page.tabs.wiring import EDITS, FOLLOW, HIDDEN, PRIVATE, QUICK, SAVING, Update, as_updates, shown_errors
from weights.errors import InputError

INTRO = ("Nobody told the generator what a smile is; these directions were found in what it had learned by itself. "
         "Move some, and when they do something, give it a name: it becomes a slider of the tab *Edit*.")
SETTLED = 0.25  # Seconds without another move after which the face is drawn in full.
COPY = ("() => { const link = document.querySelector('#discover-link textarea, #discover-link input'); "
        "link?.value && navigator.clipboard?.writeText(link.value); }")


class DiscoverTab:
    """Its components and handlers. Build it within `gr.Tab`.

    Args:
        services: Shared by all visitors.
        visitor: The visitor's state.
    Attributes:
        saved: Events after which the visitor may have one more slider.
    """

    def __init__(self, services: Services, visitor: gr.State) -> None:
        self.services, self.visitor = services, visitor
        self.notice = gr.HTML("", elem_id="discover-notice", elem_classes="notice")
        gr.Markdown(INTRO)
        with gr.Row(equal_height=False, elem_id="discover-columns"):
            with gr.Column(scale=5, min_width=300):
                with gr.Row():
                    self.what = gr.Dropdown([], label="Directions", elem_id="discover-what", min_width=260, scale=3)
                    self.who = gr.Radio([("A sample", SAMPLE), ("The mean face", MEAN)], value=SAMPLE, label="On",
                                        elem_id="discover-who", min_width=220, scale=2)
                self.sliders = [gr.Slider(-1, 1, 0, step=0.05, label=f"Direction {place + 1}", visible=False,
                                          elem_id=f"discover-{place}") for place in range(SHOWN)]
                with gr.Row():
                    self.back = gr.Button("← Before", size="sm", min_width=80, elem_id="discover-back")
                    self.place = gr.HTML(elem_id="discover-place")
                    self.on = gr.Button("More →", size="sm", min_width=80, elem_id="discover-on")
                with gr.Row():
                    self.layers = side_range.side_range(elem_id="discover-layers", min_width=220)
                    self.centred = gr.Checkbox(False, label="From the mean", elem_id="discover-centred", min_width=120,
                                               info="take what the face has of it away first")
                with gr.Accordion("Search a layer", open=False, elem_id="discover-search"):
                    gr.Markdown("The components of what one layer of the generator answers, and the directions of the "
                                "latent that move them most. Early layers lay out the face, late ones colour it; it "
                                "takes a minute for an early one and some for a late one.")
                    with gr.Row():
                        self.layer = gr.Dropdown([], label="Layer", elem_id="discover-layer", min_width=160)
                        self.search = gr.Button("Find its components", size="sm", elem_id="discover-find")
                        self.stop = gr.Button("Stop", size="sm", visible=False, elem_id="discover-stop")
                    self.searching = gr.HTML(elem_id="discover-searching")
            with gr.Column(scale=6, min_width=300, elem_id="discover-right"):
                self.picture = gr.Image(label="The face as it is moved", show_label=False, interactive=False,
                                        buttons=[], format="jpeg", elem_id="discover-picture",
                                        height="min(560px, 60vh, 92vw)", alt_text="The face as it is moved")
                with gr.Row():
                    self.random = gr.Button("By chance", size="sm", min_width=90, elem_id="discover-random")
                    self.reset = gr.Button("Reset", size="sm", min_width=80, elem_id="discover-reset")
                    self.other = gr.Button("Another sample", size="sm", min_width=120, elem_id="discover-other")
                self.effect = gr.HTML(elem_id="discover-effect")
                with gr.Row():
                    self.name = gr.Textbox("", label="Name", placeholder="wide eyes", elem_id="discover-name",
                                           min_width=140)
                    self.hold = gr.Dropdown([], multiselect=True, label="Hold still", elem_id="discover-hold",
                                            info="what their scores react to is taken out", min_width=180)
                with gr.Row():
                    self.save = gr.Button("Make it a slider", variant="primary", size="sm", min_width=130,
                                          elem_id="discover-save")
                    self.export = gr.Button("Download as a file", size="sm", min_width=130, elem_id="discover-export")
                    self.share = gr.Button("Copy a link", size="sm", min_width=100, elem_id="discover-share")
                self.link = gr.Textbox("", label="Link", visible=False, interactive=False, elem_id="discover-link")
                self.file = gr.File(label="Components of your own (.safetensors of `gradctrl discover components`)",
                                    file_types=[".safetensors"], height=90, elem_id="discover-file")
        self.export_link = gr.DownloadButton(elem_id="discover-export-link", elem_classes="hidden-link")
        self.moved = gr.Number(0, visible=False)  # Is another one after each move, which begins the rest.
        self._wire()

    def _wire(self) -> None:
        drawn = [self.notice, self.picture]
        everything = self.everything
        measured = {"fn": self.on_measured, "inputs": self.visitor, "outputs": [self.notice, self.effect], **EDITS}
        at_once: dict[str, Any] = {"trigger_mode": "always_last", "queue": False, **HIDDEN, **PRIVATE}
        for place, slider in enumerate(self.sliders):
            slider.input(partial(self.on_move, place), [self.visitor, slider], [*drawn, self.moved], **at_once)
        self.moved.change(self.on_rest, self.visitor, [*drawn, self.place], trigger_mode="always_last", **EDITS
                          ).then(**measured)
        gr.on([self.layers.release, self.centred.input], self.on_how, [self.visitor, self.layers, self.centred], drawn,
              **EDITS).then(**measured)
        chosen: tuple[tuple[Any, Callable[..., Update], list[Any]], ...] = (
            (self.what.input, self.on_what, [self.visitor, self.what]),
            (self.who.input, self.on_who, [self.visitor, self.who]),
            (self.back.click, self.on_back, [self.visitor]), (self.on.click, self.on_more, [self.visitor]),
            (self.random.click, self.on_random, [self.visitor]), (self.reset.click, self.on_reset, [self.visitor]),
            (self.other.click, self.on_other, [self.visitor]),
            (self.file.upload, self.on_file, [self.visitor, self.file]))
        for event, handler, inputs in chosen:
            event(handler, inputs, everything, preprocess=handler != self.on_file, **EDITS).then(**measured)
        self.search.click(as_updates(self.on_search), [self.visitor, self.layer],
                          [*self.everything, self.searching, self.stop], concurrency_limit=None, **HIDDEN, **PRIVATE
                          ).then(**measured)
        self.stop.click(self.on_stop, self.visitor, self.stop, queue=False, **HIDDEN, **PRIVATE)
        named = [self.visitor, self.name, self.hold]
        self.saved = [self.save.click(self.on_save, named, [self.visitor, self.notice, self.effect, self.name],
                                      **EDITS)]
        self.export.click(self.on_export, named, [self.notice, self.export_link], **SAVING).success(
            None, js=FOLLOW % "discover-export-link", api_visibility="private")
        self.share.click(self.on_share, self.visitor, [self.notice, self.link], **QUICK).success(None, js=COPY,
                                                                                                 **PRIVATE)

    @property
    def outputs(self) -> list[Any]:
        """What `show` may change, beside the picture."""
        return [self.what, self.who, *self.sliders, self.place, self.layers, self.centred, self.hold,
                self.effect, self.link, self.file, self.layer]

    @property
    def everything(self) -> list[Any]:
        """All that a handler of the tab may change."""
        return [self.visitor, self.notice, self.picture, *self.outputs]

    def show(self, visitor: Visitor) -> Update:
        """All of the tab as it is for a visitor.

        Raises:
            InputError: the generator cannot be loaded, or no directions are known for it.
        """
        models, discovery = self.services.models_of(visitor), visitor.discovery
        names = discovering.offered(discovery, models)
        if not names:
            raise InputError(models.title, "no directions come with this program for it", "find some by `gradctrl "
                             "discover components`, and choose their file below")
        if discovery.collection is None or discovery.collection.name not in names:
            discovering.choose(discovery, names[0], models)
        if discovery.who == OWN and visitor.subject is None:
            discovery.who = SAMPLE
        assert discovery.collection is not None
        choices = [(TITLES.get(name, name), name) for name in names]
        people = [("Your face", OWN)] if visitor.subject is not None else []
        people += [("A sample", SAMPLE), ("The mean face", MEAN)]
        sides, layers = discovering.sides(models.generator), discovery.layers
        first, last = (sides[0], sides[-1]) if layers is None else (layers[0], min(layers[1] // 2, sides[-1]))
        return {self.what: gr.update(choices=choices, value=discovery.collection.name),
                self.who: gr.update(choices=people, value=discovery.who),
                **self._slots(discovery), self.place: _place(discovery),
                self.layers: side_range.value_of(sides, first, last),
                self.layer: gr.update(choices=[layer.name for layer in models.generator.layers]),
                self.centred: discovery.centred, self.link: gr.update(visible=False),
                self.hold: gr.update(choices=[(words.title_of(name), name) for name, control in models.controls.items()
                                              if isinstance(control, Control)]),
                self.effect: words.unchanged_in_words() if not discovery.edit.changes else gr.skip()}

    def _slots(self, discovery: Discovery) -> Update:
        assert discovery.collection is not None
        collection, update = discovery.collection, {}
        for place, slider in enumerate(self.sliders):
            if place >= len(discovery.numbers):
                update[slider] = gr.update(visible=False, value=0)
                continue
            number = discovery.numbers[place]
            low, high = collection.reach(number)
            update[slider] = gr.update(minimum=low, maximum=high, step=collection.step, visible=True,
                                       value=discovery.amounts.get(number, 0.0), info=collection.hints[number],
                                       label=words.title_of(collection.directions[number].name))
        return update

    def _shown(self, visitor: Visitor) -> Update:
        """The tab, and the picture in full."""
        shown = self.show(visitor)
        return {self.visitor: visitor, **shown, **self._drawn(visitor, quick=False)}

    def _drawn(self, visitor: Visitor, *, quick: bool) -> Update:
        picture = discovering.moved_picture(visitor, self.services.models_of(visitor), quick=quick)
        return {self.picture: files.for_browser(picture, visitor.folder)}

    # ---- moving

    @shown_errors
    def on_show(self, visitor: Visitor) -> Update:
        """Somebody comes to the tab: whoever has brought a face is shown it."""
        if visitor.subject is not None and not visitor.discovery.amounts:
            visitor.discovery.who = OWN
        return {**self._shown(visitor), self.notice: gr.skip()}  # A link that cannot be read has just been said so.

    @shown_errors
    def on_move(self, place: int, visitor: Visitor, value: float) -> Update:
        """A slider moves: the face at a small side, at once."""
        visitor.discovery.move(place, value)
        return {**self._drawn(visitor, quick=True), self.moved: visitor.discovery.moves}

    @shown_errors
    def on_rest(self, visitor: Visitor) -> Update:
        """The sliders rest: the face in full. While they move on it is not drawn."""
        moves = visitor.discovery.moves
        time.sleep(SETTLED)
        if visitor.discovery.moves != moves:
            return {}
        return {**self._drawn(visitor, quick=False), self.place: _place(visitor.discovery)}

    @shown_errors
    def on_measured(self, visitor: Visitor) -> Update:
        """What the directions did to the face, by the image classifier and dlib."""
        models, discovery = self.services.models_of(visitor), visitor.discovery
        if not discovery.edit.changes:
            return {self.effect: words.unchanged_in_words()}
        told = discovering.effect_of_moves(visitor, models)
        return {self.effect: words.effect_in_words(told, discovery.edit)}

    @shown_errors
    def on_how(self, visitor: Visitor, layers: object, centred: bool) -> Update:
        """Another range of layers, or from the mean or not."""
        discovery, generator = visitor.discovery, self.services.models_of(visitor).generator
        discovery.layers = discovering.layers_between(*side_range.read(layers), generator)
        discovery.centred = bool(centred)
        return self._drawn(visitor, quick=False)

    # ---- choosing

    @shown_errors
    def on_what(self, visitor: Visitor, name: str) -> Update:
        discovering.choose(visitor.discovery, name, self.services.models_of(visitor))
        return self._shown(visitor)

    @shown_errors
    def on_who(self, visitor: Visitor, who: str) -> Update:
        if who not in (OWN, SAMPLE, MEAN):
            raise InputError("On", "choose one of the list")
        if who == OWN and visitor.subject is None:
            raise InputError(None, "there is no face of yours here yet", "bring a photo in the tab Edit first, or "
                             "choose a sample")
        visitor.discovery.who = who
        return self._shown(visitor)

    @shown_errors
    def on_back(self, visitor: Visitor) -> Update:
        visitor.discovery.turn(-1)
        return self._shown(visitor)

    @shown_errors
    def on_more(self, visitor: Visitor) -> Update:
        visitor.discovery.turn(1)
        return self._shown(visitor)

    @shown_errors
    def on_random(self, visitor: Visitor) -> Update:
        visitor.discovery.randomise()
        return self._shown(visitor)

    @shown_errors
    def on_reset(self, visitor: Visitor) -> Update:
        visitor.discovery.amounts = {}
        return self._shown(visitor)

    @shown_errors
    def on_other(self, visitor: Visitor) -> Update:
        """The next sample."""
        visitor.discovery.who, visitor.discovery.seed = SAMPLE, visitor.discovery.seed + 1
        return self._shown(visitor)

    @shown_errors
    def on_file(self, visitor: Visitor, file: dict[str, Any] | None) -> Update:
        """Components of one's own."""
        if not file or not file.get("path"):
            raise InputError(None, "no file arrived", "choose it again")
        path, name = str(file["path"]), str(file.get("orig_name") or "file")
        models, discovery = self.services.models_of(visitor), visitor.discovery
        try:
            discovery.own = discovering.open_file(path, name, models)
        finally:
            files.discard_upload(path)
        discovering.choose(discovery, FILE, models)
        return {**self._shown(visitor), self.file: None}

    # ---- searching

    def on_search(self, visitor: Visitor, layer: str | None) -> Iterator[Update]:
        """Find the components of a layer."""
        discovery, models = visitor.discovery, self.services.models_of(visitor)
        ended = {self.searching: "", self.stop: gr.update(visible=False)}
        try:
            if not layer:
                raise InputError("Layer", "none is chosen", "choose one of the list")
            for report in search_layer(discovery, layer, models, self.services.inversions,
                                       self.services.quick_inversions):
                visitor.seen = time.monotonic()
                yield {self.searching: waiting(report) if isinstance(report, Waiting) else searching(report),
                       self.stop: gr.update(visible=True, interactive=True)}
            forgotten = visitor.discovery is not discovery
            yield ended if forgotten else {self.notice: "", **self._shown(visitor), **ended}
        except InputError as error:
            yield {self.notice: words.problem(str(error)), **ended}

    def on_stop(self, visitor: Visitor) -> Update:
        visitor.discovery.end_search()
        return {self.stop: gr.update(interactive=False)}

    # ---- keeping

    @shown_errors
    def on_save(self, visitor: Visitor, name: str, hold: list[str]) -> Update:
        """One more slider of the tab Edit."""
        models = self.services.models_of(visitor)
        visitor.own_models = discovering.take_up(visitor.discovery, name, hold, models)
        made = [*visitor.own_models.controls.values()][-1]
        return {self.visitor: visitor, self.name: "", self.effect: (
            f"<p class='said' role='status'>{words.title_of(made.name)} is a slider of the tab Edit now, at the end of "
            "the list.</p>")}

    def on_export(self, visitor: Visitor, name: str, hold: list[str]) -> Update:
        try:
            path = files.download_path(name or "direction", visitor.folder, ".safetensors")
            discovering.export(visitor.discovery, name, hold, self.services.models_of(visitor), Path(path))
            return {self.notice: "", self.export_link: str(path)}
        except InputError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    @shown_errors
    def on_share(self, visitor: Visitor, request: gr.Request) -> Update:
        """An address that opens the page with these sliders as they are, on a sample or the mean."""
        if not visitor.discovery.edit.changes:
            raise InputError("nothing is moved yet", "move a slider first")
        discovery = visitor.discovery
        if discovery.collection is not None and discovery.collection.name in (FILE, LAYER):
            raise InputError("a link", "cannot hold a file of your own or a layer that you searched",
                             "download what you found, and pass it on")
        address = str(request.request.base_url).rstrip("/") if request and request.request else ""
        link = f"{address}/?discover={quote(discovering.link_of(visitor.discovery))}"
        return {self.link: gr.update(value=link, visible=True)}

    def follow(self, visitor: Visitor, link: str) -> Update:
        """The tab as somebody's link has it.

        Raises:
            InputError: the link cannot be read, or does not fit.
        """
        discovering.follow_link(visitor.discovery, link, self.services.models_of(visitor))
        return self._shown(visitor)


def _place(discovery: Discovery) -> str:
    return (f"<p class='numbers' role='status'>{discovery.page + 1} of {discovery.pages}, "
            f"{sum(1 for amount in discovery.amounts.values() if amount)} moved</p>")
