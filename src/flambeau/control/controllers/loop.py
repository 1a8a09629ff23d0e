"""What every controller is: kinds to follow, how their changes map to keys, and what to do for a key."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from flambeau.control.controllers.turns import Turns
from flambeau.control.controllers.workqueue import WorkQueue
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Event, Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, FlambeauError, NotFound

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
    """Reconcile the keys that changes of the sources concern.

    Args:
        name: as events name it, ``inferenceservice-controller``.
        store: where everything is.
        clock: for retries and times.
        sources: what it is to be told of.
        reconcile: make one object so; returns in how many seconds to look again, or None.
        turns: of all controllers.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        clock: Clock,
        sources: tuple[Source, ...],
        reconcile: Callable[[Key], Awaitable[float | None]],
        turns: Turns,
    ) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self.sources = sources
        self._queue: WorkQueue[Key] = WorkQueue(name, reconcile, clock, parallel_max=PARALLEL_MAX, turns=turns, on_error=self._tell_error)

    def hear(self, source: Source, event: Event) -> None:
        """Take note of a change; what it concerns is looked at soon."""
        try:
            keys = tuple(source.keys(event))
        except Exception:  # one object that nobody foresaw must not keep the others from being looked at
            _log.exception("%s: cannot tell whom a change of %s concerns", self.name, _key_of(source.kind, event.object))
            return
        for key in keys:
            self._queue.add(key)

    async def stop(self) -> None:
        """End; what was begun is begun again at the next start."""
        await self._queue.close()

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
