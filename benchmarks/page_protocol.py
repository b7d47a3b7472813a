"""The page's own protocol, as a browser talks it: values of components in, updates and pictures out."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from gradio_client.utils import apply_diff

PREFIX = "/gradio_api"
LONGEST = 300.0  # Seconds without a word from the server, after which a request counts as failed.


class PageError(Exception):
    """The page answered with an error, or not as it should."""


@dataclass(frozen=True)
class Event:
    """What the page does on something: one entry of the page's list of events."""

    index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    queued: bool
    targets: tuple[tuple[int | None, str], ...]
    mode: str            # "once", "multiple" or "always_last".
    after: int | None    # The event that it follows.


@dataclass(frozen=True)
class Plan:
    """The page as a browser gets it: components and events."""

    values: dict[int, Any]
    types: dict[int, str]
    ids: dict[str, int]  # Of components that have a name in the page.
    events: tuple[Event, ...]

    @classmethod
    def of(cls, config: dict[str, Any]) -> Plan:
        """Read what the page serves as /config."""
        parts = config["components"]
        events = tuple(Event(index=entry["id"], inputs=tuple(entry["inputs"]), outputs=tuple(entry["outputs"]),
                             queued=entry["queue"] is not False, mode=entry["trigger_mode"],
                             targets=tuple((part, name) for part, name in entry["targets"]),
                             after=entry.get("trigger_after"))
                       for entry in config["dependencies"])
        return cls(values={part["id"]: part["props"].get("value") for part in parts},
                   types={part["id"]: part["type"] for part in parts}, events=events,
                   ids={part["props"]["elem_id"]: part["id"] for part in parts if part["props"].get("elem_id")})

    def events_of(self, part: int | None, name: str) -> list[Event]:
        """What happens on an event of a component; of the page itself for None."""
        return [event for event in self.events for target, event_name in event.targets
                if event_name == name and (part is None or target == part)]

    def after(self, event: Event) -> list[Event]:
        """What follows an event."""
        return [other for other in self.events if other.after == event.index]


@dataclass
class Tab:
    """One visitor's browser tab: a session with the page, and the values of its components.

    Args:
        http: Shared by all tabs, with the page's address as its base.
        plan: Of the page.
    """

    http: httpx.AsyncClient
    plan: Plan
    session: str = field(default_factory=lambda: secrets.token_hex(6))

    def __post_init__(self) -> None:
        self.values = dict(self.plan.values)
        self.props: dict[int, dict[str, Any]] = defaultdict(dict)
        self._messages: dict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._open: set[str] = set()
        self._stream: asyncio.Task[None] | None = None
        self._loaded: set[str] = set()
        self._heart: asyncio.Task[None] | None = None

    async def arrive(self) -> None:
        """Open the page: its examples, and the heartbeat by which the page knows that somebody is here."""
        self._heart = asyncio.create_task(self._beat())
        for event in self.plan.events_of(None, "load"):
            await self.call(event)

    async def leave(self) -> None:
        """Close the tab."""
        for task in (self._heart, self._stream):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (self._heart, self._stream) if task), return_exceptions=True)

    async def call(self, event: Event, **changed: Any) -> list[Any]:
        """Send an event with the values as they are; take over the updates and load the pictures that they show.

        Returns:
            The outputs as they came.
        """
        found: list[Any] = []
        async for outputs in self.stream(event, **changed):
            found = outputs
        return found

    async def stream(self, event: Event, **changed: Any) -> AsyncIterator[list[Any]]:
        """As `call`, for an event that answers several times."""
        data = [changed.get(str(part), None if self.plan.types[part] == "state" else self.values[part])
                for part in event.inputs]
        body = {"data": data, "fn_index": event.index, "session_hash": self.session,
                "trigger_id": event.targets[0][0] if event.targets else None, "event_data": None}
        answers = self._queued(body) if event.queued else self._direct(body)
        async for outputs in answers:
            await self._take(event, outputs)
            yield outputs

    async def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Upload a file; what an event wants as the value of the component that it was dropped on."""
        reply = await self.http.post(f"{PREFIX}/upload", files={"files": (name, content)}, timeout=LONGEST)
        reply.raise_for_status()
        return {"path": reply.json()[0], "orig_name": name, "size": len(content), "mime_type": "image/jpeg",
                "meta": {"_type": "gradio.FileData"}}

    async def _direct(self, body: dict[str, Any]) -> AsyncIterator[list[Any]]:
        reply = await self.http.post(f"{PREFIX}/run/predict", json=body, timeout=LONGEST)
        if reply.status_code != 200:
            raise PageError(f"event {body['fn_index']}: status {reply.status_code}: {reply.text[:200]}")
        yield reply.json()["data"]

    async def _queued(self, body: dict[str, Any]) -> AsyncIterator[list[Any]]:
        reply = await self.http.post(f"{PREFIX}/queue/join", json=body, timeout=LONGEST)
        if reply.status_code != 200:
            raise PageError(f"event {body['fn_index']}: status {reply.status_code}: {reply.text[:200]}")
        event_id = reply.json()["event_id"]
        self._open.add(event_id)
        if self._stream is None or self._stream.done():
            self._stream = asyncio.create_task(self._listen())
        before: list[Any] | None = None
        try:
            while True:
                message = await asyncio.wait_for(self._messages[event_id].get(), LONGEST)
                if message["msg"] == "process_generating" and message["success"]:
                    data = message["output"]["data"]
                    before = data if before is None else [apply_diff(old, change) for old, change
                                                          in zip(before, data, strict=True)]
                    yield before
                elif message["msg"] == "process_completed":
                    if not message["success"]:
                        raise PageError(f"event {body['fn_index']}: {message['output']}")
                    if before is None:
                        yield message["output"]["data"]
                    return
        finally:
            self._open.discard(event_id)
            self._messages.pop(event_id, None)

    async def _listen(self) -> None:
        """Hand out what the server says, until it closes the stream since nothing is open any more."""
        while self._open:
            request = self.http.stream("GET", f"{PREFIX}/queue/data", params={"session_hash": self.session},
                                       timeout=LONGEST)
            async with request as reply:
                async for line in reply.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    message = json.loads(line[5:])
                    if message["msg"] == "close_stream":
                        break
                    if message.get("event_id"):
                        self._messages[message["event_id"]].put_nowait(message)

    async def _beat(self) -> None:
        async with self.http.stream("GET", f"{PREFIX}/heartbeat/{self.session}", timeout=None) as reply:
            async for _ in reply.aiter_lines():
                pass

    async def _take(self, event: Event, outputs: list[Any]) -> None:
        pictures: list[str] = []
        for part, value in zip(event.outputs, outputs, strict=True):
            if isinstance(value, dict) and value.get("__type__") == "update":
                self.props[part].update(value)
                if "value" in value:
                    self.values[part] = value["value"]
            else:
                self.values[part] = value
            if self.plan.types[part] in ("image", "imageslider"):
                pictures += [file["url"] for file in files(self.values[part]) if not file["url"].startswith("data:")]
        for url in pictures:
            if url not in self._loaded:  # A browser loads a picture once.
                reply = await self.http.get(url, timeout=LONGEST)
                if reply.status_code != 200 or not reply.content:
                    raise PageError(f"{url}: status {reply.status_code}")
                self._loaded.add(url)


def files(value: Any) -> list[dict[str, Any]]:
    """All files in a value or an update, by their addresses, or with what is in them as a data URL."""
    if isinstance(value, dict) and value.get("url"):
        return [value]
    if isinstance(value, (list, tuple)):
        return [file for part in value for file in files(part)]
    return []
