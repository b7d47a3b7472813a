"""The endpoints as an agent meets them: through the client of the package `mcp`."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from editing import Editor
from page.jobs.services import Services
from page.state import files
from tests.page.serving import served

mcp = pytest.importorskip("mcp", reason="mcp is not installed (the extra mcp brings it)")
SIX = ["find_faces", "invert", "sample", "edit", "batch", "train_control"]


@pytest.fixture(scope="module")
def demo(services: Services) -> Iterator[gr.Blocks]:
    with served(services, mcp=True) as launched:
        yield launched


@pytest.fixture(params=[False, True], ids=["without-progress", "with-progress"])
def progress(request: pytest.FixtureRequest) -> Any:
    """Gradio answers agents that ask for progress in another way than those that do not."""
    async def on_progress(*_: Any) -> None:
        pass

    return on_progress if request.param else None


def talk(demo: gr.Blocks, say: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a conversation with the page gives."""
    from mcp.client.streamable_http import streamable_http_client

    async def conversation() -> Any:
        async with streamable_http_client(f"{demo.local_url}gradio_api/mcp/") as (reads, writes, _), mcp.ClientSession(
                reads, writes) as session:
            await session.initialize()
            return await say(session)

    return asyncio.run(conversation())


def call(demo: gr.Blocks, tool: str, arguments: dict[str, Any], progress: Any = None) -> Any:
    return talk(demo, lambda session: session.call_tool(tool, arguments, progress_callback=progress))


def pictures(result: Any) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(item.data)))) for item in result.content
            if item.type == "image"]


def texts(result: Any) -> list[str]:
    return [item.text for item in result.content if item.type == "text"]


def test_the_six_tools_say_what_they_do_and_take(demo: gr.Blocks) -> None:
    tools = talk(demo, lambda session: session.list_tools()).tools
    assert [tool.name for tool in tools] == SIX
    for tool in tools:
        assert "Args:" in tool.description
        assert all(item["description"] for item in tool.inputSchema["properties"].values())
    told = {tool.name: tool for tool in tools}
    assert "hair:black or hair:brown or hair:blond (0 to 2)" in told["edit"].description
    assert told["invert"].inputSchema["properties"]["preset"]["enum"] == ["fast", "balanced", "faithful"]
    assert told["edit"].inputSchema["required"] == ["session", "strengths"]
    assert all("Files are given by address" in told[name].description for name in ("find_faces", "edit", "batch"))


def test_a_sample_is_drawn_and_edited_twice(demo: gr.Blocks, services: Services, progress: Any) -> None:
    drawn = call(demo, "sample", {"seed": 4, "truncation": 0.7}, progress)
    assert not drawn.isError
    address = texts(drawn)[0]
    editor = Editor(services.models.generator, services.models.controls)
    editor.set_latent(services.models.generator.sample([4], truncation=0.7)[0])
    assert np.array_equal(pictures(drawn)[0], editor.edit({}))
    for strength in (1.0, -1.5):
        edited = call(demo, "edit", {"session": address, "strengths": {"smile": strength}}, progress)
        assert not edited.isError
        assert np.array_equal(pictures(edited)[0], editor.edit({"smile": strength}))
        told = json.loads(texts(edited)[-1])
        assert json.loads(told["recipe"])["edit"]["strengths"] == {"smile": strength}


def test_what_is_wrong_is_told(demo: gr.Blocks, progress: Any, capfd: pytest.CaptureFixture[str]) -> None:
    address = texts(call(demo, "sample", {"seed": 1}))[0]
    for arguments, message in (({"strengths": {"smle": 1}}, "smle: no such attribute"),
                               ({"layers": [1, 2, 3], "strengths": {"age": 1}}, "layers: [1, 2, 3] is no layer range"),
                               ({"session": "nowhere", "strengths": {"age": 1}}, "nowhere: not the address of a file")):
        result = call(demo, "edit", {"session": address, **arguments}, progress)
        assert result.isError
        assert message in texts(result)[0]
    assert "Traceback" not in capfd.readouterr().err


def test_files_within_a_call_in_lists_and_left_out(demo: gr.Blocks, astronaut_file: Path) -> None:
    photo = f"data:image/jpeg;base64,{base64.b64encode(astronaut_file.read_bytes()).decode()}"
    faces = json.loads(texts(call(demo, "find_faces", {"photo": photo}))[0])
    assert [face["number"] for face in faces] == [0]
    done = call(demo, "batch", {"photos": [photo], "strengths": {"smile": 1}, "preset": "fast"})
    assert texts(done)[0].endswith("/edited-faces.zip")
    assert [row["state"] for row in json.loads(texts(done)[1])] == ["done"]
    session = texts(call(demo, "sample", {"seed": 1}))[0]
    wrong = call(demo, "edit", {"session": session, "strengths": {"smile": 1}, "controls": session})
    assert "sample-1.session.safetensors: " in texts(wrong)[0]


def test_addresses_of_other_files_of_this_machine_are_refused(demo: gr.Blocks, astronaut_file: Path) -> None:
    shown = files.for_browser(np.zeros((64, 64, 3), np.uint8), "fedcba9876543210fedcba9876543210")
    for path in (str(astronaut_file), shown):
        for address in (path, f"file://{path}", f"{demo.local_url}gradio_api/file={path}"):
            assert call(demo, "find_faces", {"photo": address}).isError
