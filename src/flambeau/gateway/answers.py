"""What the gateway says itself: JSON that names what failed, where, why and what to do.

Pure. The proxy sends these; everything else a client reads comes from a replica.
"""

from __future__ import annotations

from typing import Any

import orjson

from flambeau.gateway.table import Miss, MissReason

JSON_HEADERS = [(b"content-type", b"application/json")]
RETRY_AFTER_SECONDS = 1
"""Told with every 503: queues drain and replicas start in about that."""

_BUSY_HEADERS = [*JSON_HEADERS, (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)]


def headers(status: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error with this status."""
    return _BUSY_HEADERS if status == 503 else JSON_HEADERS


def error(message: str, **more: Any) -> bytes:
    """Return ``{"error": message, ...}``; fields that are None or empty are left out."""
    return orjson.dumps({"error": message, **{name: value for name, value in more.items() if value}})


def miss_status(miss: Miss) -> int:
    """Return the HTTP status of a request without a route: 508 for routes in a circle, otherwise 404."""
    return 508 if miss.reason is MissReason.LOOP else 404


def miss_body(miss: Miss, gateway: str, target: bytes) -> bytes:
    """Return the body for a request without a route.

    Args:
        miss: why there is none.
        gateway: ``host:port`` of this gateway, for the example.
        target: what the client asked for.
    """
    if miss.reason is not MissReason.UNKNOWN_HOST:
        return error(miss.message, rules=list(miss.rules))
    if not miss.hosts:
        hint = "no host has a route yet: apply an InferenceService and wait until it is Ready (flambeau get isvc -A)"
        return error(miss.message, hint=hint)
    return error(miss.message, hosts=list(miss.hosts), more_hosts=miss.hosts_more, hint=_host_hint(miss, gateway, target))


def _host_hint(miss: Miss, gateway: str, target: bytes) -> str:
    plain = next((host for host in miss.hosts if "*" not in host), None)
    if plain is None:
        return "send a Host header that one of the hosts covers"
    return f"curl -H 'Host: {plain}' 'http://{gateway}{target.decode('latin-1').replace(chr(39), '%27')}'"
