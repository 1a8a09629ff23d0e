"""The least that two processes can do: what a server adds on this machine, were it nothing but its sockets.

One process takes the client's bytes, sends them to a second over a Unix socket, and that one runs the handler. Both block; nothing is
parsed, checked, counted or logged. What remains is what the kernel takes to wake them, and a handler that has grown cold meanwhile.

As a program: ``python -m benchmarks.sides.relay ARCHIVE PORT``.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import time
from pathlib import Path

from benchmarks.load import Request
from benchmarks.sides.side import Deployment, Running, free_ports, run

REQUEST_BYTES_MAX = 1 << 20
_TIMES = struct.Struct("<dQ")
"""Seconds of the handler, and requests."""


class Relay:
    """Two processes and their sockets."""

    name = "two bare processes"
    batches = False

    def missing(self) -> str | None:
        return None

    def start(self, deployment: Deployment, folder: Path) -> Running:
        [port] = free_ports(1)
        work = deployment.workload
        running = Running(self.name, Request(f"http://127.0.0.1:{port}/", work.body), metrics_url=f"http://127.0.0.1:{port}/metrics")
        running.processes.append(run([sys.executable, "-m", "benchmarks.sides.relay", work.archive(folder), str(port)], folder))
        return running


def main() -> None:
    """Relay one connection after the other, until stopped."""
    archive, port = Path(sys.argv[1]), int(sys.argv[2])
    ours, theirs = socket.socketpair()
    times = mmap.mmap(-1, _TIMES.size)
    if os.fork() == 0:
        ours.close()
        _handle(archive, theirs, times)
        return
    theirs.close()
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _relay(client, ours, times)


def _relay(client: socket.socket, worker: socket.socket, times: mmap.mmap) -> None:
    """Relay one connection's requests."""
    while message := _whole(client):
        if message.startswith(b"GET"):
            seconds, count = _TIMES.unpack(times)
            page = f'flambeau_handler_seconds_sum{{side="relay"}} {seconds}\nflambeau_handler_seconds_count{{side="relay"}} {count}\n'
            client.sendall(_answer(page.encode()))
        else:
            worker.sendall(message)
            client.sendall(worker.recv(REQUEST_BYTES_MAX))


def _whole(client: socket.socket) -> bytes:
    """Read one request; empty at the connection's end."""
    message = b""
    while data := client.recv(REQUEST_BYTES_MAX):
        message += data
        head, found, body = message.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r")[0] or 0):
            return message
    return b""


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _handle(archive: Path, front: socket.socket, times: mmap.mmap) -> None:
    """Run the handler for each message, which the front sends whole and one at a time."""
    import torch  # noqa: PLC0415  # the relaying process needs neither

    from benchmarks.work.archive import load_archive  # noqa: PLC0415

    torch.set_num_threads(1)
    service = load_archive(archive, archive.parent / "unpacked")
    handle = service.handler.handle if service.handler is not None else None  # type: ignore[attr-defined]
    assert handle is not None, "the relay needs a handler class"
    service.context.request_ids = {0: "0"}
    seconds, count = 0.0, 0
    while message := front.recv(REQUEST_BYTES_MAX):
        body = message.partition(b"\r\n\r\n")[2]
        began = time.perf_counter()
        answers = handle([{"body": body}], service.context)
        seconds, count = seconds + time.perf_counter() - began, count + 1
        _TIMES.pack_into(times, 0, seconds, count)
        front.sendall(_answer(str(answers[0]).encode()))


if __name__ == "__main__":
    main()
