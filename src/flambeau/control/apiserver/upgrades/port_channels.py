"""Port-forward in a WebSocket's numbered channels, as Kubernetes' Python and JavaScript clients ask for it.

Port number n of the request has channel 2n for its bytes and 2n + 1 for what goes wrong; each begins with the port, in two bytes.
Source: kubernetes/kubernetes, pkg/kubelet/server/portforward; the Python client's ``stream/ws_client.py``.
"""

from __future__ import annotations

import asyncio

from flambeau.control.apiserver.upgrades.pipes import READ_BYTES_MAX, WebSocketPipe
from flambeau.control.apiserver.upgrades.port_forward import PIECES_MAX, connect, send_pieces
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.tasks import TaskOwner

PROTOCOL = "v4.channel.k8s.io"
PORTS_MAX = 127
"""Of one request: a channel's number is one byte."""


def ports_in(values: list[str]) -> tuple[int, ...]:
    """Return the ports that a query names: parameters, commas within them, or both.

    Raises:
        InvalidInput: there is none, one is no port, or there are too many.
    """
    words = [word for value in values for word in value.split(",")]
    if not 0 < len(words) <= PORTS_MAX:
        raise InvalidInput(f"from 1 to {PORTS_MAX} ports are forwarded at once, not {len(words)}", hint="name them in ?ports=8080,8081")
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 5 and 0 < int(word) < 65536):
            raise InvalidInput(f"there is no port {word!r} to forward to")
    return tuple(int(word) for word in words)


class ChannelForward:
    """Talk over one WebSocket: one connection to the pod for each port.

    Args:
        pipe: the WebSocket.
        address: the pod's.
        ports: in the order of their channels.
    """

    def __init__(self, pipe: WebSocketPipe, address: str, ports: tuple[int, ...]) -> None:
        self._pipe = pipe
        self._address = address
        self._waiting: dict[int, asyncio.Queue[bytes]] = {2 * number: asyncio.Queue(PIECES_MAX) for number in range(len(ports))}
        self._ports = ports
        self._ended = asyncio.Event()
        self._tasks = TaskOwner("port-forward")

    async def run(self) -> None:
        """Forward until the client goes, or every connection to the pod has ended.

        Raises:
            ConnectionError: the client went without a word.
        """
        try:
            for number, port in enumerate(self._ports):
                for channel in (2 * number, 2 * number + 1):
                    await self._say(channel, port.to_bytes(2, "little"))
            for number, port in enumerate(self._ports):
                self._tasks.start(f"port {port}", self._forward(2 * number, port))
            self._tasks.start("from the client", self._receive())
            await self._ended.wait()
            self._pipe.close()
        finally:
            await self._tasks.close()

    async def _receive(self) -> None:
        try:
            async for message in self._pipe.pieces():
                waiting = self._waiting.get(message[0]) if len(message) > 1 else None
                if waiting is not None:
                    await waiting.put(message[1:])
        except ConnectionError:
            pass  # it went; what it forwarded ends with it
        finally:
            self._ended.set()

    async def _forward(self, channel: int, port: int) -> None:
        try:
            await self._exchange(channel, port)
        except ConnectionError:
            pass  # either side cut it; for the other it ends
        finally:
            left = self._waiting.pop(channel)
            while not left.empty():  # or the client's further pieces for this port would hold up the others
                left.get_nowait()
            if not self._waiting:
                self._ended.set()

    async def _exchange(self, channel: int, port: int) -> None:
        connection = await connect(self._address, port)
        if isinstance(connection, str):
            await self._say(channel + 1, connection.encode())
            return
        reader, writer = connection
        sending = self._tasks.start(f"to port {port}", send_pieces(self._waiting[channel], writer))
        try:
            while piece := await reader.read(READ_BYTES_MAX):
                await self._say(channel, piece)
        finally:
            sending.cancel()
            writer.close()

    async def _say(self, channel: int, data: bytes) -> None:
        await self._pipe.write(bytes((channel,)) + data)
