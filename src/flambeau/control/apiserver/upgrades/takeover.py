"""From a request to its bare connection: which protocol the client offers, the 101, and what is then said over it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from flambeau.control.apiserver.streams import Streams
from flambeau.foundation.errors import InvalidInput

EXTENSION = "flambeau.takeover"
"""Under this name the listener puts ``take_over``, which hands out the connection, into the scope's extensions."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TakeOver = Callable[[bytes], Connection]
"""Write the head of the answer, then leave the connection to the caller."""

_WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Offer:
    """What was agreed on."""

    websocket: bool
    """Otherwise SPDY/3.1."""
    protocol: str
    head: bytes
    """Of the answer."""


def agree(request: Request, *, websocket: Sequence[str], spdy: Sequence[str]) -> Offer:
    """Return the first of our protocols that the client offers.

    Args:
        request: the client's.
        websocket: our WebSocket subprotocols, the preferred first.
        spdy: our stream protocols over SPDY, the preferred first.

    Raises:
        InvalidInput: it offers none.
    """
    upgrade = request.headers.get("upgrade", "").lower()
    if request.method == "GET" and upgrade == "websocket":
        chosen = _choose(request, "sec-websocket-protocol", websocket)
        key = request.headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_KEY, usedforsecurity=False).digest()).decode()
        return Offer(True, chosen, _head("websocket", f"Sec-WebSocket-Accept: {accept}", f"Sec-WebSocket-Protocol: {chosen}"))
    if request.method == "POST" and upgrade == "spdy/3.1":
        chosen = _choose(request, "x-stream-protocol-version", spdy)
        return Offer(False, chosen, _head("SPDY/3.1", f"X-Stream-Protocol-Version: {chosen}"))
    raise InvalidInput("an upgrade of the connection is expected here", hint="GET with a WebSocket, or POST with SPDY/3.1")


def _choose(request: Request, header: str, ours: Sequence[str]) -> str:
    offered = [word.strip() for value in request.headers.getlist(header) for word in value.split(",")]
    chosen = next((protocol for protocol in ours if protocol in offered), None)
    if chosen is None:
        raise InvalidInput(f"the client offers none of {', '.join(ours)}", hint=f"it offers {', '.join(offered) or 'nothing'}")
    return chosen


def _head(upgrade: str, *headers: str) -> bytes:
    lines = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {upgrade}", *headers, "", "")
    return "\r\n".join(lines).encode()


class UpgradeAnswer(Response):
    """An answer that goes on as long as both sides talk.

    Args:
        head: of the 101.
        session: talks; the connection is closed after it.
        streams: count it while it runs.
    """

    def __init__(self, head: bytes, session: Callable[[Connection], Awaitable[None]], streams: Streams) -> None:
        super().__init__(status_code=101)
        self._head = head
        self._session = session
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the connection over and talk; a client that goes ends it."""
        take_over: TakeOver = scope["extensions"][EXTENSION]["take_over"]
        with self._streams.admit():
            reader, writer = take_over(self._head)
            try:
                await self._session((reader, writer))
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()


class ProtocolBroken(ConnectionError):
    """The other side says what the protocol doesn't have: its connection is cut."""


def broken(what: str) -> NoReturn:
    """Cut the connection.

    Raises:
        ProtocolBroken: always.
    """
    raise ProtocolBroken(what)
