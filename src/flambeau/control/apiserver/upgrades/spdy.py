"""SPDY/3.1, the server's side of what kubectl uses: streams with headers, data both ways, pings. Pure: bytes in, events out.

Windows are not kept: Kubernetes' own client neither sends nor expects updates.
Source: the SPDY 3 draft; kserve-spec 9.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from flambeau.control.apiserver.upgrades.takeover import broken

FRAME_BYTES_MAX = 1024 * 1024
"""Bytes of one frame that is received."""
HEADER_BYTES_MAX = 64 * 1024
"""Bytes of one stream's headers, unpacked."""
_DATA_BYTES_MAX = 32 * 1024
"""Bytes of one frame that is sent."""
_FIN = 1
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING = 1, 2, 3, 6
_HEAD = struct.Struct(">HHI")
_WORDS = (
    *("options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language"),
    *("accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding"),
    *("content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag"),
    *("expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    *("last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer"),
    *("retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning"),
    *("www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie"),
    *("keep-alive", "origin"),
)
_PHRASES = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information"
    "204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error"
    "501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00"
    " Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,"
    "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS) + _PHRASES.encode()
"""What both sides have packed before the first header."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream."""

    stream: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """The client said something on a stream."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The client says no more on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client asks whether we are there."""

    answer: bytes


Event = Opened | Data | Ended | Pinged


class Spdy:
    """Read and write frames of one connection."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._unpack = zlib.decompressobj(zdict=_DICTIONARY)
        self._pack = zlib.compressobj(zdict=_DICTIONARY)

    def receive(self, piece: bytes) -> Iterator[Event]:
        """Yield what the bytes so far say.

        Raises:
            ConnectionError: it is no SPDY/3.
        """
        self._received += piece
        while len(self._received) >= _HEAD.size:
            first, second, flags_and_length = _HEAD.unpack_from(self._received)
            flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
            if length > FRAME_BYTES_MAX:
                broken(f"a frame is over {FRAME_BYTES_MAX} bytes")
            if len(self._received) < _HEAD.size + length:
                return
            payload = bytes(self._received[_HEAD.size : _HEAD.size + length])
            del self._received[: _HEAD.size + length]
            if not first & 0x8000:
                yield from _said(first << 16 | second, payload, flags)
            elif first != 0x8003:
                broken(f"SPDY version {first & 0x7FFF} is not 3")
            else:
                yield from self._controlled(second, payload, flags)

    def _controlled(self, type: int, payload: bytes, flags: int) -> Iterator[Event]:
        if type == _SYN_STREAM and len(payload) >= 10:
            stream = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
            yield Opened(stream, self._headers(payload[10:]))
            if flags & _FIN:
                yield Ended(stream)
        elif type == _RST_STREAM and len(payload) >= 8:
            yield Ended(struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF)
        elif type == _PING:
            yield Pinged(_control(_PING, payload))

    def _headers(self, packed: bytes) -> dict[str, str]:
        try:
            block = self._unpack.decompress(packed, HEADER_BYTES_MAX)
            texts, position = [], 4
            for _ in range(2 * struct.unpack_from(">I", block)[0]):
                [size] = struct.unpack_from(">I", block, position)
                texts.append(block[position + 4 : position + 4 + size].decode("latin-1"))
                position += 4 + size
        except (zlib.error, struct.error) as error:
            broken(f"a header block can't be read: {error}")
        if self._unpack.unconsumed_tail:
            broken(f"headers are over {HEADER_BYTES_MAX} bytes")
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def accept(self, stream: int) -> bytes:
        """Return the reply to a stream that was opened."""
        packed = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, struct.pack(">I", stream) + packed)

    def say(self, stream: int, data: bytes, *, last: bool = False) -> bytes:
        """Return data as frames of a stream."""
        pieces = [data[start : start + _DATA_BYTES_MAX] for start in range(0, len(data), _DATA_BYTES_MAX)] or [b""]
        ends = [False] * (len(pieces) - 1) + [last]
        frames = (
            struct.pack(">II", stream, (_FIN if end else 0) << 24 | len(piece)) + piece for piece, end in zip(pieces, ends, strict=True)
        )
        return b"".join(frames)


def _said(stream: int, payload: bytes, flags: int) -> Iterator[Event]:
    if payload:
        yield Data(stream, payload)
    if flags & _FIN:
        yield Ended(stream)


def _control(type: int, payload: bytes) -> bytes:
    return _HEAD.pack(0x8003, type, len(payload)) + payload
