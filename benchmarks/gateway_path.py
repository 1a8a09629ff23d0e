"""What does one request cost the gateway, without sockets and without other processes?

Real from the bytes of a request to the bytes of its answer: parser, route, head for the replica, the replica's head, counters. The
transports of the client and of the replica are stand-ins that cost nearly nothing. It says where the time goes on a machine that others
use too, because the best of many short rounds counts; ``--profile`` shows it by function.

Run: ``python -m benchmarks.gateway_path [--replicas 1] [--split] [--profile]``.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import sys
import time
from typing import Any, cast

import uvloop

from flambeau.foundation.http1 import Connection, Server
from flambeau.foundation.http1_connection import Acceptor
from flambeau.gateway.document import Backend, Destination, Document, Endpoint, Host, Rule
from flambeau.gateway.proxy import Gateway
from flambeau.gateway.table import Table
from flambeau.gateway.upstream import Upstream

HOST = "noop.default.example.com"
REQUEST = (
    b"POST /v1/models/noop:predict HTTP/1.1\r\nHost: noop.default.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: flambeau\r\ndate: Wed, 25 Nov 2026 12:00:00 GMT\r\nx-request-id: %032d\r\n"
    b"content-type: application/json\r\ncontent-length: 20\r\n\r\n" % 7 + b'{"predictions": [1]}'
)


class Transport:
    """One end of a connection; what is written to it only counts."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


class Path:
    """A gateway, one connection of a client and one to each replica.

    Args:
        replicas: of each backend.
        split: whether the requests are shared out between two backends, as in a canary rollout.
    """

    def __init__(self, replicas: int, split: bool) -> None:
        names = ("stable", "canary") if split else ("stable",)
        backends = tuple(
            Backend(name, tuple(Endpoint("127.0.0.1", 1 + number, f"{name}-{number}") for number in range(replicas))) for name in names
        )
        rule = Rule(tuple(Destination(50, backend=name) for name in names), source="InferenceService default/noop")
        self.gateway = Gateway("127.0.0.1:8000")
        self.gateway.serve(Table(Document(1, (Host(HOST, (rule,)),), backends)))
        self.replicas = [replica for service in self.gateway.services.values() for replica in service.replicas]
        for replica in self.replicas:
            upstream = Upstream(replica)
            upstream.connection_made(cast(asyncio.Transport, Transport()))
            replica.keep(upstream)
        server = Server(self.gateway.application)
        server._begin()
        self.client = Transport()
        self.connection = Connection(cast(Acceptor, server))
        self.connection.connection_made(cast(asyncio.Transport, self.client))

    def round(self, count: int) -> float:
        """Answer so many requests; return the CPU seconds that they took."""
        for replica in self.replicas:
            replica.idle[0].idle_since = time.monotonic()
        upstreams = [replica.idle[0] for replica in self.replicas]
        before = self.client.writes
        began = time.process_time()
        for _ in range(count):
            self.connection.data_received(REQUEST)
            for upstream in upstreams:
                if upstream.request_sent and upstream._receiver is not None:
                    upstream.data_received(ANSWER)
        seconds = time.process_time() - began
        assert self.client.writes - before == count, "an answer is missing, or came in pieces"
        return seconds


async def measure(options: argparse.Namespace) -> tuple[float, float]:
    """Return the least microseconds a request, and the calls that it takes."""
    path = Path(options.replicas, options.split)
    path.round(options.count)
    gc.collect()
    gc.freeze()
    profiler = cProfile.Profile()
    profiler.enable()
    path.round(options.count)
    profiler.disable()
    profile = pstats.Stats(profiler)
    if options.profile:
        profile.sort_stats("tottime").print_stats(45)
    calls = cast(Any, profile).total_calls / options.count
    return min([path.round(options.count) for _ in range(options.rounds)]) / options.count * 1e6, calls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--split", action="store_true", help="share the requests out between two backends")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--profile", action="store_true", help="show the time by function")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        microseconds, calls = runner.run(measure(options))
    print(f"gateway: {microseconds:.1f} us a request, {calls:.0f} calls (of Python and C)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
