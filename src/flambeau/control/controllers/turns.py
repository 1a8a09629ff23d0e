"""Whose turn it is: one pass begins with each turn of the event loop.

A pass waits for nothing but the store, whose calls don't give way, so it holds the loop for some milliseconds. Between two passes, whoever
else has something to do gets a hand in: a request to the API server waits for one pass, not for one of each controller.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Shared by all controllers of an event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Bounded by the number of controllers: each waits for one turn at a time."""
        self._is_called = False

    async def next(self) -> None:
        """Wait for a turn of one's own."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if not self._is_called:
            self._call()
        await turn

    def _call(self) -> None:
        self._is_called = True
        asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        self._is_called = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled: its controller stops
                turn.set_result(None)
                break
        if self._waiting:
            self._call()
