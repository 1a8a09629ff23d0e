"""What does the server add to the handler's own time, when one client waits for each answer?

Expected: some tens of microseconds: two parses, one frame each way over a Unix socket, one wake-up of the worker. A batch size above one
must not change that: an idle worker takes what there is, while the peers wait for company up to the batch's delay.

A handler in a loop is warmer than one that waits for its next request, so what the server adds is told twice: over the handler in a loop,
for every side; and for ours over the handler's time in the very same requests, which our server's metrics tell (means of both). The same is
told of two bare processes that do nothing but pass the request on (``sides/relay.py``): no server of two processes adds less.

Run: ``python -m benchmarks overhead``.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.archives import workload
from benchmarks.load import Cell, measure
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.raw import Raw, raw_loop
from benchmarks.sides.all import sides
from benchmarks.sides.model_servers import Flambeau
from benchmarks.sides.relay import Relay
from benchmarks.sides.side import Deployment, Running, Side, serving

LONG_DELAY_MS = 100
PAGE_BYTES_MAX = 1 << 20


def ask(effort: Effort) -> Result:
    """Measure one connection with batch 1, and with a batch size and a long delay."""
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        work = workload("mnist", Path(folder))
        with raw_loop(work, 1) as raw:
            alone, alone_raw, told_by = _measured(Deployment(work, 1, 5), raw, effort, (Relay(),))
            waiting, waiting_raw, _ = _measured(Deployment(work, 16, LONG_DELAY_MS), raw, effort)
    own, least = told_by[Flambeau.name], told_by[Relay.name]
    rows = []
    for name in alone:
        more = waiting.get(name)
        low_load = f"{_p50(more) - waiting_raw:.3f}" if more else "does not batch"
        rows.append([name, f"{_p50(alone[name]):.3f}", f"{(_p50(alone[name]) - alone_raw) * 1000:.0f}", low_load])
    head = ["MNIST, c=1", "p50, ms", "over the handler, us", f"over the handler with batchSize 16, maxBatchDelay {LONG_DELAY_MS}, ms"]
    told = (
        f"The handler takes {alone_raw:.3f} ms in a loop, and {own.handler_ms:.3f} ms in our server's requests, "
        f"to which the server and the client add {own.added_ms * 1000:.0f} us. In two bare processes, which only pass the request on, "
        f"it takes {least.handler_ms:.3f} ms, and they and the client add {least.added_ms * 1000:.0f} us.\n\n"
    )
    return Result(told + table(head, rows), tuple(_goals(alone, own, least, waiting, waiting_raw)))


@dataclass(frozen=True)
class Own:
    """Of a side's own requests, in ms."""

    handler_ms: float
    added_ms: float


def _measured(
    deployment: Deployment, raw: Raw, effort: Effort, others: tuple[Side, ...] = ()
) -> tuple[dict[str, list[Cell]], float, dict[str, Own]]:
    """Return each side's cells, the handler's own median in a loop in ms, and the best cell of each side that tells the handler's time."""
    seen, raw_ms, own = dict[str, list[Cell]](), [], dict[str, list[Own]]()
    with contextlib.ExitStack() as stack:
        asked = (*sides(effort.peers, batching=deployment.batch > 1), *others)
        running = [stack.enter_context(serving(side, deployment)) for side in asked]
        for each in running:
            measure(each.request, 1, effort.seconds)  # the first requests warm things up
        for _ in range(effort.rounds):
            raw_ms.append(raw.measure(effort.seconds / 2).p50_ms)
            for each in running:
                before = _handled(each)
                cell = measure(each.request, 1, effort.seconds)
                seen.setdefault(each.name, []).append(cell)
                if before is not None and (after := _handled(each)) is not None:
                    handler_ms = (after[0] - before[0]) / (after[1] - before[1]) * 1000
                    own.setdefault(each.name, []).append(Own(handler_ms, 1000 / cell.rate - handler_ms))
    return seen, min(raw_ms), {name: min(each, key=lambda one: one.added_ms) for name, each in own.items()}


def _handled(running: Running) -> tuple[float, float] | None:
    """Return the seconds that a side's handler has taken and the requests that they were; None where it doesn't say."""
    if not running.metrics_url:
        return None
    with urllib.request.urlopen(running.metrics_url, timeout=30) as page:
        text = page.read(PAGE_BYTES_MAX).decode()
    seconds, count = (re.search(rf"^flambeau_handler_seconds_{what}{{.*}} (\S+)$", text, re.MULTILINE) for what in ("sum", "count"))
    return (float(seconds[1]), float(count[1])) if seconds and count else None


def _p50(cells: list[Cell]) -> float:
    """Return the least median: another process on the machine only adds."""
    return min(cell.p50 for cell in cells)


def _goals(alone: dict[str, list[Cell]], own: Own, least: Own, waiting: dict[str, list[Cell]], waiting_raw: float) -> list[Goal]:
    ours = _p50(alone["flambeau"])
    added, low_load = own.added_ms * 1000, _p50(waiting["flambeau"]) - waiting_raw
    goals = [
        Goal(
            "MNIST, c=1: over the handler's time",
            "<= 60 us",
            f"{added:.0f} us; two bare processes {least.added_ms * 1000:.0f} us",
            added <= 60,
        ),
        Goal("low load, batchSize 16, maxBatchDelay 100", "<= 0.5 ms over the handler's time", f"{low_load:.2f} ms", low_load <= 0.5),
    ]
    if "TorchServe" in alone:
        theirs = _p50(alone["TorchServe"])
        goals.insert(
            1, Goal("MNIST, c=1: p50", "<= 0.5x TorchServe's", f"{ours / theirs:.2f}x ({ours:.2f}, {theirs:.2f} ms)", ours <= theirs / 2)
        )
    return goals
