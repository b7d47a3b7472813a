"""The command line's front door: what `gradctrl` is, and the commands that it has.

Paths of what was written go to stdout, everything else to stderr. Exit codes: 0 fine, 1 something that was given cannot
be used, 2 wrong usage. Nothing heavy is imported before a command needs it, so that --help is quick.
"""

from __future__ import annotations

import click

from commands.bank import prepare, score
from commands.cache import cache_group
from commands.controls import controls_group
from commands.demo import demo
from commands.edit import edit
from commands.encoder import encoder
from commands.evaluate import evaluate
from commands.faces import align, invert
from commands.files import convert_generator, weights_group
from commands.messages import Commands
from commands.page import start_app
from commands.people import attributes, sample
from commands.teach import train, tune


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                                             "show_default": True})
@click.version_option(package_name="gradctrl", prog_name="gradctrl")
def main() -> None:
    """Edit real face photos: the same person smiling, older, with other hair, turned to the side.

    Everything runs on this machine, and with no network: a small generator and its controls come with the program.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1.5           the face, smiling
      gradctrl edit me.jpg --set smile=1.5 --paste   the whole photo, smiling
      gradctrl attributes                            what can be changed
      gradctrl app                                   the same in a page in your browser

    `gradctrl COMMAND --help` explains a command.
    """


for _command in (align, invert, edit, attributes, sample, score, prepare, train, tune, evaluate, controls_group, demo,
                 encoder, cache_group, weights_group, convert_generator, start_app):
    main.add_command(_command)


if __name__ == "__main__":
    main()
