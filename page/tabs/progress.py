"""A running inversion or search in words: its place in the queue, and how far it is. All as HTML."""

from __future__ import annotations

from html import escape

from inversion import Progress
from page.jobs.discovering import SearchProgress
from page.jobs.inverting import Waiting


def starting() -> str:
    """An inversion that has not made a step yet."""
    return _bar("Getting your face ready…")


def waiting(state: Waiting) -> str:
    """A place in the queue."""
    who = "1 other face is" if state.ahead == 1 else f"{state.ahead} other faces are"
    about = f", about {state.seconds:.0f} s" if state.seconds else ""
    return _bar(f"{who} before yours{about}. Meanwhile nothing else waits: a synthetic face can be edited at once.")


def preparing(progress: Progress) -> str:
    """The quick inversion, for which sliders wait."""
    return _bar(f"Getting your face ready…{_left(progress)}", progress.step, progress.steps)


def refining(progress: Progress) -> str:
    """The inversion behind the edits."""
    return _bar(f"Making it look more like you, while you edit…{_left(progress)}", progress.step, progress.steps)


def searching(progress: SearchProgress) -> str:
    """A search for components of a layer."""
    left = progress.seconds * (progress.total / max(progress.done, 1) - 1)
    about = f", about {max(left, 1):.0f} s left" if progress.done else ""
    return _bar(f"{progress.done} of {progress.total} samples{about}", progress.done, progress.total)


def _left(progress: Progress) -> str:
    if progress.step <= 1 or progress.step == progress.steps:
        return ""
    return f" about {max(progress.seconds_left, 1):.0f} s left"


def _bar(words: str, done: int = 0, total: int = 0) -> str:
    share = f" max='{total}' value='{done}'" if total else ""
    return (f"<div class='running' role='status'><progress{share} aria-label='Progress'></progress>"
            f"<span>{escape(words)}</span></div>")
