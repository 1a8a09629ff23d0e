"""How long do clients wait who do not wait for each other, and what is still answered when three times too many come?

Requests leave by a fixed schedule and each latency counts from when its request was due. Expected: at half of what one worker can do
nearly nobody waits, at four fifths some wait for a few others. At three times as much the queue is full (100 requests, as shipped),
the rest is refused at once, which costs next to nothing, so that as much is answered as ever; who is answered has waited for a full queue.

Run: ``python -m benchmarks overload``.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import open_loop
from benchmarks.archives import workload
from benchmarks.client import message_of
from benchmarks.load import measure
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.sides.all import ARCHIVE_PEERS, sides
from benchmarks.sides.side import Deployment, Running, serving

QUEUE = 100
"""The default of both servers that take this setting."""
CONNECTIONS = 256
"""More than are waiting or being worked at, so that one is always free for what is refused."""
LOADS = (0.5, 0.8, 3.0)
"""Shares of the capacity."""


@dataclass
class Seen:
    """One side."""

    peaks: list[float] = field(default_factory=list)
    """Answers a second of 64 connections that wait."""
    loads: dict[float, list[open_loop.Seen]] = field(default_factory=dict)
    shares: list[float] = field(default_factory=list)
    """At the highest load: answers a second, beside the peak of the same round."""

    def p(self, share: float, load: float) -> float:
        """Return the least of the rounds' quantiles in ms."""
        return min(each.quantile(share) for each in self.loads[load])

    @property
    def lost(self) -> int:
        """How many requests had no answer at all: their connection was cut, or it did not come in time."""
        return sum(each.lost for rounds in self.loads.values() for each in rounds)


def ask(effort: Effort) -> Result:
    """Find each side's capacity, then offer shares of it, round by round."""
    seen: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="fb-") as folder, contextlib.ExitStack() as stack:
        deployment = Deployment(workload("mnist", Path(folder)), queue=QUEUE)
        running = [stack.enter_context(serving(side, deployment)) for side in sides(effort.peers, among=ARCHIVE_PEERS)]
        for each in running:
            measure(each.request, 16, effort.seconds)  # the first requests warm things up
        for _ in range(effort.rounds):
            for each in running:
                _measure(each, seen.setdefault(each.name, Seen()), effort)
    return Result(_table(seen), tuple(_goals(seen["flambeau"])))


def _measure(running: Running, seen: Seen, effort: Effort) -> None:
    peak = measure(running.request, 64, effort.seconds).rate
    seen.peaks.append(peak)
    port, message = running.request.port, message_of(running.request)
    for load in LOADS:
        came = open_loop.offer(port, message, rate=load * peak, seconds=effort.seconds, connections=CONNECTIONS)
        seen.loads.setdefault(load, []).append(came)
    seen.shares.append(seen.loads[LOADS[-1]][-1].goodput / peak)


def _table(seen: dict[str, Seen]) -> str:
    def rows() -> Iterator[list[str]]:
        for name, each in seen.items():
            cells = [f"{each.p(0.5, load):.2f} / {each.p(0.99, load):.2f}" for load in LOADS]
            yield [name, f"{max(each.peaks):,.0f}/s", *cells, f"{statistics.median(each.shares):.0%}", str(each.lost)]

    head = ["MNIST, batch 1, queue of 100", "capacity", *(f"at {load:.0%}, ms p50 / p99" for load in LOADS)]
    return table([*head, "of capacity answered at 300%", "requests without any answer"], rows())


def _goals(ours: Seen) -> list[Goal]:
    share, peak, p99 = statistics.median(ours.shares), max(ours.peaks), ours.p(0.99, LOADS[-1])
    queue_ms = (QUEUE + 1) / peak * 1000
    return [
        Goal("goodput at 3x load", ">= 90% of the peak", f"{share:.0%}", share >= 0.9),
        Goal("requests without an answer at 3x load", "0", str(ours.lost), not ours.lost),
        Goal(
            "p99 of those answered at 3x load", "<= 1.5 full queues", f"{p99:.0f} ms, a full queue {queue_ms:.0f} ms", p99 <= 1.5 * queue_ms
        ),
    ]
