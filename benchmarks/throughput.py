"""How many requests a second, and how long does each take, beside every peer and beside the bare handler?

Expected: the worker is the only scarce thing, so with a real model we are near the raw loop (one process that does nothing else) and the
peers below, in the order of what each does between two batches; without a model the server alone is left, and the order is that of
their front ends: Mosec's (Rust) and ours (one parse, one frame) far ahead of those with a web framework a request.

Run: ``python -m benchmarks throughput``.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.archives import Workload, workload
from benchmarks.load import Cell, best, measure
from benchmarks.picture import Group, bars
from benchmarks.question import Effort, Goal, Result, ratio, table
from benchmarks.raw import Raw, raw_loop
from benchmarks.sides.all import sides
from benchmarks.sides.side import Deployment, Running, serving

CONNECTIONS = (1, 16, 64)
WORKLOADS = (("mnist", 1), ("mnist", 16), ("noop", 1), ("noop", 16), ("resnet", 1))
"""Each with the size of its batches."""
TITLES = {"mnist": "MNIST", "noop": "no-op"}
BRIEF_WORKLOADS = (("mnist", 16),)


@dataclass
class Seen:
    """What was measured of one workload at one batch size."""

    cells: dict[tuple[str, int], list[Cell]] = field(default_factory=dict)
    """By side and connections."""
    raw: dict[int, list[float]] = field(default_factory=dict)
    """The loop's rates, by the connections of the cells that were measured right after it."""
    raw_ms: float = 0.0

    @property
    def loop(self) -> float:
        """The loop's best rate; 0 where there is none."""
        return max((rate for rates in self.raw.values() for rate in rates), default=0.0)

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
    tables, seen = "", dict[tuple[str, int], Seen]()
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        for name, batch in BRIEF_WORKLOADS if effort.brief else WORKLOADS:
            connections = (16,) if name == "resnet" else CONNECTIONS[-1:] if effort.brief else CONNECTIONS
            work = workload(name, Path(folder))
            seen[name, batch] = each = _measured(work, batch, connections, effort)
            tables += f"**{name}, batch {batch}**\n\n" + _table(each, connections)
    return Result(tables, tuple(_goals(seen)), bars([_group(key, each) for key, each in seen.items() if key[0] != "resnet"]))


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
                    _loop(raw, count, seen, effort)
                for each in running:
                    _cell(each, count, seen, effort)
    return seen


def _loop(raw: Raw, connections: int, seen: Seen, effort: Effort) -> None:
    loop = raw.measure(effort.seconds)
    seen.raw.setdefault(connections, []).append(loop.rate)
    seen.raw_ms = min(seen.raw_ms or loop.p50_ms, loop.p50_ms)


def _cell(running: Running, connections: int, seen: Seen, effort: Effort) -> None:
    cell = measure(running.request, connections, effort.seconds)
    if cell.failed:
        raise RuntimeError(f"{running.name} failed {cell.failed} requests at c={connections}")
    seen.cells.setdefault((running.name, connections), []).append(cell)


def _table(seen: Seen, connections: tuple[int, ...]) -> str:
    names = list(dict.fromkeys(side for side, _ in seen.cells))
    rows = [["handler in a loop", *["-"] * (len(connections) - 1), f"{seen.loop:,.0f}/s, {seen.raw_ms:.2f} ms a batch"]] if seen.raw else []
    for name in names:
        cells = [best(seen.cells[name, count]) for count in connections]
        rows.append([name, *(f"{cell.rate:,.0f}/s, {cell.p50:.2f} / {cell.p99:.2f} / {cell.p999:.2f}" for cell in cells)])
    return table(["requests a second, ms p50 / p99 / p99.9", *(f"c={count}" for count in connections)], rows)


def _group(key: tuple[str, int], seen: Seen) -> Group:
    """Return what the picture shows of a workload: each side's requests a second at the most connections."""
    name, batch = key
    most = max(connections for _, connections in seen.cells)
    rates = {side: seen.rate(side, most) for side, connections in seen.cells if connections == most}
    if seen.raw:
        rates["handler in a loop"] = seen.loop
    return Group(f"{TITLES[name]}, batch {batch}, c={most}", rates)


def _goals(seen: dict[tuple[str, int], Seen]) -> Iterator[Goal]:
    if each := seen.get(("mnist", 16)):
        yield from _ahead("MNIST, batch 16, c=64", each, "TorchServe", 1.4)
        yield _share("MNIST, batch 16, c=64", each, 64, 0.93)
    if each := seen.get(("mnist", 1)):
        yield from _ahead("MNIST, batch 1, c=64", each, "TorchServe", 2.2)
        yield from _ahead("MNIST, batch 1, c=64", each, "KServe's image", 4.0)
    if each := seen.get(("resnet", 1)):
        yield _share("ResNet-18, c=16", each, 16, 0.97)
    for batch, wanted in ((1, 40_000), (16, 90_000)):
        if each := seen.get(("noop", batch)):
            ours, mosec = each.rate("flambeau"), each.rate("Mosec")
            measured = f"{ours:,.0f}/s" + (f", Mosec {mosec:,.0f}/s" if mosec else "")
            yield Goal(f"no-op, batch {batch}, c=64", f">= {wanted:,}/s and ahead of Mosec", measured, ours >= max(wanted, mosec))


def _ahead(what: str, seen: Seen, peer: str, wanted: float) -> list[Goal]:
    ours, theirs = seen.rate("flambeau"), seen.rate(peer)
    if not theirs:
        return []
    return [Goal(what, f">= {wanted}x {peer}", f"{ratio(ours, theirs)} ({ours:,.0f}/s, {theirs:,.0f}/s)", ours >= wanted * theirs)]


def _share(what: str, seen: Seen, connections: int, wanted: float) -> Goal:
    """Compare each cell with the loop right before it: what else the machine does changes from minute to minute."""
    rounds = list(zip(seen.cells["flambeau", connections], seen.raw[connections], strict=True))
    share = statistics.median(cell.rate / raw for cell, raw in rounds)
    told = "; ".join(f"{cell.rate:,.1f}/s of {raw:,.1f}/s" for cell, raw in rounds)
    return Goal(what, f">= {wanted} of the raw loop", f"{share:.2f} ({told})", share >= wanted)
