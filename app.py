"""The front door for people: the Gradio page. What it is made of is in `page`; `gradctrl app` starts it too."""

from __future__ import annotations

import sys

from page.launching import build_demo, launch, launch_here
from weights.errors import InputError

__all__ = ["build_demo", "launch", "launch_here"]

if __name__ == "__main__":
    try:
        launch_here()
    except InputError as problem:
        sys.exit(str(problem))
