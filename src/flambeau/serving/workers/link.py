"""Frames between the front and one worker, over one Unix stream socket.

A frame is a fixed header, a small JSON text and the raw bodies one after the other: bodies are never copied into JSON, and nothing is
ever pickled. The front's side runs on its loop (``FrontLink``), the worker's side blocks (``ChildLink``). A stream beats shared memory
up to 6 MB a message (37 us against 175 us for 600 KB, docs/performance.md).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from flambeau.foundation.errors import FlambeauError

SOCKET_BUFFER_BYTES = 1 << 20
"""SO_SNDBUF of both ends: most batches are written by one call that does not block."""
TEXT_BYTES_MAX = 16 << 20
"""JSON text of one frame: headers of a batch, a model's whole YAML."""
BODY_BYTES_MAX = 1 << 32
"""Bodies of one frame towards a worker, which trusts the front."""
_VECTORS_MAX = 512
"""Buffers of one sendmsg; Linux takes 1024."""
_READ_BYTES = 16 << 10
"""What a worker reads at once: dozens of small batches, or the beginning of a big one, whose rest is read to where it stays."""
_LEFT_BYTES = 256 << 10
"""What the front reads at once of what a dead worker left."""

# Kind, padding, text bytes, body bytes.
_HEADER = struct.Struct("<BxxxIQ")


class Kind(IntEnum):
    """What a frame says."""

    GREETING = 1
    """Worker: I run. Text: pid."""
    SPEC = 2
    """Front: load this model."""
    LOADED = 3
    LOAD_FAILED = 4
    """Worker: message, hint and traceback; it then ends by itself."""
    BATCHES = 5
    """Front: batches, their jobs' bodies behind."""
    ANSWERS = 6
    """Worker: one answer for each job, their bodies behind."""
    CHUNK = 7
    """Worker: a part of one job's streamed answer; its first also says status and headers."""
    STOP = 8
    """Front: leave."""
    METRICS = 9
    """Worker: what the handler measured; comes before the answers of the batch that it is about."""
    CANCEL = 10
    """Front: numbers of jobs for which nobody waits any more. To a worker that answers batch by batch: a batch's number, and a place in it.
    It may come too late, when the batch is done."""


_KINDS = {kind.value: kind for kind in Kind}


@dataclass(slots=True)
class Frame:
    """One whole frame."""

    kind: Kind
    text: bytes
    body: bytes | memoryview


class BrokenFrame(FlambeauError):
    """The other side sent what is no frame, or one over the bounds; the link cannot go on."""


def frame_buffers(kind: Kind, text: bytes, bodies: Sequence[bytes] = ()) -> list[bytes]:
    """Return a frame as buffers to write; the bodies are the caller's own, uncopied."""
    size = sum(map(len, bodies))
    return [_HEADER.pack(kind, len(text), size) + text, *bodies]


class FrameReader:
    """Cut a stream of bytes into frames; keeps no more than one frame's bytes.

    Args:
        body_bytes_max: bodies of one frame; more is a BrokenFrame before it is read.
    """

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = _HEADER.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete; the iterator must be exhausted.

        Raises:
            BrokenFrame: a header is of no known kind or says more than the bounds.
        """
        if self._parts:
            self._parts.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return
            frame, data = self._first_of_parts()
            if frame is not None:
                yield frame
        start, end = 0, len(data)
        self._wanted = _HEADER.size
        while (text_at := start + _HEADER.size) <= end:
            kind, text_size, body_size = _checked_header(data, start, self._body_bytes_max)
            body_at = text_at + text_size
            frame_end = body_at + body_size
            if frame_end > end:
                self._wanted = frame_end - start
                break
            start = frame_end
            yield Frame(kind, data[text_at:body_at], data[body_at:frame_end])
        self._parts = [data[start:]] if start < end else []
        self._held = end - start

    def _first_of_parts(self) -> tuple[Frame | None, bytes]:
        """Return the frame that is whole now and the bytes behind it: its body is copied once, however many parts it came in.

        None, and all the bytes, where its header or text is in several parts: then it has just begun, or is short.
        """
        parts, first = self._parts, self._parts[0]
        if len(first) >= _HEADER.size:
            kind, text_size, body_size = _checked_header(first, 0, self._body_bytes_max)
            body_at = _HEADER.size + text_size
            behind = self._held - body_at - body_size
            if body_at <= len(first) and 0 <= behind <= len(parts[-1]):
                last = parts[-1]
                end = len(last) - behind
                body = b"".join([memoryview(first)[body_at:], *parts[1:-1], memoryview(last)[:end]])
                return Frame(kind, first[_HEADER.size : body_at], body), last[end:]
        return None, b"".join(parts)


def _checked_header(data: bytes, start: int, body_bytes_max: int) -> tuple[Kind, int, int]:
    kind, text_size, body_size = _HEADER.unpack_from(data, start)
    known = _KINDS.get(kind)
    if known is not None and text_size <= TEXT_BYTES_MAX and body_size <= body_bytes_max:
        return known, text_size, body_size
    if known is None:
        raise BrokenFrame(f"a frame of kind {kind} came over the worker's link")
    if text_size > TEXT_BYTES_MAX:
        raise BrokenFrame(f"a {known.name} frame with {text_size} bytes of text came, at most {TEXT_BYTES_MAX} are allowed")
    raise BrokenFrame(f"a {known.name} frame with {body_size} bytes of bodies came, at most {body_bytes_max} are allowed")


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new link: the front's, which does not block, and the worker's."""
    front, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (front, child):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    front.setblocking(False)
    return front, child


