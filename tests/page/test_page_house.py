"""What the page promises of itself: queues, privacy, ports, and that all of it ends with the program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

import app
from page import KEPT_SECONDS, SWEEP_SECONDS
from page.jobs.services import Services
from page.state import files
from weights.errors import InputError

ROOT = Path(app.__file__).parent
INVERTING = ("on_quick_inversion", "on_better_inversion")

def test_edits_never_wait_behind_inversions() -> None:
    functions = app.build_demo().fns.values()
    queues: dict[str, set[str | None]] = {}
    for function in functions:
        queues.setdefault(function.name, set()).add(function.concurrency_id)
        if function.name in INVERTING:  # Their own queues let one after the other run.
            assert function.concurrency_limit is None
    inverting = set().union(*(queues[name] for name in INVERTING))
    assert all(not ids & inverting for name, ids in queues.items() if name not in INVERTING)
    at_once = {getattr(function.fn, "__qualname__", "") for function in functions if not function.queue}
    assert {"PhotoHandlers.on_stop", "BatchTab.on_begin", "BatchTab.on_cancel",
            "Page.on_forget"} <= at_once


def test_the_page_reports_nothing_and_deletes_what_it_was_given() -> None:
    demo = app.build_demo()
    assert demo.analytics_enabled is False
    assert demo.delete_cache == (SWEEP_SECONDS, KEPT_SECONDS)
    assert {block.time_to_live for block in demo.blocks.values() if isinstance(block, gr.State)} == {KEPT_SECONDS}
    assert os.environ["GRADIO_TEMP_DIR"] == str(files.private_dir())
    assert files.private_dir().stat().st_mode & 0o777 == 0o700
    public = {function.api_name for function in demo.fns.values() if function.api_visibility != "private"}
    assert public == {"find_faces", "invert", "sample", "edit", "batch", "train_control"}


def test_the_private_directory_ends_with_the_program() -> None:
    code = ("import numpy as np; from page.state import files\n"
            "print(files.for_browser(np.zeros((8, 8, 3), np.uint8)))\nassert files.private_dir().is_dir()")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip().endswith("picture.jpg")
    assert not Path(result.stdout.strip()).parents[2].exists()


@pytest.mark.slow
def test_the_private_directory_ends_with_a_page_that_is_terminated(tmp_path: Path) -> None:
    code = "import app; app.launch(port=None)"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}) as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        assert len(list(tmp_path.glob("gradctrl-page-*"))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list(tmp_path.glob("gradctrl-page-*")) == []


@pytest.mark.slow
def test_a_page_that_is_terminated_ends_the_inversion_that_runs(astronaut_file: Path) -> None:
    """Cut off within torch it would abort the program, and left alone it would go on for minutes."""
    code = ("import app; from inversion import PRESETS, ProjectorSettings\n"
            "PRESETS['faithful'] = ProjectorSettings(steps=100_000, plateau=0, start='samples', samples=4)\n"
            "app.launch(port=None)")
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[-1]
        job = Client(address, verbose=False).submit(handle_file(astronaut_file), api_name="/invert")
        time.sleep(15)
        assert not job.done()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "terminate called" not in process.stderr.read()


def test_a_port_that_is_taken_is_named(services: Services) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}.*choose another port"):
            app.launch(port=port, generator=services.models.generator, controls=services.models.controls,
                       block=False)


