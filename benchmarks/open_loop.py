"""Load that does not wait for answers: requests leave by a fixed schedule, and each latency counts from when its request was due.

A closed loop slows down with the server and so hides how long a client would have waited; this one keeps coming. It waits with select,
because an event loop's timers are as coarse as a millisecond.

As a program, for load beside other work: ``python -m benchmarks.open_loop PORT RATE SECONDS CONNECTIONS``, the message on standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import statistics
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from benchmarks.client import body_of

LAST_ANSWERS_SECONDS_MAX = 30.0
"""How long to wait for answers after the last request has left."""
READ_BYTES_MAX = 1 << 16


@dataclass
class Seen:
    """What came of a schedule."""

    seconds: float
    """From the first request to the last answer, but at least as long as requests were sent."""
    offered: int
    answered_ms: list[float] = field(default_factory=list)
    """Latencies of the answers with a 2xx status."""
    refused: int = 0
    """Answers with another status."""
    lost: int = 0
    """Connections that ended, and answers that did not come in time."""

    @property
    def goodput(self) -> float:
        """Answers with a 2xx status a second."""
        return len(self.answered_ms) / self.seconds

    def quantile(self, share: float) -> float:
        """Return a quantile of the answers' latencies in ms, 0 if there are none."""
        if len(self.answered_ms) < 2:
            return sum(self.answered_ms)
        return statistics.quantiles(self.answered_ms, n=1000)[round(share * 1000) - 1]


class _Connection:
    """One client; answers one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        """Since when the request that is on its way was due."""
        self.buffer = bytearray()

    def read(self) -> int | None:
        """Take what there is; return the answer's status when it is whole.

        Raises:
            ConnectionError: the server closed.
        """
        data = self.socket.recv(READ_BYTES_MAX)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data
        start, end = body_of(self.buffer, len(self.buffer))
        if not start or len(self.buffer) < end:
            return None
        status = int(self.buffer[9:12])
        self.buffer.clear()
        return status


class OpenLoop:
    """One schedule on its way; made and run by ``offer``."""

    def __init__(self, port: int, message: bytes, *, rate: float, seconds: float, connections: int) -> None:
        self._port = port
        self._message = message
        self._rate = rate
        self._seen = Seen(seconds, round(rate * seconds))
        self._waiting: deque[float] = deque()
        """When those were due for which no connection was free."""
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._free: list[_Connection] = []
        self._began = 0.0
        for _ in range(connections):
            self._connect()

    def run(self) -> Seen:
        """Send everything, wait for the answers, close."""
        self._began = began = time.perf_counter()
        sent, offered = 0, self._seen.offered
        last = began + self._seen.seconds + LAST_ANSWERS_SECONDS_MAX
        while sent < offered or self._waiting or len(self._free) < len(self._open):
            now = time.perf_counter()
            if now > last:
                self._seen.lost += len(self._waiting) + len(self._open) - len(self._free)
                break
            while sent < offered and (due := began + sent / self._rate) <= now:
                self._waiting.append(due)
                sent += 1
            self._send()
            until = began + sent / self._rate if sent < offered else last
            select.select([self._epoll], [], [], max(0.0, until - time.perf_counter()))
            for number, _ in self._epoll.poll(0):
                self._read(self._open[number])
        for each in self._open.values():
            each.socket.close()
        self._epoll.close()
        return self._seen

    def _connect(self) -> None:
        made = _Connection(self._port)
        self._open[made.socket.fileno()] = made
        self._epoll.register(made.socket.fileno(), select.EPOLLIN)
        self._free.append(made)

    def _replace(self, connection: _Connection) -> None:
        number = connection.socket.fileno()
        self._epoll.unregister(number)
        del self._open[number]
        connection.socket.close()
        self._connect()

    def _send(self) -> None:
        while self._waiting and self._free:
            connection = self._free.pop()
            try:
                connection.socket.sendall(self._message)
            except ConnectionError:
                self._replace(connection)
            else:
                connection.due = self._waiting.popleft()

    def _read(self, connection: _Connection) -> None:
        try:
            status = connection.read()
        except ConnectionError:
            if connection in self._free:  # a server may close after an answer
                self._free.remove(connection)
            else:
                self._seen.lost += 1
            self._replace(connection)
            return
        if status is None:
            return
        if 200 <= status < 300:
            now = time.perf_counter()
            self._seen.answered_ms.append((now - connection.due) * 1000)
            self._seen.seconds = max(self._seen.seconds, now - self._began)
        else:
            self._seen.refused += 1
        self._free.append(connection)


def offer(port: int, message: bytes, *, rate: float, seconds: float, connections: int) -> Seen:
    """Send a message so many times a second, whatever the answers do.

    Args:
        port: of a server on this machine.
        message: a whole request.
        rate: requests a second.
        seconds: how long to send; answers that come later still count.
        connections: how many requests can be on their way; one more waits, and its wait counts.
    """
    return OpenLoop(port, message, rate=rate, seconds=seconds, connections=connections).run()


def main() -> None:
    """Run one schedule; print p50, p99 and the numbers of answers as JSON."""
    # Other clients have cores of their own: where it may, it runs before everybody here. Its own wait for one was 1 to 4 ms of the p99.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    port, rate, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    seen = offer(port, sys.stdin.buffer.read(), rate=rate, seconds=seconds, connections=connections)
    failed = seen.refused + seen.lost
    print(json.dumps({"p50": seen.quantile(0.5), "p99": seen.quantile(0.99), "answered": len(seen.answered_ms), "failed": failed}))


if __name__ == "__main__":
    main()
