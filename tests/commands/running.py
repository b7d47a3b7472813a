"""Running commands in this process, as a user would type them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

import cli


def run(*arguments: object) -> Result:
    """Run a command; a fault of the program is raised, not caught."""
    return CliRunner(catch_exceptions=False).invoke(cli.main, [str(argument) for argument in arguments])


def fine(*arguments: object) -> tuple[list[Path], str]:
    """Run a command that must succeed; the paths on stdout, and what stderr says."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return [Path(line) for line in result.stdout.splitlines()], result.stderr


def made_by(*arguments: object) -> list[Path]:
    """Run a command that must succeed; the paths on stdout."""
    return fine(*arguments)[0]


def refused(*arguments: object, words: str, code: int = 1) -> None:
    """Run a command that must end with one line on stderr, or with click's usage."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert words in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
