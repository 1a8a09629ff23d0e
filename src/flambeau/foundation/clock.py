"""Time as an argument: the rooms that act take a Clock; the modules that decide take a number."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from flambeau.foundation.timestamps import parse_rfc3339, rfc3339

__all__ = ["Clock", "SystemClock", "parse_rfc3339", "rfc3339"]


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps; for intervals and deadlines."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch; for what people read, never for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wall(self) -> float:
        """Return ``time.time()``."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)
