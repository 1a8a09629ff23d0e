"""HTTP/2 connections to one replica: opened when needed, shared by its calls, closed when idle. ``grpc_call`` takes them."""

from __future__ import annotations

import asyncio
from typing import cast

from flambeau.gateway.document import Endpoint
from flambeau.gateway.http2_link import Broken, Link

LINKS_MAX = 32
"""Connections per replica; with at most 256 calls on each that is more than a backend may have in flight."""
LINK_IDLE_SECONDS_MAX = 60.0
WRITE_BUFFER_BYTES = 262_144
CONNECT_SECONDS_MAX = 5.0
"""To open a connection and to hear that its other end speaks HTTP/2."""

_NO_HTTP2 = "does not speak HTTP/2, which gRPC needs"


class ReplicaLink(asyncio.Protocol):
    """One connection, with its socket."""

    _transport: asyncio.Transport

    def __init__(self, links: Links) -> None:
        self._links = links
        self.link = Link(self._write, self._on_idle)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the replica has shown that it speaks HTTP/2."""
        self.idle_since = asyncio.get_running_loop().time()

    def close(self) -> None:
        """End it; calls on it are told."""
        self._lose("is not asked any more")

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.link.start()

    def data_received(self, data: bytes) -> None:
        """Work through what came."""
        try:
            self.link.receive(data)
        except Broken as error:
            self._lose(f"sent broken HTTP/2 ({error})" if self.link.is_ready else _NO_HTTP2)
            return
        if self.link.is_ready and not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the calls."""
        self._lose("closed the connection" if self.link.is_ready else _NO_HTTP2)

    def pause_writing(self) -> None:
        """Take in nothing that would have to be answered, either, while nothing can be sent."""
        self.link.on_writable(False)
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self.link.on_writable(True)

    # Inside.

    def _write(self, data: bytes) -> None:
        self._transport.write(data)

    def _on_idle(self) -> None:
        self.idle_since = asyncio.get_running_loop().time()
        if self.link.told_to_go or self._links.retired:
            self._transport.close()

    def _lose(self, cause: str) -> None:
        self._links.forget(self)
        self._transport.abort()
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(cause))
            self.ready.exception()  # nobody may be waiting any more
        if not self.link.gone:
            self.link.lose(cause)


class Links:
    """All connections to one replica."""

    __slots__ = ("_endpoint", "_links", "_opening", "retired")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._links: list[ReplicaLink] = []
        self._opening: asyncio.Lock | None = None
        self.retired = False

    def __len__(self) -> int:
        return len(self._links)

    def take(self) -> Link | None:
        """Return a connection with room for a call, if there is one."""
        for each in self._links:
            if each.link.has_room and each.link.is_ready:
                return each.link
        return None

    async def open(self) -> Link:
        """Return a connection with room, opening one; calls that come meanwhile wait for the same.

        Raises:
            OSError: it was refused, doesn't speak HTTP/2, or there are LINKS_MAX.
            TimeoutError: CONNECT_SECONDS_MAX passed.
        """
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            found = self.take()
            if found is not None:
                return found
            if len(self._links) >= LINKS_MAX:
                raise ConnectionError(f"all {LINKS_MAX} connections to it are full")
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                opened = await self._connect()
        if not opened.link.has_room:
            raise ConnectionError("it takes no calls")
        return opened.link

    def forget(self, link: ReplicaLink) -> None:
        """Count a connection no more."""
        if link in self._links:
            self._links.remove(link)

    def close_idle(self, before: float) -> None:
        """Close connections that have had no call since before a time."""
        for each in [each for each in self._links if not each.link.flows and each.idle_since < before]:
            each.close()

    def retire(self) -> None:
        """Take no more calls; those in flight finish."""
        self.retired = True
        self.close_idle(float("inf"))

    async def _connect(self) -> ReplicaLink:
        loop = asyncio.get_running_loop()
        port = self._endpoint.grpc_port or self._endpoint.port
        _, opened = await loop.create_connection(lambda: ReplicaLink(self), self._endpoint.address, port)
        self._links.append(opened)
        try:
            await opened.ready
        except BaseException:
            opened.close()
            raise
        return opened
