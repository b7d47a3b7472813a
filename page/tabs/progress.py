"""A running inversion in words: its place in the lane, its steps, and how near it has come."""

from __future__ import annotations

import time
from html import escape

import numpy as np

from inversion import Progress, describe_crop, identity_distance
from page.jobs.inverting import Waiting

LOOK = 2.0                 # Seconds between two measurements of the identity, which take a tenth of one.
WIDTH, HEIGHT = 160, 32    # Of the curve, in its own units.


class InversionProgress:
    """How an inversion has gone so far.

    Args:
        crop: What is inverted, uint8 [R, R, 3].
    """

    def __init__(self, crop: np.ndarray) -> None:
        self._crop = crop
        self._own: np.ndarray | None = None
        self._points: list[tuple[int, float]] = []
        self._identity: float | None = None
        self._looked = 0.0

    def after(self, progress: Progress) -> str:
        """Take note of a step, and tell the state as HTML."""
        self._points.append((progress.step, progress.lpips[0]))
        if time.monotonic() - self._looked > LOOK or progress.step == progress.steps:
            self._own = describe_crop(self._crop) if self._own is None else self._own
            self._identity = identity_distance(self._own, describe_crop(progress.pictures[0]))
            self._looked = time.monotonic()
        return (f"<div class='running' role='status'><progress max='{progress.steps}' value='{progress.step}' "
                f"aria-label='Inversion'></progress><div class='course'><span>{self._words(progress)}</span>"
                f"{self._curve(progress.steps)}</div></div>")

    def _words(self, progress: Progress) -> str:
        if progress.step == progress.steps:
            left = "measuring"
        elif progress.step == 1:
            left = "estimating the time left"
        else:
            left = f"about {max(progress.seconds_left, 1):.0f} s left"
        identity = "" if self._identity is None else f" · identity distance {self._identity:.2f}"
        return f"step {progress.step} of {progress.steps} · LPIPS {progress.lpips[0]:.3f}{identity} · {left}"

    def _curve(self, steps: int) -> str:
        """LPIPS over the steps as a line that falls."""
        highest = max(value for _, value in self._points)
        line = " ".join(f"{WIDTH * step / steps:.1f},{HEIGHT * (1 - value / highest):.1f}"
                        for step, value in self._points)
        return (f"<svg class='curve' viewBox='0 -2 {WIDTH} {HEIGHT + 4}' role='img' aria-label='LPIPS, falling from "
                f"{self._points[0][1]:.3f} to {self._points[-1][1]:.3f}'><polyline points='{line}'/></svg>")


def starting() -> str:
    """An inversion that has not made a step yet, as HTML."""
    return _bar("Looking for a starting point…")


def waiting(state: Waiting) -> str:
    """A place in the lane, as HTML."""
    who = "1 inversion is" if state.ahead == 1 else f"{state.ahead} inversions are"
    about = f", about {state.seconds:.0f} s" if state.seconds else ""
    return _bar(f"You are number {state.ahead + 1} in the queue: {who} before yours{about}. "
                "Meanwhile nothing else waits: a synthetic face can be edited at once.")


def _bar(words: str) -> str:
    return (f"<div class='running' role='status'><progress aria-label='Inversion'></progress>"
            f"<span>{escape(words)}</span></div>")
