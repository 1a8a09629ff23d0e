"""How many requests a second, and how long does each take, beside every peer and beside the bare handler?

Expected: the worker is the only scarce thing, so with a real model we are near the raw loop (one process that does nothing else) and the
peers below, in the order of what each does between two batches; without a model the server alone is left, and the order is that of
their front ends: Mosec's (Rust) and ours (one parse, one frame) far ahead of those with a web framework a request.

Run: ``python -m benchmarks throughput``.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.archives import Workload, workload
from benchmarks.load import Cell, best, measure
from benchmarks.question import Effort, Goal, Result, ratio, table
from benchmarks.raw import Raw, raw_loop
from benchmarks.sides.all import sides
from benchmarks.sides.side import Deployment, Running, serving

CONNECTIONS = (1, 16, 64)


@dataclass
class Seen:
    """What was measured of one workload at one batch size."""

    cells: dict[tuple[str, int], list[Cell]] = field(default_factory=dict)
    """By side and connections."""
    raw: list[float] = field(default_factory=list)
    raw_ms: float = 0.0

    def best(self, side: str, connections: int) -> Cell | None:
        """Return the best round."""
        cells = self.cells.get((side, connections))
        return best(cells) if cells else None

    def rate(self, side: str, connections: int = 64) -> float:
        """Return the best round's rate; 0 where the side was not measured."""
        cell = self.best(side, connections)
        return cell.rate if cell else 0.0


def ask(effort: Effort) -> Result:
    """Measure every workload on every side."""
    tables, seen = "", {}
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        for name, batch in (("mnist", 1), ("mnist", 16), ("noop", 1), ("noop", 16), ("resnet", 1)):
            connections = (16,) if name == "resnet" else CONNECTIONS
            work = workload(name, Path(folder))
            seen[name, batch] = each = _measured(work, batch, connections, effort)
            tables += f"**{name}, batch {batch}**\n\n" + _table(each, connections)
    return Result(tables, tuple(_goals(seen)))


def _measured(work: Workload, batch: int, connections: tuple[int, ...], effort: Effort) -> Seen:
    """Start all sides, measure them in turn, round by round, and stop them."""
    seen = Seen()
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(raw_loop(work, batch)) if work.name != "noop" else None
        running = []
        for side in sides(effort.peers, batching=batch > 1):
            running.append(stack.enter_context(serving(side, Deployment(work, batch))))
        for each in running:
            measure(each.request, 16, effort.seconds)  # the first requests warm things up
        for _ in range(effort.rounds):
            for count in connections:
                if raw is not None:
                    _loop(raw, seen, effort)
                for each in running:
                    _cell(each, count, seen, effort)
    return seen


def _loop(raw: Raw, seen: Seen, effort: Effort) -> None:
    loop = raw.measure(effort.seconds)
    seen.raw.append(loop.rate)
    seen.raw_ms = min(seen.raw_ms or loop.p50_ms, loop.p50_ms)


def _cell(running: Running, connections: int, seen: Seen, effort: Effort) -> None:
    cell = measure(running.request, connections, effort.seconds)
    if cell.failed:
        raise RuntimeError(f"{running.name} failed {cell.failed} requests at c={connections}")
    seen.cells.setdefault((running.name, connections), []).append(cell)


def _table(seen: Seen, connections: tuple[int, ...]) -> str:
    names = list(dict.fromkeys(side for side, _ in seen.cells))
    rows = (
        [["handler in a loop", *["-"] * (len(connections) - 1), f"{max(seen.raw):,.0f}/s, {seen.raw_ms:.2f} ms a batch"]]
        if seen.raw
        else []
    )
    for name in names:
        cells = [best(seen.cells[name, count]) for count in connections]
        rows.append([name, *(f"{cell.rate:,.0f}/s, {cell.p50:.2f} / {cell.p99:.2f} / {cell.p999:.2f}" for cell in cells)])
    return table(["requests a second, ms p50 / p99 / p99.9", *(f"c={count}" for count in connections)], rows)


def _goals(seen: dict[tuple[str, int], Seen]) -> list[Goal]:
    mnist_16, mnist_1, noop_1, noop_16, resnet = (
        seen[key] for key in (("mnist", 16), ("mnist", 1), ("noop", 1), ("noop", 16), ("resnet", 1))
    )
    goals = [
        *_ahead("MNIST, batch 16, c=64", mnist_16, "TorchServe", 1.4),
        _share("MNIST, batch 16, c=64", mnist_16, 64, 0.93),
        *_ahead("MNIST, batch 1, c=64", mnist_1, "TorchServe", 2.2),
        *_ahead("MNIST, batch 1, c=64", mnist_1, "KServe's image", 4.0),
        _share("ResNet-18, c=16", resnet, 16, 0.97),
    ]
    for batch, noop, wanted in ((1, noop_1, 40_000), (16, noop_16, 90_000)):
        ours, mosec = noop.rate("flambeau"), noop.rate("Mosec")
        measured = f"{ours:,.0f}/s" + (f", Mosec {mosec:,.0f}/s" if mosec else "")
        goals.append(Goal(f"no-op, batch {batch}, c=64", f">= {wanted:,}/s and ahead of Mosec", measured, ours >= max(wanted, mosec)))
    return goals


def _ahead(what: str, seen: Seen, peer: str, wanted: float) -> list[Goal]:
    ours, theirs = seen.rate("flambeau"), seen.rate(peer)
    if not theirs:
        return []
    return [Goal(what, f">= {wanted}x {peer}", f"{ratio(ours, theirs)} ({ours:,.0f}/s, {theirs:,.0f}/s)", ours >= wanted * theirs)]


def _share(what: str, seen: Seen, connections: int, wanted: float) -> Goal:
    ours, raw = seen.rate("flambeau", connections), max(seen.raw)
    return Goal(what, f">= {wanted} of the raw loop", f"{ours / raw:.2f} ({ours:,.1f}/s, {raw:,.1f}/s)", ours >= wanted * raw)
