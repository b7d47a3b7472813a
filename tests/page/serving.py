"""The page as other programs reach it: launched, with the models that the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client

from page import launching
from page.api.endpoints import Endpoints
from page.jobs.services import Services


@contextmanager
def served(services: Services, **options: Any) -> Iterator[gr.Blocks]:
    """The page, launched on a free port of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "_warm_up", lambda services: None)  # It would take the tests' time.
        demo = launching.launch(port=None, block=False, generator=services.models.generator,
                                controls=services.models.controls, **options)
    try:
        yield demo
    finally:
        demo.close()


def client_of(demo: gr.Blocks) -> Client:
    return Client(demo.local_url, verbose=False, analytics_enabled=False)


def endpoints_of(demo: gr.Blocks) -> Endpoints:
    """The object behind a launched page's endpoints."""
    function = next(function.fn for function in demo.fns.values() if function.api_name == "sample")
    return function.__wrapped__.__self__  # type: ignore[no-any-return, union-attr]