class FrontLink(asyncio.Protocol):
    """The front's end, on its loop.

    Args:
        end: the front's socket.
        body_bytes_max: bodies of one frame from the worker.
        on_frame: called with each frame.
        on_lost: called once when the link is gone (not after ``close``); with words if the worker broke the protocol, else None.
    """

    def __init__(
        self, end: socket.socket, body_bytes_max: int, on_frame: Callable[[Frame], None], on_lost: Callable[[str | None], None]
    ) -> None:
        self._socket = end
        self._reader = FrameReader(body_bytes_max)
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._closed = False

    async def open(self) -> None:
        """Begin to read."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the loop's transport."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports do not derive from asyncio's
        if self._closed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Hand on the frames that came."""
        try:
            for frame in self._reader.feed(data):
                if not self._closed:
                    self._on_frame(frame)
        except BrokenFrame as error:
            self._lose(error.message)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the worker's end is gone."""
        self._lose(None)

    def _lose(self, reason: str | None) -> None:
        if not self._closed:
            self.close()
            self._on_lost(reason)

    def send(self, kind: Kind, text: bytes, bodies: Sequence[bytes] = ()) -> bool:
        """Write a frame; what the socket does not take at once is written as it drains.

        Returns:
            False if the worker's end is gone and nothing of the frame was written.
        """
        if self._closed or self._transport is None:
            return False
        buffers: Sequence[bytes | memoryview] = frame_buffers(kind, text, bodies)
        if self._transport.get_write_buffer_size() == 0:
            # Straight to the socket: uvloop would write at the end of its turn, after the last batch's answers were handed out.
            try:
                buffers = _left_of(buffers, self._socket.sendmsg(buffers[:_VECTORS_MAX]))
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return False
        if buffers:
            self._transport.writelines(buffers)
        return True

    def read_what_is_left(self) -> None:
        """Hand on the frames that the worker wrote before its process ended, if they are unread still."""
        while not self._closed:
            try:
                data = self._socket.recv(_LEFT_BYTES)
            except OSError:  # nothing is left, and another process holds the worker's end open; or the end has been reset
                return
            if not data:
                return
            self.data_received(data)

    def close(self) -> None:
        """Close the front's end; the worker sees the end of the stream and leaves."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()


class ChildLink:
    """The worker's end, blocking.

    Args:
        end: the worker's socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._held = b""
        self._at = 0
        """Up to where ``_held`` has been handed on."""

    def receive(self) -> Frame | None:
        """Wait for the next frame; None when the front has closed its end.

        Raises:
            BrokenFrame: the front sent what is no frame.
        """
        while True:
            held, at = self._held, self._at
            if len(held) - at >= _HEADER.size:
                kind, text_size, body_size = _checked_header(held, at, BODY_BYTES_MAX)
                text_at = at + _HEADER.size
                body_at = text_at + text_size
                end = body_at + body_size
                if end > len(held):
                    return self._big(kind, held[at:], text_size, end - at)
                self._at = end
                return Frame(kind, held[text_at:body_at], memoryview(held)[body_at:end])
            try:
                data = self._socket.recv(_READ_BYTES)
            except ConnectionError:
                return None
            if not data:
                return None
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        self._held = self._held[self._at :] + data if self._at < len(self._held) else data
        self._at = 0

    def _big(self, kind: Kind, begun: bytes, text_size: int, size: int) -> Frame | None:
        """Read the rest of a frame to where it stays; None if the stream ends before."""
        self._held, self._at = b"", 0
        whole = bytearray(size)
        whole[: len(begun)] = begun
        left = memoryview(whole)[len(begun) :]
        while left:
            try:
                read = self._socket.recv_into(left, 0, socket.MSG_WAITALL)
            except ConnectionError:
                return None
            if not read:
                return None
            left = left[read:]
        body_at = _HEADER.size + text_size
        return Frame(kind, bytes(memoryview(whole)[_HEADER.size : body_at]), memoryview(whole)[body_at:])

    def send(self, kind: Kind, text: bytes, bodies: Sequence[bytes] = (), *, before: Sequence[bytes] = ()) -> None:
        """Write a frame.

        Args:
            kind: what the frame says.
            text: its JSON text.
            bodies: its raw bodies.
            before: buffers of frames that go with it in the same write (``frame_buffers``), so that the front wakes once.

        Raises:
            ConnectionError: the front has closed its end.
        """
        buffers: Sequence[bytes | memoryview] = [*before, *frame_buffers(kind, text, bodies)]
        while buffers:
            buffers = _left_of(buffers, self._socket.sendmsg(buffers[:_VECTORS_MAX]))

    def has_frame(self) -> bool:
        """Return whether a frame, or the end, has begun to come."""
        if self._at < len(self._held):
            return True
        try:
            self._hold(self._socket.recv(_READ_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False
        except ConnectionError:
            pass  # the end: receive() says so
        return True

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the worker's end."""
        self._socket.close()


def _left_of(buffers: Sequence[bytes | memoryview], sent: int) -> Sequence[bytes | memoryview]:
    """Return what is left to write after so many bytes."""
    if sent == sum(map(len, buffers)):
        return ()
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            first = memoryview(buffer)[sent:] if sent else buffer
            return [first, *buffers[index + 1 :]]
        sent -= len(buffer)
    return ()
