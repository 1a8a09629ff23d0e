"""What does a tensor of 600 KB cost in each wire form, and what do other clients feel meanwhile?

The handler gives back what it gets, so its own time is nothing and all that is measured is the server. Expected: as bytes (raw, V2
binary, gRPC) some copies over two sockets, well under a millisecond over HTTP; gRPC's typed numbers are bytes on the wire, too. As JSON a
megabyte of digits is read and written, some milliseconds, and in the worker: the front passes bytes on, so that other connections are
answered as fast as ever: its longest turn with any of these is half a millisecond, what else they feel is a core that others have. A
server that reads JSON on its event loop makes everybody wait for it. What gRPC's own library takes for the same bytes is measured, too: a
server on it that gives them back unread (``sides/grpc_echo.py``).

Run: ``python -m benchmarks tensors``.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from benchmarks.archives import ROOT, workload
from benchmarks.client import Client, message_of
from benchmarks.load import Request
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.sides.all import TENSOR_PEERS, sides
from benchmarks.sides.grpc_echo import NAME as ECHO
from benchmarks.sides.grpc_echo import grpc_echo
from benchmarks.sides.side import Deployment, Running, serving
from benchmarks.work import tensor

RAW, JSON, BINARY, GRPC, TYPED = "raw", "V2 JSON", "V2 binary", "gRPC", "gRPC, typed"
SPOKEN = {
    "flambeau": (RAW, JSON, BINARY, GRPC, TYPED),
    "TorchServe": (RAW,),
    "KServe SDK": (JSON, BINARY, GRPC, TYPED),
    "MLServer": (JSON, GRPC, TYPED),
}
"""What each side can; MLServer refuses V2's binary form, TorchServe's V2 is gRPC behind a flag and JSON as lists of text."""
SMALL_RATE = 200
"""Small requests a second of other clients."""
SMALL_CONNECTIONS = 4
BYTES_ANSWER_MAX = 700_000
"""An answer in bytes is smaller than this; as text it is larger."""


@dataclass
class Seen:
    """One side and one form."""

    p50: list[float] = field(default_factory=list)
    """ms; one a round."""
    p99: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    """p99 of the small requests meanwhile, ms."""


def ask(effort: Effort) -> Result:
    """Send the tensor in every form to every side, one after the other, with small requests beside it."""
    seen: dict[tuple[str, str], Seen] = {}
    alone: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="fb-") as folder, contextlib.ExitStack() as stack:
        work = workload("tensor", Path(folder))
        running = [stack.enter_context(serving(side, Deployment(work))) for side in sides(effort.peers, among=TENSOR_PEERS)]
        echo = stack.enter_context(grpc_echo())
        message = tensor.as_message("tensor", work.body, typed=False)
        for _ in range(effort.rounds):
            with _calling(echo, message) as ask_once:
                _time(ask_once, seen.setdefault((ECHO, GRPC), Seen()), effort.seconds)
            for each in running:
                with _others(each, effort.seconds) as quiet:
                    time.sleep(effort.seconds)
                alone.setdefault(each.name, []).append(quiet.p99)
                for form in SPOKEN[each.name]:
                    _measure(each, form, work.body, seen.setdefault((each.name, form), Seen()), effort.seconds)
    rows = [
        [name, form, *(f"{min(values):.2f}" if values else "-" for values in (each.p50, each.p99, alone.get(name), each.others))]
        for (name, form), each in seen.items()
    ]
    head = ["602,112 bytes there and back, c=1, ms", "form", "p50", "p99", "small requests' p99 alone", "meanwhile"]
    return Result(table(head, rows), tuple(_goals(seen, alone)))


def _measure(running: Running, form: str, body: bytes, seen: Seen, seconds: int) -> None:
    with _asking(running, form, body) as ask_once, _others(running, seconds) as others:
        _time(ask_once, seen, seconds)
    seen.others.append(others.p99)


def _time(ask_once: Callable[[], float], seen: Seen, seconds: int) -> None:
    """Ask again and again for some seconds."""
    ask_once()  # the first warms things up
    times, ends = [], time.perf_counter() + seconds
    while time.perf_counter() < ends:
        times.append(ask_once())
    seen.p50.append(statistics.median(times))
    seen.p99.append(sorted(times)[int(len(times) * 0.99)])


@contextlib.contextmanager
def _asking(running: Running, form: str, body: bytes) -> Iterator[Callable[[], float]]:
    """Yield what sends the tensor once and returns the ms until its answer is there."""
    if form in (GRPC, TYPED):
        with _calling(running.grpc_port, tensor.as_message("tensor", body, typed=form == TYPED)) as ask_once:
            yield ask_once
        return
    request = running.request if form == RAW else _request(running, form, body)
    client, message = Client(request.port), message_of(request)

    def once() -> float:
        answer = client.ask(message)
        assert answer.status == 200, answer.body[:1000]
        assert form == JSON or len(answer.body) < BYTES_ANSWER_MAX, "it came back as text"
        return answer.ms

    try:
        yield once
    finally:
        client.close()


@contextlib.contextmanager
def _calling(port: int, message: bytes) -> Iterator[Callable[[], float]]:
    """Yield what sends a gRPC message once and returns the ms until its answer is there."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield _by_grpc(channel.unary_unary("/inference.GRPCInferenceService/ModelInfer"), message)


