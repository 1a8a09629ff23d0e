"""One line per request in TorchServe's form, cheap enough to be on by default.

    2026-11-25T18:05:43,120 - /127.0.0.1 "POST /predictions/mnist HTTP/1.1" 200 3

Lines are gathered and written together, at most ``FLUSH_SECONDS`` late, so that a request pays for formatting only. Health and metrics
pages are left out by the door: a prober asks every second. FLAMBEAU_ACCESS_LOG=off turns the log off.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

FLUSH_SECONDS = 0.25
"""The most that a line waits for company."""
BUFFER_BYTES_MAX = 65_536
"""Reached: written at once."""
TARGET_BYTES_MAX = 1_024
"""A longer request target is cut in the log."""


class Stream(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> object:
        """Take bytes."""
        ...

    def flush(self) -> None:
        """Hand them on."""
        ...


class AccessLog:
    """Write access lines to a stream.

    Args:
        stream: where to; written on the event loop's thread, in blocks.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Stream = stream
        self._lines: list[bytes] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second = -1
        self._second_text = b""

    def record(self, *, peer: str, method: str, target: bytes, status: int, seconds: float, version: bytes = b"HTTP/1.1") -> None:
        """Note one answered request."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second)).encode()
        line = b'%b,%03d - /%b "%b %b %b" %d %d\n' % (
            self._second_text,
            int((now - second) * 1000),
            peer.encode("latin-1"),
            method.encode("latin-1"),
            target[:TARGET_BYTES_MAX],
            version,
            status,
            round(seconds * 1000),
        )
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= BUFFER_BYTES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is gathered. A stream that is gone ends the log, never the server."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._bytes = self._lines, [], 0
        try:
            self._stream.write(b"".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = _Nowhere()


class _Nowhere:
    """Stands for a stream whose reader went away."""

    def write(self, data: bytes, /) -> int:
        return len(data)

    def flush(self) -> None:
        pass
