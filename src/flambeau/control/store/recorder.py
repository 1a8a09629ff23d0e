"""Writing events, bounded: a repeated one raises a count, old ones go."""

from __future__ import annotations

from flambeau.control.resources import events
from flambeau.control.resources.event import EVENT
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Store, modify
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound
from flambeau.foundation.timestamps import parse_rfc3339

EVENT_SECONDS_MAX = 3600
"""An event that was not repeated for so long goes, as in Kubernetes."""

EVENTS_PER_NAMESPACE_MAX = 500
"""Beyond these the oldest go."""

_AT_ONCE = 25
"""One in so many of a namespace's events goes when it is full: to know which are the oldest means to read them all."""


async def record_event(
    store: Store, clock: Clock, involved: Object, type: events.EventType, reason: str, message: str, component: str
) -> None:
    """Tell people what happened to an object.

    A namespace that is going takes no more events: then nothing is written.

    Args:
        store: where to.
        clock: for the event's times.
        involved: the object it happened to, as read from the store.
        type: ``Normal`` or ``Warning``.
        reason: one CamelCase word.
        message: one sentence.
        component: who says so.

    Raises:
        Unavailable: the store cannot write.
    """
    now = clock.wall()
    event = events.event_object(involved, type, reason, message, component, now)
    key = EVENT.key(event)
    try:
        await modify(store, key, lambda stored: events.count_again(stored, message, now))
        return
    except NotFound:
        pass
    if await store.count(EVENT.id, key.namespace) >= EVENTS_PER_NAMESPACE_MAX:
        await drop_old_events(store, key.namespace, now)
    try:
        await store.create(event)
    except Conflict:
        await modify(store, key, lambda stored: events.count_again(stored, message, now))
    except NotFound:
        return


async def drop_old_events(store: Store, namespace: str, now: float) -> None:
    """Delete the events of a namespace that were not repeated for an hour, and the oldest of too many.

    Raises:
        Unavailable: the store cannot write.
    """
    listing = await store.list(EVENT.id, namespace)
    by_age = sorted(listing.items, key=_last_time)
    full = len(by_age) >= EVENTS_PER_NAMESPACE_MAX
    excess = len(by_age) - EVENTS_PER_NAMESPACE_MAX + max(1, EVENTS_PER_NAMESPACE_MAX // _AT_ONCE) if full else 0
    for number, event in enumerate(by_age):
        if number < excess or _last_time(event) < now - EVENT_SECONDS_MAX:
            await _delete_if_there(store, EVENT.key(event))


def _last_time(event: Object) -> float:
    return parse_rfc3339(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


async def _delete_if_there(store: Store, key: Key) -> None:
    try:
        await store.delete(key)
    except NotFound:
        return
