"""What a proxy must take out of, and put into, the heads that pass it.

Pure. Hop-by-hop headers end here in both directions; framing is made anew on each side, so that two readers can never disagree about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flambeau.foundation import server_timing
from flambeau.foundation.http1_head import Head

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade")
)
FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_WRITTEN_HERE = frozenset(
    (b"host", b"expect", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", *HOP_BY_HOP, *FRAMING)
)
_NOT_FORWARDED_BACK = frozenset((b"server", b"date", *HOP_BY_HOP, *FRAMING))
"""The gateway's server core writes its own server and date."""

_ASKS_TIMES = server_timing.ASK.encode()

REQUEST_ID_BYTES_MAX = 128
"""A longer x-request-id is replaced."""


class RequestHead(NamedTuple):
    """A client's head on its way to replicas: all of it that is the same wherever it goes."""

    method: bytes
    host: bytes
    """The client's."""
    lines: bytes
    """From behind the Host to the request's id."""
    own_id: bytes
    """The id that the client gave its request; empty if it gave none."""
    end: bytes
    """From behind the id to the empty line."""
    upgrade: bytes | None
    """The protocol that the replica is asked for; None: HTTP/1.1 only."""
    timed: bool
    """Whether the client asks where the time goes."""

    def to(self, target: bytes, authority: str | None, request_id: bytes) -> bytes:
        """Return the bytes to send.

        Args:
            target: path and query to ask for.
            authority: the Host to send; None: the client's.
            request_id: the client's own, or a new one.
        """
        host = authority.encode() if authority else self.host
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b" % (self.method, target, host, self.lines, request_id, self.end)


class ResponseHead(NamedTuple):
    """The head of a replica's answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """What goes to the client."""
    length: int | None
    """Of the body, if it was announced."""
    until_close: bool
    """The body ends with the connection."""
    has_request_id: bool


def asked_protocol(head: Head) -> bytes | None:
    """Return what a request without a body wants to upgrade its connection to, or None; HTTP/2 is nothing replicas are asked for."""
    upgrade = head.get(b"upgrade")
    if not upgrade or upgrade.lower().startswith((b"h2", b"http")) or head.version_1_0:
        return None
    tokens = (head.get(b"connection") or b"").lower().split(b",")
    return upgrade if b"upgrade" in [token.strip() for token in tokens] else None


def request_head(head: Head, peer: str, scheme: bytes) -> RequestHead:
    """Return what of a client's head goes to a replica.

    Args:
        head: the client's.
        peer: the client's address.
        scheme: what the client speaks: http or https.
    """
    kept: list[tuple[bytes, bytes]] = []
    own: dict[bytes, bytes] = {}
    for name, value in head.headers:
        key = name.lower()
        if key in _WRITTEN_HERE:
            own[key] = own[key] + b", " + value if key in own else value
        else:
            kept.append((name, value))
    nominated = _nominated(own.get(b"connection"))
    if nominated:
        kept = [header for header in kept if header[0].lower() not in nominated]
    host = own.get(b"host", b"")
    forwarded = own.get(b"x-forwarded-for")
    request_id = own.get(b"x-request-id", b"")
    lines = [b"%b: %b\r\n" % header for header in kept]
    lines.append(
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Request-Id: "
        % (
            forwarded + b", " + peer.encode() if forwarded else peer.encode(),
            own.get(b"x-forwarded-proto", scheme),
            own.get(b"x-forwarded-host", host),
        )
    )
    upgrade = None if head.content_length or head.chunked else asked_protocol(head)
    end = b"\r\n" if upgrade is None else b"\r\nConnection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    if head.chunked:
        end += b"Transfer-Encoding: chunked\r\n"
    elif head.content_length is not None:
        end += b"Content-Length: %d\r\n" % head.content_length
    own_id = request_id if len(request_id) <= REQUEST_ID_BYTES_MAX else b""
    timed = head.get(_ASKS_TIMES) is not None
    return RequestHead(head.method.encode(), host, b"".join(lines), own_id, end + b"\r\n", upgrade, timed)


def post_head(host: str, target: str, headers: Sequence[tuple[str, str]], length: int) -> Head:
    """Return the head of a POST that the gateway sends itself.

    Args:
        host: lower case, without port.
        target: path and query.
        headers: beside Host.
        length: of the body.
    """
    head = Head()
    head.method, head.host, head.target = "POST", host, target.encode()
    head.path, _, head.query = head.target.partition(b"?")
    head.headers = [(b"Host", host.encode()), *((name.encode(), value.encode("latin-1", "replace")) for name, value in headers)]
    head.content_length, head.chunked, head.keep_alive, head.expect_continue, head.version_1_0 = length, False, True, False, False
    return head


def response_head(status: int, headers: Headers) -> ResponseHead:
    """Return what of a replica's head goes to the client, and how its body is framed.

    Args:
        status: of the answer.
        headers: as the replica sent them; their grammar is checked already.
    """
    kept: list[tuple[bytes, bytes]] = []
    length: int | None = None
    connection: bytes | None = None
    chunked = has_request_id = False
    for name, value in headers:
        key = name.lower()
        if key in _NOT_FORWARDED_BACK:
            if key == b"content-length":
                length = int(value)
            elif key == b"transfer-encoding":
                chunked = True
            elif key == b"connection":
                connection = value if connection is None else connection + b"," + value
        else:
            has_request_id = has_request_id or key == b"x-request-id"
            kept.append((name, value))
    nominated = _nominated(connection)
    if nominated:
        kept = [header for header in kept if header[0].lower() not in nominated]
    return ResponseHead(status, kept, length, length is None and not chunked, has_request_id)


def _nominated(connection: bytes | None) -> set[bytes]:
    """Return the headers that a Connection header declares hop-by-hop."""
    if connection is None:
        return set()
    return {token.strip() for token in connection.lower().split(b",")} - {b"", b"close", b"keep-alive", b"upgrade"}
