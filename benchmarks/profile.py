"""Where does a request's time go, in which process, and what would the machine allow at most?

Expected: without a model, the front is what limits us, and most of what it does is the kernel's: a read and a write for each request.
With a model, the worker has nothing to do but its handler. The sum of what a request costs all processes, the client included, is what two
cores must do for it: no order of things can answer more than they have time for.

py-spy looks at both processes without stopping them. What it counts as a function's own is also what that function calls in C: the
event loop's own turns (``run``), which read from clients, and wait where there is nothing to do, ``respond``, which writes to a client, and
the links' ``write``, ``send`` and ``receive``.

Run: ``python -m benchmarks profile``.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.archives import workload
from benchmarks.load import Cell, measure
from benchmarks.question import Effort, Result, table
from benchmarks.sides.model_servers import Flambeau
from benchmarks.sides.side import Deployment, Running, serving

WORKLOADS = (("noop", 1), ("noop", 16), ("mnist", 1), ("mnist", 16))
CONNECTIONS = 64
LOOKS_PER_SECOND = 250
PLACES = 10
"""Functions that the tables name."""
_LINE_NUMBER = re.compile(r":\d+\)$")


@dataclass
class Cost:
    """CPU seconds of a process, in its own code and in the kernel."""

    user: float
    system: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.user - other.user, self.system - other.system)

    def per(self, requests: float) -> float:
        """Return microseconds a request."""
        return (self.user + self.system) / requests * 1e6


def ask(effort: Effort) -> Result:
    """Count what requests cost, then look where it is spent."""
    rows, places = [], ""
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        for name, batch in WORKLOADS[:1] if effort.brief else WORKLOADS:
            with serving(Flambeau(), Deployment(workload(name, Path(folder)), batch)) as running:
                measure(running.request, CONNECTIONS, effort.seconds)  # the first requests warm things up
                rows.append([f"{name}, batch {batch}", *_costs(name, running, effort)])
                if batch == 1:
                    places += _places(name, running, effort, Path(folder))
    cores = os.cpu_count() or 1
    head = [f"c={CONNECTIONS}", "answered", "front, us", "of it kernel", "worker, us", "of it kernel", "wrk, us"]
    return Result(table([*head, "the front alone allows", f"{cores} cores allow"], rows) + places)


def _costs(name: str, running: Running, effort: Effort) -> Iterator[str]:
    """Yield the cells of what a request costs each process."""
    front, worker = _both(name, running)
    before = [_cost(front), _cost(worker), _children()]
    cell = measure(running.request, CONNECTIONS, 2 * effort.seconds)
    front_cost, worker_cost, client = (
        after - earlier for after, earlier in zip([_cost(front), _cost(worker), _children()], before, strict=True)
    )
    requests = cell.rate * 2 * effort.seconds
    yield f"{cell.rate:,.0f}/s"
    for cost in (front_cost, worker_cost):
        yield f"{cost.per(requests):.1f}"
        yield f"{Cost(0, cost.system).per(requests):.1f}"
    yield f"{client.per(requests):.1f}"
    yield f"{1e6 / front_cost.per(requests):,.0f}/s"
    each = sum(cost.per(requests) for cost in (front_cost, worker_cost, client))
    yield f"{(os.cpu_count() or 1) * 1e6 / each:,.0f}/s"


def _both(name: str, running: Running) -> tuple[psutil.Process, psutil.Process]:
    """Return the front and the model's only worker; the fork server between them does nothing."""
    front, *others = running.tree()
    return front, next(process for process in others if process.name() == f"fl:{name}")


def _cost(process: psutil.Process) -> Cost:
    times = process.cpu_times()
    return Cost(times.user, times.system)


def _children() -> Cost:
    """Return what this process's ended children have cost: of those that end while we measure, wrk alone costs anything."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(usage.ru_utime, usage.ru_stime)


def _places(name: str, running: Running, effort: Effort, folder: Path) -> str:
    """Return tables of where front and worker spend their time while they are loaded."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        return "No profile: py-spy is not installed (`pip install py-spy`).\n\n"
    cells: list[Cell] = []
    load = threading.Thread(target=lambda: cells.append(measure(running.request, CONNECTIONS, 2 * effort.seconds + 1)))
    load.start()
    seen = {}
    for what, process in zip(("front", "worker"), _both(name, running), strict=True):
        seen[what] = _looked(spy, process, effort.seconds, folder / f"{name}-{what}")
    load.join()
    tables = ""
    for what, counted in seen.items():
        if not counted:
            return "No profile: py-spy may not look at other processes here (it needs ptrace).\n\n"
        looks = sum(counted.values())
        rows = [[f"`{place}`", f"{count / looks:.0%}"] for place, count in counted.most_common(PLACES)]
        tables += table([f"{name}, batch 1, {what}", "of its time"], rows)
    return tables


def _looked(spy: Path, process: psutil.Process, seconds: int, file: Path) -> Counter[str]:
    """Return how often each function was seen at work in a process."""
    command = [str(spy), "record", "--pid", str(process.pid), "--duration", str(seconds), "--rate", str(LOOKS_PER_SECOND)]
    command += ["--nonblocking", "--format", "raw", "--output", str(file)]
    subprocess.run(command, capture_output=True, timeout=seconds + 60, check=False)
    counted: Counter[str] = Counter()
    for line in file.read_text().splitlines() if file.exists() else ():
        stack, _, count = line.rpartition(" ")
        counted[_LINE_NUMBER.sub(")", stack.rpartition(";")[2])] += int(count)
    return counted
