"""What events send, and what they leave behind in a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client

import app
from page.layout import Page
from page.state.visitor import Visitor
from page.tabs.wiring import Update, as_updates


def test_a_slider_sends_itself_alone_and_signs_of_work_are_few() -> None:
    config = app.build_demo().config
    sliders = {part["id"] for part in config["components"] if part["type"] == "slider"}
    released = [event for event in config["dependencies"]
                if any(part in sliders and name == "release" for part, name in event["targets"])]
    assert len(released) >= 5
    assert all(len(event["inputs"]) == 5 and len(event["outputs"]) == 6 for event in released)
    for event in config["dependencies"]:
        if event["api_visibility"] != "private" or any(name == "unload" for _, name in event["targets"]):
            continue  # An endpoint, which no component calls, or nobody there to see a sign.
        if event["backend_fn"] and event["show_progress"] == "hidden":
            assert event["show_progress_on"] == [], event["api_name"]
        elif event["backend_fn"]:
            signs = event["outputs"] if event["show_progress_on"] is None else event["show_progress_on"]
            assert len(signs) <= 8, event["api_name"]


def test_whatever_a_handler_answers_is_among_its_outputs(page: Page, inverted: Visitor) -> None:
    """Gradio refuses the whole answer otherwise, and the button is dead; a handler called by a test would not show it.

    What a handler may answer is read from its source: the components that it and what it calls return updates of are
    known once each is called, here those that every tab's handlers share: the notice of a problem.
    """
    with gr.Blocks(analytics_enabled=False) as demo:
        built = Page(page.services)
    checked = 0
    for function in demo.fns.values():
        handler = getattr(function.fn, "__wrapped__", None)
        owner = getattr(function.fn, "__self__", None)
        if handler is None or not hasattr(owner, "notice"):
            continue
        assert owner.notice in function.outputs, f"{handler.__qualname__} may say what is wrong, and has no place to"
        checked += 1
    assert built.edit.notice is not None
    assert checked >= 20


@pytest.mark.parametrize("wrap", [as_updates, lambda handler: handler])
def test_a_session_keeps_no_component_for_each_update(wrap: Callable[..., Any]) -> None:
    with gr.Blocks(analytics_enabled=False) as demo:
        text, spare, number, button = gr.HTML(), gr.HTML(), gr.Number(), gr.Button()

        async def answer(number: float) -> Update:
            return {text: f"<p>{number:g}</p>"} if number % 2 else gr.skip()

        button.click(wrap(answer), number, [text, spare], api_name="answer")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        client = Client(address, verbose=False)
        for number in range(8):
            client.predict(number, api_name="/answer")
        [session] = demo.state_holder.session_data.values()
        left = len(session.blocks_config.blocks) - len(demo.blocks)
    finally:
        demo.close()
    assert (left == 0) == (wrap is as_updates)  # The second: that there is something to guard against.


def test_a_handler_that_has_nothing_to_say_leaves_all_as_it_is() -> None:
    def silent() -> Iterator[Update]:
        yield from ()

    assert list(as_updates(silent)()) == [gr.skip()]


def test_values_become_updates_and_updates_and_states_stay() -> None:
    with gr.Blocks(analytics_enabled=False):
        text, state, picture = gr.HTML(), gr.State(), gr.Image()

    async def once() -> Update:
        return {text: "a", state: 1, picture: gr.update(visible=False)}

    def several() -> Iterator[Update]:
        yield {text: "a"}
        yield gr.skip()

    assert asyncio.run(as_updates(once)()) == {text: gr.update(value="a"), state: 1, picture: gr.update(visible=False)}
    assert list(as_updates(several)()) == [{text: gr.update(value="a")}, gr.skip()]
