"""The head of an HTTP/1.1 request: bytes to checked fields, limits before work.

Pure: ``http1`` calls it with a head that has arrived whole. The grammar is httptools' (llhttp, strict); what a server that routes by Host
must check beyond grammar (exactly one Host, one kind of framing, origin form) is checked here.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import httptools

_REQUEST_LINE_REST_BYTES = 32
"""Longest method, two spaces and the version: what a request line may have beside its target."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{0,255}?)\.?(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?@\s]+)((?:[/?].*)?)", re.DOTALL)

_READ_HERE = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of a server before any application sees it."""

    head_bytes_max: int = 65536
    """Request line and headers together."""
    header_count_max: int = 128
    """Header lines."""
    target_bytes_max: int = 8192
    """Path and query."""
    connections_max: int = 4096
    """Open connections of one server; one more is answered 503."""
    head_seconds: float = 15.0
    """From a head's first byte to its last."""
    idle_seconds: float = 75.0
    """A connection without a request."""
    body_idle_seconds: float = 60.0
    """Between two pieces of a body, in either direction, while the other side is the one to move."""
    linger_seconds: float = 2.0
    """How long a client that still sends is read from (and not listened to) so that it gets its refusal."""
    discard_bytes_max: int = 65536
    """Rest of a body that is read and dropped after an early answer, to keep the connection."""
    write_buffer_bytes: int = 262144
    """Answer bytes that wait for a slow client before ``on_writable(False)``."""


DEFAULT_LIMITS = Limits()


class Refusal(Exception):
    """Say why a request is refused before an application sees it.

    Args:
        status: the HTTP status.
        message: one sentence for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head:
    """A request's first part, checked. Never changed once it is read: a connection's next request with the same bytes gets the same one.

    ``path`` and ``query`` are as the client sent them, undecoded. ``headers`` keep the client's spelling and order.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "headers",
        "host",
        "keep_alive",
        "kept",
        "method",
        "path",
        "query",
        "target",
        "version_1_0",
    )

    method: str
    target: bytes
    """Path and query in origin form (``*`` for OPTIONS)."""
    path: bytes
    query: bytes
    """Without the question mark; empty if there is none."""
    headers: list[tuple[bytes, bytes]]
    host: str
    """Lower case, without port and without a final dot; empty where an HTTP/1.0 client sent none."""
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    version_1_0: bool
    kept: object
    """What the application made of this head and will want again; None at first."""

    def __init__(self) -> None:
        self.kept = None

    def get(self, name: bytes) -> bytes | None:
        """Return the last value of a header, or None.

        Args:
            name: in lower case.
        """
        for key, value in reversed(self.headers):
            if key.lower() == name:
                return value
        return None


