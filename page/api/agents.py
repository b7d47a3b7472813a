"""The endpoints for agents, by the Model Context Protocol: Gradio's server, with four things put right.

Seen in Gradio 6.31, and tested by tests/page/test_mcp.py:

- an agent that asks for no progress is given all results of a tool as one text, Python's words for a tuple;
- numbers come in Python's words, not as JSON;
- a file in a list, or one that may be left out, is not taken for a file;
- a tool cannot be given what another tool of a page on this machine gave, since Gradio fetches nothing from here.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from anyio.to_thread import run_sync
from gradio import mcp
from gradio_client import handle_file
from gradio_client.utils import is_file_obj_with_meta

from page.api.arguments import is_held
from page.state import files

MARK = "/gradio_api/file="  # Comes before a file's path in its address.
KEPT = 60.0                 # Seconds for which a file that came within a call is kept; it is uploaded from there.
FILES = (" Files are given by address: http, https or data:, or as another tool of this server gave it. Results are "
         "deleted after an hour.")


class AgentServer(mcp.GradioMCPServer):
    """What Gradio serves agents with."""

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        result = await run_sync(job.result)
        return list(result) if isinstance(result, tuple) else [result]

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        told = [json.dumps(item) if isinstance(item, (dict, list)) and not is_file_obj_with_meta(item) else item
                for item in data]
        return list(super().postprocess_output_data(told, root_url))

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        names = {position[0] for position in filedata_positions}
        return {name: _as_files(item) if name in names else item for name, item in value.items()}

    @property
    def _file_data_tool_description(self) -> str:
        return FILES


def _as_files(value: Any) -> Any:
    """Addresses as the files that they are of, also in a list."""
    if isinstance(value, list):
        return [_as_files(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("data:"):
        path = Path(mcp.processing_utils.save_base64_to_cache(value, str(files.private_dir())))
        timer = threading.Timer(KEPT, path.unlink, kwargs={"missing_ok": True})
        timer.daemon = True
        timer.start()
        return handle_file(str(path))
    own = _own_file(value)
    if own is not None:
        return handle_file(str(own))
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{value[:200]}: not the address of a file; give one that begins with http, https or data:")
    return handle_file(value)


def _own_file(address: str) -> Path | None:
    """The file of this page that an address is of, whatever name this machine has for the agent."""
    path = urlsplit(address).path
    if MARK not in path:
        return None
    file = Path(unquote(path.partition(MARK)[2])).resolve()
    return file if is_held(file) else None


def serve_agents() -> None:
    """Let pages that are launched with `mcp_server=True` be served to agents this way."""
    mcp.GradioMCPServer = AgentServer
    mcp.DEFAULT_TEMP_DIR = str(files.private_dir())
