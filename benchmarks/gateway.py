"""What does the gateway's hop cost, beside nginx's as a reverse proxy?

The same small server stands behind both and is asked directly too; a hop is the difference of the medians. Expected: one parse, one
lookup and one write each way in Python: some tens of microseconds at one connection, where nginx takes about 13. At 64 connections both
processes are full, and the difference says how many requests each can pass on. Large bodies are copied in pieces, so they cost a few
more system calls than nginx needs.

Run: ``python -m benchmarks gateway``.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.client import Client, message_of
from benchmarks.load import Cell, Request, best, measure
from benchmarks.question import Effort, Goal, Result, ratio, table
from benchmarks.sides.nginx import NGINX, nginx_before
from benchmarks.sides.side import START_SECONDS_MAX, free_ports, listens, run, stop
from flambeau.gateway.document import Backend, Destination, Document, Endpoint, Host, Rule
from flambeau.gateway.document_codec import encode

HOST = "model.default.example.com"
DIRECT, OURS, THEIRS = "directly", "flambeau", "nginx"
CONNECTIONS = (1, 64)
LARGE_BYTES = 10_000_000


@dataclass
class Seen:
    """What one path took."""

    small: dict[int, list[Cell]] = field(default_factory=dict)
    """By connections."""
    up: list[float] = field(default_factory=list)
    """ms of a large request, one a round."""
    down: list[float] = field(default_factory=list)
    """ms of a large answer."""

    def least(self, quantile: str) -> float:
        """Return the least of the rounds' figures at one connection in ms: another process on the machine only adds."""
        return min(float(getattr(cell, quantile)) for cell in self.small[1])


def ask(effort: Effort) -> Result:
    """Send small requests, then large bodies both ways, over each path in turn."""
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(_replica())
        ports = {DIRECT: behind, OURS: stack.enter_context(_gateway_before(behind))}
        if effort.peers and NGINX.exists():
            ports[THEIRS] = stack.enter_context(nginx_before(behind))
        requests = {name: Request(f"http://127.0.0.1:{port}/v1/models/m:predict", b"x" * 300, host=HOST) for name, port in ports.items()}
        seen = {name: Seen() for name in ports}
        for request in requests.values():
            measure(request, 16, effort.seconds)  # the first requests warm things up
        for _ in range(effort.rounds):
            for count in CONNECTIONS:
                for name, request in requests.items():
                    seen[name].small.setdefault(count, []).append(measure(request, count, effort.seconds))
            for name, request in requests.items():
                seen[name].up.append(_large(replace(request, body=bytes(LARGE_BYTES)), effort.seconds))
                asked = replace(request, url=f"http://127.0.0.1:{request.port}/{LARGE_BYTES}", body=b"")
                seen[name].down.append(_large(asked, effort.seconds))
    return Result(_table(seen), tuple(_goals(seen)))


@contextlib.contextmanager
def _replica() -> Iterator[int]:
    """Serve what stands behind the gateways until the block ends; yield its port."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name, contextlib.ExitStack() as stack:
        [port] = free_ports(1)
        process = run([sys.executable, "-m", "benchmarks.work.replica", str(port)], Path(name))
        stack.callback(stop, process)
        _wait_for(port)
        yield port


@contextlib.contextmanager
def _gateway_before(behind: int) -> Iterator[int]:
    """Run our gateway, as shipped, with one route to a port until the block ends; yield its own."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name, contextlib.ExitStack() as stack:
        home, [port] = Path(name), free_ports(1)
        backend = Backend("default/model-00001", (Endpoint("127.0.0.1", behind, "default/model-00001-a"),))
        document = Document(1, (Host(HOST, (Rule((Destination(100, backend=backend.name),)),)),), (backend,))
        (home / "gateway").mkdir()
        (home / "gateway" / "routes.json").write_bytes(encode(document))
        process = run([sys.executable, "-m", "flambeau.programs.gateway", "--listen", f"127.0.0.1:{port}", "--home", name], home)
        stack.callback(stop, process)
        _wait_for(port)
        yield port


def _wait_for(port: int) -> None:
    ends = time.monotonic() + START_SECONDS_MAX
    while not listens(port):
        if time.monotonic() > ends:
            raise RuntimeError(f"nobody listens on port {port}")
        time.sleep(0.01)


def _large(request: Request, seconds: int) -> float:
    """Send over one connection for some seconds; return the median ms of an exchange."""
    client, message, times, ends = Client(request.port), message_of(request), list[float](), time.perf_counter() + seconds
    try:
        while time.perf_counter() < ends or len(times) < 3:
            answer = client.ask(message)
            assert answer.status == 200, answer.body[:1000]
            times.append(answer.ms)
    finally:
        client.close()
    return statistics.median(times)


def _table(seen: dict[str, Seen]) -> str:
    rows = []
    for name, each in seen.items():
        many = best(each.small[CONNECTIONS[1]])
        rows.append(
            [
                name,
                f"{each.least('p50'):.3f} / {each.least('p99'):.3f}",
                f"{many.p50:.2f} / {many.p99:.2f}, {many.rate:,.0f}/s",
                f"{min(each.up):.1f}",
                f"{min(each.down):.1f}",
            ]
        )
    return table(["300 bytes there, 2 back", "c=1, ms p50 / p99", "c=64, ms p50 / p99", "10 MB up, ms", "10 MB down, ms"], rows)


def _goals(seen: dict[str, Seen]) -> Iterator[Goal]:
    nginx = seen.get(THEIRS)
    direct, ours = seen[DIRECT], seen[OURS]
    for quantile, wanted in (("p50", 60), ("p99", 500)):
        hop = (ours.least(quantile) - direct.least(quantile)) * 1000
        beside = f", nginx {(nginx.least(quantile) - direct.least(quantile)) * 1000:.0f} us" if nginx else ""
        yield Goal(f"gateway hop, c=1: {quantile}", f"<= {wanted} us", f"{hop:.0f} us{beside}", hop <= wanted)
    if nginx:
        for what, mine, theirs in (("up", min(ours.up), min(nginx.up)), ("down", min(ours.down), min(nginx.down))):
            measured = f"{ratio(mine, theirs)} ({mine:.1f}, {theirs:.1f} ms)"
            yield Goal(f"gateway, 10 MB {what}", "<= 1.5x nginx", measured, mine <= 1.5 * theirs)
