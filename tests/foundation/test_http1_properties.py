"""However the bytes of requests are cut into reads, the application sees the same; whatever the bytes are, nothing escapes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.foundation.http1 import Connection, Exchange, Head, Server

STAMP = b"server: flambeau\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what was written and never blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Note:
    """Write a request down and answer it."""

    def __init__(self, head: Head, connection: Connection, seen: list[tuple[str, bytes, str, bytes]]) -> None:
        self._head = head
        self._connection = connection
        self._seen = seen
        self._body = b""

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_end(self) -> None:
        self._seen.append((self._head.method, self._head.target, self._head.host, self._body))
        self._connection.respond(200, [], self._body)

    def on_abort(self) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


def play(data: bytes, cuts: list[int]) -> tuple[list[tuple[str, bytes, str, bytes]], bytes]:
    """Feed bytes in pieces; return the requests that were seen and the bytes that were answered."""
    seen: list[tuple[str, bytes, str, bytes]] = []

    def application(head: Head, connection: Connection) -> Exchange:
        return Note(head, connection, seen)

    server = Server(application)
    server.stamp = STAMP
    connection = Connection(server)
    wire = Wire()
    connection.connection_made(wire)
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(bounds):
        if not wire.closed:
            connection.data_received(data[begin:end])
    return seen, wire.written


names = st.sampled_from([b"Accept", b"x-a", b"X-LONGER-NAME"])
values = st.binary(min_size=0, max_size=20).map(lambda value: bytes(33 + byte % 90 for byte in value))
bodies = st.binary(max_size=60)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    headers = b"".join(b"%b: %b\r\n" % header for header in draw(st.lists(st.tuples(names, values), max_size=3)))
    body = draw(bodies)
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT"]))
    framing = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b /p?q HTTP/1.1\r\nHost: H.example:1\r\n%b%b\r\n%b" % (method, headers, framing, body)


@st.composite
def chunked_requests(draw: st.DrawFn) -> bytes:
    chunks = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
    body = b"".join(b"%x;e=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nT: u\r\n\r\n"


cuts = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)


@given(st.lists(requests(), min_size=1, max_size=4), cuts)
@settings(max_examples=200)
def test_cuts_do_not_matter(pipeline: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pipeline)
    whole = play(data, [])
    assert len(whole[0]) == len(pipeline)
    assert play(data, cuts) == whole


@given(chunked_requests(), cuts)
@settings(max_examples=200)
def test_cuts_do_not_matter_to_chunks(data: bytes, cuts: list[int]) -> None:
    whole = play(data, [])
    assert len(whole[0]) == 1
    assert play(data, cuts) == whole


@given(
    st.one_of(requests(), chunked_requests()), st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=3)), min_size=1, max_size=4), cuts
)
@settings(max_examples=400)
def test_damaged_requests_are_answered_or_waited_for(data: bytes, damage: list[tuple[int, bytes]], cuts: list[int]) -> None:
    for place, what in damage:
        at = place % len(data)
        data = data[:at] + what + data[at + max(1, len(what)) :] or b"G"
    seen, written = play(data, cuts)
    answers = written.count(b"HTTP/1.1 2") + written.count(b"HTTP/1.1 4") + written.count(b"HTTP/1.1 5")
    assert answers >= len(seen)
    assert b"HTTP/1.1 500" not in written
