"""One HTTP/1.1 question on a connection of its own: a probe of a pod, a ring at the gateway's door, a copy for a logger.

For questions that nobody waits for in a hurry; the gateway's and the doors' own HTTP is ``http1``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from flambeau.foundation.errors import Unavailable

ANSWER_BYTES_MAX = 256 * 1024
"""What is read of an answer at most, head and body, unless more is wanted; the rest is not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    head: bytes = field(default=b"", compare=False, repr=False)
    is_whole: bool = field(default=True, compare=False)
    """It did not break off, and was not cut at the most that is read."""

    def header(self, name: bytes) -> bytes:
        """Return a header's value, empty where it is missing; ``name`` in lower case."""
        return _header(self.head, name)


async def ask(
    place: tuple[str, int] | Path,
    path: str,
    *,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    timeout_seconds: float,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
) -> Answer:
    """Send one request on a connection of its own and read the answer to its end.

    Args:
        place: host and port, or the path of a Unix socket.
        path: of the request, with its query.
        method: GET or POST.
        headers: beside Host, Connection and User-Agent; a ``Host`` or ``User-Agent`` here replaces ours.
        body: of a POST.
        tls: speak TLS by these rules; None: in plain text.
        timeout_seconds: for connecting, asking and reading together.
        answer_bytes_max: what is read at most.

    Raises:
        Unavailable: nobody answers, not in time, or not in HTTP; the text says which.

    Cancel: the connection is cut.
    """
    where = str(place) if isinstance(place, Path) else f"{place[0]}:{place[1]}"
    try:
        async with asyncio.timeout(timeout_seconds):
            return _parse(await _exchange(place, path, method, headers, body, tls, answer_bytes_max), where, answer_bytes_max)
    except TimeoutError:
        raise Unavailable(f"no answer from {where} within {timeout_seconds:g} s", reason="Timeout") from None
    except OSError as error:
        raise Unavailable(f"{where}: {_cause(error)}", reason="ConnectionFailed") from error


def _cause(error: OSError) -> str:
    """Return why there is no connection: numbers of TLS and of name servers are not the system's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if error.errno else str(error)


async def _exchange(
    place: tuple[str, int] | Path,
    path: str,
    method: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    tls: ssl.SSLContext | None,
    bytes_max: int,
) -> bytes:
    if isinstance(place, Path):
        reader, writer = await asyncio.open_unix_connection(str(place))
    else:
        reader, writer = await asyncio.open_connection(*place, ssl=tls)
    try:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        named = {name.lower() for name, _ in headers}
        if "host" not in named:
            lines.append(f"Host: {'localhost' if isinstance(place, Path) else f'{place[0]}:{place[1]}'}")
        if "user-agent" not in named:
            lines.append("User-Agent: kube-probe/flambeau")
        lines += ["Accept: */*", "Connection: close"]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        await writer.drain()
        return await _read(reader, bytes_max)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Read until the answer is whole by its Content-Length, or the peer closes."""
    received, wanted = bytearray(), bytes_max
    is_head_whole = False
    while len(received) < wanted:
        block = await reader.read(wanted - len(received))
        if not block:
            break
        received += block
        end = -1 if is_head_whole else received.find(b"\r\n\r\n")
        if end >= 0:
            is_head_whole = True
            length = _header(bytes(received[:end]), b"content-length")
            wanted = min(bytes_max, end + 4 + int(length)) if length.isdigit() else bytes_max
    return bytes(received)


def _parse(received: bytes, where: str, bytes_max: int) -> Answer:
    head, end, body = received.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not end or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise Unavailable(f"{where} does not answer in HTTP/1.1", reason="NotHttp")
    length = _header(head, b"content-length")
    is_whole = len(body) >= int(length) if length.isdigit() else len(received) < bytes_max
    if _header(head, b"transfer-encoding").lower() == b"chunked":
        body, is_whole = _without_chunks(body)
    return Answer(int(words[1]), body, head, is_whole)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _without_chunks(body: bytes) -> tuple[bytes, bool]:
    """Return what the chunks hold, and whether the last one is there."""
    pieces: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        try:
            length = int(body[at:end].split(b";", 1)[0], 16)
        except ValueError:
            break
        if length <= 0:
            return b"".join(pieces), length == 0
        pieces.append(body[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return b"".join(pieces), False
