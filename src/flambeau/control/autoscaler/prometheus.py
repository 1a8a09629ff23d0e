"""What a query of Prometheus says: the number that a keda trigger scales by."""

from __future__ import annotations

import base64
import binascii
import math
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from flambeau.control.resources.kind import Object
from flambeau.foundation.ask import ask
from flambeau.foundation.errors import InvalidInput, Unavailable

ANSWER_SECONDS_MAX = 3.0
"""How long a server may take to answer a query: the tick waits for it."""
_PATH = "/api/v1/query"
_TEXT_LENGTH_MAX = 200
"""Characters of a server's own words that are repeated."""


async def measure(address: str, query: str, namespace: str | None, headers: tuple[tuple[str, str], ...] = ()) -> float:
    """Return the value of a query now; 0 where it finds nothing, as keda has it.

    Args:
        address: of the server, ``http://prometheus.monitoring:9090``; a path of it comes before the API's.
        query: in PromQL; it must come to one number.
        namespace: told to servers that keep several tenants apart; None: not told.
        headers: that say who asks.

    Raises:
        InvalidInput: no such address, or the query is wrong or comes to several numbers.
        Unavailable: the server does not answer, or not in its API.

    Cancel: the question is dropped.
    """
    host, port, path, tls = _place(address)
    asked = urlencode({"query": query} | ({"namespace": namespace} if namespace else {}))
    answer = await ask((host, port), f"{path}{_PATH}?{asked}", headers=headers, tls=tls, timeout_seconds=ANSWER_SECONDS_MAX)
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise Unavailable(f"{address} answers {answer.status} and no JSON", hint="is it the address of a Prometheus?") from None
    if answer.status != 200 or told.get("status") != "success":
        said = str(told.get("error") or answer.status)[:_TEXT_LENGTH_MAX]
        raise InvalidInput(f"{address} refuses the query: {said}", hint="try the query in Prometheus' own page")
    return _number(told["data"], address)


def _place(address: str) -> tuple[str, int, str, ssl.SSLContext | None]:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"serverAddress {address!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"serverAddress {address!r} is no address", hint="write it as http://<host>:9090")
    secure = parts.scheme == "https"
    return parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"), ssl.create_default_context() if secure else None


def _number(data: Mapping[str, Any], address: str) -> float:
    """Return the one number of a result: a scalar, or a vector with one entry."""
    result = data.get("result") or []
    if data.get("resultType") == "vector":
        if not result:
            return 0.0
        if len(result) > 1:
            raise InvalidInput(f"the query comes to {len(result)} numbers at {address}", hint="sum() makes one of them")
        result = result[0]["value"]
    elif data.get("resultType") != "scalar":
        raise InvalidInput(f"the query comes to a {data.get('resultType')} at {address}", hint="it must come to one number")
    value = float(result[1])
    if not math.isfinite(value):
        raise InvalidInput(f"the query comes to {result[1]} at {address}", hint="it must come to a number: look for a division by 0")
    return value


def authorization(secret: Object) -> tuple[tuple[str, str], ...]:
    """Return the headers by which a Secret's owner asks: its ``bearerToken``, or its ``username`` and ``password``.

    Raises:
        InvalidInput: it has neither.
    """
    texts = {name: _text(value) for name, value in (secret.get("data") or {}).items() if name in ("bearerToken", "username", "password")}
    if texts.get("bearerToken"):
        return (("Authorization", f"Bearer {texts['bearerToken']}"),)
    if texts.get("username"):
        pair = f"{texts['username']}:{texts.get('password', '')}".encode()
        return (("Authorization", f"Basic {base64.b64encode(pair).decode()}"),)
    name = secret["metadata"]["name"]
    raise InvalidInput(f"Secret {name} does not say as whom to ask Prometheus", hint="it needs bearerToken, or username and password")


def _text(value: str) -> str:
    try:
        text = base64.b64decode(value, validate=True).decode("latin-1").strip()
    except (binascii.Error, ValueError):
        return ""
    return "" if any(ord(sign) < 0x20 for sign in text) else text  # a line break would begin another header
