"""A client's HTTP/2 connection: each stream is a request, answered as HTTP/1.1's connections are, or a gRPC call.

``foundation.http1`` hands a connection over when it begins with HTTP/2's preface; so HTTP/1.1 and gRPC share a port. A stream that is no
gRPC call goes the way of every HTTP request, to a replica that speaks HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head, Headers
from flambeau.foundation.http1_head import Refusal
from flambeau.gateway import answers, grpc_answers
from flambeau.gateway.headers import asked_protocol
from flambeau.gateway.http2_head import head_of
from flambeau.gateway.http2_link import Broken, Codes, Flow, HeaderList, Link

IDLE_SECONDS_MAX: Final = 300.0
"""A connection without a request; gRPC clients keep theirs and open it again by themselves."""
EARLY_BYTES_MAX: Final = 65_536
"""Of a tunnel, before its other end has agreed to it."""

_SERVER = (b"server", b"flambeau")
_SWITCHING = frozenset((b"upgrade", b"connection", b"sec-websocket-accept"))
_log = logging.getLogger(__name__)

Application = Callable[[Head, "Stream"], Exchange]


class Stream:
    """One request and its answer; to applications it is what ``Connection`` is to those of HTTP/1.1."""

    __slots__ = ("_early", "_exchange", "_flow", "_head_only", "_is_open", "_left", "_over", "_started", "_tunnel", "peer")

    def __init__(self, flow: Flow, peer: str) -> None:
        self._flow = flow
        self.peer = peer
        self._exchange: Exchange = ANSWERED
        self._head_only = False
        self._left: int | None = None  # of a body whose length was announced
        self._started = False
        self._tunnel = False  # it asks for WebSocket, or has got it
        self._is_open = False
        self._early = b""  # what came before the replica agreed: to one that refuses it would be another request
        self._over = False
        flow.listener = self

    def begin(self, headers: HeaderList, ended: bool, application: Application, grpc: Application) -> None:
        """Hand the request to whom it is for."""
        try:
            head = head_of(headers, ended)
        except Refusal as refusal:
            self._refuse(refusal, headers)
            return
        self._head_only = head.method == "HEAD"
        self._left = head.content_length
        is_call = (head.get(b"content-type") or b"").startswith(b"application/grpc")
        exchange = (grpc if is_call else application)(head, self)
        if not self._over:
            self._exchange = exchange
            self._tunnel = asked_protocol(head) is not None
            if self._tunnel:
                exchange.on_end()  # what follows belongs to the tunnel

    # What the application calls.

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.start(status, headers, None if status in (204, 304) else len(body))
        if not self._head_only:
            self.write(body)
        self.finish()

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Send an answer's head."""
        if self._tunnel and 200 <= status < 300:
            status = 502  # here a success would mean that the tunnel is open
        block = [(b":status", b"%d" % status), _SERVER, *((name.lower(), value) for name, value in headers)]
        if length is not None:
            block.append((b"content-length", b"%d" % length))
        self.send_head(block)

    def send_head(self, headers: HeaderList, *, end: bool = False) -> None:
        """Send an answer's head as it is; ``end``: it is all there is."""
        self._started = True
        if end:
            self._leave()
        self._flow.head(headers, end=end)

    def write(self, data: bytes) -> None:
        """Send a piece of the answer's body; respect on_writable."""
        self._flow.write(data)

    def finish(self, trailers: HeaderList = ()) -> None:
        """End a started answer."""
        self._leave()
        self._flow.end(trailers)

    def switch(self, headers: Headers) -> None:
        """Open the tunnel: what HTTP/1.1 says by 101 is a success here (RFC 8441)."""
        kept = [(name.lower(), value) for name, value in headers if name.lower() not in _SWITCHING]
        self._is_open = True
        self.send_head([(b":status", b"200"), _SERVER, *kept])
        early, self._early = self._early, b""
        if early:
            self._exchange.on_body(early)

    def abort(self, code: Codes = Codes.INTERNAL_ERROR) -> None:
        """Break the stream off: the only way to say that a started answer went wrong."""
        self._leave()
        self._flow.reset(code)

    def pause_reading(self) -> None:
        """Take no more of the request's body for now; at most a window may still come."""
        self._flow.pause()

    def resume_reading(self) -> None:
        """Take the body again."""
        self._flow.resume()

    # What the link calls.

    def on_head(self, headers: HeaderList, ended: bool) -> None:
        """Ignore: clients send requests."""

    def on_data(self, data: bytes) -> None:
        """Pass a piece of the request on; an empty one would be a body's end where bodies go in chunks."""
        if self._left is not None:
            self._left -= len(data)
        if self._tunnel and not self._is_open:
            self._early += data
            if len(self._early) > EARLY_BYTES_MAX:
                self._break_off(Codes.ENHANCE_YOUR_CALM)
        elif data:
            self._exchange.on_body(data)

    def on_trailers(self, headers: HeaderList) -> None:
        """Drop what nobody uses."""

    def on_done(self) -> None:
        """Pass the request's end on, unless it is not where the request said: a replica would take the next request for the rest."""
        if self._tunnel:
            self._exchange.on_abort()
            self.finish()
        elif self._left:
            self._break_off(Codes.PROTOCOL_ERROR)
        else:
            self._exchange.on_end()

    def on_reset(self, code: int | None, cause: str) -> None:
        """Cancel."""
        exchange = self._exchange
        self._leave()
        exchange.on_abort()

    def on_room(self, room: bool) -> None:
        """Pass the client's slowness on."""
        self._exchange.on_writable(room)

    # Inside.

    def _leave(self) -> None:
        self._over = True
        self._exchange = ANSWERED

    def _break_off(self, code: Codes) -> None:
        exchange = self._exchange
        self.abort(code)
        exchange.on_abort()

    def _refuse(self, refusal: Refusal, headers: HeaderList) -> None:
        if any(name == b"content-type" and value.startswith(b"application/grpc") for name, value in headers):
            self.send_head(grpc_answers.error_head(3, refusal.message), end=True)
        else:
            self.respond(refusal.status, answers.JSON_HEADERS, answers.error(refusal.message))


