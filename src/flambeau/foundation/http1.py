"""An HTTP/1.1 server core: bytes in, callbacks out; no task, timer or context per request.

The gateway and the model server's doors stand on it. It owns what every HTTP server must get right (framing, limits, keep-alive,
backpressure both ways, deadlines, drain) and knows nothing about paths or bodies. Requests of one connection are worked on one at a time;
bytes of later ones wait unread. What is malformed is answered here with ``{"error": ...}`` and never reaches the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import errno
import os
import socket
import ssl as tls
import time
from pathlib import Path
from typing import Final

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.http1_connection import ANSWERED, Application, Connection, Exchange, Headers, Http2
from flambeau.foundation.http1_head import DEFAULT_LIMITS, Head, Limits

__all__ = ["ANSWERED", "Application", "Connection", "Exchange", "Head", "Headers", "Limits", "Server"]

_BACKLOG: Final = 1024
"""Connections the kernel holds until they are accepted."""
_TLS_GOODBYE_SECONDS: Final = 1.0
"""A closed TLS connection waits so long for the client's goodbye; most clients never say it, and asyncio would wait 30 s."""
_FAREWELL_SECONDS: Final = 0.2
"""A server that ends takes requests so long on connections that are kept: a client may have sent one before it could know."""
_SWEEP_SECONDS_MAX: Final = 1.0
"""Deadlines are looked at this often, all at once."""


class Server:
    """Accept connections and hand their requests to an application.

    Args:
        application: called with each request's head; returns its exchange. It may answer before it returns.
        limits: what clients may ask.
        name: the ``server`` header's value.
        http2: takes connections over that speak HTTP/2; None refuses them.
    """

    def __init__(
        self, application: Application, limits: Limits = DEFAULT_LIMITS, name: str = "flambeau", http2: Http2 | None = None
    ) -> None:
        self.application = application
        self.http2 = http2
        self.limits = limits
        self.name = name
        self.draining = False
        self.stamp = b""
        """The ``server`` and ``date`` lines of every answer; made anew each second."""
        self._now = 0.0
        self._stamped_second = 0
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._paths: list[Path] = []
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        waits = (limits.head_seconds, limits.idle_seconds, limits.body_idle_seconds, limits.linger_seconds)
        self._sweep_seconds = min(_SWEEP_SECONDS_MAX, min(waits) / 4)

    async def start(self, *, host: str, port: int, ssl: tls.SSLContext | None = None) -> tuple[str, int]:
        """Listen on a TCP address; may be called for several.

        Returns:
            the address and port that were bound.

        Raises:
            Unavailable: the address can't be bound; reason AddressInUse if somebody else has it.
        """
        loop = asyncio.get_running_loop()
        self._begin()
        try:
            if ssl is None:
                listener = await loop.create_server(self._connect, host, port, backlog=_BACKLOG)
            else:
                listener = await loop.create_server(
                    self._connect,
                    host,
                    port,
                    ssl=ssl,
                    backlog=_BACKLOG,
                    ssl_handshake_timeout=self.limits.head_seconds,
                    ssl_shutdown_timeout=_TLS_GOODBYE_SECONDS,
                )
        except OSError as error:
            raise _cannot_listen(f"{host}:{port}", error) from error
        self._listeners.append(listener)
        bound = listener.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def stop_listening(self, host: str, port: int) -> None:
        """Take no more connections at one of several addresses; those that are there go on."""
        for listener in tuple(self._listeners):
            if any(listening.getsockname()[:2] == (host, port) for listening in listener.sockets):
                listener.close()
                self._listeners.remove(listener)

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user may open (0600). A socket file that nobody listens on is replaced.

        Raises:
            Unavailable: the path can't be bound; reason AddressInUse if another process listens there.
        """
        loop = asyncio.get_running_loop()
        self._begin()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_dead_socket(path)
            listening.bind(str(path))
            os.chmod(path, 0o600)  # before listen(): nobody can have connected
            listener = await loop.create_unix_server(self._connect, sock=listening, backlog=_BACKLOG)
        except OSError as error:
            listening.close()
            raise _cannot_listen(str(path), error) from error
        self._paths.append(path)
        self._listeners.append(listener)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The TCP addresses that are listened on."""
        names = [listening.getsockname() for listener in self._listeners for listening in listener.sockets]
        return [(str(name[0]), int(name[1])) for name in names if isinstance(name, tuple)]

    @property
    def connections(self) -> int:
        """Open connections now."""
        return len(self._connections)

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let running exchanges finish, close what is idle; cut what is left after the time.

        A request may be on its way on a connection that looks idle: those get a moment, in which they are answered for the last time.

        Cancel: what still runs goes on; call close().
        """
        self.draining = True
        if self._connections:
            await self._wait_until_empty(min(seconds, _FAREWELL_SECONDS))
        self._stop_listening()
        for connection in tuple(self._connections):
            connection.drain()
        await self._wait_until_empty(seconds)
        await self.close()

    async def close(self) -> None:
        """Cut every connection and stop."""
        self.draining = True
        self._stop_listening()
        for connection in tuple(self._connections):
            connection.cut()
        await self._wait_until_empty(1.0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What connections call.

    def soon(self, seconds: float) -> float:
        """Return a deadline; never early, up to two sweeps late."""
        return self._now + seconds + self._sweep_seconds

    def admit(self, connection: Connection) -> int:
        """Count a connection; return how many there are."""
        self._connections.add(connection)
        return len(self._connections)

    def forget(self, connection: Connection) -> None:
        """Count a connection no more."""
        self._connections.discard(connection)
        if not self._connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    # Inside.

    def _connect(self) -> Connection:
        return Connection(self)

    def _begin(self) -> None:
        if self._timer is None:
            self._sweep()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()

    def _sweep(self) -> None:
        """Look at every connection's deadline: cheaper than a timer for each request."""
        loop = asyncio.get_running_loop()
        self._now = now = loop.time()
        second = int(time.time())
        if second != self._stamped_second:
            self._stamped_second = second
            self.stamp = f"server: {self.name}\r\ndate: {email.utils.formatdate(second, usegmt=True)}\r\n".encode()
        for connection in tuple(self._connections):
            connection.check_deadline(now)
        self._timer = loop.call_later(self._sweep_seconds, self._sweep)

    async def _wait_until_empty(self, seconds: float) -> None:
        if not self._connections:
            return
        self._emptied = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied, seconds)
        self._emptied = None


def _remove_dead_socket(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def _cannot_listen(where: str, error: OSError) -> Unavailable:
    cause = os.strerror(error.errno) if error.errno else str(error)
    in_use = error.errno == errno.EADDRINUSE
    return Unavailable(
        f"cannot listen on {where}: {cause}",
        hint="another process has it; stop that one or choose another port" if in_use else None,
        reason="AddressInUse" if in_use else "CannotListen",
    )
