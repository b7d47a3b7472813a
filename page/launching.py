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

from weights.errors import InputError

if TYPE_CHECKING:
    from directions import Controls
    from generators import Generator
    from page.jobs.services import Services
    from page.layout import PageBlocks

    Source = str | os.PathLike[str]

# Read when torch is loaded. Threads that wait for each other spin for milliseconds, so that an edit beside an inversion
# takes seconds in place of a twentieth of one; threads that never spin take half as long again for an edit alone. These
# spin for some microseconds (libgomp; other runtimes know the first alone).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

MOST_VISITORS = 200  # Whose state is kept; the one longest away goes first.
MOST_THREADS = 100   # That handlers run in; one for each inversion that waits.
UPLOAD_LIMIT = "512mb"  # A ZIP of photos, or a generator of NVIDIA's.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TERMINATED = threading.Event()


def build_demo(generator: Generator | Source = "bundled", controls: Controls | Source = "bundled", *,
               device: str = "auto", cache: bool = True, own_models: bool = True) -> PageBlocks:
    """Build the page; `launch` also gives it its looks. The generator is loaded when it is first needed.

    Args:
        generator: Built, or what `generators.load` takes.
        controls: Built, or what `directions.load` takes; there is a slider for each.
        device: Where a generator that is loaded here goes: auto, cpu, cuda or mps.
        cache: Keep inversions for an hour, so that a face is not inverted twice.
        own_models: Let visitors fetch generators and load their own.
    Raises:
        InputError: the controls cannot be read.
    """
    return _page(_services(generator, controls, device=device, cache=cache, own_models=own_models))


def _services(generator: Generator | Source, controls: Controls | Source, *, device: str, cache: bool,
              own_models: bool) -> Services:
    from page.jobs.forgetting import page_cache
    from page.jobs.services import Services

    return Services(generator, controls, device=device, cache=page_cache() if cache else None, own_models=own_models)


def _page(services: Services) -> PageBlocks:
    from page.state import files

    os.environ["GRADIO_TEMP_DIR"] = str(files.private_dir())  # Read by Gradio when components are made.
    from page.layout import PageBlocks

    return PageBlocks(services)


def launch(host: str = "127.0.0.1", port: int | None = 7860, share: bool = False, *,
           generator: Generator | Source = "bundled", controls: Controls | Source = "bundled", device: str = "auto",
           cache: bool = True, own_models: bool | None = None, upload_limit: str = UPLOAD_LIMIT, mcp: bool = False,
           block: bool = True) -> PageBlocks:
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

    from generators.memory import share_pools
    from page.jobs import zero_gpu
    from page.jobs.forgetting import start_sweeping

    share_pools()
    if not re.fullmatch(r"(?i)\d+ ?[kmgt]?b", upload_limit):
        raise InputError(upload_limit, "not a size of files", "give one as 64mb or 1gb")
    if mcp:
        _ready_for_agents()
    if own_models is None:
        own_models = not share and host in LOOPBACK
    zero_gpu.declare()
    services = _services(generator, controls, device="cpu" if zero_gpu.zero_gpu() else device, cache=cache,
                         own_models=own_models)
    # Beside the import of Gradio, which takes as long.
    threading.Thread(target=_warm_up, args=[services], name="warm-up").start()
    started = False
    try:
        demo = _page(services)
        from page.style import CSS, HEAD, theme

        start_sweeping()
        if block and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)  # So that the private directory is removed then too.
        demo.launch(server_name=host, server_port=port, share=share, theme=theme(), css=CSS, head=HEAD,
                    footer_links=[], max_threads=MOST_THREADS, run_history=False, max_file_size=upload_limit,
                    state_session_capacity=MOST_VISITORS, ssr_mode=False, enable_monitoring=False, pwa=False,
                    mcp_server=mcp, prevent_thread_lock=not block)
        started = True
    except OSError as error:
        if "port" not in str(error):
            raise
        raise InputError(f"port {port}", f"cannot be listened on at {host} ({error})", "choose another port") from error
    finally:
        if block or not started:  # Ctrl-C, the end of the program, or no page.
            services.close()
    return demo


def _terminated(*_: object) -> None:
    """End the program in Python's way; what it does last of all is `_end_if_terminated`."""
    _TERMINATED.set()
    sys.exit(0)


def _end_if_terminated() -> None:
    """Leave out the end of Python itself, once all that is to be closed and removed is.

    There threads of the web server's in which a visitor's photo is still looked at are unwound when they come back from
    C++, which does not bear it: now and then the program would abort.
    """
    if _TERMINATED.is_set():
        sys.stdout.flush()
        os._exit(0)


atexit.register(_end_if_terminated)  # Before those of what is imported later, so that it comes after them.


def _ready_for_agents() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise InputError(None, "MCP needs a package more", "install it by: pip install 'gradctrl[mcp]'") from error
    from page.api.agents import serve_agents

    serve_agents()


def _warm_up(services: Services) -> None:
    try:
        services.warm_up()
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
