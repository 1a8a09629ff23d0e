"""Request bodies, read whole: their size is checked before and while they come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from flambeau.control.apiserver import codecs
from flambeau.control.apiserver.codecs import Decoded
from flambeau.control.apiserver.status import UnsupportedMediaType
from flambeau.foundation.errors import InvalidInput, TimedOut, TooLarge

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Bytes of any request's body, as in Kubernetes."""

BODY_SECONDS = 60.0
"""Seconds that any request's body may take."""


@dataclass(frozen=True, slots=True)
class Body:
    """What came, and as what."""

    media_type: str
    value: Decoded


async def read_body(request: Request, media_types: tuple[str, ...], *, may_be_empty: bool = False) -> Body:
    """Read and decode a request's body.

    Args:
        request: not read yet.
        media_types: what is taken here.
        may_be_empty: an empty body is the value None.

    Raises:
        UnsupportedMediaType: it is of another type, or compressed.
        TooLarge: it is over BODY_BYTES_MAX.
        TimedOut: it took longer than BODY_SECONDS.
        InvalidInput: it can't be decoded, or it is empty.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMediaType(f"bodies with content-encoding {encoding!r} are not read", hint="send it uncompressed")
    _check_size(int(request.headers.get("content-length") or 0))  # the HTTP parser has seen that it is a number
    received = await _receive(request)
    if not received and may_be_empty:
        return Body(codecs.JSON, Decoded(None))
    media_type = codecs.media_type(request.headers.get("content-type", ""), media_types)
    if not received:
        raise InvalidInput("the request has no body")
    return Body(media_type, codecs.decode(received, media_type))


async def _receive(request: Request) -> bytes:
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                received += piece
                _check_size(len(received))
    except TimeoutError as error:
        raise TimedOut(f"the request's body took longer than {BODY_SECONDS:.0f} s") from error
    return bytes(received)


def _check_size(size: int) -> None:
    if size > BODY_BYTES_MAX:
        raise TooLarge(f"the request's body is over the limit of {BODY_BYTES_MAX} bytes")
