"""What every controller is: kinds to follow, how their changes map to keys, and what to do for a key."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from flambeau.control.controllers.workqueue import WorkQueue
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Event, Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, FlambeauError, NotFound
from flambeau.foundation.tasks import TaskOwner

PARALLEL_MAX = 1
"""Objects that one controller handles at once. A pass waits for nothing but the store, whose calls don't give way: several at once finish
no sooner, and who applies meanwhile waits for all of them (90 services, busy machine: p99 of an apply 690 ms with four, 220 with one)."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A kind whose changes concern a controller."""

    kind: str
    keys: Callable[[Event], Iterable[Key]]
    """Which objects are to be looked at when one of this kind changed."""


class Controller:
    """Follow the sources, reconcile the keys.

    Args:
        name: as events name it, ``inferenceservice-controller``.
        store: where everything is.
        clock: for retries and times.
        sources: what to follow.
        reconcile: make one object so; returns in how many seconds to look again, or None.
    """

    def __init__(
        self, name: str, store: Store, clock: Clock, sources: tuple[Source, ...], reconcile: Callable[[Key], Awaitable[float | None]]
    ) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self._sources = sources
        self._queue: WorkQueue[Key] = WorkQueue(name, reconcile, clock, parallel_max=PARALLEL_MAX, on_error=self._tell_error)
        self._tasks = TaskOwner(name)

    def start(self) -> None:
        """Begin; every object there is gets looked at once."""
        for source in self._sources:
            self._tasks.keep(f"follow {source.kind}", partial(self._follow, source))

    async def stop(self) -> None:
        """End; what was begun is begun again at the next start."""
        await self._tasks.close()
        await self._queue.close()

    async def _follow(self, source: Source) -> None:
        async for event in follow(self._store, source.kind, clock=self._clock):
            try:
                keys = tuple(source.keys(event))
            except Exception:  # one object that nobody foresaw must not keep the others from being looked at
                _log.exception("%s: cannot tell whom a change of %s concerns", self.name, _key_of(source.kind, event.object))
                continue
            for key in keys:
                self._queue.add(key)

    async def _tell_error(self, key: Key, error: Exception, pause: float) -> None:
        """Tell a failure where people look: in the log, and as an event of the object; a lost race is no news."""
        if isinstance(error, Conflict):
            return
        if isinstance(error, FlambeauError):
            _log.warning("%s: %s failed, trying again in %.1f s: %s", self.name, key, pause, error)
        else:
            _log.error("%s: %s failed by a defect, trying again in %.1f s", self.name, key, pause, exc_info=error)
        try:
            involved = await self._store.get(key)
            await record_event(self._store, self._clock, involved, "Warning", "InternalError", str(error), self.name)
        except NotFound:
            return
        except FlambeauError as second:
            _log.warning("%s: cannot write an event about %s: %s", self.name, key, second)


def itself(kind: str) -> Source:
    """Return the source of a controller's own kind."""
    return Source(kind, lambda event: (_key_of(kind, event.object),))


def owner(kind: str, owner_kind: str, owner_id: str) -> Source:
    """Return a source whose objects concern their controlling owner.

    Args:
        kind: id of the kind to follow.
        owner_kind: as ownerReferences say it, ``Revision``.
        owner_id: id of that kind.
    """

    def keys(event: Event) -> Iterable[Key]:
        metadata = event.object["metadata"]
        for reference in metadata.get("ownerReferences") or ():
            if reference["kind"] == owner_kind:
                yield Key(owner_id, metadata.get("namespace", ""), reference["name"])

    return Source(kind, keys)


def _key_of(kind: str, obj: Object) -> Key:
    metadata = obj["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])
