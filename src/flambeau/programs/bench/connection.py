"""A client's connection: one request at a time, whole answers, callbacks. No task and no timer of its own; ``load`` has many of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

from flambeau.foundation import server_timing

MESSAGE_BYTES_MAX = 2_048
"""Of an answer that is an error, so much is kept; of others nothing."""
_NAME = server_timing.NAME.encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has come whole."""

    status: int
    message: bytes
    """Its body's first bytes, where it is an error."""
    times: tuple[str, ...]
    """Its Server-Timing headers."""
    body_bytes: int
    keeps: bool
    """Whether the connection can be asked again."""


class Owner(Protocol):
    """Who asks."""

    def answered(self, connection: Connection, answer: Answer) -> None:
        """Take an answer; the connection may be asked again at once if it keeps."""
        ...

    def lost(self, connection: Connection, why: str) -> None:
        """Know that the connection has ended."""
        ...


class Connection(asyncio.Protocol):
    """One connection to the server.

    Args:
        owner: told what comes.
    """

    def __init__(self, owner: Owner) -> None:
        self.due = 0.0
        """Since when the request on its way should have left, on the clock of whoever asks."""
        self.sent = 0.0
        """When it left."""
        self.busy = False
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._message = b""
        self._body_bytes = 0
        self._times: list[str] = []
        self._why = "the server closed the connection"

    def ask(self, message: bytes, due: float, now: float) -> None:
        """Send a request; the one before must have been answered."""
        assert self._transport is not None, "a connection is asked when it is open"
        self.due, self.sent, self.busy = due, now, True
        self._transport.write(message)

    def cut(self, why: str) -> None:
        """End the connection; the owner hears of it as of any loss."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.cut(f"the answer is not HTTP/1.1: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner."""
        self._owner.lost(self, f"{self._why}: {error}" if error is not None else self._why)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what stations tell of their times."""
        if name.lower() == _NAME:
            self._times.append(value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Read the status."""
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Count; keep the beginning of an error."""
        self._body_bytes += len(data)
        if self._status >= 300 and len(self._message) < MESSAGE_BYTES_MAX:
            self._message += data[:MESSAGE_BYTES_MAX]

    def on_message_complete(self) -> None:
        """Hand the answer on; an informational one is none."""
        times, self._times = tuple(self._times), []
        if self._status < 200:
            return
        answer = Answer(self._status, self._message, times, self._body_bytes, self._parser.should_keep_alive())
        self._message, self._body_bytes, self.busy = b"", 0, False
        self._owner.answered(self, answer)
