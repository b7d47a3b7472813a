"""The command app."""

from __future__ import annotations

import click

from commands.cache import is_wanted
from commands.models import open_controls, set_threads
from commands.options import controls_option, model_options


@click.command("app")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="Port of the page.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 lets others on your network in.")
@click.option("--share", is_flag=True, help="Make a public link through Gradio's servers.")
@click.option("--cache/--no-cache", default=None,
              help="Keep inversions for an hour at most, so that a visitor's face is not inverted twice.  [default: "
                   "--cache, unless GRADCTRL_INVERSIONS is off]")
@click.option("--own-models/--no-own-models", default=None,
              help="Let visitors fetch generators and load their own.  [default: only if no other machine can reach "
                   "the page]")
@click.option("--upload-limit", default="512mb", metavar="SIZE", help="The most that an uploaded file may have.")
@click.option("--mcp", is_flag=True, help="Offer the endpoints to agents, by the Model Context Protocol.")
@controls_option
@model_options
def start_app(port: int, host: str, share: bool, cache: bool | None, own_models: bool | None, upload_limit: str,
              mcp: bool, controls: str, generator: str, device: str, threads: int | None) -> None:
    """Start the page in which photos are edited with sliders.

    \b
    Example:
      gradctrl app --port 8000
    """
    from page.launching import launch

    kept = is_wanted(cache)
    set_threads(threads)
    launch(host=host, port=port, share=share, generator=generator, controls=open_controls(controls), device=device,
           cache=kept, own_models=own_models, upload_limit=upload_limit, mcp=mcp)
