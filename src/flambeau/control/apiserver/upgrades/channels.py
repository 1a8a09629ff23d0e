"""The named streams of ``kubectl exec``: in a WebSocket's messages by number, over SPDY as streams of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from flambeau.control.apiserver.upgrades.pipes import BarePipe, WebSocketPipe
from flambeau.control.apiserver.upgrades.spdy import Data, Ended, Opened, Pinged, Spdy
from flambeau.control.apiserver.upgrades.takeover import Connection, broken

WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SPDY_PROTOCOLS = ("v4.channel.k8s.io",)
_NAMES = ("stdin", "stdout", "stderr", "error", "resize")
"""By their number in WebSocket messages."""
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}
_CLOSE = 255


class Channels(Protocol):
    """Named streams over one connection."""

    async def open(self) -> None:
        """Wait until every stream is there, and say that we are.

        Raises:
            ConnectionError: the client went.
        """
        ...

    def received(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what the client says on which stream; an empty piece is the stream's end."""
        ...

    async def say(self, name: str, data: bytes) -> None:
        """Write to a stream.

        Raises:
            ConnectionError: the client went.
        """
        ...

    async def close(self) -> None:
        """End all streams."""
        ...


class WebSocketChannels:
    """The first byte of a message is its stream's number."""

    def __init__(self, connection: Connection) -> None:
        self._pipe = WebSocketPipe(connection)

    async def open(self) -> None:
        """Say that we are there: an empty message, for clients wait for one."""
        await self.say("stdout", b"")

    async def received(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what the client says."""
        async for message in self._pipe.pieces():
            if len(message) == 2 and message[0] == _CLOSE and message[1] < len(_NAMES):
                yield _NAMES[message[1]], b""
            elif len(message) > 1 and message[0] < len(_NAMES):
                yield _NAMES[message[0]], message[1:]

    async def say(self, name: str, data: bytes) -> None:
        """Write to a stream."""
        await self._pipe.write(bytes((_NUMBERS[name],)) + data)

    async def close(self) -> None:
        """End the WebSocket."""
        self._pipe.close()


class SpdyChannels:
    """Each stream is a SPDY stream, named in its headers.

    Args:
        connection: the client's.
        names: of the streams that the client is going to open.
    """

    def __init__(self, connection: Connection, names: Collection[str]) -> None:
        self._pipe = BarePipe(connection)
        self._pieces = self._pipe.pieces()
        self._spdy = Spdy()
        self._missing = set(names)
        self._streams: dict[str, int] = {}
        self._names: dict[int, str] = {}

    async def open(self) -> None:
        """Wait until the client has opened every stream."""
        while self._missing:
            piece = await anext(self._pieces, b"")
            if not piece:
                broken("the client went before its streams were open")
            for event in self._spdy.receive(piece):
                if isinstance(event, Opened):
                    await self._accept(event)

    async def _accept(self, opened: Opened) -> None:
        name = opened.headers.get("streamtype", "")
        if name not in self._missing:
            broken(f"a stream of type {name!r} was not asked for")
        self._missing.remove(name)
        self._streams[name], self._names[opened.stream] = opened.stream, name
        await self._pipe.write(self._spdy.accept(opened.stream))

    async def received(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what the client says."""
        async for piece in self._pieces:
            for event in self._spdy.receive(piece):
                match event:
                    case Data(stream, data) if stream in self._names:
                        yield self._names[stream], data
                    case Ended(stream) if stream in self._names:
                        yield self._names[stream], b""
                    case Pinged(answer):
                        await self._pipe.write(answer)

    async def say(self, name: str, data: bytes) -> None:
        """Write to a stream."""
        if name in self._streams:
            await self._pipe.write(self._spdy.say(self._streams[name], data))

    async def close(self) -> None:
        """End every stream."""
        for stream in self._streams.values():
            await self._pipe.write(self._spdy.say(stream, b"", last=True))
