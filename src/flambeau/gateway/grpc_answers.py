"""What the gateway says itself to gRPC clients, and what it reads of replicas' answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

HeaderList = Sequence[tuple[bytes, bytes]]

UNIMPLEMENTED = 12
UNAVAILABLE = 14

MESSAGE_BYTES_MAX = 2048
"""Of a grpc-message, before it is encoded: clients bound the size of all trailers."""

_CODES = {404: UNIMPLEMENTED, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: 4, 508: 13}
"""Our HTTP status -> gRPC's; 4 is DEADLINE_EXCEEDED, 13 INTERNAL."""

_HTTP_STATUSES = {
    **{0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429},
    **{9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401},
}
"""gRPC's status -> the HTTP status that it is counted as."""


def code_of(status: int) -> int:
    """Return the gRPC status of an error of the gateway's that HTTP clients get with this status; 2 is UNKNOWN."""
    return _CODES.get(status, 2)


def error_trailers(code: int, message: str) -> list[tuple[bytes, bytes]]:
    """Return the trailers of a call that ends with an error."""
    return [(b"grpc-status", b"%d" % code), (b"grpc-message", _percent_encoded(message))]


def error_head(code: int, message: str) -> list[tuple[bytes, bytes]]:
    """Return the only headers of a call that ends with an error before it begins."""
    return [(b":status", b"200"), (b"content-type", b"application/grpc"), *error_trailers(code, message)]


def counted_as(trailers: HeaderList) -> int:
    """Return the HTTP status as which a call with these trailers is counted."""
    for name, value in trailers:
        if name == b"grpc-status":
            return _HTTP_STATUSES.get(int(value), 500) if value.isdigit() else 500
    return 502


def _percent_encoded(message: str) -> bytes:
    """Return a grpc-message: everything but printable ASCII, and the percent sign, as %XX."""
    text = message.encode()[:MESSAGE_BYTES_MAX]
    return b"".join(b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text)
