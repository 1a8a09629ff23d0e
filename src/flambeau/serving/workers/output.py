"""What workers print: read line by line, shown with the worker's name, the last lines kept for error texts."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

LINES_MAX = 50
"""Lines kept of one worker."""
LINE_BYTES_MAX = 4096
"""Bytes of one line; a longer one is cut into several."""
TAIL_BYTES_MAX = 16 << 10
"""Bytes kept of one worker, all lines together."""
_READ_BYTES = 64 << 10


class LineBuffer:
    """Cut a stream into lines and keep the last. Pure.

    Args:
        on_line: called with each line, without its end.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._open = b""
        self._tail: deque[str] = deque()
        self._held = 0

    def feed(self, data: bytes) -> None:
        """Take more of the stream."""
        *lines, self._open = (self._open + data).split(b"\n")
        for line in lines:
            self._take(line)
        while len(self._open) > LINE_BYTES_MAX:
            self._take(self._open[:LINE_BYTES_MAX])
            self._open = self._open[LINE_BYTES_MAX:]

    def end(self) -> None:
        """Take what has no line end yet as the last line."""
        if self._open:
            self._take(self._open)
            self._open = b""

    def tail(self) -> tuple[str, ...]:
        """Return the last lines."""
        return tuple(self._tail)

    def _take(self, line: bytes) -> None:
        text = line[:LINE_BYTES_MAX].decode("utf-8", errors="replace").rstrip("\r")
        self._tail.append(text)
        self._held += len(text)
        while len(self._tail) > LINES_MAX or self._held > TAIL_BYTES_MAX:
            self._held -= len(self._tail.popleft())
        self._on_line(text)


class OutputReader:
    """Read a worker's pipe on the loop; a worker that prints faster than we read waits in its ``print``.

    Args:
        descriptor: the pipe's reading end; this object closes it.
        on_line: called with each line.
    """

    def __init__(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._lines = LineBuffer(on_line)
        self._open = True
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._readable)

    def tail(self) -> tuple[str, ...]:
        """Return the last lines."""
        return self._lines.tail()

    def close(self) -> None:
        """Take what the pipe still holds, then close it; what grandchildren print later is lost."""
        while self._open and self._readable():
            pass
        self._close()

    def _readable(self) -> bool:
        """Read once; False when there is nothing to read now."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._close()
            return False
        self._lines.feed(data)
        return True

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._lines.end()