def _by_grpc(call: Any, message: bytes) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        answer = call(message, timeout=30)
        took = (time.perf_counter() - began) * 1000
        assert len(answer) > tensor.BYTES, answer[:1000]
        return took

    return once


def _request(running: Running, form: str, body: bytes) -> Request:
    url = f"http://127.0.0.1:{running.request.port}/v2/models/tensor/infer"
    if form == JSON:
        return Request(url, tensor.as_json(body), "application/json")
    content, length = tensor.as_binary(body)
    return Request(url, content, headers=(("Inference-Header-Content-Length", str(length)),))


@dataclass
class Others:
    """What the small requests saw, when they are done."""

    p99: float = 0.0


@contextlib.contextmanager
def _others(running: Running, seconds: int) -> Iterator[Others]:
    """Have other clients ask for the server's life, from a process of their own, while the block runs; then wait for the last."""
    port = running.request.port
    path = "/ping" if running.name == "TorchServe" else "/v2/health/live"
    message = message_of(Request(f"http://127.0.0.1:{port}{path}", b""))
    command = [sys.executable, "-m", "benchmarks.open_loop", str(port), str(SMALL_RATE), str(seconds), str(SMALL_CONNECTIONS)]
    seen = Others()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(message)
            process.stdin.close()
            process.stdin = None
            yield seen
            output, _ = process.communicate(timeout=90)
        finally:
            process.kill()
    told = json.loads(output)
    if told["failed"]:
        raise RuntimeError(f"{running.name} failed {told['failed']} small requests")
    seen.p99 = told["p99"]


def _goals(seen: dict[tuple[str, str], Seen], alone: dict[str, list[float]]) -> list[Goal]:
    goals = []
    for form, wanted in ((JSON, 15.0), (BINARY, 1.0), (GRPC, 1.0)):
        measured = min(seen["flambeau", form].p50)
        theirs = "".join(f", {name} {min(each.p50):.2f} ms" for (name, other), each in seen.items() if other == form and name != "flambeau")
        goals.append(Goal(f"600 KB tensor, {form}, c=1", f"<= {wanted:g} ms", f"{measured:.2f} ms{theirs}", measured <= wanted))
    quiet = min(alone["flambeau"])
    worst = max(min(each.others) for (name, _), each in seen.items() if name == "flambeau")
    unharmed = worst <= quiet + 1
    goals.append(
        Goal("other requests' p99 beside the tensors", "<= 1 ms more than alone", f"{worst:.2f} ms, alone {quiet:.2f} ms", unharmed)
    )
    return goals
