"""One HTTP/1.1 exchange over a plain socket, read to the letter: reason phrase, header order apart, chunks as they were cut.

An ordinary client would hide what is compared here.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field

BYTES_MAX = 16 * 1024 * 1024
"""The longest answer read."""


@dataclass(slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    reason: str
    headers: dict[str, str]
    """Lower-case names; a repeated one is joined with ``, ``."""
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    continued: bool = False
    """A ``100 Continue`` came first."""
    cut: bool = False
    """The connection ended before the answer did."""


class NoAnswer(Exception):
    """Nothing came within the time, or the connection was closed without a word."""


def connect(address: tuple[str, int] | str, *, seconds: float, tls: bool = False) -> socket.socket:
    """Open a connection to a host and port, or to a Unix socket's path."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(seconds)
        connection.connect(address)
        return connection
    connection = socket.create_connection(address, timeout=seconds)
    if not tls:
        return connection
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def exchange(
    address: tuple[str, int] | str, request: bytes, *, seconds: float = 30, is_head: bool = False, tls: bool = False
) -> HttpAnswer:
    """Send a request's bytes on a fresh connection and return the answer.

    Raises:
        NoAnswer: there is none.
    """
    try:
        with connect(address, seconds=seconds, tls=tls) as connection:
            connection.sendall(request)
            return _Reader(connection).answer(is_head)
    except OSError as error:
        raise NoAnswer(type(error).__name__) from error


class _Reader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def answer(self, is_head: bool) -> HttpAnswer:
        answer = self._head()
        if answer.status == 100:
            answer = self._head()
            answer.continued = True
        if is_head or answer.status in (204, 304):
            return answer
        try:
            if answer.headers.get("transfer-encoding") == "chunked":
                self._chunks(answer)
            else:
                answer.body = self._exactly(int(answer.headers.get("content-length", 0)))
        except (EOFError, ConnectionError):
            answer.cut = True
        return answer

    def _head(self) -> HttpAnswer:
        try:
            head = self._until(b"\r\n\r\n").decode("latin-1")
        except EOFError as error:
            raise ConnectionError from error
        first, *lines = head.split("\r\n")
        _, status, reason = f"{first} ".split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        return HttpAnswer(int(status), reason.strip(), headers, b"")

    def _chunks(self, answer: HttpAnswer) -> None:
        while size := int(self._until(b"\r\n"), 16):
            chunk = self._exactly(size)
            answer.chunks.append(chunk)
            answer.body += chunk
            self._until(b"\r\n")
        self._until(b"\r\n")

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        part, _, self._held = self._held.partition(end)
        return part

    def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        part, self._held = self._held[:count], self._held[count:]
        return part

    def _more(self) -> None:
        data = self._connection.recv(65536)
        if not data or len(self._held) > BYTES_MAX:
            raise EOFError
        self._held += data
