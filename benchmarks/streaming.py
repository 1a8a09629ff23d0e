"""How soon does the first item of a stream arrive, and how many items a second come in all?

The handler sends 10,000 short items, one call each, as fast as it can. Expected: the first item is there about as soon as a whole short
answer would be, because it leaves alone and at once; the later ones are bounded by the handler's loop and by one chunk each in the front.

Run: ``python -m benchmarks streaming``.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.archives import STREAM_ITEMS, workload
from benchmarks.client import Client, message_of
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.sides.all import ARCHIVE_PEERS, sides
from benchmarks.sides.side import Deployment, Running, serving


@dataclass
class Seen:
    """What the streams of one side took, each in ms."""

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Items a second of the fastest stream."""
        return STREAM_ITEMS / min(self.whole) * 1000

    @property
    def first_ms(self) -> float:
        """The median."""
        return sorted(self.first)[len(self.first) // 2]


def ask(effort: Effort) -> Result:
    """Have streams from each side in turn, one at a time."""
    seen: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory(prefix="fb-") as folder, contextlib.ExitStack() as stack:
        work = workload("stream", Path(folder))
        running = [stack.enter_context(serving(side, Deployment(work))) for side in sides(effort.peers, among=ARCHIVE_PEERS)]
        for _ in range(effort.rounds):
            for each in running:
                _measure(each, seen.setdefault(each.name, Seen()), effort.seconds)
    rows = [[name, f"{each.first_ms:.2f}", f"{min(each.first):.2f}", f"{each.rate:,.0f}"] for name, each in seen.items()]
    head = [f"stream of {STREAM_ITEMS:,} items, c=1", "first item, ms: median", "least", "items a second, fastest stream"]
    ours = seen["flambeau"]
    goals = (
        Goal("streaming: first item", "< 3 ms", f"{ours.first_ms:.2f} ms", ours.first_ms < 3),
        Goal("streaming: all items", ">= 140,000/s", f"{ours.rate:,.0f}/s", ours.rate >= 140_000),
    )
    return Result(table(head, rows), goals)


def _measure(running: Running, seen: Seen, seconds: int) -> None:
    client, message, ends = Client(running.request.port), message_of(running.request), time.perf_counter() + seconds
    try:
        while time.perf_counter() < ends or len(seen.whole) < 2:
            answer = client.ask(message)
            assert answer.status == 200, answer.body[:1000]
            items = answer.body.count(b"item ")
            assert items == STREAM_ITEMS, f"{items} items"
            seen.first.append(answer.first_ms)
            seen.whole.append(answer.ms)
    finally:
        client.close()
