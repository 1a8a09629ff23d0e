"""Hand lines to something slow without ever waiting for it: a disk, a pipe whose reader sleeps.

One thread per destination, so that a full disk does not silence the console. What finds no room is dropped and counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO

BUFFER_BYTES_MAX = 8 << 20
"""Of lines that wait for one destination."""
CLOSE_SECONDS = 2.0
"""The most that a stop waits for a destination; what is not written by then is lost."""


class Sink(Protocol):
    """Where bytes go. Called by one thread; may block and may raise OSError."""

    def write(self, data: bytes, /) -> object:
        """Take whole lines."""
        ...

    def close(self) -> None:
        """End."""
        ...


class Descriptor:
    """Write to an open descriptor, as standard error; it stays open.

    Args:
        number: the descriptor.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    @classmethod
    def of(cls, stream: TextIO | None) -> Descriptor:
        """Return a standard stream's; of one that was closed before the program began, a descriptor that takes nothing."""
        return cls(-1 if stream is None else stream.fileno())

    def write(self, data: bytes, /) -> None:
        """Write everything."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._number, view) :]

    def close(self) -> None:
        """Leave the descriptor open: it is not ours."""


class LineWriter:
    """Write lines from a thread that starts with the first of them.

    Args:
        name: for messages and the thread.
        sink: where lines go; this object closes it.
        on_trouble: called in the thread when lines begin to be lost, with one sentence; must not raise.
        bytes_max: lines that wait.
    """

    def __init__(
        self, name: str, sink: Sink, *, on_trouble: Callable[[str], None] = lambda text: None, bytes_max: int = BUFFER_BYTES_MAX
    ) -> None:
        self.name = name
        self.dropped = 0
        """Lines that were lost."""
        self._sink = sink
        self._on_trouble = on_trouble
        self._bytes_max = bytes_max
        self._lines: list[bytes] = []
        self._held = 0  # bytes that wait or are being written
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._troubled = False

    def write(self, data: bytes, /) -> None:
        """Take one or more whole lines; never waits, never raises."""
        with self._changed:
            if self._closed or self._held + len(data) > self._bytes_max:
                self.dropped += data.count(b"\n")
                return
            self._lines.append(data)
            self._held += len(data)
            if self._thread is None:
                # A daemon: a disk that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name=f"log {self.name}", daemon=True)
                self._thread.start()
            elif len(self._lines) == 1:
                self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing: lines are on their way."""

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, for so long at most, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def wait_written(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until nothing waits, for so long at most; return whether that is so."""
        deadline = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, deadline - time.monotonic())

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    break
                lines, self._lines = self._lines, []
            data = b"".join(lines)
            lost = self._attempt(data)
            with self._changed:
                self._held -= len(data)
                self.dropped += lost
                self._changed.notify_all()
        try:
            self._sink.close()
        except OSError as error:
            self._on_trouble(f"cannot close log {self.name}: {error.strerror or error}")

    def _attempt(self, data: bytes) -> int:
        """Write; return how many lines were lost."""
        try:
            self._sink.write(data)
        except (OSError, ValueError) as error:  # ValueError: a stream that somebody has closed
            if not self._troubled:
                self._troubled = True
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                self._on_trouble(f"cannot write log {self.name}: {why}; its lines are dropped and counted until that changes")
            return data.count(b"\n")
        self._troubled = False
        return 0
