"""What has happened to a pod and was not handled yet: bounded, since of each sort only the newest counts."""

from __future__ import annotations

import asyncio

from flambeau.control.agent import machine
from flambeau.control.agent.machine import Happening

PROBE = "probe"
FETCH = "fetch"
_SLOTS: dict[type, str] = {
    machine.ProbeSucceeded: PROBE,
    machine.ProbeFailed: PROBE,
    machine.Fetched: FETCH,
    machine.FetchFailed: FETCH,
}
"""Events that replace each other; every other type has a slot of its own."""


class Mailbox:
    """Hand events over to one reader, in the order of their arrival."""

    def __init__(self) -> None:
        self._events: dict[str, Happening] = {}
        self._arrived = asyncio.Event()

    def put(self, event: Happening) -> None:
        """Add an event; an older one of the same sort that nobody read is dropped."""
        slot = _SLOTS.get(type(event), type(event).__name__)
        self._events.pop(slot, None)
        self._events[slot] = event
        self._arrived.set()

    def drop(self, slot: str) -> None:
        """Forget the unread event of a sort: what it was about has ended."""
        self._events.pop(slot, None)

    async def take(self, timeout_seconds: float | None) -> Happening | None:
        """Return the oldest event; None when none came in time.

        Cancel: nothing is lost.
        """
        if not self._events:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        slot = next(iter(self._events), None)
        return None if slot is None else self._events.pop(slot)
