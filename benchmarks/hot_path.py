"""What does one request cost the front, and what the worker, without sockets to clients and without another process?

The front's side is real from the bytes of a request to the bytes of its answer: parser, route, queue, frames over a real socket pair,
metrics, access log. The clients' transports and the worker's process are stand-ins that cost nearly nothing. It says where the time goes
on a machine that others use too, because the best of many short rounds counts; ``--profile`` shows it by function.

Run: ``python -m benchmarks.hot_path [--batch 16] [--profile]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import gc
import os
import pstats
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, cast

import orjson
import uvloop

from flambeau.foundation.http1 import Connection, Server
from flambeau.foundation.http1_connection import Acceptor
from flambeau.serving.batching.queue import ModelQueue
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.http import HttpFrontend
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.handlers.service import load_service
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import Answer, Job, Method, ModelConfig, ModelSpec, Protocol, Signature
from flambeau.serving.workers.execution import run_batch
from flambeau.serving.workers.failure import Exit
from flambeau.serving.workers.link import BODY_BYTES_MAX, FrameReader, Kind, frame_buffers
from flambeau.serving.workers.messages import answers_message, batches_message, batches_of, metrics_buffers, signature_text
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.starter import OnExit

REQUEST = (
    b"POST /predictions/noop HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n"
    + b"x" * 100
)
CONNECTIONS = 64
WORK = Path(__file__).with_name("work")


class Transport:
    """A client's transport that counts answers."""

    def __init__(self, answered: Callable[[Transport], None]) -> None:
        self.answered = answered
        self.connection: Connection | None = None

    def write(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data
        self.answered(self)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


class Starter:
    """Starts no process; keeps the worker's end, and says that the process has ended when it is signalled."""

    def __init__(self) -> None:
        self.end: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

    def start(self, end: socket.socket, printed: int, on_exit: OnExit) -> Any:
        self.on_exit = on_exit
        self.end.set_result(end)
        os.close(printed)
        return self

    def signal(self, number: int) -> None:
        asyncio.get_running_loop().call_soon(self.on_exit, Exit(signal_number=number))


class Sink:
    """A stream that drops what it gets."""

    def write(self, data: bytes) -> None: ...
    def flush(self) -> None: ...


class Stub:
    """The data plane of one model."""

    name = "noop"
    version = "1.0"

    def __init__(self, queue: ModelQueue) -> None:
        self.queue = queue

    def model(self, name: str, version: str | None) -> Any:
        return self


class Front:
    """The front with one worker, as far as the worker's socket."""

    async def open(self, batch: int) -> None:
        """Build everything and let the worker have loaded."""
        spec = ModelSpec("noop", "1.0", Path("/"), "noop.mar", "noop.py", config=ModelConfig(batch_size=batch, job_queue_size=1000))
        starter = Starter()
        pool = WorkerPool(spec, cast(Any, starter))
        queue = ModelQueue(spec, pool)
        pool.start()
        self.end = await starter.end
        self.end.setblocking(False)
        self.worker = next(iter(pool._workers.values()))
        assert self.worker._link is not None
        self.deliver = self.worker._link.data_received
        self.deliver(b"".join(frame_buffers(Kind.GREETING, b'{"pid": 1}')))
        self.deliver(b"".join(frame_buffers(Kind.LOADED, signature_text(Signature()))))
        self.end.recv(1 << 20)  # the model's specification
        frontend = HttpFrontend(
            cast(Any, Stub(queue)),
            cast(Any, None),
            ServerMetrics(lambda: []),
            access_log=AccessLog(Sink()),
            request_bytes_max=6_553_500,
            model_api=False,
            workflows=cast(Any, None),
        )
        server = Server(frontend.door(frozenset({Plane.INFERENCE})))
        server._begin()
        self.server = server
        self.reader = FrameReader(BODY_BYTES_MAX)
        self.free: list[Transport] = []
        for _ in range(CONNECTIONS):
            transport = Transport(self.free.append)
            transport.connection = Connection(cast(Acceptor, server))
            transport.connection.connection_made(cast(Any, transport))
            self.free.append(transport)
        self.canned: dict[int, bytes] = {}
        self.pool = pool

    async def close(self) -> None:
        """Let the worker go; nothing is left behind."""
        self.end.close()
        await self.pool.stop(0)
        await self.server.close()

    async def round(self, count: int) -> float:
        """Answer so many requests; return the CPU seconds that they took."""
        left = count
        began = time.process_time()
        while left:
            free, self.free[:] = self.free[:], []
            for transport in free:
                assert transport.connection is not None
                transport.connection.data_received(REQUEST)
            while len(self.free) < CONNECTIONS and left:
                await asyncio.sleep(0)
                for frame in self.reader.feed(self.end.recv(1 << 20)):
                    sizes = [len(jobs) for jobs in orjson.loads(frame.text)]
                    left = max(left - sum(sizes), 0)
                    self.deliver(b"".join(map(self._answers, sizes)))
        return time.process_time() - began

    def _answers(self, count: int) -> bytes:
        if count not in self.canned:
            answers = [Answer(200, "text/plain", b"ok", handler_seconds=0.0001)] * count
            self.canned[count] = b"".join(frame_buffers(Kind.ANSWERS, *answers_message(answers)))
        return self.canned[count]


async def ready_front(batch: int, count: int) -> Front:
    """Return a front that has answered so many requests."""
    front = Front()
    await front.open(batch)
    await front.round(count)
    return front


def ready_worker(batch: int) -> Callable[[int], float]:
    """Return what answers so many requests as a worker does, and returns the CPU seconds that they took.

    A frame's jobs are read, a no-op handler is called, the answers' frame is made.
    """
    spec = ModelSpec("noop", "1.0", WORK, "noop.mar", "noop_handler.py")
    service = load_service(spec)
    headers = tuple((f"Header-{number}", "some value") for number in range(4))
    jobs = [
        Job(f"id-{number}", Protocol.TORCHSERVE, Method.PREDICT, "application/octet-stream", headers, b"x" * 100) for number in range(batch)
    ]
    text, bodies = batches_message([jobs])
    body = b"".join(bodies)

    def round_(count: int) -> float:
        began = time.process_time()
        for _ in range(count // batch):
            [jobs] = batches_of(text, memoryview(body))
            answers = run_batch(service, spec, jobs, time.perf_counter)
            frame_buffers(Kind.ANSWERS, *answers_message(answers))
            metrics_buffers(service.take_updates())
        return time.process_time() - began

    round_(batch)
    return round_


@contextlib.contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Count the calls of the block, Python's and C's; yield what tells them after it."""
    calls = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        yield lambda: calls
    finally:
        sys.setprofile(None)


async def front_calls(batch: int, count: int) -> float:
    """Return the front's calls a request."""
    front = await ready_front(batch, count)
    with counted() as calls:
        await front.round(count)
    await front.close()
    return calls() / count


def worker_calls(batch: int, count: int) -> float:
    """Return the worker's calls a request."""
    answer = ready_worker(batch)
    with counted() as calls:
        answer(count)
    return calls() / count


@contextlib.contextmanager
def profiled() -> Iterator[None]:
    """Print where the block's time goes, by function."""
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    yield
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


async def front_microseconds(batch: int, rounds: int, count: int, profile: bool) -> float:
    """Return the front's least microseconds a request."""
    front = await ready_front(batch, count)
    gc.collect()
    gc.freeze()
    if profile:
        with profiled():
            await front.round(count)
    least = min([await front.round(count) for _ in range(rounds)])
    await front.close()
    return least / count * 1e6


def worker_microseconds(batch: int, rounds: int, count: int, profile: bool) -> float:
    """Return the worker's least microseconds a request."""
    answer = ready_worker(batch)
    if profile:
        with profiled():
            answer(count)
    return min(answer(count) for _ in range(rounds)) / count * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        front = runner.run(front_microseconds(options.batch, options.rounds, options.count, options.profile))
        calls = runner.run(front_calls(options.batch, options.count))
    print(f"front: {front:.1f} us and {calls:.1f} calls a request, batch {options.batch}")
    worker = worker_microseconds(options.batch, options.rounds, options.count, options.profile)
    print(f"worker: {worker:.1f} us and {worker_calls(options.batch, options.count):.1f} calls a request, batch {options.batch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
