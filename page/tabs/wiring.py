"""What every tab of the page wires its events with."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from page.state.visitor import Visitor
from page.tabs import words
from weights.errors import InputError, memory_told

Update = dict[Any, Any]  # What a handler returns: new values by component; components that are left out stay.

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# No sign of being at work, on no component: by default all outputs have one, and on each event Gradio's frontend goes
# through all components that ever had one. That took a part of the time of each slider's move.
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": []}
# Gradio's queue in parts: what is cheap never waits behind somebody's inversion.
QUICK: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "quick", **HIDDEN, **PRIVATE}
EDITS: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "edits", **HIDDEN, **PRIVATE}
SAVING: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "saving", **PRIVATE}
# A file is made on the click, then a hidden link to it (a gr.DownloadButton) is followed.
FOLLOW = "() => { const link = document.querySelector('#%s'); (link.querySelector('a, button') || link).click(); }"


def as_updates(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Have a handler's values leave it as updates.

    A session of Gradio's keeps a component for good each time that one is given a value after an update, and each event
    that leaves a component alone counts as an update of it. For handlers that answer again and again, be they
    asynchronous or generators.
    """
    @wraps(handler)
    async def once(*args: Any) -> Update:
        return _as_updates(await handler(*args))

    @wraps(handler)
    def several(*args: Any) -> Iterator[Update]:
        answered = False
        for values in handler(*args):
            answered = True
            yield _as_updates(values)
        if not answered:
            yield gr.skip()  # Of a generator that yields nothing, Gradio would empty all outputs.

    return several if inspect.isgeneratorfunction(handler) else once


def _as_updates(values: Update) -> Update:
    if "__type__" in values:
        return values  # gr.skip().
    return {part: value if isinstance(part, gr.State) or isinstance(value, dict) else gr.update(value=value)
            for part, value in values.items()}


def shown_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let a tab's handler's InputError be read in the tab's `notice`, and leave everything else in it as it is.

    The visitor among its arguments is seen to be here.
    """
    @wraps(handler)
    def wrapped(self: Any, *args: Any) -> Update:
        for visitor in args:
            if isinstance(visitor, Visitor):
                visitor.seen = time.monotonic()
        try:
            with memory_told():
                return {self.notice: "", **handler(self, *args)}
        except InputError as error:
            return {self.notice: words.problem(str(error))}
    return wrapped
