"""The answers that last: watches and followed logs. They end by their deadline, by the client, or when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flambeau.foundation.errors import Overloaded

STREAMS_MAX = 2048
"""Watches and followed logs at once, over all clients."""

_Item = TypeVar("_Item")


class Streams:
    """Know every running stream, and end them all when told."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Timeout] = set()
        self._count = 0
        self._ending = False

    @property
    def ending(self) -> bool:
        """Tell whether every stream has to end."""
        return self._ending

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a stream while it runs.

        Raises:
            Overloaded: there are too many.
        """
        self.check()
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def check(self) -> None:
        """Refuse a stream before its answer begins.

        Raises:
            Overloaded: there are too many.
        """
        if self._count >= STREAMS_MAX:
            raise Overloaded(f"{STREAMS_MAX} watches and followed logs are open: no more are taken")

    async def next(self, iterator: AsyncIterator[_Item], deadline: float | None) -> _Item | None:
        """Return the next item, or None when the stream has to end.

        Args:
            iterator: cancelled while it waits, when the time is up; it isn't asked again then.
            deadline: on the loop's clock; None is never.

        Raises:
            StopAsyncIteration: the iterator ended by itself.
        """
        if self._ending:
            return None
        try:
            async with asyncio.timeout_at(deadline) as limit:
                self._waiting.add(limit)
                try:
                    return await anext(iterator)
                finally:
                    self._waiting.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    def end_all(self) -> None:
        """End every stream now; those that come later end at once."""
        self._ending = True
        now = asyncio.get_running_loop().time()
        for limit in tuple(self._waiting):
            limit.reschedule(now)
