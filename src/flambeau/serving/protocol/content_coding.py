"""Request bodies that the client has compressed: on KServe's routes, as Triton's clients do. Pure.

TorchServe's own routes hand the bytes to the handler as they came, with their header, as they always did.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import replace

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.model import Job

BODY_BYTES_MAX = 64 << 20
"""Of a body once it is unpacked: a few kilobytes can say gigabytes."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Coding -> zlib's word for its format."""


def uncompressed(job: Job) -> Job:
    """Return a job with its body as the client meant it.

    Raises:
        InvalidInput: the coding is not known, or the body is not of it.
        TooLarge: the body is over ``BODY_BYTES_MAX`` once it is unpacked.
    """
    coding = _coding_of(job.headers)
    if coding in ("", "identity"):
        return job
    window = _WINDOWS.get(coding)
    if window is None:
        raise InvalidInput(
            f"the request's Content-Encoding {coding!r} is not understood", hint="send it as gzip or deflate, or uncompressed"
        )
    unpacker = zlib.decompressobj(window)
    try:
        body = unpacker.decompress(job.body, BODY_BYTES_MAX + 1)
    except zlib.error as error:
        raise InvalidInput(f"the request's body is not {coding}, as its Content-Encoding says: {error}") from error
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"the request's body is over {BODY_BYTES_MAX} bytes once it is unpacked")
    if not unpacker.eof:
        raise InvalidInput(f"the request's body ends before its {coding} data do")
    return replace(job, body=body, head_text=b"")


@functools.lru_cache(maxsize=512)
def _coding_of(headers: tuple[tuple[str, str], ...]) -> str:
    return next((value.strip().lower() for name, value in headers if name.lower() == "content-encoding"), "")
