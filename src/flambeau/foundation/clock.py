"""Time as an argument: the rooms that act take a Clock; the modules that decide take a number."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import Protocol


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


def rfc3339(wall_seconds: float) -> str:
    """Return Kubernetes' form of a time: UTC, whole seconds, ``Z``."""
    moment = datetime.datetime.fromtimestamp(wall_seconds, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """Return seconds since the epoch.

    Raises:
        ValueError: the text isn't such a time.
    """
    return datetime.datetime.fromisoformat(text).timestamp()
