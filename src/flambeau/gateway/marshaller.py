"""Ask somebody else to make a file of a logger's copies: a form that is none of ours, parquet for one.

He gets a list of records by POST and answers with the file; the header ``X-Log-Marshal-Extension`` names its form, json if it is missing.
"""

from __future__ import annotations

import functools
import re
import ssl
from urllib.parse import urlsplit

from flambeau.foundation.ask import ask
from flambeau.foundation.errors import Unavailable

FILE_BYTES_MAX = 8 * 1024 * 1024
"""Longest answer."""
MARSHAL_SECONDS_MAX = 10.0
"""From connecting to the answer's end."""

_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}(\.[A-Za-z0-9]{1,16})?")


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return how marshallers are spoken to; to read all that this machine trusts takes some ms, in which no request passes."""
    return ssl.create_default_context()


async def marshalled(url: str, records: bytes) -> tuple[bytes, str]:
    """Return (file, extension) that a marshaller makes.

    Args:
        url: http or https, checked.
        records: a list, as JSON.

    Raises:
        Unavailable: he does not answer, refuses, or what he says is cut or too long.
    """
    parts = urlsplit(url)
    tls = _tls() if parts.scheme == "https" else None
    place = parts.hostname or "", parts.port or (80 if tls is None else 443)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    answer = await ask(
        place,
        target,
        method="POST",
        headers=(("Host", parts.netloc), ("User-Agent", "flambeau"), ("Content-Type", "application/json")),
        body=records,
        tls=tls,
        timeout_seconds=MARSHAL_SECONDS_MAX,
        answer_bytes_max=FILE_BYTES_MAX,
    )
    if not 200 <= answer.status < 300:
        raise Unavailable(f"the marshaller {url} answered {answer.status}", reason="MarshallerRefused")
    if not answer.is_whole:
        raise Unavailable(f"the marshaller {url}'s file broke off, or is over {FILE_BYTES_MAX} bytes", reason="MarshallerRefused")
    extension = answer.header(b"x-log-marshal-extension").decode("latin-1")
    return answer.body, extension if _EXTENSION.fullmatch(extension) else "json"
