"""Connections to replicas: opened when needed, kept alive a little, counted.

The proxy takes one for each request and gives it back by itself when the answer has arrived whole. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from flambeau.gateway.breaker import HEALTHY, Health
from flambeau.gateway.document import Backend, Endpoint
from flambeau.gateway.headers import ResponseHead, response_head
from flambeau.gateway.http2_upstream import LINK_IDLE_SECONDS_MAX, Links
from flambeau.gateway.metrics import Numbers

if TYPE_CHECKING:
    from flambeau.gateway.passage import Passage
    from flambeau.gateway.sidecar import Sidecar

CONNECT_SECONDS_MAX = 5.0
"""To open a connection."""
IDLE_SECONDS_MAX = 4.0
"""An idle connection is used again up to this age: below uvicorn's 5 s, the shortest keep-alive of model servers people run, so that a
request never meets a connection that its replica is about to close."""
IDLE_CONNECTIONS_MAX = 64
"""Per replica; one more is closed."""
HEAD_BYTES_MAX = 262144
"""Of an answer's head, or of the trailers behind a body."""
WRITE_BUFFER_BYTES = 262144
"""Request bytes that wait for a slow replica before the client is paused."""


class Receiver(Protocol):
    """Who waits for an answer."""

    def on_response(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        """Take the answer's head and what came with it."""

    def on_response_body(self, body: bytes, complete: bool) -> None:
        """Take more of the body."""

    def on_switched(self, head: ResponseHead) -> None:
        """Know that the replica has agreed to another protocol; its bytes come by on_response_body, as they are."""

    def on_upstream_lost(self, cause: str) -> None:
        """Know that no (further) answer will come."""

    def on_upstream_writable(self, writable: bool) -> None:
        """Pause or resume sending."""


class Replica:
    """One endpoint: its health, what it has in flight, its idle connections."""

    __slots__ = ("endpoint", "health", "idle", "in_flight", "links", "retired")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.health: Health = HEALTHY
        self.in_flight = 0
        self.idle: deque[Upstream] = deque()
        self.links = Links(endpoint)
        """HTTP/2, for gRPC."""
        self.retired = False
        """No longer in the table: connections close instead of becoming idle."""

    def take_idle(self, now: float) -> Upstream | None:
        """Return the connection that was used last, if it is still good."""
        while self.idle:
            upstream = self.idle.pop()
            if now - upstream.idle_since <= IDLE_SECONDS_MAX and not upstream.is_closing:
                return upstream
            upstream.close()
        return None

    async def connect(self) -> Upstream:
        """Open a connection.

        Raises:
            OSError: it was refused.
            TimeoutError: CONNECT_SECONDS_MAX passed.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            _, upstream = await loop.create_connection(lambda: Upstream(self), self.endpoint.address, self.endpoint.port)
        return upstream

    def keep(self, upstream: Upstream) -> None:
        """Keep a connection for the next request, or close it."""
        if self.retired or len(self.idle) >= IDLE_CONNECTIONS_MAX:
            upstream.close()
        else:
            self.idle.append(upstream)

    def close_idle(self, now: float) -> None:
        """Close connections that have been idle for too long."""
        while self.idle and self.idle[0].idle_since < now - IDLE_SECONDS_MAX:
            self.idle.popleft().close()
        if self.links:
            self.links.close_idle(now - LINK_IDLE_SECONDS_MAX)

    def retire(self) -> None:
        """Take no more requests; those in flight finish."""
        self.retired = True
        self.close_idle(float("inf"))
        self.links.retire()


class Service:
    """A backend's replicas, and the requests that wait for one."""

    __slots__ = ("_counted_at", "backend", "begun", "in_flight", "load_seconds", "numbers", "present", "replicas", "sidecar", "waiting")

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.replicas: list[Replica] = []
        self.in_flight = 0
        """Requests that a replica works on now."""
        self.waiting: deque[Passage] = deque()
        """Requests that wait for a replica with room; bounded by the proxy."""
        self.numbers = Numbers()
        self.sidecar: Sidecar | None = None
        """What is done beside passing requests on; None: nothing."""
        self.present = 0
        """Requests that have begun and not ended, waiting ones included."""
        self.begun = 0
        """All requests that ever began."""
        self.load_seconds = 0.0
        """``present``, integrated over time: its growth within a span, divided by the span, is the mean concurrency."""
        self._counted_at = 0.0
        self.update(backend)

    def count(self, change: int, now: float) -> None:
        """Note that a request began (1), ended (-1), or that somebody wants to know (0)."""
        self.load_seconds += self.present * (now - self._counted_at)
        self._counted_at = now
        self.present += change
        if change > 0:
            self.begun += 1

    def update(self, backend: Backend) -> list[Replica]:
        """Take a new set of endpoints over; replicas that stay keep their connections and their health. Return those that go."""
        self.backend = backend
        known = {replica.endpoint: replica for replica in self.replicas}
        self.replicas = [known.pop(endpoint) if endpoint in known else Replica(endpoint) for endpoint in backend.endpoints]
        for gone in known.values():
            gone.retire()
        return list(known.values())

    def retire(self) -> list[Replica]:
        """Take no more requests; return the replicas, which all go."""
        for replica in self.replicas:
            replica.retire()
        return self.replicas


class Upstream(asyncio.Protocol):
    """One connection to a replica."""

    __slots__ = (
        "_answer",
        "_complete",
        "_delivered",
        "_head_only",
        "_headers",
        "_informational",
        "_keep_alive",
        "_left",
        "_may_switch",
        "_overhead",
        "_parser",
        "_paused",
        "_pieces",
        "_receiver",
        "_transport",
        "idle_since",
        "replica",
        "request_sent",
    )

    _transport: asyncio.Transport

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.idle_since = 0.0
        self.request_sent = False
        """The request was written whole; until then the connection can't be used for another."""
        self._receiver: Receiver | None = None
        self._parser: httptools.HttpResponseParser | None = None
        """Of this answer, and of those that follow it on the connection; None once it can't read another."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._answer: ResponseHead | None = None
        self._head_only = False
        self._informational = False
        self._delivered = False
        self._complete = False
        self._keep_alive = False
        self._may_switch = False
        self._overhead = 0
        self._left = 0  # of a body whose length was announced and that goes by without the parser
        self._paused = False

    # What the proxy calls.

    @property
    def is_closing(self) -> bool:
        """Whether the connection can't be used any more."""
        return self._transport.is_closing()

    def begin(self, receiver: Receiver, head_only: bool, *, may_switch: bool) -> None:
        """Expect an answer.

        Args:
            receiver: whom to tell.
            head_only: the answer has no body whatever its head says (HEAD).
            may_switch: the request asks for another protocol, so that the answer may be 101.
        """
        self._receiver = receiver
        self._head_only = head_only
        self._may_switch = may_switch
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        self._headers = []
        self._answer = None
        self._informational = self._delivered = self._complete = False
        self._overhead = self._left = 0
        self.request_sent = False

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Take no more of the answer for now."""
        if not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the answer again."""
        if not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def cut(self) -> None:
        """End the connection at once; nobody is told. The replica sees its client leave."""
        self._receiver = None
        self._parser = None
        self._transport.abort()

    def hang_up(self) -> None:
        """End a tunnel once everything has been sent; nobody is told."""
        self._receiver = None
        self.resume_reading()  # or its end would never be seen
        self._transport.close()

    def close(self) -> None:
        """End an idle connection."""
        self._transport.close()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Read the answer, and pass on what is new."""
        receiver, parser = self._receiver, self._parser
        if self._left and receiver is not None:
            self._take_body(data, receiver)
            return
        if receiver is None or parser is None:
            self._receive_raw(data)
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserUpgrade) and self._answer is not None and self._answer.status == 101:
                self._parser = None
                receiver.on_switched(self._answer)
                self._receive_raw(data[error.args[0] :])
                return
            if not self._complete:
                self._lose(f"sent an answer that is not HTTP/1.1 ({error})")
                return
            self._keep_alive = False  # bytes behind the answer
        if self._answer is None or not (self._pieces or self._complete):
            self._overhead += len(data)
            if self._overhead > HEAD_BYTES_MAX:
                self._lose(f"sent a head or trailers over {HEAD_BYTES_MAX} bytes")
                return
        else:
            self._overhead = 0
        self._deliver()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits. An answer that ends with the connection is complete."""
        if self._receiver is None:
            if self in self.replica.idle:
                self.replica.idle.remove(self)
            return
        if self._parser is None:
            receiver, self._receiver = self._receiver, None
            receiver.on_response_body(b"", True)  # a tunnel has no other end
            return
        if error is None and self._delivered and self._answer is not None and self._answer.until_close:
            self._complete = True
            self._keep_alive = False
            self._deliver()
            return
        begun = "in the middle of its answer" if self._delivered else "before it answered"
        self._lose(f"closed the connection {begun}")

    def pause_writing(self) -> None:
        """Pass the replica's slowness on."""
        if self._receiver is not None:
            self._receiver.on_upstream_writable(False)

    def resume_writing(self) -> None:
        """Go on sending."""
        if self._receiver is not None:
            self._receiver.on_upstream_writable(True)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Refuse bytes behind an answer, which would be taken for a part of the next."""
        if self._complete:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; trailers are dropped."""
        if self._answer is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Read the head; informational answers (100, 103) are passed over."""
        assert self._parser is not None, "it calls"
        status = self._parser.get_status_code()
        switches = status == 101 and self._may_switch and any(name.lower() == b"upgrade" for name, _ in self._headers)
        if status < 200 and not switches:
            self._informational = True
            self._headers = []
            return
        self._answer = response_head(status, self._headers)
        self._keep_alive = self._parser.should_keep_alive()
        self._complete = self._head_only

    def on_body(self, data: bytes) -> None:
        """Collect what one read brought."""
        if self._head_only:
            raise ValueError("a body behind an answer that has none")
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Note the answer's end."""
        if self._informational:
            self._informational = False
        else:
            self._complete = True

    # Inside.

    def _receive_raw(self, data: bytes) -> None:
        """Pass a tunnel's bytes on."""
        if self._receiver is None:
            self._transport.abort()  # nobody asked
        elif data:
            self._receiver.on_response_body(data, False)

    def _deliver(self) -> None:
        answer, receiver = self._answer, self._receiver
        if answer is None or receiver is None:
            return
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        complete = self._complete
        if complete:
            self._release()
        if not self._delivered:
            self._delivered = True
            if not complete and answer.length is not None:
                self._left = answer.length - len(body)
            receiver.on_response(answer, body, complete)
        elif body or complete:
            receiver.on_response_body(body, complete)

    def _take_body(self, data: bytes, receiver: Receiver) -> None:
        """Pass on a piece of a body whose end is known by its length."""
        if len(data) > self._left:
            data = data[: self._left]
            self._keep_alive = False  # bytes behind the answer
        self._left -= len(data)
        if not self._left:
            self._complete = True
            self._release()
        receiver.on_response_body(data, self._complete)

    def _release(self) -> None:
        """Become idle, or close if another request can't follow."""
        self._receiver = None
        if self._head_only or self._delivered:
            self._parser = None  # it may not have seen the end of this answer
        if self._keep_alive and self.request_sent and not self._transport.is_closing():
            if self._paused:
                self.resume_reading()
            self.idle_since = monotonic()
            self.replica.keep(self)
        else:
            self._transport.abort()

    def _lose(self, cause: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._parser = None
        self._transport.abort()
        if receiver is not None:
            receiver.on_upstream_lost(cause)
