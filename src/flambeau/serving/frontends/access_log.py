"""One line per request in TorchServe's form, cheap enough to be on by default.

    2026-11-25T18:05:43,120 - /127.0.0.1:51814 "POST /predictions/mnist HTTP/1.1" 200 3

Where logs are JSON the console gets an object instead, with the request's id. Lines are gathered and written together, at most
``FLUSH_SECONDS`` late, so that a request pays for formatting only. Health and metrics pages are left out by the door: a prober asks every
second. FLAMBEAU_ACCESS_LOG=off turns the log off.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Protocol

import orjson

from flambeau.foundation.timestamps import log4j_time, rfc3339

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
        streams: where lines go; written on the event loop's thread, in blocks.
        objects: where JSON objects go; None where nobody wants them.
    """

    def __init__(self, *streams: Stream, objects: Stream | None = None) -> None:
        self._streams: list[Stream] = list(streams)
        self._lines: list[str] = []
        self._millisecond = 0
        self._stamp = ""
        self._objects = _Objects(objects) if objects is not None else None
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def record(
        self, *, peer: str, method: str, target: bytes, status: int, seconds: float, request_id: str = "", version: bytes = b"HTTP/1.1"
    ) -> None:
        """Note one answered request."""
        now = time.time()
        if self._streams:
            millisecond = int(now * 1000)
            if millisecond != self._millisecond:  # a busy server answers many requests in one
                self._millisecond, self._stamp = millisecond, log4j_time(now)
            line = f'{self._stamp} - /{peer} "{_request_text(method, target, version)}" {status} {seconds * 1000:.0f}\n'
            self._lines.append(line)
            self._bytes += len(line)
        if self._objects is not None:
            self._bytes += self._objects.add(now, peer, method, target[:TARGET_BYTES_MAX], version, status, seconds, request_id)
        if self._bytes >= BUFFER_BYTES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is gathered. A stream that is gone gets no more; that ends its log, never the server."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._bytes = self._lines, [], 0
        data = "".join(lines).encode("latin-1", "replace")
        self._streams = [stream for stream in self._streams if _written(stream, data)]
        if self._objects is not None and not self._objects.flush():
            self._objects = None


@functools.lru_cache(maxsize=1024)
def _request_text(method: str, target: bytes, version: bytes) -> str:
    return f"{method} {target[:TARGET_BYTES_MAX].decode('latin-1')} {version.decode('latin-1')}"


class _Objects:
    """The lines as JSON."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    def add(self, now: float, peer: str, method: str, target: bytes, version: bytes, status: int, seconds: float, request_id: str) -> int:
        """Take one and return its size."""
        line = orjson.dumps(
            {
                "time": rfc3339(now),
                "level": "info",
                "logger": "access",
                "peer": peer,
                "method": method,
                "target": target.decode("latin-1"),
                "protocol": version.decode("latin-1"),
                "status": status,
                "milliseconds": round(seconds * 1000, 3),
                "request_id": request_id,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._lines.append(line)
        return len(line)

    def flush(self) -> bool:
        """Write; return whether the stream is still there."""
        lines, self._lines = self._lines, []
        return _written(self._stream, b"".join(lines))


def _written(stream: Stream, data: bytes) -> bool:
    try:
        stream.write(data)
        stream.flush()
    except (OSError, ValueError):
        return False
    return True
