"""The page's own cache of inversions, which keeps what the page promises: an hour at most, and not beyond its end."""

from __future__ import annotations

import functools
import sys
import threading
import time

from inversion import InversionCache
from page import KEPT_SECONDS, SWEEP_SECONDS
from page.showing import private_dir


@functools.cache
def page_cache() -> InversionCache:
    """The inversions of this process's visitors, in its private directory; what is too old is removed by itself."""
    cache = InversionCache(private_dir() / "inversions", max_age=KEPT_SECONDS,
                           on_note=lambda text: print(text, file=sys.stderr))
    threading.Thread(target=_sweep, args=[cache], name="sweep", daemon=True).start()
    return cache


def _sweep(cache: InversionCache) -> None:
    while True:
        time.sleep(SWEEP_SECONDS)
        cache.tidy()
