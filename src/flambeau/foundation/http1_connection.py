"""One client's connection: the states of a request and of its answer.

``http1`` accepts connections and makes these; applications see ``Connection`` and implement ``Exchange``. Everything about framing,
keep-alive, backpressure and early answers is here; what a head may be is ``http1_head``'s.
"""

from __future__ import annotations

import asyncio
import http
import logging
import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

import orjson

from flambeau.foundation.http1_chunked import ChunkedBody
from flambeau.foundation.http1_head import Head, Limits, Refusal, read_head, refuse_partial

Headers = Sequence[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)

_REFUSED_CONNECTIONS_MAX: Final = 256
"""Connections over ``connections_max`` that still get their 503; further ones are cut."""
_WRITE_TOGETHER_BYTES_MAX: Final = 65536
"""A body up to this size is copied behind its head; a longer one is handed over as it is."""
_REMEMBERED_HEAD_BYTES_MAX: Final = 4096
"""A head up to this size is remembered: clients of a kept connection mostly send the same one again."""
_NEVER: Final = math.inf

# What a connection is doing.
_IDLE, _HEAD, _BODY, _ANSWER, _LINGER, _TUNNEL = range(6)
# How far the answer to the current request is.
_NONE, _STARTED = range(2)
# How a started answer's body is framed.
_NO_BODY, _SIZED, _CHUNKED, _UNTIL_CLOSE = range(4)

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


class Exchange(Protocol):
    """One request as the application sees it; made by the application when the head has arrived.

    After the answer is finished, or after on_abort, nothing is called any more.
    """

    def on_body(self, data: bytes) -> None:
        """Take a piece of the request's body."""

    def on_end(self) -> None:
        """Know that the request has arrived whole."""

    def on_abort(self) -> None:
        """Stop: the client went away or broke the protocol; nobody will read an answer."""

    def on_writable(self, writable: bool) -> None:
        """Pause or resume writing: the client reads slower than the application writes."""


class _Answered:
    """An exchange that wants to hear nothing."""

    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_abort(self) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


ANSWERED: Final[Exchange] = _Answered()
"""What an application returns when it has answered from the head alone."""


