"""The command line's front door: what `gradctrl` is, and the commands that it has.

Paths of what was written go to stdout, everything else to stderr. Exit codes: 0 fine, 1 something that was given cannot
be used, 2 wrong usage. Nothing heavy is imported before a command needs it, so that --help is quick.
"""

from __future__ import annotations

import os

import click

from commands.batch import batch
from commands.checks import check_controls, check_generator
from commands.console import Commands
from commands.controls import attributes, controls_group
from commands.discover import discover
from commands.edit import edit
from commands.evaluate import demo, evaluate
from commands.faces import align, invert
from commands.files import cache_group, convert_generator, is_wanted, weights_group
from commands.fit import encoder, train, tune
from commands.mix import mix
from commands.options import controls_option, model_options, open_controls, set_threads
from commands.samples import gradients, prepare, sample, score
from commands.street import street

# Read when PyTorch is loaded. Threads that wait for each other while others work spin otherwise: on two busy cores an
# inversion took twice the processor time, and two to five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                                             "show_default": True})
@click.version_option(package_name="gradctrl", prog_name="gradctrl")
def main() -> None:
    """Edit real face photos: the same person smiling, older, with other hair, turned to the side.

    Everything runs on this machine, and with no network: a generator of faces and its controls come with the program.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1             the photo, with the face smiling
      gradctrl batch holiday --set smile=1 --out out all photos of a folder
      gradctrl attributes                            what can be changed
      gradctrl app                                   the same in a page in your browser

    `gradctrl COMMAND --help` explains a command.
    """


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
    check_generator(generator)
    check_controls(controls)
    from page.launching import launch

    kept = is_wanted(cache)
    set_threads(threads)
    launch(host=host, port=port, share=share, generator=generator, controls=open_controls(controls), device=device,
           cache=kept, own_models=own_models, upload_limit=upload_limit, mcp=mcp)


for _command in (align, invert, edit, batch, attributes, discover, sample, mix, street, score, gradients, prepare,
                 train, tune, evaluate, controls_group, demo, encoder, cache_group, weights_group, convert_generator,
                 start_app):
    main.add_command(_command)


if __name__ == "__main__":
    main()