class _Sink:
    """What httptools fills. A head is fed whole, so each callback gets a whole value."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.target = b""

    def on_url(self, url: bytes) -> None:
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def read_head(data: bytes, end: int, limits: Limits) -> Head:
    """Return the checked head that stands at the front of ``data``.

    Args:
        data: begins with the request line; may go on behind the head.
        end: where the head ends: just behind its empty line.
        limits: what a head may be.

    Raises:
        Refusal: the head is malformed, over a limit or asks for what HTTP/1.1 servers can't do.
    """
    line_end = data.index(b"\r\n")
    _check_size(data, line_end, end, limits)
    head = Head()
    head.version_1_0 = _check_request_line(data, line_end)
    sink = _Sink()
    parser = httptools.HttpRequestParser(sink)
    try:
        parser.feed_data(data[:end])
    except httptools.HttpParserUpgrade:
        pass  # an Upgrade may be ignored; the application sees the header and may refuse it
    except httptools.HttpParserInvalidMethodError as error:
        raise Refusal(501, "this method is not known here") from error
    except httptools.HttpParserError as error:
        raise Refusal(400, f"malformed HTTP request: {error}") from error
    head.method = parser.get_method().decode()
    head.headers = sink.headers
    _read_framing(head)
    _read_target(head, sink.target, limits)
    return head


def refuse_partial(data: bytes, limits: Limits) -> None:
    """Check what has arrived of a head that isn't whole yet.

    Raises:
        Refusal: no continuation can make it right.
    """
    if not 65 <= data[0] <= 90:
        raise Refusal(400, "malformed HTTP request: it does not begin with a method (this port speaks plain HTTP/1.1, no TLS)")
    if len(data) > min(limits.head_bytes_max, limits.target_bytes_max):
        line_end = data.find(b"\r\n")
        _check_size(data, len(data) if line_end < 0 else line_end, len(data), limits)
    if data.count(b"\n") != data.count(b"\r\n"):
        raise Refusal(400, "malformed HTTP request: a line ends without CR")


def _check_size(data: bytes, line_end: int, end: int, limits: Limits) -> None:
    if line_end > limits.target_bytes_max + _REQUEST_LINE_REST_BYTES:
        raise Refusal(414, f"the request's target is over {limits.target_bytes_max} bytes")
    if end > limits.head_bytes_max:
        raise Refusal(431, f"the request's head is over {limits.head_bytes_max} bytes")
    if data.count(b"\r\n", line_end, end) - 2 > limits.header_count_max:
        raise Refusal(431, f"the request has over {limits.header_count_max} headers")


def _check_request_line(data: bytes, line_end: int) -> bool:
    """Return whether the version is 1.0."""
    version = data[line_end - 9 : line_end]
    if data.startswith(b"CONNECT "):
        raise Refusal(405, "CONNECT is not allowed: this is no forward proxy")
    if version == b" HTTP/1.1":
        return False
    if version == b" HTTP/1.0":
        return True
    if version.startswith(b" HTTP/"):
        raise Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    raise Refusal(400, "malformed HTTP request: no HTTP version in the first line")


def _read_framing(head: Head) -> None:
    seen: dict[bytes, bytes] = {}
    for name, value in head.headers:
        key = name.lower()
        if key in _READ_HERE:
            if key in seen and key != b"connection":
                raise Refusal(400, f"the request has more than one {key.decode()} header")
            seen[key] = seen[key] + b"," + value if key in seen else value
    head.host = _read_host(seen.get(b"host"), head.version_1_0)
    length = seen.get(b"content-length")
    head.content_length = None if length is None else int(length)
    coding = seen.get(b"transfer-encoding")
    head.chunked = coding is not None
    if coding is not None:
        if length is not None:
            raise Refusal(400, "the request has both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked" or head.version_1_0:
            raise Refusal(400, "the request's Transfer-Encoding is not understood: only chunked on HTTP/1.1 is")
    connection = seen.get(b"connection")
    if connection is None:
        head.keep_alive = not head.version_1_0
    else:
        tokens = [token.strip() for token in connection.lower().split(b",")]
        head.keep_alive = b"keep-alive" in tokens if head.version_1_0 else b"close" not in tokens
    expect = seen.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise Refusal(417, "the only expectation that can be met is 100-continue")
    head.expect_continue = expect is not None and not head.version_1_0


def _read_host(value: bytes | None, version_1_0: bool) -> str:
    if value is None:
        if not version_1_0:
            raise Refusal(400, "the request has no Host header")
        return ""
    return parse_host(value)


@functools.lru_cache(maxsize=4096)
def parse_host(value: bytes) -> str:
    """Return an authority's host: lower case, without port and final dot.

    Raises:
        Refusal: it isn't a host.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        raise Refusal(400, "the request's Host is not a host name")
    return match[1].decode("ascii").lower()


def _read_target(head: Head, target: bytes, limits: Limits) -> None:
    if not target.startswith(b"/"):
        target = _origin_form(head, target)
    if len(target) > limits.target_bytes_max:
        raise Refusal(414, f"the request's target is over {limits.target_bytes_max} bytes")
    if b"#" in target:
        raise Refusal(400, "malformed HTTP request: a fragment in the target")
    head.target = target
    head.path, _, head.query = target.partition(b"?")


def _origin_form(head: Head, target: bytes) -> bytes:
    """Turn ``http://host/path`` into ``/path``; the host in it counts, whatever the Host header says (RFC 9112, 3.2.2)."""
    if target == b"*" and head.method == "OPTIONS":
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(400, "malformed HTTP request: the target is neither a path nor an http URL")
    authority, rest = match[1], match[2]
    head.host = parse_host(authority)
    head.headers = [(name, authority if name.lower() == b"host" else value) for name, value in head.headers]
    return rest if rest.startswith(b"/") else b"/" + rest
