"""Bytes both ways over an upgraded connection: bare, or in a WebSocket's binary messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from wsproto.connection import Connection as WebSocketConnection
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from flambeau.control.apiserver.upgrades.takeover import Connection, broken

READ_BYTES_MAX = 64 * 1024
"""Bytes that are read at once."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of one WebSocket message."""


class Pipe(Protocol):
    """Read and write whole pieces; over a WebSocket a piece is a message."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield what arrives until the other side ends.

        Raises:
            ConnectionError: it broke.
        """
        ...

    async def write(self, piece: bytes) -> None:
        """Send a piece, and wait while too much is under way.

        Raises:
            ConnectionError: it broke.
        """
        ...


class BarePipe:
    """The connection's own bytes."""

    def __init__(self, connection: Connection) -> None:
        self._reader, self._writer = connection

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what arrives."""
        while piece := await self._reader.read(READ_BYTES_MAX):
            yield piece

    async def write(self, piece: bytes) -> None:
        """Send a piece."""
        self._writer.write(piece)
        await self._writer.drain()


class WebSocketPipe:
    """A WebSocket's messages; pings are answered on the way."""

    def __init__(self, connection: Connection) -> None:
        self._reader, self._writer = connection
        self._socket = WebSocketConnection(ConnectionType.SERVER)
        self._message = bytearray()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the messages that arrive."""
        while received := await self._reader.read(READ_BYTES_MAX):
            try:
                self._socket.receive_data(received)
                events = list(self._socket.events())
            except RemoteProtocolError as error:
                broken(str(error))
            for event in events:
                if isinstance(event, Ping):
                    self._writer.write(self._socket.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self._writer.write(self._socket.send(event.response()))
                    return
                elif isinstance(event, (BytesMessage, TextMessage)):
                    message = self._take(event)
                    if message is not None:
                        yield message

    def _take(self, event: BytesMessage | TextMessage) -> bytes | None:
        self._message += event.data.encode() if isinstance(event.data, str) else event.data
        if len(self._message) > MESSAGE_BYTES_MAX:
            broken(f"a message is over {MESSAGE_BYTES_MAX} bytes")
        if not event.message_finished:
            return None
        message = bytes(self._message)
        self._message.clear()
        return message

    async def write(self, piece: bytes) -> None:
        """Send a message."""
        self._send(BytesMessage(data=piece))
        await self._writer.drain()

    def close(self) -> None:
        """Say that nothing more comes."""
        self._send(CloseConnection(code=1000))

    def _send(self, event: BytesMessage | CloseConnection) -> None:
        try:
            self._writer.write(self._socket.send(event))
        except LocalProtocolError as error:
            broken(str(error))
