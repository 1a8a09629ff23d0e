"""What the gateway measures, as loads; and who is waiting to be woken.

The gateway counts by itself: requests begun, and the integral of requests present. Two readings give the exact mean between them, however
long ago the first was, so that a late tick loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import orjson

from flambeau.foundation.ask import ask
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Unavailable

READ_SECONDS_MAX = 2.0
"""How long the gateway may take to tell its numbers."""
RECONNECT_SECONDS = 0.5
"""Before a gateway that isn't there is listened to again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Load:
    """One backend's load since the reading before."""

    concurrency: float
    """Mean number of requests present, waiting ones included."""
    rps: float
    """Requests begun per second."""
    waiting: int
    """Requests that wait now."""


@dataclass(frozen=True, slots=True)
class _Reading:
    seconds: float
    begun: int
    load_seconds: float


class Collector:
    """Read the gateway's numbers.

    Args:
        socket: the gateway's admin socket.
        clock: for the pauses between attempts.
    """

    def __init__(self, socket: Path, clock: Clock) -> None:
        self._socket = socket
        self._clock = clock
        self._last: dict[str, _Reading] = {}

    async def loads(self) -> dict[str, Load]:
        """Return the load of each backend since the last call; one that is read for the first time is left out.

        Raises:
            Unavailable: the gateway does not answer; what it counts meanwhile comes with the next answer.
        """
        answer = await ask(self._socket, "/status", timeout_seconds=READ_SECONDS_MAX)
        try:
            status = orjson.loads(answer.body)
            now, backends = float(status["seconds"]), status["backends"]
            loads: dict[str, Load] = {}
            readings: dict[str, _Reading] = {}
            for name, told in backends.items():
                reading = readings[name] = _Reading(now, int(told["begun"]), float(told["load_seconds"]))
                before = self._last.get(name)
                if before is not None and reading.begun >= before.begun and now > before.seconds:
                    span = now - before.seconds
                    loads[name] = Load(
                        (reading.load_seconds - before.load_seconds) / span, (reading.begun - before.begun) / span, int(told["waiting"])
                    )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"the gateway's status can't be read: {error!r}") from error
        self._last = readings
        return loads

    async def wakes(self) -> AsyncGenerator[str, None]:
        """Yield a backend's name whenever a request begins to wait for its first replica; for ever, over restarts of the gateway."""
        while True:
            try:
                async with contextlib.aclosing(self._lines()) as lines:
                    async for line in lines:
                        yield line
            except OSError as error:
                _log.debug("not listening to the gateway: %s", error)
            await self._clock.sleep(RECONNECT_SECONDS)

    async def _lines(self) -> AsyncGenerator[str, None]:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(b"GET /wakes HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            while size := await reader.readline():
                piece = await reader.readexactly(int(size, 16) + 2)
                name = piece.strip().decode()
                if name:
                    yield name
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise ConnectionResetError(f"the gateway ended its answer: {error}") from error
        finally:
            writer.close()
