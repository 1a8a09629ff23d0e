"""The id of a request: the client's own where it is sane, else a new one in a UUID's form."""

from __future__ import annotations

import itertools
import re
import secrets

_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

_PREFIX = f"{secrets.token_hex(4)}-{secrets.token_hex(2)}-4{secrets.token_hex(2)[:3]}-a{secrets.token_hex(2)[:3]}-"
"""Random per process; a counter follows, which is ten times cheaper than a fresh UUID and as unique."""

_numbers = itertools.count(secrets.randbits(40))


def request_id(sent: bytes | None) -> str:
    """Return the id for a request.

    Args:
        sent: the client's ``x-request-id``; kept if it is up to 128 plain characters, so that it can go into headers and logs as it is.
    """
    if sent is not None and _SANE.fullmatch(sent):
        return sent.decode("ascii")
    return f"{_PREFIX}{next(_numbers) & 0xFFFFFFFFFFFF:012x}"
