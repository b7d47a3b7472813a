"""Starting the page: on this machine, for others, or as a Hugging Face Space."""

from __future__ import annotations

import atexit
import importlib.util
import multiprocessing
import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING

from page import KEPT_SECONDS, SWEEP_SECONDS
from weights.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

    from directions import Controls
    from generators import Generator
    from page.state.models import Models

    Source = str | os.PathLike[str]

# Read when torch is loaded. Threads that wait for each other spin for milliseconds, so that an edit beside an inversion
# takes seconds in place of a twentieth of one; threads that never spin take half as long again for an edit alone. These
# spin for some microseconds (libgomp; other runtimes know the first alone).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

MOST_VISITORS = 200  # Whose state is kept; the one longest away goes first.
MOST_WAITING = 500   # Events in the queue; later ones are told to come back. Inversions have a lane of their own.
MOST_THREADS = 100   # That handlers run in; one for each inversion that waits.
PATIENCE = 30        # Seconds that the program's end waits for the models to be loaded, if that still goes on.
UPLOAD_LIMIT = "512mb"  # A ZIP of photos, or a generator of NVIDIA's.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def build_demo(generator: Generator | Source = "bundled", controls: Controls | Source = "bundled", *,
               device: str = "auto", cache: bool = True) -> gr.Blocks:
    """Build the page; `launch` also gives it its looks. The generator is loaded when it is first needed.

    Args:
        generator: Built, or what `generators.load` takes.
        controls: Built, or what `directions.load_controls` takes; there is a slider for each.
        device: Where a generator that is loaded here goes: auto, cpu, cuda or mps.
        cache: Keep inversions for an hour, so that a face is not inverted twice.
    Raises:
        InputError: the controls cannot be read.
    """
    return _build(_models(generator, controls, device, cache))


def _models(generator: Generator | Source, controls: Controls | Source, device: str, cache: bool,
            own_models: bool = True) -> Models:
    from page.jobs.forgetting import page_cache
    from page.state.models import Models

    return Models(generator, controls, device=device, cache=page_cache() if cache else None,
                  own_models=own_models)


def _build(models: Models) -> gr.Blocks:
    import gradio as gr

    from page.state import files as showing

    os.environ["GRADIO_TEMP_DIR"] = str(showing.private_dir())  # Read by Gradio when components are made.
    from page.layout import Page

    with gr.Blocks(title="Face editor", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)) as demo:
        Page(models).wire_visits(demo)
    return demo.queue(max_size=MOST_WAITING, default_concurrency_limit=8)


def launch(host: str = "127.0.0.1", port: int | None = 7860, share: bool = False, *,
           generator: Generator | Source = "bundled", controls: Controls | Source = "bundled", device: str = "auto",
           cache: bool = True, own_models: bool | None = None, upload_limit: str = UPLOAD_LIMIT, mcp: bool = False,
           block: bool = True) -> gr.Blocks:
    """Start the page and, unless told otherwise, stay until it is ended by Ctrl-C.

    Args:
        host: Address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 everybody who can reach it.
        port: Port to listen on; None: the first free one from 7860.
        share: Make a public address through Gradio's servers.
        generator, controls, device, cache: As for `build_demo`. The generator is loaded in the background.
        own_models: Let visitors fetch generators and load their own; None: only if no other machine can reach the page.
        upload_limit: The most that a file may have that is uploaded, as "64mb"; more is refused with status 413.
        mcp: Offer the endpoints to agents as well, by the Model Context Protocol, at /gradio_api/mcp/.
        block: False: return at once; `close()` on the result ends the page.
    Raises:
        InputError: the controls cannot be read, the port is taken, or what MCP needs is not installed.
    """
    if multiprocessing.current_process().name != "MainProcess":  # It would start the page a second time.
        raise RuntimeError("a program that starts the page is imported by the page's other process: call launch "
                           "below `if __name__ == '__main__':`")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Read when Gradio is imported, too.

    from page.jobs import gpu
    from page.jobs.memory import share_arenas
    from page.style import CSS, HEAD
    from page.tabs import batch_style, teach_style

    share_arenas()
    if not re.fullmatch(r"(?i)\d+ ?[kmgt]?b", upload_limit):
        raise InputError(upload_limit, "not a size of files", "give one as 64mb or 1gb")
    if mcp:
        _ready_for_agents()
    if own_models is None:
        own_models = not share and host in LOOPBACK
    models = _models(generator, controls, "cpu" if gpu.zero_gpu() else device, cache, own_models)
    gpu.declare()
    warming = threading.Thread(target=_warm_up, args=[models], name="warm-up", daemon=True)
    warming.start()
    atexit.register(warming.join, PATIENCE)  # A thread that is cut off within torch would abort the program.
    demo = _build(models)
    if block and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # So that the private directory is removed then too.
    theme = _theme()
    try:
        demo.launch(server_name=host, server_port=port, share=share, theme=theme,
                    css=CSS + batch_style.CSS + teach_style.CSS, head=HEAD, footer_links=[],
                    max_threads=MOST_THREADS,
                    run_history=False, max_file_size=upload_limit, state_session_capacity=MOST_VISITORS,
                    ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=mcp, prevent_thread_lock=not block)
    except OSError as error:
        if "port" not in str(error):
            raise
        raise InputError(f"port {port}", f"cannot be listened on at {host} ({error})", "choose another port") from error
    return demo


def _ready_for_agents() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise InputError(None, "MCP needs a package more", "install it by: pip install 'gradctrl[mcp]'") from error
    from page.api.agents import serve_agents

    serve_agents()


def _theme() -> gr.themes.Default:
    """Gradio's looks, with texts that are dark enough to be read (WCAG AA), and fonts that are there already."""
    import gradio as gr

    font = ["system-ui", "sans-serif"]  # Gradio's own would be fetched from a server of Google's.
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=font, font_mono=["monospace"])
    return theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
                     block_label_text_color="*neutral_600", block_label_text_color_dark="*neutral_200",
                     block_title_text_color="*neutral_700", block_title_text_color_dark="*neutral_200",
                     body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
                     input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
                     color_accent="*primary_600", slider_color="*primary_600",
                     button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700")


def _warm_up(models: Models) -> None:
    try:
        models.warm_up()
    except InputError as error:  # Visitors are told again, where they need it.
        print(error, file=sys.stderr)


def launch_here() -> None:
    """Start the page as the place where it runs asks for it: on this machine alone, or as a Hugging Face Space.

    Raises:
        InputError: as for `launch`.
    """
    if "SPACE_ID" in os.environ:  # There a proxy stands before it, and others use it too.
        port = os.environ.get("GRADIO_SERVER_PORT", "")
        launch(host="0.0.0.0", port=int(port) if port.isdecimal() else 7860,  # noqa: S104 (a Space has no other way in)
               upload_limit="64mb", mcp=importlib.util.find_spec("mcp") is not None)
    else:
        launch()
