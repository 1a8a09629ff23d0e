"""Follow a kind for ever: what controllers and the agent live on."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Change, Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, Unavailable

_PAUSE_SECONDS = 1.0
"""Before a store that refused is asked again."""
_log = logging.getLogger(__name__)


async def follow(store: Store, kind: str, *, clock: Clock) -> AsyncGenerator[Event, None]:
    """Yield every object there is as ADDED, then every change, for ever.

    When changes were lost (the watch expired, the store refused), the kind is listed again: what is there comes as MODIFIED or ADDED, what
    went meanwhile as DELETED with its last known state. A consumer that acts on levels needs nothing else.

    Cancel: the watch is closed.
    """
    known: dict[Key, Object] = {}
    while True:
        try:
            listing = await store.list(kind)
            for event in _differences(kind, known, listing.items):
                yield event
            async with store.watch(kind, since=listing.resource_version) as changes:
                async for event in changes:
                    _remember(kind, known, event)
                    yield event
        except Conflict:
            _log.info("watch on %s expired; listing again", kind)
        except Unavailable as error:
            _log.warning("cannot follow %s: %s", kind, error)
            await clock.sleep(_PAUSE_SECONDS)


def _differences(kind: str, known: dict[Key, Object], items: tuple[Object, ...]) -> list[Event]:
    fresh = {_key(kind, item): item for item in items}
    gone = [Event(Change.DELETED, known[key], known[key]) for key in known.keys() - fresh.keys()]
    changed = [
        Event(Change.MODIFIED if key in known else Change.ADDED, item, known.get(key))
        for key, item in fresh.items()
        if key not in known or known[key]["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion")
    ]
    known.clear()
    known.update(fresh)
    return gone + changed


def _remember(kind: str, known: dict[Key, Object], event: Event) -> None:
    key = _key(kind, event.object)
    if event.change is Change.DELETED:
        known.pop(key, None)
    else:
        known[key] = event.object


def _key(kind: str, obj: Object) -> Key:
    metadata = obj["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])
