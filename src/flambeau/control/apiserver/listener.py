"""uvicorn inside our own loop: no signal handlers, bounded heads, a start that can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flambeau.control.apiserver.certificates import Identity
from flambeau.control.apiserver.upgrades.takeover import EXTENSION, Connection
from flambeau.foundation.errors import Unavailable
from flambeau.foundation.tasks import TaskOwner

HEAD_BYTES_MAX = 64 * 1024
"""Bytes of a request's target and headers together; more is answered 400 and the connection cut."""
HEAD_SECONDS = 15.0
"""Seconds that a head may take from its first byte; for the first one of a connection, from the end of the TLS handshake."""
IDLE_SECONDS = 75
"""Seconds that a connection may wait for its next request."""
CLOSE_SECONDS = 1.0
"""Seconds that a client has to answer the end of a TLS connection; one that is idle in its pool never does."""
CONNECTIONS_MAX = 4096
"""Connections at once; further requests are answered 503."""


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol has no limit and no deadline for heads, and waits for idle clients when it stops."""

    _head_bytes = 0
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        super().connection_made(transport)
        self._head_begins()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def _head_begins(self) -> None:
        if self._head_deadline is None:
            self._head_deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_arrived(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def on_message_begin(self) -> None:
        self._head_begins()
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"take_over": self._take_over}}

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_arrived()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser reads no further, whether the upgrade is granted or not

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: what offers an upgrade is answered as any request, and may take the connection over."""

    def _take_over(self, head: bytes) -> Connection:
        """Write an answer's head, and leave the connection to the caller."""
        self.cycle.response_started = self.cycle.response_complete = True
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = _TakenOver(reader, self)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        writer = asyncio.StreamWriter(self.transport, protocol, reader, self.loop)
        writer.write(head)
        return reader, writer

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(CLOSE_SECONDS, self._cut_when_written)

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._cut_when_written()

    def _cut_when_written(self) -> None:
        if self.transport.get_write_buffer_size():
            self.loop.call_later(CLOSE_SECONDS, self._cut_when_written)
        else:
            self.transport.abort()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            raise ValueError(f"the head is over {HEAD_BYTES_MAX} bytes")  # httptools stops; uvicorn answers 400


class _TakenOver(asyncio.StreamReaderProtocol):
    """What a connection is after an upgrade; uvicorn goes on knowing it by its first protocol, and cuts it when it stops."""

    def __init__(self, reader: asyncio.StreamReader, first: _BoundedProtocol) -> None:
        super().__init__(reader)
        self._first = first

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._first.connections.discard(self._first)


class _Server(uvicorn.Server):
    """A uvicorn that says when it listens, and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def cut_connections(self) -> None:
        """End every connection now, whatever is on it."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


class Listener:
    """Serve one application over TLS.

    Args:
        app: what answers.
        identity: certificate and key.
    """

    def __init__(self, app: ASGIApp, identity: Identity) -> None:
        self._app = app
        self._identity = identity
        self._tasks = TaskOwner("apiserver")
        self._server: _Server | None = None
        self._running: asyncio.Task[Any] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen.

        Args:
            host: an address or name of this machine.
            port: 0 takes a free one.

        Returns:
            the port.

        Raises:
            Unavailable: the address can't be had.
        """
        listening = _bind(host, port)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are about clients; we answer those
        config = uvicorn.Config(
            self._app,
            http=_BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=IDLE_SECONDS,
            ssl_certfile=str(self._identity.certificate_file),
            ssl_keyfile=str(self._identity.key_file),
        )
        self._server = _Server(config)
        self._running = self._tasks.start("serve", self._server.serve(sockets=[listening]))
        listened = self._tasks.start("listening", self._server.listening.wait())
        await asyncio.wait({self._running, listened}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            listening.close()
            await self._running
        return int(listening.getsockname()[1])

    async def stop(self, drain_seconds: float) -> None:
        """Stop accepting, let running answers end, then cut what is left.

        Cancel: may be called again.
        """
        if self._server is not None and self._running is not None:
            self._server.config.timeout_graceful_shutdown = max(1, round(drain_seconds))
            self._server.should_exit = True
            await asyncio.wait({self._running}, timeout=drain_seconds + 5.0)
            self._server.cut_connections()
        await self._tasks.close()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM, protocol)  # unnamed, asyncio wouldn't set TCP_NODELAY: 40 ms an answer
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        hint = "another program has this port; stop it or choose another with --api HOST:PORT"
        raise Unavailable(f"the API server cannot listen on {host}:{port}: {error.strerror}", hint=hint) from error
    return listening
