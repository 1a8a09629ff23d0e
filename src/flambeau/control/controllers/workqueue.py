"""Keys that wait to be reconciled: each once, never two hands on one, failures later and later.

Level-triggered: a key says "look at this", never what changed. Adding a key that waits changes nothing; adding one that is being handled
makes it wait again afterwards. Bounded by the number of objects there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from flambeau.control.controllers.turns import Turns
from flambeau.foundation.clock import Clock
from flambeau.foundation.tasks import TaskOwner

RETRY_SECONDS_MIN = 0.1
"""After a key's first failure; doubled after each further one."""
RETRY_SECONDS_MAX = 30.0

K = TypeVar("K", bound=Hashable)
Handle = Callable[[K], Awaitable[float | None]]
"""Handle a key; return in how many seconds to look at it again even if nothing changes, or None. Raising is a failure."""


class WorkQueue(Generic[K]):
    """Call a function for each key that is added.

    Args:
        name: of its tasks.
        handle: what to do for a key.
        clock: for retries.
        parallel_max: keys handled at once.
        turns: of everybody who handles keys on this event loop.
        on_error: told about each failure, with the key and the pause before the next try.
    """

    def __init__(
        self,
        name: str,
        handle: Handle[K],
        clock: Clock,
        *,
        parallel_max: int,
        turns: Turns,
        on_error: Callable[[K, Exception, float], Awaitable[None]],
    ) -> None:
        self._handle = handle
        self._clock = clock
        self._parallel_max = parallel_max
        self._turns = turns
        self._on_error = on_error
        self._waiting: dict[K, None] = {}
        self._running: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: dict[K, asyncio.Task[None]] = {}
        self._tasks = TaskOwner(name)

    def add(self, key: K) -> None:
        """Have a key handled soon."""
        self._waiting[key] = None
        self._start_some()

    def _start_some(self) -> None:
        for key in list(self._waiting):
            if len(self._running) >= self._parallel_max:
                return
            if key not in self._running:
                del self._waiting[key]
                self._running.add(key)
                self._cancel_later(key)
                self._tasks.start(str(key), self._run(key))

    async def _run(self, key: K) -> None:
        try:
            await self._turns.next()
            again = await self._try(key)
            if again is not None:
                self._later[key] = self._tasks.start(f"later {key}", self._add_later(key, again))
        finally:
            self._running.discard(key)
        self._start_some()

    async def _try(self, key: K) -> float | None:
        try:
            again = await self._handle(key)
        except Exception as error:  # every failure of a reconciler is retried; on_error tells it
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            again = retry_seconds(failures)
            await self._on_error(key, error, again)
        else:
            self._failures.pop(key, None)
        return again

    async def _add_later(self, key: K, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._later.pop(key, None)
        self.add(key)

    def _cancel_later(self, key: K) -> None:
        task = self._later.pop(key, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop; what is being handled is cancelled."""
        self._waiting.clear()
        await self._tasks.close()


def retry_seconds(failures: int) -> float:
    """Return the pause after so many failures in a row."""
    return min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(failures - 1, 20))
