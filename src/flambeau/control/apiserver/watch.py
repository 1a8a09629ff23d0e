"""WATCH: changes as they happen, in the client's form and through its selector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any

from flambeau.control.apiserver import codecs, forms, status
from flambeau.control.apiserver.forms import Form
from flambeau.control.apiserver.selectors import Selector
from flambeau.control.apiserver.streams import Streams
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.store.interface import Change, Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError

SECONDS_DEFAULT = 1800.0
"""Length of a watch whose client names none."""
BOOKMARK_SECONDS = 60.0
"""Between two bookmarks, so that a client that goes on later finds its place in the history still."""
SECONDS_MAX = 3600.0
"""Length of any watch; clients open another then."""


_ANY_KIND = "namespaces"
"""Any list says the store's version; of this kind there are few."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What is watched, and how it is told."""

    kind: Kind
    version: str
    namespace: str | None
    """None is everywhere."""
    selector: Selector
    form: Form
    since: int | None
    """The version of the store to begin after; None begins with the objects there are."""
    seconds: float
    bookmarks: bool
    initial_end: bool
    """Whether to say, with a bookmark, that the objects there were are all told."""


async def watch(request: WatchRequest, store: Store, clock: Clock, streams: Streams) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a watch, until its time is up.

    What goes wrong on the way (a version too old, a client too slow) is its last line, of type ERROR.
    """
    try:
        with streams.admit():
            async for line in _lines(request, store, streams, _Teller(request, clock)):
                yield line
    except FlambeauError as error:
        yield _line("ERROR", status.of_error(error))


async def _lines(request: WatchRequest, store: Store, streams: Streams, teller: _Teller) -> AsyncGenerator[bytes, None]:
    deadline = asyncio.get_running_loop().time() + request.seconds
    since = request.since
    if since is None:
        listing = await store.list(request.kind.id, request.namespace)
        since = listing.resource_version
        for obj in listing.items:
            if request.selector.matches(obj):
                yield teller.tell(Change.ADDED, obj)
        if request.initial_end:
            yield teller.bookmark(since, {"k8s.io/initial-events-end": "true"})
    # Headers must reach the client before the first change does: it waits for them.
    yield b""
    async with store.watch(request.kind.id, request.namespace, since=since) as events:
        clock = asyncio.get_running_loop().time
        while not streams.ending and clock() < deadline:
            until = min(deadline, clock() + BOOKMARK_SECONDS) if request.bookmarks else deadline
            while (event := await streams.next(events, until)) is not None:
                since = int(event.object["metadata"]["resourceVersion"])
                for line in teller.tell_selected(event):
                    yield line
            if not request.bookmarks:
                continue
            version = (await store.list(_ANY_KIND)).resource_version
            while (event := await streams.next(events, clock())) is not None:  # what is told up to that version
                for line in teller.tell_selected(event):
                    yield line
                version = max(version, int(event.object["metadata"]["resourceVersion"]))
            since = max(since, version)
            yield teller.bookmark(since, {})


def _selected(selector: Selector, event: Event) -> Iterable[tuple[Change, Object]]:
    """Return the change as a watcher with a selector sees it: an object that stops to match is gone, one that begins to is new."""
    matches = selector.matches(event.object)
    if event.change is not Change.MODIFIED or event.previous is None:
        return [(event.change, event.object)] if matches else []
    matched = selector.matches(event.previous)
    if matches and matched:
        return [(Change.MODIFIED, event.object)]
    if matches:
        return [(Change.ADDED, event.object)]
    return [(Change.DELETED, event.object)] if matched else []


class _Teller:
    """Write changes in the client's form; the first Table describes the columns."""

    def __init__(self, request: WatchRequest, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._head = True

    def tell(self, change: Change, obj: Object) -> bytes:
        request = self._request
        shown = forms.render_change(request.form, request.kind, request.version, obj, self._clock.wall(), head=self._head)
        self._head = False
        return _line(change, shown)

    def tell_selected(self, event: Event) -> list[bytes]:
        return [self.tell(change, obj) for change, obj in _selected(self._request.selector, event)]

    def bookmark(self, resource_version: int, annotations: dict[str, str]) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(resource_version), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return _line("BOOKMARK", {**forms.type_of(self._request.kind, self._request.version), "metadata": metadata})


def _line(type_name: str, obj: Object) -> bytes:
    return codecs.encode({"type": type_name, "object": obj})
