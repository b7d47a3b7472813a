"""The repository as a Hugging Face Space: what its files say, and that it starts where it has no network."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
STARTED_WITHIN = 180.0  # Seconds.
SMALL = 10 * 10**6  # Bytes; what is larger, the Hub keeps apart from git (docs/spaces.md).
# Loaded by Python before anything else: whoever looks for another host is refused, and written down.
NO_NETWORK = '''
import os, socket
real = socket.socket.connect, socket.getaddrinfo
HERE = ("127.0.0.1", "localhost", "0.0.0.0", "::1", "", None)

def refuse(host):
    with open(os.environ["REFUSED"], "a") as file:
        print(host, file=file)
    raise OSError(f"no network: {host}")

def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in HERE:
        refuse(address[0])
    return real[0](self, address)

def getaddrinfo(host, *args, **kwargs):
    if host not in HERE and host not in (b"127.0.0.1", b"localhost"):
        refuse(host)
    return real[1](host, *args, **kwargs)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
'''


def front_matter() -> dict[str, str]:
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    return {key: value.strip().strip('"') for key, _, value in (line.partition(":") for line in head.splitlines())}


def bare(requirement: str) -> str:
    return requirement.partition("#")[0].strip()


def test_requirements_are_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {bare(line) for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()} - {""}
    wanted = {item for item in project["dependencies"] if not re.match(r"gradio\b", item)}
    assert {item for item in listed if not item.startswith("spaces")} == wanted
    assert len([item for item in listed if item.startswith("spaces")]) == 1


def test_the_front_matter_is_what_spaces_reads() -> None:
    said = front_matter()
    assert said["sdk"] == "gradio"
    assert said["sdk_version"] == version("gradio")
    assert (ROOT / said["app_file"]).is_file()
    assert said["license"] == "mit"
    assert said["pinned"] == "false"
    assert len(said["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {said["colorFrom"], said["colorTo"]} <= colours
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert tuple(map(int, said["python_version"].split("."))) >= tuple(map(int, oldest.split(".")))


def test_the_docs_name_every_file_that_git_alone_cannot_bring_to_the_hub() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not files:
        pytest.skip("not a clone of the repository")
    large = [name for name in files.split("\0") if (ROOT / name).is_file() and (ROOT / name).stat().st_size > SMALL]
    text = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    assert [name for name in large if name not in text] == []


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The page, started as a Space starts it, by itself and with no network."""
    folder = tmp_path_factory.mktemp("space")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "HF_"))}
    environment = {**kept, "SPACE_ID": "somebody/face-editor", "SYSTEM": "spaces", "GRADIO_SERVER_PORT": str(port),
                   "GRADIO_TEMP_DIR": str(folder / "temp"), "REFUSED": str(folder / "refused"),
                   "PYTHONPATH": str(folder)}
    (folder / "temp").mkdir()
    with subprocess.Popen([sys.executable, "-u", "app.py"], cwd=ROOT, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        deadline = threading.Timer(STARTED_WITHIN, process.kill)  # Or a page that never says it runs is waited for.
        deadline.start()
        said = []
        for line in process.stdout:
            said.append(line)
            if "Running on" in line:
                break
        deadline.cancel()
        facts: dict[str, Any] = {"folder": folder, "address": f"http://127.0.0.1:{port}", "process": process,
                                 "said": "".join(said)}
        yield facts
        if process.poll() is None:
            process.kill()


@pytest.mark.slow
def test_it_answers_everybody_with_no_network(space: dict[str, Any]) -> None:
    assert space["process"].poll() is None, space["said"]
    assert "http://0.0.0.0:" in space["said"]
    config = httpx.get(f"{space['address']}/config", timeout=30).json()
    assert config["title"] == "Face editor"
    assert config["max_file_size"] == 64 * 2**20
    assert httpx.get(space["address"], timeout=30).status_code == 200
    [private] = (space["folder"] / "temp").glob("gradctrl-page-*")
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_it_draws_a_face_with_no_network(space: dict[str, Any]) -> None:
    calls = f"{space['address']}/gradio_api/call/sample"
    asked = httpx.post(calls, json={"data": [3, 0.7]}, timeout=30).json()
    answer = httpx.get(f"{calls}/{asked['event_id']}", timeout=60).text
    assert "event: complete" in answer
    files = json.loads(answer.partition("data: ")[2])
    address = f"{space['address']}/gradio_api/file={files[1]['path']}"
    assert httpx.get(address, timeout=30).content.startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mcp") is None, reason="mcp is not installed")
def test_it_serves_agents(space: dict[str, Any]) -> None:
    schema = httpx.get(f"{space['address']}/gradio_api/mcp/schema", timeout=30).json()
    assert [tool["meta"]["endpoint_name"] for tool in schema] == [
        "find_faces", "invert", "sample", "edit", "batch", "train_control"]


@pytest.mark.slow
def test_it_looked_for_no_other_host_and_leaves_nothing(space: dict[str, Any]) -> None:
    """The last one, as it ends the page."""
    process = space["process"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert list((space["folder"] / "temp").glob("gradctrl-page-*")) == []
    refused = space["folder"] / "refused"
    assert not refused.exists(), refused.read_text()