class Front:
    """One client's connection: an Exchange that lasts as long as the connection."""

    def __init__(self, connection: Connection, application: Application, grpc: Application, on_end: Callable[[Front], None]) -> None:
        self._connection = connection
        self._application = application
        self._grpc = grpc
        self._on_end = on_end
        self._draining = False
        self._link = Link(connection.write, self._on_idle, self._on_request)
        self._loop = asyncio.get_running_loop()
        self._idle_since = self._loop.time()
        self._watch = self._loop.call_later(IDLE_SECONDS_MAX, self._look)
        self._link.start()

    def drain(self) -> None:
        """Take no new requests; end with the last that runs."""
        self._draining = True
        self._link.go_away()
        self._end_if_idle()

    # What the connection calls.

    def on_body(self, data: bytes) -> None:
        """Work through what came."""
        try:
            self._link.receive(data)
        except Broken as error:
            _log.info("a client sent broken HTTP/2", extra={"fields": {"peer": self._connection.peer, "cause": str(error)}})
            self._end()
        except Exception:
            self.on_abort()  # the connection is cut without another word to us
            raise

    def on_end(self) -> None:
        """Never called: the bytes end with the connection."""

    def on_abort(self) -> None:
        """Cancel everything: the client is gone."""
        self._watch.cancel()
        self._on_end(self)
        if not self._link.gone:
            self._link.lose("the client went away")

    def on_writable(self, writable: bool) -> None:
        """Take in nothing that would have to be answered, either, while nothing can be sent."""
        self._link.on_writable(writable)
        if writable:
            self._connection.resume_reading()
        else:
            self._connection.pause_reading()

    # Inside.

    def _on_request(self, flow: Flow, headers: HeaderList, ended: bool) -> None:
        Stream(flow, self._connection.peer).begin(headers, ended, self._application, self._grpc)

    def _on_idle(self) -> None:
        self._idle_since = self._loop.time()
        if self._draining:
            self._loop.call_soon(self._end_if_idle)  # behind the last answer's bytes

    def _look(self) -> None:
        """Close what was idle for long; one timer for all requests."""
        idle = self._loop.time() - self._idle_since
        if not self._link.flows and idle >= IDLE_SECONDS_MAX:
            self.drain()
        else:
            self._watch = self._loop.call_later(max(IDLE_SECONDS_MAX - idle, 1.0), self._look)

    def _end_if_idle(self) -> None:
        if not self._link.flows:
            self._end()

    def _end(self) -> None:
        self.on_abort()
        self._connection.finish()
