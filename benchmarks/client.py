"""One kept connection, one request at a time: what wrk cannot say, as the time of a stream's first item, or sends slowly, as 10 MB.

It reads into one large buffer, so that the client's own share of a large body is one copy.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.load import Request

ANSWER_BYTES_MAX = 16 << 20
WAIT_SECONDS_MAX = 60.0
"""For the next bytes."""
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and when."""

    status: int
    body: bytes
    """With the sizes of its chunks, where it came in chunks."""
    first_ms: float
    """From the start of sending to the first bytes of the body."""
    ms: float
    """To the last."""


class Client:
    """A connection to a server on this machine; close it."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), WAIT_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(ANSWER_BYTES_MAX)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def ask(self, message: bytes) -> Answer:
        """Send a message of ``message_of``; return its answer.

        Raises:
            ConnectionError: the server closed before the answer was whole.
        """
        view, filled, start, end, first = memoryview(self._buffer), 0, 0, 0, 0.0
        began = time.perf_counter()
        self._socket.sendall(message)
        while True:
            count = self._socket.recv_into(view[filled:])
            if not count:
                raise ConnectionError(f"closed after {filled} bytes of an answer")
            filled += count
            if not start:
                start, end = body_of(self._buffer, filled)
            if start and not first and (filled > start or end == start):
                first = time.perf_counter()
            if start and (filled >= end if end else self._buffer.endswith(LAST_CHUNK, 0, filled)):
                return Answer(
                    int(self._buffer[9:12]), bytes(view[start:filled]), (first - began) * 1000, (time.perf_counter() - began) * 1000
                )


def message_of(request: Request) -> bytes:
    """Return the bytes of a request on a kept connection; one without a body is a GET."""
    url = urlsplit(request.url)
    head = [f"{'POST' if request.body else 'GET'} {url.path} HTTP/1.1", f"Host: {request.host or url.netloc}"]
    if request.body:
        head += [f"Content-Type: {request.content_type}", f"Content-Length: {len(request.body)}"]
    head += [f"{name}: {value}" for name, value in request.headers]
    return "\r\n".join([*head, "", ""]).encode() + request.body


def body_of(buffer: bytearray, filled: int) -> tuple[int, int]:
    """Return where the body starts (0: the head isn't whole yet) and ends (0: it comes in chunks)."""
    start = buffer.find(b"\r\n\r\n", 0, filled) + 4
    if start == 3:
        return 0, 0
    for line in bytes(buffer[:start]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return start, start + int(line[15:])
    return start, 0