class Connection(asyncio.Protocol):
    """A client's connection, and the answer to the request that is being worked on.

    Exactly one of respond(), or start() write()* finish(), or abort() ends an exchange. On a connection that is gone they do nothing.
    """

    __slots__ = (
        "_advancing",
        "_answer",
        "_body_left",
        "_chunked",
        "_continue_due",
        "_deadline",
        "_exchange",
        "_framing",
        "_gone",
        "_head",
        "_head_bytes",
        "_held",
        "_keep_alive",
        "_length_left",
        "_peer",
        "_peer_address",
        "_reading_paused",
        "_server",
        "_state",
        "_transport",
        "_write_deadline",
    )

    _transport: asyncio.Transport
    _head: Head

    def __init__(self, server: Acceptor) -> None:
        self._server = server
        self._state = _IDLE
        self._answer = _NONE
        self._exchange: Exchange | None = None
        self._head_bytes = b"\0"  # of _head, where they are remembered; no request begins like this
        self._held = b""  # a head's beginning, or what came behind a request that isn't answered yet
        self._chunked: ChunkedBody | None = None
        self._body_left = 0
        self._continue_due = False
        self._framing = _NO_BODY
        self._length_left = 0
        self._keep_alive = True
        self._advancing = False
        self._reading_paused = False  # by the application
        self._gone = False
        self._peer: str | None = None
        self._peer_address: str | None = None
        self._deadline = server.soon(server.limits.idle_seconds)
        self._write_deadline = _NEVER

    # What the application calls.

    @property
    def peer(self) -> str:
        """The client's address without its port; empty on a Unix socket."""
        if self._peer is None:
            name = self._transport.get_extra_info("peername")
            self._peer = str(name[0]) if isinstance(name, tuple) else ""
        return self._peer

    @property
    def peer_address(self) -> str:
        """The client's host and port; empty where it came over a Unix socket."""
        if self._peer_address is None:
            name = self._transport.get_extra_info("peername")
            self._peer_address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""
        return self._peer_address

    def respond(self, status: int, headers: Headers, body: bytes, phrase: bytes = b"", block: bytes = b"") -> None:
        """Send a whole answer in one write.

        Args:
            status: the HTTP status.
            headers: without content-length, connection, server and date, which are added.
            body: left out where HTTP has none (HEAD, 204, 304).
            phrase: the reason phrase, if not HTTP's own.
            block: more headers as they go over the wire, each with its line's end; the caller answers for their form.

        Raises:
            RuntimeError: the request is answered already.
            ValueError: a header or the phrase holds a line break.
        """
        if self._gone:
            return
        self._expect_answer(_NONE)
        if status == 200 and not phrase and self._sends_plainly(body):
            # Nearly every answer of a busy server: the same bytes as below, without a call for each part of them.
            if headers:
                block = _lines(headers) + block
            self._exchange = None
            stamp = self._server.stamp
            self._transport.write(b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b" % (stamp, block, len(body), body))
            self._end_exchange(True)
            return
        keep = self._keep_alive and self._may_keep_alive()
        framing = block if status == 204 else b"%bcontent-length: %d\r\n" % (block, len(body))
        head = self._answer_head(status, headers, keep, framing, phrase)
        self._exchange = None
        if not body or status in (204, 304) or self._head.method == "HEAD":
            self._transport.write(head)
        elif len(body) <= _WRITE_TOGETHER_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        self._end_exchange(keep)

    def start(self, status: int, headers: Headers, length: int | None, phrase: bytes = b"") -> None:
        """Send an answer's head.

        Args:
            status: the HTTP status.
            headers: as for respond().
            length: of the body in bytes; None if unknown (chunked, or until the connection's end for HTTP/1.0).
            phrase: as for respond().

        Raises:
            RuntimeError: the request is answered already.
            ValueError: a header or the phrase holds a line break.
        """
        if self._gone:
            return
        self._expect_answer(_NONE)
        sized = b"" if length is None or status == 204 else b"content-length: %d\r\n" % length
        if self._head.method == "HEAD" or status in (204, 304):
            self._framing = _NO_BODY
        elif length is not None:
            self._framing, self._length_left = _SIZED, length
        elif self._head.version_1_0:
            self._framing, self._keep_alive = _UNTIL_CLOSE, False
        else:
            self._framing, sized = _CHUNKED, b"transfer-encoding: chunked\r\n"
        self._keep_alive = self._keep_alive and not self._server.draining
        block = self._answer_head(status, headers, self._keep_alive, sized, phrase)
        self._answer = _STARTED
        self._transport.write(block)

    def write(self, *pieces: bytes) -> None:
        """Send a piece of the answer's body, or several in one write; respect on_writable. A chunked body has a chunk for each.

        Raises:
            RuntimeError: no answer is started, or it gets longer than announced.
        """
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._gone or not data:
            return
        self._expect_answer(_STARTED)
        if self._framing == _CHUNKED:
            if len(data) <= _WRITE_TOGETHER_BYTES_MAX:
                self._transport.write(b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]))
            else:
                self._transport.writelines([line for piece in pieces if piece for line in (b"%x\r\n" % len(piece), piece, b"\r\n")])
        elif self._framing == _SIZED:
            self._length_left -= len(data)
            if self._length_left < 0:
                raise RuntimeError(f"the answer is {-self._length_left} bytes longer than announced")
            self._transport.write(data)
        elif self._framing == _UNTIL_CLOSE:
            self._transport.write(data)

    def finish(self) -> None:
        """End a started answer. One that is shorter than announced is cut, so that the client can tell.

        Raises:
            RuntimeError: no answer is started.
        """
        if self._gone:
            return
        self._expect_answer(_STARTED)
        if self._framing == _SIZED and self._length_left:
            self.abort()
            return
        self._exchange = None
        if self._framing == _CHUNKED:
            self._transport.write(b"0\r\n\r\n")
        self._end_exchange(self._keep_alive and self._may_keep_alive())

    def switch(self, headers: Headers) -> None:
        """Answer 101 to a request that has arrived whole: from now on the bytes of both directions are the application's own.

        They come by on_body() and go by write(), as they are; finish() ends the connection.

        Args:
            headers: Upgrade and Connection among them.

        Raises:
            RuntimeError: the request is answered already, or its body is still on its way.
            ValueError: a header holds a line break.
        """
        if self._gone:
            return
        self._expect_answer(_NONE)
        if self._state != _ANSWER:
            raise RuntimeError("the request's body is still on its way")
        self._transport.write(self._answer_head(101, headers, True, b"", b""))
        early, self._held = self._held, b""
        self._become_tunnel()
        if early:
            self._transport.resume_reading()
            self._advance(early)

    def abort(self) -> None:
        """Cut the connection: the only way to say that a started answer went wrong."""
        self._exchange = None
        self._gone = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Take no more of the request's body for now; at most one read's worth may still come."""
        if self._state in (_BODY, _TUNNEL) and not self._reading_paused and not self._gone:
            self._reading_paused = True
            self._deadline = _NEVER
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the body again."""
        if self._reading_paused and not self._gone:
            self._reading_paused = False
            if self._state == _BODY:
                self._deadline = self._server.soon(self._server.limits.body_idle_seconds)
                self._ask_for_body()
            self._transport.resume_reading()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse a connection over the limit."""
        self._transport = cast(asyncio.Transport, transport)
        limits = self._server.limits
        self._transport.set_write_buffer_limits(high=limits.write_buffer_bytes)
        over = self._server.admit(self) - limits.connections_max
        if over > _REFUSED_CONNECTIONS_MAX:
            self.abort()
        elif over > 0:
            self._refuse(Refusal(503, f"the server has {limits.connections_max} open connections, its most; try again"))

    def data_received(self, data: bytes) -> None:
        """Work through what came."""
        if self._state == _ANSWER:
            self._hold(data)
        elif self._state != _LINGER:
            self._advance(self._held + data if self._held else data)

    def eof_received(self) -> bool:
        """Close: a client that stops sending is gone, as for Go's and most servers."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the application, once."""
        self._gone = True
        self._server.forget(self)
        self._abandon()

    def pause_writing(self) -> None:
        """Pass the client's slowness on."""
        self._write_deadline = self._server.soon(self._server.limits.body_idle_seconds)
        if self._exchange is not None:
            self._exchange.on_writable(False)

    def resume_writing(self) -> None:
        """Go on with the answer, or with the requests behind it."""
        self._write_deadline = _NEVER
        if self._exchange is not None:
            self._exchange.on_writable(True)
        elif self._state == _IDLE:
            self._resume_held()

    # What the server calls.

    def check_deadline(self, now: float) -> None:
        """End what took too long."""
        if now >= self._write_deadline:
            self._transport.abort()
        if now < self._deadline:
            return
        self._deadline = _NEVER
        if self._state == _LINGER:
            self._transport.abort()
        elif self._state == _IDLE:
            self._transport.close()
        else:
            what = "head" if self._state == _HEAD else "body"
            self._refuse(Refusal(408, f"the request's {what} did not arrive in time"))

    def drain(self) -> None:
        """Close now if no request is on its way; otherwise after its answer."""
        if self._state == _IDLE and not self._held:
            self._transport.close()

    def cut(self) -> None:
        """End the connection now; the application is told."""
        self._transport.abort()

    # The way of a request.

    def _advance(self, data: bytes) -> None:
        """Work through bytes until they are used up or an answer is awaited."""
        self._advancing = True
        self._held = b""
        try:
            while data and not self._gone:
                if self._state == _BODY:
                    data = self._take_body(data)
                elif self._state in (_IDLE, _HEAD) and self._write_deadline == _NEVER:
                    data = self._take_head(data)
                elif self._state == _TUNNEL and self._exchange is not None:
                    self._exchange.on_body(data)
                    break
                else:
                    if self._state != _LINGER:
                        self._hold(data)
                    break
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception:
            _log.exception("the application failed on %s", self._server.name)
            self._fail()
        finally:
            self._advancing = False

    def _hold(self, data: bytes) -> None:
        """Keep bytes of later requests, at most one read's worth, and leave the rest to the kernel."""
        self._held += data
        self._transport.pause_reading()

    def _take_head(self, data: bytes) -> bytes:
        """Begin an exchange if the head is whole; return what stands behind the head."""
        server = self._server
        if data.startswith(self._head_bytes):
            head, end = self._head, len(self._head_bytes)  # a head is a function of its bytes, and these end with its empty line
        else:
            while data.startswith(b"\r\n"):
                data = data[2:]  # RFC 9112, 2.2: an empty line before a request is ignored
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._wait_for_head(data)
                return b""
            if data.startswith(b"PRI * HTTP/2.0"):
                if server.http2 is None:
                    raise Refusal(505, "HTTP/2 is not spoken here; use HTTP/1.1")
                self._become_tunnel()
                self._exchange = ANSWERED  # stands until the other protocol has said its first words
                self._exchange = server.http2(self)
                return data
            head = read_head(data, end, server.limits)
            self._head = head
            self._head_bytes = data[:end] if end <= _REMEMBERED_HEAD_BYTES_MAX else b"\0"
        self._answer = _NONE
        self._keep_alive = head.keep_alive and not server.draining
        if head.chunked or head.content_length:
            self._state = _BODY
            self._body_left = head.content_length or 0
            self._chunked = ChunkedBody() if head.chunked else None
            self._continue_due = head.expect_continue
            self._deadline = server.soon(server.limits.body_idle_seconds)
        else:
            self._state = _ANSWER
            self._deadline = _NEVER
        rest = data[end:]
        self._open_exchange(head, bool(rest))
        return rest

    def _wait_for_head(self, data: bytes) -> None:
        if not data:
            return
        limits = self._server.limits
        refuse_partial(data, limits)
        if self._state == _IDLE:
            self._state = _HEAD
            self._deadline = self._server.soon(limits.head_seconds)
        self._held = data

    def _open_exchange(self, head: Head, body_is_coming: bool) -> None:
        self._exchange = ANSWERED  # stands until the application has returned: it may answer at once
        exchange = self._server.application(head, self)
        if self._exchange is None or self._gone:
            return
        self._exchange = exchange
        if self._state == _ANSWER:
            exchange.on_end()
        elif body_is_coming:
            self._continue_due = False
        elif not self._reading_paused:
            self._ask_for_body()

    def _ask_for_body(self) -> None:
        if self._continue_due and self._answer == _NONE:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._continue_due = False

    def _take_body(self, data: bytes) -> bytes:
        """Pass body bytes on; return what stands behind the body."""
        rest = b""
        chunked = self._chunked
        if chunked is not None:
            piece = chunked.feed(data, self._server.limits)
            complete = chunked.complete
            if chunked.surplus:
                self._keep_alive = False  # where the next request begins is not known: the connection ends with this answer
        else:
            piece = data
            if len(data) > self._body_left:
                piece, rest = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(piece)
            complete = self._body_left == 0
        if complete:
            self._end_body()
        elif not self._reading_paused:
            self._deadline = self._server.soon(self._server.limits.body_idle_seconds)
        if piece and self._exchange is not None:
            self._exchange.on_body(piece)
        if complete and self._exchange is not None:
            self._exchange.on_end()
        return rest

    def _end_body(self) -> None:
        self._chunked = None
        self._continue_due = False
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()  # to notice a client that goes away
        if self._exchange is None:  # answered already; this was the rest
            self._await_next()
        else:
            self._state = _ANSWER
            self._deadline = _NEVER

    def _become_tunnel(self) -> None:
        self._state = _TUNNEL
        self._deadline = _NEVER
        self._answer, self._framing, self._keep_alive = _STARTED, _UNTIL_CLOSE, False

    # The way of an answer.

    def _expect_answer(self, stage: int) -> None:
        if self._exchange is None or self._answer != stage:
            raise RuntimeError("the request is answered already" if stage == _NONE else "no answer is started")

    def _sends_plainly(self, body: bytes) -> bool:
        """Tell whether an answer goes out in one write, with its body, on a connection that is kept."""
        head = self._head
        return (
            self._state == _ANSWER
            and self._keep_alive
            and not self._server.draining
            and not head.version_1_0
            and head.method != "HEAD"
            and 0 < len(body) <= _WRITE_TOGETHER_BYTES_MAX
        )

    def _may_keep_alive(self) -> bool:
        """Tell whether what is left of the request is so little that the connection is worth keeping."""
        if self._server.draining:
            return False
        if self._state == _ANSWER:
            return True
        return self._chunked is None and not self._continue_due and self._body_left <= self._server.limits.discard_bytes_max

    def _answer_head(self, status: int, headers: Headers, keep: bool, framing: bytes, phrase: bytes) -> bytes:
        block = _lines(headers) if headers else b""
        if not keep:
            closing = b"connection: close\r\n\r\n"
        elif self._head.version_1_0:
            closing = b"connection: keep-alive\r\n\r\n"
        else:
            closing = b"\r\n"
        line = _STATUS_LINES.get(status)
        if phrase or line is None:
            if b"\r" in phrase or b"\n" in phrase:
                raise ValueError("the answer's reason phrase holds a line break")
            line = b"HTTP/1.1 %d %b\r\n" % (status, phrase)
        return b"".join((line, self._server.stamp, block, framing, closing))

    def _end_exchange(self, keep: bool) -> None:
        """Go on to the next request, or end the connection without cutting the answer off."""
        self._answer = _NONE
        if not keep:
            self._linger()
        elif self._state == _BODY:
            self.resume_reading()  # the little that is left is dropped
        else:
            self._await_next()
            if self._held and not self._advancing:
                self._resume_held()

    def _await_next(self) -> None:
        self._state = _IDLE
        self._deadline = self._server.soon(self._server.limits.idle_seconds)

    def _resume_held(self) -> None:
        held = self._held
        self._transport.resume_reading()
        if held:
            self._advance(held)

    def _linger(self) -> None:
        """Close so that the answer arrives: a close with unread bytes would reset the connection and destroy it."""
        unread = self._state != _ANSWER or bool(self._held)
        self._state = _LINGER
        self._held = b""
        if not unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._deadline = self._server.soon(self._server.limits.linger_seconds)
        self._reading_paused = False
        self._transport.write_eof()
        self._transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that can't be worked on, and end the connection."""
        answerable = self._answer == _NONE and (self._state <= _HEAD or self._exchange is not None)
        self._abandon()
        if not answerable:
            self.abort()
            return
        body = orjson.dumps({"error": refusal.message})
        line = _STATUS_LINES[refusal.status]
        fixed = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self._transport.write(b"".join((line, self._server.stamp, fixed, body)))
        self._linger()

    def _abandon(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_abort()

    def _fail(self) -> None:
        """End an exchange whose application raised."""
        if self._exchange is None:
            self._linger()  # it had answered before it raised
        elif self._answer == _NONE:
            self._keep_alive = False
            self.respond(500, [(b"content-type", b"application/json")], b'{"error":"internal error; the server\'s log has the cause"}')
        else:
            self.abort()


def _lines(headers: Headers) -> bytes:
    block = b"".join([b"%b: %b\r\n" % header for header in headers])
    if block.count(b"\n") != len(headers) or block.count(b"\r") != len(headers):
        raise ValueError("a header of the answer holds a line break")
    return block


Application = Callable[[Head, Connection], Exchange]
Http2 = Callable[[Connection], Exchange]
"""What takes a connection over that begins with HTTP/2's preface: every byte of it, the preface first, comes by on_body()."""


class Acceptor(Protocol):
    """What a connection needs of the server that accepted it."""

    application: Application
    http2: Http2 | None
    limits: Limits
    name: str
    draining: bool
    stamp: bytes

    def soon(self, seconds: float) -> float:
        """Return a deadline."""
        ...

    def admit(self, connection: Connection) -> int:
        """Count a connection; return how many there are."""
        ...

    def forget(self, connection: Connection) -> None:
        """Count a connection no more."""
        ...
