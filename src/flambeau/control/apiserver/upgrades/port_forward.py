"""``kubectl port-forward``: each connection of the user's is a pair of SPDY streams, and becomes a connection to the pod's address."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from flambeau.control.apiserver.upgrades.pipes import READ_BYTES_MAX, Pipe
from flambeau.control.apiserver.upgrades.spdy import Data, Ended, Event, Opened, Pinged, Spdy
from flambeau.control.apiserver.upgrades.takeover import Connection, broken
from flambeau.foundation.tasks import TaskOwner

SPDY_PROTOCOL = "portforward.k8s.io"
WEBSOCKET_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CONNECTIONS_MAX = 256
"""Connections through one port-forward at once."""
CONNECT_SECONDS_MAX = 10.0
PIECES_MAX = 16
"""Pieces of one connection that wait to be written to the pod; further ones hold up the whole port-forward."""


@dataclass(slots=True)
class _Forward:
    """One connection of the user's."""

    error_stream: int
    waiting: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(PIECES_MAX))
    """What goes to the pod; an empty piece is the end."""


class PortForward:
    """Talk over one upgraded connection.

    Args:
        pipe: carries SPDY.
        address: the pod's.
    """

    def __init__(self, pipe: Pipe, address: str) -> None:
        self._pipe = pipe
        self._address = address
        self._spdy = Spdy()
        self._error_streams: dict[str, int] = {}
        self._forwards: dict[int, _Forward] = {}
        self._tasks = TaskOwner("port-forward")

    async def run(self) -> None:
        """Forward until the client goes.

        Raises:
            ConnectionError: it went without a word, or doesn't speak SPDY.
        """
        try:
            async for piece in self._pipe.pieces():
                for event in self._spdy.receive(piece):
                    await self._take(event)
        finally:
            await self._tasks.close()

    async def _take(self, event: Event) -> None:
        match event:
            case Opened(stream, headers):
                await self._open(stream, headers)
            case Data(stream, data):
                if stream in self._forwards:
                    await self._forwards[stream].waiting.put(data)
            case Ended(stream):
                if stream in self._forwards:
                    await self._forwards[stream].waiting.put(b"")
            case Pinged(answer):
                await self._pipe.write(answer)

    async def _open(self, stream: int, headers: dict[str, str]) -> None:
        request, port = headers.get("requestid", ""), headers.get("port", "")
        if not port.isdigit() or not 0 < int(port) < 65536:
            broken(f"no port to forward to: {port!r}")
        if len(self._error_streams) + len(self._forwards) > 2 * CONNECTIONS_MAX:
            broken(f"more than {CONNECTIONS_MAX} connections are forwarded at once")
        await self._pipe.write(self._spdy.accept(stream))
        if headers.get("streamtype") == "error":
            self._error_streams[request] = stream
            return
        forward = self._forwards[stream] = _Forward(self._error_streams.pop(request, 0))
        self._tasks.start(f"port {port}", self._forward(stream, forward, int(port)))

    async def _forward(self, stream: int, forward: _Forward, port: int) -> None:
        connection = await connect(self._address, port)
        if isinstance(connection, str):
            await self._end(stream, forward, connection)
            return
        reader, writer = connection
        sending = self._tasks.start(f"to port {port}", send_pieces(forward.waiting, writer))
        try:
            while piece := await reader.read(READ_BYTES_MAX):
                await self._pipe.write(self._spdy.say(stream, piece))
        except ConnectionError:
            pass  # the pod cut it: for the client it ends, as it would without us
        finally:
            sending.cancel()
            writer.close()
        await self._end(stream, forward, "")

    async def _end(self, stream: int, forward: _Forward, problem: str) -> None:
        del self._forwards[stream]
        while not forward.waiting.empty():
            forward.waiting.get_nowait()
        try:
            if forward.error_stream:
                await self._pipe.write(self._spdy.say(forward.error_stream, problem.encode(), last=True))
            await self._pipe.write(self._spdy.say(stream, b"", last=True))
        except ConnectionError:
            return


async def connect(address: str, port: int) -> Connection | str:
    """Return a connection to a pod's port, or a sentence for the client that says why there is none."""
    try:
        return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_SECONDS_MAX)
    except (OSError, TimeoutError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        return f"cannot reach port {port} of the pod at {address}: {why}"


async def send_pieces(waiting: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
    """Write what arrives in a queue, until an empty piece or the end of the connection."""
    try:
        while piece := await waiting.get():
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        return
