"""The body of a request in chunked coding: bytes to body bytes, within the head's limits. Pure; ``http1_connection`` feeds it."""

from __future__ import annotations

import httptools

from flambeau.foundation.http1_head import Limits, Refusal

_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


class ChunkedBody:
    """Take a chunked body apart."""

    __slots__ = ("_overhead", "_parser", "_pieces", "complete", "surplus")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._overhead = 0
        self.complete = False
        self.surplus = False
        """Bytes came behind the body's end in the same read."""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_CHUNKED_HEAD)

    def on_body(self, data: bytes) -> None:
        """Collect a piece; the parser calls it."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Note the end; the parser calls it."""
        self.complete = True

    def feed(self, data: bytes, limits: Limits) -> bytes:
        """Return the body bytes in ``data``.

        Raises:
            Refusal: it isn't chunked coding, or its trailers are over the head's limit.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.complete:
                raise Refusal(400, f"malformed chunked body: {error}") from error
            self.surplus = True
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._overhead = 0 if body else self._overhead + len(data)
        if self._overhead > limits.head_bytes_max:
            raise Refusal(431, f"the body's trailers are over {limits.head_bytes_max} bytes")
        return body
