"""Ask services: one POST over HTTP/1.1 on a connection that is kept for the next one.

Names inside the cluster lead to the gateway, which balances, waits for a sleeping service and knows who is ready; everything else is
asked where it says. Nothing is retried.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from flambeau.gateway.document import Endpoint
from flambeau.gateway.graph.decide import Reply, refusal
from flambeau.gateway.headers import ResponseHead
from flambeau.gateway.upstream import CONNECT_SECONDS_MAX, Replica, Upstream

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Of one service's answer."""
_CALL_FAILED_STATUS = 500
"""The original's for a service that can't be asked."""
_URLS_MAX = 1024
"""Whose parts are remembered; a graph has fewer."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the platform's gateway is."""

    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a URL leads."""

    endpoint: Endpoint
    tls: ssl.SSLContext | None
    server_name: str
    request_line: bytes
    """With the Host."""


class Services:
    """Ask services by their URLs.

    Args:
        gateway: where names inside the cluster are asked; None: where they say.
        is_inside: tells whether a host is inside the cluster.
        seconds_max: for one call, from its first byte to the answer's last.
    """

    def __init__(self, gateway: Gateway | None, is_inside: Callable[[str], bool], seconds_max: float) -> None:
        self._gateway = gateway
        self._is_inside = is_inside
        self._seconds_max = seconds_max
        self._replicas: dict[Endpoint, Replica] = {}
        self._target = functools.lru_cache(maxsize=_URLS_MAX)(self._target_of)

    async def call(self, url: str, body: bytes, headers: Headers) -> Reply:
        """Return a service's answer, or one of status 500 that says why there is none.

        Cancel: the connection is cut, so that the service sees its client leave.
        """
        try:
            async with asyncio.timeout(self._seconds_max):
                return await self._exchange(self._target(url), body, headers)
        except TimeoutError:
            return refusal(_CALL_FAILED_STATUS, f"{url} has not answered within {self._seconds_max:g} s")
        except OSError as error:
            return refusal(_CALL_FAILED_STATUS, f"cannot connect to {url}: {_cause(error)}")
        except _Lost as error:
            return refusal(_CALL_FAILED_STATUS, f"{url} {error}")

    def close_idle(self, now: float) -> None:
        """Close connections that have been idle for too long."""
        for replica in self._replicas.values():
            replica.close_idle(now)

    def close(self) -> None:
        """Close all idle connections."""
        self.close_idle(float("inf"))

    async def _exchange(self, target: _Target, body: bytes, headers: Headers) -> Reply:
        replica = self._replicas.setdefault(target.endpoint, Replica(target.endpoint))
        upstream = replica.take_idle(asyncio.get_running_loop().time()) or await _connect(replica, target)
        answer = _Answer(upstream)
        lines = [target.request_line, *(b"%b: %b\r\n" % header for header in headers)]
        upstream.begin(answer, False, may_switch=False)
        upstream.request_sent = True
        upstream.write(b"%bcontent-length: %d\r\n\r\n%b" % (b"".join(lines), len(body), body))
        try:
            return await answer.whole
        finally:
            answer.leave()

    def _target_of(self, url: str) -> _Target:
        parts = urlsplit(url)
        host, gateway = parts.hostname or "", self._gateway
        if gateway is not None and self._is_inside(host):
            return _Target(Endpoint(gateway.host, gateway.port, ""), _without_names() if gateway.tls else None, host, _request_line(parts))
        tls = _trust() if parts.scheme == "https" else None
        return _Target(Endpoint(host, parts.port or (80 if tls is None else 443), ""), tls, host, _request_line(parts))


@functools.cache
def _without_names() -> ssl.SSLContext:
    """Return what the platform's own gateway is spoken to with: its certificate is for the names it shows outside, not for its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Lost(Exception):
    """Say why an answer does not come."""


class _Answer:
    """Collect one answer (upstream.Receiver)."""

    def __init__(self, upstream: Upstream) -> None:
        self.whole: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._upstream: Upstream | None = upstream
        self._status = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def leave(self) -> None:
        """Cut the connection if the answer isn't there yet."""
        if self._upstream is not None:
            self._upstream.cut()

    def on_response(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        self._status = head.status
        if (head.length or 0) > ANSWER_BYTES_MAX:
            self._fail(f"answers with {head.length} bytes, the most is {ANSWER_BYTES_MAX}")
        else:
            self.on_response_body(body, complete)

    def on_response_body(self, body: bytes, complete: bool) -> None:
        self._size += len(body)
        self._pieces.append(body)
        if complete:
            self._upstream = None  # it has gone back to its replica by itself
            if not self.whole.done():
                self.whole.set_result(Reply(self._status, b"".join(self._pieces)))
        elif self._size > ANSWER_BYTES_MAX:
            self._fail(f"answers with more than {ANSWER_BYTES_MAX} bytes")

    def on_switched(self, head: ResponseHead) -> None:
        raise AssertionError("no upgrade was asked for")

    def on_upstream_lost(self, cause: str) -> None:
        self._upstream = None
        self._fail(cause)

    def on_upstream_writable(self, writable: bool) -> None:
        """The body is in memory as a whole: nothing could be paused."""

    def _fail(self, cause: str) -> None:
        if not self.whole.done():
            self.whole.set_exception(_Lost(cause))


async def _connect(replica: Replica, target: _Target) -> Upstream:
    if target.tls is None:
        return await replica.connect()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        _, upstream = await loop.create_connection(
            lambda: Upstream(replica), replica.endpoint.address, replica.endpoint.port, ssl=target.tls, server_hostname=target.server_name
        )
    return upstream


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return what servers are checked against: the system's authorities."""
    return ssl.create_default_context()


def _request_line(parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n".encode()


def _cause(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
