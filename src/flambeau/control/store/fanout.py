"""Who watches, and what each has still to hear: bounded, so that a slow watcher costs itself its watch and nobody else anything."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from flambeau.control.store.database import Recorded
from flambeau.control.store.interface import Change, Event
from flambeau.control.store.rules import decode
from flambeau.foundation.errors import Conflict, FlambeauError

WATCH_CHANGES_MAX = 1000
"""Changes a watcher may be behind, beyond what it asked to have replayed."""


class Watcher:
    """Yield changes of one kind, in order; ends by raising.

    Args:
        kind: the kind's id.
        namespace: only there, or None for everywhere.
        backlog: changes to begin with.
    """

    def __init__(self, kind: str, namespace: str | None, backlog: Sequence[Recorded]) -> None:
        self.kind = kind
        self._namespace = namespace
        self._waiting = deque(backlog)
        self._waiting_max = len(backlog) + WATCH_CHANGES_MAX
        self._arrived = asyncio.Event()
        self._failure: FlambeauError | None = None

    def offer(self, recorded: Recorded) -> None:
        """Queue a change; a full queue ends the watch."""
        if self._failure is not None or self._namespace not in (None, recorded.namespace):
            return
        if len(self._waiting) >= self._waiting_max:
            self._waiting.clear()
            self.fail(expired(f"the watcher of {self.kind} fell {WATCH_CHANGES_MAX} changes behind"))
            return
        self._waiting.append(recorded)
        self._arrived.set()

    def fail(self, error: FlambeauError) -> None:
        """Make the iterator raise once it has yielded what is queued."""
        self._failure = error
        self._arrived.set()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        recorded = self._waiting.popleft()
        previous = None if recorded.previous is None else decode(recorded.previous)
        return Event(Change(recorded.change), decode(recorded.document), previous)


class Watchers:
    """Hand changes to everyone who watches their kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, set[Watcher]] = {}

    def add(self, watcher: Watcher) -> None:
        """Tell this one from now on."""
        self._by_kind.setdefault(watcher.kind, set()).add(watcher)

    def discard(self, watcher: Watcher) -> None:
        """Stop telling this one."""
        watchers = self._by_kind.get(watcher.kind)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._by_kind[watcher.kind]

    def publish(self, changes: Iterable[Recorded]) -> None:
        """Offer changes that are committed."""
        for recorded in changes:
            for watcher in self._by_kind.get(recorded.kind, ()):
                watcher.offer(recorded)

    def fail_all(self, error: FlambeauError) -> None:
        """End every watch."""
        for watchers in self._by_kind.values():
            for watcher in watchers:
                watcher.fail(error)


def expired(why: str) -> Conflict:
    """Return the error that tells a watcher to list again."""
    return Conflict(f"cannot go on watching: {why}", hint="list again and watch from there", reason="Expired")
