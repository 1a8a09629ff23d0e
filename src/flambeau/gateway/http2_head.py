"""Requests of HTTP/2 as the gateway reads them, and heads that it passes on in HTTP/2. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flambeau.foundation.http1_head import DEFAULT_LIMITS, Head, Limits, Refusal, parse_host
from flambeau.gateway.headers import REQUEST_ID_BYTES_MAX

HeaderList = Sequence[tuple[bytes, bytes]]

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
"""What can stand before a colon in HTTP/1.1."""
_TARGET = re.compile(rb"/[!\"$-~\x80-\xff]*|\*")
"""What can stand in a request line of HTTP/1.1, without a fragment: a space would end it."""

_WEBSOCKET = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"sec-websocket-key", b"ZmxhbWJlYXUtZ2F0ZXdheQ=="))
"""How HTTP/1.1 asks for what HTTP/2 asks by ``:protocol`` (RFC 8441); the key guards old caches, of which there are none behind us."""
_WRITTEN_HERE = frozenset((b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"))


def head_of(headers: HeaderList, ended: bool, limits: Limits = DEFAULT_LIMITS) -> Head:
    """Return a request's head in the form that HTTP/1.1's has, ``:authority`` as its Host.

    Args:
        headers: of a request; ``h2`` has checked their grammar.
        ended: there is no body.
        limits: what a head may be.

    Raises:
        Refusal: the head is over a limit or asks for what is not served.
    """
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    fields = [(name, value) for name, value in headers if not name.startswith(b":") and name not in (b"host", b"cookie")]
    cookies = [value for name, value in headers if name == b"cookie"]
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))  # RFC 9113, 8.2.3: one line outside HTTP/2
    head = Head()
    head.method = pseudo.get(b":method", b"").decode("latin-1")
    head.target = pseudo.get(b":path", b"")
    authority = pseudo.get(b":authority") or next((value for name, value in headers if name == b"host"), b"")
    is_tunnel = head.method == "CONNECT" and pseudo.get(b":protocol") == b"websocket" and not ended
    if is_tunnel:
        head.method = "GET"
        own = (b"connection", b"upgrade", b"sec-websocket-key")
        fields = [*(field for field in fields if field[0] not in own), *_WEBSOCKET]
    elif head.method == "CONNECT":
        raise Refusal(501 if b":protocol" in pseudo else 405, "CONNECT is allowed for WebSocket only: this is no forward proxy")
    if _METHOD.fullmatch(head.method) is None or _TARGET.fullmatch(head.target) is None:
        raise Refusal(400, "malformed HTTP request: the method is no word, or the target no path")
    if len(head.target) > limits.target_bytes_max:
        raise Refusal(414, f"the request's target is over {limits.target_bytes_max} bytes")
    if len(fields) > limits.header_count_max:
        raise Refusal(431, f"the request has over {limits.header_count_max} headers")
    if any(_NAME.fullmatch(name) is None for name, _ in fields):
        raise Refusal(400, "malformed HTTP request: a header's name is no word")
    if not authority:
        raise Refusal(400, "malformed HTTP request: no :authority")
    head.headers = [(b"host", authority), *fields]
    head.host = parse_host(authority)
    head.path, _, head.query = head.target.partition(b"?")
    length = head.get(b"content-length")
    head.content_length = int(length) if length is not None and length.isdigit() else None
    if head.content_length and (ended or is_tunnel or head.method == "HEAD"):
        raise Refusal(400, "malformed HTTP request: a Content-Length without a body")
    head.chunked = not ended and head.content_length is None and not is_tunnel
    head.keep_alive, head.expect_continue, head.version_1_0 = True, False, False
    return head


def call_headers(head: Head, target: bytes, authority: str | None, peer: str, fresh_id: bytes, scheme: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers with which a gRPC call goes to a replica.

    Args:
        head: the client's.
        target: the path to call.
        authority: what to call it by; None: as the client does.
        peer: the client's address.
        fresh_id: used if the client sent no x-request-id.
        scheme: what the client speaks: http or https.
    """
    own = {name: value for name, value in head.headers if name in _WRITTEN_HERE}
    host = own[b"host"]
    forwarded = own.get(b"x-forwarded-for")
    request_id = own.get(b"x-request-id", b"")
    return [
        (b":method", head.method.encode()),
        (b":scheme", b"http"),
        (b":path", target),
        (b":authority", authority.encode() if authority else host),
        *(header for header in head.headers if header[0] not in _WRITTEN_HERE),
        (b"x-forwarded-for", forwarded + b", " + peer.encode() if forwarded else peer.encode()),
        (b"x-forwarded-proto", own.get(b"x-forwarded-proto", scheme)),
        (b"x-forwarded-host", own.get(b"x-forwarded-host", host)),
        (b"x-request-id", request_id if 0 < len(request_id) <= REQUEST_ID_BYTES_MAX else fresh_id),
    ]
